//! What one `recv` brought for one connection, on its way into the counters.

use std::time::Instant;

use reports::stamp::Stamp;

use crate::accounting::Accounting;
use crate::again::Again;
use crate::clocks::receipts::ReceiptClock;
use crate::decode::{self, Head, MediaType, UpgradeFault};
use crate::items::{ItemSink, Items, Scratch, Sequence, Stream};
use crate::judge::{Case, Judge, Life, Window};
use crate::outbox::Outbox;
use crate::request::sockets::{Handshake, Sockets};
use crate::request::{Established, Filling};
use crate::streams::pacing::Pacing;
use crate::tally::Tally;

/// Takes what one `recv` brought for one connection.
pub(crate) struct Receipt<'a> {
    /// What its body consists of.
    pub(crate) items: &'a mut Items,
    /// What is kept of an item that has not come whole.
    pub(crate) scratch: &'a mut Scratch,
    /// When its head came, in milliseconds after the clock's start.
    pub(crate) head_ms: &'a mut u32,
    /// What items are to be.
    pub(crate) stream: Stream,
    /// Where the server's numbers are.
    pub(crate) sequence: Option<&'a Sequence>,
    /// Which statuses establish a connection.
    pub(crate) established: Established,
    /// What was asked, if it was for a WebSocket, as long as there is no head.
    pub(crate) opening: Option<Handshake>,
    /// What becomes of items and marks.
    pub(crate) marks: Marks<'a>,
}

/// Takes the items and marks in it.
pub(crate) struct Marks<'a> {
    /// The connection, and what is counted.
    pub(crate) case: Case<'a>,
    /// Who judges messages.
    pub(crate) judge: &'a mut Judge,
    /// What time it is.
    pub(crate) clock: &'a ReceiptClock,
    /// When the bytes were received. Read once, and only when a stamped message is among them, or
    /// an item of a stream that is measured.
    received_at: Option<Instant>,
    /// The same in microseconds since the Unix epoch, when a stamped message is among them.
    pub(crate) received_unix_us: Option<u64>,
    /// What is measured of streams, if they are.
    pub(crate) streams: Option<&'a mut Pacing>,
    /// Whether items are the messages themselves.
    pub(crate) counts_messages: bool,
    /// What is said on WebSockets.
    pub(crate) sockets: &'a Sockets,
    /// What is filled in there.
    pub(crate) filling: Filling<'a>,
    /// What is to be sent on this one.
    pub(crate) outbox: &'a mut Outbox,
    /// What servers say about how to come back, where somebody does.
    pub(crate) again: Option<&'a mut Again>,
}

/// What is a connection's own.
pub(crate) struct Own<'a> {
    /// Its row's place.
    pub(crate) row: u32,
    /// As in [`Receipt`].
    pub(crate) items: &'a mut Items,
    /// As in [`Receipt`].
    pub(crate) head_ms: &'a mut u32,
    /// As in [`Case`].
    pub(crate) window: &'a mut Window,
    /// As in [`Case`].
    pub(crate) faults: &'a mut u16,
    /// As in [`Case`].
    pub(crate) life: Life,
}

/// What all connections share.
pub(crate) struct Shared<'a> {
    /// How messages are known.
    pub(crate) accounting: &'a Accounting,
    /// As in [`Case`].
    pub(crate) tally: &'a mut Tally,
    /// As in [`Marks`].
    pub(crate) judge: &'a mut Judge,
    /// As in [`Marks`].
    pub(crate) clock: &'a ReceiptClock,
    /// As in [`Receipt`].
    pub(crate) established: Established,
    /// As in [`Marks`].
    pub(crate) sockets: &'a Sockets,
    /// As in [`Marks`].
    pub(crate) outbox: &'a mut Outbox,
    /// As in [`Marks`].
    pub(crate) streams: Option<&'a mut Pacing>,
    /// As in [`Marks`].
    pub(crate) again: Option<&'a mut Again>,
}

impl<'a> Receipt<'a> {
    /// Makes ready for what comes next on a connection.
    pub(crate) fn new(own: Own<'a>, scratch: &'a mut Scratch, shared: Shared<'a>) -> Self {
        let Own { row, items, head_ms, window, faults, life } = own;
        let Shared {
            accounting,
            tally,
            judge,
            clock,
            established,
            sockets,
            outbox,
            streams,
            again,
        } = shared;
        let sequence = accounting.sequence.as_ref();
        let is_comet = items.is_comet(sequence);
        let marks = Marks {
            counts_messages: items.are_messages(),
            case: Case { row, window, faults, is_comet, life, tally },
            judge,
            clock,
            received_at: None,
            received_unix_us: None,
            streams,
            sockets,
            filling: Filling::default(),
            outbox,
            again,
        };
        let (stream, opening) = (accounting.stream, None);
        Self { items, scratch, head_ms, stream, sequence, established, opening, marks }
    }

    /// Takes in that so many bytes have been received just now.
    pub(crate) fn begin(&mut self, n_bytes: usize) {
        self.marks.case.tally.bytes += n_bytes as u64;
        self.marks.received_at = None;
        self.marks.received_unix_us = None;
    }

    /// Takes in the end of the body. `is_proper` if it is the end that the server meant.
    pub(crate) fn end(&mut self, is_proper: bool) {
        self.items.end(self.scratch, self.sequence, is_proper, &mut self.marks);
    }
}

