//! Computes what came of a run from its raw files. It stands apart from what a summary is, which
//! the verdict and the figures to be expected are told in.

use super::cost::Cost;
use super::figures::unmet;
use super::folder::FORMAT;
use super::limits::limits;
use super::machine::Machine;
use super::summary::{Rates, Summary, Verdict};
use super::timeline::Timeline;
use super::verdict::{caveats, expects, shortfalls};
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

impl Run {
    /// Computes every figure of the run, and whether it held.
    pub fn summary(&self) -> Summary {
        let run = self;
        let timeline = Timeline::of(run);
        let (received, sent) = (run.received(), run.sent());
        let books = books(run);
        let cost = Cost::of(&timeline, received.messages);
        let machine = Machine::of(&run.footprints, received);
        let per_s =
            |count: u64, time_s: f64| (count > 0 && time_s > 0.0).then(|| count as f64 / time_s);
        let rates = Rates {
            opened_per_s: per_s(received.established.saturating_sub(1), received.opening_s),
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
        };
        summary.shortfalls = shortfalls(run, &timeline, &summary.books);
        let unmet = unmet(run, &summary);
        summary.shortfalls.extend(unmet);
        if !summary.shortfalls.is_empty() {
            summary.verdict = Verdict::FellShort;
        }
        summary
    }
}
