//! What is expected of a run: `connected>=10000,closed=0,lost=0,latency.p99<50ms`.
//!
//! Every figure is one of the final report. A figure that is not there, such as a latency when no
//! message carried a stamp, meets no expectation.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reports::books::FloodReport;
use reports::latency::LatencySummary;
use reports::stamp::as_us;
use reports::units;

use crate::reason::Reason;

/// What is expected of a run: the value of `--expect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectations(Vec<Expectation>);

/// One expectation.
#[derive(Debug, Clone, PartialEq)]
struct Expectation {
    /// As it was written.
    text: String,
    /// Of which figure.
    figure: Figure,
    /// How it is compared.
    comparison: Comparison,
    /// With what: a count, or microseconds.
    value: u64,
}

/// Why a text does not say what is expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    /// There is no sign of comparison in it, or nothing before it.
    #[error("no comparison in \"{0}\"; write a figure, one of = != < <= > >=, and a value")]
    NoComparison(String),
    /// There is no such figure.
    #[error("no figure is called \"{name}\"; there are {}", Figure::names())]
    NoFigure {
        /// What was written.
        name: String,
    },
    /// No connection ever fails or closes for this reason.
    #[error(
        "no reason is called \"{0}\"; reports name those there are, as in closed.cut, \
         failed.timed-out or failed.status-503"
    )]
    NoReason(String),
    /// The value is not a count, or not a time.
    #[error("in \"{text}\": {problem}")]
    Value {
        /// The whole expectation.
        text: String,
        /// What is wrong with its value.
        problem: units::UnitError,
    },
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// `=` or `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// The signs of comparison. Of two that begin alike the longer one comes first.
const SIGNS: [(&str, Comparison); 7] = [
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

impl Comparison {
    /// Whether `found` compares so with `expected`.
    fn holds(self, found: u64, expected: u64) -> bool {
        match self {
            Self::Equal => found == expected,
            Self::NotEqual => found != expected,
            Self::Less => found < expected,
            Self::AtMost => found <= expected,
            Self::More => found > expected,
            Self::AtLeast => found >= expected,
        }
    }
}

/// How a count is read from a report.
type Count = fn(&FloodReport) -> u64;

/// The counts by their names, which are those of the JSON report.
const COUNTS: [(&str, Count); 13] = [
    ("asked", |report| report.asked),
    ("begun", |report| report.begun),
    ("established", |report| report.established),
    ("peak", |report| report.peak),
    ("connected", |report| report.connected),
    ("closed", |report| report.closed),
    ("failed", |report| report.failed),
    ("chunks", |report| report.chunks),
    ("bytes", |report| report.bytes),
    ("lost", |report| report.lost),
    ("duplicated", |report| report.duplicated),
    ("reordered", |report| report.reordered),
    ("unnumbered", |report| report.unnumbered),
];

/// How a summary of delays is found in a report.
type Delays = fn(&FloodReport) -> &LatencySummary;

/// The delays by their names.
const DELAYS: [(&str, Delays); 3] = [
    ("latency", |report| &report.delivery),
    ("raw_latency", |report| &report.raw_delivery),
    ("connect_late", |report| &report.connect_late),
];

/// How a delay in microseconds is read from a summary.
pub(crate) type Percentile = fn(&LatencySummary) -> u64;

/// The percentiles by their names.
pub(crate) const PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", |summary| summary.p50_us),
    ("p90", |summary| summary.p90_us),
    ("p99", |summary| summary.p99_us),
    ("p99.9", |summary| summary.p999_us),
    ("max", |summary| summary.max_us),
];

/// A figure of the final report.
#[derive(Debug, Clone, PartialEq)]
enum Figure {
    /// A place in [`COUNTS`].
    Count(usize),
    /// Connections that failed for a reason.
    Failed(String),
    /// Connections that closed for a reason.
    Closed(String),
    /// Places in [`DELAYS`] and [`PERCENTILES`]: a delay in microseconds.
    Delay(usize, usize),
    /// A place in [`DELAYS`]: how many there are.
    Delays(usize),
    /// A place in [`DELAYS`]: how many are missing because two clocks differ.
    Clock(usize),
}

