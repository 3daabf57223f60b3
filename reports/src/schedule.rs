//! When things are due.
//!
//! The whole schedule is one formula, so that nobody's delay moves it: event k is due at
//! k × period ÷ n after the start, whatever happened to the events before it (open loop).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fixed schedule of events, `n` in every `period`, evenly spread.
///
/// A schedule for 100 sources that send once every 100 ms each is 100 events in 100 ms: event k
/// belongs to source k mod 100, so the sources take turns and do not all fire at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Events in every period; at least 1.
    n_per_period: u64,
    /// Nanoseconds in a period; 0 when everything is due at once.
    period_ns: u64,
}

impl Schedule {
    /// `n` events in every `period`. A period of zero makes all of them due at the start.
    ///
    /// Panics if `n` is zero: a schedule without events has no due times.
    pub fn new(n: u64, period: Duration) -> Self {
        assert!(n > 0, "a schedule has at least one event in a period");
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Self { n_per_period: n, period_ns }
    }

    /// `rate` events a second. A rate is kept to a millionth of an event a second.
    ///
    /// Panics if that leaves no event at all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive and far below 2^64 millionths a second"
    )]
    pub fn per_second(rate: f64) -> Self {
        const PERIOD_S: u64 = 1_000_000;
        Self::new((rate * PERIOD_S as f64).round() as u64, Duration::from_secs(PERIOD_S))
    }

    /// Everything is due at the start.
    pub fn at_once() -> Self {
        Self::new(1, Duration::ZERO)
    }

    /// Whether everything is due at the start, so that being late means nothing.
    pub fn is_at_once(&self) -> bool {
        self.period_ns == 0
    }

    /// When event `k` (0, 1, …) is due, counted from the start.
    pub fn due(&self, k: u64) -> Duration {
        let due_ns = u128::from(k) * u128::from(self.period_ns) / u128::from(self.n_per_period);
        Duration::from_nanos(u64::try_from(due_ns).unwrap_or(u64::MAX))
    }

    /// How many events are due at `elapsed` after the start: the smallest k that is not yet due.
    pub fn n_due(&self, elapsed: Duration) -> u64 {
        if self.is_at_once() {
            return u64::MAX;
        }
        // due(k) rounds down, so event k is due as soon as k × period < (elapsed + 1 ns) × n.
        let scaled = (elapsed.as_nanos() + 1) * u128::from(self.n_per_period);
        u64::try_from(scaled.div_ceil(u128::from(self.period_ns))).unwrap_or(u64::MAX)
    }
}

/// One step of a schedule whose rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Events a second at its beginning.
    pub from_per_s: f64,
    /// Events a second at its end. In between the rate goes evenly from one to the other.
    pub to_per_s: f64,
    /// How long it lasts; `None`: for ever, at the rate of its beginning.
    pub lasts: Option<Duration>,
}

impl Step {
    /// Events that fall due within its first `seconds`, as a number that need not be whole.
    fn n_within(self, seconds: f64) -> f64 {
        let Some(lasts) = self.lasts else { return self.from_per_s * seconds };
        let slope = (self.to_per_s - self.from_per_s) / lasts.as_secs_f64();
        self.from_per_s * seconds + slope * seconds * seconds / 2.0
    }

    /// All of its events; infinitely many of one that lasts for ever.
    fn n_events(self) -> f64 {
        self.lasts.map_or(f64::INFINITY, |lasts| self.n_within(lasts.as_secs_f64()))
    }

    /// Seconds after its beginning when `n` of its events have fallen due.
    ///
    /// That is where `n = from × t + slope × t² ÷ 2`, solved for t in the form that loses no digits
    /// where the slope is small, and that goes down as well as up.
    fn seconds_until(self, n: f64) -> f64 {
        if n <= 0.0 {
            return 0.0;
        }
        let Some(lasts) = self.lasts else { return n / self.from_per_s };
        let slope = (self.to_per_s - self.from_per_s) / lasts.as_secs_f64();
        let root = (self.from_per_s * self.from_per_s + 2.0 * slope * n).max(0.0).sqrt();
        (2.0 * n / (self.from_per_s + root)).min(lasts.as_secs_f64())
    }
}

