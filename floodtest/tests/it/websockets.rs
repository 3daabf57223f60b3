//! WebSockets, against servers that do as scripted: what is asked, what is said, how they end.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reports::books::{ByReason, FloodReport, ItemKind};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;
use sha1::{Digest as _, Sha1};

use crate::https;
use crate::support::{Ended, Server, UrlFile, run, start, start_limited};

/// The value of a field of a request.
fn field<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}: ");
    request.split("\r\n").find_map(|line| line.strip_prefix(start.as_str()))
}

/// What a server has to answer to the key of a request.
fn accept(request: &str) -> String {
    let key = field(request, "Sec-WebSocket-Key").unwrap();
    let guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    BASE64.encode(Sha1::new().chain_update(key).chain_update(guid).finalize())
}

/// A response that opens the WebSocket of a request, with further lines.
fn upgrade(request: &str, lines: &str) -> String {
    let accept = accept(request);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         {lines}Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// A short frame of a server.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, length], payload].concat()
}

/// A close frame.
fn close(code: u16) -> Vec<u8> {
    frame(0x88, code.to_be_bytes())
}

/// The next frame of a client: its first byte, and what is in it. `None` if there is none.
fn read_frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).ok()?;
    let [first, second] = header;
    assert_eq!(second & 0x80, 0x80, "frames of a client are masked");
    let length = match second & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).unwrap();
            u64::from_be_bytes(length)
        }
        length => length.into(),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).unwrap();
    let mut payload = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((first, payload))
}

/// A server that does to each request what its script says.
fn serve(script: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Server {
    Server::start_on_requests(TcpListener::bind("127.0.0.1:0").unwrap(), script)
}

/// A server that opens the WebSocket and then sends these bytes, and hands on what came back.
fn sending(bytes: Vec<u8>) -> (Server, Receiver<(u8, Vec<u8>)>) {
    let (sender, frames) = channel();
    let server = serve(move |request, stream| {
        stream.write_all(&[upgrade(request, "").as_bytes(), &bytes].concat()).unwrap();
        hand_on(stream, &sender);
    });
    (server, frames)
}

/// Hands on all frames of a client.
fn hand_on(stream: &mut impl Read, frames: &Sender<(u8, Vec<u8>)>) {
    while let Some(frame) = read_frame(stream) {
        let _ = frames.send(frame);
    }
}

/// The frames of a client up to the one that closes.
fn until_close(frames: &Receiver<(u8, Vec<u8>)>) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while all.last().is_none_or(|(first, _)| *first != 0x88) {
        all.push(frames.recv_timeout(DEADLINE).unwrap());
    }
    all
}

/// The URLs of `n` WebSockets of a server.
fn urls(server: &Server, n: u64) -> UrlFile {
    let address = server.address;
    let lines: Vec<String> = (1..=n).map(|id| format!("ws://{address}/test/{id}")).collect();
    UrlFile::of(&lines.join("\n"))
}

/// One reason and its count.
fn reasons<const N: usize>(counts: [(&str, u64); N]) -> ByReason {
    counts.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect()
}

/// A run of one WebSocket to its end.
fn ended(server: &Server, args: &[&str]) -> Ended {
    let urls = urls(server, 1);
    run(&[&["--urls", urls.path(), "--json"], args].concat())
}

/// What is said about the first that failed or closed.
fn detail(report: &FloodReport) -> &str {
    report.examples[0].detail.as_deref().unwrap_or_default()
}

/// Bytes of a message without end: much more than may be kept.
const N_BYTES: usize = 32 * 1024 * 1024;

