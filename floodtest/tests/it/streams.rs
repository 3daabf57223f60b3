//! Streams that end: what is measured of each, and which of them were as they should be.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use reports::books::FloodReport;
use reports::latency_log;
use reports::stamp::as_us;
use rustix::process::Signal;

use crate::support::{Server, UrlFile, chunk, hold, run, send, start, start_limited};

/// The head of an event stream that its last chunk ends.
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

/// What ends it.
const LAST: &str = "0\r\n\r\n";

/// An event with this data, as a chunk.
fn event(data: &str) -> String {
    chunk(&format!("data: {data}\n\n"))
}

/// How long a server of these tests waits where it is to be seen that it does, in seconds.
const PAUSE_S: f64 = 0.3;

/// Seconds in microseconds.
fn us(seconds: f64) -> u64 {
    as_us(Duration::from_secs_f64(seconds))
}

/// A server of one connection that goes on when it is told to, and who tells it.
fn told(
    script: impl Fn(&mut TcpStream, &dyn Fn()) + Send + Sync + 'static,
) -> (Server, Sender<()>) {
    let (teller, told): (Sender<()>, Receiver<()>) = channel();
    let told = Mutex::new(told);
    let server = Server::start(move |_, stream| {
        script(stream, &|| told.lock().unwrap().recv().unwrap());
    });
    (server, teller)
}

#[test]
fn the_first_item_the_gaps_and_the_end_are_measured_each_from_its_beginning() {
    let (server, teller) = told(|stream, wait| {
        send(stream, EVENTS);
        wait();
        // Two in one write come in one read, or nearly.
        send(stream, &[event("a"), event("b")].concat());
        wait();
        send(stream, &event("c"));
        wait();
        send(stream, LAST);
    });
    let urls = server.urls(1);
    let args = ["--urls", urls.path(), "--json", "--report", "10ms", "--ends", "ok"];
    let mut running = start(&args);
    let mut after = |n_items: u64| {
        let came = running.wait_for(|report| report.items == n_items && report.connected == 1);
        let waited = running.wait_for(|report| report.elapsed_s >= came.elapsed_s + PAUSE_S);
        teller.send(()).unwrap();
        // By the clock of floodtest: so long there was nothing, and when that was over.
        (us(waited.elapsed_s - came.elapsed_s), us(waited.elapsed_s))
    };
    let first = after(0);
    let (pause_us, ended_us) = (after(2).0, after(3));
    let report = running.end().with_code(0).report();
    let FloodReport { first_item_from_due, first_item_from_send, gap, stream_time, .. } = &report;
    let counts = [first_item_from_due, first_item_from_send, stream_time].map(|it| it.count);
    assert_eq!((counts, gap.count), ([1, 1, 1], 2), "{report:?}");
    // Rounded to 10 µs at both ends, and a report is not of the very moment.
    let slack_us = 1_000;
    assert!(first_item_from_due.max_us >= first.1, "{report:?}");
    assert!(first_item_from_send.max_us + slack_us >= first.0, "{report:?}");
    assert!(first_item_from_send.max_us <= first_item_from_due.max_us + 10, "{report:?}");
    assert!(gap.max_us >= pause_us, "{report:?}");
    assert!(gap.p50_us < pause_us / 2, "the two that came together: {report:?}");
    assert!(stream_time.max_us + slack_us >= ended_us.0 + pause_us + first.0, "{report:?}");
    assert!(stream_time.max_us as f64 <= report.elapsed_s * 1e6, "{report:?}");
    assert_eq!(report.streams, None, "nothing of it was asked for");
}

#[test]
fn what_nobody_asks_for_is_not_measured() {
    let body = [event("a"), event("b")].concat();
    let server = Server::holding(format!("{EVENTS}{body}"));
    let urls = server.urls(2);
    let args = ["--urls", urls.path(), "--json", "--rate", "max", "--report", "10ms"];
    for (more, n_first) in [
        (&[][..], 0),
        (&["--gaps"], 2),
        (&["--ends", "expected"], 2),
        (&["--goodput", "gap.max<1h"], 2),
        (&["--expect", "gap.max<1h"], 2),
    ] {
        let mut running = start(&[&args[..], more].concat());
        running.wait_for(|report| report.items == 4);
        running.signal(Signal::INT);
        let report = running.end().report();
        let counts = (report.first_item_from_due.count, report.gap.count);
        assert_eq!(counts, (n_first, n_first), "{more:?}");
    }
}

