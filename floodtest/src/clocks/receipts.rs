//! The clock of an engine, by which messages are received.

use std::time::{Duration, Instant};

use reports::stamp::{Clock, as_us, monotonic_us_of};

use super::correction::Correction;

/// The clock that stamps are compared with: this machine's, or that of the sender's host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiptClock {
    /// This machine's.
    here: Clock,
    /// The sender's, if it was told.
    there: Option<There>,
}

/// A clock of another machine.
#[derive(Debug, Clone, Copy)]
struct There {
    /// An instant.
    at: Instant,
    /// The same by the machine's monotonic clock, in microseconds.
    at_us: i64,
    /// What the other clock says.
    correction: Correction,
    /// What it said, by the first correction, at this clock's start, in microseconds since the
    /// Unix epoch. Times in milliseconds count from there, whichever correction comes later.
    started_unix_us: u64,
}

impl ReceiptClock {
    /// This machine's clock.
    pub(crate) fn new(here: Clock) -> Self {
        Self { here, there: None }
    }

    /// Goes by another clock from now on: by `correction` from this machine's monotonic clock to
    /// microseconds since the Unix epoch.
    pub(crate) fn correct(&mut self, correction: Correction) {
        let known = self.there.map(|there| (there.at, there.at_us, there.started_unix_us));
        let (at, at_us, started_unix_us) = known.unwrap_or_else(|| {
            let at = Instant::now();
            (at, monotonic_us_of(at), 0)
        });
        let mut there = There { at, at_us, correction, started_unix_us };
        if known.is_none() {
            there.started_unix_us = there.unix_us(self.here.started_at());
        }
        self.there = Some(there);
    }

    /// Whether it goes by a clock of another machine.
    pub(crate) fn is_corrected(&self) -> bool {
        self.there.is_some()
    }

    /// `at` in microseconds since the Unix epoch.
    pub(crate) fn unix_us(&self, at: Instant) -> u64 {
        match &self.there {
            None => self.here.unix_us(at),
            Some(there) => there.unix_us(at),
        }
    }

    /// How long after the start `at` was, by the clock that stamps are compared with.
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        match &self.there {
            None => at.saturating_duration_since(self.here.started_at()),
            Some(there) => {
                Duration::from_micros(there.unix_us(at).saturating_sub(there.started_unix_us))
            }
        }
    }

    /// A time that is so long after the start in microseconds since the Unix epoch.
    pub(crate) fn unix_us_after(&self, since_start: Duration) -> u64 {
        let started_unix_us = match &self.there {
            None => self.here.unix_us(self.here.started_at()),
            Some(there) => there.started_unix_us,
        };
        started_unix_us.saturating_add(as_us(since_start))
    }
}

impl There {
    /// `at` in microseconds since the Unix epoch.
    fn unix_us(&self, at: Instant) -> u64 {
        let us = |distance: Duration| i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
        let since_us = match at.checked_duration_since(self.at) {
            Some(after) => us(after),
            None => -us(self.at.saturating_duration_since(at)),
        };
        let unix_us = self.correction.apply(self.at_us.saturating_add(since_us));
        u64::try_from(unix_us).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a clock is that was told that the sender's is an hour ahead and goes twice as fast.
    fn corrected() -> (ReceiptClock, Instant) {
        let here = Clock::start();
        let mut clock = ReceiptClock::new(here);
        let at = Instant::now();
        let at_us = monotonic_us_of(at);
        let is_us = 3_600_000_000;
        clock.correct(Correction { at_us, is_us, drift_ppb: 1_000_000_000 });
        (clock, at)
    }

    /// Times that are told from two readings of a clock differ by so much, in microseconds.
    const READINGS_US: u64 = 1_000;

    #[test]
    fn without_a_correction_it_is_the_machines_own_clock() {
        let here = Clock::start();
        let clock = ReceiptClock::new(here);
        let at = here.started_at() + Duration::from_millis(7);
        assert_eq!(clock.unix_us(at), here.unix_us(at));
        assert_eq!(clock.since_start(at), Duration::from_millis(7));
        assert_eq!(clock.unix_us_after(Duration::from_millis(7)), here.unix_us(at));
    }

    #[test]
    fn a_correction_holds_before_and_after_it_was_told() {
        let (clock, at) = corrected();
        let unix_us = clock.unix_us(at);
        assert!(unix_us.abs_diff(3_600_000_000) < READINGS_US, "{unix_us}");
        // Of each time less than a microsecond is cut off, which is two of the other clock.
        let later = clock.unix_us(at + Duration::from_secs(3)) - unix_us;
        assert!(later.abs_diff(6_000_000) <= 2, "{later}");
        let earlier = unix_us - clock.unix_us(at.checked_sub(Duration::from_millis(1)).unwrap());
        assert!(earlier.abs_diff(2_000) <= 2, "{earlier}");
    }

    #[test]
    fn times_since_the_start_are_those_of_the_clock_that_was_told_first() {
        let (mut clock, at) = corrected();
        let at = at + Duration::from_secs(1);
        let unix_us = clock.unix_us(at);
        let since_start = clock.since_start(at);
        assert_eq!(clock.unix_us_after(since_start), unix_us);
        clock.correct(Correction { at_us: 0, is_us: 0, drift_ppb: 0 });
        assert_ne!(clock.unix_us(at), unix_us, "later receipts go by the later correction");
        assert_eq!(clock.unix_us_after(since_start), unix_us, "earlier ones are what they were");
    }
}
