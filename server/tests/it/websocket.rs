//! WebSockets: what they get, what they may say, and how they end.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use serde_json::json;

use crate::support::{Client, HEAD, Server, UPGRADE, UPGRADED, frame};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

#[test]
fn one_id_is_followed_by_chunks_events_and_websockets_side_by_side() {
    let mut server = Server::start(&[]);
    let mut html = server.follow("7");
    let accept = "Accept: text/event-stream\r\n";
    let mut events = server.connect(&format!("GET /test/7 HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
    events.expect(&HEAD.replace("text/html; charset=utf-8", "text/event-stream"));
    let mut sockets = [server.web_socket("7"), server.web_socket("8,7,9")];

    assert_eq!(server.send(7, "one\ntwo <b>'ü'"), 4);
    html.expect_message(1, "one\ntwo &lt;b&gt;&#39;ü&#39;");
    assert_eq!(events.next_chunk().unwrap(), "id: 1\ndata: one\ndata: two <b>'ü'\n\n");
    for socket in &mut sockets {
        socket.expect_frame(1, "one\ntwo <b>'ü'");
    }
    assert_eq!(server.send(9, "another id"), 1);
    sockets[1].expect_frame(2, "another id");

    // A logout is no fault; a server that goes down says that it goes.
    assert_eq!(server.ask("DELETE", "/logins/9", "", "").0, 200);
    sockets[1].expect_close(1000);
    server.signal("-TERM");
    sockets[0].expect_close(1001);
    assert_eq!(html.read_to_end(), "0\r\n\r\n");
    assert!(server.wait().success());
}

#[test]
fn a_message_is_one_frame_whatever_its_length() {
    let server = Server::start(&[]);
    let mut socket = server.web_socket("7");
    let n_fixed = "Recvd msg #1: ".len();
    let lengths = [0, 1, 125 - n_fixed, 126 - n_fixed, 1_000, 65_535 - n_fixed, 65_536 - n_fixed];
    for (number, n_bytes) in (1..).zip(lengths.into_iter().chain([65_536])) {
        let message = "x".repeat(n_bytes);
        assert_eq!(server.send(7, &message), 1);
        socket.expect_frame(number, &message);
    }
}

#[test]
fn an_upgrade_that_comes_in_two_parts_is_the_same() {
    let server = Server::start(&[]);
    let request = format!("GET /test/7 HTTP/1.1\r\n{UPGRADE}\r\n");
    let mut door = server.door();
    for cut in 1..request.len() {
        let (before, after) = request.split_at(cut);
        let mut client = server.connect(before);
        client.stream.set_nodelay(true).unwrap();
        door.catch_up();
        client.stream.write_all(after.as_bytes()).unwrap();
        client.expect(UPGRADED);
        client.say(PING, b"x");
        client.expect_bytes(&[PONG, 1, b'x']);
        client.say(CLOSE, b"");
        client.expect_bytes(&[CLOSE, 0]);
    }
}

#[test]
fn another_version_is_told_which_one_there_is() {
    let server = Server::start(&[]);
    let request = format!("GET /test/7 HTTP/1.1\r\n{UPGRADE}\r\n").replace(": 13", ": 12");
    let answer = server.connect(&request).read_to_end();
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    let fields = "\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\n\r\n";
    assert!(answer.contains(fields), "{answer}");
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"], json!({ "unknown_version": 1 }));
}

#[test]
fn frames_before_the_answer_are_refused() {
    let server = Server::start(&[]);
    let request = format!("GET /test/7 HTTP/1.1\r\n{UPGRADE}\r\n");
    let mut eager = Client::connect(server.public);
    eager.stream.write_all(&[request.as_bytes(), &frame(PING, b"")].concat()).unwrap();
    let answer = eager.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("waits for the answer"), "{answer}");
}

#[test]
fn pings_are_answered_and_the_rest_is_dropped() {
    let server = Server::start(&[]);
    let mut socket = server.web_socket("7");
    // Fragments of a message around a ping; the pings in one piece and byte by byte.
    socket.say(0x01, "κ".as_bytes());
    socket.say(PING, b"between");
    socket.say(0x80, b"end");
    socket.expect_bytes(&[&[PONG, 7], &b"between"[..]].concat());
    let longest = [b'p'; 125];
    for byte in frame(PING, &longest) {
        socket.stream.write_all(&[byte]).unwrap();
    }
    socket.expect_bytes(&[&[PONG, 125], &longest[..]].concat());
    socket.say(BINARY, b"\xff\x00");
    socket.say(PONG, b"nobody asked");
    let both = [frame(PING, b"1"), frame(TEXT, b"text"), frame(PING, b"2")].concat();
    socket.stream.write_all(&both).unwrap();
    socket.expect_bytes(&[PONG, 1, b'1', PONG, 1, b'2']);
    assert_eq!(server.send(7, "still here"), 1);
    socket.expect_frame(1, "still here");
    // Pongs are no messages: the books know nothing of them.
    let stats = server.wait_for_stats(|stats| stats["chunks_written"] == 1);
    assert_eq!((&stats["chunks"], &stats["close_codes"]), (&json!(1), &json!({})));
}

#[test]
fn a_goodbye_is_answered_and_counted_by_its_code() {
    let server = Server::start(&[]);
    let goodbye = |payload: &[u8], echo: &[u8]| {
        let mut socket = server.web_socket("7");
        // What comes behind a close frame is not looked at.
        socket.stream.write_all(&[frame(CLOSE, payload), frame(PING, b"x")].concat()).unwrap();
        socket.expect_bytes(echo);
        assert!(socket.is_cut());
    };
    goodbye(b"", &[CLOSE, 0]);
    for code in [1000, 1001, 1001, 1011, 3000, 4999] {
        let [high, low] = u16::to_be_bytes(code);
        goodbye(&[&[high, low], "good bye ü".as_bytes()].concat(), &[CLOSE, 2, high, low]);
    }
    // Without a goodbye: an end of its half, and a reset.
    server.web_socket("7").stream.shutdown(Shutdown::Write).unwrap();
    drop(server.web_socket("7"));
    server.web_socket("7").reset();
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    let codes = json!({ "1000": 1, "1001": 2, "1005": 1, "1006": 3, "1011": 1, "other": 2 });
    assert_eq!(stats["close_codes"], codes);
    assert_eq!(stats["connections_closed"], json!({ "peer": 9, "reset": 1 }));
    let (_, metrics) = server.door().ask("GET", "/metrics", "");
    for line in
        ["comet_close_codes_total{code=\"1006\"} 3", "comet_close_codes_total{code=\"1002\"} 0"]
    {
        assert!(metrics.lines().any(|one| one == line), "{line} in {metrics}");
    }
}

#[test]
fn who_breaks_the_rfc_is_told_how_and_counted() {
    let server = Server::start(&[]);
    let unmasked = vec![TEXT, 1, b'x'];
    let unfinished = frame(TEXT, "ü".as_bytes().split_at(1).0);
    let too_large = vec![BINARY, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let of_2_63 = vec![BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cases = [
        (unmasked, 1002),
        (frame(0x91, b""), 1002),
        (frame(0x83, b""), 1002),
        (frame(0x80, b"of nothing"), 1002),
        (frame(0x09, b""), 1002),
        (vec![TEXT, 0xfe, 0, 5], 1002),
        (of_2_63, 1002),
        (frame(CLOSE, &[3]), 1002),
        (frame(CLOSE, &1006_u16.to_be_bytes()), 1002),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (unfinished, 1007),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"x")].concat(), 1007),
        (too_large, 1009),
    ];
    for (bytes, code) in &cases {
        for cut in 0..bytes.len() {
            let mut socket = server.web_socket("7");
            socket.stream.write_all(&bytes[..cut]).unwrap();
            // A ping for the server's one thread to have read the first part.
            server.door().catch_up();
            // It may have seen enough by then.
            _ = socket.stream.write_all(&bytes[cut..]);
            socket.expect_close(*code);
        }
    }
    let n_with = |code| -> usize {
        cases.iter().filter(|case| case.1 == code).map(|(bytes, _)| bytes.len()).sum()
    };
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    let closed = json!({
        "bad_frame": n_with(1002), "bad_text": n_with(1007), "frame_too_large": n_with(1009)
    });
    assert_eq!(stats["connections_closed"], closed);
    assert_eq!(stats["close_codes"], json!({}), "the peers have not ended them");
    // With a reason for the person who reads it.
    let mut unmasked = server.web_socket("7");
    unmasked.stream.write_all(&[TEXT, 0]).unwrap();
    unmasked.expect_bytes(&[&[CLOSE, 24, 3, 0xea], &b"a frame without a mask"[..]].concat());
}

