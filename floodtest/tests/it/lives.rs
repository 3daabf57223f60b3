//! Places that have one connection after the other: what follows an end, whose books are whose, and
//! what becomes of messages in between.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use reports::books::FloodReport;
use reports::sent::{End, Header, IdLine};
use reports::stamp::{Mark, Sender, Stamp};
use rustix::process::Signal;

use crate::support::{
    OUR_HEAD, Running, Server, UrlFile, chunk, deserted_address, hold, messages, run, send, start,
    start_limited,
};

/// A head after which the body lasts until the close.
const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: other/1\r\n\r\n";

/// The head of an event stream.
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// Whose stamps the tests have.
const SENDER: Sender = Sender(0x0bad_cafe);

/// A message with the stamp of number `n` to an id.
fn stamped(id: u64, n: u64) -> String {
    let mark = Some(Mark { id, n, sender: SENDER });
    format!("hello{} ", Stamp { due_unix_us: 5, late_us: 0, mark })
}

/// Messages with these stamps.
fn all_stamped(id: u64, numbers: &[u64]) -> String {
    numbers.iter().map(|n| stamped(id, *n)).collect()
}

/// The id in a request of `GET /test/{id}`.
fn id_of(request: &str) -> usize {
    request.strip_prefix("GET /test/").unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// A server whose script knows which connection of an id, from 0 on, one is, and its request.
fn server(script: impl Fn(usize, usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    server_on(listener, script)
}

/// The same behind a listener that is there already.
fn server_on(
    listener: TcpListener,
    script: impl Fn(usize, usize, &str, &mut TcpStream) + Send + Sync + 'static,
) -> Server {
    let lives = Mutex::new(std::collections::HashMap::<usize, usize>::new());
    Server::start_on_requests(listener, move |request, stream| {
        let id = id_of(request);
        let life = {
            let mut lives = lives.lock().unwrap();
            let life = lives.entry(id).or_default();
            *life += 1;
            *life - 1
        };
        script(id, life, request, stream);
    })
}

/// Begins a run on `urls` with these flags, which reports often.
fn begin(urls: &UrlFile, flags: &[&str]) -> Running {
    start(
        &[&["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"], flags].concat(),
    )
}

/// Requires that no connection is counted twice, or not at all.
#[track_caller]
fn balanced(report: &FloodReport) {
    let FloodReport { begun, established, failed, connected, closed, .. } = report;
    let n_opening = begun - established - failed;
    assert_eq!(*established, connected + closed, "{report:?}");
    assert_eq!(report.failures.values().sum::<u64>(), *failed, "{report:?}");
    assert_eq!(report.closures.values().sum::<u64>(), *closed, "{report:?}");
    assert!(connected + report.away + n_opening <= report.places_begun, "{report:?}");
}

#[test]
fn a_place_gets_its_next_connection_when_one_has_ended() {
    let server = server(|_, life, _, stream| {
        send(stream, &format!("{OUR_HEAD}{}", messages(&[1, 2])));
        if life > 0 {
            hold(stream);
        }
    });
    let urls = server.urls(5);
    for reopen in ["at-once", "after:20ms", "backoff:1ms..20ms"] {
        let mut running = begin(&urls, &["--reopen", reopen]);
        let there = |report: &FloodReport| report.connected == 5 && report.away == 0;
        running.wait_for(|report| there(report) && report.chunks >= 10);
        running.signal(Signal::INT);
        let report = running.end().with_code(0).report();
        balanced(&report);
        assert_eq!((report.asked, report.places_begun, report.connected), (5, 5, 5));
        assert_eq!(report.begun, report.established, "{report:?}");
        assert_eq!(report.reopened, report.established - 5);
        // The server's numbers begin again with each connection, and are judged so.
        let FloodReport { lost, duplicated, reordered, too_old, .. } = report;
        assert_eq!((lost, duplicated, reordered, too_old), (Some(0), Some(0), Some(0), 0));
        assert_eq!(report.messages, 2 * report.established);
    }
}

#[test]
fn messages_sent_in_between_are_apart_from_lost_ones() {
    let server = server(|id, life, _, stream| {
        let id = id as u64;
        let text = match life {
            0 => all_stamped(id, &[1, 2, 4, 5]),
            1 => all_stamped(id, &[8, 9]) + &all_stamped(id + 100, &[1]),
            _ => all_stamped(id + 100, &[4, 5, 7]),
        };
        send(stream, &format!("{HEAD}{text}"));
        if life == 2 {
            hold(stream);
        }
    });
    let urls = server.urls(3);
    let mut running = begin(&urls, &["--reopen", "at-once"]);
    running.wait_for(|report| report.connected == 3 && report.messages == 30);
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    let report = ended.report();
    balanced(&report);
    // 3 is lost, and so is 6 of the other series; 6 and 7, 2 and 3 are in gaps.
    assert_eq!((report.lost, report.lost_in_gaps), (Some(6), Some(12)), "{report:?}");
    assert_eq!((report.duplicated, report.reordered), (Some(0), Some(0)));
    assert_eq!((report.heard, report.unheard), (3, 0), "{report:?}");
    ended.saying("6 messages lost");
}

#[test]
fn a_stream_is_resumed_and_what_it_brings_again_is_no_duplicate() {
    let server = server(|id, life, request, stream| {
        let event = |n: u64| format!("id: e-{id}-{n}\ndata: {}\n\n", stamped(id as u64, n));
        let events = |numbers: &[u64]| numbers.iter().map(|n| event(*n)).collect::<String>();
        // The id of an event that is cut off does not count.
        let cut = "id: never\ndata: x";
        if life == 0 {
            return send(stream, &format!("{EVENTS}retry: 1\n\n{}{cut}", events(&[1, 2, 3])));
        }
        let line = format!("Last-Event-ID: e-{id}-3\r\n");
        assert!(request.contains(&line), "{request}");
        send(stream, &format!("{EVENTS}{}", events(&[2, 3, 4, 5])));
        hold(stream);
    });
    let urls = server.urls(3);
    let mut running = begin(&urls, &["--reopen", "server"]);
    running.wait_for(|report| report.connected == 3 && report.messages == 15);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    balanced(&report);
    assert_eq!((report.resumed, report.replayed, report.duplicated), (3, 6, Some(0)));
    assert_eq!((report.lost, report.lost_in_gaps), (Some(0), Some(0)));
}

#[test]
fn a_server_says_when_to_come_back() {
    let server = server(|id, life, _, stream| match (id, life) {
        (1, _) => send(stream, &format!("{EVENTS}retry: 1\n\n")),
        (2, _) => send(stream, &format!("{EVENTS}retry: 86400000\n\n")),
        _ => send(stream, "HTTP/1.1 503 Busy\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n"),
    });
    let urls = server.urls(3);
    let mut running = begin(&urls, &["--reopen", "server"]);
    // With the wait of browsers, the others would be back ten times by then.
    let report = running.wait_for(|report| report.reopened >= 30);
    assert_eq!((report.failed, report.failures["status 503"]), (1, 1), "{report:?}");
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    balanced(&ended.report());
    ended.mentioning("places had no connection when it ended");
}

#[test]
fn a_connect_that_fails_is_tried_again() {
    let address = deserted_address();
    let urls = UrlFile::of(&format!("http://{address}/test/1"));
    let mut running = begin(&urls, &["--reopen", "backoff:1ms..5ms"]);
    running.wait_for(|report| report.failed >= 5);
    let listener = TcpListener::bind(address).unwrap();
    let _server = server_on(listener, |_, _, _, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    running.wait_for(|report| report.connected == 1);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    balanced(&report);
    assert_eq!((report.established, report.reopened), (1, 0), "it was the first of its place");
}

#[test]
fn a_lifetime_ends_and_begins_anew() {
    let ended = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&ended);
    let server = server(move |_, _, _, stream| {
        send(stream, OUR_HEAD);
        // Whoever is closed in order reads an end, and no error.
        if matches!(stream.read(&mut [0; 16]), Ok(0)) {
            *seen.lock().unwrap() += 1;
        }
    });
    let urls = server.urls(4);
    let mut running = begin(&urls, &["--lifetime", "uniform:1ms..20ms"]);
    running.wait_for(|report| report.reopened >= 40);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    balanced(&report);
    assert_eq!(report.closures.keys().collect::<Vec<_>>(), ["lifetime"]);
    assert_eq!((report.failed, report.asked, report.places_begun), (0, 4, 4));
    // One without a head when the run ended was closed as well, and its server may have seen that.
    let may_end = report.established..=report.begun;
    crate::support::wait_until("all ends are seen", || may_end.contains(&*ended.lock().unwrap()));
}

/// A run with one storm, and the ids whose second connection came.
fn storm(flags: &[&str], n: u64) -> (FloodReport, BTreeSet<usize>) {
    let back = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&back);
    let server = server(move |id, life, _, stream| {
        if life > 0 {
            seen.lock().unwrap().insert(id);
        }
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(n);
    let mut running = begin(&urls, &[&["--reopen", "backoff:5ms..20ms"], flags].concat());
    running.wait_for(|report| report.connected == n && report.reopened == n / 2);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    let back = back.lock().unwrap().clone();
    (report, back)
}

#[test]
fn a_storm_closes_its_part_and_all_come_back() {
    let (report, first) = storm(&["--storm", "500ms:50%"], 20);
    balanced(&report);
    assert_eq!((report.closures["storm"], report.closed, report.failed), (10, 10, 0));
    let [settle] = &report.settles[..] else { panic!("there is one storm: {report:?}") };
    assert_eq!((settle.cause.as_str(), settle.at_s), ("storm 50%", 0.5));
    assert_eq!((settle.closed, settle.back, settle.peak_connects_per_s), (10, 10, 10));
    let (t50, t95, t100) = (settle.t50_s.unwrap(), settle.t95_s.unwrap(), settle.t100_s.unwrap());
    assert!(t50 <= t95 && t95 <= t100, "{settle:?}");
    assert_eq!(first.len(), 10);
    // Chance is the same again, and not with another seed.
    let (_, again) = storm(&["--storm", "500ms:50%:reset"], 20);
    assert_eq!(first, again);
    let (_, other) = storm(&["--storm", "500ms:50%", "--seed", "1"], 20);
    assert_ne!(first, other);
}

#[test]
fn a_server_that_is_away_is_noticed_and_all_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It takes ten, ends them all when it is told to, and is gone.
    let (end, is_ended) = std::sync::mpsc::channel::<()>();
    let first = std::thread::spawn(move || {
        let mut streams: Vec<TcpStream> = Vec::new();
        for _ in 0..10 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            send(&mut stream, OUR_HEAD);
            streams.push(stream);
        }
        is_ended.recv().unwrap();
    });
    let text: Vec<String> = (1..=10).map(|id| format!("http://{address}/test/{id}")).collect();
    let urls = UrlFile::of(&text.join("\n"));
    let mut running = begin(&urls, &["--reopen", "backoff:1ms..20ms"]);
    running.wait_for(|report| report.connected == 10);
    end.send(()).unwrap();
    first.join().unwrap();
    running.wait_for(|report| report.failures.get("refused").is_some_and(|n| *n >= 20));
    let _server = server_on(TcpListener::bind(address).unwrap(), |_, _, _, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    running.wait_for(|report| report.connected == 10);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    balanced(&report);
    assert_eq!((report.closed, report.established, report.reopened), (10, 20, 10));
    let [settle] = &report.settles[..] else { panic!("the server was away once: {report:?}") };
    assert_eq!((settle.cause.as_str(), settle.closed, settle.back), ("server away", 10, 10));
    assert_eq!(settle.failed, report.failures);
    assert!(settle.t100_s.is_some() && settle.peak_connects_per_s >= 10, "{settle:?}");
}

#[test]
fn workers_storm_and_come_back_as_one_run() {
    const N: u64 = 100;
    let server = server(|_, _, _, stream| {
        send(stream, &format!("{OUR_HEAD}{}", chunk("x")));
        hold(stream);
    });
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let flags = ["--reopen", "backoff:5ms..20ms", "--storm", "500ms:50%"];
    let mut running = start_limited(100, &[&args[..], &flags].concat());
    running.wait_for(|report| report.connected == N && report.reopened > 0 && report.away == 0);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    balanced(&report);
    let [settle] = &report.settles[..] else { panic!("there is one storm: {report:?}") };
    // Each of three workers closes half of its own, rounded.
    assert!((49..=51).contains(&settle.closed), "{settle:?}");
    assert_eq!((settle.closed, settle.back), (report.closed, report.closed));
    assert_eq!((report.reopened, report.established), (report.closed, N + report.closed));
    assert!(settle.t100_s.is_some(), "{settle:?}");
}

#[test]
fn an_open_loop_begins_as_many_as_fall_due() {
    let server = server(|_, _, _, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(3);
    for (rate, flags, n) in [
        ("200", &["--for", "250ms"][..], 50),
        ("ramp:0..400/500ms", &["--connections", "1000"], 100),
        ("100/100ms,ramp:100..20/500ms", &["--for", "1s", "--connections", "30"], 30),
    ] {
        let args = ["--urls", urls.path(), "--rate", rate, "--hold", "0s", "--json"];
        let report = run(&[&args[..], flags].concat()).with_code(0).report();
        assert_eq!((report.asked, report.connected), (n, n), "{rate}: {report:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let urls = UrlFile::of("http://127.0.0.1:9/test/1");
    for (flags, words) in [
        (&["--storm", "60s:50%"][..], "say how with --reopen"),
        (
            &["--storm", "60s:50%", "--reopen", "at-once", "--hold", "10s"],
            "hold it longer with --hold",
        ),
        (&["--slow", "60%:0", "--slow", "60%:1KiB/s"], "more than 100 together"),
        (&["--for", "1s", "--rate", "max"], "--for needs a rate"),
    ] {
        run(&[&["--urls", urls.path()], flags].concat()).with_code(2).mentioning(words);
    }
}

/// A server that sends each connection as much as it takes, and what it could not send at the end.
fn gushing() -> Server {
    let text = chunk(&"x".repeat(1_000));
    server(move |_, _, _, stream| {
        send(stream, OUR_HEAD);
        // What is too slow is thrown away, as servers do it.
        stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        for _ in 0..20_000 {
            if std::io::Write::write_all(stream, text.as_bytes()).is_err() {
                let linger = Some(std::time::Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&*stream, linger).unwrap();
                return;
            }
        }
        hold(stream);
    })
}

#[test]
fn what_a_server_does_to_each_slow_reader_is_told() {
    let server = gushing();
    let urls = server.urls(10);
    let folder = tempfile::tempdir().unwrap();
    let flags =
        ["--slow", "20%:0", "--slow", "10%:100B/s", "--out", folder.path().to_str().unwrap()];
    let mut running = begin(&urls, &flags);
    let is_over = |report: &FloodReport| {
        let slow = report.slow_readers.as_ref().unwrap();
        slow.connections == 3 && slow.open == 0 && report.chunks >= 7 * 20_000
    };
    running.wait_for(is_over);
    running.signal(Signal::INT);
    // What a server does to them is no shortfall.
    let report = running.end().with_code(0).report();
    balanced(&report);
    let slow = report.slow_readers.unwrap();
    assert_eq!((slow.connections, slow.open, slow.ends["reset"]), (3, 0, 3));
    assert_eq!((report.connected, report.closures["reset"]), (7, 3));
    let rates: Vec<_> = slow.readers.iter().map(|it| it.bytes_per_s).collect();
    assert_eq!(rates.iter().filter(|rate| **rate == 0).count(), 2);
    assert_eq!(rates.iter().filter(|rate| **rate == 100).count(), 1);
    for reader in &slow.readers {
        assert!(reader.url.starts_with(&format!("http://{}/test/", server.address)), "{reader:?}");
        assert_eq!(reader.end, "reset");
        // A socket of a few KB was full; without a small one it would be megabytes.
        assert!((1_000..50_000).contains(&reader.bytes), "{reader:?}");
        assert!(reader.after_s.is_some(), "{reader:?}");
    }
    let log = std::fs::read_to_string(folder.path().join("slow.ndjson")).unwrap();
    let all: Vec<reports::books::SlowReader> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all, slow.readers);
}

#[test]
fn a_slow_reader_that_a_server_waits_for_is_open_and_reads_at_its_rate() {
    let text = chunk(&"x".repeat(1_000));
    let server = server(move |_, _, _, stream| {
        send(stream, OUR_HEAD);
        while std::io::Write::write_all(stream, text.as_bytes()).is_ok() {}
    });
    let urls = server.urls(2);
    let mut running = begin(&urls, &["--slow", "50%:200KiB/s", "--slow", "50%:0"]);
    // So much more than its socket holds is what it has read.
    running.wait_for(|report| report.bytes > 300_000);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    let slow = report.slow_readers.unwrap();
    assert_eq!((slow.connections, slow.open, slow.ends.len()), (2, 2, 0));
    let of = |rate| slow.readers.iter().find(|it| it.bytes_per_s == rate).unwrap();
    let (slow, mute) = (of(200 * 1024), of(0));
    assert!(slow.bytes > 200_000 && mute.bytes < 50_000, "{slow:?} {mute:?}");
    assert_eq!((slow.end.as_str(), slow.after_s), ("open", None));
    // 200 KiB a second and no more, but for what came with its head and is in its socket.
    let most = report.elapsed_s * 204_800.0 + 200_000.0;
    assert!((slow.bytes as f64) < most, "{slow:?} in {} s", report.elapsed_s);
}

#[test]
fn an_orderly_end_of_a_mute_reader_is_told_as_such() {
    let server = server(|_, _, _, stream| {
        send(stream, &format!("{OUR_HEAD}{}", chunk("hello")));
        send(stream, "0\r\n\r\n");
    });
    let urls = server.urls(1);
    let args = ["--urls", urls.path(), "--slow", "100%:0", "--json", "--ends", "ok"];
    let report = run(&args).with_code(0).report();
    let slow = report.slow_readers.unwrap();
    assert_eq!((slow.ends["ended"], report.ended), (1, 1));
}

#[test]
fn tls_is_resumed_if_that_is_asked_for() {
    for (resume, n_resumed) in [("on", 4), ("off", 0)] {
        let resumed = Arc::new(Mutex::new((0, 0)));
        let seen = Arc::clone(&resumed);
        let address = crate::https::serve_as("server", None, move |stream| {
            let kind = stream.conn.handshake_kind().unwrap();
            let (n_before, n_resumed) = {
                let mut seen = seen.lock().unwrap();
                seen.0 += 1;
                seen.1 += u32::from(kind == rustls::HandshakeKind::Resumed);
                *seen
            };
            crate::https::send(
                stream,
                &format!("{OUR_HEAD}{}", chunk(&format!("{n_before} {n_resumed}"))),
            );
            // The first four are cut off.
            if n_before > 4 {
                let _ = stream.read(&mut [0; 16]);
            }
        });
        let urls = crate::https::urls("localhost", address, 4);
        let flags = ["--ca", crate::https::CA, "--reopen", "after:20ms", "--tls-resume", resume];
        let mut running = begin(&urls, &flags);
        running.wait_for(|report| report.connected == 4 && report.reopened == 4);
        running.signal(Signal::INT);
        let report = running.end().with_code(0).report();
        balanced(&report);
        assert_eq!(*resumed.lock().unwrap(), (8, n_resumed), "{resume}");
    }
}

#[test]
fn what_was_sent_is_compared_over_all_lives_of_a_place() {
    let server = server(|id, life, _, stream| {
        let id = id as u64;
        let text = match (id, life) {
            // 3 and 4 are in the gap, and 4 was refused by the server; 8 came behind the last life.
            (1, 0) => all_stamped(1, &[1, 2]),
            (1, _) => all_stamped(1, &[5, 6, 7]),
            // 2 and 3 are missing, and nobody knows what was before the second connection.
            (2, 0) => all_stamped(2, &[1]),
            // One that hears nothing begins anew with each life.
            _ => String::new(),
        };
        send(stream, &format!("{HEAD}{text}"));
        if life > 0 {
            hold(stream);
        }
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let now_us = reports::stamp::as_us(reports::stamp::wall_now());
    let first_due_unix_us = now_us + 3_600_000_000;
    let header = Header { sent: 1, sender: SENDER, first_due_unix_us, ..Header::default() };
    let (failed, no_line) = (vec![(4, 4)], IdLine::default());
    let of_1 = IdLine { id: 1, n: 8, failed, ..no_line.clone() };
    let of_2 = IdLine { id: 2, n: 3, ..no_line };
    let end = End { end: true, last_answer_unix_us: 5, ..End::default() };
    let lines = [
        serde_json::to_string(&header).unwrap(),
        serde_json::to_string(&of_1).unwrap(),
        serde_json::to_string(&of_2).unwrap(),
        serde_json::to_string(&end).unwrap(),
    ];
    std::io::Write::write_all(&mut file, (lines.join("\n") + "\n").as_bytes()).unwrap();
    let urls = server.urls(3);
    let sent = file.path().to_str().unwrap();
    let flags = ["--reopen", "at-once", "--sent", sent, "--settle", "0s"];
    let mut running = begin(&urls, &flags);
    running
        .wait_for(|report| report.connected == 3 && report.reopened == 3 && report.messages == 6);
    running.signal(Signal::INT);
    let ended = running.end();
    let report = ended.report();
    balanced(&report);
    // 8 of id 1 is lost behind the last that came; 3 of id 1, and 2 and 3 of id 2, in gaps.
    assert_eq!((report.lost, report.lost_in_gaps), (Some(1), Some(3)), "{report:?}");
    assert_eq!((report.duplicated, report.reordered), (Some(0), Some(0)));
    assert_eq!((report.late_joiners, report.heard), (0, 2), "{report:?}");
}

#[test]
fn a_redirect_is_followed_anew_in_each_life() {
    let server = server(|id, life, request, stream| {
        if id < 10 {
            let to = format!("Location: /test/{}\r\n", id * 10);
            send(stream, &format!("HTTP/1.1 307 Go\r\n{to}Content-Length: 0\r\n\r\n"));
        } else {
            assert_eq!(request.contains("Last-Event-ID: 7\r\n"), life > 0, "{request}");
            send(stream, &format!("{EVENTS}id: 7\ndata: x\n\n"));
            if life == 2 {
                hold(stream);
            }
        }
    });
    let urls = server.urls(2);
    let mut running = begin(&urls, &["--reopen", "at-once", "--follow"]);
    running.wait_for(|report| report.connected == 2 && report.reopened == 4);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    balanced(&report);
    assert_eq!((report.begun, report.resumed, report.failed), (6, 4, 0));
}

#[test]
fn workers_have_their_part_of_slow_readers() {
    let server = server(|_, _, _, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(100);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let mut running = start_limited(100, &[&args[..], &["--slow", "7%:0"]].concat());
    running.wait_for(|report| report.connected == 100);
    running.signal(Signal::INT);
    let slow = running.end().with_code(0).report().slow_readers.unwrap();
    assert_eq!((slow.connections, slow.open, slow.readers.len()), (7, 7, 7));
    let urls: BTreeSet<_> = slow.readers.iter().map(|it| it.url.clone()).collect();
    assert_eq!(urls.len(), 7, "{urls:?}");
}

#[test]
fn places_of_a_worker_that_dies_are_missing() {
    let server = server(|_, _, _, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(100);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let mut running = start_limited(100, &[&args[..], &["--reopen", "at-once"]].concat());
    running.wait_for(|report| report.connected == 100);
    crate::support::signal(crate::support::children(running.pid())[0], Signal::KILL);
    running.wait_for(|report| report.closed > 0);
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    balanced(&ended.report());
    ended.mentioning("places had no connection when it ended").mentioning("worker 1 died");
}

#[test]
fn a_life_within_tls_is_ended_with_a_close_notify() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let address = crate::https::serve_as("server", None, move |stream| {
        crate::https::send(stream, OUR_HEAD);
        // Without the notice this is an error.
        let end = stream.read(&mut [0; 16]).map_err(|error| error.to_string());
        seen.lock().unwrap().push(end);
    });
    let urls = crate::https::urls("localhost", address, 3);
    let mut running = begin(&urls, &["--ca", crate::https::CA, "--lifetime", "20ms"]);
    running.wait_for(|report| report.reopened >= 6);
    crate::support::wait_until("lives have ended", || ends.lock().unwrap().len() >= 6);
    let ends = ends.lock().unwrap()[..6].to_vec();
    assert_eq!(ends, vec![Ok(0); 6]);
    running.signal(Signal::INT);
    balanced(&running.end().with_code(0).report());
}