/// How long a server waits for something. Reached only when a test fails.
const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn the_request_asks_for_a_websocket_with_a_key_of_its_own() {
    let server = serve(|request, stream| {
        let protocol = "Sec-WebSocket-Protocol: mqtt\r\n";
        stream.write_all(upgrade(request, protocol).as_bytes()).unwrap();
        read_frame(stream);
    });
    let urls = urls(&server, 20);
    let args = ["--urls", urls.path(), "--rate", "max", "--hold", "0s", "--json"];
    let asked = ["--header", "X-Token: {place}", "--protocol", "chat,mqtt"];
    let report = run(&args).report();
    assert_eq!(report.failures, reasons([("bad upgrade", 20)]));
    assert_eq!(detail(&report), "it chose a subprotocol that was not asked for");

    let report = run(&[&args[..], &asked].concat()).with_code(0).report();
    assert_eq!((report.connected, report.item_kind), (20, ItemKind::Frames));
    assert_eq!(report.content_types, reasons([("websocket", 20)]));
    let requests = server.requests();
    let mut keys = BTreeSet::new();
    for request in requests.iter().filter(|it| it.text.contains("X-Token")) {
        let text = &request.text;
        assert!(text.starts_with("GET /test/"), "{text}");
        for (name, value) in [
            ("Host", server.address.to_string().as_str()),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Protocol", "chat, mqtt"),
        ] {
            assert_eq!(field(text, name), Some(value), "{text}");
        }
        assert_eq!(field(text, "Sec-WebSocket-Extensions"), None, "{text}");
        keys.insert(field(text, "Sec-WebSocket-Key").unwrap().to_owned());
    }
    assert_eq!(keys.len(), 20);
}

/// Lines that a response without `line` has, and `more`.
fn without(request: &str, line: &str, more: &str) -> String {
    let mut lines: Vec<String> =
        upgrade(request, "").split_inclusive("\r\n").map(str::to_owned).collect();
    lines.retain(|it| !it.starts_with(line));
    lines.insert(1, more.to_owned());
    lines.concat()
}

/// How a server answers a request.
type Answer = fn(&str) -> String;

/// A proxy's own page.
const HTML: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n\
                    <title>A proxy</title>\n...";

/// Answers that open no WebSocket, under which word they are counted, and what is said about them.
const REFUSALS: [(Answer, &str, &str); 17] = [
    (|_| HTML.to_owned(), "status 200", "\"<title>A proxy</title>\""),
    (
        |_| "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 3\r\n\r\nno\n".to_owned(),
        "status 426",
        "\"no\"",
    ),
    (
        |_| "HTTP/1.1 301 \r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "status 301",
        "Location: /x",
    ),
    (|request| without(request, "Upgrade", ""), "bad upgrade", "Upgrade is not websocket"),
    (
        |request| without(request, "Upgrade", "Upgrade: h2c\r\n"),
        "bad upgrade",
        "Upgrade is not websocket",
    ),
    (|request| without(request, "Connection", ""), "bad upgrade", "does not name Upgrade"),
    (
        |request| without(request, "Connection", "Connection: keep-alive\r\n"),
        "bad upgrade",
        "does not name Upgrade",
    ),
    (|request| without(request, "Sec-W", ""), "bad upgrade", "has no Sec-WebSocket-Accept"),
    (
        |request| {
            let key = field(request, "Sec-WebSocket-Key").unwrap();
            without(request, "Sec-W", &format!("Sec-WebSocket-Accept: {key}\r\n"))
        },
        "bad upgrade",
        "does not follow from the key",
    ),
    (
        |request| {
            let accept = accept(request).to_lowercase();
            without(request, "Sec-W", &format!("Sec-WebSocket-Accept: {accept}\r\n"))
        },
        "bad upgrade",
        "does not follow from the key",
    ),
    (
        |request| upgrade(request, &format!("Sec-WebSocket-Accept: {}\r\n", accept(request))),
        "bad upgrade",
        "is there twice",
    ),
    (
        |request| upgrade(request, "Sec-WebSocket-Protocol: chat\r\n"),
        "bad upgrade",
        "a subprotocol that was not asked for",
    ),
    (
        |request| upgrade(request, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        "bad upgrade",
        "chose an extension",
    ),
    (
        |request| upgrade(request, "").replace("HTTP/1.1", "HTTP/1.0"),
        "bad upgrade",
        "version is HTTP/1.0",
    ),
    (|request| upgrade(request, "").replace("\r\n", "\n"), "bad head", "no status line"),
    (|request| upgrade(request, "no field\r\n"), "bad head", "a line is not name"),
    (|_| String::new(), "cut", ""),
];

#[test]
fn what_opens_no_websocket_is_named() {
    for (answer, reason, words) in REFUSALS {
        let server = serve(move |request, stream| {
            let _ = stream.write_all(answer(request).as_bytes());
        });
        let report = ended(&server, &[]).with_code(2).report();
        assert_eq!(report.failures, reasons([(reason, 1)]), "{words}");
        assert_eq!(report.established, 0);
        assert!(detail(&report).contains(words), "{reason}: {}", detail(&report));
    }
}

#[test]
fn a_response_that_opens_it_may_be_written_in_any_way() {
    let server = serve(|request, stream| {
        let text = format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 \r\nupgrade:\tWebSocket\r\nX: y\r\n\
             CONNECTION: keep-alive ,upgrade\r\nSEC-websocket-accept: {}\r\n\
             Sec-WebSocket-Extensions: \r\n\r\n",
            accept(request)
        );
        let bytes = [text.as_bytes(), &frame(0x81, "x")].concat();
        for byte in &bytes {
            stream.write_all(&[*byte]).unwrap();
        }
        read_frame(stream);
    });
    let urls = urls(&server, 1);
    let args = ["--urls", urls.path(), "--json", "--report", "20ms"];
    let mut running = start(&args);
    running.wait_for(|report| report.items == 1);
    running.signal(Signal::INT);
    assert_eq!(running.end().with_code(0).report().connected, 1);
}

