//! Servers answer in many ways, and proxies cut their answers anew. Whatever the framing, the
//! content, the borders and the numbers: what floodtest counts is exactly what came, or it says
//! that it was not judged.

mod body;
mod carry;
mod ends;
mod stage;
mod table;
mod way;

use std::collections::HashSet;

use reports::books::{FloodReport, ItemKind};
use reports::latency::LatencySummary;
use reports::stamp::Clock;

use crate::support::Ended;
use body::{DUE_STEP_US, LATE_STEP_US, parts};
use stage::{Ending, play};
use table::ways;
use way::{Cut, Framing, Text, Verdict, Way, Writes};

/// Connections of each way.
const N_CONNECTIONS: u64 = 3;

/// How much longer than known a delay may be: the time that the test takes.
const PATIENCE_US: u64 = 120_000_000;

/// The error of a histogram of delays, in parts.
const ROUNDING: f64 = 0.001;

/// What was found to be otherwise, a line each.
type Differences = Vec<String>;

#[test]
fn there_are_sixty_ways_with_names_of_their_own() {
    let ways = ways();
    assert!(ways.len() >= 60, "there are {}", ways.len());
    let names: HashSet<_> =
        ways.iter().map(|way| format!("{:?}, {}", way.content, way.name)).collect();
    assert_eq!(names.len(), ways.len());
}

#[test]
fn every_way_to_answer_is_counted_exactly_or_said_not_to_be_judged() {
    let clock = Clock::start();
    let differences = ways().into_iter().flat_map(|way| {
        let way = &way;
        let mut n_chunks = 0;
        let scripts: Vec<_> = (1..=N_CONNECTIONS)
            .map(|id| {
                let (pieces, n) = carry::pieces(way, &parts(way, id, &clock));
                n_chunks += n;
                pieces
            })
            .collect();
        let ended = play(&scripts, way.ending, way.flags, || {});
        differences(way, N_CONNECTIONS, n_chunks, way.truth.items, &ended)
    });
    none(&differences.collect::<Differences>());
}

/// The ways that are cut at every byte: those in which the table itself cuts nothing.
fn short_ways() -> impl Iterator<Item = Way> {
    let is_plain = |way: &Way| way.cut == Cut::Message && way.writes == Writes::AsCut;
    // Bodies of two KB say no more than shorter ones, and the same stamp twice in an item is
    // another thing where the item is a chunk that ends between them.
    let is_short = |way: &Way| way.text != Text::Followed;
    ways().into_iter().filter(move |way| is_plain(way) && is_short(way))
}

#[test]
fn no_read_is_so_short_that_it_changes_a_count() {
    let clock = Clock::start();
    let differences = short_ways().flat_map(|way| {
        let scripts = carry::cut_anywhere(&way, |id| parts(&way, id, &clock));
        let n = scripts.len() as u64;
        let n_segments = way.faults.numbers().len() as u64;
        let n_chunks = if way.framing == Framing::Chunked { n * n_segments } else { 0 };
        let ended = play(&scripts, way.ending, way.flags, || {});
        differences(&way, n, n_chunks, way.truth.items, &ended)
    });
    none(&differences.collect::<Differences>());
}

#[test]
fn no_border_of_a_chunk_changes_a_count() {
    let clock = Clock::start();
    let chunked = short_ways().filter(|way| way.framing == Framing::Chunked);
    let differences = chunked.flat_map(|way| {
        let scripts = carry::chunked_anywhere(&way, |id| parts(&way, id, &clock));
        let n = scripts.len() as u64;
        let is_of_chunks = way.truth.kind == ItemKind::Chunks;
        let items = if is_of_chunks { Some(2) } else { way.truth.items };
        let ended = play(&scripts, way.ending, way.flags, || {});
        differences(&way, n, 2 * n, items, &ended)
    });
    none(&differences.collect::<Differences>());
}