#[test]
fn a_server_that_stands_still_is_seen_from_when_connections_were_due() {
    // Nobody is answered before all are there.
    let n = 10;
    let (teller, told) = channel::<()>();
    let told = Mutex::new(told);
    let server = Server::start(move |_, stream| {
        told.lock().unwrap().recv().unwrap();
        send(stream, &[EVENTS, &event("a"), LAST].concat());
    });
    let urls = server.urls(n);
    let args = ["--urls", urls.path(), "--rate", "1000", "--json", "--report", "10ms"];
    let mut running = start(&[&args[..], &["--ends", "expected"]].concat());
    let begun = running.wait_for(|report| report.begun == n);
    let waited = running.wait_for(|report| report.elapsed_s >= begun.elapsed_s + PAUSE_S);
    for _ in 0..n {
        teller.send(()).unwrap();
    }
    let report = running.end().with_code(0).report();
    let least_us = us(waited.elapsed_s - 0.01);
    assert_eq!(report.first_item_from_due.count, n, "{report:?}");
    // The last one was due 9 ms after the start.
    assert!(report.first_item_from_due.max_us >= least_us, "{report:?}");
    assert!(report.first_item_from_due.p50_us >= least_us - 10_000, "{report:?}");
    assert_eq!(report.ended, n);
}

