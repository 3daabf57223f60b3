//! `--to ws://…`: messages over WebSockets, to servers that keep to the RFC and to those that do
//! not.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use reports::stamp::Stamp;
use serde_json::{Value, json};

use crate::https::{file, serve_tls};
use crate::sockets::{Accepted, Frame, SocketServer};
use crate::support::{DEADLINE, Finished, msggen_with};

/// A server that takes everything and says nothing.
fn silent() -> SocketServer {
    SocketServer::new(|accepted| {
        accepted.accept();
        accepted.serve(|_, _| {});
    })
}

/// A server that answers every message `ok`.
fn answering() -> SocketServer {
    SocketServer::new(|accepted| {
        accepted.accept();
        accepted.serve(|accepted, _| accepted.send(1, b"ok"));
    })
}

/// Runs msggen against a server, with `flags` and `more` that may have blanks in them.
fn send(server: &SocketServer, flags: &str, more: &[&str]) -> Finished {
    let flags = format!("--interval 0 --json --to {} {flags}", server.url());
    msggen_with(&flags, more)
}

/// The messages among frames.
fn messages(frames: &[(usize, Frame)]) -> Vec<&Frame> {
    frames.iter().map(|(_, frame)| frame).filter(|frame| frame.opcode <= 2).collect()
}

#[test]
fn messages_are_masked_text_frames_and_what_is_sent_first_comes_first() {
    let server = silent();
    let body = r#"{"to":{id},"from":"{source}","text":"{message:json}"}"#;
    let more = ["--body", body, "--message", "\"{k}\" ä", "--on-open", r"CONNECT {}\r\nSUB x\x21"];
    let run = send(&server, "--num 50 --max 3 --connections 9", &more).code(0);
    assert_eq!(run.balanced()["written"], 50);
    assert_eq!(server.n_connections(), 3, "not more than there are ids");
    let frames = server.frames();
    let mut of_connection: BTreeMap<usize, Vec<&Frame>> = BTreeMap::new();
    for (k, frame) in &frames {
        of_connection.entry(*k).or_default().push(frame);
    }
    let mut texts = Vec::new();
    for frames in of_connection.values() {
        let (first, rest) = frames.split_first().unwrap();
        assert_eq!(first.text(), "CONNECT {}\r\nSUB x!");
        let (last, rest) = rest.split_last().unwrap();
        assert_eq!((last.opcode, &last.payload[..]), (8, &1000_u16.to_be_bytes()[..]));
        assert!(rest.iter().all(|frame| frame.opcode == 1));
        texts.extend(rest.iter().map(|frame| frame.text()));
    }
    let sent: HashSet<Value> =
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(sent.len(), 50, "each once");
    let ids = 1..=3;
    let is_sent = |k: u64| {
        let mut texts =
            ids.clone().map(|id| json!({"to":id,"from":"0","text":format!("\"{k}\" ä")}));
        texts.any(|text| sent.contains(&text))
    };
    assert!((1..=50).all(is_sent), "{sent:?}");
    let masks: HashSet<_> = frames.iter().map(|(_, frame)| frame.mask.expect("a mask")).collect();
    // 56 draws of 2³² have a pair that is equal once in three million runs.
    assert_eq!(masks.len(), frames.len(), "fresh masks");
}