#[test]
fn more_than_64_kib_unasked_is_too_much() {
    let server = Server::start(&[]);
    let mut socket = server.web_socket("7");
    // 131 bytes each; 500 of them are 65,500.
    let text = frame(TEXT, &[b'x'; 125]);
    for _ in 0..500 {
        socket.stream.write_all(&text).unwrap();
    }
    assert_eq!(server.send(7, "still here"), 1);
    socket.expect_frame(1, "still here");
    socket.say(PING, &[b'y'; 30]);
    socket.expect_bytes(&[&[PONG, 30], &[b'y'; 30][..]].concat());
    // Of a ping one byte is too many.
    _ = socket.stream.write_all(&frame(PING, b""));
    socket.expect_close(1008);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"], json!({ "chatty": 1 }));
}

#[test]
fn a_flood_of_pings_that_reads_nothing_is_closed_and_holds_nobody_up() {
    let server = Server::start(&[]);
    let mut good = server.web_socket("7");
    let mut flood = server.web_socket("7");
    let pings = frame(PING, &[b'x'; 125]).repeat(1_000);
    _ = flood.stream.write_all(&pings);
    assert_eq!(server.wait_for_stats(|stats| stats["connections_open"] == 1)["messages"], 0);
    assert_eq!(server.send(7, "unharmed"), 1);
    good.expect_frame(1, "unharmed");
    assert_eq!(server.stats()["connections_closed"], json!({ "chatty": 1 }));
}

