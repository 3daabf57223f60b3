//! When samples are due, and what the wall clock did meanwhile.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since boot, which is never stepped and goes on while the machine sleeps.
    pub uptime: Duration,
    /// Time since the Unix epoch, as everyone else on the machine sees it.
    pub unix: Duration,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { uptime: uptime(), unix: reports::stamp::wall_now() }
    }
}

/// Time since boot.
pub fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Absolute due times, one every interval from the first on. A late sample does not move the
/// next one.
#[derive(Debug)]
pub struct Schedule {
    /// When the first sample is due, in time since boot.
    first: Duration,
    /// From one to the next.
    interval: Duration,
    /// Number of the next one, from 0 on.
    next: u64,
}

impl Schedule {
    /// A schedule whose first sample is due at `first`.
    pub fn new(first: Duration, interval: Duration) -> Self {
        Self { first, interval, next: 0 }
    }

    /// When the next sample is due.
    pub fn due(&self) -> Duration {
        let ns = u128::from(self.next) * self.interval.as_nanos();
        self.first + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How long after the first the next one is due.
    pub fn elapsed(&self) -> Duration {
        self.due().saturating_sub(self.first)
    }

    /// Goes on past `now`, at which a sample is taken, and says how many before it were missed.
    pub fn take(&mut self, now: Duration) -> u64 {
        let since_first = now.saturating_sub(self.first).as_nanos();
        let current = u64::try_from(since_first / self.interval.as_nanos()).unwrap_or(u64::MAX);
        let n_missed = current.saturating_sub(self.next);
        self.next = current.max(self.next) + 1;
        n_missed
    }
}

/// Notices steps of the wall clock by comparing it with the other one.
#[derive(Debug, Default)]
pub struct Steps {
    /// The reading before.
    last: Option<Now>,
}

impl Steps {
    /// Seconds by which the wall clock was stepped since the reading before. What a time daemon
    /// does to the clock's speed is below a second a sample, and no step.
    pub fn since_last(&mut self, now: Now) -> i64 {
        /// Log times are whole seconds: less cannot be told from their rounding.
        const LEAST_STEP_S: i64 = 2;
        let offset_ms =
            |it: Now| it.unix.as_millis().cast_signed() - it.uptime.as_millis().cast_signed();
        let Some(last) = self.last.replace(now) else { return 0 };
        let step_s = i64::try_from((offset_ms(now) - offset_ms(last)) / 1_000).unwrap_or_default();
        if step_s.abs() >= LEAST_STEP_S { step_s } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` seconds.
    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_late_sample_does_not_move_the_next_one() {
        let mut schedule = Schedule::new(s(1_000), s(60));
        assert_eq!(schedule.due(), s(1_000));
        assert_eq!(schedule.take(s(1_000)), 0);
        assert_eq!(schedule.due(), s(1_060));
        assert_eq!(schedule.take(s(1_119)), 0, "late, and not missed");
        assert_eq!(schedule.due(), s(1_120));
    }

    #[test]
    fn missed_samples_are_counted_and_not_made_up() {
        let mut schedule = Schedule::new(s(0), s(1));
        assert_eq!(schedule.take(s(0)), 0);
        assert_eq!(schedule.take(s(60)), 59, "stopped for a minute");
        assert_eq!(schedule.due(), s(61));
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed_once_and_its_drift_is_not() {
        let mut steps = Steps::default();
        let now = |uptime, unix| Now { uptime: s(uptime), unix: s(unix) };
        assert_eq!(steps.since_last(now(10, 1_000_000)), 0);
        assert_eq!(steps.since_last(now(70, 1_000_061)), 0);
        assert_eq!(steps.since_last(now(130, 1_003_721)), 3_600);
        assert_eq!(steps.since_last(now(190, 1_003_781)), 0);
        assert_eq!(steps.since_last(now(250, 1_000_241)), -3_600);
    }
}
