//! What the runs of two sides show of one figure.

use std::fmt;

use serde::Serialize;

use super::figures::{Figure, Unit, Worse};
use super::ranks::{
    CERTAINTY, Ends, MOST_NEEDED, common_deviation, deviation, interval, median, runs_needed,
};
use crate::run::words::{figure as number, grouped};

/// The relative change that matters where no condition names another one.
pub const MATTERS: f64 = 0.1;

/// By what two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Ratios: what makes a run slower makes its short and its long delays longer by a factor.
    Ratio,
    /// Differences, in the figure's unit: where a run has none of it, as of lost messages.
    Difference,
}

impl Scale {
    /// What is computed with: on a scale of ratios logarithms, whose differences are ratios.
    pub(super) fn computed(self, values: &[f64]) -> Vec<f64> {
        match self {
            Self::Ratio => values.iter().map(|value| value.ln()).collect(),
            Self::Difference => values.to_vec(),
        }
    }

    /// A change of what is computed with, as a change: 0.1 is 10 % more, or 0.1 of the unit.
    pub(super) fn change(self, computed: f64) -> f64 {
        match self {
            Self::Ratio => computed.exp_m1(),
            Self::Difference => computed,
        }
    }

    /// The reverse.
    pub(super) fn of_change(self, change: f64) -> f64 {
        match self {
            Self::Ratio => change.ln_1p(),
            Self::Difference => change,
        }
    }

    /// A change, for people: `+9.8 %`, or `+2 ms`.
    pub fn said(self, change: f64, unit: Unit) -> String {
        // A factor says more of what is many times as much.
        const MOST_PERCENT: f64 = 10.0;
        let text = match self {
            Self::Ratio if change >= MOST_PERCENT => return format!("×{}", number(1.0 + change)),
            Self::Ratio => format!("{} %", percent(change)),
            Self::Difference => format!("{}{}", number(change), behind(unit)),
        };
        // What is rounded to nothing has no sign.
        let is_something = text.bytes().any(|it| (b'1'..=b'9').contains(&it));
        if change > 0.0 && is_something { format!("+{text}") } else { text }
    }
}

/// A share in percent, with one decimal where that says something.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = if percent.abs() < 99.95 { format!("{percent:.1}") } else { number(percent) };
    let text = text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}

/// A unit as it stands behind a figure.
pub(super) fn behind(unit: Unit) -> String {
    match unit.label() {
        "" => String::new(),
        label => format!(" {label}"),
    }
}

/// A figure of the runs of two sides.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The figure's name.
    pub name: String,
    /// What it is, in words.
    pub what: String,
    /// What it is counted in.
    pub unit: Unit,
    /// In what direction it is worse.
    pub worse: Worse,
    /// The file of the run folders that it is computed from.
    pub file: &'static str,
    /// Whether a table for people has it without being asked.
    #[serde(skip)]
    pub is_key: bool,
    /// Both sides.
    pub sides: [Side; 2],
    /// By what they are compared.
    pub scale: Scale,
    /// By how much the second median differs from the first, on that scale. `None` if one of them
    /// is not known.
    pub change: Option<f64>,
    /// Between what two changes the difference lies with [`CERTAINTY`]. `None`: there are too few
    /// runs to say so of any.
    pub between: Option<[f64; 2]>,
    /// What the runs show.
    pub finding: Finding,
    /// The relative change that matters: the least that a condition names, or [`MATTERS`].
    pub matters: f64,
    /// How many runs a side, about, could tell a change of that size, by the spread of these.
    /// `None`: more than [`MOST_NEEDED`]; or it is not known, as of one run, and of a figure that
    /// is 0.
    pub runs_needed: Option<u64>,
}

/// A figure of the runs of one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// That of each run; `None` where it was not measured or not judged.
    pub values: Vec<Option<f64>>,
    /// The median of those that are known.
    pub median: Option<f64>,
    /// Their standard deviation, as a share of the figure or, on a scale of differences, in its
    /// unit. `None` with fewer than two.
    pub spread: Option<f64>,
}

impl Side {
    /// The values that are known.
    pub(super) fn known(&self) -> Vec<f64> {
        self.values.iter().copied().flatten().collect()
    }
}

