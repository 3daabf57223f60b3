//! The control door.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::json;

use crate::support::{Client, Server};

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

#[test]
fn lines_are_sent_in_order_and_counted() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    let body = "{\"id\":7,\"msg\":\"one\"}\n\n{\"id\":8,\"msg\":\"void\"}\r\n\
                {\"msg\":\"t\\u0077o\",\"id\":7}";
    let answer = server.ask("POST", "/send", NDJSON, body);
    assert_eq!(answer, (200, json!({"messages": 3, "connections": 2, "messages_void": 1})));
    seven.expect_message(1, "one");
    seven.expect_message(2, "two");
    server.wait_for_stats(|stats| stats["messages"] == 3);
}

#[test]
fn a_bad_line_is_named_and_what_was_before_it_stays_sent() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    for (n_before, bad) in
        ["{\"id\":0,\"msg\":\"x\"}", "{\"id\":7}", "nonsense", "{\"id\":7,\"msg\":1}"]
            .into_iter()
            .enumerate()
    {
        let body =
            format!("{{\"id\":7,\"msg\":\"good\"}}\n{bad}\n{{\"id\":7,\"msg\":\"unsent\"}}\n");
        let (status, answer) = server.ask("POST", "/send", NDJSON, &body);
        assert_eq!((status, &answer["messages"]), (400, &json!(1)), "{answer}");
        assert!(answer["error"].as_str().unwrap().starts_with("line 2: "), "{answer}");
        seven.expect_message(n_before as u64 + 1, "good");
    }
}

#[test]
fn a_line_is_sent_when_it_arrives_not_when_the_body_ends() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    let mut sender = Client::connect(server.control);
    let head = format!(
        "POST /send HTTP/1.1\r\nHost: localhost\r\n{NDJSON}Transfer-Encoding: chunked\r\n\r\n"
    );
    sender.stream.write_all(head.as_bytes()).unwrap();
    for (n_before, cut) in [(0, 3), (1, 20)] {
        let line = "{\"id\":7,\"msg\":\"now\"}\n";
        for part in [&line[..cut], &line[cut..]] {
            write!(sender.stream, "{:x}\r\n{part}\r\n", part.len()).unwrap();
        }
        seven.expect_message(n_before + 1, "now");
    }
    let half = "{\"id\":7,\"ms";
    write!(sender.stream, "{:x}\r\n{half}\r\n", half.len()).unwrap();
    drop(sender);
    let stats = server.wait_for_stats(|stats| stats["messages_aborted"] == 1);
    assert_eq!(stats["messages"], 2, "half a line is not sent");
}

#[test]
fn a_message_that_breaks_off_is_not_sent_and_counted() {
    let server = Server::start(&[]);
    let _client = server.follow("7");
    let mut sender = Client::connect(server.control);
    let head = "POST /send/7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf";
    sender.stream.write_all(head.as_bytes()).unwrap();
    drop(sender);
    let stats = server.wait_for_stats(|stats| stats["messages_aborted"] == 1);
    assert_eq!(stats["messages"], 0);
}

#[test]
fn a_bad_line_in_two_parts_is_refused_and_not_counted_as_broken_off() {
    let server = Server::start(&[]);
    let mut sender = Client::connect(server.control);
    let fields =
        format!("Host: localhost\r\n{NDJSON}Connection: close\r\nTransfer-Encoding: chunked");
    write!(sender.stream, "POST /send HTTP/1.1\r\n{fields}\r\n\r\n3\r\nnon\r\n").unwrap();
    // A message of another sender is answered after the first part was read.
    assert_eq!(server.send(1, "between"), 0);
    sender.stream.write_all(b"6\r\nsense\n\r\n0\r\n\r\n").unwrap();
    assert!(sender.read_to_end().starts_with("HTTP/1.1 400 "));
    assert_eq!(server.stats()["messages_aborted"], 0);
}

#[test]
fn limits_on_messages_are_kept() {
    let server = Server::start(&[]);
    let mut one = server.follow("1");
    let largest = "x".repeat(64 * 1024);
    assert_eq!(server.send(1, &largest), 1);
    one.expect_message(1, &largest);
    let (status, answer) = server.ask("POST", "/send/1", "", &format!("{largest}x"));
    assert_eq!((status, &answer["error"]), (413, &json!("a message is at most 65536 bytes")));
    let mut line = String::new();
    write!(line, "{{\"id\":1,\"msg\":\"{largest}{}\"}}", "x".repeat(300)).unwrap();
    let (status, answer) = server.ask("POST", "/send", NDJSON, &line);
    assert_eq!((status, &answer["error"]), (400, &json!("line 1: longer than 65792 bytes")));
    let (status, _) = server.ask("POST", "/send/x", "", "m");
    assert_eq!(status, 400);
    let (status, _) = server.ask("POST", "/send", "", "m");
    assert_eq!(status, 415);
    let (status, _) = server.ask("GET", "/send/1", "", "");
    assert_eq!(status, 405);
    let (status, _) = server.ask("GET", "/elsewhere", "", "");
    assert_eq!(status, 404);
    assert_eq!(server.stats()["messages"], 1);
}

#[test]
fn a_message_that_is_not_utf_8_is_refused() {
    let server = Server::start(&[]);
    let mut sender = Client::connect(server.control);
    let head = "POST /send/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Length: 1\r\n\r\n";
    sender.stream.write_all(head.as_bytes()).unwrap();
    sender.stream.write_all(&[0xff]).unwrap();
    assert!(sender.read_to_end().starts_with("HTTP/1.1 400 "));
}

