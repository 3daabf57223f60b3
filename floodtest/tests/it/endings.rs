//! Why connections fail and close: each for its own reason, counted under its own word.

use std::net::TcpListener;
use std::time::Duration;

use reports::books::ByReason;
use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;

use crate::support::{OUR_HEAD, Server, UrlFile, chunk, hold, messages, run, send, start};

/// One reason and its count.
fn reasons<const N: usize>(counts: [(&str, u64); N]) -> ByReason {
    counts.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect()
}

/// Failures and closures of a run of two connections to a server that says `text` and closes.
#[track_caller]
fn endings(text: &str, code: i32) -> (ByReason, ByReason) {
    let server = Server::saying(text);
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(code).report();
    assert_eq!(report.asked, report.connected + report.closed + report.failed);
    assert_eq!(report.established, report.connected + report.closed);
    (report.failures, report.closures)
}

#[test]
fn a_last_chunk_is_ended_and_its_absence_is_cut() {
    let body = messages(&[1, 2]);
    let ended = endings(&format!("{OUR_HEAD}{body}0\r\n\r\n"), 1);
    assert_eq!(ended, (ByReason::new(), reasons([("ended", 2)])));
    let cut = endings(&format!("{OUR_HEAD}{body}"), 1);
    assert_eq!(cut, (ByReason::new(), reasons([("cut", 2)])));
    let in_mid_chunk = endings(&format!("{OUR_HEAD}{body}ff\r\nRecvd m"), 1);
    assert_eq!(in_mid_chunk, (ByReason::new(), reasons([("cut", 2)])));
}

#[test]
fn a_content_length_is_ended_when_it_is_complete() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(endings(&format!("{head}hello"), 1).1, reasons([("ended", 2)]));
    assert_eq!(endings(&format!("{head}hell"), 1).1, reasons([("cut", 2)]));
}

#[test]
fn a_close_before_the_head_is_a_failure() {
    assert_eq!(endings("", 2).0, reasons([("cut", 2)]));
    assert_eq!(endings("HTTP/1.1 200 OK\r\nServer", 2).0, reasons([("cut", 2)]));
}

#[test]
fn the_close_is_the_end_of_a_body_that_has_no_other() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    assert_eq!(endings(&format!("{head}data: x\n\n"), 1).1, reasons([("ended", 2)]));
    let server = Server::start(move |_, stream| {
        send(stream, head);
        set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
    });
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json"]).report();
    assert_eq!(report.ended, 0, "thrown away, it may lack anything: {report:?}");
}

#[test]
fn a_status_other_than_200_is_a_failure() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n";
    assert_eq!(endings(busy, 2), (reasons([("status 503", 2)]), ByReason::new()));
    let server = Server::start(move |k, stream| {
        send(stream, if k == 0 { busy } else { OUR_HEAD });
        hold(stream);
    });
    let urls = server.urls(3);
    run(&["--urls", urls.path(), "--hold", "0s"])
        .with_code(1)
        .saying("1 of 3 connections failed: 1 status 503");
}

#[test]
fn a_bad_head_is_a_failure() {
    for head in ["HTTP/1.1 200 OK\nX: 1\n\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 OK\r\n\r\n"] {
        assert_eq!(endings(head, 2).0, reasons([("bad head", 2)]), "{head:?}");
    }
}

#[test]
fn a_bad_chunk_ends_that_connection_alone() {
    let server = Server::start(|k, stream| {
        send(stream, OUR_HEAD);
        send(stream, &messages(&[1]));
        send(stream, if k == 0 { "0x5\r\nhello\r\n" } else { "0\r\n\r\n" });
        hold(stream);
    });
    let urls = server.urls(3);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(1).report();
    assert_eq!(report.closures, reasons([("bad chunk", 1), ("ended", 2)]));
    assert_eq!((report.chunks, report.lost.unwrap()), (3, 0));
}