#[test]
fn the_handshake_has_the_fields_the_token_and_the_subprotocols_that_were_asked_for() {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let server = SocketServer::new(move |accepted| {
        seen.lock().unwrap().push(accepted.head.clone());
        let answer = accepted.answer("Sec-WebSocket-Protocol: mqtt\r\n");
        accepted.raw(answer.as_bytes());
        accepted.serve(|_, _| {});
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sesame\n").unwrap();
    let flags = format!("--num 1 --max 1 --token-file {}", file.path().display());
    let more = ["--header", "Origin: http://a.b", "--protocol", "stomp,amqp", "--protocol", "mqtt"];
    send(&server, &flags, &more).code(0);
    let head = heads.lock().unwrap().concat();
    for line in [
        "GET / HTTP/1.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: stomp, amqp, mqtt",
        "origin: http://a.b",
        "authorization: Bearer sesame",
    ] {
        assert!(head.lines().any(|it| it == line), "{line} in {head}");
    }
    assert!(!head.contains("Extensions"), "{head}");
}

#[test]
fn binary_frames_are_sent_where_they_are_asked_for() {
    let server = silent();
    let more = ["--binary", "--on-open", r"\x00\xff", "--on-open", "second"];
    send(&server, "--num 1 --max 1", &more).code(0);
    let frames = server.frames();
    let sent: Vec<_> = messages(&frames).iter().map(|it| (it.opcode, &it.payload[..])).collect();
    let message = b"Fake message Num = 1";
    assert_eq!(sent, [(2, &b"\x00\xff"[..]), (2, b"second"), (2, message)]);
}

#[test]
fn what_is_sent_first_may_be_in_a_file() {
    let server = silent();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"as \\x it is").unwrap();
    let from_file = format!("@{}", file.path().display());
    send(&server, "--num 1 --max 1", &["--on-open", &from_file]).code(0);
    assert_eq!(server.next_frame().1.text(), r"as \x it is");
}

#[test]
fn without_an_answer_a_message_is_written_and_nothing_more_is_said() {
    let server = silent();
    let folder = tempfile::tempdir().unwrap();
    let sent = folder.path().join("sent.ndjson");
    let flags = format!("--num 20 --max 5 --sources 3 --stamp --sent {}", sent.display());
    let run = send(&server, &flags, &["--expect", "written=60,unanswered=0"]).code(0);
    let report = run.balanced();
    assert_eq!((&report["written"], &report["answered"]), (&60.into(), &0.into()), "{report}");
    assert_eq!(report["send_from_send"]["count"], 0, "no answer has a delay");
    assert_eq!(report["closed_by"], json!({}));
    let last = std::fs::read_to_string(&sent).unwrap();
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    let names = ["messages", "answered", "written", "failed", "unanswered"];
    assert_eq!(names.map(|name| last[name].as_u64()), [60, 0, 60, 0, 0].map(Some), "{last}");
    send(&server, "--num 1 --max 5", &["--expect", "answered>0"])
        .code(1)
        .says("answered: not known without --ack");
    let url = server.url();
    let text = msggen_with(&format!("--num 1 --interval 5 --max 5 --to {url}"), &[]).code(0);
    for line in ["written               1  whether they were read is not known", "lateness"] {
        text.assert(text.stdout.contains(line), line);
    }
    text.assert(!text.stdout.contains("to answer"), "there is no answer");
}

#[test]
fn messages_to_an_id_keep_their_order_with_many_sources_and_sockets() {
    let server = answering();
    let flags = "--num 100 --max 20 --sources 8 --in-flight 3 --connections 4 --stamp --ack ^ok$";
    let run = send(&server, flags, &[]).code(0);
    let report = run.balanced();
    assert_eq!((&report["answered"], &report["written"]), (&800.into(), &Value::Null));
    assert_eq!(server.n_connections(), 4);
    let (mut numbers, mut sockets) = (BTreeMap::new(), BTreeMap::new());
    for (connection, frame) in server.frames() {
        let Some(stamp) = Stamp::first_in(&frame.payload) else { continue };
        let mark = stamp.mark.unwrap();
        let number = numbers.entry(mark.id).or_insert(0);
        *number += 1;
        assert_eq!(mark.n, *number, "id {}", mark.id);
        assert_eq!(*sockets.entry(mark.id).or_insert(connection), connection, "one way");
    }
    assert_eq!(numbers.values().sum::<u64>(), 800);
    let used: HashSet<_> = sockets.values().collect();
    assert_eq!(used.len(), 4, "20 ids spread over 4 sockets");
}

#[test]
fn answers_are_those_that_match_and_say_what_they_are_asked() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        let mut n = 0;
        accepted.serve(|accepted, _| {
            n += 1;
            // Something that nobody asked for comes before each answer.
            accepted.send(1, b"news");
            let answer = if n % 4 == 0 { "ack: full".into() } else { format!("ack: {}", n % 3) };
            accepted.send(1, answer.as_bytes());
        });
    });
    let more = ["--ack", "^ack", "--ok", "[0-9]", "--reached", "ack: ([0-9]+)"];
    let run = send(&server, "--num 24 --max 1", &more).code(1);
    let report = run.says("6 of 24 messages failed: not ok 6").balanced();
    let figures = ["answered", "reached", "void", "connections"].map(|it| report[it].as_u64());
    // Of 1 to 24 without the multiples of four, modulo three.
    assert_eq!(figures, [18, 12, 6, 18].map(Some), "{report}");
}

