//! When the clock of a host is asked for.
//!
//! A burst of questions, one after the other, bounds the difference of two clocks by its fastest
//! answers. There is one before the run, some soon after its start, when least is known of how the
//! clocks go apart, one every ten seconds, and one at the end. In between a question each second
//! tells both sides that the other is there.

use std::time::{Duration, Instant};

use reports::books::ClockReport;

use super::super::monotonic;
use crate::clocks::Exchange;
use crate::clocks::correction::Correction;
use crate::clocks::host::HostClock;

/// Questions of a burst. On a quiet line the fastest of 16 is within a tenth of the fastest of all.
const BURST: usize = 16;

/// How long after the first burst the next ones are.
const SOON: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// How long one of the others is after the one before.
const EVERY: Duration = Duration::from_secs(10);

/// How long one question is after another where there is no burst.
const PING_EVERY: Duration = Duration::from_secs(1);

/// The questions to a host and what they told.
#[derive(Debug)]
pub(super) struct Exchanges {
    /// What is known of its clock.
    clock: HostClock,
    /// The answers of the burst that is on; `None` if none is.
    burst: Option<Vec<Exchange>>,
    /// Bursts that were.
    n_bursts: usize,
    /// Questions that are not answered.
    n_open: u64,
    /// When there is a question without a burst.
    ping_at: Instant,
    /// When there is a burst.
    burst_at: Instant,
    /// A correction that the host was not told.
    news: Option<Correction>,
}

impl Default for Exchanges {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            clock: HostClock::new(),
            burst: None,
            n_bursts: 0,
            n_open: 0,
            ping_at: now,
            burst_at: now + EVERY,
            news: None,
        }
    }
}

impl Exchanges {
    /// Begins a burst with the next question.
    pub(super) fn begin(&mut self) {
        self.burst = Some(Vec::with_capacity(BURST));
    }

    /// The question that is to be asked `now`, if one is: what the parent's clock says.
    pub(super) fn question(&mut self, now: Instant) -> Option<i64> {
        if now >= self.burst_at && self.burst.is_none() {
            self.begin();
        }
        let is_next = self.burst.is_some() && self.n_open == 0;
        if !is_next && now < self.ping_at {
            return None;
        }
        self.ping_at = now + PING_EVERY;
        self.n_open += 1;
        Some(monotonic::now_us())
    }

    /// Takes in an answer.
    pub(super) fn answered(&mut self, sent_us: i64, there_us: i64, received_us: i64) {
        self.n_open = self.n_open.saturating_sub(1);
        let exchange = Exchange { sent_us, there_us, received_us };
        let Some(burst) = &mut self.burst else {
            self.clock.heard(exchange);
            return;
        };
        burst.push(exchange);
        if burst.len() == BURST {
            self.news = self.clock.add(burst).or(self.news);
            self.burst = None;
            let next = SOON.get(self.n_bursts).copied().unwrap_or(EVERY);
            self.burst_at = Instant::now() + next;
            self.n_bursts += 1;
        }
    }

    /// When there is something to ask.
    pub(super) fn next_at(&self) -> Instant {
        self.ping_at.min(self.burst_at)
    }

    /// Whether a burst is on.
    pub(super) fn is_busy(&self) -> bool {
        self.burst.is_some()
    }

    /// Whether it is known what the clock says.
    pub(super) fn is_known(&self) -> bool {
        self.clock.correction().is_some()
    }

    /// What the host's clock says when the parent's says `us`.
    pub(super) fn there_us(&self, us: i64) -> i64 {
        self.clock.correction().map_or(us, |correction| correction.inverse().apply(us))
    }

    /// How the clock is read now.
    pub(super) fn correction(&self) -> Option<Correction> {
        self.clock.correction()
    }

    /// The correction that the host is to be told, once.
    pub(super) fn news(&mut self) -> Option<Correction> {
        self.news.take()
    }

    /// What is known of the clock.
    pub(super) fn report(&self) -> Option<ClockReport> {
        self.clock.finish()
    }
}
