//! Whom a source sends to.
//!
//! The order of a source's ids depends on the seed, the source's number and what is asked for, and
//! on nothing else: not on timing, answers or threads. Changing that makes old seeds mean other
//! runs.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rand_distr::Distribution as _;
use rand_distr::Zipf;

use crate::random::Random;

/// The largest id that a server takes.
pub const HIGHEST_ID: u64 = i64::MAX as u64;

/// The most ids in a file: 80 MB of them.
const HIGHEST_N_IDS: usize = 10_000_000;

/// The largest `max` under Zipf's law, whose ranks are floating-point numbers: up to here they
/// count in ones.
const HIGHEST_ZIPF: u64 = 1 << 53;

/// The ids that there are, by rank: the first is the most likely one where they are not equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Population {
    /// 1..=max, the rank being the id.
    UpTo(u64),
    /// Those of a file, in its order.
    Listed(Arc<[u64]>),
}

impl Population {
    /// How many there are.
    pub fn n_ids(&self) -> u64 {
        match self {
            Self::UpTo(max) => *max,
            Self::Listed(ids) => ids.len() as u64,
        }
    }

    /// The highest of them.
    pub fn highest(&self) -> u64 {
        match self {
            Self::UpTo(max) => *max,
            Self::Listed(ids) => ids.iter().copied().max().unwrap_or_default(),
        }
    }

    /// The id of a rank below that.
    fn id(&self, rank: u64) -> u64 {
        match self {
            Self::UpTo(_) => rank + 1,
            Self::Listed(ids) => ids[usize::try_from(rank).expect("it is a place in memory")],
        }
    }

    /// Reads a file of ids, one a line; blank lines and those that begin with `#` are skipped.
    pub fn read(path: &Path) -> Result<Self, IdsError> {
        let cannot_read = |source| IdsError::Read { path: path.to_owned(), source };
        let lines = BufReader::new(std::fs::File::open(path).map_err(cannot_read)?).lines();
        let mut ids = Vec::new();
        for (line, number) in lines.zip(1..) {
            let line = line.map_err(cannot_read)?;
            let text = line.trim_start_matches('\u{feff}').trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match text.parse() {
                Ok(id @ 1..=HIGHEST_ID) if ids.len() < HIGHEST_N_IDS => ids.push(id),
                Ok(1..=HIGHEST_ID) => return Err(IdsError::TooMany(path.to_owned())),
                _ => {
                    let (path, text) = (path.to_owned(), text.to_owned());
                    return Err(IdsError::BadLine { path, number, text });
                }
            }
        }
        if ids.is_empty() {
            return Err(IdsError::Empty(path.to_owned()));
        }
        Ok(Self::Listed(ids.into()))
    }
}

/// Why there are no ids to send to.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// The file cannot be read.
    #[error("cannot read the ids in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A line holds something else than an id.
    #[error(
        "{}:{number}: not an id: \"{text}\"; write one number in 1..={HIGHEST_ID} a line",
        path.display()
    )]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1 on.
        number: u64,
        /// The line.
        text: String,
    },
    /// There is not one id.
    #[error("no ids in {}; write one a line", .0.display())]
    Empty(PathBuf),
    /// There are more than can be held.
    #[error("{} has more than {HIGHEST_N_IDS} ids; give --max, or a shorter file", .0.display())]
    TooMany(PathBuf),
    /// The ids are too few or too many for the distribution.
    #[error("--distribution {0}")]
    Distribution(String),
}

/// How likely each id is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Odds {
    /// All alike.
    Uniform,
    /// Rank k with odds in proportion to 1 ÷ k to this power: the long tail.
    Zipf(f64),
    /// The first ids of all, this share of them, get this share of the messages; all alike among
    /// themselves, and the others too.
    Hot {
        /// Percent of the ids.
        ids: f64,
        /// Percent of the messages.
        messages: f64,
    },
}