/// What a server of language models sends for each id, and how that ends.
fn answer(id: usize, stream: &mut TcpStream) {
    let tokens = |n| format!("{{\"choices\":[],\"usage\":{{\"completion_tokens\":{n}}}}}");
    let token = event("{\"choices\":[{\"delta\":\"x\"}],\"usage\":null}");
    let done = event("[DONE]");
    match id {
        1 => send(stream, &[EVENTS, &token, &event(&tokens(7)), &done, LAST].concat()),
        // In order, but without the item that it is to end with; it counts as it goes on.
        2 => send(stream, &[EVENTS, &event(&tokens(2)), &event(&tokens(3)), LAST].concat()),
        3 => send(stream, &[EVENTS, &token, &done].concat()),
        4 => send(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        // Cut wherever a read may cut it.
        _ => {
            let all = [EVENTS, &token, &event(&tokens(9)), &done, LAST].concat();
            for byte in all.chars() {
                send(stream, &byte.to_string());
            }
        }
    }
}

#[test]
fn streams_are_done_counted_and_good_as_their_items_say() {
    let server = Server::start_by_id(answer);
    let urls = server.urls(5);
    let args = ["--urls", urls.path(), "--json", "--profile", "llm"];
    let goodput = ["--goodput", "first_item_from_due<1h,gap.p99<1h,gap.max<1h,stream_time<1h"];
    let ended = run(&[&args[..], &goodput].concat()).with_code(1);
    let ended = ended
        .saying("1 of 5 connections failed: 1 status 503")
        .saying("1 streams ended without the item of --done")
        .saying(
            "--profile stands for --stream events --ends ok --done '[DONE]' --count \
             usage.completion_tokens; flags that are given win",
        );
    let report = ended.report();
    let streams = report.streams.as_ref().unwrap();
    assert_eq!((streams.done, streams.not_done), (Some(2), Some(1)), "{streams:?}");
    let counted = streams.counted.as_ref().unwrap();
    assert_eq!(counted.field, "usage.completion_tokens");
    let found = (counted.total, counted.streams, counted.streams_without);
    assert_eq!(found, (Some(7 + 3 + 9), 3, 1), "{counted:?}");
    assert!(counted.per_s.unwrap() > 0.0);
    let goodput = streams.goodput.as_ref().unwrap();
    assert_eq!((goodput.met, goodput.of), (2, 5), "{goodput:?}");
    assert!(goodput.per_s > 0.0 && goodput.asked.contains("gap.p99<1h"));
    assert_eq!((report.stream_time.count, report.first_item_from_due.count), (3, 4));
}

#[test]
fn a_bound_that_no_stream_meets_is_met_by_none() {
    let server = Server::start_by_id(answer);
    let urls = UrlFile::of(&format!("http://{}/test/1", server.address));
    let args = ["--urls", urls.path(), "--json", "--ends", "ok"];
    for goodput in ["first_item_from_send<1ns", "stream_time<=0s", "first_item_from_due<0s"] {
        let report = run(&[&args[..], &["--goodput", goodput]].concat()).with_code(0).report();
        let goodput = report.streams.unwrap().goodput.unwrap();
        assert_eq!((goodput.met, goodput.of), (0, 1), "{goodput:?}");
    }
    let expect = ["--goodput", "stream_time<1h", "--expect", "streams.goodput.met=1,gap.max<1h"];
    run(&[&args[..], &expect].concat()).with_code(0);
}

#[test]
fn a_field_that_never_comes_is_said_and_is_not_0() {
    let server = Server::saying([EVENTS, &event("{\"n\":\"?\"}"), LAST].concat());
    let urls = server.urls(2);
    let args = ["--urls", urls.path(), "--json", "--ends", "ok", "--count", "n"];
    let report = run(&args).with_code(0).report();
    let counted = report.streams.as_ref().unwrap().counted.clone().unwrap();
    assert_eq!((counted.total, counted.per_s, counted.streams_without), (None, None, 2));
    let note = "no item had a whole number in the field \"n\" of --count";
    assert!(report.notes.iter().any(|it| it.starts_with(note)), "{report:?}");
    run(&[&args[..], &["--expect", "streams.counted.total>=0"]].concat())
        .with_code(1)
        .saying("streams.counted.total: the field never came (expected streams.counted.total>=0)");
}

#[test]
fn the_item_that_ends_a_stream_may_be_of_any_kind() {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let ndjson = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n";
    let other = "HTTP/1.1 200 OK\r\n";
    let long = "x".repeat(70_000);
    for (body, n_done, n_not_done) in [
        (format!("{ndjson}{chunked}{}{LAST}", chunk("{\"n\":1}\n end \r\n")), 1, 0),
        // The last line of a body that is complete needs no line feed.
        (format!("{ndjson}\r\n{{\"n\":1}}\nend"), 1, 0),
        (format!("{ndjson}\r\n{{\"n\":1}}\nthe end\n"), 0, 1),
        (format!("{other}{chunked}{}{}{LAST}", chunk("{\"n\":1}"), chunk("end")), 1, 0),
        (format!("{other}{chunked}{}{LAST}", chunk("{\"n\":1}end")), 0, 1),
        (format!("{EVENTS}{}{}{LAST}", event("end"), event("{\"n\":1}")), 1, 0),
        (format!("{EVENTS}{}{}{LAST}", event(&long), event("end")), 1, 0),
    ] {
        let server = Server::saying(body.clone());
        let urls = server.urls(1);
        let args = ["--urls", urls.path(), "--json", "--ends", "ok", "--done", "end"];
        let report = run(&[&args[..], &["--count", "n"]].concat()).report();
        let streams = report.streams.clone().unwrap();
        let is_long = body.contains("xxx");
        let what = &body[..200.min(body.len())];
        assert_eq!((streams.done, streams.not_done), (Some(n_done), Some(n_not_done)), "{what}");
        let too_long = "1 items were longer than 64 KiB and were not looked into for --done";
        let is_said = report.notes.iter().any(|note| note.starts_with(too_long));
        assert_eq!(is_said, is_long, "{report:?}");
        let total = if is_long || body.contains("}end") { None } else { Some(1) };
        assert_eq!(streams.counted.unwrap().total, total, "{what}");
    }
}

#[test]
fn the_counts_of_workers_are_added_up_and_the_logs_have_every_delay() {
    let n: u64 = 60;
    let server = Server::start_by_id(|id, stream| {
        let mut text = EVENTS.to_owned();
        for k in 1..=id {
            write!(text, "{}", event(&format!("{{\"n\":{k}}}"))).unwrap();
        }
        send(stream, &[&text, LAST].concat());
    });
    let urls = server.urls(n);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let args = ["--urls", urls.path(), "--rate", "1000", "--json", "--ends", "expected"];
    let more = ["--count", "n", "--out", out.to_str().unwrap(), "--goodput", "gap.p50<1h"];
    let report = start_limited(100, &[&args[..], &more].concat()).end().with_code(0).report();
    let sum = n * (n + 1) / 2;
    let streams = report.streams.as_ref().unwrap();
    let counted = streams.counted.as_ref().unwrap();
    assert_eq!((counted.total, counted.streams), (Some(sum), n));
    let goodput = streams.goodput.as_ref().unwrap();
    assert_eq!((goodput.met, goodput.of), (n, n));
    assert_eq!((report.items, report.gap.count), (sum, sum - n));
    for (name, of_report) in [
        ("first_item_from_due", &report.first_item_from_due),
        ("first_item_from_send", &report.first_item_from_send),
        ("gap", &report.gap),
        ("stream_time", &report.stream_time),
    ] {
        let log = fs::read(out.join(format!("floodtest-{name}.hlog"))).unwrap();
        let intervals = latency_log::read(&log).unwrap();
        let count: u64 = intervals.iter().map(|it| it.latency.count()).sum();
        assert_eq!(count, of_report.count, "{name}");
    }
    assert_eq!(report.first_item_from_send.count, n);
    assert_eq!(report.stream_time.count, n);
}

#[test]
fn a_stream_that_goes_on_at_the_end_is_neither_good_nor_bad() {
    let server = Server::start_by_id(|id, stream| {
        send(stream, &[EVENTS, &event("{\"n\":5}")].concat());
        if id == 1 {
            send(stream, LAST);
        } else {
            hold(stream);
        }
    });
    let urls = server.urls(3);
    let args = ["--urls", urls.path(), "--json", "--report", "10ms", "--rate", "max"];
    let more = ["--ends", "ok", "--count", "n", "--goodput", "stream_time<1h", "--done", "end"];
    let mut running = start(&[&args[..], &more].concat());
    running.wait_for(|report| report.items == 3 && report.closed == 1);
    running.signal(Signal::INT);
    let report = running.end().with_code(1).report();
    let streams = report.streams.unwrap();
    assert_eq!((streams.done, streams.not_done), (Some(0), Some(1)));
    let goodput = streams.goodput.unwrap();
    assert_eq!((goodput.met, goodput.of), (0, 1), "{goodput:?}");
    // What it has counted so far was sent, whatever comes.
    let counted = streams.counted.unwrap();
    assert_eq!((counted.total, counted.streams_without), (Some(15), 0));
}

#[test]
fn each_connection_of_a_place_is_a_stream_of_its_own() {
    // Every one counts for itself, and those that we close are no streams that have ended.
    let server = Server::start(|k, stream| {
        send(stream, &[EVENTS, &event("{\"n\":5}")].concat());
        if k < 20 {
            send(stream, &[&event("end"), LAST].concat());
        } else {
            hold(stream);
        }
    });
    let urls = server.urls(2);
    let args = ["--urls", urls.path(), "--json", "--report", "10ms", "--rate", "max"];
    let more = ["--reopen", "at-once", "--lifetime", "300ms", "--count", "n", "--done", "end"];
    let goodput = ["--ends", "ok", "--goodput", "stream_time<1h"];
    let mut running = start(&[&args[..], &more, &goodput].concat());
    running.wait_for(|report| report.closures.get("lifetime").is_some_and(|n| *n >= 4));
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    let streams = report.streams.unwrap();
    assert_eq!((streams.done, streams.not_done), (Some(20), Some(0)), "{streams:?}");
    let goodput = streams.goodput.unwrap();
    assert_eq!((goodput.met, goodput.of), (20, 20), "{goodput:?}");
    let counted = streams.counted.unwrap();
    let n = counted.streams;
    assert_eq!(counted.total, Some(5 * n), "{counted:?}");
    assert!(n >= 24 && n <= report.established, "{counted:?}");
    assert_eq!(report.first_item_from_due.count, report.first_item_from_send.count);
    assert_eq!((report.gap.count, report.stream_time.count), (20, 20));
    let most_us = us(report.elapsed_s);
    assert!(report.first_item_from_due.max_us <= most_us, "{:?}", report.first_item_from_due);
}
