//! `--fail-if`: what must not come of a change.
//!
//! Several conditions stand side by side with commas. Each is a figure's name, `>` or `<`, and a
//! limit:
//!
//! | condition | the comparison fails when |
//! |---|---|
//! | `delivery_from_due.p99>+10%` | the second side has more than 10 % more than the first |
//! | `delivery_from_due.p99>+2ms` | the second side has more than 2 ms more than the first |
//! | `achieved_per_s<-5%` | the second side has more than 5 % less than the first |
//! | `lost>0` | any run of the second side has more than 0, whatever the first has |
//!
//! A condition on a change is judged by the rank test, with one end (`ranks`): it is *broken* when
//! the change is beyond the limit with 95 % certainty, *kept* when it is not with 95 % certainty,
//! and otherwise nobody can tell. That is not a pass: what was not checked is never called right.

use serde::Serialize;

use super::difference::{Difference, MATTERS, Scale, behind, could, n_runs};
use super::figures::{Figure, Unit, all, nearest, plain_number};
use super::ranks::{Ends, interval};
use crate::run::words::figure as number;

/// Why a condition was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// There is no comparison in it, or nothing on one side of it.
    #[error(
        "not a condition: \"{0}\"; write a figure's name, > or <, and a limit: \
         delivery_from_due.p99>+10%, delivery_from_due.p99>+2ms, achieved_per_s<-5% or lost>0"
    )]
    NoComparison(String),
    /// No figure has this name.
    #[error(
        "there is no figure \"{name}\"{}; rig compare --figures lists all of them",
        nearest.as_ref().map(|it| format!(", but \"{it}\"")).unwrap_or_default()
    )]
    UnknownName {
        /// What was given.
        name: String,
        /// The name most like it.
        nearest: Option<String>,
    },
    /// The limit is on the side that nothing fails on.
    #[error(
        "in \"{0}\": a change that fails is written >+LIMIT where more is worse, and <-LIMIT where \
         less is"
    )]
    WrongSign(String),
    /// The limit is not what the figure is counted in.
    #[error("in \"{text}\": {why}")]
    BadLimit {
        /// The condition.
        text: String,
        /// What is wrong with its limit, and what to write.
        why: String,
    },
}

/// What must not be.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// As it was given.
    text: String,
    /// The figure's name.
    name: String,
    /// What the figure is counted in.
    unit: Unit,
    /// Whether too much of it fails; otherwise too little does.
    is_more: bool,
    /// What it must not be beyond.
    limit: Limit,
}

/// What a figure must not be beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    /// A change from the first side to the second; one to the less is negative.
    Change(Scale, f64),
    /// A value of each run of the second side, in the figure's unit.
    Value(f64),
}

/// What must not come of a change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions(Vec<Condition>);

/// What came of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The condition, as it was given.
    pub condition: String,
    /// The figure's name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub why: String,
}

/// What came of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What must not be is not.
    Kept,
    /// What must not be is.
    Broken,
    /// These runs do not show whether it is. That is not a pass.
    CannotTell,
}

impl Outcome {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::CannotTell => "cannot tell",
        }
    }
}

impl Conditions {
    /// Reads conditions: see the table of this module.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let all = all();
        let conditions = text.split(',').map(|one| Condition::parse(one.trim(), &all));
        conditions.collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the figure of this name is asked for.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|it| it.name == name)
    }

    /// The relative change of this figure that matters: the least that a condition names, or else
    /// [`MATTERS`].
    pub fn matters(&self, name: &str) -> f64 {
        let named = self.0.iter().filter(|it| it.name == name).filter_map(|it| match it.limit {
            Limit::Change(Scale::Ratio, share) => Some(share.abs()),
            Limit::Change(Scale::Difference, _) | Limit::Value(_) => None,
        });
        named.filter(|share| *share > 0.0).reduce(f64::min).unwrap_or(MATTERS)
    }

    /// What comes of each of them. `runs` are the names of the second side's runs, and `obstacle`
    /// says why the sides cannot be compared, if they cannot.
    pub fn judge(
        &self,
        differences: &[Difference],
        runs: &[String],
        obstacle: Option<&str>,
    ) -> Vec<Judgement> {
        let judge = |condition: &Condition| {
            let difference = differences.iter().find(|it| it.name == condition.name);
            let difference = difference.expect("every figure of a condition is compared");
            let (outcome, why) = match (condition.limit, obstacle) {
                (Limit::Value(limit), _) => condition.judge_value(limit, difference, runs),
                (Limit::Change(..), Some(obstacle)) => {
                    let why = format!("the sides cannot be compared as they are: {obstacle}");
                    (Outcome::CannotTell, why)
                }
                (Limit::Change(scale, limit), None) => {
                    condition.judge_change((scale, limit), difference)
                }
            };
            Judgement {
                condition: condition.text.clone(),
                name: condition.name.clone(),
                outcome,
                why,
            }
        };
        self.0.iter().map(judge).collect()
    }
}

