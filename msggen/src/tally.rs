//! What became of the messages, counted once, for every report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reports::books::{ByReason, SendReport};
use reports::latency::Latency;
use reports::out::Series;

use crate::door::{Miss, Reason, Receipt};
use crate::schedule::Schedule;

/// A message sent more than this after it was due is *late*. It is five times the lateness that a
/// quiet machine shows at the median and what it shows at the 99th percentile.
const LATE: Duration = Duration::from_millis(1);

/// What became of the messages so far. Every message sent is in exactly one of `answered`,
/// `failed`, `unanswered`, or still on its way.
#[derive(Debug, Default)]
pub struct Tally {
    /// The counts that are shown while the run goes on.
    pub counts: Counts,
    /// Failed messages by reason.
    failures: BTreeMap<Reason, u64>,
    /// Unanswered messages by reason.
    unanswered_by: BTreeMap<Reason, u64>,
    /// When the last message was sent.
    last_sent_at: Option<Instant>,
    /// When the last request ended, with an answer or without.
    last_ended_at: Option<Instant>,
    /// From when messages were due to when they were sent.
    lateness: Latency,
    /// From when messages were due to their answer.
    from_due: Latency,
    /// From when messages were sent to their answer.
    from_send: Latency,
}

/// Counts of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages handed to the client.
    pub sent: u64,
    /// Messages that the server took.
    pub answered: u64,
    /// Of the answered, those to an id that nobody was logged in as.
    pub void: u64,
    /// Connections that the answered ones reached.
    pub connections: u64,
    /// Messages that the server does not have.
    pub failed: u64,
    /// Messages that the server may or may not have.
    pub unanswered: u64,
    /// Messages sent more than 1 ms after they were due.
    pub late: u64,
}

/// The delays that go into the logs of `--out`.
pub const SERIES: [Series; 3] = [
    Series { name: "send-due", what: "send latency, from when messages were due to their answer" },
    Series {
        name: "send-actual",
        what: "send latency, from when messages were sent to their answer",
    },
    Series { name: "lateness", what: "from when messages were due to when they were sent" },
];

impl Tally {
    /// The delays of [`SERIES`] so far.
    pub fn totals(&self) -> [&Latency; SERIES.len()] {
        [&self.from_due, &self.from_send, &self.lateness]
    }

    /// Counts `n` messages as sent at `sent_at`.
    pub fn sent(&mut self, sent_at: Instant, n: u64) {
        self.counts.sent += n;
        self.last_sent_at = self.last_sent_at.max(Some(sent_at));
    }

    /// Records how late a message was sent.
    pub fn lateness(&mut self, due_at: Instant, sent_at: Instant) {
        let late = sent_at.saturating_duration_since(due_at);
        self.counts.late += u64::from(late > LATE);
        self.lateness.record(late);
    }

    /// Counts what became of the `n` messages of a request.
    pub fn receipt(&mut self, n: u64, receipt: Receipt, ended_at: Instant) {
        self.last_ended_at = self.last_ended_at.max(Some(ended_at));
        self.counts.answered += receipt.answered;
        self.counts.void += receipt.void;
        self.counts.connections += receipt.connections;
        let n_missed = n - receipt.answered;
        match receipt.miss {
            Some(Miss::Failed(reason)) => {
                self.counts.failed += n_missed;
                *self.failures.entry(reason).or_default() += n_missed;
            }
            Some(Miss::Unanswered(reason)) => {
                self.counts.unanswered += n_missed;
                *self.unanswered_by.entry(reason).or_default() += n_missed;
            }
            None => assert_eq!(n_missed, 0, "a receipt that lacks messages says why"),
        }
    }

    /// Records how long the answer to a message took.
    pub fn latency(&mut self, due_at: Instant, sent_at: Instant, answered_at: Instant) {
        self.from_due.record(answered_at.saturating_duration_since(due_at));
        self.from_send.record(answered_at.saturating_duration_since(sent_at));
    }

    /// The report of the run so far.
    pub fn report(&self, asked: u64, schedule: &Schedule, now: Instant) -> SendReport {
        let counts = self.counts;
        let since_start = |at: Instant| at.saturating_duration_since(schedule.started_at());
        SendReport {
            elapsed_s: since_start(now).as_secs_f64(),
            is_final: false,
            asked,
            sent: counts.sent,
            answered: counts.answered,
            reached: counts.answered - counts.void,
            void: counts.void,
            connections: counts.connections,
            failed: counts.failed,
            failures: by_name(&self.failures),
            unanswered: counts.unanswered,
            late: counts.late,
            achieved_per_s: self.achieved_per_s(schedule),
            asked_per_s: schedule.per_second(),
            lateness: self.lateness.summary(),
            send_from_due: self.from_due.summary(),
            send_from_send: self.from_send.summary(),
        }
    }

    /// How long the messages sent so far took, from when the first was due to when the last was
    /// sent.
    pub fn took(&self, schedule: &Schedule) -> Duration {
        let last_sent_at = self.last_sent_at.unwrap_or(schedule.started_at());
        last_sent_at.saturating_duration_since(schedule.started_at())
    }

    /// Unanswered messages by reason.
    pub fn unanswered_by(&self) -> ByReason {
        by_name(&self.unanswered_by)
    }

    /// Messages a second.
    ///
    /// On a schedule, the first message is sent at the start, so it is the others that took the
    /// time until the last one; counting it too would make every short run look fast. Flat out,
    /// all messages count, and the time runs until the last answer.
    fn achieved_per_s(&self, schedule: &Schedule) -> f64 {
        let (n, seconds) = if schedule.has_due_times() {
            (self.counts.sent.saturating_sub(1), self.took(schedule).as_secs_f64())
        } else {
            let last_ended_at = self.last_ended_at.unwrap_or(schedule.started_at());
            let took = last_ended_at.saturating_duration_since(schedule.started_at());
            (self.counts.sent, took.as_secs_f64())
        };
        if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
    }
}

/// Counts under the reasons' names.
fn by_name(by_reason: &BTreeMap<Reason, u64>) -> ByReason {
    by_reason.iter().map(|(reason, &n)| (reason.to_string(), n)).collect()
}