impl decode::Sink for Receipt<'_> {
    fn accepts(&self, status: u16) -> bool {
        if self.opening.is_some() { status == 101 } else { self.established.includes(status) }
    }

    fn head(&mut self, head: &Head) {
        let received_at = self.marks.received_at();
        let Marks { case, clock, streams, .. } = &mut self.marks;
        if let Some(streams) = streams {
            streams.answered(case.row, received_at);
        }
        case.tally.connected += 1;
        case.tally.peak = case.tally.peak.max(case.tally.connected);
        if case.window.has_begun() {
            // The numbers go on from the connection before, and what is judged of their beginning
            // with them.
            case.tally.went_on += 1;
        } else {
            *case.window = Window::default();
            let after = clock.since_start(received_at);
            // Rounded up, so that no head seems to have come before it did.
            *self.head_ms =
                u32::try_from(after.as_millis()).map_or(u32::MAX, |ms| ms.saturating_add(1));
        }
        *self.items = Items::new(head, self.stream);
        match self.items.kind() {
            Some(kind) => case.tally.item_kind = case.tally.item_kind.and(kind),
            None => case.tally.n_encoded += 1,
        }
        let kind = head.media_type.as_ref().map_or("none", MediaType::as_str);
        let kind = if head.upgrade.is_some() { "websocket" } else { kind };
        case.tally.content_types.count(kind, 1);
        case.tally.lenient += u64::from(head.is_lenient);
        case.is_comet = self.items.is_comet(self.sequence);
        self.marks.counts_messages = self.items.are_messages();
        if self.opening.is_some() {
            self.marks.sockets.say_on_open(self.marks.filling, self.marks.outbox);
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.items.data(bytes, self.scratch, self.sequence, &mut self.marks);
    }

    fn chunk_end(&mut self) {
        self.marks.case.tally.chunks += 1;
        self.items.chunk_end(self.scratch, &mut self.marks);
    }

    fn upgrade(&self, head: &Head) -> Option<Result<(), UpgradeFault>> {
        Some(self.marks.sockets.opens(self.opening?, head.upgrade.as_deref()))
    }

    fn message(&mut self, bytes: &[u8]) {
        self.items.message(bytes, self.scratch, self.sequence, &mut self.marks);
    }

    fn message_end(&mut self) {
        self.items.message_end(self.scratch, self.sequence, &mut self.marks);
    }

    fn ping(&mut self, bytes: &[u8]) {
        self.marks.case.tally.comments += 1;
        self.marks.outbox.pong(bytes);
    }

    fn pong(&mut self) {
        self.marks.case.tally.comments += 1;
    }

    fn close(&mut self, code: Option<u16>) {
        self.marks.outbox.close(code);
    }
}

impl Marks<'_> {
    /// When the bytes were received that are looked at.
    fn received_at(&mut self) -> Instant {
        *self.received_at.get_or_insert_with(Instant::now)
    }

    /// Takes in that an item has come, if streams are measured.
    fn measure_item(&mut self) {
        if self.streams.is_none() {
            return;
        }
        let received_at = self.received_at();
        if let Some(streams) = &mut self.streams {
            let counts = self.case.tally.streams.get_or_insert_default();
            streams.item(self.case.row, received_at, counts);
        }
    }

    /// Records both latencies of a stamped message.
    fn record_delays(&mut self, stamp: Stamp) {
        let received = match self.received_unix_us {
            Some(known) => known,
            None => self.clock.unix_us(self.received_at()),
        };
        self.received_unix_us = Some(received);
        let tally = &mut *self.case.tally;
        if self.clock.is_corrected() {
            tally.note_stamp(stamp.mark.map(|mark| mark.sender));
        }
        tally.delivery_from_due.record_between_us(stamp.due_unix_us, received);
        let sent_unix_us = stamp.due_unix_us.saturating_add(stamp.late_us);
        tally.delivery_from_send.record_between_us(sent_unix_us, received);
    }

    /// Counts a message that was judged, where messages are the items.
    fn judged(&mut self, is_judged: bool) {
        if is_judged && self.counts_messages {
            self.case.tally.items += 1;
            self.measure_item();
        }
    }
}

impl ItemSink for Marks<'_> {
    fn stamp(&mut self, stamp: Stamp) {
        self.record_delays(stamp);
        if let Some(mark) = stamp.mark {
            let is_judged = self.judge.stamp(mark, &mut self.case);
            self.judged(is_judged);
        }
    }

    fn number(&mut self, number: u64) {
        let is_judged = self.judge.number(number, &mut self.case);
        self.judged(is_judged);
    }

    fn wants_numbers(&self) -> bool {
        self.judge.wants_numbers(self.case.window)
    }

    fn item(&mut self, is_marked: bool) {
        self.case.tally.items += 1;
        self.case.tally.unnumbered += u64::from(!is_marked);
        self.measure_item();
    }

    fn wants_text(&self) -> bool {
        self.streams.as_ref().is_some_and(|streams| streams.wants_text())
    }

    fn text(&mut self, text: Option<&[u8]>) {
        if let Some(streams) = &mut self.streams {
            let counts = self.case.tally.streams.get_or_insert_default();
            streams.text(self.case.row, text, counts);
        }
    }

    fn comment(&mut self) {
        self.case.tally.comments += 1;
    }

    fn too_long(&mut self) {
        self.case.tally.unnumbered += 1;
    }

    fn encoded(&mut self, n: u64) {
        self.case.tally.encoded_bytes += n;
    }

    fn wants_ids(&self) -> bool {
        self.again.is_some()
    }

    fn event_id(&mut self, id: &[u8]) {
        if let Some(again) = &mut self.again {
            again.event_id(self.case.row, id);
        }
    }

    fn retry(&mut self, ms: u64) {
        if let Some(again) = &mut self.again {
            again.retry(self.case.row, ms);
        }
    }

    fn n_to_answer(&self) -> usize {
        self.sockets.n_to_answer()
    }

    fn answer(&mut self, start: &[u8]) {
        self.sockets.answer(start, self.filling, self.outbox);
    }
}