#[test]
fn an_answer_to_nothing_is_a_stray_one_and_counts_for_no_message() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        // Whichever message it comes before, one answer is left over when all have theirs, and the
        // server has said it before it answers the close frame.
        accepted.send(1, b"ok");
        accepted.serve(|accepted, _| accepted.send(1, b"ok"));
    });
    // On a schedule the first message is due a while after the WebSocket has opened. Flat out it
    // may be out before the answer to nothing comes.
    let flags = "--num 5 --interval 1 --max 1 --ack ok --allow-late --json --to";
    let run = msggen_with(&format!("{flags} {}", server.url()), &[]).code(1);
    let report = run.says("answers came 1 times to requests that were never sent").balanced();
    assert_eq!((&report["answered"], &report["stray_answers"]), (&5.into(), &1.into()));
}

#[test]
fn pings_are_answered_and_so_are_those_of_applications() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        let mut asked = false;
        while let Some(frame) = accepted.next() {
            match frame.opcode {
                // The message is answered when its sender has answered both pings.
                1 if !asked => {
                    asked = true;
                    accepted.send(9, b"are you there");
                }
                10 => {
                    assert_eq!(frame.payload, b"are you there");
                    accepted.send(1, b"2probe");
                }
                1 => {
                    assert_eq!(frame.payload, b"3");
                    accepted.send(1, b"ok");
                }
                _ => return accepted.send(8, &frame.payload),
            }
        }
    });
    let run = send(&server, "--num 1 --max 1 --ack ok", &["--answer", "2=>3", "--answer", "2p=>4"])
        .code(0);
    assert_eq!(run.balanced()["answered"], 1);
}

#[test]
fn a_server_that_closes_is_named_by_its_code_and_comes_back() {
    for (bytes, how, why) in [
        (&b"\x88\x02\x03\xe9"[..], "close 1001", "closed"),
        (b"\x88\x00", "close 1005", "closed"),
        (b"\x88\x02\x10\x00", "close 4000-4999", "closed"),
        (b"", "cut", "cut"),
    ] {
        let n_heard = AtomicUsize::new(0);
        let server = SocketServer::new(move |accepted| {
            accepted.accept();
            while let Some(frame) = accepted.next() {
                match frame.opcode {
                    8 => return accepted.send(8, &frame.payload),
                    1 if frame.payload == b"hello" => {}
                    // The fourth message has no answer but the end.
                    _ if n_heard.fetch_add(1, Ordering::SeqCst) == 3 => {
                        return accepted.raw(bytes);
                    }
                    _ => accepted.send(1, b"ok"),
                }
            }
        });
        let run = send(&server, "--num 9 --max 1 --ack ok --on-open hello", &[]).code(1);
        let report = run.balanced();
        let ends = [&report["closed_by"], &report["unanswered_by"]];
        assert_eq!(ends, [&json!({ how: 1 }), &json!({ why: 1 })], "{report}");
        assert_eq!(report["answered"], 8, "{report}");
        let greeted: Vec<_> = server
            .frames()
            .into_iter()
            .filter(|it| it.1.payload == b"hello")
            .map(|(connection, _)| connection)
            .collect();
        assert_eq!(greeted, [0, 1], "{how}: the new one is opened as the old one was");
    }
}