impl Condition {
    /// Reads one condition about one of the figures `all`.
    fn parse(text: &str, all: &[Figure]) -> Result<Self, ConditionError> {
        let no_comparison = || ConditionError::NoComparison(text.to_owned());
        let at = text.find(['>', '<', '=']).ok_or_else(no_comparison)?;
        let (name, is_more) = (text[..at].trim(), text.as_bytes()[at] == b'>');
        let limit = text[at + 1..].trim();
        // `>=` and `=` would say nothing that can be measured of a change.
        if name.is_empty()
            || limit.is_empty()
            || limit.starts_with('=')
            || text[at..].starts_with('=')
        {
            return Err(no_comparison());
        }
        let Some(figure) = all.iter().find(|it| it.name == name) else {
            let nearest = nearest(name, all).map(str::to_owned);
            return Err(ConditionError::UnknownName { name: name.to_owned(), nearest });
        };
        let bad = |why: String| ConditionError::BadLimit { text: text.to_owned(), why };
        let unit = figure.unit;
        let (plus, minus) = (limit.strip_prefix('+'), limit.strip_prefix(['-', '−']));
        let (sign, size) = match (plus, minus) {
            (Some(size), _) => (Some(true), size.trim()),
            (_, Some(size)) => (Some(false), size.trim()),
            (None, None) => (None, limit),
        };
        let (scale, size) = match size.strip_suffix('%') {
            Some(share) => {
                let share = plain_number(share.trim())
                    .ok_or_else(|| bad(format!("not a percentage: \"{size}\"; write 10%")))?;
                (Scale::Ratio, share / 100.0)
            }
            None => (Scale::Difference, unit.parse(size).map_err(|it| bad(it.to_string()))?),
        };
        let limit = match sign {
            Some(is_plus) if is_plus != is_more => {
                return Err(ConditionError::WrongSign(text.to_owned()));
            }
            Some(true) => Limit::Change(scale, size),
            Some(false) if scale == Scale::Ratio && size >= 1.0 => {
                return Err(bad("nothing can be less by 100 % or more; write -10%".to_owned()));
            }
            Some(false) => Limit::Change(scale, -size),
            None if scale == Scale::Ratio => {
                let sign = if is_more { '+' } else { '-' };
                let why = format!("a percentage is a change; write {sign}{}", &limit);
                return Err(bad(why));
            }
            None => Limit::Value(size),
        };
        Ok(Self { text: text.to_owned(), name: name.to_owned(), unit, is_more, limit })
    }

    /// Whether `value` is beyond `limit`, on the side that fails.
    fn is_beyond(&self, value: f64, limit: f64) -> bool {
        // A change that is computed by logarithms is off by a few units of its last digit, and one
        // of exactly the limit is not beyond it.
        let least = 1e-9 * limit.abs().max(1e-3);
        let beyond = if self.is_more { value - limit } else { limit - value };
        beyond > least
    }

    /// What comes of a limit that every run of the second side must keep.
    fn judge_value(
        &self,
        limit: f64,
        difference: &Difference,
        runs: &[String],
    ) -> (Outcome, String) {
        let name = &self.name;
        let values = &difference.sides[1].values;
        let said = |value: f64| format!("{}{}", number(value), behind(self.unit));
        let beyond: Vec<String> = values
            .iter()
            .zip(runs)
            .filter_map(|(value, run)| {
                let value = value.filter(|value| self.is_beyond(*value, limit))?;
                Some(format!("{} in {run}", said(value)))
            })
            .collect();
        if !beyond.is_empty() {
            return (Outcome::Broken, format!("{name} is {}", beyond.join(", ")));
        }
        let unknown: Vec<&str> = values
            .iter()
            .zip(runs)
            .filter(|(value, _)| value.is_none())
            .map(|(_, run)| run.as_str())
            .collect();
        if !unknown.is_empty() || values.is_empty() {
            let why = format!("{name} was not measured, or not judged, in {}", unknown.join(", "));
            return (Outcome::CannotTell, why);
        }
        let word = if self.is_more { "at most" } else { "at least" };
        let fold = if self.is_more { f64::max } else { f64::min };
        let furthest = values.iter().copied().flatten().reduce(fold).unwrap_or_default();
        (Outcome::Kept, format!("{name} is {word} {} in every run", said(furthest)))
    }

