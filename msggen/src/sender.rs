//! One source: counts down its messages and sends each when it is due, or as soon after as the
//! answer to the one before it allows.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reports::stamp::{Clock, Stamp, as_us};

use crate::door::{Door, Miss, Reason, Receipt};
use crate::ids::Ids;
use crate::schedule::Schedule;
use crate::tally::Tally;

/// What all sources of a run share.
#[derive(Debug)]
pub struct Shared {
    /// Messages that each source sends.
    pub n_messages: u64,
    /// Messages that may go in one request; 1 means a request of its own for each.
    pub batch: u64,
    /// Turns due times into the wall times that messages carry; none when they carry none.
    pub stamp_clock: Option<Clock>,
    /// When messages are due.
    pub schedule: Arc<Schedule>,
    /// Where they go.
    pub door: Door,
    /// What became of them. Held for an update and never while waiting.
    pub tally: Mutex<Tally>,
}

impl Shared {
    /// The tally, for one update or one look.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no update of the tally panics")
    }
}

/// One of the concurrent senders of messages.
#[derive(Debug)]
pub struct Source {
    /// Its number, 0, 1, ….
    number: u64,
    /// Messages that it has sent.
    n_sent: u64,
    /// Whom it sends the next ones to.
    ids: Ids,
    /// Where requests are written. The client's hold on it ends with the answer, so that the same
    /// memory serves every request.
    buffer: BytesMut,
    /// What it shares with the others.
    shared: Arc<Shared>,
}

impl Source {
    /// Source `number`, which sends to `ids`.
    pub fn new(number: u64, ids: Ids, shared: Arc<Shared>) -> Self {
        Self { number, n_sent: 0, ids, buffer: BytesMut::new(), shared }
    }

    /// Sends all messages of this source, or those before the schedule was stopped.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let n_left = shared.n_messages - self.n_sent;
            if n_left == 0 {
                return;
            }
            let n_overdue = shared.schedule.n_overdue(self.number, self.n_sent).await;
            if n_overdue == 0 {
                return;
            }
            let n = n_overdue.min(n_left).min(shared.batch);
            let in_flight = InFlight::begin(&shared, self.number, self.n_sent, n);
            let receipt = if shared.batch > 1 {
                let lines = self.write_batch(n, in_flight.sent_at);
                shared.door.send_batch(lines, n).await
            } else {
                let (id, message) = self.write_one(in_flight.sent_at);
                shared.door.send_one(id, message).await
            };
            in_flight.end(receipt);
        }
    }

    /// The next message and whom it goes to.
    fn write_one(&mut self, sent_at: Instant) -> (u64, Bytes) {
        let id = self.ids.next_id();
        self.write_message(sent_at);
        (id, self.buffer.split().freeze())
    }

    /// The next `n` messages, a line of JSON each.
    fn write_batch(&mut self, n: u64, sent_at: Instant) -> Bytes {
        for _ in 0..n {
            let id = self.ids.next_id();
            self.write(format_args!("{{\"id\":{id},\"msg\":\""));
            // Nothing in a message needs escaping: it is made of letters, digits, ` = `, `@`, `+`.
            self.write_message(sent_at);
            self.write(format_args!("\"}}\n"));
        }
        self.buffer.split().freeze()
    }

    /// Writes the text of the next message, sent at `sent_at`, and counts it.
    fn write_message(&mut self, sent_at: Instant) {
        // They are numbered backwards, as the article's are: the last one is number 1.
        let countdown = self.shared.n_messages - self.n_sent;
        self.write(format_args!("Fake message Num = {countdown}"));
        if let Some(clock) = self.shared.stamp_clock {
            let due_at = self.shared.schedule.due_at(self.number, self.n_sent, sent_at);
            let late_us = as_us(sent_at.saturating_duration_since(due_at));
            self.write(format_args!("{}", Stamp { due_unix_us: clock.unix_us(due_at), late_us }));
        }
        self.n_sent += 1;
    }

    /// Appends to the request.
    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.buffer.write_fmt(text).expect("a buffer in memory grows as needed");
    }
}

/// A request on its way, and the promise that its messages are accounted for: dropped without an
/// answer, as at the end of a run that does not wait for it, they count as unanswered.
#[derive(Debug)]
struct InFlight<'a> {
    /// Where its messages are accounted for.
    shared: &'a Shared,
    /// The source that sent them.
    source: u64,
    /// The source's number of the first of them.
    first: u64,
    /// How many they are.
    n: u64,
    /// When they were sent: right before the request was written and handed to the client.
    sent_at: Instant,
    /// Whether there was an answer, or a reason why there will be none.
    is_ended: bool,
}

impl<'a> InFlight<'a> {
    /// Counts `n` messages of `source`, from its number `first` on, as sent now.
    fn begin(shared: &'a Shared, source: u64, first: u64, n: u64) -> Self {
        let sent_at = Instant::now();
        let request = Self { shared, source, first, n, sent_at, is_ended: false };
        let mut tally = shared.tally();
        tally.sent(sent_at, n);
        if shared.schedule.has_due_times() {
            request.due_times(n).for_each(|due_at| tally.lateness(due_at, sent_at));
        }
        drop(tally);
        request
    }

    /// When each of the first `n` of these messages was due.
    fn due_times(&self, n: u64) -> impl Iterator<Item = Instant> {
        let numbers = self.first..self.first + n;
        numbers.map(|number| self.shared.schedule.due_at(self.source, number, self.sent_at))
    }

    /// Counts what became of the messages.
    fn end(mut self, receipt: Receipt) {
        self.is_ended = true;
        let answered_at = Instant::now();
        let mut tally = self.shared.tally();
        tally.receipt(self.n, receipt, answered_at);
        for due_at in self.due_times(receipt.answered) {
            tally.latency(due_at, self.sent_at, answered_at);
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.is_ended {
            let miss = Some(Miss::Unanswered(Reason::Interrupted));
            let receipt = Receipt { miss, ..Receipt::default() };
            self.shared.tally().receipt(self.n, receipt, Instant::now());
        }
    }
}
