//! What a run is expected to show: `connected>=10000,lost=0,latency.p99<50ms`.
//!
//! An expectation compares one figure of the final report with a value: `name`, one of `=`, `!=`,
//! `<`, `<=`, `>`, `>=`, then a count (`10k`), a number (`999.5`) or a time (`50ms`), whichever the
//! figure is. Several stand side by side with commas. A tool hands in its figures twice: those of an
//! empty report before the run, so that a wrong name or unit is told at once, and the final ones.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::latency::LatencySummary;
use crate::stamp::as_us;
use crate::units::{UnitError, parse_count, parse_duration};

/// Why expectations were not understood.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ExpectError {
    /// There is no comparison, or nothing on one side of it.
    #[error("not an expectation: \"{0}\"; write name, one of = != < <= > >=, value: lost=0")]
    NoComparison(String),
    /// No figure of the report has this name.
    #[error("there is no figure \"{name}\"; there are {known}")]
    UnknownName {
        /// What was given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The value is not what the figure is counted in.
    #[error("in \"{text}\": {why}")]
    BadValue {
        /// The expectation.
        text: String,
        /// What is wrong with its value, and what to write.
        why: String,
    },
}

/// A figure of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A number of things.
    Count(u64),
    /// A rate or a share.
    Number(f64),
    /// A delay in microseconds; none when nothing was measured, which no expectation is met by.
    Time(Option<u64>),
}

impl Figure {
    /// What it is compared by.
    fn value(self) -> Option<f64> {
        match self {
            Self::Count(n) => Some(n as f64),
            Self::Number(number) => Some(number),
            Self::Time(us) => us.map(|us| us as f64),
        }
    }

    /// Reads `text` in the unit of this figure.
    fn parse_value(self, text: &str) -> Result<f64, UnitError> {
        match self {
            Self::Count(_) => parse_count(text).map(|n| n as f64),
            Self::Number(_) => text.parse().or_else(|_| parse_count(text).map(|n| n as f64)),
            Self::Time(_) if text == "0" => Ok(0.0),
            Self::Time(_) => parse_duration(text).map(|time| as_us(time) as f64),
        }
    }
}

/// As it stands in a shortfall.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Number(number) => write!(f, "{number:.3}"),
            Self::Time(Some(us)) => write!(f, "{:?}", Duration::from_micros(*us)),
            Self::Time(None) => f.write_str("nothing measured"),
        }
    }
}

/// The figures of a report by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(BTreeMap<String, Figure>);

impl Figures {
    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, figure: Figure) -> Self {
        self.0.insert(name.to_owned(), figure);
        self
    }

    /// Adds counts.
    #[must_use]
    pub fn with_counts<const N: usize>(self, counts: [(&str, u64); N]) -> Self {
        counts.into_iter().fold(self, |figures, (name, n)| figures.with(name, Figure::Count(n)))
    }

    /// Adds `name.p50`, `.p90`, `.p99`, `.p999` and `.max`.
    #[must_use]
    pub fn with_delays(self, name: &str, delays: &LatencySummary) -> Self {
        let LatencySummary { count, p50_us, p90_us, p99_us, p999_us, max_us, .. } = *delays;
        let each = [("p50", p50_us), ("p90", p90_us), ("p99", p99_us), ("p999", p999_us)];
        each.into_iter().chain([("max", max_us)]).fold(self, |figures, (which, us)| {
            figures.with(&format!("{name}.{which}"), Figure::Time((count > 0).then_some(us)))
        })
    }
}