/// `uniform`, `zipf:1.1`, `hot:1%=90%`.
impl FromStr for Odds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = |text: &str| {
            let percent = text.trim().strip_suffix('%')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(percent)
        };
        let hot = |text: &str| {
            let (ids, messages) = text.split_once('=')?;
            Some(Self::Hot { ids: percent(ids)?, messages: percent(messages)? })
        };
        // Beyond 100 there is one id in 10³⁰ messages that is not the first.
        let zipf = |text: &str| {
            let power = text.parse().ok().filter(|power| (0.0..=100.0).contains(power))?;
            Some(Self::Zipf(power))
        };
        match text.split_once(':') {
            None if text == "uniform" => Some(Self::Uniform),
            Some(("zipf", power)) => zipf(power),
            Some(("hot", shares)) => hot(shares),
            _ => None,
        }
        .ok_or_else(|| "write uniform, zipf:1.1 or hot:1%=90%".to_owned())
    }
}

/// Who is sent to, and how often; checked, and shared by all sources.
#[derive(Debug, Clone)]
pub struct Audience {
    /// The ids.
    population: Population,
    /// How a rank is drawn.
    draw: Draw,
}

/// How the rank of an id is drawn.
#[derive(Debug, Clone, Copy)]
enum Draw {
    /// Any of them.
    Uniform,
    /// By Zipf's law.
    Zipf(Zipf<f64>),
    /// One of the first so many with this probability, otherwise one of the others.
    Hot(u64, f64),
}

impl Audience {
    /// The ids.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// The ids of `population`, as likely as `odds` say.
    pub fn new(population: Population, odds: Odds) -> Result<Self, IdsError> {
        let n = population.n_ids();
        let draw = match odds {
            Odds::Uniform => Draw::Uniform,
            Odds::Zipf(_) if n > HIGHEST_ZIPF => {
                return Err(IdsError::Distribution(format!(
                    "zipf takes at most {HIGHEST_ZIPF} ids"
                )));
            }
            Odds::Zipf(power) => Draw::Zipf(
                Zipf::new(n as f64, power).expect("a checked power, and at least one id"),
            ),
            Odds::Hot { ids, messages } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share of a count is a count"
                )]
                let n_hot = (n as f64 * ids / 100.0).ceil() as u64;
                if n_hot == 0 || n_hot >= n {
                    let why = format!("hot leaves {n_hot} of {n} ids hot; both sides need one");
                    return Err(IdsError::Distribution(why));
                }
                Draw::Hot(n_hot, messages / 100.0)
            }
        };
        Ok(Self { population, draw })
    }
}

/// The ids that one source sends to, in order, without end.
#[derive(Debug, Clone)]
pub struct Ids {
    /// This source's own stream of the seed's numbers.
    random: Random,
    /// What they are drawn from.
    audience: Arc<Audience>,
}

impl Ids {
    /// The ids of source number `source` under `seed`.
    pub fn new(seed: u64, source: u64, audience: Arc<Audience>) -> Self {
        Self { random: Random::new(seed, source), audience }
    }