#[test]
fn messages_are_items_and_pings_are_answered() {
    let bytes = [
        frame(0x81, "Recvd msg #1: a"),
        frame(0x01, "Recvd m"),
        frame(0x89, "are you there?"),
        frame(0x00, "sg #2"),
        frame(0x80, ": b"),
        frame(0x82, [0xff]),
        frame(0x8a, "nobody asked"),
        frame(0x81, "Recvd msg #4: d"),
    ]
    .concat();
    for piece_len in [usize::MAX, 1] {
        let (sender, frames) = channel();
        let bytes = bytes.clone();
        let server = serve(move |request, stream| {
            let head = upgrade(request, "Server: comet-server/0.1.0\r\n");
            let bytes = [head.as_bytes(), &bytes].concat();
            bytes.chunks(piece_len).for_each(|piece| stream.write_all(piece).unwrap());
            hand_on(stream, &sender);
        });
        let urls = urls(&server, 1);
        let mut running = start(&["--urls", urls.path(), "--json", "--report", "20ms"]);
        running.wait_for(|report| report.items == 4);
        let pong = frames.recv_timeout(DEADLINE).unwrap();
        assert_eq!(pong, (0x8a, b"are you there?".to_vec()));
        running.signal(Signal::INT);
        let report = running.end().with_code(1).report();
        // It says that it goes.
        assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), (0x88, vec![3, 233]));
        assert_eq!((report.connected, report.items, report.comments), (1, 4, 2), "{report:?}");
        assert_eq!((report.messages, report.lost, report.unnumbered), (3, Some(1), 1));
        assert_eq!((report.item_kind, report.chunks), (ItemKind::Frames, 0));
    }
}

#[test]
fn what_is_to_be_said_is_said_in_order() {
    let file = UrlFile::of("from a {1}\\n");
    let (sender, frames) = channel();
    let server = serve(move |request, stream| {
        let long = [&[0x81, 126, 1, 0][..], b"ping", &[b'x'; 252]].concat();
        let bytes = [frame(0x81, "2"), frame(0x81, "2probe"), long, frame(0x82, "3")].concat();
        stream.write_all(upgrade(request, "").as_bytes()).unwrap();
        // One that is answered comes in pieces, with something between them.
        let cut = [frame(0x01, "p"), frame(0x89, "!"), frame(0x80, "ing")].concat();
        [bytes, cut].concat().iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        hand_on(stream, &sender);
    });
    let urls = UrlFile::of(&format!("ws://{}/\tfield", server.address));
    let on_file = format!("@{}", file.path());
    let args = ["--urls", urls.path(), "--json", "--report", "20ms"];
    let says = [
        "--on-open",
        r"CONNECT {}\r\n\x41 {1}",
        "--on-open",
        "",
        "--on-open",
        &on_file,
        "--answer",
        "ping=>pong {1}",
        "--answer",
        "2=>3",
        "--answer",
        "2probe=>never",
    ];
    let mut running = start(&[&args[..], &says].concat());
    running.wait_for(|report| report.items == 5);
    running.signal(Signal::INT);
    running.end().with_code(0);
    let mut frames = until_close(&frames);
    // A ping is answered when all of a read was looked at; where that is, reads decide.
    let pong = frames.iter().position(|(first, _)| *first == 0x8a).unwrap();
    assert_eq!(frames.remove(pong), (0x8a, b"!".to_vec()));
    assert_eq!(frames.pop(), Some((0x88, vec![3, 233])));
    let said: Vec<_> =
        frames.iter().map(|(first, text)| (*first, str::from_utf8(text).unwrap())).collect();
    assert_eq!(
        said,
        [
            (0x81, "CONNECT {}\r\nA field"),
            (0x81, ""),
            (0x81, "from a field\\n"),
            (0x81, "3"),
            (0x81, "3"),
            (0x81, "pong field"),
            (0x81, "pong field"),
        ]
    );
}

