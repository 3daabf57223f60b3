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

/// How much more vague than the one before a burst is that is passed over where the next one comes
/// in time: a host that is busy for a moment answers late, and its clock goes on all the same.
const MAX_VAGUENESS: f64 = 2.0;

/// How many bursts in a row are passed over so at the most: the clock is not taken to go evenly for
/// more than about a minute.
const N_VAGUE: usize = 5;

/// What is cut off, and rounded, on the way of a time through corrections, in microseconds: one of
/// the receipt, one of each correction, one where a worker tells its two readings apart.
const ROUNDING_US: f64 = 4.0;

/// What one burst says: the host's clock minus the parent's is not below the one and not above the
/// other.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_field_names, reason = "a unit ends a name")]
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
        let both = intervals.clone().reduce(Known::and)?;
        if both.is_possible() {
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

    /// By how much that may be wrong.
    fn half_width_us(self) -> f64 {
        (self.high_us - self.low_us) / 2.0
    }

    /// Whether it says anything that can be.
    fn is_possible(self) -> bool {
        self.low_us <= self.high_us
    }

    /// Whether both of two statements about the same moment can be true.
    fn agrees_with(self, other: Self) -> bool {
        self.and(other).is_possible()
    }

    /// What this and `next` say of a time between them.
    fn towards(self, next: Self, at_us: i64) -> Self {
        let gone_us = (next.at_us - self.at_us) as f64;
        let part = if gone_us > 0.0 { (at_us - self.at_us) as f64 / gone_us } else { 0.0 };
        let between = |from_us: f64, to_us: f64| from_us + (to_us - from_us) * part;
        Self {
            at_us,
            low_us: between(self.low_us, next.low_us),
            high_us: between(self.high_us, next.high_us),
        }
    }

    /// What it says of the later time `at_us`, if the difference grows so slowly or so fast.
    fn later(self, at_us: i64, (slowest, fastest): (f64, f64)) -> Self {
        let gone_us = (at_us - self.at_us) as f64;
        let (low_us, high_us) = (self.low_us + slowest * gone_us, self.high_us + fastest * gone_us);
        Self { at_us, low_us, high_us }
    }
}

/// A correction that was in force.
#[derive(Debug, Clone, Copy)]
struct Applied {
    /// What was applied to times of the host.
    correction: Correction,
    /// From when on, at the earliest, by the parent's clock in microseconds.
    from_us: i64,
    /// Until when at the latest; as long as that is not known, `None`.
    until_us: Option<i64>,
}

impl Applied {
    /// Whether it may have been in force at any time from `start_us` to `end_us`; which part of it.
    fn within(&self, start_us: i64, end_us: i64) -> Option<(i64, i64)> {
        let start_us = start_us.max(self.from_us);
        let end_us = self.until_us.map_or(end_us, |until_us| until_us.min(end_us));
        (start_us <= end_us).then_some((start_us, end_us))
    }
}

/// The clock of a host.
///
/// What is known of a clock later says how wrong the corrections were that were applied before.
/// Between two bursts a clock is taken to go evenly; what each of them says is certain.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostClock {
    /// What the latest bursts said, the latest last.
    known: VecDeque<Known>,
    /// Of these, the last one up to which the bound is known.
    settled: Option<Known>,
    /// Bursts after it that said so little that the next one may say more about their time.
    vague: Vec<Known>,
    /// The corrections that may be in force after that, the latest last.
    applied: VecDeque<Applied>,
    /// The largest error of a correction so far, in microseconds.
    bound_us: f64,
    /// What is made of all this.
    estimate: Option<Estimate>,
}

