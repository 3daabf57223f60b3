//! One scenario against several servers, on a page: what each cost, and what it delivered.

use std::fmt;
use std::path::{Path, PathBuf};

use maud::{Markup, html};
use serde::Serialize;

use crate::ReportError;
use crate::page::{command_lines, document, facts, section, table};
use reports::compare::figures::{self, Figure};
use reports::compare::ranks::median;
use reports::date::utc;
use reports::run::replace;
use reports::run::words::{NOT_MEASURED, figure as number, grouped, time};
use reports::run::{Command, Host, Plan, Run, Summary};

/// The figures that servers are compared by, and what the columns are called.
const FIGURES: [(&str, &str); 9] = [
    ("server.rss_per_connection", "memory for an idle connection, bytes"),
    ("server.rss_per_connection_after", "the same after the messages, bytes"),
    ("server.kernel_per_connection", "kernel memory, both ends, bytes"),
    ("server.cpu_per_message", "CPU for a message, µs"),
    ("delivery_from_due.p50", "delivery, p50, ms"),
    ("delivery_from_due.p99", "delivery, p99, ms"),
    ("opened_per_s", "connections opened a second"),
    ("messages", "messages received"),
    ("lost", "lost"),
];

/// How many of them are costs: the first ones.
const N_COSTS: usize = 4;

/// Of these there are bars as well: which they are, and what they say.
const BARS: [(usize, &str); 3] = [
    (0, "Memory of the server's own for an idle connection, bytes"),
    (3, "CPU time of the server for a message, µs"),
    (5, "Delivery latency from due time, 99th percentile, ms"),
];

/// The runs of a server.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Their folders.
    pub folders: Vec<PathBuf>,
}

/// Servers side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Peers {
    /// The figures, in the order of those of a server.
    pub figures: Vec<PeerFigure>,
    /// The servers.
    pub servers: Vec<PeerRuns>,
    /// The machine of all runs.
    #[serde(skip)]
    host: Host,
    /// The plan of the first run.
    #[serde(skip)]
    plan: Plan,
    /// How they are run again.
    #[serde(skip)]
    command: Command,
}

/// A figure that servers are compared by.
#[derive(Debug, Clone, Serialize)]
pub struct PeerFigure {
    /// Its name.
    pub name: &'static str,
    /// What it is, with its unit.
    pub what: &'static str,
    /// The file of each run's folder that it is computed from.
    pub file: &'static str,
}

/// A server among others.
#[derive(Debug, Clone, Serialize)]
pub struct PeerRuns {
    /// What it is called.
    pub name: String,
    /// What was done with it.
    pub title: String,
    /// Its runs: the names of their folders.
    pub runs: Vec<String>,
    /// How many of them held.
    pub held: usize,
    /// In what respects they fell short, each sentence once.
    pub shortfalls: Vec<String>,
    /// What limited its runs beside the server, and how many of them.
    pub limits: Vec<PeerLimit>,
    /// Its figures.
    pub values: Vec<PeerValues>,
}

/// Something that limited runs of a server.
#[derive(Debug, Clone, Serialize)]
pub struct PeerLimit {
    /// What it was, as on the page of a run.
    pub what: &'static str,
    /// How many runs it limited.
    pub runs: usize,
}

/// A figure of a server.
#[derive(Debug, Clone, Serialize)]
pub struct PeerValues {
    /// Of each run; `None` where it was not measured or not judged.
    pub runs: Vec<Option<f64>>,
    /// The median of those that were.
    pub median: Option<f64>,
}

impl PeerValues {
    /// The median, and the least and the greatest if there are several.
    fn said(&self) -> String {
        let Some(median) = self.median else { return NOT_MEASURED.to_owned() };
        let known: Vec<f64> = self.runs.iter().flatten().copied().collect();
        let least = known.iter().copied().fold(f64::INFINITY, f64::min);
        let most = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if known.len() < 2 || number(least) == number(most) {
            return number(median);
        }
        format!("{} ({}–{})", number(median), number(least), number(most))
    }
}

