//! When samples are due, what the wall clock did meanwhile, and what is not said too often.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The most time between the readings of both clocks: a thousand times what they take.
const MOST_APART: Duration = Duration::from_millis(1);

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since boot, which is never stepped and goes on while the machine sleeps.
    pub uptime: Duration,
    /// Time since the Unix epoch, as everyone else on the machine sees it.
    pub unix: Duration,
}

impl Now {
    /// Reads both clocks, as of the same moment.
    pub fn read() -> Self {
        loop {
            let before = uptime();
            let unix = reports::stamp::wall_now();
            let uptime = uptime();
            // Stopped in between, it would see the wall clock jump by the time it was stopped.
            if uptime.saturating_sub(before) <= MOST_APART {
                return Self { uptime, unix };
            }
        }
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
    /// By how many milliseconds the wall clock was ahead after the last step.
    ahead_ms: Option<i128>,
}

impl Steps {
    /// Milliseconds by which the wall clock was stepped since the reading before. What a time
    /// daemon does to the speed of one clock it does to both, and is no step.
    pub fn since_last(&mut self, now: Now) -> i64 {
        /// Ten times what the readings may be apart: less cannot be told from that.
        const LEAST_STEP_MS: i128 = 10 * MOST_APART.as_millis().cast_signed();
        let ahead_ms = now.unix.as_millis().cast_signed() - now.uptime.as_millis().cast_signed();
        let step_ms = ahead_ms - *self.ahead_ms.get_or_insert(ahead_ms);
        if step_ms.abs() < LEAST_STEP_MS {
            return 0;
        }
        self.ahead_ms = Some(ahead_ms);
        i64::try_from(step_ms).unwrap_or_default()
    }
}

/// Says how often something is said: a number of times at once, and then seldom.
#[derive(Debug)]
pub struct Seldom {
    /// Times that are left of those at once.
    n_left: u32,
    /// How far the others are apart.
    apart: Duration,
    /// When the next of those may be, in time since boot.
    next: Duration,
}

impl Seldom {
    /// `n_at_once` times at once, and then times that are `apart`.
    pub fn new(n_at_once: u32, apart: Duration) -> Self {
        Self { n_left: n_at_once, apart, next: Duration::ZERO }
    }

    /// Whether it may be said now. If so, it is counted.
    pub fn is_now(&mut self) -> bool {
        let now = uptime();
        if self.n_left == 0 && now < self.next {
            return false;
        }
        self.n_left = self.n_left.saturating_sub(1);
        self.next = now.saturating_add(self.apart);
        true
    }

    /// Whether the next times are apart.
    pub fn is_spent(&self) -> bool {
        self.n_left == 0
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
    fn a_step_of_the_wall_clock_is_noticed_once_and_an_inexact_reading_is_none() {
        let mut steps = Steps::default();
        let mut since_last = |uptime_ms, unix_ms| {
            let ms = Duration::from_millis;
            steps.since_last(Now { uptime: ms(uptime_ms), unix: ms(unix_ms) })
        };
        assert_eq!(since_last(10_000, 1_000_000_000), 0);
        assert_eq!(since_last(70_000, 1_000_060_001), 0);
        assert_eq!(since_last(130_000, 1_003_720_250), 3_600_250);
        assert_eq!(since_last(190_000, 1_003_780_249), 0);
        assert_eq!(since_last(250_000, 1_000_240_250), -3_600_000);
    }

    #[test]
    fn what_happens_all_the_time_is_said_seldom() {
        let mut seldom = Seldom::new(3, s(600));
        let n_said = (0..100).filter(|_| seldom.is_now()).count();
        assert!(n_said == 3 && seldom.is_spent());
        seldom.next = Duration::ZERO;
        assert!(seldom.is_now() && !seldom.is_now(), "ten minutes later once");
    }

    #[test]
    fn both_clocks_are_read_at_once() {
        let mut steps = Steps::default();
        assert!((0..1_000).all(|_| steps.since_last(Now::read()) == 0));
    }
}