#[test]
fn who_answers_pings_stays_and_who_does_not_is_closed() {
    let server = Server::start(&["--ping", "2ms"]);
    let mut silent = server.web_socket("8");
    // Alive, but says other things.
    let mut talker = server.web_socket("8");
    _ = talker.stream.write_all(&frame(TEXT, b"I am here"));
    for socket in [&mut silent, &mut talker] {
        assert!(b"\x89\0\x89\0".starts_with(&until_cut(socket)), "it is pinged a third time");
    }
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"], json!({ "timed_out": 2 }));

    // One that is silent for three of these is closed; a busy machine takes less than two.
    let server = Server::start(&["--ping", "500ms"]);
    let mut good = server.web_socket("7");
    for _ in 0..5 {
        good.expect_bytes(&[PING, 0]);
        good.say(PONG, b"");
    }
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 1);
    assert_eq!(stats["connections_closed"], json!({}));
}

#[test]
fn answers_to_pings_cost_nothing() {
    let server = Server::start(&["--ping", "500ms"]);
    let mut socket = server.web_socket("7");
    // 65,500 bytes: 36 are left, and forgiving adds 18 a second.
    socket.stream.write_all(&frame(TEXT, &[b'x'; 125]).repeat(500)).unwrap();
    for _ in 0..4 {
        socket.expect_bytes(&[PING, 0]);
        socket.say(PONG, &[b'x'; 125]);
    }
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 1);
    assert_eq!(stats["connections_closed"], json!({}));
}

#[test]
fn half_a_frame_is_waited_for_and_holds_nobody_up() {
    let server = Server::start(&[]);
    let ping = frame(PING, b"12345");
    let mut halves: Vec<_> = (1..ping.len())
        .map(|cut| {
            let mut socket = server.web_socket("7");
            socket.stream.write_all(&ping[..cut]).unwrap();
            (cut, socket)
        })
        .collect();
    let n_halves = halves.len() as u64;
    assert_eq!(server.send(7, "meanwhile"), n_halves);
    for (cut, socket) in &mut halves {
        socket.stream.write_all(&ping[*cut..]).unwrap();
        let mut seen = Vec::new();
        let wanted = [&b"\x8a\x0512345"[..], b"Recvd msg #1: meanwhile"];
        while !wanted.iter().all(|wanted| contains(&seen, wanted)) {
            let mut bytes = [0; 100];
            let n = socket.stream.read(&mut bytes).unwrap();
            assert!(n > 0, "closed after {seen:?}");
            seen.extend_from_slice(&bytes[..n]);
        }
    }
    // And one that sends no more: it answers no ping, as it cannot.
    let server = Server::start(&["--ping", "50ms"]);
    let mut stopped = server.web_socket("8");
    stopped.stream.write_all(&ping[..3]).unwrap();
    until_cut(&mut stopped);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"]["timed_out"], 1, "{stats}");
}