#[test]
fn without_answers_a_server_that_closes_in_mid_run_is_a_shortfall() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        accepted.next();
        if accepted.number == 0 {
            accepted.send(8, b"\x03\xe9");
            // Up to the answer: a connection that is closed with bytes that nobody read is reset,
            // and the reset may overtake the close frame.
            while accepted.next().is_some_and(|frame| frame.opcode != 8) {}
            return;
        }
        accepted.serve(|_, _| {});
    });
    let flags = format!("--num 40 --interval 5 --max 1 --json --to {}", server.url());
    let run = msggen_with(&flags, &[]).code(1);
    let run = run.says("WebSockets ended too early (close 1001 1): what was written to them last");
    let report = run.balanced();
    assert_eq!(report["closed_by"], json!({"close 1001": 1}), "{report}");
}

#[test]
fn frames_that_a_server_must_not_send_end_the_websocket_by_name() {
    for (bytes, how, code) in [
        (&b"\x81\x82\x01\x02\x03\x04no"[..], "masked frame", 1002),
        (b"\xc1\x02no", "reserved bits", 1002),
        (b"\x83\x02no", "reserved opcode", 1002),
        (b"\x80\x02no", "bad fragment", 1002),
        (b"\x89\x7e\x00\x80", "bad control frame", 1002),
        (b"\x81\x02\xff\xff", "not UTF-8", 1007),
        // 2⁶³ bytes, of which none comes.
        (b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "frame too long", 1009),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x04\x00\x01", "frame too long", 1009),
    ] {
        let server = SocketServer::new(move |accepted| {
            accepted.accept();
            if accepted.number > 0 {
                return accepted.serve(|accepted, _| accepted.send(1, b"ok"));
            }
            accepted.next();
            accepted.raw(bytes);
            if how == "bad control frame" {
                accepted.raw(&[b'x'; 128]);
            }
            accepted.next();
        });
        let run = send(&server, "--num 3 --max 1 --ack ok", &[]).code(1);
        let report = run.balanced();
        let ends = [&report["closed_by"], &report["unanswered_by"]];
        assert_eq!(ends, [&json!({ how: 1 }), &json!({"bad frame": 1})], "{report}");
        assert_eq!(report["answered"], 2, "{report}");
        let frames = server.frames();
        let close = frames.iter().find(|(k, frame)| *k == 0 && frame.opcode == 8);
        let (_, close) = close.unwrap_or_else(|| panic!("{how}: it is told why: {frames:?}"));
        assert_eq!(close.payload[..2], u16::to_be_bytes(code), "{how}");
        assert_eq!(&close.payload[2..], how.as_bytes());
    }
}