    /// What comes of a limit to the change.
    fn judge_change(
        &self,
        (scale, limit): (Scale, f64),
        difference: &Difference,
    ) -> (Outcome, String) {
        let cannot_tell = |why: String| (Outcome::CannotTell, why);
        let name = &self.name;
        if difference.sides.iter().any(|side| side.values.contains(&None)) {
            let n_known = difference.sides.each_ref().map(|side| side.known().len());
            let n_all = difference.sides.each_ref().map(|side| side.values.len());
            return cannot_tell(format!(
                "{name} was not measured, or not judged, in every run: in {} of {} and in {} of {}",
                n_known[0], n_all[0], n_known[1], n_all[1]
            ));
        }
        let values = difference.sides.each_ref().map(super::difference::Side::known);
        let of = |change: f64| scale.said(change, self.unit);
        let is_zero = |value: &f64| value.total_cmp(&0.0).is_eq();
        if scale == Scale::Ratio && difference.scale == Scale::Difference {
            if values.iter().flatten().all(is_zero) {
                return (Outcome::Kept, format!("{name} is 0 in every run of both sides"));
            }
            return cannot_tell(format!(
                "{name} is 0 or less in some run, and nothing is {} of nothing; give the limit in \
                 the figure's own unit",
                of(limit)
            ));
        }
        let computed = values.each_ref().map(|it| scale.computed(it));
        let sides = computed.each_ref().map(Vec::as_slice);
        let runs = n_runs(difference.n_runs());
        let Some(between) = interval(sides, Ends::One) else {
            let fewest = Ends::One.fewest_runs();
            return cannot_tell(format!(
                "{runs} a side of {name} cannot tell {} from chance; {fewest} a side is the fewest \
                 that could",
                of(limit)
            ));
        };
        let at = scale.of_change(limit);
        let [low, high] = between.map(|end| scale.change(end));
        let (nearer, farther) = if self.is_more { (low, high) } else { (high, low) };
        let found = super::ranks::median(&values[0]).zip(super::ranks::median(&values[1]));
        let (a, b) = found.expect("every run has the figure");
        let change = if scale == Scale::Ratio { b / a - 1.0 } else { b - a };
        let word = if self.is_more { "more" } else { "less" };
        let found = format!("{name} changed by {}", of(change));
        if self.is_beyond(nearer, limit) {
            let least = of(nearer);
            return (
                Outcome::Broken,
                format!("{found}, and with 95 % certainty by {least} or {word}"),
            );
        }
        if !self.is_beyond(farther, limit) {
            let why = format!("{found}, and with 95 % certainty by no {word} than {}", of(farther));
            return (Outcome::Kept, why);
        }
        let between =
            format!("{found}, with 95 % certainty at each end {} to {}", of(low), of(high));
        let needed = difference.runs_needed_for(at.abs(), scale, Ends::One);
        if limit != 0.0 && needed.is_none_or(|needed| needed > difference.n_runs() as u64) {
            return cannot_tell(format!(
                "{between}: {runs} a side cannot tell {}; {}",
                of(limit),
                could(needed)
            ));
        }
        // So many could tell the limit from no change. This change lies close to the limit.
        let away = (scale.of_change(change) - at).abs();
        let needed = difference.runs_needed_for(away, scale, Ends::One);
        cannot_tell(format!(
            "{between}: that is too near {} for {runs} a side; if it stays so, {}",
            of(limit),
            could(needed)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `condition` when its figure has these values.
    fn judged(condition: &str, a: &[Option<f64>], b: &[Option<f64>]) -> Judgement {
        let conditions = Conditions::parse(condition).unwrap();
        let all = all();
        let figure = all.iter().find(|it| conditions.has(&it.name)).unwrap();
        let differences = [Difference::of(figure, [a.to_vec(), b.to_vec()], MATTERS)];
        let runs: Vec<String> = (1..=b.len()).map(|at| format!("b{at}")).collect();
        conditions.judge(&differences, &runs, None).remove(0)
    }

    const BASE: [f64; 5] = [10.0, 10.2, 9.8, 10.1, 9.9];

    fn outcome(condition: &str, factor: f64) -> (Outcome, String) {
        let judged = judged(condition, &BASE.map(Some), &BASE.map(|it| Some(it * factor)));
        (judged.outcome, judged.why)
    }

    #[test]
    fn a_change_beyond_the_limit_breaks_it_and_one_before_it_keeps_it() {
        let (broken, why) = outcome("delivery_from_due.p99>+10%", 1.2);
        assert_eq!(broken, Outcome::Broken);
        assert_eq!(
            why,
            "delivery_from_due.p99 changed by +20 %, and with 95 % certainty by +17.6 % or more"
        );
        let (kept, why) = outcome("delivery_from_due.p99>+10%", 1.01);
        assert_eq!(kept, Outcome::Kept);
        assert_eq!(
            why,
            "delivery_from_due.p99 changed by +1 %, and with 95 % certainty by no more than +3 %"
        );
        assert_eq!(outcome("delivery_from_due.p99>+2ms", 1.5).0, Outcome::Broken);
        assert_eq!(outcome("delivery_from_due.p99>+2ms", 1.0).0, Outcome::Kept);
        assert_eq!(outcome("achieved_per_s<-5%", 0.9).0, Outcome::Broken);
        assert_eq!(outcome("achieved_per_s<-5%", 0.99).0, Outcome::Kept);
        assert_eq!(outcome("achieved_per_s<-1", 0.8).0, Outcome::Broken);
        assert_eq!(outcome("achieved_per_s<-5%", 1.5).0, Outcome::Kept, "better is no failure");
        assert_eq!(outcome("delivery_from_due.p99>+10%", 0.5).0, Outcome::Kept);
        // One of exactly the limit is not beyond it.
        let (a, b) = ([Some(100.0); 5], [Some(105.0); 5]);
        assert_eq!(judged("server.rss_per_connection>+5%", &a, &b).outcome, Outcome::Kept);
        // The same in all runs is no spread, and certain.
        let (a, b) = ([Some(305.0); 3], [Some(321.0); 3]);
        assert_eq!(judged("server.rss_per_connection>+5%", &a, &b).outcome, Outcome::Broken);
        assert_eq!(judged("server.rss_per_connection>+5%", &a, &a).outcome, Outcome::Kept);
        assert_eq!(judged("server.rss_per_connection>+16B", &a, &b).outcome, Outcome::Kept);
    }

    #[test]
    fn what_lies_on_both_sides_of_the_limit_is_not_a_pass() {
        let (near, why) = outcome("delivery_from_due.p99>+10%", 1.105);
        assert_eq!(near, Outcome::CannotTell);
        assert!(why.contains("that is too near +10 % for 5 runs a side; if it stays so"), "{why}");
        let wild = [10.0, 14.0, 8.0, 12.0, 9.0].map(Some);
        let cannot = judged("delivery_from_due.p99>+10%", &wild, &wild);
        assert_eq!(cannot.outcome, Outcome::CannotTell);
        assert!(
            cannot.why.ends_with("5 runs a side cannot tell +10 %; about 100 could"),
            "{}",
            cannot.why
        );
    }

    #[test]
    fn too_few_runs_cannot_tell_and_the_fewest_that_could_are_named() {
        for n in 1..=2 {
            let (a, b) = (vec![Some(1.0); n], vec![Some(9.0); n]);
            let cannot = judged("delivery_from_due.p99>+10%", &a, &b);
            assert_eq!(cannot.outcome, Outcome::CannotTell);
            assert!(cannot.why.ends_with("3 a side is the fewest that could"), "{}", cannot.why);
        }
        let (a, b) = (vec![Some(1.0); 3], vec![Some(9.0); 3]);
        assert_eq!(judged("delivery_from_due.p99>+10%", &a, &b).outcome, Outcome::Broken);
    }

    #[test]
    fn a_plain_limit_is_one_for_every_run_of_the_second_side() {
        let lost = [Some(0.0), Some(0.0), Some(3.0)];
        let broken = judged("lost>0", &[Some(9.0)], &lost);
        assert_eq!((broken.outcome, broken.why.as_str()), (Outcome::Broken, "lost is 3 in b3"));
        let kept = judged("lost>3", &[Some(0.0)], &lost);
        let why = "lost is at most 3 in every run";
        assert_eq!((kept.outcome, kept.why.as_str()), (Outcome::Kept, why));
        assert_eq!(judged("connected<10k", &[], &[Some(10_000.0)]).outcome, Outcome::Kept);
        assert_eq!(judged("connected<10k", &[], &[Some(9_999.0)]).outcome, Outcome::Broken);
    }

    #[test]
    fn what_was_not_judged_is_never_called_right() {
        let some = [Some(0.0), None, Some(0.0), Some(0.0)];
        for condition in ["lost>0", "lost>+1", "lost>+10%"] {
            let cannot = judged(condition, &[Some(0.0); 4], &some);
            assert_eq!(cannot.outcome, Outcome::CannotTell, "{condition}");
            assert!(cannot.why.starts_with("lost was not measured, or not judged, in "));
        }
        let broken = judged("lost>0", &[Some(0.0)], &[None, Some(1.0)]);
        assert_eq!(broken.outcome, Outcome::Broken, "one that is known is enough");
    }

    #[test]
    fn a_percentage_of_nothing_is_none() {
        let zeros = [Some(0.0); 5];
        assert_eq!(judged("lost>+10%", &zeros, &zeros).outcome, Outcome::Kept);
        let cannot = judged("lost>+10%", &zeros, &[Some(2.0); 5]);
        assert_eq!(cannot.outcome, Outcome::CannotTell);
        assert!(cannot.why.contains("give the limit in the figure's own unit"), "{}", cannot.why);
        assert_eq!(judged("lost>+0", &zeros, &[Some(2.0); 5]).outcome, Outcome::Broken);
        assert_eq!(judged("lost>+0", &zeros, &zeros).outcome, Outcome::Kept);
    }

    #[test]
    fn an_obstacle_lets_no_change_pass_and_leaves_plain_limits() {
        let conditions = Conditions::parse("lost>+1,lost>0").unwrap();
        let all = all();
        let lost = all.iter().find(|it| it.name == "lost").unwrap();
        let zeros = vec![Some(0.0); 5];
        let differences = [Difference::of(lost, [zeros.clone(), zeros], MATTERS)];
        let judged = conditions.judge(&differences, &[], Some("the machines differ"));
        let outcomes = [&judged[0], &judged[1]].map(|it| it.outcome);
        assert_eq!(outcomes, [Outcome::CannotTell, Outcome::Kept]);
        assert!(judged[0].why.ends_with("the machines differ"), "{}", judged[0].why);
    }

    #[test]
    fn the_least_change_that_a_condition_names_is_the_one_that_matters() {
        let conditions = Conditions::parse("lost>+5%,lost>+20%,void>0,closed>+0%").unwrap();
        let matters = ["lost", "void", "closed", "chunks"].map(|name| conditions.matters(name));
        let percent = matters.map(|share| format!("{:.0}", share * 100.0));
        assert_eq!(percent, ["5", "10", "10", "10"]);
    }

    #[test]
    fn conditions_that_are_not_understood_say_what_to_write() {
        for (text, error) in [
            ("", "not a condition: \"\"; write a figure's name, > or <, and a limit: "),
            ("lost>0,", "not a condition: \"\""),
            ("lost", "not a condition: \"lost\""),
            ("lost>", "not a condition: \"lost>\""),
            (">0", "not a condition: \">0\""),
            ("lost>=1", "not a condition: \"lost>=1\""),
            ("lost=0", "not a condition: \"lost=0\""),
            (
                "delivery_from_due.p9>+10%",
                "there is no figure \"delivery_from_due.p9\", but \"delivery_from_due.p90\"; rig \
                 compare --figures lists all of them",
            ),
            ("weather>+1%", "there is no figure \"weather\"; rig compare --figures"),
            (
                "delivery_from_due.p99>-10%",
                "in \"delivery_from_due.p99>-10%\": a change that fails is written >+LIMIT",
            ),
            ("lost<+1", "in \"lost<+1\": a change that fails is written"),
            (
                "delivery_from_due.p99>10%",
                "in \"delivery_from_due.p99>10%\": a percentage is a change; write +10%",
            ),
            ("connected<5%", "in \"connected<5%\": a percentage is a change; write -5%"),
            ("connected<-100%", "in \"connected<-100%\": nothing can be less by 100 %"),
            ("lost>+x%", "in \"lost>+x%\": not a percentage: \"x%\"; write 10%"),
            ("lost>+1e9%", "in \"lost>+1e9%\": not a percentage"),
            (
                "delivery_from_due.p99>+2",
                "in \"delivery_from_due.p99>+2\": not a time: \"2\"; write 2s or 2ms",
            ),
            (
                "server.rss_per_connection>+5",
                "in \"server.rss_per_connection>+5\": not a size: \"5\"; write 64KiB",
            ),
            ("lost>ä", "in \"lost>ä\": not a count: \"ä\""),
        ] {
            let found = Conditions::parse(text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
