//! Computes what came of a run from its raw files. It stands apart from what a summary is, which
//! the verdict and the figures to be expected are told in.

use super::cost::Cost;
use super::figures::unmet;
use super::folder::FORMAT;
use super::limits::limits;
use super::machine::Machine;
use super::summary::{Rates, Summary, Verdict};
use super::timeline::Timeline;
use super::verdict::{caveats, expects, not_valid, shortfalls};
use super::{Expected, Run};
use crate::books::{Books, FloodReport};

/// The books of a run, as far as its server lets them be known.
fn books(run: &Run) -> Books {
    let (received, sent) = (run.received(), run.sent());
    // What is expected of these is judged by floodtest, which was told so.
    let told =
        |name, judged: Option<u64>| judged.map(|n| if expects(&run.plan, name) { 0 } else { n });
    let received = &FloodReport {
        lost: told("lost", received.lost),
        duplicated: told("duplicated", received.duplicated),
        reordered: told("reordered", received.reordered),
        ..received.clone()
    };
    let books = match (&run.server, sent) {
        (Some(server), _) if run.faults.has_kill() => Books::of_restarted(server, received, sent),
        (Some(server), Some(sent)) => Books::of_run(server, received, sent),
        _ => Books::of_foreign(received, sent),
    };
    match &run.expected {
        Some(Expected { messages: Some(messages), unanswered, .. }) => {
            books.with_expected(run.received(), *messages, *unanswered)
        }
        _ => books,
    }
}

/// Connections opened a second. Where places had several one after another, those between the first
/// and the last connect are no ramp, and how fast they came is in the settles.
fn opened_per_s(received: &FloodReport) -> Option<f64> {
    let n_more = received.established.saturating_sub(1);
    let is_ramp = received.reopened == 0 && n_more > 0 && received.opening_s > 0.0;
    is_ramp.then(|| n_more as f64 / received.opening_s)
}

impl Run {
    /// Computes every figure of the run, and whether it held.
    pub fn summary(&self) -> Summary {
        let run = self;
        let timeline = Timeline::of(run);
        let (received, sent) = (run.received(), run.sent());
        let books = books(run);
        let mut cost = Cost::of(&timeline, received.messages);
        if run.faults.has_kill() {
            // The CPU time of one process is not that of the next one.
            (cost.cpu_share, cost.cpu_us_per_message) = (None, None);
        }
        let machine = Machine::of(&run.footprints, received);
        let per_s =
            |count: u64, time_s: f64| (count > 0 && time_s > 0.0).then(|| count as f64 / time_s);
        let rates = Rates {
            opened_per_s: opened_per_s(received),
            received_per_s: sent.and_then(|sent| per_s(run.n_items(), sent.elapsed_s)),
        };
        let mut summary = Summary {
            format: FORMAT,
            experiment: run.plan.experiment.clone(),
            server_name: run.plan.server.name.clone(),
            nodes: run.plan.nodes,
            verdict: Verdict::Held,
            shortfalls: Vec::new(),
            limits: limits(run, &cost, rates.opened_per_s),
            caveats: caveats(run),
            cost,
            machine,
            rates,
            phases: timeline.phases(),
            books,
            server: run.server.clone(),
            received: received.clone(),
            expected: run.expected.clone(),
            sent: sent.cloned(),
            faults: run.faults.faults.clone(),
        };
        summary.shortfalls = shortfalls(run, &timeline, &summary.books);
        let unmet = unmet(run, &summary);
        summary.shortfalls.extend(unmet);
        if !summary.shortfalls.is_empty() {
            summary.verdict = Verdict::FellShort;
        }
        // It comes first, since it is what the others must be read with.
        if let Some(why) = not_valid(run) {
            summary.shortfalls.insert(0, why);
            summary.verdict = Verdict::NotValid;
        }
        summary
    }
}
