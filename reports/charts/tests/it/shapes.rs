//! Runs with shapes of load: storms, slow readers, streams that end, and a tool that was the limit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reports::books::{
    ByReason, ClockReport, Counted, FloodReport, Goodput, HostReport, Own, SendReport, Settle,
    SlowReader, SlowReaders, Streams,
};
use reports::latency::{Latency, LatencySummary};
use reports::latency_log;
use reports::run::{Command, Fault, FaultKind, Faults, Plan, Run, Summary, Verdict, files};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::fixture::FIRST_UNIX_S;
use crate::run_folder::SMALL;

/// Changes every report in a file of `folder`.
fn change<R: Serialize + DeserializeOwned>(folder: &Path, name: &str, change: impl Fn(&mut R)) {
    let path = folder.join(name);
    let changed = fs::read_to_string(&path).unwrap().lines().fold(String::new(), |all, line| {
        let mut report: R = serde_json::from_str(line).unwrap();
        change(&mut report);
        all + &serde_json::to_string(&report).unwrap() + "\n"
    });
    fs::write(path, changed).unwrap();
}

/// Changes floodtest's reports.
fn flood(folder: &Path, with: impl Fn(&mut FloodReport)) {
    change(folder, files::FLOODTEST, with);
}

/// Sets what a run is expected to show.
fn expect(folder: &Path, expected: &[&str]) {
    let mut plan = Plan::read(folder).unwrap();
    plan.expect = expected.iter().map(|text| (*text).to_owned()).collect();
    plan.write(folder).unwrap();
}

fn small() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    folder
}

fn summary(folder: &Path) -> Summary {
    Run::load(folder).unwrap().summary()
}

/// Delays from `from_us` up, in equal steps.
fn latency(from_us: u64) -> Latency {
    let mut latency = Latency::default();
    (0..1_000).for_each(|at| latency.record_us(from_us + at * 3));
    latency
}

/// The same as they are reported.
fn delays(from_us: u64) -> LatencySummary {
    latency(from_us).summary()
}

/// A storm and a time without the server, all back.
fn settles() -> Vec<Settle> {
    let settle = |cause: &str, at_s, closed, t100_s, failed: ByReason| Settle {
        cause: cause.to_owned(),
        at_s,
        closed,
        back: closed,
        t50_s: Some(t100_s / 2.0),
        t95_s: Some(t100_s * 0.9),
        t100_s: Some(t100_s),
        peak_connects_per_s: closed / 2,
        failed,
        delivery_before: delays(200),
        delivery_during: delays(900),
        delivery_after: delays(210),
    };
    let refused = ByReason::from([("refused".to_owned(), 4_321)]);
    vec![
        settle("storm 50%", 20.0, 1_000, 2.5, ByReason::new()),
        settle("server away", 40.0, 2_000, 9.2, refused),
    ]
}

/// Makes the run one in which connections came back.
fn with_storms(folder: &Path) {
    flood(folder, |it| {
        let (n_storm, n_away) = match it.elapsed_s {
            s if s < 20.0 => (0, 0),
            s if s < 40.0 => (1_000, 0),
            _ => (1_000, 2_000),
        };
        it.closed = n_storm + n_away;
        it.established = it.connected + it.closed;
        it.reopened = it.closed;
        it.failed = if n_away > 0 { 4_321 } else { 0 };
        it.begun = it.established + it.failed;
        it.closures = ByReason::from([("storm".to_owned(), n_storm), ("reset".to_owned(), n_away)]);
        it.failures = ByReason::from([("refused".to_owned(), it.failed)]);
        it.lost_in_gaps = Some(17);
        // Between the moments that reports are made, as they would be.
        if (20.0..23.0).contains(&it.elapsed_s) {
            it.connected = 1_000;
            it.established = 2_000;
        }
        if (40.0..44.0).contains(&it.elapsed_s) {
            it.connected = 0;
            it.established = 3_000;
        }
        if it.is_final {
            it.settles = settles();
        }
    });
    let fault = Fault {
        what: FaultKind::Kill,
        unix_ms: (FIRST_UNIX_S + 43) * 1_000,
        back_unix_ms: Some((FIRST_UNIX_S + 48) * 1_000),
    };
    Faults { faults: vec![fault] }.write(folder).unwrap();
}

