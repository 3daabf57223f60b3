//! The scenarios of [`crate::stress`], over several nodes.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{Broker, line, send, send_lines};
use crate::stress::{Follower, Random};
use crate::support::{Client, Server};

/// Three nodes, one of them with two threads.
fn three_nodes(broker: &Broker) -> [Server; 3] {
    [broker.node(&[]), broker.node(&["--threads", "2"]), broker.node(&[])]
}

/// Waits until so many connections are logged in on all nodes together: they hear of one that left
/// a little later.
fn wait_until_parked(nodes: &[Server], n: u64) {
    let n_parked = |node: &Server| node.stats()["connections_parked"].as_u64().unwrap();
    let what = format!("{n} connections are logged in");
    testing::wait_until(&what, || nodes.iter().map(n_parked).sum::<u64>() == n);
}

/// Waits until a node has nobody, and has said so to the broker.
fn wait_until_empty(node: &Server) {
    let is_empty = |stats: &serde_json::Value| {
        stats["connections_parked"] == 0
            && stats["ids"] == 0
            && stats["cluster"]["subscriptions"] == 0
    };
    node.wait_for_stats(is_empty);
}

#[test]
fn many_logins_logouts_and_sends_on_any_node_reach_exactly_whom_they_should() {
    const N_IDS: u64 = 40;
    const N_STEPS: u64 = 2_000;
    let Some(broker) = Broker::start(&[]) else { return };
    let nodes = three_nodes(&broker);
    let mut doors: Vec<_> = nodes.iter().map(Server::door).collect();
    let mut random = Random::seeded();
    let mut open: Vec<(Vec<u64>, Follower)> = Vec::new();
    let (mut n_reached, mut n_sent) = (0, 0);
    for step in 0..N_STEPS {
        let id = 1 + random.below(N_IDS);
        let which = usize::try_from(random.below(3)).unwrap();
        match random.below(20) {
            0..4 => {
                let mut ids = vec![id];
                (0..random.below(6)).for_each(|_| ids.push(1 + random.below(N_IDS)));
                let path: Vec<_> = ids.iter().map(u64::to_string).collect();
                open.push((ids, Follower::new(nodes[which].follow(&path.join(",")))));
            }
            // A logout is of one node; those of an id are logged out of all.
            4 => {
                for door in &mut doors {
                    assert_eq!(door.ask("DELETE", &format!("/logins/{id}"), "").0, 200);
                }
                for (_, mut gone) in open.extract_if(.., |(ids, _)| ids.contains(&id)) {
                    gone.expect_all();
                    assert_eq!(gone.client.next_chunk(), None);
                }
            }
            5 => {
                if !open.is_empty() {
                    let which = random.below(open.len() as u64);
                    let (_, mut gone) = open.swap_remove(usize::try_from(which).unwrap());
                    gone.expect_all();
                    drop(gone);
                    wait_until_parked(&nodes, open.len() as u64);
                }
            }
            _ => {
                let message = format!("message {step} to {id}");
                let mut n_expected = 0;
                for (_, follower) in open.iter_mut().filter(|(ids, _)| ids.contains(&id)) {
                    follower.sent.push(message.clone());
                    n_expected += 1;
                }
                let path = format!("/send/{id}?count=exact");
                let (status, answer) = doors[which].ask("POST", &path, &message);
                let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
                assert_eq!((status, &answer["exact"]), (200, &json!(true)), "{answer}");
                assert_eq!(answer["connections"], n_expected, "{message}: {answer}");
                n_reached += n_expected;
                n_sent += 1;
            }
        }
    }
    for (_, follower) in &mut open {
        follower.expect_all();
    }
    let sum = |name: &str| -> u64 {
        nodes.iter().map(|node| node.wait_for_stats(|_| true)[name].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("chunks_written"), n_reached);
    let published = |node: &Server| node.stats()["cluster"]["published"].as_u64().unwrap();
    assert_eq!(nodes.iter().map(published).sum::<u64>(), n_sent);
    drop(open);
    nodes.iter().for_each(wait_until_empty);
    assert_eq!(broker.ask(&["PUBSUB", "CHANNELS", "comet:[0-9]*"]), "\n");
}

#[test]
fn whoever_has_its_head_gets_what_is_sent_then_however_many_come_and_go() {
    const N_ROUNDS: u64 = 250;
    const N_IDS: u64 = 5;
    let Some(broker) = Broker::start(&[]) else { return };
    let nodes = three_nodes(&broker);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for comer in 0..4 {
            let (nodes, next) = (&nodes, &next);
            scope.spawn(move || {
                // So few ids that many come just when the last one of an id leaves.
                let mut doors: Vec<_> = nodes.iter().map(Server::door).collect();
                for round in 0..N_ROUNDS {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let id = 1 + number % N_IDS;
                    let at = usize::try_from(comer + round).unwrap();
                    let mut client = nodes[at % 3].follow(&id.to_string());
                    let mine = format!("to {number}.");
                    let door = &mut doors[(at + 1) % 3];
                    assert_eq!(door.ask("POST", &format!("/send/{id}"), &mine).0, 200);
                    // Messages to others with the same id may come before.
                    while !client.next_chunk().unwrap().contains(&mine) {}
                }
            });
        }
    });
    nodes.iter().for_each(wait_until_empty);
    for id in 1..=N_IDS {
        assert_eq!(broker.n_followers(id), 0);
    }
}

