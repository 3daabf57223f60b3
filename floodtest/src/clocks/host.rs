//! What the answers of a host say about its clock.

use std::collections::VecDeque;

use reports::books::ClockReport;

use super::Exchange;
use super::correction::Correction;

/// By how much two monotonic clocks may go apart, in microseconds a second: the kernel lets NTP
/// turn each by 500. A host whose clock goes faster than that has a larger bound, not a wrong one.
const MAX_DRIFT: f64 = 1_000e-6;

/// The latest time that a host's clock may say, in microseconds: 100 years after its start. What is
/// said beyond it is no clock's.
const MAX_TIME_US: i64 = 100 * 366 * 24 * 3_600 * 1_000_000;

/// Bursts that say how fast a clock goes: those of five minutes. Before that it may have been
/// warmer, or NTP of another mind.
const N_REMEMBERED: usize = 32;

/// What one burst says: the host's clock minus the parent's is not below the one and not above the
/// other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    /// When, by the parent's clock in microseconds.
    at_us: i64,
    /// At least so much, in microseconds.
    low_us: f64,
    /// At most so much, in microseconds.
    high_us: f64,
}

impl Known {
    /// What a burst says; `None` if none of its answers can be one.
    fn of(burst: &[Exchange]) -> Option<Self> {
        let is_possible = |it: &&Exchange| {
            let is_time = |us: i64| (0..=MAX_TIME_US).contains(&us);
            is_time(it.there_us)
                && is_time(it.sent_us)
                && is_time(it.received_us)
                && it.sent_us <= it.received_us
        };
        let possible = || burst.iter().filter(is_possible);
        let fastest = possible().min_by_key(|it| it.received_us - it.sent_us)?;
        let at_us = fastest.sent_us.midpoint(fastest.received_us);
        let intervals = possible().map(|it| {
            // The clocks went on between that moment and the answer.
            let apart_us = at_us.abs_diff(it.sent_us).max(at_us.abs_diff(it.received_us));
            let drifted_us = apart_us as f64 * MAX_DRIFT;
            // Of each time less than a microsecond is cut off.
            let low_us = (it.there_us - it.received_us - 1) as f64 - drifted_us;
            let high_us = (it.there_us - it.sent_us + 1) as f64 + drifted_us;
            Self { at_us, low_us, high_us }
        });
        let both = intervals.clone().reduce(|one, two| one.and(two))?;
        if both.low_us <= both.high_us {
            return Some(both);
        }
        // A clock that was stopped or set in between: it was anywhere in all this.
        intervals.reduce(|one, two| Self {
            low_us: one.low_us.min(two.low_us),
            high_us: one.high_us.max(two.high_us),
            ..one
        })
    }

    /// Both of two statements about the same moment.
    fn and(self, other: Self) -> Self {
        Self {
            low_us: self.low_us.max(other.low_us),
            high_us: self.high_us.min(other.high_us),
            ..self
        }
    }

    /// The middle.
    fn middle_us(self) -> f64 {
        self.low_us.midpoint(self.high_us)
    }

    /// How much later than `earlier` it is, in microseconds.
    fn after_us(self, earlier: Self) -> f64 {
        (self.at_us - earlier.at_us) as f64
    }
}

/// The clock of a host.
#[derive(Debug, Default)]
pub(crate) struct HostClock {
    /// What the latest bursts said.
    known: VecDeque<Known>,
    /// What is made of them.
    estimate: Option<Estimate>,
}

/// A guess at the difference of two clocks.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// The host's clock minus the parent's, in microseconds.
    offset_us: f64,
    /// By how much that grows, in microseconds a microsecond.
    drift: f64,
    /// The same as what is sent to the host.
    correction: Correction,
}

impl HostClock {
    /// A clock of which nothing is known.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes in a burst of exchanges, of which later ones come in later calls: the correction from
    /// the host's clock to the parent's that is to be applied from now on. `None` as long as no
    /// answer was one that a clock can give.
    ///
    /// [`Origin::unix`](super::origin::Origin::unix) makes of it what workers are sent.
    pub(crate) fn add(&mut self, burst: &[Exchange]) -> Option<Correction> {
        let later = |it: &Known| self.known.back().is_none_or(|last| it.at_us > last.at_us);
        if let Some(known) = Known::of(burst).filter(later) {
            if self.known.len() == N_REMEMBERED {
                self.known.pop_front();
            }
            self.known.push_back(known);
            let first = self.known[0];
            let gone_us = known.after_us(first);
            let drift =
                if gone_us > 0.0 { (known.middle_us() - first.middle_us()) / gone_us } else { 0.0 };
            self.estimate = Some(Estimate::new(known.at_us, known.middle_us(), drift));
        }
        self.correction()
    }

    /// The correction that is to be applied now; `None` as long as nothing is known.
    pub(crate) fn correction(&self) -> Option<Correction> {
        Some(self.estimate?.correction)
    }

    /// Takes in a single exchange, such as the ping of each second: it shows that what was sent to
    /// the host before it has come there.
    pub(crate) fn heard(&mut self, _exchange: Exchange) {}

    /// What is known of the clock when all is over. Its bound is that of all corrections, at all
    /// times at which they were applied. `None` if nothing is known.
    pub(crate) fn finish(&self) -> Option<ClockReport> {
        let Estimate { offset_us, drift, .. } = self.estimate?;
        let widest = self.known.iter().map(|it| (it.high_us - it.low_us) / 2.0);
        Some(ClockReport {
            offset_us: offset_us.round() as i64,
            drift_ppm: drift * 1e6,
            bound_us: widest.fold(0.0, f64::max).ceil() as u64,
        })
    }
}

impl Estimate {
    /// The difference at the parent's time `at_us`, in microseconds, and how it grows.
    fn new(at_us: i64, offset_us: f64, drift: f64) -> Self {
        let there_us = at_us + offset_us.round() as i64;
        let drift_ppb = (-drift / (1.0 + drift) * 1e9).round() as i64;
        let correction = Correction { at_us: there_us, is_us: at_us, drift_ppb };
        Self { offset_us, drift, correction }
    }
}