/// What the runs show of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It is not known of any run of one side.
    NotMeasured,
    /// It is the same in all runs.
    Same,
    /// A side has one run: no spread is known, and no difference told from chance.
    OneRun,
    /// The sides have too few runs: no difference could be told from chance, however large.
    TooFewRuns,
    /// No difference that these runs could show: it lies within the spread.
    None,
    /// There is more of it on the second side.
    More,
    /// There is less of it on the second side.
    Less,
}

impl Difference {
    /// The figure of the runs whose `values` are given, side by side. A relative change of
    /// `matters` should be told from chance.
    pub fn of(figure: &Figure, values: [Vec<Option<f64>>; 2], matters: f64) -> Self {
        let known = values.each_ref().map(|it| it.iter().copied().flatten().collect::<Vec<_>>());
        let is_ratio = known.iter().flatten().all(|value| *value > 0.0);
        let scale = if is_ratio { Scale::Ratio } else { Scale::Difference };
        let computed = known.each_ref().map(|it| scale.computed(it));
        let medians = known.each_ref().map(|it| median(it));
        let change = match medians {
            [Some(a), Some(b)] if is_ratio => Some(b / a - 1.0),
            [Some(a), Some(b)] => Some(b - a),
            _ => None,
        };
        let between = interval(computed.each_ref().map(Vec::as_slice), Ends::Both);
        let mut at = 0;
        let sides = values.map(|values| {
            let spread = deviation(&computed[at]).map(|it| scale.change(it));
            let side = Side { values, median: medians[at], spread };
            at += 1;
            side
        });
        let mut difference = Self {
            name: figure.name.clone(),
            what: figure.what.clone(),
            unit: figure.unit,
            worse: figure.worse,
            file: figure.file,
            is_key: figure.is_key,
            sides,
            scale,
            change,
            between: between.map(|it| it.map(|end| scale.change(end))),
            finding: finding(&known, between),
            matters,
            runs_needed: None,
        };
        if is_ratio {
            let size = scale.of_change(matters);
            difference.runs_needed = difference.runs_needed_for(size, scale, Ends::Both);
        }
        difference
    }

    /// How many runs a side, about, could tell a change of `size` on `scale`. `None`: more than
    /// [`MOST_NEEDED`], or that is not known.
    pub(super) fn runs_needed_for(&self, size: f64, scale: Scale, ends: Ends) -> Option<u64> {
        let computed = self.sides.each_ref().map(|side| scale.computed(&side.known()));
        let deviation = common_deviation(computed.each_ref().map(Vec::as_slice))?;
        runs_needed(deviation, size, ends)
    }

    /// How many runs a side have the figure: the fewer.
    pub fn n_runs(&self) -> usize {
        self.sides.iter().map(|side| side.known().len()).min().unwrap_or(0)
    }

    /// The figure's name, with its unit behind it.
    pub fn title(&self) -> String {
        match self.unit.label() {
            "" => self.name.clone(),
            label => format!("{}, {label}", self.name),
        }
    }

    /// The median of a side, and its spread, in the unit of the title.
    pub fn side(&self, at: usize) -> String {
        let side = &self.sides[at];
        let Some(median) = side.median else {
            return crate::run::words::NOT_MEASURED.to_owned();
        };
        // Nothing is said of runs that are all the same, as most counts are. A mean of the same
        // numbers may be off by their last digit.
        let spread = side.spread.filter(|spread| *spread > 1e-9).map(|spread| match self.scale {
            Scale::Ratio => format!(" ±{} %", percent(spread)),
            Scale::Difference => format!(" ±{}", number(spread)),
        });
        format!("{}{}", number(median), spread.unwrap_or_default())
    }

    /// The change of the medians, in percent or in the unit of the title.
    pub fn change(&self) -> String {
        self.change.map_or_else(|| "–".to_owned(), |it| self.scale.said(it, Unit::Count))
    }