#[test]
fn what_is_no_websocket_is_named_before_the_run() {
    type Answer = fn(&Accepted) -> String;
    let cases: [(Answer, &[&str], &str); 6] = [
        (
            |_| "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>".to_owned(),
            &[],
            "it was answered 200 with text/html, not 101",
        ),
        (
            |it| it.answer("").replace("Accept: ", "Accept: A"),
            &[],
            "the answer's Sec-WebSocket-Accept is a wrong one",
        ),
        (
            |it| it.answer("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            &[],
            "the answer has extensions that were not asked for",
        ),
        (|it| it.answer(""), &["--protocol", "a"], "none of the subprotocols was chosen"),
        (|_| "-ERR unknown command\r\n\r\n".to_owned(), &[], "the answer is not HTTP"),
        (|_| String::new(), &[], "the connection ended before an answer: cut"),
    ];
    for (answer, more, why) in cases {
        let server = SocketServer::new(move |accepted| {
            let answer = answer(accepted);
            accepted.raw(answer.as_bytes());
        });
        let run = send(&server, "--num 1 --max 9", more).code(2);
        run.says(&format!("no WebSocket at {}: {why}", server.url()));
    }
}

#[test]
fn a_server_that_makes_no_websockets_any_more_is_given_up_after_a_while() {
    let server = SocketServer::new(|accepted| {
        if accepted.number == 0 {
            accepted.accept();
            accepted.serve(|accepted, _| accepted.send(8, b"\x03\xe9"));
        } else {
            accepted.raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let flags = "--num 5 --max 1 --sources 2 --ack ok --reconnect 300ms";
    let report = send(&server, flags, &[]).code(2).balanced();
    let failed = report["failures"]["status 503"].as_u64().unwrap();
    // One message was on the first one, and perhaps the other source's behind it.
    assert!((8..=9).contains(&failed), "{report}");
    assert!(server.n_connections() < 30, "with pauses: {}", server.n_connections());
}

#[test]
fn what_the_server_does_not_read_is_never_written() {
    let (_lasts, is_over) = channel::<()>();
    let is_over = Mutex::new(is_over);
    let server = SocketServer::new(move |accepted| {
        accepted.accept();
        // The connection stays as long as the test.
        let _ = is_over.lock().unwrap().recv();
    });
    // 64 KiB each: some megabytes fill the kernel's buffers.
    let flags = "--num 400 --max 1 --in-flight 400 --size 64KiB --timeout 500ms --reconnect 0s";
    let report = send(&server, flags, &[]).code(1).balanced();
    let unanswered = report["unanswered_by"]["timed out"].as_u64().unwrap();
    assert!(unanswered > 0 && report["written"].as_u64().unwrap() < 400, "{report}");
}

#[test]
fn a_server_that_asks_without_end_holds_up_no_message_and_is_not_answered_into_memory() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        let mut asking = accepted.stream.try_clone().unwrap();
        // The questions go on while messages are read, and nobody reads the answers any faster.
        std::thread::spawn(move || {
            let questions = b"\x81\x012".repeat(10_000);
            while asking.write_all(&questions).is_ok() {}
        });
        accepted.serve(|_, _| {});
    });
    let flags = format!("--num 100 --interval 5 --max 1 --json --to {}", server.url());
    let run = msggen_with(&flags, &["--answer", "2=>3"]);
    let report = run.balanced();
    assert_eq!((&report["written"], &report["sent"]), (&100.into(), &100.into()), "{report}");
}

#[test]
fn an_answer_that_does_not_come_ends_the_websocket() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        let number = accepted.number;
        accepted.serve(|accepted, _| {
            if number > 0 {
                accepted.send(1, b"ok");
            }
        });
    });
    let run = send(&server, "--num 3 --max 1 --ack ok --timeout 200ms", &[]).code(1);
    let report = run.balanced();
    assert_eq!(report["unanswered_by"], json!({"timed out": 1}), "{report}");
    assert_eq!((&report["answered"], server.n_connections()), (&2.into(), 2), "{report}");
}

#[test]
fn flags_that_belong_to_the_other_kind_are_refused() {
    let refused = |to: &str, more: &[&str], why: &str| {
        let flags = format!("--num 1 --interval 0 --max 1 --to {to}");
        msggen_with(&flags, more).code(2).says(why);
    };
    for (more, why) in [
        (&["--ack", "ok"][..], "--ack is for ws:// and wss://"),
        (&["--on-open", "x"], "--on-open is for ws:// and wss://"),
        (&["--ready", "."], "--ready is for ws:// and wss://"),
        (&["--binary"], "--binary is for ws:// and wss://"),
        (&["--protocol", "x"], "--protocol is for ws:// and wss://"),
        (&["--answer", "2=>3"], "--answer is for ws:// and wss://"),
        (&["--to", "ws://a/"], "all of them must be of one kind"),
    ] {
        refused("http://a/", more, why);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; 64 * 1024 + 1]).unwrap();
    let from_file = format!("@{}", file.path().display());
    for (more, why) in [
        (&["--method", "PUT"][..], "WebSockets have no --method"),
        (&["--ok", "x"], "add --ack"),
        (&["--reached", "(x)"], "add --ack"),
        (&["--header", "X: {id}"], "--header x: a handshake is not for one message"),
        (&["--header", "Sec-WebSocket-Key: a"], "the handshake has it by itself"),
        (&["--protocol", "a b"], "a name has no blanks"),
        (&["--on-open", r"\q"], r"--on-open \q: there is no \q"),
        (&["--on-open", r"\xff"], r"--on-open \xff: text frames are UTF-8"),
        (&["--on-open", "@/no/file"], "--on-open @/no/file: No such file"),
        (&["--on-open", &from_file], "the file is larger than 64 KiB"),
        (&["--answer", "2"], "--answer 2: write PREFIX=>TEXT"),
    ] {
        refused("ws://127.0.0.1:1/", more, why);
    }
    for (to, why) in [
        ("ws://127.0.0.1:1/{id}", "its URL has no blanks"),
        ("ws://127.0.0.1:1/#a", "has no fragment"),
        ("ws://me@127.0.0.1:1/", "a user name is not supported"),
        ("wss://", "cannot send to \"wss://\": "),
    ] {
        refused(to, &[], why);
    }
}

