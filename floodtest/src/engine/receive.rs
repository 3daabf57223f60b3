//! From a readable socket to items and marks, and to the close.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::Engine;
use super::follow::feed;
use super::opening::{Opening, Unsent};
use super::row::{Row, row_number};
use super::transport::{Read, Shown, Transport};
use crate::decode::{Beginning, Framer, Refusal};
use crate::items::Scratch;
use crate::reason::Reason;
use crate::receipt::{Own, Receipt, Shared};
use crate::request::Filling;

/// What tells that a connection has come to its end, or soon will.
const ENDING: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// Whether more of a response is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// It goes on.
    GoesOn,
    /// It goes on, and there may be more to read already, or there is something to send.
    GoesOnSoon,
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
        if self.slow.has(row) && self.rows[row].framer.has_head() {
            return self.ready_slow(row, flags);
        }
        if flags.intersects(EventFlags::IN | ENDING) {
            match self.receive(row, flags) {
                Ok(Flow::GoesOn | Flow::GoesOnSoon) => {}
                Ok(Flow::Ended) => self.end(row, Reason::Ended),
                Err(reason) => {
                    if let Reason::BadFrame(fault) = reason
                        && let Some(code) = fault.close_code()
                    {
                        self.say_close(row, code);
                    }
                    self.end(row, reason);
                }
            }
        }
    }

    /// Receives what has come for one connection. An error is why it ended before its proper end.
    fn receive(&mut self, index: usize, flags: EventFlags) -> Result<Flow, Reason> {
        let framer = self.rows[index].framer;
        let mut kept = self.take_kept(index);
        let received = self.receive_with(index, flags, &mut kept);
        if framer.close_code().is_none() && self.rows[index].framer.close_code().is_some() {
            self.note_closing(index);
        }
        self.put_back(index, kept);
        if !framer.has_head() && matches!(received, Ok(Flow::GoesOn | Flow::GoesOnSoon)) {
            self.note_stage(index);
        }
        received
    }

    /// Takes out of the tables what is kept of a connection. Most have nothing there.
    pub(super) fn take_kept(&mut self, index: usize) -> Kept {
        let Row { framer, items, .. } = &self.rows[index];
        let has_scratch = items.has_scratch();
        let scratch = if has_scratch { self.scratches.remove(&row_number(index)) } else { None };
        let control = if framer.is_in_control() { self.controls.remove(&index) } else { None };
        let unsent = if self.unsent.is_empty() { None } else { self.unsent.remove(&index) };
        let control = control.map(Vec::from).unwrap_or_default();
        Kept { scratch, control, unsent: unsent.unwrap_or_default() }
    }

    /// Puts back what must be kept of a connection, whatever came of the receiving: it must be
    /// there when the connection's end is counted.
    pub(super) fn put_back(&mut self, index: usize, kept: Kept) {
        let Row { framer, items, .. } = &mut self.rows[index];
        let Kept { mut scratch, control, unsent } = kept;
        // All connections without a scratch of their own share one that is empty.
        if items.settle(scratch.as_mut().unwrap_or(&mut self.scratch)) {
            let scratch = scratch.unwrap_or_else(|| std::mem::take(&mut self.scratch));
            self.scratches.insert(row_number(index), scratch);
        }
        if framer.is_in_control() && !control.is_empty() {
            self.controls.insert(index, control.into());
        }
        if !unsent.is_empty() {
            self.unsent.insert(index, unsent);
        }
    }

    /// Receives with what is kept of the connection.
    ///
    /// One `recv` is the rule. What it leaves behind is not seen again until more comes, since
    /// events are edge-triggered, so it must leave nothing behind: a read that does not fill the
    /// buffer has emptied the socket, and only an announced end is still to be read.
    fn receive_with(
        &mut self,
        index: usize,
        flags: EventFlags,
        kept: &mut Kept,
    ) -> Result<Flow, Reason> {
        let life = self.life(index);
        let Row { socket: Some(socket), window, framer, head_ms, faults, items } =
            &mut self.rows[index]
        else {
            return Ok(Flow::GoesOn);
        };
        let socket = &*socket;
        let plan_number = self.job.share.number(index);
        let opening = if framer.has_head() { None } else { self.opening.get_mut(&index) };
        let mut no_head = Beginning::default();
        let (unsent, beginning, carried) = match opening {
            Some(Opening { unsent, beginning, attempt, .. }) => {
                (unsent, beginning, Some(&attempt.carried))
            }
            None => (&mut kept.unsent, &mut no_head, None),
        };
        std::mem::swap(&mut beginning.control, &mut kept.control);
        let tls = if self.tls.is_empty() { None } else { self.tls.get_mut(&index) };
        let tls = tls.map(|tls| &mut **tls);
        let mut transport = Transport::new(socket, tls, &mut self.buffer, &mut self.outgoing);
        let own = Own { row: row_number(index), items, head_ms, window, faults, life };
        self.outbox.clear();
        let shared = Shared {
            accounting: &self.job.accounting,
            tally: &mut self.tally,
            judge: &mut self.judge,
            clock: &self.clock,
            established: self.job.requests.established,
            sockets: &self.job.requests.sockets,
            outbox: &mut self.outbox,
            streams: self.streams.as_deref_mut(),
            again: self.places.as_mut().map(|places| &mut places.again),
        };
        let scratch = kept.scratch.as_mut().unwrap_or(&mut self.scratch);
        let mut receipt = Receipt::new(own, scratch, shared);
        receipt.opening = carried.and_then(|carried| carried.handshake);
        let fields = match carried {
            Some(carried) => carried.fields.as_deref(),
            None => self.fields.get(&index).map(|fields| &**fields),
        };
        receipt.marks.filling = Filling { fields, place: plan_number };
        let with = (flags, plan_number);
        let flow = read_on(&mut transport, framer, beginning, unsent, &mut receipt, with)?;
        std::mem::swap(&mut beginning.control, &mut kept.control);
        if flow == Flow::GoesOnSoon {
            // The others wait meanwhile: to register again asks for another event, behind theirs.
            register_again(&self.epoll, socket, index, !unsent.is_empty())?;
        }
        Ok(flow)
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
                if let Some(fields) = opening.attempt.carried.fields
                    && self.job.requests.sockets.answers_need_fields()
                {
                    self.fields.insert(row, fields);
                }
                self.note_established(row);
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
        self.controls.remove(&index);
        self.fields.remove(&index);
        self.tls.remove(&index);
        let number = self.job.share.number(index);
        if !self.rows[index].framer.has_head() {
            self.rows[index].forget_connection();
            self.tally.failed(reason, number, || {
                let refusal = opening.as_ref().and_then(|opening| opening.beginning.refusal());
                let detail = refusal.and_then(Refusal::detail);
                let why_not = why_not.map(|why| format!("not followed: {why}"));
                let parts: Vec<_> = detail.into_iter().chain(why_not).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            });
            let refusal = opening.as_ref().and_then(|opening| opening.beginning.refusal());
            let asked_s = refusal.and_then(|refusal| refusal.retry_after_s);
            let asked = asked_s.map(|seconds| Duration::from_secs(seconds.into()));
            self.note_end(index, reason, false, asked);
            return;
        }
        if opening.is_some() {
            // Its head and its end came at once.
            self.note_established(index);
        }
        self.end_body(index, reason.is_orderly());
        self.note_slow_end(index, reason);
        self.judge_end(index, reason);
        let row = &mut self.rows[index];
        row.socket = None;
        let now = Instant::now();
        if let Some(streams) = &mut self.streams {
            let (row, counts) = (row_number(index), self.tally.streams.get_or_insert_default());
            if reason.is_ours() || self.slow.has(index) {
                // It has not ended by itself, or nobody has read what it was.
                streams.leave(row, counts);
            } else {
                streams.over(row, now, reason.is_orderly(), counts);
            }
        }
        let after = self.clock.since_start(now);
        row.framer.close(u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
        self.tally.closed(reason, number);
        self.note_end(index, reason, true, None);
    }

    /// Counts what is complete now that nothing more comes on a connection. `is_proper` if its
    /// body came to the end that the server meant.
    pub(super) fn end_body(&mut self, index: usize, is_proper: bool) {
        let (number, life) = (row_number(index), self.life(index));
        let mut kept = self.scratches.remove(&number);
        let scratch = kept.as_mut().unwrap_or(&mut self.scratch);
        let Row { window, head_ms, faults, items, .. } = &mut self.rows[index];
        let own = Own { row: number, items, head_ms, window, faults, life };
        let shared = Shared {
            accounting: &self.job.accounting,
            tally: &mut self.tally,
            judge: &mut self.judge,
            clock: &self.clock,
            established: self.job.requests.established,
            sockets: &self.job.requests.sockets,
            outbox: &mut self.outbox,
            streams: self.streams.as_deref_mut(),
            again: self.places.as_mut().map(|places| &mut places.again),
        };
        Receipt::new(own, scratch, shared).end(is_proper);
        *self.scratch = Scratch::default();
    }
}

