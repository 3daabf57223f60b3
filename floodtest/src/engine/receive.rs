//! From a readable socket to items and marks, and to the close.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::Engine;
use super::follow::feed;
use super::opening::Opening;
use super::row::{Row, row_number};
use super::transport::{Read, Shown, Transport};
use crate::decode::{Beginning, Refusal};
use crate::items::Scratch;
use crate::judge::Judge;
use crate::reason::Reason;
use crate::receipt::{Own, Receipt, Shared};

/// What tells that a connection has come to its end, or soon will.
const ENDING: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// Whether more of a response is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// It goes on.
    GoesOn,
    /// It has come to the end that the server meant.
    Ended,
}

impl Engine<'_> {
    /// Handles one event of one connection.
    pub(super) fn ready(&mut self, row: usize, flags: EventFlags) {
        // A connection that was closed earlier in the same batch of events.
        if self.rows[row].socket.is_none() {
            return;
        }
        if !self.rows[row].framer.has_head() && !self.go_on_sending(row) {
            return;
        }
        if !self.unsent.is_empty()
            && let Err(reason) = self.send_rest(row)
        {
            return self.end(row, reason);
        }
        if flags.intersects(EventFlags::IN | ENDING) {
            match self.receive(row, flags) {
                Ok(Flow::GoesOn) => {}
                Ok(Flow::Ended) => self.end(row, Reason::Ended),
                Err(reason) => self.end(row, reason),
            }
        }
    }

    /// Receives what has come for one connection. An error is why it ended before its proper end.
    fn receive(&mut self, index: usize, flags: EventFlags) -> Result<Flow, Reason> {
        // What is kept of an item that has not come whole is in a table; all other connections
        // share one empty scratch. It is taken out before and put back after, whatever came of the
        // receiving: what a connection kept must be there when its end is counted.
        let number = row_number(index);
        let has_scratch = self.rows[index].items.has_scratch();
        let mut kept = if has_scratch { self.scratches.remove(&number) } else { None };
        let received = self.receive_with(index, flags, &mut kept);
        let scratch = kept.as_mut().unwrap_or(&mut self.scratch);
        if self.rows[index].items.settle(scratch) {
            let scratch = kept.unwrap_or_else(|| std::mem::take(&mut self.scratch));
            self.scratches.insert(number, scratch);
        }
        received
    }

    /// Receives with what is kept of the connection, if anything is.
    ///
    /// One `recv` is the rule. What it leaves behind is not seen again until more comes, since
    /// events are edge-triggered, so it must leave nothing behind: a read that does not fill the
    /// buffer has emptied the socket, and only an announced end is still to be read.
    fn receive_with(
        &mut self,
        index: usize,
        flags: EventFlags,
        kept: &mut Option<Box<Scratch>>,
    ) -> Result<Flow, Reason> {
        let Row { socket: Some(socket), window, framer, head_ms, faults, items } =
            &mut self.rows[index]
        else {
            return Ok(Flow::GoesOn);
        };
        let socket = &*socket;
        let had_head = framer.has_head();
        let mut no_head = Beginning::default();
        let plan_number = self.job.share.number(index);
        let mut opening = if had_head { None } else { self.opening.get_mut(&index) };
        let tls = if self.tls.is_empty() { None } else { self.tls.get_mut(&index) };
        let tls = tls.map(|tls| &mut **tls);
        let mut transport = Transport::new(socket, tls, &mut self.buffer, &mut self.outgoing);
        let own = Own { row: row_number(index), items, head_ms, window, faults };
        let shared = Shared {
            accounting: &self.job.accounting,
            tally: &mut self.tally,
            judge: &mut self.judge,
            clock: &self.clock,
            established: self.job.requests.established,
        };
        let scratch = kept.as_mut().unwrap_or(&mut self.scratch);
        let mut receipt = Receipt::new(own, scratch, shared);
        loop {
            let n = match transport.read()? {
                Read::Bytes(n) => n,
                Read::Nothing => break,
                // Without its goodbye a close of TLS may be anybody's.
                Read::Closed if !transport.is_tls() && framer.ends_at_close() => {
                    return Ok(Flow::Ended);
                }
                Read::Closed => return Err(Reason::Cut),
            };
            // Before anything is shown: a message's receipt is the read that brought its end.
            receipt.begin(n);
            let beginning = opening.as_mut().map_or(&mut no_head, |opening| &mut opening.beginning);
            let plain = |plain: &[u8]| feed(framer, beginning, plain, &mut receipt, plan_number);
            let (shown, unsent) = transport.show(n, plain)?;
            if let (Some(opening), Some(unsent)) = (&mut opening, unsent) {
                opening.unsent = unsent;
            }
            match shown {
                Shown::More => {}
                Shown::Ended => return Ok(Flow::Ended),
                Shown::Closed if framer.ends_at_close() => return Ok(Flow::Ended),
                Shown::Closed => return Err(Reason::Cut),
            }
            if transport.is_filled_by(n) {
                // There may be more, and the others wait: to register again asks for another
                // event if so, behind theirs.
                let is_unsent = |opening: &&mut Opening| !opening.unsent.is_empty();
                let has_more =
                    self.unsent.contains_key(&index) || opening.as_ref().is_some_and(is_unsent);
                register_again(&self.epoll, socket, index, has_more)?;
                break;
            }
            if !flags.intersects(ENDING) {
                break;
            }
        }
        if !had_head {
            self.note_stage(index);
        }
        Ok(Flow::GoesOn)
    }

    /// Notes how far a connection is that had no head before.
    fn note_stage(&mut self, row: usize) {
        let refusal = self.opening.get(&row).and_then(|opening| opening.beginning.refusal());
        let is_refused = refusal.is_some();
        if self.rows[row].framer.has_head() {
            if let Some(opening) = self.forget(row) {
                self.flight.note_head(opening.since);
                if !opening.unsent.is_empty() {
                    self.unsent.insert(row, opening.unsent);
                }
            }
        } else if is_refused {
            self.note_refusal(row);
        } else {
            self.note_sent(row);
        }
    }

    /// Closes a connection and counts why; `why_not` is why a redirect was not followed.
    pub(super) fn close(&mut self, index: usize, reason: Reason, why_not: Option<&str>) {
        let opening = self.forget(index);
        self.unsent.remove(&index);
        self.tls.remove(&index);
        let number = self.job.share.number(index);
        if !self.rows[index].framer.has_head() {
            self.rows[index] = Row::default();
            self.tally.failed(reason, number, || {
                let refusal = opening.as_ref().and_then(|opening| opening.beginning.refusal());
                let detail = refusal.and_then(Refusal::detail);
                let why_not = why_not.map(|why| format!("not followed: {why}"));
                let parts: Vec<_> = detail.into_iter().chain(why_not).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            });
            return;
        }
        self.end_body(index, reason == Reason::Ended);
        let row = &mut self.rows[index];
        row.socket = None;
        let after = Instant::now().saturating_duration_since(self.clock.started_at());
        row.framer.close(u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
        Judge::closed(&mut row.window, &mut self.tally);
        self.tally.closed(reason, number);
    }

    /// Counts what is complete now that nothing more comes on a connection. `is_proper` if its
    /// body came to the end that the server meant.
    pub(super) fn end_body(&mut self, index: usize, is_proper: bool) {
        let number = row_number(index);
        let mut kept = self.scratches.remove(&number);
        let scratch = kept.as_mut().unwrap_or(&mut self.scratch);
        let Row { window, head_ms, faults, items, .. } = &mut self.rows[index];
        let own = Own { row: number, items, head_ms, window, faults };
        let shared = Shared {
            accounting: &self.job.accounting,
            tally: &mut self.tally,
            judge: &mut self.judge,
            clock: &self.clock,
            established: self.job.requests.established,
        };
        Receipt::new(own, scratch, shared).end(is_proper);
        *self.scratch = Scratch::default();
    }
}

/// Registers a socket again, so that there is another event if there is more to read, or to send if
/// `is_unsent`.
fn register_again(
    epoll: &OwnedFd,
    socket: &OwnedFd,
    index: usize,
    is_unsent: bool,
) -> Result<(), Errno> {
    let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    if is_unsent {
        flags |= EventFlags::OUT;
    }
    epoll::modify(epoll, socket, EventData::new_u64(index as u64), flags)
}
