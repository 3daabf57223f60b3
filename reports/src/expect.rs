//! What a run is expected to show: `connected>=10000,lost=0,delivery_from_due.p99<50ms`.
//!
//! An expectation compares one figure of the final report with a value: `name`, one of `=`, `==`,
//! `!=`, `<`, `<=`, `>`, `>=`, then a count (`10k`), a number (`999.5`) or a time (`50ms`),
//! whichever the figure is. Several stand side by side with commas. A tool hands in its figures
//! twice: those of an empty report before the run, so that a wrong name or unit is told at once,
//! and the final ones.
//!
//! A figure may be there and have no value: what was not judged or not measured. No expectation is
//! met by it, not even `lost<=1000000`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::books::ByReason;
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
    /// The report never counts anything under this reason.
    #[error(
        "there is no reason \"{reason}\" in \"{name}\"; reasons are those of a report, as in \
         closed.cut, failed.timed-out or failed.status-503"
    )]
    UnknownReason {
        /// The whole name.
        name: String,
        /// The reason in it.
        reason: String,
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

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// A rate or a share.
    Number,
    /// Microseconds.
    Time,
}

/// A figure of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A number of things.
    Count(u64),
    /// A rate or a share.
    Number(f64),
    /// A delay in microseconds.
    Time(u64),
    /// One that is not known, with the words for that: `not judged`, `nothing measured`.
    Null(Unit, &'static str),
}

/// The words for what nobody looked at, or could look at.
pub const NOT_JUDGED: &str = "not judged";

/// The words for a delay of which there is none.
const NOTHING_MEASURED: &str = "nothing measured";

/// Why a delay is not known where the clocks of two hosts are not.
const CLOCK_UNKNOWN: &str = "the clock of a sender is unknown";

impl Figure {
    /// A count that is `None` where it was not judged.
    pub fn judged(count: Option<u64>) -> Self {
        count.map_or(Self::Null(Unit::Count, NOT_JUDGED), Self::Count)
    }

    /// What it is compared by.
    fn value(self) -> Option<f64> {
        match self {
            Self::Count(n) | Self::Time(n) => Some(n as f64),
            Self::Number(number) => Some(number),
            Self::Null(..) => None,
        }
    }

    /// What it is counted in.
    fn unit(self) -> Unit {
        match self {
            Self::Count(_) => Unit::Count,
            Self::Number(_) => Unit::Number,
            Self::Time(_) => Unit::Time,
            Self::Null(unit, _) => unit,
        }
    }

    /// Reads `text` in the unit of this figure.
    fn parse_value(self, text: &str) -> Result<f64, UnitError> {
        match self.unit() {
            Unit::Count => parse_count(text).map(|n| n as f64),
            Unit::Number => text.parse().or_else(|_| parse_count(text).map(|n| n as f64)),
            Unit::Time if text == "0" => Ok(0.0),
            Unit::Time => parse_duration(text).map(|time| as_us(time) as f64),
        }
    }
}

/// As it stands in a shortfall.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Number(number) => write!(f, "{number:.3}"),
            Self::Time(us) => write!(f, "{:?}", Duration::from_micros(*us)),
            Self::Null(_, words) => f.write_str(words),
        }
    }
}

/// Counts by reason: `failed.timed-out`.
#[derive(Debug, Clone)]
struct Family {
    /// Whether something may be counted under these words.
    is_reason: fn(&str) -> bool,
    /// What was.
    counts: ByReason,
}

/// The figures of a report by name.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Those with a name of their own.
    single: BTreeMap<String, Figure>,
    /// Those that are a family's name, a dot, and a reason.
    families: BTreeMap<String, Family>,
}