#[test]
fn binary_frames_are_sent_where_that_is_said() {
    let (server, frames) = sending(frame(0x82, [0xff, 0]));
    let urls = UrlFile::of(&format!("ws://{}/x", server.address));
    let args = ["--urls", urls.path(), "--binary", "--on-open", r"\xff{place}"];
    let mut running = start(&[&args[..], &["--answer", r"\xff=>\x00"]].concat());
    let two = [frames.recv_timeout(DEADLINE).unwrap(), frames.recv_timeout(DEADLINE).unwrap()];
    assert_eq!(two, [(0x82, vec![0xff, b'0']), (0x82, vec![0])]);
    assert!(!running.is_over());
    running.signal(Signal::INT);
    running.end().with_code(0);
}

#[test]
fn a_close_is_answered_and_counted_by_its_code() {
    for (bytes, answer, word, is_orderly) in [
        (close(1_000), vec![3, 232], "close 1000", true),
        (close(1_001), vec![3, 233], "close 1001", true),
        (close(1_009), vec![3, 241], "close 1009", false),
        (close(4_321), vec![16, 225], "close 4321", false),
        (frame(0x88, ""), vec![], "close 1005", false),
        (frame(0x88, b"\x03\xf3why"), vec![3, 243], "close 1011", false),
    ] {
        let (sender, frames) = channel();
        let bytes = [frame(0x81, "x"), bytes].concat();
        let server = serve(move |request, stream| {
            stream.write_all(&[upgrade(request, "").as_bytes(), &bytes].concat()).unwrap();
            // It closes when it is answered, as it should.
            let _ = sender.send(read_frame(stream));
        });
        let report = ended(&server, &["--ends", "ok"]).with_code((!is_orderly).into()).report();
        assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), Some((0x88, answer)), "{word}");
        assert_eq!(report.closures, reasons([(word, 1)]));
        assert_eq!((report.items, report.ended), (1, u64::from(is_orderly)), "{word}");
        let held = ended(&server, &[]).with_code(1);
        held.mentioning(&format!("1 of 1 connections closed before the end: 1 {word}"));
    }
}

#[test]
fn a_close_without_a_close_frame_is_cut() {
    for bytes in [vec![], frame(0x81, "x"), vec![0x81, 5, b'x'], vec![0x89, 3, b'x'], vec![0x88]] {
        let server = serve(move |request, stream| {
            stream.write_all(&[upgrade(request, "").as_bytes(), &bytes].concat()).unwrap();
        });
        let report = ended(&server, &["--ends", "ok"]).with_code(1).report();
        assert_eq!((report.closures, report.ended), (reasons([("cut", 1)]), 0));
    }
}

#[test]
fn a_server_that_sends_after_its_close_is_at_fault() {
    let (sender, frames) = channel();
    let server = serve(move |request, stream| {
        let bytes = [close(1_000), frame(0x81, "one more")].concat();
        stream.write_all(&[upgrade(request, "").as_bytes(), &bytes].concat()).unwrap();
        sender.send(read_frame(stream)).unwrap();
    });
    let report = ended(&server, &["--ends", "ok"]).with_code(1).report();
    assert_eq!((report.closures, report.items), (reasons([("bad frame", 1)]), 0));
    assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), None, "what came together is no close");

    // The same later: by then it is answered.
    let server = serve(|request, stream| {
        stream.write_all(&[upgrade(request, "").as_bytes(), &close(1_000)].concat()).unwrap();
        assert_eq!(read_frame(stream), Some((0x88, vec![3, 232])));
        stream.write_all(&frame(0x81, "one more")).unwrap();
        read_frame(stream);
    });
    let report = ended(&server, &["--ends", "ok"]).with_code(1).report();
    assert_eq!(report.closures, reasons([("bad frame", 1)]));
    assert_eq!(detail(&report), "something follows the close frame");
}

