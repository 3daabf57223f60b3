//! What became of the messages, counted once, for every report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reports::books::{ByReason, Own, SendReport};
use reports::latency::Latency;
use reports::out::Series;

use crate::control::Whom;
use crate::message::Draft;
use crate::receipt::{Miss, Reason, Receipt};
use crate::route::Route;

/// A message sent more than this after it was due is *late*. It is five times the lateness that a
/// quiet machine shows at the median and what it shows at the 99th percentile.
const LATE: Duration = Duration::from_millis(1);

/// What became of the messages so far. Every message sent is in exactly one of `answered`,
/// `written`, `failed`, `unanswered`, or still on its way.
#[derive(Debug)]
pub struct Tally {
    /// When the run began: the due time of the first message, if it has one.
    started_at: Instant,
    /// Messages a second that are asked for; 0 when messages have no due times.
    asked_per_s: f64,
    /// Whether the servers say whom messages reached.
    tells_reach: bool,
    /// Whether messages go to all who follow an id.
    to_followers: bool,
    /// Whether servers answer messages.
    has_answers: bool,
    /// The counts that are shown while the run goes on.
    pub counts: Counts,
    /// Failed messages by reason.
    failures: BTreeMap<Reason, u64>,
    /// Unanswered messages by reason.
    unanswered_by: BTreeMap<Reason, u64>,
    /// WebSockets that ended before the run wanted them to, by how they did.
    closed_by: ByReason,
    /// When the last message was sent.
    last_sent_at: Option<Instant>,
    /// When the first of the messages sent was due.
    first_due_at: Option<Instant>,
    /// When the last of the messages sent was due.
    last_due_at: Option<Instant>,
    /// How far behind its schedule any source was at its end.
    behind: Duration,
    /// When the last request ended, with an answer or without.
    last_ended_at: Option<Instant>,
    /// When the last request ended of which a message was answered, or written where nobody
    /// answers.
    last_answer_at: Option<Instant>,
    /// From when messages were due to when they were sent.
    lateness: Latency,
    /// From when messages were due and nothing but msggen kept them from being written, to when
    /// they were sent.
    own_lateness: Latency,
    /// How long numbered messages waited for those before them to the same id.
    order_wait: Latency,
    /// From when messages were due to their answer.
    from_due: Latency,
    /// From when messages were sent to their answer.
    from_send: Latency,
}

/// Counts of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages handed to a connection, or for which there was none.
    pub sent: u64,
    /// Messages that the server took.
    pub answered: u64,
    /// Messages that the kernel took, where no server answers.
    pub written: u64,
    /// Of the answered, those that are known to have reached somebody.
    pub reached: u64,
    /// Of the answered, those that are known to have reached nobody.
    pub void: u64,
    /// Connections that the answered ones are known to have reached.
    pub connections: u64,
    /// Followers that the ids of the answered ones have, where messages go to these.
    pub followers: u64,
    /// Messages that the server does not have.
    pub failed: u64,
    /// Messages that the server may or may not have.
    pub unanswered: u64,
    /// Messages sent more than 1 ms after they were due.
    pub late: u64,
}

impl Counts {
    /// Of the answered, those of which it is not known whether they reached anybody.
    pub fn reach_unknown(&self) -> u64 {
        self.answered - self.reached - self.void
    }
}

/// The delays that go into the logs of `--out`.
pub const SERIES: [Series; 3] = [
    Series {
        name: "send_from_due",
        what: "send latency, from when messages were due to their answer",
    },
    Series {
        name: "send_from_send",
        what: "send latency, from when messages were sent to their answer",
    },
    Series { name: "lateness", what: "from when messages were due to when they were sent" },
];

impl Tally {
    /// Nothing yet, of a run that begins at `started_at` and is to send `asked_per_s` messages a
    /// second; 0 for as many as are answered. `route` says what servers say of them.
    pub fn new(started_at: Instant, asked_per_s: f64, route: &Route) -> Self {
        Self {
            started_at,
            asked_per_s,
            tells_reach: route.tells_reach(),
            to_followers: route.whom() == Whom::Followers,
            has_answers: route.has_answers(),
            counts: Counts::default(),
            failures: BTreeMap::new(),
            unanswered_by: BTreeMap::new(),
            closed_by: ByReason::new(),
            last_sent_at: None,
            first_due_at: None,
            last_due_at: None,
            behind: Duration::ZERO,
            last_ended_at: None,
            last_answer_at: None,
            lateness: Latency::default(),
            own_lateness: Latency::default(),
            order_wait: Latency::default(),
            from_due: Latency::default(),
            from_send: Latency::default(),
        }
    }

    /// The delays of [`SERIES`] so far.
    pub fn totals(&self) -> [&Latency; SERIES.len()] {
        [&self.from_due, &self.from_send, &self.lateness]
    }

    /// Counts a message as sent at `sent_at`.
    pub fn sent(&mut self, draft: &Draft, sent_at: Instant) {
        self.counts.sent += 1;
        self.last_sent_at = self.last_sent_at.max(Some(sent_at));
        if draft.number > 0 {
            self.order_wait.record(draft.waited);
        }
        if let Some(free_at) = draft.free_at {
            self.own_lateness.record(sent_at.saturating_duration_since(free_at));
        }
        let due_at = draft.due_at.unwrap_or(sent_at);
        self.first_due_at = Some(self.first_due_at.map_or(due_at, |first| first.min(due_at)));
        if let Some(due_at) = draft.due_at {
            let late = sent_at.saturating_duration_since(due_at);
            self.counts.late += u64::from(late > LATE);
            self.lateness.record(late);
            self.last_due_at = self.last_due_at.max(Some(due_at));
            if draft.countdown == 1 {
                self.fell_behind(late);
            }
        }
    }

