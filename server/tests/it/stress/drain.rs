//! The end, while messages are on their way.

use std::time::Instant;

use super::Follower;
use crate::support::{Server, connections};

#[test]
fn everybody_gets_all_that_was_sent_and_then_the_last_chunk() {
    const N: u64 = 1_000;
    let mut server = Server::start(&["--grace", "10s"]);
    let mut followers: Vec<_> = (1..=N).map(|id| Follower::of_either_kind(&server, id)).collect();
    let mut unfinished: Vec<_> = (0..20).map(|_| server.connect("GET /test/1 HT")).collect();
    let mut door = server.door();
    // A sender that goes on until it is turned away.
    let mut unanswered = None;
    let mut stop_at = None;
    for number in 0.. {
        if number == 500 {
            server.signal("-TERM");
            stop_at = Some(Instant::now());
        }
        let (id, message) = (1 + number % N, format!("message {number}"));
        match door.try_ask("POST", &format!("/send/{id}"), &message) {
            Some((200, answer)) if connections(&answer) == 1 => {
                followers[usize::try_from(id - 1).unwrap()].sent.push(message);
            }
            // Its connection has got its last chunk already.
            Some((200, answer)) => assert_eq!((connections(&answer), stop_at.is_some()), (0, true)),
            Some((status, answer)) => panic!("{status}: {answer}"),
            None => {
                unanswered = Some((id, message));
                break;
            }
        }
    }
    let unanswered = unanswered.expect("it goes on until there is no answer");
    for (id, follower) in (1..).zip(&mut followers) {
        follower.expect_all();
        let mut end = follower.next(1001);
        if id == unanswered.0 && end.as_ref().is_some_and(|chunk| chunk.contains(&unanswered.1)) {
            end = follower.next(1001);
        }
        assert_eq!(end, None, "connection {id}");
        assert_eq!(follower.client.read_to_end(), "", "an end, not a reset");
    }
    for client in &mut unfinished {
        assert!(client.read_to_end().starts_with("HTTP/1.1 503 "), "told, not reset");
    }
    assert!(server.wait().success());
    assert!(stop_at.unwrap().elapsed().as_secs() < 10, "within --grace");
    assert!(std::net::TcpStream::connect(server.public).is_err());
}

#[test]
fn who_waits_to_be_accepted_is_told_and_not_reset() {
    let mut server = Server::start(&[]);
    let mut first = server.follow("1");
    // Out of descriptors it accepts nobody, so these wait in the kernel.
    server.exhaust_descriptors();
    let mut waiting: Vec<_> =
        (0..20).map(|_| server.connect("GET /test/2 HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    server.wait_for_stats(|stats| stats["accepting"] == false);
    server.limit_descriptors(1_000);
    server.signal("-TERM");
    assert_eq!(first.read_to_end(), "0\r\n\r\n");
    for client in &mut waiting {
        // In the pause before the next attempt, or just after it.
        let answer = client.read_to_end();
        assert!(
            answer.starts_with("HTTP/1.1 503 ") || answer.ends_with("\r\n0\r\n\r\n"),
            "{answer}"
        );
    }
    assert!(server.wait().success());
}