#[test]
fn a_server_that_does_not_close_after_its_close_is_closed() {
    let (closed, is_closed) = channel();
    let server = serve(move |request, stream| {
        stream.write_all(&[upgrade(request, "").as_bytes(), &close(1_001)].concat()).unwrap();
        assert_eq!(read_frame(stream), Some((0x88, vec![3, 233])));
        closed.send(stream.read(&mut [0]).unwrap()).unwrap();
    });
    let report = ended(&server, &["--ends", "ok"]).with_code(0).report();
    assert_eq!(is_closed.recv_timeout(DEADLINE).unwrap(), 0);
    assert_eq!((report.closures, report.ended), (reasons([("close 1001", 1)]), 1));
    // Thrown away after its close, it was closed with that code all the same.
    let server = serve(move |request, stream| {
        stream.write_all(&[upgrade(request, "").as_bytes(), &close(1_000)].concat()).unwrap();
        read_frame(stream);
        set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
    });
    let report = ended(&server, &["--ends", "ok"]).with_code(0).report();
    assert_eq!(report.closures, reasons([("close 1000", 1)]));
}

#[test]
fn frames_that_break_the_rfc_are_refused_with_a_code() {
    let masked = vec![0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1];
    let of_2_63 = [&[0x82, 127][..], &(1_u64 << 63).to_be_bytes()].concat();
    for (bytes, code, words) in [
        (masked, 1_002, "a frame is masked"),
        (of_2_63, 1_002, "a length is 2^63 or more"),
        (frame(0xc1, "x"), 1_002, "a reserved bit is set"),
        (frame(0x83, "x"), 1_002, "an opcode is reserved"),
        (frame(0x09, "x"), 1_002, "a control frame is fragmented"),
        (vec![0x89, 126, 0, 126], 1_002, "longer than 125 bytes"),
        (frame(0x80, "x"), 1_002, "continues no message"),
        ([frame(0x01, "x"), frame(0x81, "y")].concat(), 1_002, "within another one"),
        (close(1_005), 1_002, "no valid code"),
        (frame(0x81, b"\xe2\x82"), 1_007, "text is not UTF-8"),
        ([frame(0x01, b"\xe2"), frame(0x80, b"\x82x")].concat(), 1_007, "text is not UTF-8"),
        (frame(0x88, b"\x03\xe8\xff"), 1_007, "the reason in a close frame"),
    ] {
        let bytes = [frame(0x81, "good"), bytes].concat();
        let (server, frames) = sending(bytes);
        let report = ended(&server, &[]).with_code(1).report();
        assert_eq!(report.closures, reasons([("bad frame", 1)]), "{words}");
        assert_eq!((report.items, report.established), (1, 1), "{words}");
        assert!(detail(&report).contains(words), "{words}: {}", detail(&report));
        let expected = (0x88, u16::to_be_bytes(code).to_vec());
        assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), expected, "{words}");
    }
}

#[test]
fn half_a_frame_is_waited_for_and_a_message_without_end_is_not_kept() {
    for bytes in [vec![0x81], vec![0x82, 127, 0, 0], vec![0x89, 100, b'x'], vec![0x01, 3, 0xe2]] {
        let (server, _frames) = sending([frame(0x81, "x"), bytes].concat());
        let urls = urls(&server, 1);
        let mut running = start(&["--urls", urls.path(), "--json", "--report", "20ms"]);
        running.wait_for(|report| report.items == 1);
        running.signal(Signal::INT);
        let report = running.end().with_code(0).report();
        assert_eq!((report.connected, report.items), (1, 1));
    }
    // As long as it may be.
    let server = serve(|request, stream| {
        let head = [&[0x82, 127][..], &(u64::MAX / 2).to_be_bytes()].concat();
        stream.write_all(&[upgrade(request, "").as_bytes(), &head].concat()).unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..N_BYTES / piece.len() {
            stream.write_all(&piece).unwrap();
        }
    });
    let report = ended(&server, &[]).with_code(1).report();
    assert_eq!((&report.closures, report.items), (&reasons([("cut", 1)]), 0));
    assert!(report.bytes > N_BYTES as u64);
    let grown_kb = report.rss_kb.saturating_sub(report.rss_start_kb);
    assert!(grown_kb < N_BYTES as u64 / 1024 / 4, "{report:?}");
}

