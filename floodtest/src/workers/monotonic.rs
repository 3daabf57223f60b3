//! The machine's monotonic clock as a number, which its processes can tell each other.

use std::time::{Duration, Instant};

pub(crate) use reports::stamp::monotonic_us as now_us;

/// How far ahead the start of a run may be. A parent asks for half a second; whoever says more than
/// this has other clocks than we think, and the run begins this late instead.
const MAX_AHEAD: Duration = Duration::from_mins(1);

/// The instant at which [`now_us`] was, or will be, `at_us`: a minute from now at the latest, and
/// now if it was before the machine's start.
pub(crate) fn instant_of(at_us: i64) -> Instant {
    let (now, now_us) = (Instant::now(), now_us());
    let distance = Duration::from_micros(at_us.abs_diff(now_us));
    if at_us >= now_us {
        return now + distance.min(MAX_AHEAD);
    }
    now.checked_sub(distance).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_told_as_a_number_and_found_again() {
        let (before, at_us, after) = (Instant::now(), now_us(), Instant::now());
        let (asked_at, found) = (Instant::now(), instant_of(at_us));
        // It reads both clocks one after the other, and may have to wait in between.
        let waited = asked_at.elapsed();
        // Of both numbers less than a microsecond is cut off.
        let cut = Duration::from_micros(1);
        assert!(found <= after + cut, "{:?} late", found - after);
        assert!(found + cut + waited >= before, "{:?} early", before - found);
        assert!(instant_of(i64::MAX) <= Instant::now() + MAX_AHEAD);
        assert!(instant_of(i64::MIN) <= Instant::now());
    }
}