/// A guess at the difference of two clocks.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// The host's clock minus the parent's, in microseconds.
    offset_us: f64,
    /// By how much that grows, in microseconds a microsecond.
    drift: f64,
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
        let is_later = |it: &Known| self.known.back().is_none_or(|last| it.at_us > last.at_us);
        let Some(known) = Known::of(burst).filter(is_later) else { return self.correction() };
        for exchange in burst {
            self.heard(*exchange);
        }
        self.settle(known);
        if self.known.len() == N_REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back(known);
        let estimate = self.estimated(known);
        self.estimate = Some(estimate);
        let correction = estimate.correction(known.at_us);
        // It is sent when the last answer has come, and may be there before the next question.
        self.applied.push_back(Applied { correction, from_us: known.at_us, until_us: None });
        Some(correction)
    }

    /// The correction that is to be applied now; `None` as long as nothing is known.
    pub(crate) fn correction(&self) -> Option<Correction> {
        Some(self.applied.back()?.correction)
    }

    /// Takes in a single exchange, such as the ping of each second: what was sent to the host
    /// before it was asked has come there, as all goes through one pipe.
    pub(crate) fn heard(&mut self, exchange: Exchange) {
        let Exchange { sent_us, received_us, .. } = exchange;
        let Some(n_old) = self.applied.len().checked_sub(1) else { return };
        if sent_us >= self.applied[n_old].from_us {
            for old in self.applied.iter_mut().take(n_old) {
                old.until_us.get_or_insert(received_us);
            }
        }
    }

    /// What is known of the clock when all is over, or up to now. Its bound is that of all
    /// corrections, at all times at which they were applied. `None` if nothing is known.
    pub(crate) fn finish(&self) -> Option<ClockReport> {
        let Estimate { offset_us, drift } = self.estimate?;
        let mut all = self.clone();
        all.settle_vague();
        // The last correction, at the time at which it was made.
        let last = self.known.back().copied().into_iter();
        last.for_each(|known| all.settle_to(known));
        #[expect(clippy::cast_possible_truncation, reason = "both are bounded by possible times")]
        #[expect(clippy::cast_sign_loss, reason = "a bound is none below zero")]
        let (offset_us, bound_us) = (offset_us.round() as i64, all.bound_us.ceil() as u64);
        Some(ClockReport { offset_us, drift_ppm: drift * 1e6, bound_us })
    }

    /// Takes in what a burst says about the time since the one before.
    fn settle(&mut self, known: Known) {
        let Some(settled) = self.settled else {
            self.settle_to(known);
            return;
        };
        let is_vague = known.half_width_us() > MAX_VAGUENESS * settled.half_width_us();
        if is_vague && self.vague.len() < N_VAGUE {
            self.vague.push(known);
            return;
        }
        // The clock may have gone evenly since the last good burst, or not.
        let is_even = |vague: &Known| vague.agrees_with(settled.towards(known, vague.at_us));
        if is_vague || !self.vague.iter().all(is_even) {
            self.settle_vague();
        }
        self.vague.clear();
        self.settle_to(known);
    }

    /// Goes by vague bursts as well, as there is nothing better.
    fn settle_vague(&mut self) {
        for vague in std::mem::take(&mut self.vague) {
            self.settle_to(vague);
        }
    }

    /// Finds out how wrong corrections have been from the last burst that counts to this one.
    fn settle_to(&mut self, known: Known) {
        let settled = self.settled.replace(known).unwrap_or(known);
        let (start_us, end_us) = (settled.at_us, known.at_us);
        for applied in &self.applied {
            let Some((from_us, to_us)) = applied.within(start_us, end_us) else { continue };
            // Errors grow and shrink evenly, so that they are largest where this begins or ends.
            for at_us in [from_us, to_us] {
                let truth = settled.towards(known, at_us);
                self.bound_us = self.bound_us.max(error_us(applied.correction, truth));
            }
        }
        self.applied.retain(|applied| applied.until_us.is_none_or(|until_us| until_us > end_us));
    }

    /// The best guess at the time of `latest`, which is the latest of those that are known.
    fn estimated(&self, latest: Known) -> Estimate {
        let drift = self.drifts();
        // What earlier bursts said holds now as well, as far as it is known how the clock has gone.
        let mut now = latest;
        for earlier in self.known.iter().rev() {
            let both = now.and(earlier.later(latest.at_us, drift));
            if !both.is_possible() {
                break;
            }
            now = both;
        }
        Estimate { offset_us: now.middle_us(), drift: drift.0.midpoint(drift.1) }
    }

    /// How slowly and how fast the difference may grow, by all pairs of bursts, the latest first.
    fn drifts(&self) -> (f64, f64) {
        let mut drifts = (-MAX_DRIFT, MAX_DRIFT);
        for (n_before, late) in self.known.iter().enumerate().rev() {
            for early in self.known.iter().take(n_before).rev() {
                let gone_us = (late.at_us - early.at_us) as f64;
                let slowest = drifts.0.max((late.low_us - early.high_us) / gone_us);
                let fastest = drifts.1.min((late.high_us - early.low_us) / gone_us);
                if slowest > fastest {
                    // It has gone otherwise before.
                    return drifts;
                }
                drifts = (slowest, fastest);
            }
        }
        drifts
    }
}

impl Estimate {
    /// The same as what is applied to times of the host, made at the parent's time `at_us`.
    fn correction(self, at_us: i64) -> Correction {
        let Self { offset_us, drift } = self;
        let (offset_us, drift_ppb) = (offset_us.round(), (-drift / (1.0 + drift) * 1e9).round());
        #[expect(clippy::cast_possible_truncation, reason = "both are bounded by possible times")]
        let (offset_us, drift_ppb) = (offset_us as i64, drift_ppb as i64);
        Correction { at_us: at_us + offset_us, is_us: at_us, drift_ppb }
    }
}

/// How wrong the parent's time may be that a correction makes of the host's, when `truth` is known,
/// in microseconds.
fn error_us(correction: Correction, truth: Known) -> f64 {
    let error_us = |offset_us: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "it is bounded by possible times")]
        let there_us = truth.at_us + offset_us as i64;
        correction.apply(there_us).abs_diff(truth.at_us) as f64
    };
    error_us(truth.low_us.floor()).max(error_us(truth.high_us.ceil())) + ROUNDING_US
}

#[cfg(test)]
mod tests;
