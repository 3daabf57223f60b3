//! From one message of a source to its next: always the same, or drawn anew.

use std::str::FromStr;
use std::time::{Duration, Instant};

use reports::schedule::Schedule;
use reports::units::{UnitError, parse_duration, parse_interval};

use crate::random::Random;

/// From one message of a source to its next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Always this; zero means as fast as answers come.
    Fixed(Duration),
    /// Anything from the one to the other, each as likely.
    Uniform(Duration, Duration),
    /// As between events that know nothing of each other, this on average.
    Exponential(Duration),
}

/// Why an interval was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IntervalError {
    /// A time in it is none.
    #[error(transparent)]
    Time(#[from] UnitError),
    /// There are not two times.
    #[error("write uniform:10ms..110ms")]
    Range,
    /// The first of two times is the later one, or the second is none at all.
    #[error("the second time must be more than 0s and not below the first")]
    Order,
    /// A mean of zero.
    #[error("must be more than 0s on average")]
    Zero,
}

/// `100`, `100ms`, `uniform:10ms..110ms`, `exp:60ms`.
impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        match text.split_once(':') {
            Some(("uniform", range)) => {
                let (from, to) = range.split_once("..").ok_or(IntervalError::Range)?;
                let (from, to) = (parse_duration(from)?, parse_duration(to)?);
                let is_in_order = from <= to && !to.is_zero();
                is_in_order.then_some(Self::Uniform(from, to)).ok_or(IntervalError::Order)
            }
            Some(("exp", mean)) => {
                let mean = parse_duration(mean)?;
                (!mean.is_zero()).then_some(Self::Exponential(mean)).ok_or(IntervalError::Zero)
            }
            _ => Ok(Self::Fixed(parse_interval(text)?)),
        }
    }
}

impl Interval {
    /// Whether messages have no due times and go as fast as answers come.
    pub fn is_zero(self) -> bool {
        self == Self::Fixed(Duration::ZERO)
    }

    /// The longest time in it.
    pub fn longest(self) -> Duration {
        match self {
            Self::Fixed(interval) | Self::Exponential(interval) | Self::Uniform(_, interval) => {
                interval
            }
        }
    }

    /// Its mean.
    pub fn mean(self) -> Duration {
        match self {
            Self::Fixed(interval) | Self::Exponential(interval) => interval,
            Self::Uniform(from, to) => (from + to) / 2,
        }
    }
}

/// When the messages of one source are due, in order, without end.
///
/// They depend on the interval, the seed and the source's number, and not on what became of any
/// message: that makes a run an open loop.
#[derive(Debug, Clone)]
pub struct Dues {
    /// When message 0 of source 0 would be due.
    started_at: Instant,
    /// When the next message is due, counted from there; none when nothing has a due time.
    next: Option<Duration>,
    /// What the one after it follows from.
    step: Step,
}

/// How due times follow from one another.
#[derive(Debug, Clone)]
enum Step {
    /// They are events of a schedule: this one, and then every n-th after it.
    Scheduled(Schedule, u64, u64),
    /// After a random interval. In a box, because 10,000 sources on a schedule need none.
    Random(Interval, Box<Random>),
}

impl Dues {
    /// The due times of `source`, one of `n_sources`, in a run that begins at `started_at`.
    ///
    /// Fixed intervals begin staggered: event k of the schedule belongs to source k mod sources, so
    /// the sources take turns and the total rate is smooth. Random ones begin with a random one.
    pub fn new(
        interval: Interval,
        started_at: Instant,
        seed: u64,
        source: u64,
        n_sources: u64,
    ) -> Self {
        let step = match interval {
            Interval::Fixed(interval) => {
                Step::Scheduled(Schedule::new(n_sources, interval), source, n_sources)
            }
            // A stream far from those of the ids, which are numbered like the sources.
            random => Step::Random(random, Random::new(seed, !source).into()),
        };
        let mut dues = Self { started_at, next: Some(Duration::ZERO), step };
        match &dues.step {
            Step::Scheduled(schedule, ..) if schedule.is_at_once() => dues.next = None,
            Step::Scheduled(schedule, event, _) => dues.next = Some(schedule.due(*event)),
            Step::Random(..) => dues.advance(),
        }
        dues
    }

    /// When the next message is due; none when messages have no due times.
    pub fn next_at(&self) -> Option<Instant> {
        self.next.map(|next| self.started_at + next)
    }

    /// Goes on to the message after it.
    pub fn advance(&mut self) {
        let Some(next) = &mut self.next else { return };
        match &mut self.step {
            Step::Scheduled(schedule, event, n_sources) => {
                *event += *n_sources;
                *next = schedule.due(*event);
            }
            Step::Random(interval, random) => {
                *next = next.saturating_add(draw(*interval, random));
            }
        }
    }
}