#[test]
fn a_run_whose_connections_came_back_holds_and_says_how_fast() {
    let folder = small();
    with_storms(folder.path());
    expect(folder.path(), &["settle.t100<10s", "settle.peak_connects_per_s<2000"]);
    let run = summary(folder.path());
    assert_eq!(run.verdict, Verdict::Held, "{:?}", run.shortfalls);
    let text = run.to_string();
    let line = "server away at 40.0 s: 2,000 closed, 50 % back after 4.60 s, 95 % after 8.28 s, \
                all after 9.20 s; at most 1,000 connects a second, 4,321 failed";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("established = connected + closed"), "{text}");
    let said = "its counts are those since its last start";
    assert!(run.caveats.iter().any(|it| it.contains(said)), "{:?}", run.caveats);
    assert_eq!(run.rates.opened_per_s, None, "what came back is no ramp");
    expect(folder.path(), &["settle.t100<9s"]);
    let short = summary(folder.path());
    assert_eq!(short.shortfalls, ["expected settle.t100<9s, found 9.2s"]);
}

#[test]
fn connections_that_did_not_all_come_back_have_no_time_for_it() {
    let folder = small();
    with_storms(folder.path());
    flood(folder.path(), |it| {
        if let Some(last) = it.settles.last_mut() {
            (last.back, last.t100_s) = (1_999, None);
            (it.connected, it.away, it.closed) = (1_999, 1, it.closed + 1);
            *it.closures.get_mut("reset").unwrap() += 1;
        }
    });
    expect(folder.path(), &["settle.t100<10s"]);
    let run = summary(folder.path());
    assert_eq!(run.verdict, Verdict::FellShort);
    let has = |text: &str| run.shortfalls.iter().any(|it| it.contains(text));
    assert!(has("1,999 of 2,000 connections were open at the end"), "{:?}", run.shortfalls);
    assert!(has("settle.t100: not measured (expected settle.t100<10s)"), "{:?}", run.shortfalls);
    assert!(run.to_string().contains("all after never"), "{run}");
    assert!(run.limited_by().any(|limit| limit.what == "connections"), "{:?}", run.limits);
}

/// What a tool says of itself, with so many microseconds of lateness and a share of a core.
fn own(p99_us: u64, share: f64) -> Own {
    Own {
        lateness: LatencySummary { count: 100, p99_us, ..LatencySummary::default() },
        busiest_thread_share: Some(share),
        asked_per_s: Some(1_000.0),
        achieved_per_s: 999.0,
    }
}

#[test]
fn a_run_judged_by_latency_is_not_valid_where_a_tool_was_the_limit() {
    let folder = small();
    flood(folder.path(), |it| it.own = own(90, 0.12));
    expect(folder.path(), &["delivery_from_due.p99<50ms"]);
    let run = summary(folder.path());
    assert_eq!(run.verdict, Verdict::Held, "{:?}", run.shortfalls);
    let of_floodtest = run.limits.iter().find(|it| it.what == "floodtest itself").unwrap();
    assert_eq!(of_floodtest.is_limit, Some(false));
    let seen = "99 % of the turns of its loop within 0.090 ms; its busiest thread used 12.0 % of \
                one core; 999 of 1,000 connects begun a second";
    assert_eq!(of_floodtest.seen, seen);
    assert!(!run.limits.iter().any(|it| it.what == "msggen itself"), "it says nothing of itself");

    change(folder.path(), files::MSGGEN, |it: &mut SendReport| {
        it.own = own(9_000, 0.99);
        it.limited_by = Some("msggen".to_owned());
    });
    let run = summary(folder.path());
    assert_eq!((run.verdict, run.held()), (Verdict::NotValid, false));
    let why = "not valid: the run was judged by latency, and msggen was the limit, so that what \
               was measured is not the server's";
    assert_eq!(run.shortfalls, [why]);
    assert!(run.to_string().ends_with("verdict: not valid\n"), "{run}");
    flood(folder.path(), |it| it.limited_by = Some("floodtest".to_owned()));
    assert!(summary(folder.path()).shortfalls[0].contains("floodtest and msggen was"));

    // Counts are right however late a tool is: a note is all that is said of it.
    for counted in ["lost=0", "delivery_from_due.count>=6000"] {
        expect(folder.path(), &[counted]);
        let run = summary(folder.path());
        assert_eq!(run.verdict, Verdict::Held, "{counted}: {:?}", run.shortfalls);
        let tools = run.limited_by().filter(|it| it.what.ends_with(" itself")).count();
        assert_eq!(tools, 2, "{:?}", run.limits);
    }
    for judged in
        ["goodput.per_s>1", "gap.p99<1s", "lateness.p99<1s", "msggen.send_from_due.p50<1s"]
    {
        expect(folder.path(), &[judged]);
        assert_eq!(summary(folder.path()).verdict, Verdict::NotValid, "{judged}");
    }
}

