//! What came of a run: every published figure, and whether it held.

use std::path::Path;

use serde::Serialize;

use super::Run;
use super::cost::Cost;
use super::files;
use super::folder::{FORMAT, RunError, replace};
use super::machine::Machine;
use super::timeline::{Phase, Timeline};
use super::verdict::{caveats, shortfalls};
use crate::books::{Books, FloodReport, SendReport, ServerStats};

/// Everything that is published of a run: `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The format of the folder: [`FORMAT`].
    pub format: u64,
    /// The experiment's name, as in `cargo rig c10k`.
    pub experiment: String,
    /// Servers that the ids were spread over.
    pub nodes: u64,
    /// Whether the run held or fell short.
    pub verdict: Verdict,
    /// In what respects it fell short, a sentence each; empty if it held.
    pub shortfalls: Vec<String>,
    /// What a reader must know before believing the figures, a sentence each.
    pub caveats: Vec<String>,
    /// The identities that must hold between the programs' figures.
    pub books: Books,
    /// What it cost the server.
    pub cost: Cost,
    /// What it took of the whole machine.
    pub machine: Machine,
    /// Figures over time.
    pub rates: Rates,
    /// What was done when.
    pub phases: Vec<Phase>,
    /// The counts of all servers, everybody still connected and everything arrived.
    pub server: ServerStats,
    /// floodtest's last report.
    pub received: FloodReport,
    /// msggen's last report.
    pub sent: SendReport,
}

/// Whether a run did what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Held,
    /// It did not; the shortfalls say why.
    FellShort,
}

/// Figures over time. `None` where nothing was to be counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Connections opened a second, from the first connect to the last.
    pub opened_per_s: Option<f64>,
    /// Chunks received a second, from when the first message was due to the last answer.
    pub received_per_s: Option<f64>,
}

impl Summary {
    /// Computes every figure of `run`.
    pub fn of(run: &Run) -> Self {
        let timeline = Timeline::of(run);
        let (received, sent) = (run.received(), run.sent());
        let books = Books::of_run(&run.server, received, sent);
        let shortfalls = shortfalls(run, &timeline, &books);
        let verdict = if shortfalls.is_empty() { Verdict::Held } else { Verdict::FellShort };
        let per_s =
            |count: u64, time_s: f64| (count > 0 && time_s > 0.0).then(|| count as f64 / time_s);
        Self {
            format: FORMAT,
            experiment: run.plan.experiment.clone(),
            nodes: run.plan.nodes,
            verdict,
            shortfalls,
            caveats: caveats(run),
            cost: Cost::of(&timeline),
            machine: Machine::of(&run.footprints, received),
            rates: Rates {
                opened_per_s: per_s(received.established.saturating_sub(1), received.opening_s),
                received_per_s: per_s(received.chunks, sent.elapsed_s),
            },
            phases: timeline.phases(),
            books,
            server: run.server.clone(),
            received: received.clone(),
            sent: sent.clone(),
        }
    }

    /// Whether the run did what it was to do.
    pub fn held(&self) -> bool {
        self.verdict == Verdict::Held
    }

    /// Writes it into the folder of the run.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        let mut json = serde_json::to_vec_pretty(self).expect("a summary is plain JSON");
        json.push(b'\n');
        replace(&folder.join(files::SUMMARY), &json)
    }
}
