//! The control door against those who do not mean well, or do not know better.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, DEADLINE, Server};

/// A good token.
const TOKEN: &str = "0123456789abcdef";

/// A request that sends one message to 7.
const SEND: &str = "POST /send/7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none";

/// What answers it.
const ANSWER: &str = concat!(
    "HTTP/1.1 200 OK\r\nServer: comet-server/",
    env!("CARGO_PKG_VERSION"),
    "\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"connections\": 1}"
);

/// A server that wants [`TOKEN`], with further flags.
fn with_token(flags: &[&str]) -> Server {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let token = ["--control-token-file", file.path().to_str().unwrap()];
    Server::start(&[&token, flags].concat())
}

/// A connection to the control door that has sent `bytes`.
fn sent(server: &Server, bytes: impl AsRef<[u8]>) -> Client {
    let mut client = Client::connect(server.control);
    client.stream.write_all(bytes.as_ref()).unwrap();
    client
}

/// The statuses of all answers in `answers`.
fn statuses(answers: &str) -> Vec<&str> {
    let starts = answers.match_indices("HTTP/1.1 ").map(|(at, start)| &answers[at + start.len()..]);
    let codes = starts.filter(|rest| rest.starts_with(|char: char| char.is_ascii_digit()));
    codes.map(|rest| &rest[..3]).collect()
}

