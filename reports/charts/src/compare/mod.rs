//! Two runs side by side.

mod page;
mod text;

use std::path::Path;

use crate::ReportError;
use crate::page::facts;
use crate::pictures::{Picture, curves, history};
use crate::{self as chart, Log};
use reports::latency::LatencySummary;
use reports::run::doubts;
use reports::run::replace;
use reports::run::words::time;
use reports::run::{Plan, Run, Summary};

/// Two runs side by side.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What the runs are called.
    pub names: [String; 2],
    /// Why their figures must not be compared as they are, a sentence each. Empty: they may be.
    pub objections: Vec<String>,
    /// In what their plans and machines differ.
    pub differences: Vec<Difference>,
    /// Their figures.
    pub figures: Vec<Figure>,
}

/// Something in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub what: &'static str,
    /// What each of them has.
    pub sides: [String; 2],
}

/// A figure of two runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it is, with its unit.
    pub what: &'static str,
    /// What each of them has. `None`: it was not measured.
    pub sides: [Option<f64>; 2],
}

impl Figure {
    /// The second run's figure over the first one's.
    pub fn ratio(&self) -> Option<f64> {
        match self.sides {
            [Some(a), Some(b)] if a > 0.0 && b >= 0.0 => Some(b / a),
            _ => None,
        }
    }
}

/// Sets the runs in the folders `a` and `b` side by side, on one self-contained page at `out`.
pub fn compare(a: &Path, b: &Path, out: &Path) -> Result<Comparison, ReportError> {
    let runs = [Run::load(a)?, Run::load(b)?];
    let summaries = [Summary::of(&runs[0]), Summary::of(&runs[1])];
    let comparison = Comparison::of(&runs, &summaries);
    let histories = runs.each_ref().map(|run| history(&run.memory));
    let logs = [0, 1].map(|at| Log { label: &comparison.names[at], history: &histories[at] });
    let memory = Picture::draw(
        "Memory of both servers and connections over time",
        (430, 400),
        |options, format| chart::render(&logs, options, format),
    )?;
    let [of_a, of_b] =
        [0, 1].map(|at| curves(&runs[at], &format!("{}, ", comparison.names[at]), at));
    let all = [of_a, of_b].concat();
    let percentiles = Picture::draw(
        "Delivery latency of both runs by percentile, from due time and from actual send",
        (400, 400),
        |options, format| chart::percentiles(&all, options, format),
    )?;
    let page = page::page(&comparison, &runs, &summaries, [&memory, &percentiles]);
    replace(out, page.as_bytes())?;
    Ok(comparison)
}

impl Comparison {
    /// What is to be said of two runs.
    fn of(runs: &[Run; 2], summaries: &[Summary; 2]) -> Self {
        let mut names = runs.each_ref().map(Run::name);
        if names[0] == names[1] {
            names = runs.each_ref().map(|run| run.folder.display().to_string());
        }
        let machine = differences(runs.each_ref().map(|run| facts(&run.host)));
        let asked = differences(runs.each_ref().map(|run| asked(&run.plan)));
        let objections = objections(&names, runs, summaries, [&machine, &asked]);
        let built = differences(runs.each_ref().map(|run| built(&run.plan)));
        Self {
            names,
            objections,
            differences: [built, asked, machine].concat(),
            figures: figures(summaries),
        }
    }
}

