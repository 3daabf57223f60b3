//! What is left to chance, and yet the same in every run with the same seed.
//!
//! Each choice is a function of the seed, the place and what is chosen, never of the order in which
//! things happen: a run on a slower machine, or with more processes, makes the same choices.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

/// What is chosen, so that no two choices of a place hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    /// How long a life lasts.
    Lifetime,
    /// How long a place waits for its next connection.
    Reopen,
    /// Which connections a storm closes: that of this number.
    Storm(usize),
    /// Which places are slow readers.
    Slow,
}

/// A number from 0 up to 2⁶⁴ for a choice of a place in one of its lives. With several tries to
/// connect in a life each has a number of its own, `attempt`.
pub(crate) fn roll(seed: u64, place: u64, (life, attempt): (u32, u32), choice: Choice) -> u64 {
    FixedState::with_seed(seed).hash_one((place, life, attempt, choice))
}

/// The same as a number from 0 up to, and without, 1.
pub(crate) fn part(seed: u64, place: u64, (life, attempt): (u32, u32), choice: Choice) -> f64 {
    // The 53 bits that a double has.
    (roll(seed, place, (life, attempt), choice) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_nothing_else() {
        let one = |seed, place, life| part(seed, place, (life, 0), Choice::Lifetime);
        assert!((one(1, 2, 3) - one(1, 2, 3)).abs() < f64::EPSILON);
        for (seed, place, life) in [(2, 2, 3), (1, 3, 3), (1, 2, 4)] {
            assert!((one(1, 2, 3) - one(seed, place, life)).abs() > 1e-12);
        }
        let storm = |n| roll(1, 2, (0, 0), Choice::Storm(n));
        assert_ne!(storm(0), storm(1));
    }

    #[test]
    fn parts_are_spread_evenly() {
        let parts: Vec<f64> =
            (0..10_000).map(|place| part(7, place, (0, 0), Choice::Slow)).collect();
        assert!(parts.iter().all(|part| (0.0..1.0).contains(part)));
        let mean = parts.iter().sum::<f64>() / 10_000.0;
        // Five standard deviations of such a mean.
        assert!((mean - 0.5).abs() < 0.0145, "{mean}");
    }
}