#[test]
fn what_was_carried_out_is_answered_whatever_follows_it() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    let many_fields = "A: b\r\n".repeat(101);
    let large = format!("A: {}\r\n", "b".repeat(70_000));
    let head = "GET /stats HTTP/1.1\r\nHost: localhost\r\n";
    // What follows the message, and the status of its own answer, if it gets one.
    let cases = [
        ("\r\n", None),
        ("\r\nGET /sta", None),
        ("POST /send/7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nt", None),
        ("\0\x01garbage\r\n\r\n", Some("400")),
        ("\r\n\r\n", Some("400")),
        ("GET /stats HTTP/1.1\nHost: localhost\n\n", Some("400")),
        (&format!("{head}{many_fields}\r\n"), Some("431")),
        (&format!("{head}{large}\r\n"), Some("431")),
        (&format!("{head}Host: localhost\r\n\r\n"), Some("400")),
        ("GET /stats HTTP/1.1\r\n\r\n", Some("400")),
        (&format!("{head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), Some("400")),
        (&format!("{head}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), Some("400")),
        (&format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"), Some("400")),
        (&format!("{head}Content-Length: -1\r\n\r\n"), Some("400")),
        (&format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n"), Some("501")),
    ];
    let n_cases = cases.len() as u64;
    for (number, (behind, status)) in (1..).zip(cases) {
        let mut client = sent(&server, format!("{SEND}{behind}"));
        client.expect(ANSWER);
        seven.expect_message(number, "one");
        if let Some(status) = status {
            assert_eq!(statuses(&client.read_to_end()), [status], "{behind:?}");
        }
    }
    // The one of which a part came is aborted, and answered too, though nobody is there any longer.
    let stats = server.wait_for_stats(|stats| stats["messages_aborted"] == 1);
    assert_eq!((&stats["messages"], &stats["chunks_written"]), (&json!(n_cases), &json!(n_cases)));
    assert_eq!(stats["control"]["refused"], json!({"400": 10, "431": 2, "501": 1}));
}

#[test]
fn answers_come_in_order_however_requests_are_cut() {
    let server = Server::start(&[]);
    let _seven = server.follow("7");
    let chunked = "POST /send/7 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1\r\nt\r\n2;x=y\r\nwo\r\n0\r\nA: b\r\n\r\n";
    let missing = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nGET /";
    let health = "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let all = [SEND, "\r\n", chunked, missing, SEND, health].concat();
    for cut in (0..=all.len()).step_by(7) {
        let mut client = sent(&server, &all[..cut]);
        client.stream.set_nodelay(true).unwrap();
        server.stats();
        client.stream.write_all(&all.as_bytes()[cut..]).unwrap();
        let answers = client.read_to_end();
        assert_eq!(statuses(&answers), ["200", "200", "404", "200", "200"], "{answers}");
        assert!(answers.ends_with("\r\nContent-Length: 15\r\nConnection: close\r\n\r\n"));
    }
}

#[test]
fn many_requests_are_answered_in_one_write() {
    let server = Server::start(&[]);
    let _seven = server.follow("7");
    let mut client = sent(&server, SEND.repeat(16));
    let mut answers = vec![0; 2 * 16 * ANSWER.len()];
    let n = client.stream.read(&mut answers).unwrap();
    assert_eq!(String::from_utf8_lossy(&answers[..n]), ANSWER.repeat(16));
}

#[test]
fn a_client_that_reads_nothing_is_read_no_more() {
    for server in [Server::start(&[]), with_token(&[])] {
        let before_kb = server.anon_kb();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
        let mut clients: Vec<_> = (0..8).map(|_| Client::connect(server.control)).collect();
        for client in &mut clients {
            // Its requests fill what the kernel holds, and are not taken out of it.
            client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut n_mb = 0;
            while client.stream.write_all(request.as_bytes()).is_ok() {
                n_mb += 1;
                assert!(n_mb < 1_000, "40 MB of requests are not answered, and taken");
            }
        }
        let after_kb = server.anon_kb();
        assert!(after_kb < before_kb + 8 * 256 + 1_500, "{before_kb} to {after_kb} KB");
        // Nobody else notices.
        let with_right = format!("Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(server.ask("GET", "/healthz", &with_right, "").0, 200);
    }
}

#[test]
fn a_client_that_reads_late_gets_every_answer() {
    const N: usize = 60_000;
    let server = Server::start(&[]);
    let mut client = Client::connect(server.control);
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let request = "GET /logins/7 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        for _ in 0..N / 100 {
            writer.write_all(request.as_bytes()).unwrap();
        }
        let last = "GET /logins/7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        writer.write_all(last.as_bytes()).unwrap();
    });
    // By then the answers fill what the kernel holds.
    server.wait_for_stats(|stats| stats["control"]["open"] == 2);
    let answers = client.read_to_end();
    writing.join().unwrap();
    assert_eq!(answers.matches("{\"connections\": 0}").count(), N + 1);
}

#[test]
fn a_body_is_waited_for_and_asked_for() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    let expect = "Host: localhost\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n";
    let mut client = sent(&server, format!("POST /send/7 HTTP/1.1\r\n{expect}\r\n"));
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.stream.write_all(b"one").unwrap();
    client.expect(ANSWER);
    seven.expect_message(1, "one");
    // Whoever sends it at once is not asked for it.
    client
        .stream
        .write_all(format!("POST /send/7 HTTP/1.1\r\n{expect}\r\ntwo").as_bytes())
        .unwrap();
    client.expect(ANSWER);
    // What is refused is not asked for, and the connection ends: the body may come or not.
    client.stream.write_all(format!("POST /send/x HTTP/1.1\r\n{expect}\r\n").as_bytes()).unwrap();
    assert_eq!(statuses(&client.read_to_end()), ["400"]);
    let large = "Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n";
    let mut client = sent(&server, format!("POST /send/7 HTTP/1.1\r\n{large}\r\n"));
    assert_eq!(statuses(&client.read_to_end()), ["413"]);
    let other = "Host: localhost\r\nExpect: tea\r\nContent-Length: 3\r\n";
    let mut client = sent(&server, format!("POST /send/7 HTTP/1.1\r\n{other}\r\n"));
    assert_eq!(statuses(&client.read_to_end()), ["417"]);
}

#[test]
fn http_1_0_is_kept_only_if_it_asks() {
    let server = Server::start(&[]);
    let mut client = sent(&server, "GET /healthz HTTP/1.0\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n");
    let answers = client.read_to_end();
    assert_eq!(statuses(&answers), ["200"]);
    assert!(answers.contains("\r\nConnection: close\r\n"), "{answers}");
    let kept = "GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let mut client = sent(&server, format!("{kept}{kept}GET /healthz HTTP/1.0\r\n\r\n"));
    let answers = client.read_to_end();
    assert_eq!(statuses(&answers), ["200", "200", "200"]);
    assert_eq!(answers.matches("\r\nConnection: keep-alive\r\n").count(), 2, "{answers}");
}

#[test]
fn a_message_in_chunks_has_the_same_limit() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    let head = "POST /send/7 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";
    let text = "x".repeat(64 * 1024);
    // Chunks of a byte are framing for the most part, and are not counted for more than they are.
    let chunks = "1\r\nx\r\n".repeat(text.len());
    let mut client = sent(&server, format!("{head}\r\n{chunks}0\r\n\r\n"));
    client.expect(ANSWER);
    seven.expect_message(1, &text);
    let mut client = sent(&server, format!("{head}\r\n{chunks}1\r\nx\r\n0\r\n\r\n"));
    assert_eq!(statuses(&client.read_to_end()), ["413"]);
    let mut client = sent(&server, format!("{head}\r\n2\r\nxyz\r\n0\r\n\r\n"));
    let answer = client.read_to_end();
    assert!(answer.contains("a chunk is longer than its size says"), "{answer}");
    assert_eq!(server.stats()["messages"], 1);
}

#[test]
fn an_array_is_no_line() {
    let server = Server::start(&[]);
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let (status, answer) = server.ask("POST", "/send", ndjson, "[1,\"m\"]\n");
    assert_eq!((status, &answer["messages"]), (400, &json!(0)), "{answer}");
    assert!(answer["error"].as_str().unwrap().starts_with("line 1: not an object"), "{answer}");
}

#[test]
fn a_line_that_never_ends_is_given_up_when_it_is_too_long() {
    let server = Server::start(&[]);
    let head = "POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                Content-Length: 1000000000\r\n\r\n{\"id\":7,\"msg\":\"";
    let give_up = || {
        let mut client = sent(&server, head);
        // It gets its answer though it goes on to send.
        client.stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
        let answer = client.read_to_end();
        assert_eq!(statuses(&answer), ["400"]);
        assert!(answer.contains("line 1: longer than 65792 bytes"), "{answer}");
    };
    // The first time takes pages of the program itself.
    give_up();
    let before_kb = server.anon_kb();
    give_up();
    let after_kb = server.anon_kb();
    assert!(after_kb < before_kb + 1_000, "{before_kb} to {after_kb} KB");
}

#[test]
fn a_head_that_is_too_late_is_told_so() {
    let server = Server::start(&["--head-timeout", "200ms"]);
    let mut silent = Client::connect(server.control);
    let mut slow = sent(&server, "GET /stats HTTP/1.1\r\n");
    // One that is known has no less time for its next request, and no more.
    let mut known = sent(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /sta");
    assert_eq!(silent.read_to_end(), "");
    assert_eq!(statuses(&slow.read_to_end()), ["408"]);
    assert_eq!(statuses(&known.read_to_end()), ["200", "408"]);
    let stats = server.wait_for_stats(|stats| stats["control"]["open"] == 1);
    assert_eq!(stats["control"]["timed_out"], 3, "{stats}");
}

#[test]
fn silent_strangers_do_not_keep_a_sender_out() {
    let server = with_token(&["--head-timeout", "1h"]);
    let strangers: Vec<_> = (0..600).map(|_| Client::connect(server.control)).collect();
    let with_right = format!("Authorization: Bearer {TOKEN}\r\n");
    for _ in 0..3 {
        assert_eq!(
            server.ask("POST", "/send/1", &with_right, "m"),
            (200, json!({"connections": 0}))
        );
        assert_eq!(server.ask("GET", "/healthz", &with_right, "").0, 200);
    }
    let (_, stats) = server.ask("GET", "/stats", &with_right, "");
    assert!(stats["control"]["evicted"].as_u64().unwrap() > 400, "{stats}");
    assert!(stats["control"]["open"].as_u64().unwrap() <= 160, "{stats}");
    drop(strangers);
}

#[test]
fn strangers_with_half_requests_do_not_keep_a_sender_out_and_are_told() {
    let server = with_token(&["--head-timeout", "1h"]);
    let mut first = sent(&server, "POST /send/1 HTTP/1.1\r\nHost: x\r\n");
    let strangers: Vec<_> = (0..400)
        .map(|number| match number % 3 {
            0 => sent(&server, "POST /send/1 HTTP/1.1\r\nHost: x\r\n"),
            1 => sent(&server, "POST /send/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nha"),
            _ => sent(&server, "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"),
        })
        .collect();
    assert_eq!(statuses(&first.read_to_end()), ["503"], "there is no room for it");
    let mut sender = sent(&server, with_right("GET /healthz HTTP/1.1\r\nHost: x\r\n"));
    sender.expect("HTTP/1.1 200 OK\r\n");
    drop(strangers);
}

/// A request of the given first lines, with the token.
fn with_right(lines: &str) -> String {
    format!("{lines}Authorization: Bearer {TOKEN}\r\n\r\n")
}

/// Connections that have made a request and are idle.
fn idle(server: &Server, n: usize, request: &str) -> Vec<Client> {
    let mut clients: Vec<_> = (0..n).map(|_| sent(server, request)).collect();
    for client in &mut clients {
        client.expect("HTTP/1.1 200 OK\r\n");
    }
    clients
}

#[test]
fn where_idle_senders_hold_all_places_the_next_one_is_served_all_the_same() {
    let healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let server = Server::start(&["--head-timeout", "1h"]);
    // So many are busy or were just now that nobody can go. Further ones are served once each.
    let mut inside = idle(&server, 200, healthz);
    assert_eq!(server.send(7, "void"), 0);
    // Once some have been idle for a second, they go for others, the first ones first.
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let mut sender = server.door();
        sender.catch_up();
        if sender.try_ask("GET", "/healthz", "").is_some() {
            break;
        }
    }
    let rest = inside[0].read_to_end();
    assert!(rest.ends_with("{\"status\":\"ok\"}"), "it goes without a word: {rest}");
}

#[test]
fn strangers_do_not_push_out_a_sender_that_has_shown_the_token() {
    let server = with_token(&["--head-timeout", "1h"]);
    let healthz = with_right("GET /healthz HTTP/1.1\r\nHost: x\r\n");
    let mut inside = idle(&server, 143, &healthz);
    let strangers: Vec<_> = (0..300).map(|_| Client::connect(server.control)).collect();
    let wrong: Vec<_> =
        (0..100).map(|_| sent(&server, "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    for client in &mut inside {
        client.stream.write_all(healthz.as_bytes()).unwrap();
    }
    for client in &mut inside {
        let mut answers = String::new();
        while answers.matches("{\"status\":\"ok\"}").count() < 2 {
            let mut bytes = [0; 1024];
            let n = client.stream.read(&mut bytes).unwrap();
            assert!(n > 0, "a sender was closed: {answers}");
            answers.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
    }
    drop((strangers, wrong));
}

#[test]
fn web_pages_cannot_use_the_door() {
    let server = Server::start(&["--control-host", "comet.example"]);
    let post = |fields: &str| {
        let head = format!("POST /send/7 HTTP/1.1\r\nConnection: close\r\n{fields}\r\n");
        statuses(&sent(&server, head).read_to_end())[0].to_owned()
    };
    assert_eq!(post("Host: localhost\r\n"), "200");
    assert_eq!(post("Host: 127.0.0.1:8001\r\nSec-Fetch-Site: none\r\n"), "200");
    assert_eq!(post("Host: comet.example\r\n"), "200");
    for refused in [
        "Host: evil.example\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(post(refused), "403", "{refused}");
    }
    let mut absolute = sent(
        &server,
        "POST http://evil.example/send/7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let answer = absolute.read_to_end();
    assert!(answer.contains("start the server with --control-host NAME"), "{answer}");
    let mut old = sent(&server, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(statuses(&old.read_to_end()), ["200"], "HTTP/1.0 has no Host");
    let stats = server.stats();
    assert_eq!((&stats["messages"], &stats["control"]["refused"]["403"]), (&json!(3), &json!(6)));
}

#[test]
fn with_a_token_the_host_does_not_matter_and_bearer_has_no_case() {
    let server = with_token(&[]);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let fields = format!("Authorization: {scheme} {TOKEN}\r\nOrigin: http://a.example\r\n");
        assert_eq!(server.ask("GET", "/healthz", &fields, "").0, 200, "{scheme}");
    }
}

#[test]
fn idle_connections_hold_no_room() {
    const N: usize = 140;
    let server = Server::start(&["--head-timeout", "1h"]);
    let healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // So that everything that is made once is there.
    drop(idle(&server, 1, healthz));
    server.stats();
    let before_kb = server.anon_kb();
    let clients = idle(&server, N, healthz);
    let with_kb = server.anon_kb();
    assert!(with_kb <= before_kb + 2 * N as u64, "{before_kb} to {with_kb} KB");
    drop(clients);
    // Room for many answers, which all of them need at once, goes when nobody has needed it for a
    // moment; the allocator may keep some of it.
    let clients = idle(&server, N, &format!("{}{healthz}", SEND.repeat(20)));
    let deadline = Instant::now() + DEADLINE;
    while server.anon_kb() > before_kb + 1_500 {
        assert!(Instant::now() < deadline, "{before_kb} to {} KB", server.anon_kb());
        server.stats();
    }
    drop(clients);
}

#[test]
fn a_server_at_its_end_answers_what_it_has_begun() {
    let mut server = Server::start(&["--grace", "10s"]);
    let mut seven = server.follow("7");
    let mut idle = idle(&server, 3, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut half = sent(&server, "POST /send/7 HTTP/1.1\r\n");
    let mut busy = sent(&server, &SEND[..SEND.len() - 1]);
    server.door().catch_up();
    server.signal("-TERM");
    assert_eq!(statuses(&half.read_to_end()), ["503"]);
    for client in &mut idle {
        assert!(client.read_to_end().ends_with("{\"status\":\"ok\"}"));
    }
    let is_closed = || TcpStream::connect(server.control).is_err();
    testing::wait_until("it no longer listens", is_closed);
    busy.stream.write_all(b"e").unwrap();
    let answer = busy.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(server.wait().success());
    assert_eq!(seven.read_to_end(), "0\r\n\r\n");
}
