//! The figures of a report for Prometheus; SCHEMA.md lists them.
//!
//! Figures that are not known are left out, so that nobody takes them for 0.

use metrics::Text;
use metrics::text::Summary;
use reports::books::ByReason;
use reports::latency::LatencySummary;

use crate::receipt::Reason;
use crate::report::Outcome;

/// The report as text for Prometheus.
pub fn text(outcome: &Outcome) -> String {
    let figures = &outcome.figures;
    let mut text = Text::new("msggen_");
    let version = env!("CARGO_PKG_VERSION");
    text.info("build_info", "The version of msggen.", "version", version);
    text.gauge("elapsed_seconds", "Time since the first message was due.", figures.elapsed_s);
    text.gauge("asked", "Messages asked for.", figures.asked);
    let help = "Messages asked for a second; 0 for as many as are answered.";
    text.gauge("asked_per_second", help, figures.asked_per_s);
    text.gauge("achieved_per_second", "Messages sent a second.", figures.achieved_per_s);
    let help = "By how much the slowest source was behind its schedule at its end.";
    text.gauge("behind_seconds", help, outcome.behind_s);
    counts(&mut text, outcome);
    let own = &figures.own;
    for (name, help, share) in [
        (
            "busiest_thread_share",
            "The share of a core that the busiest thread used.",
            own.busiest_thread_share,
        ),
        (
            "busiest_second_share",
            "The highest share of a core that a thread used in any second.",
            outcome.busiest_second_share,
        ),
        (
            "core_wait_share",
            "The share of the time in which the busiest thread was ready to run and had no core.",
            outcome.core_wait_share,
        ),
    ] {
        if let Some(share) = share {
            text.gauge(name, help, share);
        }
    }
    let is_limit = u8::from(figures.limited_by.is_some());
    text.gauge("is_limit", "1 if msggen itself is the limit of the run, otherwise 0.", is_limit);
    for (name, what, delays) in [
        (
            "own_lateness",
            "that messages were late by msggen itself and not by the server",
            &own.lateness,
        ),
        ("lateness", "from a message's due time to its sending", &figures.lateness),
        (
            "order_wait",
            "that a numbered message waited for those before it to its id",
            &figures.order_wait,
        ),
        ("send_from_due", "from a message's due time to its answer", &figures.send_from_due),
        ("send_from_send", "from a message's sending to its answer", &figures.send_from_send),
    ] {
        summary(&mut text, name, what, delays);
    }
    text.finish()
}

/// What became of messages.
fn counts(text: &mut Text, outcome: &Outcome) {
    let figures = &outcome.figures;
    let help = "Messages handed to a connection, or for which there was none.";
    text.counter("sent", help, figures.sent);
    match figures.written {
        Some(written) => {
            let help = "Messages that the kernel took, where no server answers.";
            text.counter("written", help, written);
        }
        None => text.counter("answered", "Messages that the server took.", figures.answered),
    }
    for (name, help, n) in [
        ("reached", "Answered messages that are known to have reached somebody.", figures.reached),
        ("void", "Answered messages that are known to have reached nobody.", figures.void),
        ("connections", "Connections that answered messages reached.", figures.connections),
        ("followers", "Followers of the users that they were about.", figures.followers),
    ] {
        if let Some(n) = n {
            text.counter(name, help, n);
        }
    }
    let help = "Answered messages of which it is not known whom they reached.";
    text.counter("reach_unknown", help, figures.reach_unknown);
    let help = "Messages that the server does not have.";
    text.counters("failed", help, "reason", by_reason(&figures.failures));
    let help = "Messages that the server may or may not have.";
    text.counters("unanswered", help, "reason", by_reason(&outcome.unanswered_by));
    let help = "WebSockets that ended before the run wanted them to.";
    let closed = outcome.closed_by.iter().map(|(how, n)| (how, *n));
    text.counters("closed", help, "reason", closed);
    let help = "Answers to requests that were never sent.";
    text.counter("stray_answers", help, figures.stray_answers);
    text.counter("late", "Messages sent more than 1 ms after they were due.", figures.late);
}

/// Counts of all reasons whose words are known beforehand, those that did not happen included: a
/// series that begins with its first event hides that event from `rate()`.
fn by_reason(counts: &ByReason) -> ByReason {
    let mut all: ByReason = Reason::PLAIN.iter().map(|it| (it.to_string(), 0)).collect();
    all.extend(counts.clone());
    all
}

/// One kind of delay.
fn summary(text: &mut Text, name: &str, what: &str, delays: &LatencySummary) {
    let seconds = |us: u64| us as f64 / 1e6;
    let quantiles = [
        (0.5, seconds(delays.p50_us)),
        (0.9, seconds(delays.p90_us)),
        (0.99, seconds(delays.p99_us)),
        (0.999, seconds(delays.p999_us)),
        (0.9999, seconds(delays.p9999_us)),
        (1.0, seconds(delays.max_us)),
    ];
    let sum_s = delays.mean_us * delays.count as f64 / 1e6;
    let summary = Summary { quantiles: &quantiles, sum_s, count: delays.count };
    text.summary(name, &format!("Time {what}."), summary);
}
