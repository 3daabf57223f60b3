//! What a few runs a side can show: medians, spreads, and an interval for the difference.
//!
//! The interval is that of Hodges and Lehmann, which belongs to the rank test of Mann and Whitney:
//! of all differences between a run of one side and a run of the other, sorted, as many are left
//! out at each end as that test allows (M. Hollander, D. A. Wolfe, *Nonparametric Statistical
//! Methods*, sections 4.1 and 4.3). It is exact for any number of runs and supposes nothing of how
//! they are distributed: percentiles of delays have long tails. One wild run can hide a difference
//! where there are few, but not make one. From 7 runs a side on it does neither, where it would
//! move a mean without bound. Go's `benchstat` compares by the same test, for the same reasons.

/// With what certainty a difference is said to be one, and a condition to be broken or kept.
pub const CERTAINTY: f64 = 0.95;

/// With what certainty a difference of the size in question is found with the number of runs that
/// [`runs_needed`] names: that which studies are planned with.
pub const POWER: f64 = 0.9;

/// The quantile of the normal distribution at [`POWER`].
const Z_POWER: f64 = 1.281_551_565_544_6;

/// Pairs of runs up to which the distribution is counted out. Above it the normal distribution
/// stands for it, as in R's `wilcox.test`, where they differ by less than one pair in a hundred.
const MOST_EXACT_PAIRS: usize = 400;

/// The most runs that are named as needed. Nobody makes more to settle one figure.
pub const MOST_NEEDED: u64 = 1_000;

/// Which errors the certainty is shared between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// That a difference is found where there is none, in either direction.
    Both,
    /// That something is said to be more than a limit and is not, or the reverse.
    One,
}

impl Ends {
    /// The part of all cases that may lie beyond one end.
    fn tail(self) -> f64 {
        match self {
            Self::Both => (1.0 - CERTAINTY) / 2.0,
            Self::One => 1.0 - CERTAINTY,
        }
    }

    /// The quantile of the normal distribution at that part.
    fn z(self) -> f64 {
        match self {
            Self::Both => 1.959_963_984_540_1,
            Self::One => 1.644_853_626_951_5,
        }
    }

    /// The fewest runs a side that can show anything at all: with fewer, even sides that do not
    /// overlap come about by chance too often. 4 for both ends, 3 for one.
    pub fn fewest_runs(self) -> u64 {
        let shows = |n: &u64| {
            let n = usize::try_from(*n).expect("a few");
            left_out(n, n, self).is_some()
        };
        (1..=8).find(shows).expect("it is one in 12,870 of both ends with 8")
    }
}

/// The middle of `values`, or the mean of the two in the middle. `None` if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[middle - 1], upper)) }
}

/// The standard deviation of `values`, as that of a sample. `None` with fewer than two.
pub fn deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (n - 1.0)).sqrt())
}

/// The standard deviation that two sides have in common, each about its own mean. `None` where both
/// have one run.
pub fn common_deviation([a, b]: [&[f64]; 2]) -> Option<f64> {
    let freedom = (a.len() + b.len()).checked_sub(2).filter(|freedom| *freedom > 0)?;
    let squares =
        |side: &[f64]| deviation(side).map_or(0.0, |it| it.powi(2) * (side.len() - 1) as f64);
    Some(((squares(a) + squares(b)) / freedom as f64).sqrt())
}

/// Between what two values the difference `b − a` lies with [`CERTAINTY`]. `None` with too few
/// runs to say so of any two values.
pub fn interval([a, b]: [&[f64]; 2], ends: Ends) -> Option<[f64; 2]> {
    let n_left_out = left_out(a.len(), b.len(), ends)?;
    let mut differences: Vec<f64> = b.iter().flat_map(|b| a.iter().map(move |a| b - a)).collect();
    differences.sort_by(f64::total_cmp);
    Some([differences[n_left_out], differences[differences.len() - 1 - n_left_out]])
}