#[test]
fn all_that_one_node_sends_to_an_id_arrives_in_order_everywhere() {
    const N: u64 = 600;
    let Some(broker) = Broker::start(&[]) else { return };
    let nodes = three_nodes(&broker);
    let follow = |node: &Server| [node.follow("1"), node.follow("2"), node.follow("1,2")];
    let mut clients: Vec<_> = nodes.iter().flat_map(follow).collect();
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                // One way to send and the other.
                let lines = |from, to| {
                    (from..to)
                        .map(|n| line(1 + n % 2, &format!("{number} {n}")))
                        .collect::<String>()
                };
                assert_eq!(send_lines(node, &lines(0, N / 3)).0, 200);
                let mut door = node.door();
                for n in N / 3..2 * N / 3 {
                    let path = format!("/send/{}", 1 + n % 2);
                    assert_eq!(door.ask("POST", &path, &format!("{number} {n}")).0, 200);
                }
                assert_eq!(send_lines(node, &lines(2 * N / 3, N)).0, 200);
            });
        }
    });
    for (which, client) in clients.iter_mut().enumerate() {
        let mut next = [which as u64 % 3 % 2; 3];
        let step = if which % 3 == 2 { 1 } else { 2 };
        for chunk in 1..=3 * N / step {
            let text = client.next_chunk().unwrap();
            let text = text.strip_prefix(&format!("Recvd msg #{chunk}: '")).unwrap();
            let (sender, n) = text.strip_suffix("'<br/>").unwrap().split_once(' ').unwrap();
            let sender: usize = sender.parse().unwrap();
            assert_eq!(n, next[sender].to_string(), "client {which}, of {sender}");
            next[sender] += step;
        }
    }
}

#[test]
fn a_storm_of_logins_and_resets_leaves_nothing_behind() {
    const N: u64 = 2_000;
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut witness = there.follow("1");
    let mut storm: Vec<_> = (2..N + 2)
        .map(|id| there.connect(&format!("GET /test/{id},{} HTTP/1.1\r\nHost: x\r\n\r\n", id + N)))
        .collect();
    // Half of them leave without having seen anything.
    storm.drain(..storm.len() / 2).for_each(Client::reset);
    for client in &mut storm {
        client.expect(crate::support::HEAD);
    }
    there.wait_for_stats(|stats| stats["cluster"]["subscriptions"] == N + 1);
    std::thread::scope(|scope| {
        scope.spawn(|| storm.into_iter().for_each(Client::reset));
        for number in 1..=300 {
            assert_eq!(send(&here, "1", "beside it")["subscribers"], 1);
            witness.expect_message(number, "beside it");
        }
    });
    drop(witness);
    wait_until_empty(&there);
    assert_eq!(broker.ask(&["PUBSUB", "CHANNELS", "comet:[0-9]*"]), "\n");
}

#[test]
fn a_node_that_ends_answers_those_who_wait_for_the_cluster() {
    let Some(broker) = Broker::start(&[]) else { return };
    let mut node = broker.node(&[]);
    let mut client = node.follow("1");
    broker.signal("-STOP");
    let mut waiting = node.connect("GET /test/2 HTTP/1.1\r\nHost: x\r\n\r\n");
    node.wait_for_stats(|stats| stats["cluster"]["waiting"] == 1);
    node.signal("-TERM");
    assert!(waiting.read_to_end().starts_with("HTTP/1.1 503 "));
    assert_eq!(client.next_chunk(), None);
    assert!(node.wait().success());
}
