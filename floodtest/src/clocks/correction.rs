//! One clock by another.

use serde::{Deserialize, Serialize};

/// Parts in a whole, for [`Correction::drift_ppb`].
const PPB: i128 = 1_000_000_000;

/// What another clock says at any time of one clock: a line of JSON to a worker, from which on its
/// receipts have the time of the sender's host.
///
/// Whatever numbers come in, none overflows: a time that cannot be is the nearest that can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Correction {
    /// A time by the one clock, in microseconds.
    pub(crate) at_us: i64,
    /// What the other clock says then, in microseconds.
    pub(crate) is_us: i64,
    /// By how much faster the other one goes, in parts of 10⁹: nanoseconds a second.
    pub(crate) drift_ppb: i64,
}

impl Correction {
    /// A clock that always says so much more than the other, in microseconds.
    pub(crate) fn ahead(us: i64) -> Self {
        Self { at_us: 0, is_us: us, drift_ppb: 0 }
    }

    /// What the other clock says when the one says `us`.
    pub(crate) fn apply(self, us: i64) -> i64 {
        let since = i128::from(us) - i128::from(self.at_us);
        let gained = since * i128::from(self.drift_ppb) / PPB;
        saturated(i128::from(self.is_us) + since + gained)
    }

    /// This, and what `next` makes of it: from the first clock to the third one.
    pub(crate) fn then(self, next: Self) -> Self {
        let (one, two) = (i128::from(self.drift_ppb), i128::from(next.drift_ppb));
        Self {
            at_us: self.at_us,
            is_us: next.apply(self.is_us),
            drift_ppb: saturated(one + two + one * two / PPB),
        }
    }

    /// The one clock by the other.
    pub(crate) fn inverse(self) -> Self {
        let drift = i128::from(self.drift_ppb);
        let whole = (PPB + drift).max(1);
        Self { at_us: self.is_us, is_us: self.at_us, drift_ppb: saturated(-drift * PPB / whole) }
    }
}

/// The nearest number that can be.
fn saturated(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_is_ahead_and_fast_is_so_by_the_correction() {
        let ahead = Correction { at_us: 1_000, is_us: 201_000, drift_ppb: 50_000 };
        assert_eq!(ahead.apply(1_000), 201_000);
        assert_eq!(ahead.apply(1_001_000), 1_201_050);
        assert_eq!(ahead.apply(-999_000), -799_050);
        assert_eq!(Correction::ahead(5).apply(-7), -2);
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same_time(
            at_us in 0..1_i64 << 45, is_us in 0..1_i64 << 45,
            drift_ppb in -1_000_000..1_000_000_i64, after_us in -60_000_000..60_000_000_i64,
            zero_us in 0..1_i64 << 51,
        ) {
            let there = Correction { at_us, is_us, drift_ppb };
            let us = at_us + after_us;
            prop_assert!(there.inverse().apply(there.apply(us)).abs_diff(us) <= 2);
            prop_assert!(there.then(there.inverse()).apply(us).abs_diff(us) <= 2);
            let unix = there.then(Correction::ahead(zero_us));
            prop_assert_eq!(unix.apply(us), there.apply(us) + zero_us);
        }

        #[test]
        fn no_number_overflows(
            (at_us, is_us, drift_ppb) in any::<(i64, i64, i64)>(), us in any::<i64>(),
        ) {
            let wild = Correction { at_us, is_us, drift_ppb };
            wild.then(wild.inverse()).then(wild).apply(us);
        }
    }
}
