//! More clients than descriptors.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Follower, Random, count};
use crate::support::{HEAD, Server};

/// A server that may open so many files.
fn start_with_descriptors(n: u64) -> Server {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={n}:{n}")).arg(env!("CARGO_BIN_EXE_comet-server"));
    Server::start_command(&mut command)
}

#[test]
fn a_full_house_serves_on_and_tells_the_others() {
    const N_CLIENTS: u64 = 1_000;
    const N_SERVED: u64 = 128;
    let mut random = Random::seeded();
    let server = start_with_descriptors(256);
    let mut door = server.door();
    let mut inside = Vec::new();
    let mut n_refused = 0;
    for id in 1..=N_CLIENTS {
        let mut client = server.connect(&format!("GET /test/{id} HTTP/1.1\r\nHost: x\r\n\r\n"));
        if id <= N_SERVED {
            client.expect(HEAD);
            inside.push(Follower::new(client));
        } else {
            assert!(client.read_to_end().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
            n_refused += 1;
        }
        let which = random.below(inside.len() as u64);
        let message = format!("while {id} comes");
        assert_eq!(door.send(which + 1, &message), 1);
        inside[usize::try_from(which).unwrap()].sent.push(message);
    }
    inside.iter_mut().for_each(Follower::expect_all);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == N_SERVED);
    assert_eq!(stats["connections_closed"], serde_json::json!({ "full": n_refused }));
    assert_eq!((count(&stats, "chunks_written"), &stats["accepting"]), (N_CLIENTS, &true.into()));
    // There is room as soon as somebody leaves.
    drop(inside.pop());
    server.wait_for_stats(|stats| stats["connections_open"] == N_SERVED - 1);
    server.follow("1000");
}

#[test]
fn out_of_descriptors_nobody_is_lost_and_those_who_wait_get_in() {
    const N_SERVED: u64 = 100;
    const N_WAITING: u64 = 200;
    let mut random = Random::seeded();
    let server = start_with_descriptors(1_024);
    let mut door = server.door();
    let mut inside: Vec<_> =
        (1..=N_SERVED).map(|id| Follower::new(server.follow(&id.to_string()))).collect();
    door.catch_up();
    server.exhaust_descriptors();
    let waiting: Vec<_> = (N_SERVED + 1..=N_SERVED + N_WAITING)
        .map(|id| server.connect(&format!("GET /test/{id} HTTP/1.1\r\nHost: x\r\n\r\n")))
        .collect();
    let stats = server.wait_for_stats(|stats| stats["accepting"] == false);
    assert_eq!(stats["connections_open"], N_SERVED);

    let (mut n_messages, begun_at) = (0, Instant::now());
    while begun_at.elapsed() < Duration::from_secs(1) {
        let which = random.below(N_SERVED);
        let message = format!("message {n_messages}");
        assert_eq!(door.send(which + 1, &message), 1);
        inside[usize::try_from(which).unwrap()].sent.push(message);
        n_messages += 1;
        if n_messages % 50 == 0 {
            assert_eq!(server.ask("GET", "/healthz", "", "").0, 503, "a new sender gets in");
        }
    }
    assert_eq!(server.stats()["connections_open"], N_SERVED, "nobody comes, nobody goes");
    inside.iter_mut().for_each(Follower::expect_all);

    inside.truncate(50);
    server.limit_descriptors(1_024);
    let begun_at = Instant::now();
    for mut client in waiting {
        client.expect(HEAD);
    }
    assert!(begun_at.elapsed() < Duration::from_secs(1), "accepting is slow to resume");
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 50);
    assert_eq!(count(&stats, "chunks_written"), n_messages);
    assert_eq!(count(&stats, "connections_accepted"), N_SERVED + N_WAITING);
}