/// A comparison: how it is written, and when it holds between a figure and a value.
type Comparison = (&'static str, fn(f64, f64) -> bool);

/// All comparisons. The longer come first, so that `<=` is not read as `<` and a value `=…`.
const COMPARISONS: [Comparison; 6] = [
    ("<=", |figure, value| figure <= value),
    (">=", |figure, value| figure >= value),
    ("!=", |figure, value| !is_equal(figure, value)),
    ("<", |figure, value| figure < value),
    (">", |figure, value| figure > value),
    ("=", is_equal),
];

/// Whether two figures are the same. They are counts far below 2⁵³, or were computed alike.
fn is_equal(figure: f64, value: f64) -> bool {
    figure.total_cmp(&value).is_eq()
}

/// One expectation.
#[derive(Debug, Clone)]
struct Expectation {
    /// As it was given.
    text: String,
    /// The figure's name.
    name: String,
    /// When it is met.
    holds: fn(f64, f64) -> bool,
    /// What the figure is compared with, in the figure's unit.
    value: f64,
}

/// What a run is expected to show.
#[derive(Debug, Clone, Default)]
pub struct Expectations(Vec<Expectation>);

impl Expectations {
    /// Reads expectations of a report that has the figures `known`.
    pub fn parse(text: &str, known: &Figures) -> Result<Self, ExpectError> {
        text.split(',')
            .map(|one| Expectation::parse(one.trim(), known))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A sentence for every expectation that `figures` do not meet.
    pub fn shortfalls(&self, figures: &Figures) -> Vec<String> {
        self.0.iter().filter_map(|one| one.shortfall(figures)).collect()
    }
}

impl Expectation {
    /// Reads one expectation.
    fn parse(text: &str, known: &Figures) -> Result<Self, ExpectError> {
        let no_comparison = || ExpectError::NoComparison(text.to_owned());
        let split = |(sign, holds): Comparison| {
            let (name, value) = text.split_once(sign)?;
            Some((name.trim(), holds, value.trim()))
        };
        let (name, holds, value) =
            COMPARISONS.into_iter().find_map(split).ok_or_else(no_comparison)?;
        if name.is_empty() || value.is_empty() {
            return Err(no_comparison());
        }
        let figure = known.0.get(name).ok_or_else(|| ExpectError::UnknownName {
            name: name.to_owned(),
            known: known.0.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })?;
        let value = figure.parse_value(value).map_err(|error| ExpectError::BadValue {
            text: text.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self { text: text.to_owned(), name: name.to_owned(), holds, value })
    }

    /// What is to be said if it is not met.
    fn shortfall(&self, figures: &Figures) -> Option<String> {
        let figure = figures.0.get(&self.name).copied().unwrap_or(Figure::Time(None));
        let is_met = figure.value().is_some_and(|figure| (self.holds)(figure, self.value));
        (!is_met).then(|| format!("expected {}, found {figure}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of 5 lost, 999.5 a second, and one delay of 1.5 ms.
    fn figures(n_delays: u64) -> Figures {
        let delays = LatencySummary { count: n_delays, p99_us: 1_500, ..Default::default() };
        Figures::default()
            .with_counts([("lost", 5), ("connected", 10_000)])
            .with("rate", Figure::Number(999.5))
            .with_delays("latency", &delays)
    }

    fn shortfalls(text: &str) -> Vec<String> {
        Expectations::parse(text, &figures(0)).unwrap().shortfalls(&figures(1))
    }

    #[test]
    fn every_comparison_is_met_on_its_side_of_the_value_only() {
        for (sign, below, equal, above) in [
            ("=", false, true, false),
            ("!=", true, false, true),
            ("<", true, false, false),
            ("<=", true, true, false),
            (">", false, false, true),
            (">=", false, true, true),
        ] {
            let is_met = |value: u64| shortfalls(&format!("lost{sign}{value}")).is_empty();
            assert_eq!((is_met(6), is_met(5), is_met(4)), (below, equal, above), "lost 5 {sign}");
        }
    }

    #[test]
    fn each_shortfall_is_named_with_what_was_found() {
        assert_eq!(
            shortfalls("connected >= 10k, lost=0, rate>=1000, latency.p99 < 1ms, latency.max<=0"),
            [
                "expected lost=0, found 5",
                "expected rate>=1000, found 999.500",
                "expected latency.p99 < 1ms, found 1.5ms",
            ]
        );
    }

    #[test]
    fn a_delay_that_was_never_measured_meets_no_expectation() {
        let expected = Expectations::parse("latency.p99<1h", &figures(0)).unwrap();
        assert_eq!(
            expected.shortfalls(&figures(0)),
            ["expected latency.p99<1h, found nothing measured"]
        );
    }

    #[test]
    fn what_is_not_understood_is_told_before_the_run() {
        for (text, error) in [
            ("", "not an expectation: \"\"; write name, one of = != < <= > >=, value: lost=0"),
            ("lost=0,", "not an expectation: \"\""),
            ("lost", "not an expectation: \"lost\""),
            ("=0", "not an expectation: \"=0\""),
            ("lost=", "not an expectation: \"lost=\""),
            ("losses=0", "there is no figure \"losses\"; there are connected, latency.max, "),
            ("lost=few", "in \"lost=few\": not a count: \"few\"; write 10000, 10k or 1m"),
            ("lost==0", "in \"lost==0\": not a count: \"=0\""),
            ("latency.p99<50", "in \"latency.p99<50\": not a time: \"50\"; write 50s or 50ms"),
            ("rate>fast", "in \"rate>fast\": not a count: \"fast\""),
        ] {
            let found = Expectations::parse(text, &figures(0)).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text:?}: {found}");
        }
    }
}
