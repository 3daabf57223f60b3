//! Connections that wait for their heads, and streams that are meant to end.

use std::sync::{Arc, Condvar, Mutex};

use reports::books::ByReason;
use rustix::process::Signal;

use crate::support::{OUR_HEAD, Server, chunk, hold, messages, run, send, start, start_limited};

/// A server that takes requests and sends its heads when it is told to.
struct LateServer {
    server: Server,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl LateServer {
    /// A server that is silent.
    fn start() -> Self {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&gate);
        let server = Server::start(move |_, stream| {
            let (is_open, opened) = &*theirs;
            let is_open = opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap();
            drop(is_open);
            send(stream, OUR_HEAD);
            hold(stream);
        });
        Self { server, gate }
    }

    /// Lets it answer.
    fn answer(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

#[test]
fn more_than_a_hundred_may_wait_for_their_heads_at_rate_max() {
    let late = LateServer::start();
    let urls = late.server.urls(300);
    let flags = ["--rate", "max", "--head-timeout", "none", "--json", "--report", "20ms"];
    for is_split in [false, true] {
        let args = [&["--urls", urls.path()], &flags[..]].concat();
        let mut running = if is_split { start_limited(200, &args) } else { start(&args) };
        let report = running.wait_for(|report| report.waiting == 300 || report.connected == 300);
        if !is_split {
            assert_eq!((report.waiting, report.connected, report.failed), (300, 0, 0));
            late.answer();
        }
        running.wait_for(|report| report.connected == 300 && report.waiting == 0);
        running.signal(Signal::INT);
        running.end().with_code(0);
    }
}

#[test]
fn connections_that_wait_at_the_end_are_a_shortfall_that_is_named() {
    let late = LateServer::start();
    let urls = late.server.urls(3);
    let args = ["--urls", urls.path(), "--head-timeout", "none", "--rate", "max", "--json"];
    // Those that may wait for ever are as good as open: the time to hold begins.
    let ended = run(&[&args[..], &["--hold", "50ms"]].concat()).with_code(2);
    let ended = ended.saying("3 of 3 connections still wait for a response head");
    let report = ended.report();
    assert_eq!((report.waiting, report.connected, report.failed), (3, 0, 0));
}

#[test]
fn a_wait_for_the_head_has_a_limit_of_its_own() {
    let late = LateServer::start();
    let urls = late.server.urls(2);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let limits = ["--connect-timeout", "50ms", "--head-timeout", "400ms"];
    let mut running = start(&[&args[..], &limits].concat());
    running.wait_for(|report| report.waiting == 2);
    let report = running.end().with_code(2).report();
    assert_eq!(report.failures, ByReason::from([("no head".to_owned(), 2)]));
    assert_eq!(report.waiting, 0);
}

/// A server of three: one whose response ends, in each framing, and one that goes on.
fn ending() -> Server {
    Server::start_by_id(|id, stream| match id {
        1 => send(stream, &format!("{OUR_HEAD}{}0\r\n\r\n", messages(&[1]))),
        2 => send(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        3 => send(stream, "HTTP/1.1 200 OK\r\n\r\nuntil the close"),
        4 => {
            send(stream, &format!("{OUR_HEAD}{}", chunk("#1")));
            hold(stream);
        }
        _ => send(stream, &format!("{OUR_HEAD}{}", chunk("#1"))),
    })
}

#[test]
fn orderly_ends_are_no_fault_where_that_is_said() {
    let server = ending();
    let urls = server.urls(3);
    let args = ["--urls", urls.path(), "--rate", "max", "--json"];
    for ends in ["ok", "expected"] {
        let report = run(&[&args[..], &["--ends", ends]].concat()).with_code(0).report();
        assert_eq!((report.ended, report.closed, report.connected), (3, 3, 0));
    }
    run(&[&args[..], &["--ends", "fault"]].concat())
        .with_code(1)
        .saying("3 of 3 connections closed before the end: 3 ended");
}

#[test]
fn a_stream_that_is_still_open_or_was_cut_is_the_fault_where_ends_are_expected() {
    let server = ending();
    let urls = server.urls(5);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    for (ends, is_open_said) in [("ok", false), ("expected", true)] {
        let mut running = start(&[&args[..], &["--ends", ends]].concat());
        running.wait_for(|report| report.closed == 4 && report.connected == 1);
        running.signal(Signal::INT);
        let ended = running.end().with_code(1);
        let ended = ended.saying("1 of 5 connections closed before the end: 1 cut");
        let open = "1 of 5 responses had not ended when the run did";
        assert_eq!(ended.stderr.contains(open), is_open_said, "{ended}");
    }
}
