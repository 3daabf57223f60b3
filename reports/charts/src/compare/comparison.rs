//! What is to be said of the runs of two sides.

use std::path::PathBuf;

use serde::Serialize;

use crate::page::facts;
use reports::compare::condition::{Conditions, Judgement, Outcome};
use reports::compare::difference::Difference;
use reports::compare::figures;
use reports::run::words::time;
use reports::run::{Host, Plan, Summary};

/// The format of the JSON of a comparison.
const FORMAT: u64 = 1;

/// What is known of a run that is compared.
pub(super) struct Compared {
    /// The name of its folder.
    pub(super) name: String,
    /// The folder, as it was given.
    pub(super) folder: PathBuf,
    /// What was asked of it.
    pub(super) plan: Plan,
    /// Its machine.
    pub(super) host: Host,
    /// Its figures.
    pub(super) summary: Summary,
    /// Why its figures may be other than those of a good run.
    pub(super) doubts: Vec<String>,
}

/// The runs of two sides, side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The format of this JSON: 1.
    pub format: u64,
    /// Both sides.
    pub sides: [Side; 2],
    /// Why their figures must not be compared as they are, a sentence each. Empty: they may be.
    pub objections: Vec<String>,
    /// In what plans, machines and programs differ.
    pub differences: Vec<Differing>,
    /// What came of the conditions; empty if there were none.
    pub judgements: Vec<Judgement>,
    /// Every figure.
    pub figures: Vec<Difference>,
}

/// The runs of one side.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// What the side is called: its run where it has one, and A or B otherwise.
    pub name: String,
    /// What its runs are called.
    pub runs: Vec<String>,
    /// Their folders, as they were given.
    pub folders: Vec<PathBuf>,
}

impl Side {
    /// The side's name, with the number of its runs if it has several.
    pub fn title(&self) -> String {
        match self.runs.len() {
            1 => self.name.clone(),
            n => format!("{}, {n} runs", self.name),
        }
    }
}

/// Something in which runs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// What it is.
    pub what: &'static str,
    /// What the runs of each side have; several values where they differ among themselves.
    pub sides: [String; 2],
    /// Whether the runs of each side agree among themselves.
    #[serde(skip)]
    is_uniform: [bool; 2],
}

impl Comparison {
    /// How many runs a side there are: the fewer.
    pub fn n_runs(&self) -> usize {
        self.sides.iter().map(|side| side.runs.len()).min().unwrap_or(0)
    }

    /// The figures that a table for people has: those that always matter, and those that a
    /// condition names.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Difference> {
        self.figures
            .iter()
            .filter(|it| it.is_key || self.judgements.iter().any(|judged| judged.name == it.name))
    }

    /// Whether every condition was kept.
    pub fn is_kept(&self) -> bool {
        self.judgements.iter().all(|it| it.outcome == Outcome::Kept)
    }

    /// What came of the conditions, in a line. `None` if there were none.
    pub(super) fn verdict(&self) -> Option<String> {
        let n_of = |outcome| self.judgements.iter().filter(|it| it.outcome == outcome).count();
        let all = self.judgements.len();
        let conditions = if all == 1 { "condition" } else { "conditions" };
        match (n_of(Outcome::Broken), n_of(Outcome::CannotTell)) {
            _ if all == 0 => None,
            (0, 0) => Some(format!("All {all} {conditions} kept.").replace("All 1", "The one")),
            (0, unclear) => Some(format!(
                "Not a pass: {unclear} of {all} {conditions} cannot be told by these runs."
            )),
            (broken, 0) => Some(format!("{broken} of {all} {conditions} broken.")),
            (broken, unclear) => Some(format!(
                "{broken} of {all} {conditions} broken; {unclear} cannot be told by these runs."
            )),
        }
    }
}

/// What is to be said of the runs of two sides.
pub(super) fn of_loaded(
    runs: &[Vec<&Compared>; 2],
    conditions: &Conditions,
    is_despite_differences: bool,
) -> Comparison {
    let sides = sides(runs);
    let of = |facts: fn(&Compared) -> Facts| {
        differing(&runs.each_ref().map(|side| side.iter().map(|run| facts(run)).collect()))
    };
    let machine = of(|run| facts(&run.host));
    let asked = of(|run| asked(&run.plan));
    let built = of(|run| built(&run.plan));
    let (obstacles, doubts) = objections(&sides, runs, [&machine, &asked, &built]);
    let figure = |figure: figures::Figure| {
        let values = |side: &Vec<&Compared>| side.iter().map(|it| figure.of(&it.summary)).collect();
        Difference::of(&figure, runs.each_ref().map(values), conditions.matters(&figure.name))
    };
    let figures: Vec<Difference> = figures::all().into_iter().map(figure).collect();
    let obstacle = obstacles.first().filter(|_| !is_despite_differences);
    let judgements =
        conditions.judge(&figures, &sides[1].runs, obstacle.map(|it| it.trim_end_matches('.')));
    Comparison {
        format: FORMAT,
        sides,
        objections: [obstacles, doubts].concat(),
        differences: [built, asked, machine].concat(),
        judgements,
        figures,
    }
}