/// Makes the run one of streams that end, some of them cut, and of slow readers.
fn with_streams(folder: &Path) {
    for (name, from_us) in [
        (files::FIRST_ITEM_FROM_DUE, 12_000),
        (files::FIRST_ITEM_FROM_SEND, 11_000),
        (files::GAP, 199_000),
    ] {
        let end = Duration::from_mins(1);
        let line = latency_log::line(Duration::ZERO, end, &latency(from_us), &Latency::default());
        let head = latency_log::head(name, Duration::from_secs(FIRST_UNIX_S + 3));
        fs::write(folder.join(name), head + &line).unwrap();
    }
    flood(folder, |it| {
        it.first_item_from_due = delays(12_000);
        it.first_item_from_send = delays(11_000);
        it.gap = delays(199_000);
        it.stream_time = delays(4_000_000);
        it.streams = Some(Streams {
            done: Some(1_990),
            not_done: Some(10),
            counted: Some(Counted {
                field: "usage.completion_tokens".to_owned(),
                total: Some(40_000),
                streams: 1_990,
                streams_without: 10,
                per_s: Some(588.24),
            }),
            goodput: Some(Goodput {
                asked: "first_item_from_due<500ms,gap.p99<300ms".to_owned(),
                met: 1_900,
                of: 2_000,
                per_s: 27.94,
            }),
        });
        let reader = |at: u64, end: &str, after_s| SlowReader {
            url: format!("http://127.0.0.1:8000/test/{at}"),
            bytes_per_s: 0,
            bytes: 2_500_000 + at,
            end: end.to_owned(),
            after_s,
        };
        it.slow_readers = Some(SlowReaders {
            connections: 300,
            open: 1,
            ends: ByReason::from([("reset".to_owned(), 299)]),
            readers: (0..300)
                .map(|at| match at {
                    7 => reader(at, "open", None),
                    _ => reader(at, "reset", Some(3.5 + at as f64)),
                })
                .collect(),
        });
    });
}

#[test]
fn streams_and_slow_readers_are_summed_up_in_the_terminal() {
    let folder = small();
    with_streams(folder.path());
    let run = summary(folder.path());
    let text = run.to_string();
    for line in [
        "streams: 1,990 ended behind their last item, 10 without it",
        "usage.completion_tokens: 40,000, 588 a second, in 1,990 streams; 10 ended without it",
        "goodput: 1,900 of 2,000 streams met first_item_from_due<500ms,gap.p99<300ms: 27.9 a",
        "slow readers: 300, of which 1 open at the end, 299 reset",
        "first_item_from_send         p50 12.5",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    flood(folder.path(), |it| {
        if let Some(counted) = it.streams.as_mut().and_then(|it| it.counted.as_mut()) {
            (counted.total, counted.per_s) = (None, None);
        }
    });
    let text = summary(folder.path()).to_string();
    assert!(text.contains("usage.completion_tokens: never came, in"), "never 0: {text}");
}

/// The folder of a run with storms, and what follows from it.
pub(crate) fn stormy() -> TempDir {
    let folder = small();
    with_storms(folder.path());
    charts::report(folder.path()).unwrap();
    folder
}

/// The folder of a run with streams that end, slow readers, and a tool that was the limit.
pub(crate) fn streaming() -> TempDir {
    let folder = small();
    with_streams(folder.path());
    flood(folder.path(), |it| {
        it.own = own(9_000, 0.99);
        it.limited_by = Some("floodtest".to_owned());
    });
    expect(folder.path(), &["first_item_from_send.p99<500ms"]);
    charts::report(folder.path()).unwrap();
    folder
}

#[test]
fn the_page_says_how_connections_came_back() {
    let folder = stormy();
    let page = fs::read_to_string(folder.path().join(files::REPORT)).unwrap();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text:?} is not in {page}"));
    let order = [
        "2,000 places had 5,000 connections one after another, and 2,000 are open at the end.",
        "17 were sent while their place had no connection.",
        "until all connections were back, at worst",
        "How connections came back",
        "server killed",
        "server away",
        "4,321 refused",
        "Delivery, p50 / p99 in ms",
        "<code>faults.toml</code>",
        "Nothing about clients that read slowly.",
    ];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));
    assert!(folder.path().join("open.png").exists());
    // One that was not back in time has no time for it, and no longest of all either.
    flood(folder.path(), |it| it.settles.iter_mut().for_each(|settle| settle.t100_s = None));
    charts::report(folder.path()).unwrap();
    let page = fs::read_to_string(folder.path().join(files::REPORT)).unwrap();
    assert!(page.contains("<td data-label=\"all back, s\">not all</td>"), "{page}");
}