/// How many pairs may be left out at each end: the greatest `k` with P(U ≤ k) within the tail,
/// for `m` and `n` runs that differ by chance alone.
fn left_out(m: usize, n: usize, ends: Ends) -> Option<usize> {
    if m * n > MOST_EXACT_PAIRS {
        let (m, n) = (m as f64, n as f64);
        let deviation = (m * n * (m + n + 1.0) / 12.0).sqrt();
        // One half, since U is a whole number.
        let k = (m * n / 2.0 - ends.z() * deviation - 0.5).floor();
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of pairs")]
        #[expect(clippy::cast_sign_loss, reason = "it was compared with zero")]
        return (k >= 0.0).then_some(k as usize);
    }
    let ways = ways(m, n);
    let all: f64 = ways.iter().sum();
    // The sums of these fractions are exact to far more digits than this.
    let most = (ends.tail() + 1e-9) * all;
    let mut sum = 0.0;
    let is_within = |ways: &&f64| {
        sum += **ways;
        sum <= most
    };
    ways.iter().take_while(is_within).count().checked_sub(1)
}

/// In how many orders of `m` and `n` runs exactly `u` pairs have the run of the second side first,
/// for each `u`: the partitions of `u` into at most `n` parts of at most `m`. Whole numbers below
/// 2⁵³, up to [`MOST_EXACT_PAIRS`].
fn ways(m: usize, n: usize) -> Vec<f64> {
    // Those with exactly so many parts.
    let mut of_parts = vec![vec![0.0; m * n + 1]; n + 1];
    of_parts[0][0] = 1.0;
    for part in 1..=m {
        // From few parts to many, so that the same part may come again.
        for n_parts in 1..=n {
            for u in part..=m * n {
                of_parts[n_parts][u] += of_parts[n_parts - 1][u - part];
            }
        }
    }
    (0..=m * n).map(|u| of_parts.iter().map(|ways| ways[u]).sum()).collect()
}