impl Figure {
    /// The names of all figures, for an error message.
    fn names() -> String {
        let counts: Vec<_> = COUNTS.iter().map(|(name, _)| *name).collect();
        let percentiles: Vec<_> = PERCENTILES.iter().map(|(name, _)| *name).collect();
        let delays: Vec<_> = DELAYS.iter().map(|(name, _)| format!("{name}.…")).collect();
        format!(
            "{}, failed.REASON, closed.REASON, and {} with {}, count or clock",
            counts.join(", "),
            delays.join(", "),
            percentiles.join(", ")
        )
    }

    /// The figure of this name.
    fn parse(name: &str) -> Result<Self, ExpectError> {
        if let Some(place) = COUNTS.iter().position(|(known, _)| *known == name) {
            return Ok(Self::Count(place));
        }
        let unknown = || ExpectError::NoFigure { name: name.to_owned() };
        let (family, part) = name.split_once('.').ok_or_else(unknown)?;
        let reason = || {
            let word = part.replace('-', " ");
            let is_known = Reason::is_word(&word);
            is_known.then_some(word).ok_or_else(|| ExpectError::NoReason(part.to_owned()))
        };
        match family {
            "failed" => return reason().map(Self::Failed),
            "closed" => return reason().map(Self::Closed),
            _ => {}
        }
        let delays = DELAYS.iter().position(|(known, _)| *known == family).ok_or_else(unknown)?;
        match part {
            "count" => Ok(Self::Delays(delays)),
            "clock" => Ok(Self::Clock(delays)),
            _ => {
                let place = PERCENTILES.iter().position(|(known, _)| *known == part);
                place.map(|place| Self::Delay(delays, place)).ok_or_else(unknown)
            }
        }
    }

    /// Its value in `report`; `None` for a delay when there are none.
    fn of(&self, report: &FloodReport) -> Option<u64> {
        match self {
            Self::Count(place) => Some(COUNTS[*place].1(report)),
            Self::Failed(reason) => Some(report.failures.get(reason).copied().unwrap_or(0)),
            Self::Closed(reason) => Some(report.closures.get(reason).copied().unwrap_or(0)),
            Self::Delay(delays, place) => {
                let summary = DELAYS[*delays].1(report);
                (summary.count > 0).then(|| PERCENTILES[*place].1(summary))
            }
            Self::Delays(delays) => Some(DELAYS[*delays].1(report).count),
            Self::Clock(delays) => Some(DELAYS[*delays].1(report).clock),
        }
    }

    /// Whether it is a time.
    fn is_delay(&self) -> bool {
        matches!(self, Self::Delay(..))
    }
}

