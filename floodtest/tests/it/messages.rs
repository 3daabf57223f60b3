//! Every message is accounted for, and its latency measured.

use std::fs;
use std::time::{Duration, Instant};

use reports::books::FloodReport;
use reports::latency::Latency;
use reports::latency_log;
use reports::stamp::{Clock, Stamp};
use rustix::process::Signal;

use crate::support::{OUR_HEAD, Server, chunk, hold, messages, run, send, start};

#[test]
fn lost_duplicated_and_reordered_are_counted_exactly() {
    let server = Server::start(|k, stream| {
        let numbers: &[u64] = match k {
            0 => &[1, 2, 4, 5],       // 3 is lost
            1 => &[1, 2, 2, 3, 1],    // 2 and 1 come twice
            2 => &[2, 1, 3, 5, 4],    // 1 and 4 come late
            3 => &[3, 4],             // 1 and 2 are lost
            _ => &[1, 2, 3, 4, 5, 6], // nothing to complain about
        };
        send(stream, &format!("{OUR_HEAD}{}0\r\n\r\n", messages(numbers)));
    });
    let urls = server.urls(5);
    let report = run(&["--urls", urls.path(), "--json"])
        .with_code(1)
        .saying("3 messages lost")
        .saying("2 messages duplicated")
        .saying("2 messages reordered")
        .report();
    assert_eq!(
        (report.lost.unwrap(), report.duplicated.unwrap(), report.reordered.unwrap()),
        (3, 2, 2)
    );
    assert_eq!((report.chunks, report.unnumbered), (22, 0));
}

#[test]
fn the_connections_with_the_most_faults_are_named_open_or_closed() {
    let server = Server::start_by_id(|id, stream| {
        let numbers: &[u64] = match id {
            2 => &[1, 2, 6, 7],    // three gaps, open at the end
            3 => &[1, 2, 2, 3],    // one twice
            4 => &[1, 4, 3, 5, 3], // one lost, one late, one twice; and closed
            _ => &[1, 2, 3, 4],
        };
        send(stream, &format!("{OUR_HEAD}{}", messages(numbers)));
        if id != 4 {
            hold(stream);
        }
    });
    let urls = server.urls(5);
    let mut running =
        start(&["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"]);
    running.wait_for(|report| report.chunks == 21 && report.closed == 1);
    running.signal(Signal::INT);
    let report = running.end().with_code(1).report();
    let worst: Vec<_> = report.worst.iter().map(|it| (it.url.as_str(), it.faults)).collect();
    let urls: Vec<_> = (1..=5).map(|id| format!("http://{}/test/{id}", server.address)).collect();
    let expected = [(urls[1].as_str(), 3), (urls[3].as_str(), 3), (urls[2].as_str(), 1)];
    assert_eq!(worst, expected);
    assert_eq!(
        (report.lost.unwrap(), report.duplicated.unwrap(), report.reordered.unwrap()),
        (4, 2, 1)
    );
}

#[test]
fn a_server_of_events_is_asked_for_them_and_counted_by_their_ids() {
    let head = "HTTP/1.1 200 OK\r\nServer: other/1\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: text/event-stream\r\n\r\n";
    let events = "id: 5\ndata: #1\n\n: ping\n\nid: 8\ndata: #2\n\ndata: #3\n\n";
    // Cut anywhere, as proxies do.
    let events: String = [&events[..3], &events[3..20], &events[20..]].map(chunk).concat();
    let server = Server::saying(format!("{head}{events}0\r\n\r\n"));
    let urls = server.urls(1);
    let flags = ["--sse", "--json", "--sequence", "event-id", "--numbers", "consecutive"];
    let report = run(&[&["--urls", urls.path()], &flags[..]].concat()).with_code(1).report();
    assert_eq!((report.chunks, report.items, report.comments), (3, 3, 1));
    assert_eq!((report.unnumbered, report.messages, report.lost), (1, 2, Some(2)));
    assert!(server.requests()[0].text.contains("\r\nAccept: text/event-stream\r\n"));
}

#[test]
fn the_first_number_of_a_foreign_server_is_its_base() {
    let head = "HTTP/1.1 200 OK\r\nServer: other/1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let server = Server::saying(format!("{head}{}{}", messages(&[17, 18, 20]), chunk("no number")));
    let urls = server.urls(1);
    let flags = ["--json", "--sequence", "msg #([0-9]+)", "--numbers", "consecutive"];
    let report = run(&[&["--urls", urls.path()], &flags[..]].concat()).with_code(1).report();
    assert_eq!((report.lost, report.messages, report.chunks), (Some(1), 3, 4));
}

#[test]
fn stamped_messages_give_both_latencies() {
    let server = Server::start(|_, stream| {
        let clock = Clock::start();
        let now_unix_us = clock.unix_us(Instant::now());
        let hour_us = Duration::from_hours(1).as_micros().try_into().unwrap();
        let stamps = [
            Stamp { due_unix_us: now_unix_us - hour_us, late_us: hour_us, mark: None },
            Stamp { due_unix_us: now_unix_us + hour_us, late_us: 0, mark: None },
        ];
        send(stream, OUR_HEAD);
        for (n, stamp) in stamps.iter().enumerate() {
            send(stream, &chunk(&format!("Recvd msg #{}: 'x{stamp}'<br/>", n + 1)));
        }
        send(stream, &messages(&[3]));
        send(stream, "0\r\n\r\n");
    });
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(1).report();
    let (delivery, raw) = (&report.delivery_from_due, &report.delivery_from_send);
    assert_eq!((delivery.count, delivery.negative), (2, 2), "{report:?}");
    assert_eq!((raw.count, raw.negative), (2, 2), "{report:?}");
    assert!(delivery.max_us >= 3_600_000_000, "{report:?}");
    assert!(raw.max_us < 10_000_000, "{report:?}");
}

#[test]
fn the_logs_hold_every_report_and_all_delays() {
    let server = Server::start(|_, stream| {
        let due_unix_us = Clock::start().unix_us(Instant::now()) - 5_000;
        let stamp = Stamp { due_unix_us, late_us: 5_000, mark: None };
        send(stream, &format!("{OUR_HEAD}{}0\r\n\r\n", chunk(&format!("#1 x{stamp}"))));
    });
    let urls = server.urls(7);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let out = path.to_str().unwrap();
    let flags = ["--urls", urls.path(), "--json", "--rate", "10"];
    let with_logs = [&flags[..], &["--out", out, "--log-interval", "20ms"]].concat();
    let report = run(&with_logs).with_code(1).report();
    let logged = fs::read_to_string(path.join("floodtest.ndjson")).unwrap();
    let logged: Vec<FloodReport> =
        logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(logged.last(), Some(&report));
    assert!(logged.len() > 2 && logged.is_sorted_by_key(|report| report.chunks), "{logged:?}");
    let total = |name: &str| {
        let mut total = Latency::default();
        let log = latency_log::read(&fs::read(path.join(name)).unwrap()).unwrap();
        for interval in log {
            total.merge(&interval.latency);
        }
        total.summary()
    };
    let (due, actual) =
        (total("floodtest-delivery_from_due.hlog"), total("floodtest-delivery_from_send.hlog"));
    assert_eq!((due.count, due.p50_us), (7, report.delivery_from_due.p50_us));
    assert_eq!((actual.count, actual.p50_us), (7, report.delivery_from_send.p50_us));
    assert!(due.p50_us >= 5_000 && actual.p50_us < due.p50_us, "{due} {actual}");
    // A second run must not mix its figures into those of the first.
    run(&with_logs).with_code(2).mentioning("floodtest.ndjson exists already; name another folder");
}