/// What is kept of a connection, out of its tables while it is received from.
pub(super) struct Kept {
    /// An item or a mark that has not come whole.
    scratch: Option<Box<Scratch>>,
    /// A control frame that has not come whole.
    pub(super) control: Vec<u8>,
    /// What the socket has not taken, of a connection with a head.
    pub(super) unsent: Unsent,
}

/// Reads what has come for a connection of the plan's number `number`, shows it, and sends what is
/// to be answered.
fn read_on(
    transport: &mut Transport<'_>,
    framer: &mut Framer,
    beginning: &mut Beginning,
    unsent: &mut Unsent,
    receipt: &mut Receipt<'_>,
    (flags, number): (EventFlags, u64),
) -> Result<Flow, Reason> {
    loop {
        let n = match transport.read()? {
            Read::Bytes(n) => n,
            Read::Nothing => return Ok(Flow::GoesOn),
            // Without its goodbye a close of TLS may be anybody's.
            Read::Closed if !transport.is_tls() && framer.ends_at_close() => {
                return Ok(Flow::Ended);
            }
            Read::Closed => return Err(Reason::Cut),
        };
        // Before anything is shown: a message's receipt is the read that brought its end.
        receipt.begin(n);
        let had_head = framer.has_head();
        let plain = |plain: &[u8]| feed(framer, beginning, plain, receipt, number);
        let shown = transport.show(n, plain, unsent)?;
        // What is said first is not left out, however full the socket is.
        let said = receipt.marks.outbox.frames();
        let has_left = !said.is_empty() && transport.say(said, !had_head, unsent);
        receipt.marks.outbox.clear();
        match shown {
            Shown::More => {}
            Shown::Ended => return Ok(Flow::Ended),
            Shown::Closed if framer.ends_at_close() => return Ok(Flow::Ended),
            Shown::Closed => return Err(Reason::Cut),
        }
        if has_left || transport.is_filled_by(n) {
            return Ok(Flow::GoesOnSoon);
        }
        if !flags.intersects(ENDING) {
            return Ok(Flow::GoesOn);
        }
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