#[test]
fn the_page_names_the_delays_of_streams_as_the_field_does_and_bounds_slow_readers() {
    let folder = streaming();
    let page = fs::read_to_string(folder.path().join(files::REPORT)).unwrap();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text:?} is not in {page}"));
    let order = [
        "<strong>Not valid</strong>",
        "floodtest itself: ",
        "Streams that end",
        "first_item_from_send (TTFT)",
        "gap (inter-chunk latency)",
        "ended behind the item that --done names",
        "goodput, streams a second",
        "Slow readers",
        "1 of them were open at the end; the others ended: 299 reset.",
        "http://127.0.0.1:8000/test/7</th>",
        "still open",
        "These are the first 40 in the order of the plan.",
    ];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));
    assert!(!page.contains("http://127.0.0.1:8000/test/40<"), "300 rows are no page");
    assert!(folder.path().join("streams.svg").exists());
    assert!(page.contains("first item, from send (TTFT)"), "{page}");
}

/// The page of storms with two back-off windows, and what its figures are.
pub(crate) fn swept(place: &Path) -> (charts::Sweep, String) {
    let windows = [("0", 0.25), ("5s", 2.5)].map(|(window, slower)| {
        let folder = place.join(window);
        fs::create_dir(&folder).unwrap();
        SMALL.write(&folder);
        with_storms(&folder);
        flood(&folder, |it| {
            for settle in &mut it.settles {
                settle.t100_s = settle.t100_s.map(|time_s| time_s * slower);
            }
        });
        charts::Window { window: window.to_owned(), folder }
    });
    let page = place.join("sweep.html");
    let line = "rig storm --sweep backoff=0,5s".to_owned();
    let command = Command { program: "rig".to_owned(), line };
    let sweep = charts::sweep(&windows, command, &page).unwrap();
    (sweep, fs::read_to_string(page).unwrap())
}

#[test]
fn windows_side_by_side_say_how_fast_all_were_back_in_each() {
    let place = tempfile::tempdir().unwrap();
    let (sweep, page) = swept(place.path());
    assert!(sweep.held(), "{sweep}");
    let text = sweep.to_string();
    for line in [
        "0: held\n  storm 50%      50 % back after 1.25 s, 95 % after 2.25 s, all after 0.62 s;",
        "5s: held",
        "server away    50 % back after 4.60 s, 95 % after 8.28 s, all after 23.00 s; 1,000",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for words in ["After: storm 50%", "After: server away", "Back-off window", "5s/report.html"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for name in ["sweep.svg", "sweep.png", "sweep.2.svg", "sweep.2.png"] {
        assert!(place.path().join(name).exists(), "{name}");
    }
}

/// The page of a small run on two hosts, one of which was lost, after `with`.
fn page_of_hosts(with: impl Fn(&mut FloodReport)) -> String {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    let clock = Some(ClockReport { bound_us: 240, ..ClockReport::default() });
    let host = |name: &str, p99_us| HostReport {
        host: name.to_owned(),
        clock,
        delivery_from_due: LatencySummary {
            count: 9,
            p50_us: 200,
            p99_us,
            ..LatencySummary::default()
        },
        ..HostReport::default()
    };
    flood(folder.path(), |it| {
        let why = "b: nothing came from it for 8 s".to_owned();
        let b = HostReport { lost_why: Some(why), unknown: 7, ..host("b", 9_000) };
        it.hosts = vec![host("a", 300), b];
        it.clock_bound_us = Some(250);
        with(it);
    });
    charts::report(folder.path()).unwrap();
    fs::read_to_string(folder.path().join(files::REPORT)).unwrap()
}

#[test]
fn the_page_has_each_host_and_the_bound_of_the_clocks_beside_delays() {
    let page = page_of_hosts(|_| {});
    for text in [
        "<h2>Hosts</h2>",
        "unknown / 0.300",
        "unknown / 9.000",
        "<td data-label=\"clock within, ms\">0.240</td>",
        "<strong>Lost </strong>b: nothing came from it for 8 s.",
        "each delay of delivery may be wrong by 0.250 ms in either direction",
        ", ± 0.250 ms by the clocks of the hosts",
    ] {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
    assert!(!page.contains("with one clock"), "{page}");
}

#[test]
fn the_page_shows_no_delays_by_a_clock_that_nobody_knows() {
    let note = "latencies are unknown: sender 0badcafe did not announce themselves";
    let page = page_of_hosts(|it| {
        it.delivery_from_due = LatencySummary::unknown();
        it.delivery_from_send = LatencySummary::unknown();
        it.notes = vec![note.to_owned()];
    });
    assert!(page.contains(&format!("<p>{note}.</p>")), "{page}");
    assert!(!page.contains("Delivery latency by percentile"), "{page}");
}