/// What was asked for, in words.
fn asked(plan: &Plan) -> Vec<(&'static str, Option<String>)> {
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
fn built(plan: &Plan) -> Vec<(&'static str, Option<String>)> {
    let is_modified = if plan.is_modified { "yes" } else { "no" };
    vec![
        ("toolkit", Some(plan.toolkit.clone())),
        ("commit", plan.commit.clone()),
        ("files differ from the commit", Some(is_modified.to_owned())),
    ]
}

/// The facts in which two lists of the same facts differ.
fn differences(facts: [Vec<(&'static str, Option<String>)>; 2]) -> Vec<Difference> {
    let [a, b] = facts;
    let known = |fact: Option<String>| fact.unwrap_or_else(|| "not said".to_owned());
    let pairs = a.into_iter().zip(b).filter(|(a, b)| a.1 != b.1);
    pairs.map(|((what, a), (_, b))| Difference { what, sides: [known(a), known(b)] }).collect()
}

/// Why the figures of two runs must not be compared as they are.
fn objections(
    names: &[String; 2],
    runs: &[Run; 2],
    summaries: &[Summary; 2],
    [machine, asked]: [&[Difference]; 2],
) -> Vec<String> {
    /// What differs between any two runs on one machine.
    const ALWAYS_DIFFERS: &str = "load over 1, 5, 15 min before the run";
    let listed = |differences: &[Difference]| {
        let names = differences.iter().map(|it| it.what).filter(|what| *what != ALWAYS_DIFFERS);
        names.collect::<Vec<_>>().join("; ")
    };
    let mut objections = Vec::new();
    for (what, differences) in [("machines", machine), ("plans", asked)] {
        let listed = listed(differences);
        if !listed.is_empty() {
            objections.push(format!("The {what} differ in: {listed}."));
        }
    }
    for ((name, run), summary) in names.iter().zip(runs).zip(summaries) {
        if !summary.held() {
            objections.push(format!("{name} fell short: {}.", summary.shortfalls.join("; ")));
        }
        objections.extend(doubts(run).iter().map(|doubt| format!("{name}: {doubt}")));
    }
    objections
}

/// The figures of two runs.
fn figures(summaries: &[Summary; 2]) -> Vec<Figure> {
    type Of = fn(&Summary) -> Option<f64>;
    fn ms(summary: &LatencySummary, us: u64) -> Option<f64> {
        (summary.count > 0).then_some(us as f64 / 1_000.0)
    }
    let all: [(&'static str, Of); 22] = [
        ("connections open at the end", |it| Some(it.received.connected as f64)),
        ("connections opened a second", |it| it.rates.opened_per_s),
        ("messages sent a second", |it| Some(it.sent.as_ref()?.achieved_per_s)),
        ("chunks received", |it| Some(it.received.chunks as f64)),
        ("lost, duplicated or reordered", |it| {
            let received = &it.received;
            received.lost.map(|_| received.n_faults() as f64)
        }),
        ("RSS with nobody connected, KB", |it| Some(it.cost.empty.as_ref()?.rss_kb as f64)),
        ("RSS idle, KB", |it| Some(it.cost.idle.as_ref()?.rss_kb as f64)),
        ("bytes per idle connection", |it| it.cost.idle_bytes_per_connection),
        ("RSS after the messages, KB", |it| Some(it.cost.after.as_ref()?.rss_kb as f64)),
        ("bytes per connection then", |it| it.cost.after_bytes_per_connection),
        ("highest RSS while sending, KB", |it| Some(it.cost.highest_rss_kb? as f64)),
        ("growth in the last half, KB/min", |it| it.cost.rss_slope_kb_per_min),
        ("kernel bytes per idle connection", |it| it.cost.idle_kernel_bytes_per_connection),
        ("server CPU while sending, % of a core", |it| Some(it.cost.cpu_share? * 100.0)),
        ("delivery_from_due, p50, ms", |it| {
            ms(&it.received.delivery_from_due, it.received.delivery_from_due.p50_us)
        }),
        ("delivery_from_due, p99, ms", |it| {
            ms(&it.received.delivery_from_due, it.received.delivery_from_due.p99_us)
        }),
        ("delivery_from_due, p99.9, ms", |it| {
            ms(&it.received.delivery_from_due, it.received.delivery_from_due.p999_us)
        }),
        ("delivery_from_due, longest, ms", |it| {
            ms(&it.received.delivery_from_due, it.received.delivery_from_due.max_us)
        }),
        ("delivery_from_send, p50, ms", |it| {
            ms(&it.received.delivery_from_send, it.received.delivery_from_send.p50_us)
        }),
        ("delivery_from_send, p99, ms", |it| {
            ms(&it.received.delivery_from_send, it.received.delivery_from_send.p99_us)
        }),
        ("send_from_due, p99, ms", |it| {
            let delays = &it.sent.as_ref()?.send_from_due;
            ms(delays, delays.p99_us)
        }),
        ("lateness, p99, ms", |it| {
            let delays = &it.sent.as_ref()?.lateness;
            ms(delays, delays.p99_us)
        }),
    ];
    let figure =
        |(what, of): (&'static str, Of)| Figure { what, sides: summaries.each_ref().map(of) };
    all.into_iter().map(figure).collect()
}
