//! When things are due.
//!
//! The whole schedule is one formula, so that nobody's delay moves it: event k is due at
//! k × period ÷ n after the start, whatever happened to the events before it (open loop).

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