#[test]
fn a_flood_of_pings_that_nobody_reads_the_answers_of_holds_up_nothing() {
    let server = serve(|request, stream| {
        let pings = frame(0x89, [b'x'; 125]).repeat(10_000);
        stream.write_all(upgrade(request, "").as_bytes()).unwrap();
        if request.starts_with("GET /test/1 ") {
            // 13 MB, none of whose pongs is read.
            for _ in 0..10 {
                stream.write_all(&pings).unwrap();
            }
        }
        stream.write_all(&frame(0x81, "at last")).unwrap();
        let _ = stream.read(&mut [0]);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let urls = urls(&server, 3);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let mut running = start(&args);
    let report = running.wait_for(|report| report.items == 3);
    assert_eq!((report.comments, report.connected), (100_000, 3));
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    assert!(report.rss_kb < report.rss_start_kb + 16 * 1024, "{report:?}");
}

#[test]
fn wss_is_the_same_within_tls() {
    let (sender, frames) = channel();
    let address = https::serve_requests("server", None, move |request, stream| {
        let bytes = [
            frame(0x81, "Recvd msg #1: a"),
            frame(0x89, "ping"),
            frame(0x01, "Recvd msg #2: "),
            frame(0x80, "b"),
        ];
        let head = upgrade(request, "Server: comet-server/0.1.0\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A record for each byte.
        for byte in bytes.concat() {
            stream.write_all(&[byte]).unwrap();
            stream.flush().unwrap();
        }
        hand_on(stream, &sender);
    });
    let urls = UrlFile::of(&format!("wss://localhost:{}/test/1", address.port()));
    let args = ["--urls", urls.path(), "--ca", https::CA, "--json", "--report", "20ms"];
    let mut running = start(&[&args[..], &["--on-open", "hello"]].concat());
    running.wait_for(|report| report.items == 2);
    assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), (0x81, b"hello".to_vec()));
    assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), (0x8a, b"ping".to_vec()));
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    assert_eq!((report.connected, report.messages, report.lost), (1, 2, Some(0)));
    assert_eq!(frames.recv_timeout(DEADLINE).unwrap(), (0x88, vec![3, 233]));
}

#[test]
fn wss_ends_as_ws_does() {
    for (bytes, word) in
        [(close(1_000), "close 1000"), (vec![0x81, 0x80, 0, 0, 0, 0], "bad frame"), (vec![], "cut")]
    {
        let (sender, frames) = channel();
        let address = https::serve_requests("server", None, move |request, stream| {
            let bytes = [upgrade(request, "").as_bytes(), &bytes].concat();
            stream.write_all(&bytes).unwrap();
            stream.flush().unwrap();
            if word != "cut" {
                let _ = sender.send(read_frame(stream));
            }
        });
        let urls = UrlFile::of(&format!("wss://localhost:{}/x", address.port()));
        let args = ["--urls", urls.path(), "--ca", https::CA, "--json"];
        let report = run(&args).with_code(1).report();
        assert_eq!(report.closures, reasons([(word, 1)]));
        if word != "cut" {
            let code = if word == "bad frame" { 1_002_u16 } else { 1_000 };
            let answer = frames.recv_timeout(DEADLINE).unwrap();
            assert_eq!(answer, Some((0x88, code.to_be_bytes().to_vec())));
        }
    }
}

#[test]
fn a_redirect_is_followed_to_another_websocket_with_a_key_of_its_own() {
    let server = serve(|request, stream| {
        if request.starts_with("GET /old ") {
            let host = field(request, "Host").unwrap();
            let head = "HTTP/1.1 307 \r\nContent-Length: 0\r\nLocation: http://";
            return stream.write_all(format!("{head}{host}/new\r\n\r\n").as_bytes()).unwrap();
        }
        stream.write_all(upgrade(request, "").as_bytes()).unwrap();
        read_frame(stream);
    });
    let urls = UrlFile::of(&format!("ws://{}/old\tme", server.address));
    let args = ["--urls", urls.path(), "--hold", "0s", "--follow", "--on-open", "{1}"];
    run(&args).with_code(0);
    let requests = server.requests();
    let keys: BTreeSet<_> =
        requests.iter().map(|request| field(&request.text, "Sec-WebSocket-Key")).collect();
    assert_eq!((requests.len(), keys.len()), (2, 2));
    assert!(requests[0].text.starts_with("GET /new "), "{}", requests[0].text);
}