impl FromStr for Expectations {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Self, ExpectError> {
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Expectation {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Self, ExpectError> {
        let no_comparison = || ExpectError::NoComparison(text.to_owned());
        let at = text.find(['=', '!', '<', '>']).ok_or_else(no_comparison)?;
        let (name, rest) = text.split_at(at);
        let sign = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
        let (sign, comparison) = sign.ok_or_else(no_comparison)?;
        let (name, value) = (name.trim(), rest[sign.len()..].trim());
        if name.is_empty() {
            return Err(no_comparison());
        }
        let figure = Figure::parse(name)?;
        let value = if figure.is_delay() {
            units::parse_duration(value).map(as_us)
        } else {
            units::parse_count(value)
        };
        let value =
            value.map_err(|problem| ExpectError::Value { text: text.to_owned(), problem })?;
        Ok(Self { text: text.to_owned(), figure, comparison: *comparison, value })
    }
}

impl Expectations {
    /// A sentence for each expectation that `report` does not meet.
    pub fn shortfalls(&self, report: &FloodReport) -> Vec<String> {
        self.0.iter().filter_map(|expectation| expectation.shortfall(report)).collect()
    }
}

impl Expectation {
    /// A sentence if `report` does not meet it.
    fn shortfall(&self, report: &FloodReport) -> Option<String> {
        let found = self.figure.of(report);
        if found.is_some_and(|found| self.comparison.holds(found, self.value)) {
            return None;
        }
        let found = Found { value: found, is_delay: self.figure.is_delay() };
        Some(format!("expected {}, found {found}", self.text))
    }
}

/// What was found instead of what was expected.
struct Found {
    /// The value, if there is one.
    value: Option<u64>,
    /// Whether it is in microseconds.
    is_delay: bool,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(us) if self.is_delay => write!(f, "{:?}", Duration::from_micros(us)),
            Some(count) => write!(f, "{count}"),
            None => f.write_str("none recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a text.
    fn error(text: &str) -> String {
        text.parse::<Expectations>().unwrap_err().to_string()
    }

    /// How a report with a few figures falls short of a text.
    fn shortfalls(text: &str) -> Vec<String> {
        let report = FloodReport {
            connected: 9_990,
            closed: 10,
            closures: [("timed out".to_owned(), 7), ("cut".to_owned(), 3)].into(),
            delivery: LatencySummary { count: 5, p99_us: 61_250, ..LatencySummary::default() },
            ..FloodReport::default()
        };
        text.parse::<Expectations>().unwrap().shortfalls(&report)
    }

    #[test]
    fn what_holds_is_not_mentioned() {
        for text in [
            "connected>=9990,closed=10,lost=0,latency.p99<62ms",
            " connected == 9.99k , closed != 0 ",
            "closed.timed-out=7,closed.timed out<=7,closed.reset=0,failed.status-503<1",
            "latency.p99>61ms,latency.count>4,latency.clock=0,raw_latency.count=0",
        ] {
            assert_eq!(shortfalls(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_does_not_hold_is_said_with_what_was_found() {
        assert_eq!(
            shortfalls("connected>=10k,closed=0,lost=0,latency.p99<50ms,closed.cut<3"),
            [
                "expected connected>=10k, found 9990",
                "expected closed=0, found 10",
                "expected latency.p99<50ms, found 61.25ms",
                "expected closed.cut<3, found 3",
            ]
        );
    }

    #[test]
    fn a_latency_that_was_not_measured_meets_no_expectation() {
        assert_eq!(
            shortfalls("raw_latency.max<1h"),
            ["expected raw_latency.max<1h, found none recorded"]
        );
    }

    #[test]
    fn every_figure_has_its_own_name() {
        for (name, _) in COUNTS {
            assert!(format!("{name}=1").parse::<Expectations>().is_ok(), "{name}");
        }
        for (delays, _) in DELAYS {
            for (percentile, _) in PERCENTILES {
                let text = format!("{delays}.{percentile}<=1s");
                assert!(text.parse::<Expectations>().is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_cure() {
        assert!(error("").starts_with("no comparison in \"\"; write a figure, one of = !="));
        assert!(error("connected").starts_with("no comparison in \"connected\""));
        assert!(error(">=3").starts_with("no comparison in \">=3\""));
        assert!(error("lost=0,").starts_with("no comparison in \"\""));
        assert!(error("connected!3").starts_with("no comparison in \"connected!3\""));
        let unknown = error("conected>=3");
        assert!(unknown.starts_with("no figure is called \"conected\"; there are asked, begun"));
        assert!(
            unknown.ends_with(
                "latency.…, raw_latency.…, connect_late.… with p50, p90, p99, \
                                   p99.9, max, count or clock"
            ),
            "{unknown}"
        );
        assert!(error("latency<3ms").starts_with("no figure is called \"latency\""));
        assert!(error("latency.p98<3ms").starts_with("no figure is called \"latency.p98\""));
        assert!(error("closed.cuts=0").starts_with("no reason is called \"cuts\""));
        assert_eq!(
            error("latency.p99<50"),
            "in \"latency.p99<50\": not a time: \"50\"; write 50s or 50ms"
        );
        assert_eq!(
            error("connected>=many"),
            "in \"connected>=many\": not a count: \"many\"; write 10000, 10k or 1m"
        );
    }
}