    /// What the runs show, in words.
    pub fn sentence(&self) -> String {
        let missing = self.missing();
        let found = match (self.finding, self.between) {
            (Finding::More | Finding::Less, Some([low, high])) => {
                let is_worse = (self.finding == Finding::More) == (self.worse == Worse::More);
                let word = if is_worse { "worse" } else { "better" };
                let [low, high] = [low, high].map(|end| self.scale.said(end, Unit::Count));
                format!("{word}: {low} to {high}")
            }
            (Finding::None, _) => {
                format!("none that these runs could show{}", self.resolution("; "))
            }
            (Finding::TooFewRuns, _) => format!("too few runs{}", self.resolution("; ")),
            (Finding::OneRun, _) => "one run".to_owned(),
            (Finding::Same, _) => "the same in all runs".to_owned(),
            (Finding::NotMeasured | Finding::More | Finding::Less, _) => String::new(),
        };
        match (found.as_str(), missing.as_str()) {
            (_, "") => found,
            ("", _) => missing,
            _ => format!("{found} ({missing})"),
        }
    }

    /// What size of change so many runs could tell, behind `before`. Empty if that is not known.
    fn resolution(&self, before: &str) -> String {
        let (n, size) = (self.n_runs(), percent(self.matters));
        if self.scale == Scale::Difference {
            return String::new();
        }
        match self.runs_needed {
            Some(needed) if n as u64 >= needed => format!("{before}{size} % would have been seen"),
            needed => {
                let could = could(needed);
                format!("{before}{n} a side cannot tell {size} %, {could}")
            }
        }
    }

    /// Of how many runs a side the figure is known, where it is not known of all.
    fn missing(&self) -> String {
        let n_of = |side: &Side| (side.known().len(), side.values.len());
        let [a, b] = self.sides.each_ref().map(n_of);
        if a.0 == a.1 && b.0 == b.1 {
            return String::new();
        }
        format!("known of {} of {} and {} of {} runs", a.0, a.1, b.0, b.1)
    }
}

/// How many runs a side could.
pub(super) fn could(needed: Option<u64>) -> String {
    match needed {
        Some(needed) => format!("about {} could", grouped(needed)),
        None => format!("and it would take more than {}", grouped(MOST_NEEDED)),
    }
}

/// What the `known` values show, whose difference lies `between` these ends.
fn finding(known: &[Vec<f64>; 2], between: Option<[f64; 2]>) -> Finding {
    let [a, b] = known;
    let mut all = a.iter().chain(b);
    let first = match all.next() {
        Some(first) if !a.is_empty() && !b.is_empty() => first,
        _ => return Finding::NotMeasured,
    };
    let is_same = all.all(|value| value.total_cmp(first).is_eq());
    match between {
        _ if a.len() == 1 || b.len() == 1 => Finding::OneRun,
        _ if is_same => Finding::Same,
        None => Finding::TooFewRuns,
        Some([low, _]) if low > 0.0 => Finding::More,
        Some([_, high]) if high < 0.0 => Finding::Less,
        Some(_) => Finding::None,
    }
}

/// What the findings of a table rest on, for people.
pub fn method(n_runs: usize) -> String {
    let fewest = Ends::Both.fewest_runs();
    match n_runs as u64 {
        0 | 1 => "One run on a side: no spread is known, so that any difference may be chance. \
                  Give several on each: rig compare A1 A2 … -- B1 B2 …"
            .to_owned(),
        n if n < fewest => format!(
            "{n} runs a side: with fewer than {fewest}, even sides that do not overlap come about \
             by chance too often to show a difference with {} % certainty.",
            percent(CERTAINTY)
        ),
        _ => format!(
            "Medians, ± the standard deviation of the runs. A difference is what the rank test of \
             Mann and Whitney shows with {} % certainty; behind it stands between what it lies. \
             Of 20 figures without any, one is called different by chance.",
            percent(CERTAINTY)
        ),
    }
}