#[test]
fn a_reset_is_told_from_a_close() {
    let server = Server::start(|k, stream| {
        if k > 0 {
            send(stream, OUR_HEAD);
            send(stream, &messages(&[1]));
        }
        // Closed with linger 0, a connection is thrown away.
        set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
    });
    let urls = server.urls(3);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(1).report();
    let n_reset = |reasons: &ByReason| reasons.get("reset").copied().unwrap_or(0);
    assert_eq!(n_reset(&report.failures) + n_reset(&report.closures), 3, "{report:?}");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(|k, stream| {
        if k > 0 {
            send(stream, "HTTP/1.1 200 OK\r\n");
        }
        hold(stream);
    });
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json", "--head-timeout", "100ms"])
        .with_code(2)
        .saying("2 of 2 connections failed: 2 no head")
        .report();
    assert_eq!(report.failures, reasons([("no head", 2)]));
    assert!(report.elapsed_s < 5.0, "{report:?}");
}

#[test]
fn a_connect_that_gets_no_answer_times_out() {
    let listener = crowded_listener();
    let urls = urls_of(&listener);
    let limits = ["--connect-timeout", "200ms", "--head-timeout", "200ms"];
    let args = [&["--urls", urls.path(), "--json"], &limits[..]].concat();
    let report = run(&args).with_code(2).report();
    // The one that has a place in the queue is connected, and nobody answers its request.
    assert_eq!(report.failures, reasons([("no head", 1), ("timed out", 3)]));
}

#[test]
fn a_connect_that_takes_a_while_is_waited_for() {
    let listener = crowded_listener();
    let urls = urls_of(&listener);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let mut running = start(&args);
    running.wait_for(|report| report.opening_s > 0.0 && report.connected == 0);
    // Those that found no place in the queue are dialed again by the kernel, after a second.
    let server = Server::start_on(listener, |_, stream| {
        send(stream, OUR_HEAD);
        send(stream, &messages(&[1]));
        hold(stream);
    });
    running.wait_for(|report| report.connected == 4 && report.chunks == 4);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    assert_eq!((report.connected, report.failed), (4, 0));
    let requests = server.requests();
    let asked: Vec<_> = requests.iter().map(|request| &request.text[..12]).collect();
    assert_eq!(asked, ["GET /test/1 ", "GET /test/2 ", "GET /test/3 ", "GET /test/4 "]);
}

/// A listener in whose queue one connection has place, so that the others are left unanswered.
fn crowded_listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // To listen once more only sets the length of the queue.
    rustix::net::listen(&listener, 0).unwrap();
    listener
}

/// The URLs of four ids behind `listener`.
fn urls_of(listener: &TcpListener) -> UrlFile {
    let address = listener.local_addr().unwrap();
    let lines: Vec<String> = (1..=4).map(|id| format!("http://{address}/test/{id}")).collect();
    UrlFile::of(&lines.join("\n"))
}

#[test]
fn chunks_are_counted_by_framing_however_they_come() {
    let text = format!("{OUR_HEAD}{}{}0\r\n\r\n", messages(&[1, 2, 3]), chunk("#4"));
    let server = Server::start(move |k, stream| match k {
        0 => send(stream, &text),
        _ => (0..text.len()).for_each(|at| send(stream, &text[at..=at])),
    });
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(1).report();
    assert_eq!(report.closures, reasons([("ended", 2)]));
    assert_eq!((report.chunks, report.unnumbered, report.lost.unwrap()), (8, 0, 0));
}

#[test]
fn a_flood_larger_than_the_buffer_is_read_to_its_end() {
    let text = format!("{OUR_HEAD}{}0\r\n\r\n", messages(&(1..=20_000).collect::<Vec<_>>()));
    let n_bytes = text.len() as u64;
    let server = Server::saying(text);
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(1).report();
    assert_eq!((report.chunks, report.bytes), (40_000, 2 * n_bytes));
    assert_eq!(report.closures, reasons([("ended", 2)]));
}