    /// The next id.
    pub fn next_id(&mut self) -> u64 {
        let (random, n) = (&mut self.random, self.audience.population.n_ids());
        let rank = match self.audience.draw {
            Draw::Uniform => random.below(n),
            Draw::Zipf(zipf) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "ranks are whole numbers from 1 on"
                )]
                let rank = zipf.sample(random.generator()) as u64;
                // Rounding may carry the last of them one too far.
                rank.clamp(1, n) - 1
            }
            Draw::Hot(n_hot, probability) if random.share() <= probability => random.below(n_hot),
            Draw::Hot(n_hot, _) => n_hot + random.below(n - n_hot),
        };
        self.audience.population.id(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(seed: u64, source: u64, max: u64, odds: &str) -> Ids {
        let audience = Audience::new(Population::UpTo(max), odds.parse().unwrap()).unwrap();
        Ids::new(seed, source, Arc::new(audience))
    }

    fn first(n: usize, mut ids: Ids) -> Vec<u64> {
        std::iter::repeat_with(|| ids.next_id()).take(n).collect()
    }

    /// Pearson's statistic of a million draws of an id in 1..=1000 against `odds` that add up to 1,
    /// at a fixed seed. An id outside panics.
    ///
    /// 999 degrees of freedom: mean 999, standard deviation 44.7; four of them either way. Far
    /// below would mean a generator that evens its draws out, which is no randomness either.
    #[track_caller]
    fn assert_odds(distribution: &str, odds: impl Fn(u64) -> f64) {
        const N: usize = 1_000_000;
        let mut counts = [0_u64; 1_000];
        for id in first(N, ids(20_081_017, 0, 1_000, distribution)) {
            counts[usize::try_from(id - 1).unwrap()] += 1;
        }
        let term = |(count, id)| {
            let expected = N as f64 * odds(id);
            (count as f64 - expected).powi(2) / expected
        };
        let statistic: f64 = counts.into_iter().zip(1..).map(term).sum();
        assert!((820.0..1_178.0).contains(&statistic), "chi-square {statistic}");
    }

    #[test]
    fn uniform_ids_are_uniform() {
        assert_odds("uniform", |_| 0.001);
    }

    #[test]
    fn zipf_ids_follow_zipfs_law() {
        for power in [1.1_f64, 1.0, 0.5] {
            let weight = |id: u64| (id as f64).powf(-power);
            let sum: f64 = (1..=1_000).map(weight).sum();
            assert_odds(&format!("zipf:{power}"), |id| weight(id) / sum);
        }
    }

    #[test]
    fn hot_ids_get_their_share_and_are_alike_among_themselves() {
        assert_odds("hot:1%=90%", |id| if id <= 10 { 0.09 } else { 0.1 / 990.0 });
    }

    #[test]
    fn the_same_seed_and_source_give_the_same_ids_for_good() {
        assert_eq!(first(5, ids(1, 0, 10_000, "uniform")), [3_815, 2_950, 7_983, 9_162, 8_559]);
        assert_eq!(first(5, ids(1, 1, 10_000, "uniform")), [1_036, 8_180, 6_382, 3_276, 3_589]);
        assert_eq!(first(5, ids(1, 0, 10_000, "zipf:1.1")), [7, 477, 1_039, 214, 8]);
        assert_eq!(first(5, ids(1, 0, 10_000, "hot:1%=90%")), [30, 92, 14, 79, 46]);
    }

    #[test]
    fn another_seed_or_source_gives_other_ids() {
        for odds in ["uniform", "zipf:1.1", "hot:50%=50%"] {
            let of = |seed, source| first(20, ids(seed, source, 10_000, odds));
            assert_ne!(of(1, 0), of(2, 0), "{odds}");
            assert_ne!(of(1, 0), of(1, 1), "{odds}");
        }
    }

    #[test]
    fn every_id_of_one_to_max_comes_and_no_other() {
        for odds in ["uniform", "zipf:1.1", "zipf:0", "hot:30%=40%"] {
            for max in [2, 5, 7] {
                let mut ids = first(1_000, ids(3, 0, max, odds));
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids, (1..=max).collect::<Vec<_>>(), "{odds}");
            }
        }
        assert_eq!(first(3, ids(3, 0, 1, "zipf:1")), [1; 3]);
    }

    #[test]
    fn the_largest_range_stays_within_it() {
        let max = HIGHEST_ZIPF;
        let mut drawn = first(10_000, ids(5, 0, max, "zipf:0.1"));
        drawn.sort_unstable();
        assert!(drawn[0] >= 1 && drawn[9_999] <= max && drawn[9_999] > max / 2);
    }

    #[test]
    fn odds_that_are_none_and_ids_that_are_too_few_are_refused() {
        for text in [
            "",
            "even",
            "zipf",
            "zipf:",
            "zipf:-1",
            "zipf:NaN",
            "hot:1%",
            "hot:1=90",
            "hot:1%=101%",
        ] {
            assert!(text.parse::<Odds>().is_err(), "{text}");
        }
        let error = |n, odds: &str| {
            let audience = Audience::new(Population::UpTo(n), odds.parse().unwrap());
            audience.unwrap_err().to_string()
        };
        assert_eq!(
            error(1, "hot:1%=90%"),
            "--distribution hot leaves 1 of 1 ids hot; both sides need one"
        );
        assert!(error(HIGHEST_ZIPF + 1, "zipf:1").contains("at most 9007199254740992 ids"));
    }

    #[test]
    fn a_file_of_ids_is_read_as_it_is_and_a_bad_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            Population::read(file.path())
        };
        let population = read("\u{feff}70\r\n\n# friends\n 8 \n70").unwrap();
        assert_eq!(population, Population::Listed([70, 8, 70].into()));
        for (text, why) in [
            ("1\n0\n", ":2: not an id: \"0\"; write one number in 1..=9223372036854775807 a line"),
            ("1\n\n1 2\n", ":3: not an id: \"1 2\""),
            ("9223372036854775808", ":1: not an id: "),
            ("#\n", "; write one a line"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