/// Requires that there is no difference.
#[track_caller]
fn none(differences: &[String]) {
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// How the report of a run of `n` connections differs from the truth.
fn differences(way: &Way, n: u64, n_chunks: u64, items: Option<u64>, ended: &Ended) -> Differences {
    let truth = &way.truth;
    let Some(report) = ended.last_report() else {
        return vec![format!("{:?}: {}: no report\n{ended}", way.content, way.name)];
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: String, is: String| {
        if expected != is {
            let (content, framing, name) = (way.content, way.framing, way.name);
            found.push(format!(
                "{content:?}, {framing:?}: {name}: {what} should be {expected}, is {is}"
            ));
        }
    };
    let shown = |faults: [Option<u64>; 3]| format!("{faults:?}");
    compare("chunks", n_chunks.to_string(), report.chunks.to_string());
    if let Some(items) = items {
        compare("items", (n * items).to_string(), report.items.to_string());
    }
    if truth.kind != ItemKind::None {
        compare("item_kind", format!("{:?}", truth.kind), format!("{:?}", report.item_kind));
    }
    compare("messages", (n * truth.messages).to_string(), report.messages.to_string());
    compare("comments", (n * truth.comments).to_string(), report.comments.to_string());
    compare("judged_by", format!("{:?}", truth.by), format!("{:?}", report.judged_by));
    compare(
        "lost, duplicated, reordered",
        shown(truth.faults.map(|count| count.map(|count| n * count))),
        shown([report.lost, report.duplicated, report.reordered]),
    );
    compare("encoded", is_encoded(way).to_string(), (report.encoded_bytes > 0).to_string());
    let closed = if way.ending == Ending::Closed { n } else { 0 };
    compare("ended", closed.to_string(), report.ended.to_string());
    // Ten of the worst are named; what is not judged is no fault of theirs.
    let n_worst: u64 = report.worst.iter().map(|it| it.faults).sum();
    let worst = match n_worst.checked_sub(report.n_faults()) {
        None | Some(0) => "no more than all".into(),
        Some(_) => format!("{n_worst} of {}", report.n_faults()),
    };
    compare("the worst", "no more than all".into(), worst);
    let delays = delays(way, n);
    let due = |(due_us, _): &(u64, u64)| *due_us;
    let late = |(due_us, late_us): &(u64, u64)| due_us - late_us;
    compare("from due", "as sent".into(), compared(&report.delivery_from_due, &delays, due));
    compare("from send", "as sent".into(), compared(&report.delivery_from_send, &delays, late));
    compare("verdict", "as expected".into(), verdict(truth.verdict, ended, &report));
    if !found.is_empty() {
        found.push(format!("{ended}"));
    }
    found
}

/// Whether the body cannot be looked into.
fn is_encoded(way: &Way) -> bool {
    way.encoding.is_some_and(|name| name != "identity")
}

/// How long before the test each stamp that is received was due, and how late it was then sent.
fn delays(way: &Way, n: u64) -> Vec<(u64, u64)> {
    if way.truth.timed == 0 {
        return Vec::new();
    }
    let numbers = way.faults.numbers();
    assert_eq!(numbers.len() as u64, way.truth.timed, "{}", way.name);
    let mut delays: Vec<_> =
        (0..n).flat_map(|_| numbers.iter().map(|n| (n * DUE_STEP_US, n * LATE_STEP_US))).collect();
    delays.sort_unstable();
    delays
}

/// What is wrong with a summary of these delays; `as sent` if nothing is.
fn compared(
    summary: &LatencySummary,
    delays: &[(u64, u64)],
    of: impl Fn(&(u64, u64)) -> u64,
) -> String {
    let n = delays.len();
    if summary.count != n as u64 || summary.negative != 0 {
        return format!("{} and {} negative ones of {n}", summary.count, summary.negative);
    }
    if n == 0 {
        return "as sent".into();
    }
    let delays: Vec<u64> = delays.iter().map(of).collect();
    // That which so many percent of all delays do not exceed.
    let at = |percent: usize| delays[(percent * n).div_ceil(100) - 1];
    let mean = delays.iter().sum::<u64>() as f64 / n as f64;
    let figures = [
        ("p50", summary.p50_us as f64, at(50) as f64),
        ("p90", summary.p90_us as f64, at(90) as f64),
        ("p99", summary.p99_us as f64, at(99) as f64),
        ("max", summary.max_us as f64, at(100) as f64),
        ("mean", summary.mean_us, mean),
    ];
    let is_off = |is: f64, known: f64| {
        is < known * (1.0 - ROUNDING) || is > (known + PATIENCE_US as f64) * (1.0 + ROUNDING)
    };
    let off = figures.into_iter().find(|(_, is, known)| is_off(*is, *known));
    off.map_or("as sent".into(), |(name, is, known)| format!("{name} {is} µs of {known}"))
}

/// What is wrong with the end of the run; `as expected` if nothing is.
fn verdict(expected: Verdict, ended: &Ended, report: &FloodReport) -> String {
    let code = match expected {
        Verdict::Right | Verdict::NotJudged => 0,
        Verdict::Wrong | Verdict::Unable => 1,
    };
    let says = format!("{}\n{}", ended.stdout, ended.stderr);
    if ended.code != Some(code) {
        return format!("code {:?} instead of {code}", ended.code);
    }
    if expected == Verdict::NotJudged && !says.contains("messages not judged") {
        return "silent about messages that were not judged".into();
    }
    if expected == Verdict::Unable && !says.contains("not judged") {
        return "silent about what it was asked for".into();
    }
    if report.failed > 0 { "with failures".into() } else { "as expected".into() }
}
