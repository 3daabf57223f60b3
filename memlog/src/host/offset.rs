//! What time it is here when something happens on a host.
//!
//! Only times since boot are compared: whoever sets the wall clock of a host changes nothing. A host
//! that is asked at `sent` and answers with `there` before `received` has read its clock in between,
//! so its clock is ahead of this one by something from `there − received` to `there − sent`,
//! whichever way was the slower one. The shortest exchange says it best, until it is so old that the
//! clocks may have drifted further apart than a later one is uncertain.

use std::time::Duration;

use crate::clock::Now;
use crate::host::wire::as_us;

/// How fast two clocks may drift apart, in microseconds a second: ten times what NTP takes for a
/// clock that is in order, and twice what it corrects.
const MOST_DRIFT_PPM: i64 = 1_000;

/// How far the clock of a host is ahead.
#[derive(Debug, Default)]
pub(super) struct Offset {
    /// The best exchange so far.
    best: Option<Exchange>,
}

/// One exchange, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    /// How far that clock is ahead, in the middle of what is possible.
    ahead: i64,
    /// How far that may be off.
    bound: i64,
    /// When it ended, here, since boot.
    received: i64,
}

impl Offset {
    /// Takes the answer `there_us` to what was asked at `sent_us`; it came at `received`. One that
    /// came before it was asked for is none.
    pub(super) fn add(&mut self, sent_us: i64, there_us: i64, received: Duration) {
        let received_us = as_us(received);
        let Some(took_us) = received_us.checked_sub(sent_us).filter(|it| *it >= 0) else { return };
        let middle_us = sent_us + took_us / 2;
        let Some(ahead) = there_us.checked_sub(middle_us) else { return };
        let bound = took_us / 2 + 1;
        let is_better = |best: Exchange| {
            let age_s = (received_us - best.received) / 1_000_000;
            bound <= best.bound + age_s * MOST_DRIFT_PPM
        };
        if self.best.is_none_or(is_better) {
            self.best = Some(Exchange { ahead, bound, received: received_us });
        }
    }

    /// Both clocks of here when it was `there_us` there; it is `now`. Not later than that: what has
    /// come was before. `None`: nothing is known.
    pub(super) fn here(&self, there_us: i64, now: Now) -> Option<Now> {
        let uptime_us = there_us.checked_sub(self.best?.ahead)?;
        let uptime = Duration::from_micros(u64::try_from(uptime_us).ok()?).min(now.uptime);
        let unix = now.unix.checked_sub(now.uptime.checked_sub(uptime)?)?;
        Some(Now { uptime, unix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time since boot in microseconds.
    fn at(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn the_shortest_exchange_dates_a_sample_within_half_of_what_it_took() {
        let mut offset = Offset::default();
        let now = Now { uptime: at(10_000_000), unix: at(1_000_000_000_000) };
        assert_eq!(offset.here(0, now), None);
        // The host is ahead by 5 s. All of what this took was on the way back.
        offset.add(1_000_000, 6_000_000, at(1_200_000));
        offset.add(2_000_000, 7_000_300, at(2_001_000));
        offset.add(3_000_000, 8_400_000, at(3_500_000));
        let here = offset.here(14_000_000, now).unwrap();
        assert!(here.uptime.abs_diff(at(9_000_000)) <= at(500), "{here:?}");
        assert_eq!(now.unix.abs_diff(here.unix), now.uptime.abs_diff(here.uptime));
    }

    #[test]
    fn an_old_exchange_gives_way_and_nonsense_is_passed_over() {
        let mut offset = Offset::default();
        offset.add(0, 5_000_000, at(100));
        // An hour later the clock is 100 ms further ahead, and the network slower.
        offset.add(3_600_000_000, 3_605_101_000, at(3_600_002_000));
        // From the future, and beyond all numbers.
        offset.add(9_000_000_000, 0, at(3_600_003_000));
        offset.add(i64::MIN, 0, at(3_600_003_000));
        offset.add(3_600_000_000, i64::MIN, at(3_600_003_000));
        let now = Now { uptime: at(3_601_000_000), unix: at(4_000_000_000_000) };
        let here = offset.here(3_605_600_000, now).unwrap();
        assert!(here.uptime.abs_diff(at(3_600_500_000)) <= at(1_000), "{here:?}");
        assert_eq!(offset.here(i64::MAX, now), Some(now), "what has come was before");
        assert_eq!(offset.here(i64::MIN, now), None);
    }
}