/// Sets the runs of several servers side by side, on one page at `out`, which was made by
/// `command`.
pub fn peers(peers: &[Peer], command: Command, out: &Path) -> Result<Peers, ReportError> {
    let all = figures::all();
    let shown: Vec<(&Figure, &'static str)> = FIGURES
        .into_iter()
        .filter_map(|(name, what)| Some((all.iter().find(|it| it.name == name)?, what)))
        .collect();
    let (mut servers, mut first) = (Vec::new(), None);
    for peer in peers {
        let mut runs = Vec::new();
        for folder in &peer.folders {
            let run = Run::load(folder)?;
            let summary = run.summary();
            first.get_or_insert_with(|| (run.host.clone(), run.plan.clone()));
            runs.push((run.name(), run.plan, summary));
        }
        servers.extend(server(&runs, &shown));
    }
    let (host, plan) = first.unwrap_or_default();
    let figures = shown.iter().zip(FIGURES).map(|((figure, what), (name, _))| PeerFigure {
        name,
        what,
        file: figure.file,
    });
    let peers = Peers { figures: figures.collect(), servers, host, plan, command };
    replace(out, page(&peers).as_bytes())?;
    Ok(peers)
}

/// What the runs of a server show. `None` without runs.
fn server(runs: &[(String, Plan, Summary)], shown: &[(&Figure, &str)]) -> Option<PeerRuns> {
    let (_, plan, _) = runs.first()?;
    let values = shown.iter().map(|(figure, _)| {
        let of_runs: Vec<Option<f64>> =
            runs.iter().map(|(_, _, summary)| figure.of(summary)).collect();
        let known: Vec<f64> = of_runs.iter().flatten().copied().collect();
        PeerValues { median: median(&known), runs: of_runs }
    });
    let mut shortfalls: Vec<String> = Vec::new();
    for shortfall in runs.iter().flat_map(|(_, _, summary)| &summary.shortfalls) {
        if !shortfalls.contains(shortfall) {
            shortfalls.push(shortfall.clone());
        }
    }
    let mut limits: Vec<PeerLimit> = Vec::new();
    for limit in runs.iter().flat_map(|(_, _, summary)| summary.limited_by()) {
        match limits.iter_mut().find(|it| it.what == limit.what) {
            Some(known) => known.runs += 1,
            None => limits.push(PeerLimit { what: limit.what, runs: 1 }),
        }
    }
    Some(PeerRuns {
        name: plan.server.name.clone(),
        title: plan.title.clone().unwrap_or_default(),
        runs: runs.iter().map(|(name, ..)| name.clone()).collect(),
        held: runs.iter().filter(|(_, _, summary)| summary.held()).count(),
        shortfalls,
        limits,
        values: values.collect(),
    })
}

impl PeerRuns {
    /// What limited its runs, in words.
    fn limited_by(&self) -> String {
        let n = self.runs.len();
        let limits = self.limits.iter().map(|it| format!("{} in {} of {n} runs", it.what, it.runs));
        limits.collect::<Vec<_>>().join(", ")
    }
}

impl Peers {
    /// Whether all runs of all servers held.
    pub fn held(&self) -> bool {
        self.servers.iter().all(|server| server.held == server.runs.len())
    }

    /// What was done with each, in a line.
    fn what(&self) -> String {
        let plan = &self.plan;
        format!(
            "{} connections, {} messages a second, {}",
            grouped(plan.connections),
            grouped(plan.messages_per_second),
            time(plan.duration_s)
        )
    }

    /// How many runs each had, in words.
    fn repeats(&self) -> String {
        let most = self.servers.iter().map(|server| server.runs.len()).max().unwrap_or_default();
        match most {
            1 => "one run each: what differs by chance is not known".to_owned(),
            n => format!(
                "{n} runs each, in turn: the median, and in brackets the least and the most"
            ),
        }
    }
}

/// A block for each server.
impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; {}", self.what(), self.repeats())?;
        for server in &self.servers {
            let n = server.runs.len();
            writeln!(f, "\n{}: {} of {n} held", server.name, server.held)?;
            for (figure, values) in self.figures.iter().zip(&server.values) {
                writeln!(f, "  {:<40} {}", figure.what, values.said())?;
            }
            for shortfall in &server.shortfalls {
                writeln!(f, "  fell short: {shortfall}")?;
            }
            if !server.limits.is_empty() {
                writeln!(f, "  limited by {}", server.limited_by())?;
            }
        }
        Ok(())
    }
}

