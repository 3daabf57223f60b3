//! From a readable socket to counted chunks, and to the close.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::follow::feed;
use super::open::{Opening, Unsent};
use super::{Engine, Row};
use crate::decode::{Progress, Refusal};
use crate::dial::send_some;
use crate::reason::Reason;
use crate::tally::Receipt;

/// What tells that a connection has come to its end, or soon will.
const ENDING: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

impl Engine<'_> {
    /// Handles one event of one connection.
    pub(super) fn ready(&mut self, row: usize, flags: EventFlags) {
        // A connection that was closed earlier in the same batch of events.
        if self.rows[row].socket.is_none() {
            return;
        }
        if !self.rows[row].response.has_head() && !self.go_on_sending(row) {
            return;
        }
        if !self.unsent.is_empty()
            && let Err(reason) = self.send_rest(row)
        {
            return self.end(row, reason);
        }
        if flags.intersects(EventFlags::IN | ENDING)
            && let Err(reason) = self.receive(row, flags)
        {
            self.end(row, reason);
        }
    }

    /// Receives what has come for one connection; the reason if that was its end.
    ///
    /// One `recv` is the rule. What it leaves behind is not seen again until more comes, since
    /// events are edge-triggered, so it must leave nothing behind: a read that does not fill the
    /// buffer has emptied the socket, and only an announced end is still to be read.
    fn receive(&mut self, row: usize, flags: EventFlags) -> Result<(), Reason> {
        let Row { socket: Some(socket), faults, response, window } = &mut self.rows[row] else {
            return Ok(());
        };
        let had_head = response.has_head();
        let number = self.job.share.number(row);
        let mut tls = if self.tls.is_empty() { None } else { self.tls.get_mut(&row) };
        loop {
            let start = tls.as_mut().map_or(Ok(0), |tls| tls.put_back(&mut self.buffer))?;
            let n = match recv(&*socket, &mut self.buffer[start..], RecvFlags::empty()) {
                // Without its goodbye a close of TLS may be anybody's.
                Ok((_, 0)) if tls.is_none() && response.ends_with_close() => {
                    return Err(Reason::Ended);
                }
                Ok((_, 0)) => return Err(Reason::Cut),
                Ok((_, n)) => n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let mut receipt = Receipt {
                tally: &mut self.tally,
                window,
                faults,
                pattern: self.job.sequence.as_ref(),
                clock: &self.clock,
                established: self.job.requests.established,
                received_unix_us: None,
            };
            receipt.tally.bytes += n as u64;
            let progress = match &mut tls {
                None => feed(response, &self.buffer[..n], &mut receipt, number)?,
                Some(tls) => {
                    let plain = |plain: &[u8]| feed(response, plain, &mut receipt, number);
                    self.outgoing.clear();
                    let received = &mut self.buffer[..start + n];
                    let progress = tls.receive(received, &mut self.outgoing, plain);
                    let progress = match progress {
                        Err(Reason::Cut) if response.ends_with_close() => Progress::Ended,
                        progress => progress?,
                    };
                    let n_sent = send_some(socket, &self.outgoing)?;
                    if let Some(opening) = self.opening.get_mut(&row) {
                        opening.unsent = Unsent::of(&self.outgoing, n_sent);
                    }
                    progress
                }
            };
            if progress == Progress::Ended {
                return Err(Reason::Ended);
            }
            if n == self.buffer.len() - start {
                // There may be more, and the others wait: to register again asks for another
                // event if so, behind theirs.
                let mut again = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
                let is_unsent = |opening: &Opening| !opening.unsent.is_empty();
                if self.unsent.contains_key(&row) || self.opening.get(&row).is_some_and(is_unsent) {
                    again |= EventFlags::OUT;
                }
                epoll::modify(&self.epoll, &*socket, EventData::new_u64(row as u64), again)?;
                break;
            }
            if !flags.intersects(ENDING) {
                break;
            }
        }
        if !had_head {
            self.note_stage(row);
        }
        Ok(())
    }

    /// Notes how far a connection is that had no head before.
    fn note_stage(&mut self, row: usize) {
        let response = &self.rows[row].response;
        if response.has_head() {
            if let Some(opening) = self.forget(row) {
                self.note_head(opening.since);
                if !opening.unsent.is_empty() {
                    self.unsent.insert(row, opening.unsent);
                }
            }
        } else if response.refusal().is_some() {
            self.note_refusal(row);
        } else {
            self.note_sent(row);
        }
    }

    /// Closes a connection and counts why; `why_not` is why a redirect was not followed.
    pub(super) fn close(&mut self, row: usize, reason: Reason, why_not: Option<&str>) {
        let closed = self.rows[row].take();
        let number = self.job.share.number(row);
        self.forget(row);
        self.unsent.remove(&row);
        self.tls.remove(&row);
        if closed.response.has_head() {
            self.tally.closed(reason, number, &closed.window);
        } else {
            self.tally.failed(reason, number, || {
                let detail = closed.response.refusal().and_then(Refusal::detail);
                let why_not = why_not.map(|why| format!("not followed: {why}"));
                let parts: Vec<_> = detail.into_iter().chain(why_not).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            });
        }
    }
}