/// A schedule whose rate changes in steps, one after the other. Event k is due when so many have
/// fallen due before it, whatever happened to them (open loop).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steps(Vec<Step>);

/// Why steps are no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepsError {
    /// A step in the middle does not say how long it lasts.
    #[error("only the last step may go without a time")]
    Endless,
    /// A step lasts no time.
    #[error("a step must last more than zero")]
    NoTime,
    /// Nothing falls due at all, or a rate is none.
    #[error("a rate must be more than zero, also that of a ramp at one of its ends")]
    NoRate,
}

impl Steps {
    /// A schedule of these steps.
    pub fn new(steps: Vec<Step>) -> Result<Self, StepsError> {
        let last = steps.len().checked_sub(1).ok_or(StepsError::NoRate)?;
        for (index, step) in steps.iter().enumerate() {
            let Step { from_per_s, to_per_s, lasts } = *step;
            let is_rate = |rate: f64| rate.is_finite() && rate >= 0.0;
            if !is_rate(from_per_s) || !is_rate(to_per_s) || from_per_s + to_per_s <= 0.0 {
                return Err(StepsError::NoRate);
            }
            match lasts {
                None if index < last => return Err(StepsError::Endless),
                None if from_per_s <= 0.0 => return Err(StepsError::NoRate),
                Some(Duration::ZERO) => return Err(StepsError::NoTime),
                _ => {}
            }
        }
        Ok(Self(steps))
    }

    /// When event `k` (0, 1, …) is due, counted from the start; `None` if it never is, because the
    /// last step has come to its end.
    pub fn due(&self, k: u64) -> Option<Duration> {
        let mut left = k as f64;
        let mut before = Duration::ZERO;
        for step in &self.0 {
            // The event at the very end of a step is the first one of the next.
            if left < step.n_events() {
                let seconds = step.seconds_until(left);
                let after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                return Some(before.saturating_add(after));
            }
            left -= step.n_events();
            before = before.saturating_add(step.lasts.unwrap_or(Duration::MAX));
        }
        None
    }