/// The page.
fn page(peers: &Peers) -> String {
    let title = format!("{} servers: {}", peers.servers.len(), peers.what());
    let kicker =
        format!("{} · Comet toolkit {}", utc(peers.plan.started_unix_s), peers.plan.toolkit);
    let body = html! {
        header {
            p.kicker { (kicker) }
            h1 { (title) }
            @if peers.held() {
                p.verdict.held {
                    strong { "All held." }
                    " Every message that was answered came, on every server."
                }
            } @else {
                p.verdict.short { strong { "Not all held." } }
                ul.bad {
                    @for server in &peers.servers {
                        @for shortfall in &server.shortfalls {
                            li { (server.name) ": " (shortfall) }
                        }
                    }
                }
            }
            @if peers.servers.iter().all(|server| server.limits.is_empty()) {
                p.limited { strong { "What limited them:" } " nothing that was looked at." }
            } @else {
                p.limited { strong { "What limited them:" } }
                ul.limited {
                    @for server in peers.servers.iter().filter(|it| !it.limits.is_empty()) {
                        li { (server.name) ": " (server.limited_by()) }
                    }
                }
            }
            p { (peers.repeats()) "." }
        }
        main {
            (bars(peers))
            (figures_table(peers))
            (meanings(peers))
            (runs(peers))
            (machine(peers))
            (section("How to repeat it", &[], &command_lines(std::slice::from_ref(&peers.command))))
            (not_claimed())
        }
        footer {
            "The raw figures lie in the folders of the runs, and each has a report of its own."
        }
    };
    document(&title, &body)
}

/// Bars of the figures that people ask for first.
fn bars(peers: &Peers) -> Markup {
    let body = html! {
        @for (at, what) in BARS {
            @let most = peers.servers.iter().filter_map(|it| it.values.get(at)?.median);
            @let most = most.fold(0.0, f64::max);
            h3 { (what) }
            dl.bars {
                @for server in &peers.servers {
                    @let value = server.values.get(at).and_then(|values| values.median);
                    dt { (server.name) }
                    dd {
                        @if let Some(value) = value.filter(|_| most > 0.0) {
                            // Half of the width is left to the figure behind it.
                            @let percent = value.max(0.0) / most * 50.0;
                            span.bar style=(format!("width: {percent:.2}%")) {}
                        }
                        (value.map_or_else(|| NOT_MEASURED.to_owned(), number))
                    }
                }
            }
        }
    };
    section("At a glance", &["Medians. Shorter is better."], &body)
}

/// All figures, in two tables: what a server cost, and what it delivered. One would be too wide.
fn figures_table(peers: &Peers) -> Markup {
    let part = |from: usize, to: usize, has_verdict: bool| {
        let names = peers.figures[from..to].iter().map(|it| it.what);
        let mut heads: Vec<&str> = std::iter::once("").chain(names).collect();
        if has_verdict {
            heads.push("held");
        }
        let rows = peers.servers.iter().map(|server| {
            let mut row = vec![server.name.clone()];
            row.extend(server.values[from..to].iter().map(PeerValues::said));
            if has_verdict {
                row.push(format!("{} of {}", server.held, server.runs.len()));
            }
            row
        });
        table("figures peers", &heads, rows)
    };
    let n_costs = N_COSTS.min(peers.figures.len());
    let body = html! {
        h3 { "What it cost the server" }
        (part(0, n_costs, false))
        h3 { "What came, and when" }
        (part(n_costs, peers.figures.len(), true))
    };
    section("Figures", &[], &body)
}

/// What the figures are, and where they come from.
fn meanings(peers: &Peers) -> Markup {
    let all = figures::all();
    let rows = peers.figures.iter().map(|it| {
        let figure = all.iter().find(|figure| figure.name == it.name);
        let what = figure.map(|figure| figure.what.clone()).unwrap_or_default();
        vec![it.what.to_owned(), it.name.to_owned(), what, it.file.to_owned()]
    });
    let heads = ["", "name", "what it is", "computed from"];
    section("What the figures are", &[], &table("sourced meanings", &heads, rows))
}

/// The runs, with a link to the report of each.
fn runs(peers: &Peers) -> Markup {
    let body = html! {
        table {
            thead { tr { th { "server" } th { "what was done" } th { "runs" } } }
            tbody {
                @for server in &peers.servers {
                    tr {
                        th scope="row" { (server.name) }
                        td { (server.title) }
                        td {
                            @for name in &server.runs {
                                a href=(format!("{name}/report.html")) { (name) } " "
                            }
                        }
                    }
                }
            }
        }
    };
    section("The runs", &[], &body)
}

/// The machine.
fn machine(peers: &Peers) -> Markup {
    let rows = facts(&peers.host)
        .into_iter()
        .filter_map(|(what, fact)| Some(vec![what.to_owned(), fact?]));
    section("The machine", &[], &table("", &["", ""], rows))
}

/// What is not claimed.
fn not_claimed() -> Markup {
    let body = html! {
        ul {
            li { "Nothing about a network: servers, clients and senders shared one machine." }
            li {
                "Nothing about how much each could deliver at most: all had the same load. CPU for \
                 a message falls where many are sent at once."
            }
            li { "Nothing about servers that are set up otherwise than the scenarios say." }
            li { "Nothing about what else a server does: most do more than pass messages on." }
        }
    };
    section("What is not claimed", &[], &body)
}
