//! The shape of a load: how long connections live, what follows their ends, storms, slow readers.
//! What the flags about these say, checked.

use std::str::FromStr;
use std::time::Duration;

use reports::units;
use serde::{Deserialize, Serialize};

use crate::dice::{self, Choice};

/// What browsers wait before they open an event stream again, where its server has not said
/// `retry:`. The standard leaves it open ("a few seconds"); Chrome takes 3 s, Firefox 5 s.
const BROWSERS_WAIT: Duration = Duration::from_secs(3);

/// What `at-once` waits after a connect that failed. Without any wait a server that is away would be
/// asked in a loop that takes the whole core, and nothing would be learnt by it.
const FAILED_WAIT: Duration = Duration::from_millis(10);

/// Doublings of a back-off that are counted: 2³⁰ times any time is beyond its bound.
const MAX_DOUBLINGS: u32 = 30;

/// How long the end that closes a connection holds its port (Linux: `TCP_TIMEWAIT_LEN`).
const TIME_WAIT: Duration = Duration::from_mins(1);

/// Bytes that a slow reader may read a second. It reads ten times a second, and the kernel lets a
/// socket hold some 200 KB by default (`net.core.rmem_max`).
const MAX_SLOW_BYTES_PER_S: u64 = 1024 * 1024;

/// Storms that a run may have; each has its own figures in the report.
const MAX_STORMS: usize = 100;

/// The shape of a load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// How long to begin connections at the rate, if that is not said by their number (`--for`).
    pub begins_for: Option<Duration>,
    /// After which time we close a connection and open it anew.
    pub lifetime: Option<Lifetime>,
    /// What follows an end that was not ours, and a storm.
    pub reopen: Reopen,
    /// When we close many connections at once, in the order of their times.
    pub storms: Vec<Storm>,
    /// Which connections are read slowly.
    pub slow: Vec<Slow>,
    /// What all choices depend on.
    pub seed: u64,
}

impl Shape {
    /// Whether places may have more than one connection.
    pub fn has_lives(&self) -> bool {
        self.lifetime.is_some() || self.reopen != Reopen::Never
    }

    /// Source ports that connections hold which we have closed, of `n` places: each for a minute, in
    /// `TIME_WAIT`, since it was we who closed. Those that are thrown away (RST) hold none, nor do
    /// those that the server has closed.
    pub(crate) fn n_ports_held(&self, n: u64) -> u64 {
        let mut held = 0.0;
        if let Some(lifetime) = self.lifetime {
            held += n as f64 / lifetime.mean().as_secs_f64() * TIME_WAIT.as_secs_f64();
        }
        for storm in self.storms.iter().filter(|storm| !storm.is_reset) {
            held += n as f64 * storm.part;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive, and beyond 2^64 it saturates"
        )]
        let held = held.ceil() as u64;
        held
    }

    /// Puts storms into the order of their times, and looks for what makes no sense together. The
    /// run `lasts` so long since its first connection, where that is known.
    pub fn check(&mut self, lasts: Option<Duration>) -> Result<(), ShapeError> {
        self.storms.sort_by_key(|storm| storm.at);
        if self.storms.len() > MAX_STORMS {
            return Err(ShapeError::TooMany);
        }
        if let Some(storm) = self.storms.first()
            && self.reopen == Reopen::Never
        {
            return Err(ShapeError::NoReopen { at: storm.at });
        }
        if let (Some(lasts), Some(storm)) = (lasts, self.storms.last())
            && storm.at >= lasts
        {
            return Err(ShapeError::Outside { at: storm.at, lasts });
        }
        let sum: f64 = self.slow.iter().map(|slow| slow.part).sum();
        // What is read from text may be off by the last digit.
        if sum > 1.0 + 1e-9 {
            return Err(ShapeError::TooSlow);
        }
        Ok(())
    }
}