/// What the sides and their runs are called.
fn sides(runs: &[Vec<&Compared>; 2]) -> [Side; 2] {
    let all: Vec<&str> = runs.iter().flatten().map(|run| run.name.as_str()).collect();
    // Folders of one name in different places are told apart by the whole path.
    let is_unique = |name: &str| all.iter().filter(|it| **it == name).count() == 1;
    let are_unique = all.iter().all(|name| is_unique(name));
    let name = |run: &&Compared| {
        if are_unique { run.name.clone() } else { run.folder.display().to_string() }
    };
    let mut names = ["A", "B"].into_iter();
    let is_one_each = runs.iter().all(|side| side.len() == 1);
    runs.each_ref().map(|side| {
        let letter = names.next().expect("there are two sides").to_owned();
        let runs: Vec<String> = side.iter().map(name).collect();
        Side {
            name: if is_one_each { runs[0].clone() } else { letter },
            runs,
            folders: side.iter().map(|run| run.folder.clone()).collect(),
        }
    })
}

/// Facts by name. Every run has the same ones, in the same order.
type Facts = Vec<(&'static str, Option<String>)>;

/// What was asked for, in words.
fn asked(plan: &Plan) -> Facts {
    vec![
        ("experiment", Some(plan.experiment.clone())),
        ("servers", Some(plan.nodes.to_string())),
        ("joined by", plan.broker.clone()),
        ("connections", Some(plan.connections.to_string())),
        ("connections opened a second", Some(plan.rate.to_string())),
        ("messages a second", Some(plan.messages_per_second.to_string())),
        ("sources", Some(plan.sources.to_string())),
        ("sending for", Some(time(plan.duration_s))),
        ("threads of the server", plan.server_threads.map(|threads| threads.to_string())),
        ("seed", Some(plan.seed.to_string())),
        ("memory sampled every", Some(time(plan.memory_interval_s))),
        ("profile", Some(plan.profile.clone())),
    ]
}

/// What the programs were built from, in words.
fn built(plan: &Plan) -> Facts {
    let is_modified = if plan.is_modified { "yes" } else { "no" };
    vec![
        ("toolkit", Some(plan.toolkit.clone())),
        ("commit", plan.commit.clone()),
        ("files differ from the commit", Some(is_modified.to_owned())),
    ]
}

/// The facts in which the runs of two sides differ, from each other or among themselves.
fn differing(runs: &[Vec<Facts>; 2]) -> Vec<Differing> {
    let names: Vec<&'static str> =
        runs[0].first().into_iter().flatten().map(|(what, _)| *what).collect();
    let known = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "not said".to_owned());
    let differing = |(at, what): (usize, &'static str)| {
        let values = runs.each_ref().map(|side| {
            let mut values: Vec<String> = side.iter().map(|facts| known(&facts[at].1)).collect();
            values.sort();
            values.dedup();
            values
        });
        let is_uniform = values.each_ref().map(|side| side.len() == 1);
        let is_same = is_uniform == [true; 2] && values[0] == values[1];
        let sides = values.map(|side| side.join("; "));
        (!is_same).then_some(Differing { what, sides, is_uniform })
    };
    names.into_iter().enumerate().filter_map(differing).collect()
}

/// Why the figures of two sides must not be compared as they are, and what else lets them be
/// doubted.
fn objections(
    sides: &[Side; 2],
    runs: &[Vec<&Compared>; 2],
    [machine, asked, built]: [&[Differing]; 3],
) -> (Vec<String>, Vec<String>) {
    /// What differs between any two runs on one machine.
    const ALWAYS_DIFFERS: &str = "load over 1, 5, 15 min before the run";
    let listed = |differences: &[Differing]| {
        let names = differences.iter().map(|it| it.what).filter(|what| *what != ALWAYS_DIFFERS);
        names.collect::<Vec<_>>().join("; ")
    };
    let mut obstacles = Vec::new();
    for (what, differences) in [("machines", machine), ("plans", asked)] {
        let listed = listed(differences);
        if !listed.is_empty() {
            obstacles.push(format!("The {what} differ in: {listed}."));
        }
    }
    for (at, side) in sides.iter().enumerate() {
        let mixed: Vec<&str> =
            built.iter().filter(|it| !it.is_uniform[at]).map(|it| it.what).collect();
        if !mixed.is_empty() {
            let (name, mixed) = (&side.name, mixed.join("; "));
            obstacles.push(format!("The runs of {name} are not of one build, by: {mixed}."));
        }
    }
    let mut doubts = Vec::new();
    for (name, run) in sides.iter().flat_map(|side| &side.runs).zip(runs.iter().flatten()) {
        if !run.summary.held() {
            obstacles.push(format!("{name} fell short: {}.", run.summary.shortfalls.join("; ")));
        }
        doubts.extend(run.doubts.iter().map(|doubt| format!("{name}: {doubt}")));
    }
    (obstacles, doubts)
}
