//! Whether a run held, and what a reader must know before believing its figures.

use super::files::{self, marks};
use super::timeline::Timeline;
use super::words::grouped;
use super::{COMET_SERVER, Delays, Exit, Plan, Run};
use crate::books::{Books, SendReport};
use crate::expect::name_of;
use crate::latency::LatencySummary;

/// The load average over a minute above which somebody else computed in the minute before the run:
/// half a core. That of a build falls below it within two minutes after its end.
const IDLE_LOAD: f64 = 0.5;

/// Whether somebody else computed in the minute that has this load average.
pub(super) fn is_busy(load: f64) -> bool {
    load > IDLE_LOAD
}

/// Whether a run was told what `name` is to be, so that what it is by itself is no shortfall.
pub(super) fn expects(plan: &Plan, name: &str) -> bool {
    plan.expect.iter().any(|text| {
        let of = name_of(text);
        of == name || of.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
    })
}

/// What a figure's name begins with if it is a delay, or is decided by delays. The tools take all
/// delays alike, their own lateness too.
const DELAYS: [&str; 13] = [
    "lateness",
    "connect_lateness",
    "order_wait",
    "delivery_from_due",
    "delivery_from_send",
    "send_from_due",
    "send_from_send",
    "first_item_from_due",
    "first_item_from_send",
    "gap",
    "stream_time",
    "goodput",
    "settle",
];

/// Whether a run was to be judged by delays, by its expectations. How many there were is none.
pub(super) fn is_judged_by_latency(run: &Run) -> bool {
    // Which streams are good is decided by their delays.
    let has_goodput = run.received().streams.as_ref().is_some_and(|it| it.goodput.is_some());
    has_goodput
        || run.plan.expect.iter().any(|text| {
            let name = name_of(text);
            let name = name.strip_prefix("msggen.").unwrap_or(name);
            let (family, which) = name.split_once('.').unwrap_or((name, ""));
            DELAYS.contains(&family) && which != "count" && which != "negative"
        })
}

/// Why nothing follows from the delays that a run was judged by, if so: a tool was the limit. Then
/// they are the tool's own, and a run that held would be as worthless as one that fell short.
pub(super) fn not_valid(run: &Run) -> Option<String> {
    if !is_judged_by_latency(run) {
        return None;
    }
    let tools = limiting_tools(run);
    (!tools.is_empty()).then(|| {
        format!(
            "not valid: the run was judged by latency, and {} was the limit, so that what was \
             measured is not the server's",
            tools.join(" and ")
        )
    })
}

/// The tools that were the limit, as they say themselves.
pub(super) fn limiting_tools(run: &Run) -> Vec<&str> {
    let of_sender = run.sent().and_then(|sent| sent.limited_by.as_deref());
    [run.received().limited_by.as_deref(), of_sender].into_iter().flatten().collect()
}