/// Why shapes make no sense together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A storm closes connections for good.
    #[error(
        "--storm at {at:?} closes connections, and nothing brings them back; say how with \
         --reopen, as in --reopen backoff:100ms..30s"
    )]
    NoReopen {
        /// When it is.
        at: Duration,
    },
    /// A storm comes after the end.
    #[error(
        "--storm at {at:?} comes after the end of the run, which is {lasts:?} after its first \
         connection; hold it longer with --hold, or let the storm come earlier"
    )]
    Outside {
        /// When it is.
        at: Duration,
        /// When the end is.
        lasts: Duration,
    },
    /// There are too many storms.
    #[error("more than 100 storms; leave some out")]
    TooMany,
    /// More connections are to be slow than there are.
    #[error("the percentages of --slow are more than 100 together")]
    TooSlow,
    /// A rate without an end is to last for a time.
    #[error("--for needs a rate, as in --rate 50 --for 60s; with --rate max give --connections")]
    ForMax,
}

/// How long connections live: the value of `--lifetime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Each so long.
    Fixed(Duration),
    /// Distributed exponentially, with this mean: each is as likely to end now as at any time.
    Exponential(Duration),
    /// Evenly distributed between these.
    Uniform(Duration, Duration),
}

impl Lifetime {
    /// That of a life of a place.
    pub(crate) fn of(self, seed: u64, place: u64, life: u32) -> Duration {
        let part = dice::part(seed, place, (life, 0), Choice::Lifetime);
        match self {
            Self::Fixed(time) => time,
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - part).ln()),
            Self::Uniform(least, most) => least + most.saturating_sub(least).mul_f64(part),
        }
    }

    /// The mean.
    pub(crate) fn mean(self) -> Duration {
        match self {
            Self::Fixed(time) | Self::Exponential(time) => time,
            Self::Uniform(least, most) => (least + most) / 2,
        }
    }
}

/// Why a text is no [`Lifetime`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a lifetime: \"{0}\"; write a time of more than zero, exp:30s for one distributed \
     exponentially, or uniform:10s..60s"
)]
pub struct LifetimeError(String);

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let lifetime = if let Some(mean) = text.strip_prefix("exp:") {
            positive(mean).map(Self::Exponential)
        } else if let Some(range) = text.strip_prefix("uniform:") {
            range_of(range).map(|(least, most)| Self::Uniform(least, most))
        } else {
            positive(text).map(Self::Fixed)
        };
        lifetime.ok_or_else(|| LifetimeError(text.to_owned()))
    }
}

/// What follows an end that was not ours, and a connect that failed: the value of `--reopen`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reopen {
    /// Nothing.
    #[default]
    Never,
    /// The next connection, at once; after a connect that failed, 10 ms later.
    AtOnce,
    /// The next one after this time.
    After(Duration),
    /// The next one after a time that chance takes between zero and a bound ("full jitter"): the
    /// first of these, doubled with each connect that fails, up to the second.
    Backoff(Duration, Duration),
    /// When the server says: `retry:` of an event stream, `Retry-After` of a refusal; 3 s where it
    /// says nothing.
    Server,
}

/// What is known of a place that waits for its next connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    /// The place.
    pub(crate) place: u64,
    /// How many connections it has had.
    pub(crate) life: u32,
    /// Connects that have failed since the last one that was established.
    pub(crate) n_failed: u32,
    /// What the server has said about when to come back.
    pub(crate) asked: Option<Duration>,
}

impl Reopen {
    /// How long a place waits; `None` if for ever.
    pub(crate) fn wait(self, seed: u64, before: Before) -> Option<Duration> {
        let Before { place, life, n_failed, asked } = before;
        match self {
            Self::Never => None,
            Self::AtOnce if n_failed == 0 => Some(Duration::ZERO),
            Self::AtOnce => Some(FAILED_WAIT),
            Self::After(time) => Some(time),
            Self::Backoff(first, most) => {
                let bound = first.saturating_mul(1 << n_failed.min(MAX_DOUBLINGS)).min(most);
                let part = dice::part(seed, place, (life, n_failed), Choice::Reopen);
                Some(bound.mul_f64(part))
            }
            Self::Server => Some(asked.unwrap_or(BROWSERS_WAIT)),
        }
    }
}

/// Why a text is no [`Reopen`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not what follows an end: \"{0}\"; write never, at-once, after:1s, backoff:100ms..30s, or \
     server for what the server says"
)]
pub struct ReopenError(String);

impl FromStr for Reopen {
    type Err = ReopenError;