#[test]
fn a_life_that_we_end_is_closed_in_order_and_the_next_one_has_a_key_of_its_own() {
    for flags in [&["--lifetime", "30ms"][..], &["--reopen", "at-once", "--storm", "100ms:100%"]] {
        let (server, frames) = sending(frame(0x81, "hello"));
        let urls = urls(&server, 2);
        let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
        let mut running = start(&[&args[..], flags].concat());
        running.wait_for(|report| report.reopened >= 2 && report.items >= 4);
        running.signal(Signal::INT);
        let report = running.end().with_code(0).report();
        let ours = ["lifetime", "storm"].map(|word| report.closures.get(word).copied());
        assert_eq!(ours.into_iter().flatten().sum::<u64>(), report.closed, "{report:?}");
        for _ in 0..report.closed {
            let (first, payload) = frames.recv_timeout(DEADLINE).unwrap();
            assert_eq!((first, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
        }
        let requests = server.requests();
        let keys: BTreeSet<_> =
            requests.iter().map(|it| field(&it.text, "Sec-WebSocket-Key").unwrap()).collect();
        assert_eq!(keys.len(), requests.len(), "{keys:?}");
    }
}

#[test]
fn workers_hold_websockets_as_well() {
    let (sender, frames) = channel();
    let server = serve(move |request, stream| {
        let bytes = [upgrade(request, "").as_bytes(), &frame(0x81, "2")].concat();
        stream.write_all(&bytes).unwrap();
        hand_on(stream, &sender);
    });
    let address = server.address;
    let lines: Vec<_> = (0..30).map(|id| format!("ws://{address}/{id}\tfield {id}")).collect();
    let urls = UrlFile::of(&lines.join("\n"));
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    let says = ["--on-open", "{1} at {place}", "--answer", "2=>3 of {1} at {place}"];
    let mut running = start_limited(80, &[&args[..], &says].concat());
    running.wait_for(|report| report.items == 30);
    running.signal(Signal::INT);
    assert_eq!(running.end().with_code(0).report().connected, 30);
    let said: Vec<_> = (0..90).map(|_| frames.recv_timeout(DEADLINE).unwrap().1).collect();
    for id in 0..30 {
        let text = format!("field {id} at {id}");
        assert!(said.contains(&format!("3 of {text}").into_bytes()), "{id}");
        assert!(said.contains(&text.into_bytes()), "{id}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_the_first_connect() {
    let ws = UrlFile::of("ws://127.0.0.1:9/");
    let http = UrlFile::of("http://127.0.0.1:9/");
    let (of_ws, of_http) = (ws.path(), http.path());
    for (urls, args, words) in [
        (of_http, &["--stream", "frames"][..], ":1: --stream frames beside http:// URLs"),
        (of_ws, &["--stream", "lines"], ":1: --stream lines beside ws:// URLs"),
        (of_ws, &["--method", "POST"], ":1: a WebSocket is opened by a GET"),
        (of_ws, &["--body", "x"], ":1: a WebSocket is opened by a GET"),
        (of_ws, &["--header", "Connection: keep-alive"], ":1: --header Connection beside a ws://"),
        (of_ws, &["--header", "Sec-WebSocket-Protocol: a"], "--protocol sets it"),
        (of_ws, &["--header", "Sec-WebSocket-Extensions: a"], "no extensions of WebSockets"),
        (of_ws, &["--on-open", "{1}"], ":1: no field {1}, which --on-open needs"),
        (of_ws, &["--answer", "2=>{2}"], ":1: no field {2}, which --answer needs"),
        (of_ws, &["--on-open", r"\q"], r#"--on-open: unknown escape "\q"; there are \r \n \t \\"#),
        (of_ws, &["--answer", "x"], "write 'PREFIX=>TEXT'"),
        (of_http, &["--on-open", "x"], "no URL is ws:// or wss://"),
        (of_http, &["--binary"], "no URL is ws:// or wss://"),
    ] {
        let all = [&["--urls", urls, "--plan"], args].concat();
        run(&all).with_code(2).mentioning(words);
    }
    run(&["--urls", of_ws, "--stream", "frames", "--plan"]).with_code(0);
}
