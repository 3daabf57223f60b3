//! Requests that never finish, beside good ones.

use super::{Random, count};
use crate::support::{Client, Server};

#[test]
fn half_open_heads_are_told_the_time_and_good_clients_lose_nothing() {
    const N_HALF_OPEN: u64 = 2_000;
    const N_GOOD: u64 = 50;
    let mut random = Random::seeded();
    let server = Server::start(&["--head-timeout", "2s"]);
    let mut door = server.door();
    let mut good: Vec<_> = (1..=N_GOOD).map(|id| (server.follow(&id.to_string()), 0)).collect();
    let head = "GET /test/1 HTTP/1.1\r\nHost: x\r\nX: y\r\n";
    // Each stops somewhere, some before their first byte.
    let half_open: Vec<_> = (0..N_HALF_OPEN)
        .map(|_| match usize::try_from(random.below(head.len() as u64)).unwrap() {
            0 => Client::connect(server.public),
            cut => server.connect(&head[..cut]),
        })
        .collect();
    let (mut n_messages, mut stats) = (0, server.stats());
    assert_eq!(
        (count(&stats, "connections_pending") > 0, count(&stats, "connections_parked")),
        (true, N_GOOD),
        "{stats}"
    );
    while count(&stats, "connections_pending") > 0 {
        for (id, (client, n)) in (1..).zip(&mut good) {
            assert_eq!(door.send(id, "meanwhile"), 1);
            *n += 1;
            n_messages += 1;
            client.expect_message(*n, "meanwhile");
        }
        stats = server.stats();
    }
    for mut client in half_open {
        assert!(client.read_to_end().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    }
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == N_GOOD);
    assert_eq!(stats["connections_closed"], serde_json::json!({ "head_timeout": N_HALF_OPEN }));
    assert_eq!(count(&stats, "chunks_written"), n_messages);
}