    fn from_str(text: &str) -> Result<Self, ReopenError> {
        let reopen = match text {
            "never" => Some(Self::Never),
            "at-once" => Some(Self::AtOnce),
            "server" => Some(Self::Server),
            _ => match text.split_once(':') {
                Some(("after", time)) => positive(time).map(Self::After),
                Some(("backoff", range)) => {
                    range_of(range).map(|(first, most)| Self::Backoff(first, most))
                }
                _ => None,
            },
        };
        reopen.ok_or_else(|| ReopenError(text.to_owned()))
    }
}

/// Many connections that we close at once: the value of `--storm`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Storm {
    /// When, after the first connection of the run was due.
    pub at: Duration,
    /// Which part of those that are open then, from 0 to 1.
    pub part: f64,
    /// Whether they are thrown away (RST) in place of closed (FIN).
    pub is_reset: bool,
}

/// Why a text is no [`Storm`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a storm: \"{0}\"; write when and how many of the open connections are closed, as in \
     60s:50%, or 60s:50%:reset; more than 0 % and at most 100 %"
)]
pub struct StormError(String);

impl FromStr for Storm {
    type Err = StormError;

    fn from_str(text: &str) -> Result<Self, StormError> {
        let storm = || {
            let (at, rest) = text.split_once(':')?;
            let (part, is_reset) = match rest.split_once(':') {
                Some((part, "reset")) => (part, true),
                Some(_) => return None,
                None => (rest, false),
            };
            let at = units::parse_duration(at).ok()?;
            Some(Self { at, part: part_of(part)?, is_reset })
        };
        storm().ok_or_else(|| StormError(text.to_owned()))
    }
}

/// Connections that are read slowly, or never: the value of `--slow`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    /// Which part of the places, from 0 to 1.
    pub part: f64,
    /// Bytes that each reads a second; 0: none after its response head.
    pub bytes_per_s: u64,
}

/// Why a text is no [`Slow`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not slow readers: \"{0}\"; write how many connections and how much each reads, as in \
     1%:1KiB/s, or 1%:0 for nothing at all; more than 0 % and at most 100 %, and at most 1MiB/s"
)]
pub struct SlowError(String);

impl FromStr for Slow {
    type Err = SlowError;

    fn from_str(text: &str) -> Result<Self, SlowError> {
        let slow = || {
            let (part, rate) = text.split_once(':')?;
            let bytes_per_s = match rate {
                "0" => 0,
                _ => units::parse_bytes(rate.strip_suffix("/s")?).ok()?,
            };
            if bytes_per_s > MAX_SLOW_BYTES_PER_S {
                return None;
            }
            Some(Self { part: part_of(part)?, bytes_per_s })
        };
        slow().ok_or_else(|| SlowError(text.to_owned()))
    }
}

/// Reads a percentage of more than 0 and at most 100, as a part of 1.
fn part_of(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    (percent > 0.0 && percent <= 100.0).then_some(percent / 100.0)
}

/// Reads a time of more than zero.
fn positive(text: &str) -> Option<Duration> {
    units::parse_duration(text).ok().filter(|time| !time.is_zero())
}

