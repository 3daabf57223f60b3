//! Connections that come and go in every way, and all at once.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use super::{Follower, Random, count};
use crate::support::{Client, Server};

/// How a connection leaves, and how that may be counted. One that is reset may have been read
/// first or not.
const WAYS: [(&str, &[&str]); 6] = [
    ("closes", &["peer"]),
    ("resets", &["reset"]),
    ("closes its half", &["peer"]),
    ("says nothing", &["abandoned"]),
    ("stops in its request", &["abandoned"]),
    ("asks for nonsense", &["bad_request"]),
];

/// Connects and leaves in one of the [`WAYS`].
fn come_and_go(server: &Server, way: usize, id: u64) {
    match way {
        0 => drop(server.follow(&id.to_string())),
        1 => server.follow(&id.to_string()).reset(),
        2 => server.follow(&id.to_string()).stream.shutdown(Shutdown::Write).unwrap(),
        3 => drop(Client::connect(server.public)),
        4 => drop(server.connect("GET /test/1 HTTP/1.1\r\nHos")),
        _ => drop(server.connect("nonsense\r\n\r\n").read_to_end()),
    }
}

#[test]
fn churn_beside_steady_connections_costs_them_nothing() {
    const N_STEADY: u64 = 200;
    const N_COMERS: u64 = 3_000;
    let mut random = Random::seeded();
    let server = Server::start(&[]);
    let mut steady: Vec<_> =
        (1..=N_STEADY).map(|id| Follower::of_either_kind(&server, id)).collect();
    let mut door = server.door();
    door.catch_up();
    let n_descriptors = server.n_descriptors();

    let is_over = AtomicBool::new(false);
    let (mut n_sent, mut n_reached_comers) = (0, 0);
    let mut n_by_way = [0; WAYS.len()];
    let ways: Vec<_> =
        (0..N_COMERS).map(|_| usize::try_from(random.below(WAYS.len() as u64)).unwrap()).collect();
    std::thread::scope(|scope| {
        let churners: Vec<_> = ways
            .chunks(ways.len() / 2)
            .map(|ways| {
                let server = &server;
                scope.spawn(move || {
                    for (&way, id) in ways.iter().zip(N_STEADY + 1..) {
                        come_and_go(server, way, id);
                    }
                })
            })
            .collect();
        // Two messages to the steady ones, then one to somebody who may be there or not.
        while !is_over.load(Ordering::Relaxed) {
            for _ in 0..2 {
                let which = random.below(N_STEADY);
                let message = format!("message {n_sent}");
                assert_eq!(door.send(which + 1, &message), 1);
                steady[usize::try_from(which).unwrap()].sent.push(message);
                n_sent += 1;
            }
            let id = N_STEADY + 1 + random.below(N_COMERS / 2);
            n_reached_comers += u64::from(door.send(id, "perhaps") > 0);
            n_sent += 1;
            is_over.store(churners.iter().all(ScopedJoinHandle::is_finished), Ordering::Relaxed);
        }
    });
    for &way in &ways {
        n_by_way[way] += 1;
    }

    let stats = server.wait_for_stats(|stats| stats["connections_open"] == N_STEADY);
    for follower in &mut steady {
        follower.expect_all();
    }
    assert_eq!(
        (&stats["ids"], &stats["connections_accepted"]),
        (&N_STEADY.into(), &(N_STEADY + N_COMERS).into())
    );
    let n_to_steady: usize = steady.iter().map(|follower| follower.sent.len()).sum();
    assert_eq!(count(&stats, "messages"), n_sent);
    assert_eq!(count(&stats, "messages_reached"), n_to_steady as u64 + n_reached_comers, "{stats}");
    let closed = &stats["connections_closed"];
    let expected = |reasons: &[&str]| -> u64 {
        let counts = WAYS.iter().zip(n_by_way).filter(|((_, counted), _)| *counted == reasons);
        counts.map(|(_, n)| n).sum()
    };
    // Who leaves with a message unread resets, whatever it meant to do.
    assert_eq!(
        count(closed, "peer") + count(closed, "reset"),
        expected(&["peer"]) + expected(&["reset"]),
        "{stats}"
    );
    assert!(count(closed, "reset") >= expected(&["reset"]), "{stats}");
    for reason in ["abandoned", "bad_request"] {
        assert_eq!(count(closed, reason), expected(&[reason]), "{stats}");
    }
    server.wait_for_descriptors(n_descriptors);
}

#[test]
fn a_storm_of_resets_leaves_nothing_but_counts() {
    const N: u64 = 2_000;
    let mut random = Random::seeded();
    let server = Server::start(&["--threads", "2"]);
    let mut door = server.door();
    let mut witness = server.follow("1");
    door.catch_up();
    let n_descriptors = server.n_descriptors();
    let storm: Vec<_> = (2..N + 2).map(|id| server.follow(&format!("{id},{}", id + N))).collect();
    assert_eq!(server.stats()["ids"], 2 * N + 1);
    let mut n_reached = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| storm.into_iter().for_each(Client::reset));
        for number in 1..=300 {
            n_reached += door.send(2 + random.below(2 * N), "into the storm");
            assert_eq!(door.send(1, "beside it"), 1);
            witness.expect_message(number, "beside it");
        }
    });
    let stats =
        server.wait_for_stats(|stats| stats["connections_parked"] == 1 && stats["ids"] == 1);
    assert_eq!(stats["connections_closed"], serde_json::json!({ "reset": N }));
    assert_eq!(
        (count(&stats, "messages"), count(&stats, "messages_reached")),
        (600, 300 + n_reached)
    );
    server.wait_for_descriptors(n_descriptors);
}
