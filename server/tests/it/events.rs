//! Server-sent events, and pings.

use crate::support::{HEAD, Server};

const ACCEPT: &str = "Accept: text/event-stream\r\n";

#[test]
fn who_accepts_events_gets_them() {
    let mut server = Server::start(&[]);
    let mut events = server.connect(&format!("GET /test/7 HTTP/1.1\r\nHost: x\r\n{ACCEPT}\r\n"));
    let head = HEAD.replace("text/html; charset=utf-8", "text/event-stream");
    events.expect(&head);
    let mut plain = server.connect(&format!("GET /test/7 HTTP/1.0\r\n{ACCEPT}\r\n"));
    let head = head.replace("Transfer-Encoding: chunked\r\n", "");
    plain.expect(&format!("{}Connection: close\r\n\r\n", head.strip_suffix("\r\n").unwrap()));
    let mut html = server.follow("7");

    assert_eq!(server.send(7, "one\ntwo\r\n<b>"), 3);
    let event = "id: 1\ndata: one\ndata: two\ndata: <b>\n\n";
    events.expect(&format!("{:x}\r\n{event}\r\n", event.len()));
    plain.expect(event);
    html.expect_message(1, "one\ntwo\r\n&lt;b&gt;");

    server.signal("-TERM");
    assert_eq!(events.read_to_end(), "0\r\n\r\n");
    assert_eq!(plain.read_to_end(), "");
    assert!(server.wait().success());
}

#[test]
fn pings_are_comments_among_events_and_nothing_elsewhere() {
    let server = Server::start(&["--ping", "50ms"]);
    let mut html = server.follow("7");
    let mut events = server.connect(&format!("GET /test/7 HTTP/1.1\r\nHost: x\r\n{ACCEPT}\r\n"));
    events.expect(&HEAD.replace("text/html; charset=utf-8", "text/event-stream"));
    for _ in 0..3 {
        events.expect("3\r\n:\n\n\r\n");
    }
    assert_eq!(server.send(7, "between"), 2);
    let no_ping = std::iter::from_fn(|| events.next_chunk()).find(|chunk| chunk != ":\n\n");
    assert_eq!(no_ping.unwrap(), "id: 1\ndata: between\n\n", "pings have no number");
    html.expect_message(1, "between");
    // Pings are no messages: the books know nothing of them.
    let stats = server.wait_for_stats(|stats| stats["chunks_written"] == 2);
    assert_eq!((&stats["messages"], &stats["chunks_queued"]), (&1.into(), &0.into()), "{stats}");
}