    /// How many events are due before `elapsed` after the start: the smallest k that is not.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of positive numbers; beyond 2^64 it saturates"
    )]
    pub fn n_before(&self, elapsed: Duration) -> u64 {
        let mut n = 0.0;
        let mut left = elapsed;
        for step in &self.0 {
            let lasts = step.lasts.unwrap_or(Duration::MAX).min(left);
            n += step.n_within(lasts.as_secs_f64());
            left -= lasts;
        }
        let mut n = f64::ceil(n) as u64;
        // The sum may be off by the last digit, and then by one event at a border.
        while n > 0 && self.due(n - 1).is_none_or(|due| due >= elapsed) {
            n -= 1;
        }
        while self.due(n).is_some_and(|due| due < elapsed) {
            n += 1;
        }
        n
    }

    /// How long all steps last together; `None`: for ever.
    pub fn lasts(&self) -> Option<Duration> {
        self.0.iter().try_fold(Duration::ZERO, |sum, step| Some(sum.saturating_add(step.lasts?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn event_k_is_due_at_k_over_rate() {
        let schedule = Schedule::per_second(100.0);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_millis(10));
        assert_eq!(schedule.due(999), Duration::from_millis(9_990));
        assert_eq!(Schedule::per_second(0.5).due(3), Duration::from_secs(6));
    }

    #[test]
    fn a_rate_that_does_not_divide_the_second_does_not_drift() {
        let schedule = Schedule::per_second(3.0);
        assert_eq!(schedule.due(3_000_000), Duration::from_secs(1_000_000));
        let day = Schedule::new(100, Duration::from_millis(100));
        assert_eq!(day.due(86_400_000), Duration::from_hours(24));
    }

    #[test]
    fn n_due_is_the_inverse_of_due() {
        for schedule in
            [Schedule::per_second(7.0), Schedule::per_second(0.3), Schedule::per_second(1e6)]
        {
            for k in [1, 2, 3, 10, 999] {
                let due = schedule.due(k);
                assert_eq!(schedule.n_due(due), k + 1, "{schedule:?} event {k} is due at {due:?}");
                assert_eq!(
                    schedule.n_due(due.saturating_sub(Duration::from_nanos(1))),
                    k,
                    "{schedule:?} {k}"
                );
            }
        }
    }

    #[test]
    fn at_once_has_everything_due_at_the_start() {
        assert_eq!(Schedule::at_once().due(1_000_000), Duration::ZERO);
        assert_eq!(Schedule::at_once().n_due(Duration::ZERO), u64::MAX);
    }

    fn step(from_per_s: f64, to_per_s: f64, lasts_s: Option<u64>) -> Step {
        Step { from_per_s, to_per_s, lasts: lasts_s.map(Duration::from_secs) }
    }

    #[test]
    fn a_ramp_begins_half_the_sum_of_its_rates_times_its_time() {
        let up = Steps::new(vec![step(100.0, 2_000.0, Some(60))]).unwrap();
        assert_eq!(up.n_before(Duration::from_mins(1)), 63_000);
        assert_eq!((up.due(0), up.due(63_000)), (Some(Duration::ZERO), None));
        // After half of the time there is the first rate and a quarter of what it grows by.
        assert_eq!(up.n_before(Duration::from_secs(30)), 3_000 + 14_250);
        let down = Steps::new(vec![step(2_000.0, 100.0, Some(60))]).unwrap();
        assert_eq!(down.n_before(Duration::from_secs(30)), 60_000 - 14_250);
        let to_nothing = Steps::new(vec![step(100.0, 0.0, Some(10))]).unwrap();
        assert_eq!(to_nothing.n_before(Duration::from_mins(1)), 500);
    }

    #[test]
    fn steps_follow_each_other() {
        let steps = vec![step(100.0, 100.0, Some(30)), step(100.0, 500.0, Some(60))];
        let steps = Steps::new([steps, vec![step(500.0, 500.0, None)]].concat()).unwrap();
        assert_eq!(steps.due(3_000), Some(Duration::from_secs(30)));
        assert_eq!(steps.due(3_000 + 18_000 + 500), Some(Duration::from_secs(91)));
        assert_eq!(steps.lasts(), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (steps, error) in [
            (vec![], StepsError::NoRate),
            (vec![step(0.0, 0.0, Some(1))], StepsError::NoRate),
            (vec![step(1.0, 1.0, Some(0))], StepsError::NoTime),
            (vec![step(1.0, 1.0, None), step(2.0, 2.0, None)], StepsError::Endless),
            (vec![step(f64::NAN, 1.0, Some(1))], StepsError::NoRate),
        ] {
            assert_eq!(Steps::new(steps), Err(error));
        }
    }

    proptest! {
        #[test]
        fn due_times_rise_and_n_before_is_their_inverse(
            rates in proptest::collection::vec(
                (0.0_f64..5_000.0, 0.1_f64..5_000.0, 1_u64..90), 1..5),
            ks in proptest::collection::vec(0_u64..400_000, 1..30),
        ) {
            let step = |(from, to, lasts): (f64, f64, u64)| step(from, to, Some(lasts));
            let steps = Steps::new(rates.into_iter().map(step).collect()).unwrap();
            let mut ks = ks;
            ks.sort_unstable();
            let mut before = Duration::ZERO;
            for k in ks {
                let Some(due) = steps.due(k) else { break };
                prop_assert!(due >= before, "{k} is due at {due:?}, before {before:?}");
                prop_assert!(due <= steps.lasts().unwrap());
                // Events of one nanosecond are the same moment: an event more or fewer is no fault.
                let n = steps.n_before(due + Duration::from_nanos(2));
                prop_assert!(n > k, "{n} are due after event {k}");
                prop_assert!(steps.n_before(due) <= k + 1);
                before = due;
            }
        }
    }
}