/// A random interval.
fn draw(interval: Interval, random: &mut Random) -> Duration {
    match interval {
        Interval::Fixed(interval) => interval,
        Interval::Uniform(from, to) => {
            let width_ns =
                u64::try_from(to.saturating_sub(from).as_nanos()).unwrap_or(u64::MAX - 1);
            from + Duration::from_nanos(random.below(width_ns + 1))
        }
        // The longest draw is 37 times the mean, so it is a time if the mean is one of a run.
        Interval::Exponential(mean) => mean.mul_f64(-random.share().ln()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `n` due times of a source of four, in microseconds.
    fn first(n: usize, interval: &str, seed: u64, source: u64) -> Vec<u64> {
        let started_at = Instant::now();
        let mut dues = Dues::new(interval.parse().unwrap(), started_at, seed, source, 4);
        let next_us = || {
            let due_at = dues.next_at().unwrap();
            dues.advance();
            u64::try_from((due_at - started_at).as_micros()).unwrap()
        };
        std::iter::repeat_with(next_us).take(n).collect()
    }

    /// From each due time to the next, the first counted from the start.
    fn gaps(dues_us: &[u64]) -> Vec<u64> {
        let before = std::iter::once(&0).chain(dues_us);
        dues_us.iter().zip(before).map(|(due, before)| due - before).collect()
    }

    #[test]
    fn fixed_intervals_are_staggered_over_the_sources() {
        assert_eq!(first(3, "100", 1, 0), [0, 100_000, 200_000]);
        assert_eq!(first(3, "100ms", 1, 3), [75_000, 175_000, 275_000]);
    }

    #[test]
    fn without_an_interval_nothing_has_a_due_time() {
        let interval: Interval = "0".parse().unwrap();
        assert!(interval.is_zero());
        let mut dues = Dues::new(interval, Instant::now(), 1, 0, 4);
        dues.advance();
        assert_eq!(dues.next_at(), None);
    }

    #[test]
    fn uniform_intervals_lie_between_their_ends_and_are_spread_evenly() {
        let dues_us = first(20_000, "uniform:10ms..110ms", 1, 2);
        let mut tenths = [0; 10];
        for gap_us in gaps(&dues_us) {
            assert!((9_999..=110_000).contains(&gap_us), "{gap_us}");
            tenths[usize::try_from(gap_us.saturating_sub(10_000) / 10_001).unwrap()] += 1;
        }
        // 2,000 each with a standard deviation of 42.
        assert!(tenths.iter().all(|n| (1_800..2_200).contains(n)), "{tenths:?}");
    }

    #[test]
    fn exponential_intervals_have_their_mean_and_their_long_tail() {
        let gaps = gaps(&first(20_000, "exp:60ms", 1, 2));
        let longer_than = |us| gaps.iter().filter(|gap_us| **gap_us > us).count();
        let mean_us = gaps.iter().sum::<u64>() / 20_000;
        assert!((58_000..62_000).contains(&mean_us), "{mean_us}");
        // e⁻¹ and e⁻³ of them, 7358 and 996, with standard deviations of 68 and 31.
        assert!((7_050..7_650).contains(&longer_than(60_000)));
        assert!((860..1_130).contains(&longer_than(180_000)));
    }

    #[test]
    fn random_due_times_repeat_with_the_seed_and_differ_between_sources() {
        for interval in ["uniform:10ms..110ms", "exp:60ms"] {
            assert_eq!(first(9, interval, 1, 0), first(9, interval, 1, 0));
            assert_ne!(first(9, interval, 1, 0), first(9, interval, 2, 0));
            assert_ne!(first(9, interval, 1, 0), first(9, interval, 1, 1));
        }
    }

    #[test]
    fn intervals_that_are_none_are_refused() {
        for (text, why) in [
            ("uniform:10ms", "write uniform:10ms..110ms"),
            ("uniform:10..110", "not a time: \"10\"; write 10s or 10ms"),
            ("uniform:2s..1s", "the second time must be more than 0s and not below the first"),
            ("uniform:0s..0s", "the second time must be more than 0s and not below the first"),
            ("exp:0s", "must be more than 0s on average"),
            ("exp:", "not a time: \"\"; write 100ms, 60s or 24h"),
            ("normal:1s", "not a time: \"normal:1s\"; write 100ms, 60s or 24h"),
        ] {
            assert_eq!(text.parse::<Interval>().unwrap_err().to_string(), why);
        }
        assert_eq!("exp:60ms".parse::<Interval>().unwrap().mean(), Duration::from_millis(60));
        assert_eq!(
            "uniform:10ms..110ms".parse::<Interval>().unwrap().mean(),
            Duration::from_millis(60)
        );
    }
}
