//! What a stream must be like to count as good: `first_item_from_due<500ms,gap.p99<100ms`.

use std::str::FromStr;

use reports::stamp::as_us;
use reports::units::parse_duration;
use serde::{Deserialize, Serialize};

/// What is asked of each stream: the value of `--goodput`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Goodput {
    /// As it was given.
    text: String,
    /// Of the time from when it was due to its first item.
    first_item_from_due: Option<Bound>,
    /// Of the time from when its request was sent.
    first_item_from_send: Option<Bound>,
    /// Of the time from then to its orderly end.
    stream_time: Option<Bound>,
    /// Of its longest gap.
    gap_max: Option<Bound>,
    /// Of its gaps, by a percentile or the mean.
    gap: Option<(GapFigure, Bound)>,
}

/// The longest time that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    /// In microseconds.
    us: u64,
    /// Whether that time itself is allowed.
    is_allowed: bool,
}

impl Bound {
    /// Whether so many microseconds are within it.
    fn holds(self, us: u64) -> bool {
        us < self.us || self.is_allowed && us == self.us
    }
}

/// A figure of the gaps of one stream, other than the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GapFigure {
    /// The percentile that one gap in so many may exceed: 100 for p99.
    OneIn(i32),
    /// The mean.
    Mean,
}

/// The percentiles there are.
const PERCENTILES: [(&str, i32); 6] =
    [("p50", 2), ("p90", 10), ("p99", 100), ("p99.9", 1_000), ("p999", 1_000), ("p99.99", 10_000)];

/// Why a text is no [`Goodput`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoodputError {
    /// There is no comparison that bounds something.
    #[error(
        "not a bound: \"{0}\"; write a figure of a stream, < or <=, and a time: \
         first_item_from_due<500ms"
    )]
    NoBound(String),
    /// A stream has no such figure.
    #[error(
        "a stream has no figure \"{0}\"; there are first_item_from_due, first_item_from_send, \
         stream_time, gap.max, gap.mean, gap.p50, gap.p90, gap.p99, gap.p99.9 and gap.p99.99"
    )]
    UnknownName(String),
    /// The time is none.
    #[error("in \"{text}\": {why}")]
    BadTime {
        /// The bound.
        text: String,
        /// What is wrong, and what to write.
        why: String,
    },
    /// The figure has a bound already.
    #[error(
        "\"{0}\" comes second: a figure has one bound, and of a stream's gaps there are two, one \
         of gap.max and one of their mean or a percentile"
    )]
    Twice(String),
}

impl FromStr for Goodput {
    type Err = GoodputError;

    fn from_str(text: &str) -> Result<Self, GoodputError> {
        let mut goodput = Self {
            text: text.to_owned(),
            first_item_from_due: None,
            first_item_from_send: None,
            stream_time: None,
            gap_max: None,
            gap: None,
        };
        for one in text.split(',').map(str::trim) {
            let no_bound = || GoodputError::NoBound(one.to_owned());
            let (name, time) = one.split_once('<').ok_or_else(no_bound)?;
            let (time, is_allowed) = match time.strip_prefix('=') {
                Some(time) => (time, true),
                None => (time, false),
            };
            let (name, time) = (name.trim(), time.trim());
            if name.is_empty() || time.is_empty() {
                return Err(no_bound());
            }
            let bad_time = |why| GoodputError::BadTime { text: one.to_owned(), why };
            let time = parse_duration(time).map_err(|error| bad_time(error.to_string()))?;
            let bound = Bound { us: as_us(time), is_allowed };
            let before = match name {
                "first_item_from_due" => goodput.first_item_from_due.replace(bound).is_some(),
                "first_item_from_send" => goodput.first_item_from_send.replace(bound).is_some(),
                "stream_time" => goodput.stream_time.replace(bound).is_some(),
                "gap.max" => goodput.gap_max.replace(bound).is_some(),
                _ => {
                    let which = name.strip_prefix("gap.").and_then(|which| match which {
                        "mean" => Some(GapFigure::Mean),
                        _ => PERCENTILES
                            .iter()
                            .find(|(word, _)| *word == which)
                            .map(|(_, one_in)| GapFigure::OneIn(*one_in)),
                    });
                    let unknown = || GoodputError::UnknownName(name.to_owned());
                    goodput.gap.replace((which.ok_or_else(unknown)?, bound)).is_some()
                }
            };
            if before {
                return Err(GoodputError::Twice(one.to_owned()));
            }
        }
        Ok(goodput)
    }
}

impl TryFrom<String> for Goodput {
    type Error = GoodputError;

    fn try_from(text: String) -> Result<Self, GoodputError> {
        text.parse()
    }
}

impl From<Goodput> for String {
    fn from(goodput: Goodput) -> Self {
        goodput.text
    }
}

impl Goodput {
    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a first item is soon enough that came so many microseconds after it was due, and
    /// after its request was sent, if that is known.
    pub(crate) fn first_item(&self, from_due_us: u64, from_send_us: Option<u64>) -> bool {
        let is_soon = self.first_item_from_due.is_none_or(|bound| bound.holds(from_due_us));
        let from_send =
            self.first_item_from_send.zip(from_send_us).is_none_or(|(bound, us)| bound.holds(us));
        is_soon && from_send
    }