/// Reads `10s..60s`, a range of times that rises.
fn range_of(text: &str) -> Option<(Duration, Duration)> {
    let (least, most) = text.split_once("..")?;
    Some((positive(least)?, positive(most)?)).filter(|(least, most)| least <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lifetimes_are_read() {
        for (text, lifetime) in [
            ("30s", Lifetime::Fixed(s(30))),
            ("exp:30s", Lifetime::Exponential(s(30))),
            ("uniform:10s..60s", Lifetime::Uniform(s(10), s(60))),
        ] {
            assert_eq!(text.parse(), Ok(lifetime));
        }
        for text in ["", "0s", "30", "exp:", "exp:0s", "uniform:60s..10s", "uniform:10s"] {
            assert!(text.parse::<Lifetime>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_follows_an_end_is_read() {
        for (text, reopen) in [
            ("never", Reopen::Never),
            ("at-once", Reopen::AtOnce),
            ("after:1s", Reopen::After(s(1))),
            ("backoff:1s..30s", Reopen::Backoff(s(1), s(30))),
            ("server", Reopen::Server),
        ] {
            assert_eq!(text.parse(), Ok(reopen));
        }
        for text in ["", "always", "after:", "after:0s", "backoff:1s", "backoff:30s..1s"] {
            assert!(text.parse::<Reopen>().is_err(), "{text}");
        }
    }

    #[test]
    fn storms_and_slow_readers_are_read() {
        let storm = |at, part, is_reset| Storm { at: s(at), part, is_reset };
        assert_eq!("60s:50%".parse(), Ok(storm(60, 0.5, false)));
        assert_eq!("0s:100%:reset".parse(), Ok(storm(0, 1.0, true)));
        for text in ["60s", "60:50%", "60s:50", "60s:0%", "60s:101%", "60s:50%:fin", "60s:nan%"] {
            assert!(text.parse::<Storm>().is_err(), "{text}");
        }
        assert_eq!("1%:1KiB/s".parse(), Ok(Slow { part: 0.01, bytes_per_s: 1024 }));
        assert_eq!("2.5%:0".parse(), Ok(Slow { part: 0.025, bytes_per_s: 0 }));
        for text in ["1%", "1%:1KiB", "0%:0", "101%:0", "1:0", "1%:-1/s", "1%:2MiB/s"] {
            assert!(text.parse::<Slow>().is_err(), "{text}");
        }
    }

    #[test]
    fn lifetimes_are_distributed_as_asked_for() {
        let mean = |lifetime: Lifetime| {
            let all = (0..10_000).map(|place| lifetime.of(1, place, 0).as_secs_f64());
            all.sum::<f64>() / 10_000.0
        };
        // Five standard deviations of these means: 0.5 s and 0.144 s × 5 ÷ 100 each.
        assert!((mean(Lifetime::Exponential(s(10))) - 10.0).abs() < 0.5);
        assert!((mean(Lifetime::Uniform(s(10), s(20))) - 15.0).abs() < 0.15);
        let least = (0..1_000).map(|place| Lifetime::Uniform(s(10), s(20)).of(1, place, 0)).min();
        assert!(least.is_some_and(|least| least >= s(10)));
    }

    #[test]
    fn what_we_close_holds_its_port_for_a_minute() {
        let shape = |text: &str| Shape { lifetime: text.parse().ok(), ..Shape::default() };
        assert_eq!(shape("20s").n_ports_held(10_000), 30_000, "500 a second");
        assert_eq!(shape("uniform:10s..30s").n_ports_held(10_000), 30_000);
        let storm = |is_reset| Storm { at: s(1), part: 0.5, is_reset };
        let storms = vec![storm(false), storm(true)];
        assert_eq!(Shape { storms, ..Shape::default() }.n_ports_held(10), 5);
    }

    #[test]
    fn a_back_off_doubles_up_to_its_bound_with_full_jitter() {
        let reopen = Reopen::Backoff(s(1), s(5));
        let longest = |n_failed| {
            let wait = |place| Before { place, n_failed, ..Before::default() };
            (0..2_000).filter_map(|place| reopen.wait(1, wait(place))).max().unwrap()
        };
        for (n_failed, bound) in [(0, 1), (1, 2), (2, 4), (3, 5), (1_000, 5)] {
            let longest = longest(n_failed);
            assert!(longest <= s(bound) && longest > s(bound).mul_f64(0.99), "{longest:?}");
        }
        let shortest = (0..2_000).map(|place| Before { place, ..Before::default() });
        let shortest = shortest.filter_map(|before| reopen.wait(1, before)).min().unwrap();
        assert!(shortest < Duration::from_millis(10), "full jitter begins at zero: {shortest:?}");
    }

    #[test]
    fn shapes_that_make_no_sense_together_are_refused() {
        let storm = Storm { at: s(60), part: 0.5, is_reset: false };
        let storms = Shape { storms: vec![storm], ..Shape::default() };
        let mut never = storms.clone();
        assert_eq!(never.check(None), Err(ShapeError::NoReopen { at: s(60) }));
        let mut back = Shape { reopen: Reopen::AtOnce, ..storms };
        assert_eq!(back.check(None), Ok(()));
        assert_eq!(back.check(Some(s(61))), Ok(()));
        let outside = back.check(Some(s(60))).unwrap_err();
        assert!(outside.to_string().contains("hold it longer with --hold"), "{outside}");
        let slow = Slow { part: 0.6, bytes_per_s: 0 };
        let mut slow = Shape { slow: vec![slow, slow], ..Shape::default() };
        assert_eq!(slow.check(None), Err(ShapeError::TooSlow));
    }
}
