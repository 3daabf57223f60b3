//! Messages from any node to any other.

use serde_json::json;

use super::{Broker, line, node, send, send_lines};
use crate::support::{Client, UPGRADE};

#[test]
fn a_message_sent_on_one_node_reaches_a_client_of_another() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut client = there.follow("7");
    assert_eq!(send(&here, "7", "one"), json!({ "connections": 0, "subscribers": 1 }));
    assert_eq!(send(&there, "7", "two"), json!({ "connections": 1, "subscribers": 1 }));
    assert_eq!(send(&here, "8", "nobody"), json!({ "connections": 0, "subscribers": 0 }));
    client.expect_message(1, "one");
    client.expect_message(2, "two");

    let stats = there.wait_for_stats(|stats| stats["cluster"]["echoed"] == 1);
    let cluster = &stats["cluster"];
    assert_eq!((&cluster["node"], &cluster["received"]), (&json!("n2"), &json!(1)));
    assert_eq!((&cluster["published"], &cluster["subscriptions"]), (&json!(1), &json!(1)));
    let (_, metrics) = there.door().ask("GET", "/metrics", "");
    for line in ["comet_cluster_node_info{name=\"n2\"} 1", "comet_cluster_received_total 1"] {
        assert!(metrics.lines().any(|one| one == line), "{line} in {metrics}");
    }
    let stats = here.stats();
    let cluster = &stats["cluster"];
    assert_eq!((&cluster["published"], &cluster["unfollowed"]), (&json!(2), &json!(1)));

    // What somebody else publishes is no message.
    assert_eq!(broker.ask(&["PUBLISH", "comet:7", "hello"]), "1\n");
    there.wait_for_stats(|stats| stats["cluster"]["foreign"] == 1 && stats["chunks_written"] == 2);
    drop(client);
    let left = |stats: &serde_json::Value| stats["cluster"]["subscriptions"] == 0;
    there.wait_for_stats(left);
    assert_eq!(broker.n_followers(7), 0, "nobody follows it any longer");
}

#[test]
fn a_websocket_waits_for_the_cluster_as_others_do() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut socket = there.web_socket("7,8");
    let mut chunked = there.follow("7");
    assert_eq!(send(&here, "7", "<one>"), json!({ "connections": 0, "subscribers": 1 }));
    assert_eq!(send(&there, "8", "two"), json!({ "connections": 1, "subscribers": 1 }));
    socket.expect_frame(1, "<one>");
    socket.expect_frame(2, "two");
    chunked.expect_message(1, "&lt;one&gt;");
    socket.say(0x88, &1000_u16.to_be_bytes());
    socket.expect_close(1000);
    drop(chunked);
    there.wait_for_stats(|stats| stats["cluster"]["subscriptions"] == 0);

    // Frames that come before the answer are refused, however long the cluster takes.
    broker.signal("-STOP");
    let mut eager = there.connect(&format!("GET /test/9 HTTP/1.1\r\n{UPGRADE}\r\n"));
    there.wait_for_stats(|stats| stats["cluster"]["waiting"] == 1);
    eager.say(0x89, b"");
    assert!(eager.is_cut());
    broker.signal("-CONT");
    let stats = there.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"], json!({ "bad_request": 1, "peer": 2 }));
}

#[test]
fn the_same_id_on_several_nodes_gets_every_message_once() {
    let Some(broker) = Broker::start(&[]) else { return };
    let nodes = [broker.node(&[]), broker.node(&["--threads", "2"]), broker.node(&[])];
    let mut clients: Vec<_> =
        nodes.iter().flat_map(|node| [node.follow("7"), node.follow("7,8")]).collect();
    for (number, node) in (1..).zip(nodes.iter().cycle().take(30)) {
        let answer = send(node, "7?count=exact", &format!("message {number}"));
        assert_eq!(answer, json!({ "connections": 6, "subscribers": 3, "exact": true }));
    }
    for client in &mut clients {
        (1..=30).for_each(|number| client.expect_message(number, &format!("message {number}")));
    }
    // All that is left of the first node is on the others.
    let [first, ..] = nodes;
    drop(first);
    drop(clients);
}

#[test]
fn lines_are_published_in_their_order() {
    const N: u64 = 1_000;
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut clients = [here.follow("1"), there.follow("1"), there.follow("2")];
    let line = |n: u64| line(1 + n % 3, &format!("line {n}"));
    let lines: String = (0..N).map(line).collect();
    let (status, answer) = send_lines(&here, &lines);
    let (n_1, n_2, n_3) = (334, 333, 333);
    let expected = json!({
        "messages": N, "connections": n_1, "messages_void": n_3,
        "subscribers": 2 * n_1 + n_2, "unknown": n_2, "failed": 0, "unconfirmed": 0,
    });
    assert_eq!((status, answer), (200, expected));
    let expect_all = |client: &mut Client, id: u64| {
        for (number, n) in (1..).zip((0..N).filter(|n| 1 + n % 3 == id)) {
            client.expect_message(number, &format!("line {n}"));
        }
    };
    expect_all(&mut clients[0], 1);
    expect_all(&mut clients[1], 1);
    expect_all(&mut clients[2], 2);

    // What is before a bad line is sent, and what is behind it is not.
    let bad = format!("{}nonsense\n{}", line(0), line(0));
    let (status, answer) = send_lines(&here, &bad);
    assert_eq!((status, &answer["messages"]), (400, &json!(1)), "{answer}");
    assert_eq!(send(&here, "1", "end"), json!({ "connections": 1, "subscribers": 2 }));
    for client in &mut clients[..2] {
        client.expect_message(335, "line 0");
        client.expect_message(336, "end");
    }
}

#[test]
fn ids_are_spread_over_several_brokers() {
    let (Some(one), Some(other)) = (Broker::start(&[]), Broker::start(&[])) else { return };
    let url = format!("{},127.0.0.1:{}", one.url(), other.port);
    let back = format!("{},127.0.0.1:{}", other.url(), one.port);
    let [here, there] = [node(&url, &[]), node(&back, &[])];
    // One connection with all of them, for which both brokers must have answered.
    let ids: Vec<_> = (1..=100).map(|id: u64| id.to_string()).collect();
    let mut client = there.follow(&ids.join(","));
    let n_of = |broker: &Broker| (1..=100).map(|id| broker.n_followers(id)).sum::<u64>();
    let (n_one, n_other) = (n_of(&one), n_of(&other));
    assert_eq!(n_one + n_other, 100);
    assert!(n_one >= 20 && n_other >= 20, "{n_one} and {n_other}");
    let lines: String = (1..=100).map(|id| line(id, "to one")).collect();
    let (status, answer) = send_lines(&here, &lines);
    assert_eq!((status, &answer["subscribers"]), (200, &json!(100)), "{answer}");
    (1..=100).for_each(|number| client.expect_message(number, "to one"));
    assert_eq!(there.stats()["cluster"]["received"], 100);
}
