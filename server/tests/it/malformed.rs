//! Every malformed request, in two parts: the answer is the same wherever it is cut.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use crate::support::{Client, Server};

#[path = "../../src/malformed.rs"]
mod cases;

/// Connections at a time, each cut elsewhere.
const AT_A_TIME: usize = 100;

/// Heads up to this long are cut at every byte here, longer ones at some. The unit tests cut all of
/// them everywhere.
const CUT_EVERYWHERE_BYTES: usize = 200;

/// A request that leaves less behind than this, on the average, leaves nothing: the smallest piece
/// of memory that the allocator gives is larger.
const LEFT_BEHIND_BYTES: u64 = 16;

/// The reason under which a refusal with this status is counted.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "bad_request",
        404 => "not_found",
        426 => "unknown_version",
        431 => "head_too_large",
        501 => "not_implemented",
        status => panic!("{status} is no refusal of a request"),
    }
}

#[test]
fn every_malformed_request_is_refused_alike_wherever_it_is_cut() {
    let server = Server::start(&[]);
    let mut door = server.door();
    let mut n_refused = BTreeMap::<_, u64>::new();
    // Each of them once, so that what a first time costs is not taken for what is left behind.
    for (head, status) in cases::cases() {
        let mut client = begun(&server, &head);
        let answer = client.read_to_end();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status} expected: {answer}");
        *n_refused.entry(reason(status)).or_default() += 1;
    }
    let before_kb = server.anon_kb();
    for (head, status) in cases::cases() {
        let step = if head.len() <= CUT_EVERYWHERE_BYTES { 1 } else { head.len() / 40 };
        let cuts: Vec<_> = (1..=head.len()).step_by(step).collect();
        for cuts in cuts.chunks(AT_A_TIME) {
            let mut clients: Vec<_> =
                cuts.iter().map(|&cut| begun(&server, &head[..cut])).collect();
            // So that the first parts are read before the others come.
            door.catch_up();
            for (client, &cut) in clients.iter_mut().zip(cuts) {
                client.stream.write_all(&head[cut..]).unwrap();
                let answer = client.read_to_end();
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{status} expected: {answer} to {:?} cut at {cut}",
                    String::from_utf8_lossy(&head)
                );
                *n_refused.entry(reason(status)).or_default() += 1;
            }
        }
    }
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    let closed: BTreeMap<_, _> =
        stats["connections_closed"].as_object().unwrap().into_iter().collect();
    assert_eq!(closed.len(), n_refused.len(), "{stats}");
    for (reason, n) in &n_refused {
        assert_eq!(stats["connections_closed"][reason], *n, "{reason}");
    }
    // Tables and pools have grown for a hundred at a time. What each leaves behind would be more.
    let n_all: u64 = n_refused.values().sum();
    let after_kb = server.anon_kb();
    assert!(n_all > 10_000, "there were {n_all}");
    let most_kb = before_kb + n_all * LEFT_BEHIND_BYTES / 1_024;
    assert!(after_kb <= most_kb, "{before_kb} KB became {after_kb} KB after {n_all} requests");
}

#[test]
fn a_request_that_ends_in_its_middle_is_closed_without_an_answer() {
    let server = Server::start(&[]);
    let head = b"GET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n";
    let n_cuts = head.len() as u64;
    for cut in 0..head.len() {
        let mut client = begun(&server, &head[..cut]);
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_to_end(), "", "cut at {cut}");
    }
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"]["abandoned"], n_cuts);
}

#[test]
fn a_head_that_comes_byte_by_byte_has_the_time_of_one_that_comes_at_once() {
    let server = Server::start(&["--head-timeout", "300ms"]);
    let mut client = Client::connect(server.public);
    let begun_at = std::time::Instant::now();
    // A byte whenever nothing has come back for a moment: never silent for long, never done.
    client.stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    client.stream.write_all(b"GET /test/1 HTTP/1.1\r\nX: ").unwrap();
    let mut answer = [0; 12];
    while client.stream.read_exact(&mut answer).is_err() {
        client.stream.write_all(b"x").unwrap();
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(begun_at.elapsed().as_secs() < 10, "its own bytes gave it more time");
}

/// A connection that has sent `part` of a request.
fn begun(server: &Server, part: &[u8]) -> Client {
    let mut client = Client::connect(server.public);
    client.stream.set_nodelay(true).unwrap();
    client.stream.write_all(part).unwrap();
    client
}