#[test]
fn logins_are_counted_and_logged_out() {
    let server = Server::start(&[]);
    let mut clients = [server.follow("1"), server.follow("1,2"), server.follow("2")];
    let ask = |method, id| server.ask(method, &format!("/logins/{id}"), "", "");
    assert_eq!(ask("GET", 1), (200, json!({"connections": 2})));
    assert_eq!(ask("DELETE", 1), (200, json!({"connections": 2})));
    assert_eq!(ask("GET", 2), (200, json!({"connections": 1})));
    for client in &mut clients[..2] {
        assert_eq!(client.read_to_end(), "0\r\n\r\n");
    }
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    assert_eq!(stats["connections_closed"]["logout"], 2);
    assert_eq!(server.send(2, "still here"), 1);
    clients[2].expect_message(1, "still here");
}

#[test]
fn a_token_opens_the_door_and_nothing_else_does() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789secret\n").unwrap();
    let server = Server::start(&["--control-token-file", file.path().to_str().unwrap()]);
    for wrong in
        ["", "Authorization: 0123456789secret\r\n", "Authorization: Bearer 0123456789secre\r\n"]
    {
        assert_eq!(server.ask("POST", "/send/1", wrong, "m").0, 401, "{wrong}");
    }
    let right = "Authorization: Bearer 0123456789secret\r\n";
    assert_eq!(server.ask("POST", "/send/1", right, "m"), (200, json!({"connections": 0})));
}

#[test]
fn strangers_do_not_keep_the_door_and_senders_may_be_silent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789secret").unwrap();
    let flags = ["--head-timeout", "200ms", "--control-token-file", file.path().to_str().unwrap()];
    let server = Server::start(&flags);
    let request = |token| {
        format!("GET /stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let mut sender = Client::connect(server.control);
    sender.stream.write_all(request("0123456789secret").as_bytes()).unwrap();
    sender.expect("HTTP/1.1 200 OK\r\n");
    let mut silent = Client::connect(server.control);
    let mut slow = Client::connect(server.control);
    slow.stream.write_all(b"POST /send/1 HTTP/1.1\r\n").unwrap();
    let mut wrong = Client::connect(server.control);
    wrong.stream.write_all(request("wrong").as_bytes()).unwrap();
    assert!(wrong.read_to_end().starts_with("HTTP/1.1 401 "));
    assert_eq!(silent.read_to_end(), "");
    assert!(slow.read_to_end().starts_with("HTTP/1.1 408 "));
    // It was there before them, and is still.
    let last = request("0123456789secret\r\nConnection: close");
    sender.stream.write_all(last.as_bytes()).unwrap();
    assert_eq!(sender.read_to_end().matches("HTTP/1.1 200 OK\r\n").count(), 1);
}

#[test]
fn a_sender_that_is_faster_than_the_server_waits() {
    const N_LINES: usize = 16_000;
    let server = Server::start(&[]);
    let line = format!("{{\"id\":7,\"msg\":\"{}\"}}\n", "x".repeat(4_000));
    let mut sender = Client::connect(server.control);
    let n_bytes = N_LINES * line.len();
    let fields = format!("Host: localhost\r\n{NDJSON}Content-Length: {n_bytes}");
    write!(sender.stream, "POST /send HTTP/1.1\r\n{fields}\r\n\r\n{line}").unwrap();
    server.wait_for_stats(|stats| stats["messages"] == 1);
    let before_kb = server.anon_kb();
    let mut highest_kb = 0;
    for number in 1..N_LINES {
        sender.stream.write_all(line.as_bytes()).unwrap();
        if number % 100 == 0 {
            highest_kb = server.anon_kb().max(highest_kb);
        }
    }
    server.wait_for_stats(|stats| stats["messages"] == N_LINES);
    assert!(highest_kb < before_kb + 2_000, "64 MB of lines: {before_kb} to {highest_kb} KB");
}

#[test]
fn metrics_are_the_counts_under_conventional_names() {
    let server = Server::start(&[]);
    let mut client = server.follow("7,8");
    assert_eq!(server.send(7, "one"), 1);
    assert_eq!(server.send(9, "void"), 0);
    client.expect_message(1, "one");
    drop(server.connect("nonsense\r\n\r\n").read_to_end());
    server.wait_for_stats(|stats| stats["connections_open"] == 1);

    let mut door = Client::connect(server.control);
    door.stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = door.read_to_end();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("content-type: application/openmetrics-text"));
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    for line in [
        "comet_connections_accepted_total 2",
        "comet_connections_open 1",
        "comet_connections_parked 1",
        "comet_connections_closed_total{reason=\"bad_request\"} 1",
        "comet_connections_closed_total{reason=\"slow_reader\"} 0",
        "comet_ids 2",
        "comet_messages_total 2",
        "comet_messages_void_total 1",
        "comet_chunks_written_total 1",
        "comet_chunks_queued 0",
        "comet_accepting 1",
        "comet_send_duration_seconds_count 2",
        "comet_send_duration_seconds_bucket{le=\"+Inf\"} 2",
        "# TYPE comet_send_duration_seconds histogram",
    ] {
        assert!(body.lines().any(|given| given == line), "{line} in {body}");
    }
    // Every sample is a name, perhaps with labels, and a number.
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("comet_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn health_is_good_while_it_accepts() {
    let server = Server::start(&[]);
    assert_eq!(server.ask("GET", "/healthz", "", ""), (200, json!({"status": "ok"})));
}