impl Figures {
    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, figure: Figure) -> Self {
        self.single.insert(name.to_owned(), figure);
        self
    }

    /// Adds counts.
    #[must_use]
    pub fn with_counts<const N: usize>(self, counts: [(&str, u64); N]) -> Self {
        counts.into_iter().fold(self, |figures, (name, n)| figures.with(name, Figure::Count(n)))
    }

    /// Adds counts that are `None` where they were not judged.
    #[must_use]
    pub fn with_judged<const N: usize>(self, counts: [(&str, Option<u64>); N]) -> Self {
        counts.into_iter().fold(self, |figures, (name, n)| figures.with(name, Figure::judged(n)))
    }

    /// Adds `name.REASON` for every reason, with `-` for its spaces. A reason that was not met has
    /// the count 0; one for which `is_reason` is false is refused.
    #[must_use]
    pub fn with_reasons(
        mut self,
        name: &str,
        counts: &ByReason,
        is_reason: fn(&str) -> bool,
    ) -> Self {
        let counts = counts.clone();
        self.families.insert(name.to_owned(), Family { is_reason, counts });
        self
    }

    /// Adds `name.p50`, `.p90`, `.p99`, `.p99.9`, `.p99.99`, `.max`, `.mean`, `.count` and
    /// `.negative`; `.p999` is another name of `.p99.9`.
    #[must_use]
    pub fn with_delays(self, name: &str, delays: &LatencySummary) -> Self {
        let is_measured = delays.count > 0;
        let why = if delays.is_unknown { CLOCK_UNKNOWN } else { NOTHING_MEASURED };
        let time = |us| if is_measured { Figure::Time(us) } else { Figure::Null(Unit::Time, why) };
        #[expect(clippy::cast_possible_truncation, reason = "a mean of delays is a delay")]
        #[expect(clippy::cast_sign_loss, reason = "a mean of delays is a delay")]
        let mean_us = delays.mean_us.round() as u64;
        [
            ("p50", time(delays.p50_us)),
            ("p90", time(delays.p90_us)),
            ("p99", time(delays.p99_us)),
            ("p99.9", time(delays.p999_us)),
            ("p999", time(delays.p999_us)),
            ("p99.99", time(delays.p9999_us)),
            ("max", time(delays.max_us)),
            ("mean", time(mean_us)),
            ("count", Figure::Count(delays.count)),
            ("negative", Figure::Count(delays.negative)),
        ]
        .into_iter()
        .fold(self, |figures, (which, figure)| figures.with(&format!("{name}.{which}"), figure))
    }

    /// The figure of this name.
    fn get(&self, name: &str) -> Result<Figure, ExpectError> {
        if let Some(figure) = self.single.get(name) {
            return Ok(*figure);
        }
        let family = name.split_once('.').and_then(|(family, reason)| {
            self.families.get(family).map(|family| (family, reason.replace('-', " ")))
        });
        let Some((family, reason)) = family else {
            return Err(ExpectError::UnknownName { name: name.to_owned(), known: self.names() });
        };
        if !(family.is_reason)(&reason) {
            return Err(ExpectError::UnknownReason { name: name.to_owned(), reason });
        }
        Ok(Figure::Count(family.counts.get(&reason).copied().unwrap_or(0)))
    }

    /// All names, for an error message.
    fn names(&self) -> String {
        let families = self.families.keys().map(|family| format!("{family}.REASON"));
        self.single.keys().cloned().chain(families).collect::<Vec<_>>().join(", ")
    }
}

/// A comparison: how it is written, and when it holds between a figure and a value.
type Comparison = (&'static str, fn(f64, f64) -> bool);

/// All comparisons. The longer come first, so that `<=` is not read as `<` and a value `=…`.
const COMPARISONS: [Comparison; 7] = [
    ("<=", |figure, value| figure <= value),
    (">=", |figure, value| figure >= value),
    ("!=", |figure, value| !is_equal(figure, value)),
    ("==", is_equal),
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
    /// What the figure is counted in.
    unit: Unit,
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

    /// The expectations of delays, as they were given. They say nothing of a server where the tool
    /// that measures is the limit.
    pub fn of_times(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|one| one.unit == Unit::Time).map(|one| one.text.as_str())
    }

    /// The names of the figures that they are about.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|one| one.name.as_str())
    }

    /// A sentence for every expectation that `figures` do not meet.
    pub fn shortfalls(&self, figures: &Figures) -> Vec<String> {
        self.0.iter().filter_map(|one| one.shortfall(figures)).collect()
    }
}