    /// Notes how far behind its schedule a source was when it had nothing more to send.
    pub fn fell_behind(&mut self, behind: Duration) {
        self.behind = self.behind.max(behind);
    }

    /// Counts what became of the messages of a request that were sent at `sent_at`. Those that were
    /// answered are the first ones of them.
    pub fn ended(
        &mut self,
        drafts: impl ExactSizeIterator<Item = Draft>,
        sent_at: Instant,
        receipt: Receipt,
        ended_at: Instant,
    ) {
        self.last_ended_at = self.last_ended_at.max(Some(ended_at));
        self.counts.answered += receipt.answered;
        self.counts.written += receipt.written;
        self.counts.reached += receipt.reached;
        self.counts.void += receipt.void;
        // Beyond what is a number nobody counts.
        let connections = self.counts.connections.saturating_add(receipt.connections);
        self.counts.connections = connections;
        let followers = self.counts.followers.saturating_add(receipt.followers);
        self.counts.followers = followers;
        if receipt.n_taken() > 0 {
            self.last_answer_at = self.last_answer_at.max(Some(ended_at));
        }
        let n_missed = drafts.len() as u64 - receipt.n_taken();
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
        for (draft, _) in drafts.zip(0..receipt.answered) {
            // Without a due time a message is due when it is sent.
            let due_at = draft.due_at.unwrap_or(sent_at);
            self.from_due.record(ended_at.saturating_duration_since(due_at));
            self.from_send.record(ended_at.saturating_duration_since(sent_at));
        }
    }

    /// The report of the run so far, of which `asked` messages are asked for.
    pub fn report(&self, asked: u64, now: Instant) -> SendReport {
        let counts = self.counts;
        SendReport {
            elapsed_s: self.since_start(Some(now)).as_secs_f64(),
            is_final: false,
            asked,
            sent: counts.sent,
            answered: counts.answered,
            written: (!self.has_answers).then_some(counts.written),
            reached: self.tells_reach.then_some(counts.reached),
            void: self.tells_reach.then_some(counts.void),
            connections: self.tells_reach.then_some(counts.connections),
            followers: self.to_followers.then_some(counts.followers),
            reach_unknown: counts.reach_unknown(),
            failed: counts.failed,
            failures: by_name(&self.failures),
            unanswered: counts.unanswered,
            late: counts.late,
            achieved_per_s: self.achieved_per_s(),
            asked_per_s: self.asked_per_s,
            lateness: self.lateness.summary(),
            order_wait: self.order_wait.summary(),
            send_from_due: self.from_due.summary(),
            send_from_send: self.from_send.summary(),
            own: Own {
                lateness: self.own_lateness.summary(),
                busiest_thread_share: None,
                asked_per_s: (self.asked_per_s > 0.0).then_some(self.asked_per_s),
                achieved_per_s: self.achieved_per_s(),
            },
            // What the run knows by itself.
            stray_answers: 0,
            sender: None,
            is_unordered: false,
            limited_by: None,
        }
    }

    /// When the first of the messages sent was due; when the run began, if none was.
    pub fn first_due_at(&self) -> Instant {
        self.first_due_at.unwrap_or(self.started_at)
    }

    /// When a message was answered last.
    pub fn last_answer_at(&self) -> Option<Instant> {
        self.last_answer_at
    }

    /// How long the messages sent so far would have taken on schedule, from the start to when the
    /// last of them was due.
    pub fn planned(&self) -> Duration {
        self.since_start(self.last_due_at)
    }

    /// How long they took, from the start to when the last of them was sent.
    pub fn took(&self) -> Duration {
        self.since_start(self.last_sent_at)
    }

    /// How far behind its schedule the slowest source was at its end.
    pub fn behind(&self) -> Duration {
        self.behind
    }

    /// Notes that a WebSocket ended in this way before the run wanted it to.
    pub fn closed(&mut self, how: String) {
        *self.closed_by.entry(how).or_default() += 1;
    }

    /// WebSockets that ended before the run wanted them to.
    pub fn closed_by(&self) -> ByReason {
        self.closed_by.clone()
    }

    /// Unanswered messages by reason.
    pub fn unanswered_by(&self) -> ByReason {
        by_name(&self.unanswered_by)
    }

    /// From the start to `at`, if that was after it.
    fn since_start(&self, at: Option<Instant>) -> Duration {
        at.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.started_at))
    }

    /// Messages a second.
    ///
    /// On a schedule, the first message is sent at the start, so it is the others that took the
    /// time until the last one; counting it too would make every short run look fast. Flat out,
    /// all messages count, and the time runs until the last answer.
    fn achieved_per_s(&self) -> f64 {
        let (n, seconds) = if self.asked_per_s > 0.0 {
            (self.counts.sent.saturating_sub(1), self.took().as_secs_f64())
        } else {
            (self.counts.sent, self.since_start(self.last_ended_at).as_secs_f64())
        };
        if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
    }
}

/// Counts under the reasons' names.
fn by_name(by_reason: &BTreeMap<Reason, u64>) -> ByReason {
    by_reason.iter().map(|(reason, &n)| (reason.to_string(), n)).collect()
}