/// In what respects a run fell short, a sentence each.
pub(super) fn shortfalls(run: &Run, timeline: &Timeline<'_>, books: &Books) -> Vec<String> {
    let (asked, received, sent) = (run.plan.connections, run.received(), run.sent());
    let mut shortfalls: Vec<String> = run.exits.exits.iter().filter_map(Exit::shortfall).collect();
    shortfalls.extend(unknown_ends(run));
    let ends = [
        Some(("floodtest", received.is_final, received.elapsed_s)),
        sent.map(|sent| ("msggen", sent.is_final, sent.elapsed_s)),
    ];
    for (tool, is_final, elapsed_s) in ends.into_iter().flatten() {
        if !is_final {
            shortfalls.push(format!(
                "{tool} left no final report; its last one was made after {elapsed_s:.1} s"
            ));
        }
    }
    let expects = |name| expects(&run.plan, name);
    if received.connected < asked && !["connected", "closed", "failed"].into_iter().any(expects) {
        shortfalls.push(format!(
            "{} of {} connections were open at the end",
            grouped(received.connected),
            grouped(asked)
        ));
    }
    // Every id that is sent to has been connected before. Where places get one connection after
    // another, nobody has theirs in between; and whom nobody follows who is logged in may be
    // written about all the same.
    let is_to_all = |sent: &&SendReport| sent.followers.is_none() && !received.has_lives();
    if let Some(sent) = sent.filter(is_to_all).filter(|_| !expects("void"))
        && let Some(void) = sent.void.filter(|void| *void > 0)
    {
        shortfalls.push(format!(
            "{} of {} messages went to ids that nobody had any more",
            grouped(void),
            grouped(sent.answered)
        ));
    }
    shortfalls.extend(books.shortfalls());
    shortfalls.extend(lost_delays(run));
    if !run.plan.server.is_watched {
        return shortfalls;
    }
    for mark in [marks::CONNECTING, marks::SENDING, marks::SENT, marks::DISCONNECTING] {
        if timeline.at_s(mark).is_none() {
            shortfalls.push(format!(
                "{} has no mark \"{mark}\": what it cost then is not known",
                files::MEMORY
            ));
        }
    }
    shortfalls
}

/// The programs of which nobody says how they ended. Each run has one of each, as far as they were
/// needed, and as many servers as were planned.
fn unknown_ends(run: &Run) -> impl Iterator<Item = String> {
    let plan = &run.plan;
    let n_servers = if plan.server.is_started { plan.nodes } else { 0 };
    let n_needed = [
        (plan.server.name.as_str(), n_servers),
        ("floodtest", 1),
        // A sender that was never started, because the server died before, has no end.
        ("msggen", u64::from(!run.send.is_empty())),
        ("memlog", u64::from(plan.server.is_watched)),
    ];
    n_needed.into_iter().filter_map(|(program, n_needed)| {
        let ends = run.exits.exits.iter().filter(|exit| exit.is_of(program));
        let n_missing = n_needed.saturating_sub(ends.count() as u64);
        let of = if n_needed > 1 {
            format!("{} of {} ", grouped(n_missing), grouped(n_needed))
        } else {
            String::new()
        };
        (n_missing > 0).then(|| format!("{} does not say how {of}{program} ended", files::EXITS))
    })
}

/// A sentence for every latency log that does not hold as many delays as were reported.
fn lost_delays(run: &Run) -> Vec<String> {
    let (received, sent) = (run.received(), run.sent());
    let mut logs: Vec<(&'static str, &Option<Delays>, &LatencySummary)> = vec![
        (files::DELIVERY_FROM_DUE, &run.delivery_due, &received.delivery_from_due),
        (files::DELIVERY_FROM_SEND, &run.delivery_actual, &received.delivery_from_send),
    ];
    let of_streams = [
        (files::FIRST_ITEM_FROM_DUE, &run.first_item_from_due, &received.first_item_from_due),
        (files::FIRST_ITEM_FROM_SEND, &run.first_item_from_send, &received.first_item_from_send),
        (files::GAP, &run.gap, &received.gap),
        (files::STREAM_TIME, &run.stream_time, &received.stream_time),
    ];
    // Where there is no such log, its figures are those of the reports alone.
    logs.extend(of_streams.into_iter().filter(|(_, log, _)| log.is_some()));
    if let Some(sent) = sent {
        logs.extend([
            (files::SEND_FROM_DUE, &run.send_due, &sent.send_from_due),
            (files::SEND_FROM_SEND, &run.send_actual, &sent.send_from_send),
            (files::LATENESS, &run.lateness, &sent.lateness),
        ]);
    }
    let mut sentences = Vec::new();
    for (name, log, reported) in logs {
        let name = files::name_in(&run.folder, name);
        let logged = log.as_ref().map_or(0, |log| log.total.count());
        if logged != reported.count {
            let (logged, reported) = (grouped(logged), grouped(reported.count));
            sentences.push(format!("{name} has {logged} delays where {reported} were reported"));
        }
    }
    sentences
}