/// What comes before a connection is cut: a reset may destroy some of it.
fn until_cut(socket: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    _ = socket.stream.read_to_end(&mut bytes);
    bytes
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn who_asks_and_does_not_read_gets_one_answer_behind_what_waits_for_it() {
    let server = Server::start(&["--backlog", "1MiB"]);
    let mut socket = server.web_socket("7");
    let message = "x".repeat(60_000);
    let mut n_sent = 0;
    while server.stats()["chunks_queued"] == 0 {
        assert_eq!(server.send(7, &message), 1);
        n_sent += 1;
        assert!(n_sent < 1_000, "60 MB fit into the kernel");
    }
    for ping in b'a'..=b'z' {
        socket.say(PING, &[ping]);
    }
    // Read by the server before the socket has room again.
    server.door().catch_up();
    for n in 1..=n_sent {
        socket.expect_frame(n, &message);
    }
    socket.expect_bytes(&[PONG, 1, b'z']);
    socket.say(PING, b"!");
    socket.expect_bytes(&[PONG, 1, b'!']);
    let stats = server.wait_for_stats(|stats| stats["chunks_queued"] == 0);
    assert_eq!((&stats["chunks_written"], &stats["backlog_bytes"]), (&json!(n_sent), &json!(0)));
}

#[test]
fn what_waits_for_a_slow_reader_comes_before_the_end() {
    let server = Server::start(&["--backlog", "1MiB"]);
    let message = "x".repeat(60_000);
    let fill = |id: u64| {
        let socket = server.web_socket(&id.to_string());
        let n_queued = || server.stats()["chunks_queued"].as_u64().unwrap();
        let (mut n_sent, n_before) = (0, n_queued());
        while n_queued() == n_before {
            assert_eq!(server.send(id, &message), 1);
            n_sent += 1;
        }
        (socket, n_sent)
    };
    let [mut logged_out, mut leaving, mut faulty] = [1, 2, 3].map(fill);
    assert_eq!(server.ask("DELETE", "/logins/1", "", "").0, 200);
    leaving.0.say(CLOSE, &1001_u16.to_be_bytes());
    faulty.0.say(0x83, b"");
    for ((socket, n_sent), code) in [(&mut logged_out, 1000), (&mut leaving, 1001)] {
        for n in 1..=*n_sent {
            socket.expect_frame(n, &message);
        }
        socket.expect_close(code);
    }
    // Who breaks the RFC and does not read is not waited for.
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    let closed = json!({ "bad_frame": 1, "logout": 1, "peer": 1 });
    assert_eq!(stats["connections_closed"], closed);
    assert_eq!(stats["close_codes"], json!({ "1001": 1 }));
    assert_eq!(stats["chunks_dropped"].as_object().unwrap().len(), 1, "{stats}");
    assert!(stats["chunks_dropped"]["bad_frame"].as_u64().unwrap() > 0, "{stats}");
}

#[test]
fn a_slow_reader_is_closed_as_others_are() {
    let server = Server::start(&["--backlog", "64KiB"]);
    let slow = server.web_socket("1");
    let mut good = server.web_socket("2");
    let message = "x".repeat(4_096);
    let mut n_sent = 0;
    while server.send(1, &message) == 1 {
        n_sent += 1;
        assert!(n_sent < 2_000, "8 MB waited for one reader");
    }
    assert_eq!(server.send(2, "unharmed"), 1);
    good.expect_frame(1, "unharmed");
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    assert_eq!(stats["connections_closed"], json!({ "slow_reader": 1 }));
    drop(slow);
}
