//! Whom a source sends to.
//!
//! The order of a source's ids depends on the seed and the source's number and on nothing else, so
//! a run can be repeated however its answers are timed. It is fixed for good: `ChaCha8` with the
//! seed, little-endian and padded with zeros, as its key and the source's number as its stream;
//! each id is the high half of a 64-bit draw × max, plus 1, and a draw that would favour some ids
//! is thrown away (Lemire's method). Changing any of it makes old seeds mean other runs.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The ids that one source sends to, in order: uniform in 1..=max, without end.
#[derive(Debug, Clone)]
pub struct Ids {
    /// This source's own stream of the seed's generator.
    rng: ChaCha8Rng,
    /// The largest id; at least 1.
    max: u64,
}

impl Ids {
    /// The ids of source number `source` under `seed`.
    ///
    /// Panics if `max` is zero: there would be no id to choose from.
    pub fn new(seed: u64, source: u64, max: u64) -> Self {
        assert!(max > 0, "ids are drawn from 1..=max");
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(source);
        Self { rng, max }
    }

    /// The next id.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of a product are its point"
    )]
    pub fn next_id(&mut self) -> u64 {
        // 2⁶⁴ mod max draws too many fall into the low ends; they are those below it.
        let n_excess = self.max.wrapping_neg() % self.max;
        loop {
            let product = u128::from(self.rng.next_u64()) * u128::from(self.max);
            if product as u64 >= n_excess {
                return (product >> 64) as u64 + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(n: usize, mut ids: Ids) -> Vec<u64> {
        std::iter::repeat_with(|| ids.next_id()).take(n).collect()
    }

    /// Pearson's statistic of `n` draws against equal odds for every id in 1..=max.
    fn chi_square(seed: u64, max: u64, n: usize) -> f64 {
        let mut counts = vec![0_u64; usize::try_from(max).unwrap()];
        for id in first(n, Ids::new(seed, 0, max)) {
            counts[usize::try_from(id - 1).unwrap()] += 1;
        }
        let expected = n as f64 / max as f64;
        counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
    }

    #[test]
    fn the_same_seed_and_source_give_the_same_ids_for_good() {
        assert_eq!(first(8, Ids::new(1, 0, 10_000)), first(8, Ids::new(1, 0, 10_000)));
        assert_eq!(first(5, Ids::new(1, 0, 10_000)), [3_815, 2_950, 7_983, 9_162, 8_559]);
        assert_eq!(first(5, Ids::new(1, 1, 10_000)), [1_036, 8_180, 6_382, 3_276, 3_589]);
    }

    #[test]
    fn another_seed_or_source_gives_other_ids() {
        let ids = first(8, Ids::new(1, 0, 10_000));
        assert_ne!(ids, first(8, Ids::new(2, 0, 10_000)));
        assert_ne!(ids, first(8, Ids::new(1, 1, 10_000)));
    }

    #[test]
    fn every_id_of_one_to_max_comes_and_no_other() {
        for max in [1, 2, 5, 7] {
            let mut ids = first(1_000, Ids::new(3, 0, max));
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids, (1..=max).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ids_are_uniform() {
        // 999 degrees of freedom: mean 999, standard deviation 44.7; four of them either way. Far
        // below would mean a generator that evens its draws out, which is no randomness either.
        let statistic = chi_square(20_081_017, 1_000, 1_000_000);
        assert!((820.0..1_178.0).contains(&statistic), "chi-square {statistic}");
    }

    #[test]
    fn a_range_that_does_not_divide_the_draws_is_not_favoured_at_its_low_end() {
        // Without throwing draws away, every third id of this range would come twice as often.
        let max = 3 << 62;
        let n_third = first(30_000, Ids::new(9, 0, max)).iter().filter(|id| *id % 3 == 1).count();
        assert!((9_600..10_400).contains(&n_third), "{n_third} of 30000");
    }
}
