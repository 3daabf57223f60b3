//! Some that never read among many that do.

use crate::stress::count;
use crate::support::{Client, Server};

#[test]
fn slow_readers_are_closed_and_the_others_lose_nothing() {
    const N_SLOW: u64 = 50;
    const N_GOOD: u64 = 150;
    const N_MESSAGES: u64 = 256;
    let server = Server::start(&[]);
    let mut door = server.door();
    let message = "x".repeat(4_096);
    let round = |good: &mut [Client], door: &mut crate::support::Door, number| {
        let n_reached = door.send(1, &message);
        for client in good {
            client.expect_message(number, &message);
        }
        n_reached
    };
    let mut good: Vec<_> = (0..N_GOOD).map(|_| server.follow("1")).collect();
    assert_eq!(round(&mut good, &mut door, 1), N_GOOD);
    let slow: Vec<_> = (0..N_SLOW).map(|_| server.follow("1")).collect();
    let mut n_reached = N_GOOD;
    for number in 2..=N_MESSAGES {
        n_reached += round(&mut good, &mut door, number);
    }
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == N_GOOD);
    assert_eq!(stats["connections_closed"], serde_json::json!({ "slow_reader": N_SLOW }));
    // A slow reader is not reached by the message that is too much, and its backlog is dropped.
    let n_dropped = count(&stats["chunks_dropped"], "slow_reader");
    assert_eq!(count(&stats, "chunks"), n_reached + N_SLOW);
    assert_eq!(count(&stats, "chunks_written") + n_dropped, n_reached + N_SLOW);
    assert!(n_dropped > 10 * N_SLOW, "64 KiB are more than 10 of these: {stats}");
    assert_eq!(server.send(1, "done"), N_GOOD);
    for client in &mut good {
        client.expect_message(N_MESSAGES + 1, "done");
    }
    drop(slow);
}