#[test]
fn ctrl_c_ends_a_run_with_every_message_accounted_for() {
    use rustix::process::Signal;
    let server = answering();
    let flags = format!(
        "--num 1000000 --interval 1 --max 9 --sources 4 --ack ok --json --to {}",
        server.url()
    );
    let run = crate::support::start(&flags);
    for _ in 0..50 {
        server.next_frame();
    }
    run.signal(Signal::INT);
    let run = run.finish().code(0);
    let report = run.balanced();
    assert!(report["answered"].as_u64().unwrap() >= 40, "{report}");
    assert_eq!(report["closed_by"], json!({}), "{report}");
    let closes = server.frames().iter().filter(|(_, frame)| frame.opcode == 8).count();
    assert_eq!(closes, 9, "each was closed");
}

#[test]
fn messages_go_over_tls() {
    let (sender, frames) = channel();
    let sender = Mutex::new(sender);
    let address = serve_tls("server", move |stream| {
        let frames = sender.lock().unwrap().clone();
        if let Some(mut accepted) = Accepted::read(0, stream, frames) {
            accepted.accept();
            accepted.serve(|accepted, _| accepted.send(1, b"ok"));
        }
    });
    let flags = "--num 50 --interval 0 --max 9 --sources 3 --ack ok --size 5KiB --json";
    let to = format!("wss://localhost:{}/", address.port());
    let run = msggen_with(&format!("{flags} --ca {} --to {to}", file("ca.pem")), &[]).code(0);
    assert_eq!(run.balanced()["answered"], 150);
    let n_messages = frames.try_iter().filter(|(_, frame)| frame.payload.len() == 5 * 1024).count();
    assert_eq!(n_messages, 150);
    msggen_with(&format!("{flags} --to {to}"), &[]).code(2).says("msggen: no TLS with wss://");
}

/// A server that nobody here wrote.
struct Foreign {
    /// Its process.
    process: Child,
    /// The lines that it says.
    said: Receiver<String>,
    /// Reads them.
    reader: Option<JoinHandle<()>>,
}

impl Foreign {
    /// Starts it.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, said) = channel();
        let reader = std::thread::spawn(move || {
            // A test that has failed reads no more.
            lines.for_each(|line| drop(sender.send(line.unwrap())));
        });
        Self { process, said, reader: Some(reader) }
    }

    /// The next line that it says; the first one is its port.
    fn next(&self) -> String {
        self.said.recv_timeout(DEADLINE).expect("the server says so in time")
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
    }
}