/// Why the figures of a run may be other than those of a good one, a sentence each.
pub fn doubts(run: &Run) -> Vec<String> {
    let mut doubts = built(run);
    if let Some([load, ..]) = run.host.load_before.filter(|[load, ..]| is_busy(*load)) {
        doubts.push(format!("The machine was not idle: its load was {load:.2} before the run."));
    }
    doubts
}

/// Why the programs of a run may be other than good ones, a sentence each.
fn built(run: &Run) -> Vec<String> {
    let plan = &run.plan;
    let mut doubts = Vec::new();
    match plan.profile.as_str() {
        // `cargo install` builds for release unless it is told otherwise.
        "release" | "installed" => {}
        // Measured: reports/docs/installing.md.
        "quick" => doubts.push(
            "The programs were built without link-time optimization (the profile quick): they need \
             about 4% more CPU than release builds."
                .to_owned(),
        ),
        other => doubts
            .push(format!("The programs were built with the profile {other}, not release.")),
    }
    if plan.is_modified {
        let commit = plan.commit.as_deref().unwrap_or("none that is known");
        doubts
            .push(format!("The programs were built from files that differ from commit {commit}."));
    }
    doubts
}

/// What a reader must know before believing the figures of a run, a sentence each, beside what
/// limited it.
pub(super) fn caveats(run: &Run) -> Vec<String> {
    let mut caveats = built(run);
    let n_missed = run.memory.iter().fold(0, |sum: u64, it| sum.saturating_add(it.n_missed));
    if n_missed > 0 {
        caveats.push(format!("{} samples of the memory log are missing.", grouped(n_missed)));
    }
    let n_steps = run.memory.iter().filter(|sample| sample.step_ms != 0).count();
    if n_steps > 0 {
        caveats.push(format!("The wall clock was stepped {n_steps} times during the run."));
    }
    caveats.extend(unknowns(run));
    // What floodtest says of its own figures, unless it fell short for that very reason.
    let said = |note: &str| run.exits.exits.iter().any(|exit| exit.said.contains(note));
    let notes = run.received().notes.iter().filter(|note| !said(note));
    caveats.extend(notes.map(|note| format!("floodtest: {note}.")));
    let delivery = &run.received().delivery_from_due;
    if delivery.negative > 0 {
        caveats.push(format!(
            "{} delays came out negative, because two clocks differ, and are in no percentile.",
            grouped(delivery.negative)
        ));
    }
    let Some(sent) = run.sent() else { return caveats };
    if sent.sent < sent.asked {
        caveats.push(format!(
            "The sending was ended early: {} of {} messages were sent.",
            grouped(sent.sent),
            grouped(sent.asked)
        ));
    }
    caveats
}

/// What cannot be known of a run because of the server that it had, a sentence each.
fn unknowns(run: &Run) -> Vec<String> {
    let server = &run.plan.server;
    let mut unknowns = Vec::new();
    if !server.is_watched {
        unknowns.push(format!(
            "{} runs on another machine or is not known as a process here: what it cost it is not \
             known.",
            server.name
        ));
    }
    if run.faults.has_kill() {
        unknowns.push(format!(
            "{} was killed and started again: its counts are those since its last start, and what \
             it had counted before is not known. What was lost is judged by the sender and the \
             receivers alone.",
            server.name
        ));
    }
    if !server.is_counted && server.name == COMET_SERVER {
        unknowns.push("The server's own counts were not asked for.".to_owned());
    } else if !server.is_counted {
        unknowns.push(format!(
            "{} gives no counts of its own that are known here: the books are those of the sender \
             and of the receivers.",
            server.name
        ));
    }
    if let Some(why) = run.expected.as_ref().and_then(|expected| expected.why.as_deref()) {
        unknowns.push(format!("How many messages were to come is not known: {why}."));
    }
    unknowns
}