    /// Whether a stream must have an item to be good.
    pub(crate) fn needs_item(&self) -> bool {
        self.first_item_from_due.is_some() || self.first_item_from_send.is_some()
    }

    /// Whether a gap of so many microseconds is allowed at all.
    pub(crate) fn allows_gap(&self, gap_us: u64) -> bool {
        self.gap_max.is_none_or(|bound| bound.holds(gap_us))
    }

    /// What a gap adds to the *credit* of a stream, whose gaps meet the bound if it is not negative
    /// when the stream ends.
    ///
    /// A percentile is below its bound if no more than one gap in so many is not: each that is adds
    /// 1, each that is not takes all but one of so many away. The mean is if the gaps' differences
    /// from it do not sum up to less than nothing; these are in units of `unit_us` microseconds.
    /// Both are exact, and take one number whatever the stream's length.
    pub(crate) fn credit(&self, gap_us: u64, unit_us: u64) -> i32 {
        match self.gap {
            None => 0,
            Some((GapFigure::OneIn(_), bound)) if bound.holds(gap_us) => 1,
            Some((GapFigure::OneIn(one_in), _)) => 1 - one_in,
            Some((GapFigure::Mean, bound)) => {
                let (bound, gap) = (bound.us / unit_us, gap_us / unit_us);
                let difference = i128::from(bound) - i128::from(gap);
                let most = i128::from(i32::MAX);
                i32::try_from(difference.clamp(-most, most)).expect("it is within the limits")
            }
        }
    }

    /// Whether a stream is soon enough at its end that comes so many microseconds after its request
    /// was sent.
    pub(crate) fn ends(&self, stream_time_us: u64) -> bool {
        self.stream_time.is_none_or(|bound| bound.holds(stream_time_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reports::latency::Latency;

    #[test]
    fn each_figure_has_its_bound() {
        let text = "first_item_from_due<500ms, first_item_from_send<=400ms,stream_time<30s";
        let goodput: Goodput = text.parse().unwrap();
        assert!(goodput.first_item(499_999, Some(400_000)) && goodput.needs_item());
        assert!(!goodput.first_item(500_000, Some(1)) && !goodput.first_item(1, Some(400_001)));
        assert!(goodput.first_item(1, None), "what is not known is not held against it");
        assert!(goodput.ends(29_999_999) && !goodput.ends(30_000_000));
        assert!(goodput.allows_gap(u64::MAX) && goodput.credit(u64::MAX, 10) == 0);
    }

    #[test]
    fn what_is_no_bound_of_a_stream_is_refused_with_what_to_write() {
        for (text, words) in [
            ("", "first_item_from_due<500ms"),
            ("gap.p99", "first_item_from_due<500ms"),
            ("gap.p99>1s", "first_item_from_due<500ms"),
            ("gap.p99<", "first_item_from_due<500ms"),
            ("gap<1s", "there are first_item_from_due"),
            ("gap.p98<1s", "there are first_item_from_due"),
            ("first_item_from_due.p99<1s", "there are first_item_from_due"),
            ("gap.p99<100", "write 100s or 100ms"),
            ("gap.p99<1s,gap.p50<1s", "\"gap.p50<1s\" comes second"),
            ("stream_time<1s,stream_time<2s", "comes second"),
        ] {
            let error = text.parse::<Goodput>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        /// The credit says the same as the percentile of a histogram that has every gap.
        #[test]
        fn a_percentile_is_exact(
            gaps in prop::collection::vec(0..2_000_u64, 1..400),
            which in 0..PERCENTILES.len(),
        ) {
            let (word, _) = PERCENTILES[which];
            let goodput: Goodput = format!("gap.{word}<1ms").parse().unwrap();
            let mut all = Latency::default();
            for gap_us in &gaps {
                all.record_us(*gap_us);
            }
            let credit: i64 = gaps.iter().map(|us| i64::from(goodput.credit(*us, 10))).sum();
            let summary = all.summary();
            let percentile = match word {
                "p50" => summary.p50_us,
                "p90" => summary.p90_us,
                "p99" => summary.p99_us,
                "p99.99" => summary.p9999_us,
                _ => summary.p999_us,
            };
            prop_assert_eq!(credit >= 0, percentile < 1_000);
        }

        #[test]
        fn a_mean_is_exact_to_the_unit(gaps in prop::collection::vec(0..200_u64, 1..400)) {
            let gaps: Vec<_> = gaps.iter().map(|gap| gap * 10).collect();
            let goodput: Goodput = "gap.mean<=1ms".parse().unwrap();
            let credit: i64 = gaps.iter().map(|us| i64::from(goodput.credit(*us, 10))).sum();
            let sum: u64 = gaps.iter().sum();
            prop_assert_eq!(credit >= 0, sum <= 1_000 * gaps.len() as u64);
        }
    }
}
