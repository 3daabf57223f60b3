//! What came of a run: every published figure, and whether it held.

use std::path::Path;

use serde::Serialize;

use super::Expected;
use super::cost::Cost;
use super::faults::Fault;
use super::files;
use super::folder::{RunError, replace};
use super::machine::Machine;
use super::timeline::Phase;
use crate::books::{Books, FloodReport, SendReport, ServerStats, Settle};
use crate::latency::LatencySummary;

/// Everything that is published of a run: `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The format of the folder: [`FORMAT`](super::FORMAT).
    pub format: u64,
    /// The experiment's name, as in `cargo rig c10k`.
    pub experiment: String,
    /// What the server is called.
    pub server_name: String,
    /// Servers that the ids were spread over.
    pub nodes: u64,
    /// Whether the run held or fell short.
    pub verdict: Verdict,
    /// In what respects it fell short, a sentence each; empty if it held.
    pub shortfalls: Vec<String>,
    /// What may limit a run, and whether it limited this one.
    pub limits: Vec<Limit>,
    /// What a reader must know beside that before believing the figures, a sentence each.
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
    /// The counts of all servers, everybody still connected and everything arrived; `None` of a
    /// server that gives none.
    pub server: Option<ServerStats>,
    /// How many messages were to come, by the sender's file and the ids of the connections; `None`
    /// in runs that have not said it.
    pub expected: Option<Expected>,
    /// floodtest's last report.
    pub received: FloodReport,
    /// msggen's last report; `None` if no messages were to be sent.
    pub sent: Option<SendReport>,
    /// What was done to the server, and when; empty if nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Something that may limit a run, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it limited the run; `None` where that was not measured.
    pub is_limit: Option<bool>,
    /// What was seen, with its figures.
    pub seen: String,
    /// What it means for the figures if it limited the run.
    pub means: &'static str,
    /// The file of the run's folder that says so.
    pub file: &'static str,
}

impl Verdict {
    /// In words, behind `verdict: `.
    pub fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::FellShort => "fell short",
            Self::NotValid => "not valid",
        }
    }
}

/// Whether a run did what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Held,
    /// It did not; the shortfalls say why.
    FellShort,
    /// It was judged by latency, and a tool was the limit: its delays are the tool's own, so that
    /// they say neither that the server is fast enough nor that it is not.
    NotValid,
}

/// Figures over time. `None` where nothing was to be counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Connections opened a second, from the first connect to the last.
    pub opened_per_s: Option<f64>,
    /// Items received a second, as [`Run::item_kind`](super::Run::item_kind) counts them, from when
    /// the first message was due to the last answer.
    pub received_per_s: Option<f64>,
}

impl Summary {
    /// Whether the run did what it was to do.
    pub fn held(&self) -> bool {
        self.verdict == Verdict::Held
    }

    /// The worst of all settles by `of`: the longest time, or the most. `None` without a settle,
    /// and where one has no such figure, as when not all connections came back.
    pub fn worst_settle(&self, of: impl Fn(&Settle) -> Option<f64>) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.received.settles.iter().map(of).collect();
        figures?.into_iter().reduce(f64::max)
    }

    /// What limited the run, of all that may limit one.
    pub fn limited_by(&self) -> impl Iterator<Item = &Limit> {
        self.limits.iter().filter(|limit| limit.is_limit == Some(true))
    }

    /// Every delay that was recorded, by its name. Those of the sender only where there was one.
    pub fn delays(&self) -> Vec<(&'static str, &LatencySummary)> {
        let received = &self.received;
        let mut delays = vec![
            ("delivery_from_due", &received.delivery_from_due),
            ("delivery_from_send", &received.delivery_from_send),
        ];
        if let Some(sent) = &self.sent {
            delays.extend([
                ("send_from_due", &sent.send_from_due),
                ("send_from_send", &sent.send_from_send),
                ("lateness", &sent.lateness),
            ]);
        }
        delays.push(("connect_lateness", &received.connect_lateness));
        let of_streams = [
            ("first_item_from_due", &received.first_item_from_due),
            ("first_item_from_send", &received.first_item_from_send),
            ("gap", &received.gap),
            ("stream_time", &received.stream_time),
        ];
        // Most runs have no streams that end, and nothing is said of what nobody asked for.
        delays.extend(of_streams.into_iter().filter(|(_, delays)| delays.count > 0));
        delays
    }

    /// Writes it into the folder of the run.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        let mut json = serde_json::to_vec_pretty(self).expect("a summary is plain JSON");
        json.push(b'\n');
        replace(&folder.join(files::SUMMARY), &json)
    }
}