/// The name of the figure that an expectation is about; the whole text where it has none.
pub fn name_of(text: &str) -> &str {
    text.find(['=', '!', '<', '>']).map_or(text, |at| &text[..at]).trim()
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
        let figure = known.get(name)?;
        let value = figure.parse_value(value).map_err(|error| ExpectError::BadValue {
            text: text.to_owned(),
            why: error.to_string(),
        })?;
        let (text, name, unit) = (text.to_owned(), name.to_owned(), figure.unit());
        Ok(Self { text, name, unit, holds, value })
    }

    /// What is to be said if it is not met.
    fn shortfall(&self, figures: &Figures) -> Option<String> {
        let figure = figures.get(&self.name).expect("the same names as before the run");
        match figure.value() {
            Some(value) if (self.holds)(value, self.value) => None,
            Some(_) => Some(format!("expected {}, found {figure}", self.text)),
            // It comes first, so that nobody reads a figure where there is none.
            None => Some(format!("{}: {figure} (expected {})", self.name, self.text)),
        }
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
    fn expectations_of_delays_are_told_from_others() {
        let text = "lost=0, latency.p99 < 1ms, latency.count>0, latency.mean<=2s, rate>=1";
        let expected = Expectations::parse(text, &figures(1)).unwrap();
        assert!(expected.of_times().eq(["latency.p99 < 1ms", "latency.mean<=2s"]));
    }

    #[test]
    fn a_delay_that_was_never_measured_meets_no_expectation() {
        let expected = Expectations::parse("latency.p99<1h", &figures(0)).unwrap();
        assert_eq!(
            expected.shortfalls(&figures(0)),
            ["latency.p99: nothing measured (expected latency.p99<1h)"]
        );
    }

    #[test]
    fn what_was_not_judged_meets_no_expectation() {
        let figures = Figures::default().with_judged([("lost", None), ("reordered", Some(0))]);
        let expected =
            Expectations::parse("lost=0,lost<=1m,lost!=3,reordered=0", &figures).unwrap();
        assert_eq!(
            expected.shortfalls(&figures),
            [
                "lost: not judged (expected lost=0)",
                "lost: not judged (expected lost<=1m)",
                "lost: not judged (expected lost!=3)",
            ]
        );
    }

    #[test]
    fn reasons_are_counted_by_name_and_those_not_met_are_zero() {
        let counts = ByReason::from([("timed out".to_owned(), 7)]);
        let is_reason = |words: &str| matches!(words, "timed out" | "cut");
        let figures = Figures::default().with_reasons("closed", &counts, is_reason);
        let parse = |text| Expectations::parse(text, &figures);
        let held = parse("closed.timed-out=7,closed.timed out<=7,closed.cut==0").unwrap();
        assert_eq!(held.shortfalls(&figures), Vec::<String>::new());
        assert_eq!(
            parse("closed.cut>0").unwrap().shortfalls(&figures),
            ["expected closed.cut>0, found 0"]
        );
        let error = parse("closed.cuts=0").unwrap_err().to_string();
        assert!(error.starts_with("there is no reason \"cuts\" in \"closed.cuts\""), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_told_before_the_run() {
        for (text, error) in [
            ("", "not an expectation: \"\"; write name, one of = != < <= > >=, value: lost=0"),
            ("lost=0,", "not an expectation: \"\""),
            ("lost", "not an expectation: \"lost\""),
            ("=0", "not an expectation: \"=0\""),
            ("lost=", "not an expectation: \"lost=\""),
            ("losses=0", "there is no figure \"losses\"; there are connected, latency.count, "),
            ("lost=few", "in \"lost=few\": not a count: \"few\"; write 10000, 10k or 1m"),
            ("lost===0", "in \"lost===0\": not a count: \"=0\""),
            ("latency.p99<50", "in \"latency.p99<50\": not a time: \"50\"; write 50s or 50ms"),
            ("rate>fast", "in \"rate>fast\": not a count: \"fast\""),
        ] {
            let found = Expectations::parse(text, &figures(0)).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text:?}: {found}");
        }
    }
}
