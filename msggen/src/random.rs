//! The random numbers that a run follows from.
//!
//! A stream of them depends on the seed and its number and on nothing else, so that a run can be
//! repeated however its answers are timed. It is fixed for good: `ChaCha8` with the seed,
//! little-endian and padded with zeros, as its key, and the number as its stream; a draw below n is
//! the high half of a 64-bit draw × n, and one that would favour some numbers is thrown away
//! (Lemire's method). Changing any of it makes old seeds mean other runs.

use std::io;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rustix::rand::{GetRandomFlags, getrandom};

/// A number that the operating system draws: no seed repeats it.
pub fn from_system() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let mut n_filled = 0;
    while n_filled < bytes.len() {
        n_filled += getrandom(&mut bytes[n_filled..], GetRandomFlags::empty())?;
    }
    Ok(u64::from_ne_bytes(bytes))
}

/// One stream of a seed's random numbers.
#[derive(Debug, Clone)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// Stream number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number in 0..n, each as likely as the others. Panics if there is none.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of a product are its point"
    )]
    pub fn below(&mut self, n: u64) -> u64 {
        // 2⁶⁴ mod n draws too many fall into the low ends; they are those below it.
        let n_excess = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(n);
            if product as u64 >= n_excess {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number above 0 and up to 1.
    pub fn share(&mut self) -> f64 {
        // The 53 bits that a fraction has.
        ((self.0.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// The generator, for distributions that draw from it by themselves.
    pub fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_does_not_divide_the_draws_is_not_favoured_at_its_low_end() {
        // Without throwing draws away, every third number of this range would come twice as often.
        let mut random = Random::new(9, 0);
        let n_third = (0..30_000).filter(|_| random.below(3 << 62).is_multiple_of(3)).count();
        assert!((9_600..10_400).contains(&n_third), "{n_third} of 30000");
    }

    #[test]
    fn shares_are_spread_from_zero_to_one() {
        let mut random = Random::new(4, 7);
        let shares: Vec<f64> = (0..100_000).map(|_| random.share()).collect();
        assert!(shares.iter().all(|share| (f64::MIN_POSITIVE..=1.0).contains(share)));
        // The mean of so many has a standard deviation of 0.0009.
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((0.496..0.504).contains(&mean), "{mean}");
    }
}