/// How many runs a side, about, tell a difference of `size` from none with [`POWER`], where runs
/// of one side deviate by `deviation`. `None`: more than [`MOST_NEEDED`].
///
/// This is the number for a comparison of means, with Guenther's correction for few runs (*The
/// American Statistician* 35, 1981), and π/3 times that, since ranks know less of normal values
/// than means do. The deviation that it is computed from is itself known by a few runs only, to a
/// quarter with five a side: the number is one to plan with.
pub fn runs_needed(deviation: f64, size: f64, ends: Ends) -> Option<u64> {
    let z = ends.z();
    let of_means = 2.0 * ((z + Z_POWER) * deviation / size).powi(2);
    let needed = (of_means * std::f64::consts::FRAC_PI_3 + z * z / 4.0).ceil();
    let needed = if needed.is_finite() { needed } else { f64::INFINITY };
    if needed > MOST_NEEDED as f64 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most a thousand")]
    #[expect(clippy::cast_sign_loss, reason = "sums of squares")]
    Some((needed as u64).max(ends.fewest_runs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same every time (splitmix64).
    struct Noise(u64);

    impl Noise {
        /// From 0 to 1, neither of them included.
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        /// Of the normal distribution (Box and Muller).
        fn normal(&mut self) -> f64 {
            let radius = (-2.0 * self.uniform().ln()).sqrt();
            radius * (std::f64::consts::TAU * self.uniform()).cos()
        }

        /// With a tail so long that it has no mean.
        fn cauchy(&mut self) -> f64 {
            (std::f64::consts::PI * (self.uniform() - 0.5)).tan()
        }
    }

    /// How often in 1,000 times `n` runs a side show a difference, where there is one of `size`.
    fn n_found(n: usize, size: f64, next: fn(&mut Noise) -> f64) -> usize {
        let mut noise = Noise(n as u64);
        let mut draw = |shift: f64| (0..n).map(|_| next(&mut noise) + shift).collect::<Vec<_>>();
        (0..1_000)
            .filter(|_| {
                let (a, b) = (draw(0.0), draw(size));
                let [low, high] = interval([&a, &b], Ends::Both).unwrap();
                low > 0.0 || high < 0.0
            })
            .count()
    }

    #[test]
    fn pairs_are_left_out_as_the_tables_of_the_test_have_it() {
        // H. B. Mann, D. R. Whitney (1947); 5 % in both ends, and 5 % in one.
        let both = [(4, 4, 0), (4, 5, 1), (5, 5, 2), (6, 6, 5), (8, 8, 13), (10, 10, 23)];
        let one = [(3, 3, 0), (4, 4, 1), (5, 5, 4), (6, 6, 7), (8, 8, 15), (10, 10, 27)];
        for (ends, table) in [(Ends::Both, both), (Ends::One, one)] {
            for (m, n, k) in table {
                assert_eq!(left_out(m, n, ends), Some(k), "{m}, {n}, {ends:?}");
                assert_eq!(left_out(n, m, ends), Some(k), "{n}, {m}, {ends:?}");
            }
        }
        assert_eq!(left_out(20, 20, Ends::Both), Some(127));
        assert_eq!(left_out(1, 1, Ends::One), None);
        assert_eq!(left_out(0, 9, Ends::Both), None);
        assert_eq!((Ends::Both.fewest_runs(), Ends::One.fewest_runs()), (4, 3));
        // One more pair than is counted out: both ways agree.
        assert!(left_out(20, 21, Ends::Both).unwrap().abs_diff(134) <= 1);
    }

    #[test]
    fn chance_alone_is_called_a_difference_no_more_often_than_it_may() {
        for n in [4, 5, 7, 10, 25] {
            for next in [Noise::normal as fn(&mut Noise) -> f64, Noise::cauchy] {
                let n_found = n_found(n, 0.0, next);
                // Three standard deviations of 1,000 draws above 50.
                assert!((5..=70).contains(&n_found), "{n_found} of 1,000 with {n} runs a side");
            }
        }
    }

    #[test]
    fn as_many_runs_as_are_needed_find_what_they_are_to_find() {
        for size in [3.0, 2.0, 1.0, 0.5] {
            let n = runs_needed(1.0, size, Ends::Both).unwrap();
            let n_found = n_found(usize::try_from(n).unwrap(), size, Noise::normal);
            // 4 runs are the fewest of all, and find a little less often.
            assert!((830..=970).contains(&n_found), "{n_found} of 1,000 with {n} runs a side");
        }
    }

    #[test]
    fn five_runs_find_what_the_guide_says_that_they_find() {
        // A change of 10 % where runs are spread by 3 %.
        let n_found = n_found(5, 1.1_f64.ln() / 0.03, Noise::normal);
        assert!((955..=985).contains(&n_found), "{n_found} of 1,000; the guide says 97 of 100");
    }

    #[test]
    fn runs_that_are_needed_follow_the_spread() {
        let ten_percent = 1.1_f64.ln();
        assert_eq!(runs_needed(0.2, ten_percent, Ends::Both), Some(98));
        assert_eq!(runs_needed(0.0, ten_percent, Ends::Both), Some(4));
        assert_eq!(runs_needed(0.0, ten_percent, Ends::One), Some(3));
        assert_eq!(runs_needed(9.0, ten_percent, Ends::One), None);
        assert_eq!(runs_needed(0.1, 0.0, Ends::One), None, "no size at all");
        assert_eq!(runs_needed(0.0, 0.0, Ends::One), None);
    }

    #[test]
    fn medians_and_deviations_are_those_of_a_sample() {
        assert_eq!((median(&[]), median(&[3.0, 1.0])), (None, Some(2.0)));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!((deviation(&[1.0]), deviation(&[1.0, 3.0])), (None, Some(2_f64.sqrt())));
        assert_eq!(common_deviation([&[1.0], &[2.0]]), None);
        assert_eq!(common_deviation([&[1.0], &[4.0, 6.0]]), Some(2_f64.sqrt()));
        assert_eq!(common_deviation([&[1.0, 3.0], &[4.0, 6.0]]), Some(2_f64.sqrt()));
    }

    #[test]
    fn a_wild_run_does_not_hide_what_the_others_show() {
        let a = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 900.0];
        let b = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6];
        let [low, high] = interval([&a, &b], Ends::Both).unwrap();
        assert!(low > 0.0 && high < 2.0, "{low} to {high}");
        // With fewer it does, and makes no difference out of none either.
        let [low, high] = interval([&a[2..], &b[2..]], Ends::Both).unwrap();
        assert!(low < 0.0 && high > 0.0, "{low} to {high}");
    }
}