/// A number of runs in words.
pub(super) fn n_runs(n: usize) -> String {
    if n == 1 { "1 run".to_owned() } else { format!("{n} runs") }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMeasured => "not measured",
            Self::Same => "the same",
            Self::OneRun => "one run",
            Self::TooFewRuns => "too few runs",
            Self::None => "none",
            Self::More => "more",
            Self::Less => "less",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::all;

    fn difference(name: &str, a: &[f64], b: &[f64]) -> Difference {
        let all = all();
        let figure = all.iter().find(|it| it.name == name).unwrap();
        let values = |side: &[f64]| side.iter().copied().map(Some).collect();
        Difference::of(figure, [values(a), values(b)], MATTERS)
    }

    #[test]
    fn a_difference_outside_the_spread_is_one_and_says_between_what_it_lies() {
        let a = [10.0, 10.2, 9.8, 10.1, 9.9];
        let more = difference("delivery_from_due.p99", &a, &a.map(|ms| ms * 1.1));
        assert_eq!((more.finding, more.change().as_str()), (Finding::More, "+10 %"));
        assert_eq!(more.side(1), "11 ±1.6 %");
        assert_eq!(more.sentence(), "worse: +6.8 % to +13.3 %");
        let rate = difference("achieved_per_s", &a, &a.map(|per_s| per_s * 1.1));
        assert_eq!(rate.sentence(), "better: +6.8 % to +13.3 %");
        let less = difference("delivery_from_due.p99", &a.map(|ms| ms * 30.0), &a);
        assert_eq!((less.finding, less.change().as_str()), (Finding::Less, "−96.7 %"));
        let factor = difference("delivery_from_due.p99", &a, &a.map(|ms| ms * 30.0));
        assert_eq!(factor.change(), "×30");
        assert_eq!(Scale::Ratio.said(0.000_01, Unit::Ms), "0 %");
        assert_eq!(Scale::Difference.said(0.1, Unit::Ms), "+0.100 ms");
    }

    #[test]
    fn a_difference_inside_the_spread_is_none_and_how_many_runs_would_tell_is_said() {
        let quiet = [10.0, 10.2, 9.8, 10.1, 9.9];
        let none = difference("delivery_from_due.p99", &quiet, &[10.1, 9.9, 10.0, 10.2, 9.8]);
        assert_eq!(none.finding, Finding::None);
        assert_eq!(none.sentence(), "none that these runs could show; 10 % would have been seen");
        let wild = [10.0, 14.0, 8.0, 12.0, 9.0];
        let none = difference("delivery_from_due.p99", &wild, &wild.map(|ms| ms * 1.1));
        assert_eq!(none.finding, Finding::None);
        assert_eq!(
            none.sentence(),
            "none that these runs could show; 5 a side cannot tell 10 %, about 123 could"
        );
        let wilder = [1.0, 30.0, 7.0, 900.0];
        let none = difference("delivery_from_due.p99", &wilder, &wilder);
        assert!(none.sentence().ends_with("and it would take more than 1,000"), "{none:?}");
    }

    #[test]
    fn a_figure_that_is_nothing_in_a_run_is_compared_by_differences() {
        let lost = difference("lost", &[0.0; 5], &[3.0, 5.0, 4.0, 9.0, 3.0]);
        assert_eq!((lost.scale, lost.finding), (Scale::Difference, Finding::More));
        assert_eq!((lost.change().as_str(), lost.side(1).as_str()), ("+4", "4 ±2.49"));
        assert_eq!(lost.runs_needed, None);
        let same = difference("lost", &[0.0; 2], &[0.0; 2]);
        assert_eq!((same.finding, same.change().as_str()), (Finding::Same, "0"));
    }

    #[test]
    fn with_few_runs_nothing_is_called_a_difference() {
        let one = difference("delivery_from_due.p99", &[1.0], &[9.0, 9.1, 9.2, 9.3, 9.4]);
        assert_eq!((one.finding, one.sentence().as_str()), (Finding::OneRun, "one run"));
        let three = difference("delivery_from_due.p99", &[1.0, 1.3, 1.1], &[9.0, 9.1, 9.2]);
        assert_eq!(three.finding, Finding::TooFewRuns);
        assert_eq!(three.sentence(), "too few runs; 3 a side cannot tell 10 %, about 23 could");
    }

    #[test]
    fn what_was_not_measured_is_no_difference() {
        let all = all();
        let lost = all.iter().find(|it| it.name == "lost").unwrap();
        let known = Some(2.0);
        let none = Difference::of(lost, [vec![known], vec![None]], MATTERS);
        assert_eq!((none.finding, none.change().as_str()), (Finding::NotMeasured, "–"));
        assert_eq!((none.side(0).as_str(), none.side(1).as_str()), ("2", "not measured"));
        let missing = vec![known, known, None, known, known];
        let some = Difference::of(lost, [vec![known; 5], missing], MATTERS);
        let expected = "the same in all runs (known of 5 of 5 and 4 of 5 runs)";
        assert_eq!(some.sentence(), expected);
    }
}