/// Sends to a server that nobody here wrote, once with answers and once without. The server says at
/// each end how many messages it has had, and how its clients closed.
fn interoperates(command: &mut Command) {
    let server = Foreign::start(command);
    let to = format!("ws://127.0.0.1:{}/", server.next());
    let flags = format!("--num 50 --interval 5 --max 20 --sources 4 --stamp --json --to {to}");
    let run = msggen_with(&flags, &["--ack", r#""ok":true"#]).code(0);
    assert_eq!(run.balanced()["answered"], 200);
    assert_eq!(server.next(), "200 1000");
    // Long enough for every form of a frame's length.
    let run = msggen_with(&flags, &["--size", "64KiB"]).code(0);
    assert_eq!(run.balanced()["written"], 200);
    assert_eq!(server.next(), "400 1000");
}

/// What `.ci/run` installs for tests.
fn installed(path: &str) -> Option<String> {
    let path = format!("{}/../target/interop/{path}", env!("CARGO_MANIFEST_DIR"));
    let is_there = Path::new(&path).exists();
    if !is_there {
        testing::skip(&path);
    }
    is_there.then_some(path)
}

/// A file beside these tests.
fn script(name: &str) -> String {
    format!("{}/tests/it/servers/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_ws_of_node_takes_all_and_answers_all() {
    if let Some(modules) = installed("node/node_modules/ws") {
        interoperates(Command::new("node").args([script("ws.mjs"), modules + "/../.."]));
    }
}

#[test]
fn socket_io_takes_all_while_its_pings_are_answered() {
    let Some(modules) = installed("node/node_modules/socket.io") else { return };
    let mut command = Command::new("node");
    let server = Foreign::start(command.args([script("socket_io.mjs"), modules + "/../.."]));
    let path = "socket.io/?EIO=4&transport=websocket";
    let to = format!("ws://127.0.0.1:{}/{path}", server.next());
    let flags = format!("--num 100 --interval 30 --max 20 --sources 4 --stamp --json --to {to}");
    let body = r#"42["message","{message:json}"]"#;
    let ready = ["--on-open", "40", "--ready", "^40", "--answer", "2=>3"];
    let more = [&ready[..], &["--body", body]].concat();
    let run = msggen_with(&flags, &more).code(0);
    assert_eq!(run.balanced()["written"], 400);
    // All sockets have been asked some ten times whether they are there.
    assert_eq!(server.next(), "400");
}

#[test]
fn a_websocket_is_open_when_the_server_says_that_it_is_ready() {
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        assert_eq!(accepted.next().unwrap().payload, b"hello");
        // Would be an answer to a message, if there was one.
        accepted.send(1, b"ok, who are you");
        assert_eq!(accepted.next().unwrap().payload, b"me");
        accepted.send(1, b"ok, ready");
        let mut n = 0;
        accepted.serve(|accepted, frame| {
            assert!(frame.payload.starts_with(b"Fake"), "{frame:?}");
            n += 1;
            if n == 2 && accepted.number == 0 {
                accepted.send(8, b"\x03\xe8");
            } else {
                accepted.send(1, b"ok");
            }
        });
    });
    let who = ["--on-open", "hello", "--answer", "ok, who=>me", "--ready", "ready$"];
    let more = [&who[..], &["--ack", "^ok"]].concat();
    let report = send(&server, "--num 5 --max 1", &more).code(1).balanced();
    let figures = ["answered", "unanswered", "stray_answers"].map(|name| report[name].as_u64());
    assert_eq!((figures, server.n_connections()), ([4, 1, 0].map(Some), 2), "{report}");
    let server = SocketServer::new(|accepted| {
        accepted.accept();
        accepted.serve(|accepted, _| accepted.send(8, b"\x03\xe8"));
    });
    let run = send(&server, "--num 1 --max 1", &["--on-open", "x", "--ready", "."]).code(2);
    run.says("the connection ended before an answer: closed");
}

#[test]
fn what_answers_the_first_texts_is_no_answer_to_a_message() {
    let server = SocketServer::new(|accepted| {
        // Together with the handshake, so that it is there before any message.
        let answer = accepted.answer("") + "\u{1}\u{3}+OK";
        let mut bytes = answer.into_bytes();
        let n_bytes = bytes.len();
        bytes[n_bytes - 5] |= 0x80;
        accepted.raw(&bytes);
        accepted.next();
        accepted.serve(|accepted, _| accepted.send(1, b"+OK"));
    });
    let flags = format!("--num 5 --interval 5 --max 1 --json --to {}", server.url());
    let more = ["--on-open", "CONNECT {}", "--ack", r"^\+OK"];
    let report = msggen_with(&flags, &more).code(0).balanced();
    assert_eq!((&report["answered"], &report["stray_answers"]), (&5.into(), &0.into()));
}

#[test]
fn the_websockets_of_python_take_all_and_answer_all() {
    let (python, package) = (installed("py/bin/python"), "websockets");
    let Some(python) = python else { return };
    let mut import = Command::new(&python);
    import.args(["-c", &format!("import {package}")]).stderr(Stdio::null());
    if !import.status().unwrap().success() {
        return testing::skip("websockets for Python");
    }
    interoperates(Command::new(python).arg(script("websockets_server.py")));
}
