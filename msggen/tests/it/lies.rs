//! Servers whose answers are not true.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{FakeServer, Reply, msggen, reached};

/// An answer of a control door.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"connections\":1}";

/// A server that treats each of its connections as `serve` does, for as long as the test lives.
fn server(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads until the head of a request has come, and some of its body.
fn read_head(stream: &mut TcpStream) -> bool {
    let (mut received, mut byte) = (Vec::new(), [0]);
    while !received.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => received.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Reads until the peer ends the connection.
fn read_to_end(mut stream: TcpStream) {
    let mut room = [0; 1024];
    while stream.read(&mut room).is_ok_and(|n| n > 0) {}
}

#[test]
fn more_connections_than_can_be_are_a_bad_answer_and_no_panic() {
    for n in ["18446744073709551615", "9223372036854775807", "4294967296"] {
        let fake = FakeServer::new(move |request| match request.body.lines().count() {
            lines if request.head.starts_with("POST /send ") => Reply::Answer(
                200,
                format!("{{\"messages\":{lines},\"connections\":{n}0,\"void\":0}}"),
            ),
            _ => Reply::Answer(200, format!("{{\"connections\":{n}}}")),
        });
        for batch in ["", "--batch 2"] {
            let flags = "--num 6 --interval 0 --max 9 --json";
            let run = msggen(&format!("{flags} {batch} --server {}", fake.url())).code(2);
            run.assert(run.balanced()["failures"]["bad answer"] == 6, "all of them are");
        }
    }
    // The largest that are taken do not overflow what they are added to.
    let fake = FakeServer::new(|_| Reply::Answer(200, "{\"connections\":4294967295}".to_owned()));
    let flags = "--num 6 --interval 0 --max 9 --json";
    let run = msggen(&format!("{flags} --server {}", fake.url())).code(0);
    run.assert(run.balanced()["connections"] == 6 * 4_294_967_295_u64, "all are counted");
}

#[test]
fn answers_that_come_before_their_requests_answer_none_of_them() {
    let address = server(|mut stream| {
        let _ = stream.write_all(ANSWER.repeat(10).as_bytes());
        read_to_end(stream);
    });
    let flags = "--num 10 --interval 0 --max 9 --timeout 2s --json";
    let run = msggen(&format!("{flags} --server http://{address}")).code(2);
    let report = run.balanced();
    run.assert(report["answered"] == 0, "none was answered");
    run.assert(report["stray_answers"] == 10, "every connection brought answers unasked for");
    let run = run.says("answers came 10 times to requests that were never sent");
    run.says("nothing was answered");
}

#[test]
fn an_answer_that_comes_twice_is_noticed() {
    // At once: which of the two is the answer is not known.
    let twice: &'static str = Box::leak(ANSWER.repeat(2).into_boxed_str());
    let fake = FakeServer::new(move |request| match request.number {
        1 => Reply::Bytes(twice),
        _ => reached(1),
    });
    let flags = "--num 4 --interval 0 --max 9 --json";
    let run = msggen(&format!("{flags} --server {}", fake.url())).code(1);
    let report = run.balanced();
    run.assert(report["unanswered_by"]["bad answer"] == 1, "one of them");
    run.assert(report["stray_answers"] == 1 && report["answered"] == 3, "and it is counted");
    // Later: the connection is not used again.
    let address = server(|mut stream| {
        while read_head(&mut stream) {
            let _ = stream.write_all(ANSWER.as_bytes());
            std::thread::park_timeout(Duration::from_millis(20));
            let _ = stream.write_all(ANSWER.as_bytes());
        }
    });
    let flags = "--num 4 --interval 250 --max 9 --message= --allow-late --json";
    let run = msggen(&format!("{flags} --server http://{address}")).code(1);
    let report = run.balanced();
    run.assert(report["stray_answers"].as_u64() >= Some(3), "one a message, but for the last");
}

#[test]
fn an_answer_to_a_request_that_is_not_all_out_is_a_bad_answer_unless_it_refuses() {
    // More than the kernel takes at once of 19 MB.
    let flags = "--num 300 --interval 0 --max 9 --batch 300 --size 64KiB --timeout 10s --json";
    let accepting = server(|mut stream| {
        read_head(&mut stream);
        let body = "{\"messages\":300,\"connections\":0,\"void\":300}";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        std::thread::park_timeout(Duration::from_secs(5));
    });
    let run = msggen(&format!("{flags} --server http://{accepting}")).code(2);
    run.assert(run.balanced()["unanswered_by"]["bad answer"] == 300, "it cannot know them");
    let refusing = server(|mut stream| {
        read_head(&mut stream);
        let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes());
        std::thread::park_timeout(Duration::from_secs(5));
    });
    let run = msggen(&format!("{flags} --server http://{refusing}")).code(2);
    run.assert(run.balanced()["failures"]["status 413"] == 300, "it did not want them");
}

#[test]
fn a_server_that_speaks_first_is_no_control_door() {
    let address = server(|mut stream| {
        let _ = stream.write_all(b"220 smtp.example.com ESMTP\r\n");
        read_to_end(stream);
    });
    let flags = "--num 2 --interval 0 --max 9 --json";
    let run = msggen(&format!("{flags} --server http://{address}")).code(2);
    run.assert(run.balanced()["failures"]["bad answer"] == 2, "both");
}
