//! Followers of the node that has the store, logged in at any node.

use serde_json::json;

use super::{Broker, send, send_lines, wait_for_health};
use crate::support::Server;

/// A node with a store in which 1 to `n_followers` follow 1000, and one without.
fn nodes(broker: &Broker, n_followers: u64) -> (tempfile::TempDir, [Server; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let nodes = [
        broker.node(&["--name", "n1", "--friends", store.to_str().unwrap()]),
        broker.node(&["--name", "n2"]),
    ];
    let line = |n: u64| format!("{{\"follow\":[{n},1000]}}\n");
    let lines: String = (1..=n_followers).map(line).collect();
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let (status, answer) = nodes[0].ask("POST", "/friends", ndjson, &lines);
    assert_eq!((status, &answer["changed"]), (200, &json!(n_followers)));
    (folder, nodes)
}

#[test]
fn the_node_with_the_store_sends_to_followers_at_all_nodes() {
    let Some(broker) = Broker::start(&[]) else { return };
    let (_folder, [here, there]) = nodes(&broker, 700);
    let mut local = here.follow("5,6");
    let (mut first, mut last, mut about) =
        (there.follow("1"), there.follow("700"), there.follow("1000"));
    let answer = send(&here, "1000?to=followers", "one");
    assert_eq!(answer, json!({ "connections": 1, "followers": 700, "subscribers": 5 }));
    local.expect_message(1, "one");
    for client in [&mut first, &mut last, &mut about] {
        client.expect_message(1, "one");
    }

    let body = "{\"id\":1000,\"msg\":\"two\",\"to\":\"followers\"}\n\
                {\"id\":700,\"msg\":\"three\"}\n\
                {\"id\":1000,\"msg\":\"four\",\"to\":\"followers\"}\n";
    let (status, answer) = send_lines(&here, body);
    assert_eq!((status, &answer["messages"], &answer["followers"]), (200, &json!(3), &json!(1400)));
    last.expect_message(2, "two");
    last.expect_message(3, "three");
    last.expect_message(4, "four");
    local.expect_message(2, "two");
    local.expect_message(3, "four");
    let counts = here.wait_for_stats(|stats| stats["messages"] == 4);
    assert_eq!(counts["followers"], 2_100);

    // The other node says that it has none.
    for (path, body) in [("/send/1000?to=followers", "five"), ("/friends/1000", "")] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let (status, answer) = there.ask(method, path, "", body);
        let why = answer["error"].as_str().unwrap();
        assert!(status == 503 && why.contains("node of the cluster that has one"), "{answer}");
    }
}

#[test]
fn a_broker_that_fails_is_named_with_how_many_were_sent() {
    let Some(mut broker) = Broker::start(&[]) else { return };
    let (_folder, [here, _there]) = nodes(&broker, 300);
    let mut local = here.follow("5");
    assert_eq!(send(&here, "1000?to=followers", "one")["connections"], 1);
    local.expect_message(1, "one");
    broker.kill();
    wait_for_health(&here, 503);
    let (status, answer) = here.ask("POST", "/send/1000?to=followers", "", "lost");
    assert_eq!(status, 503, "{answer}");
    assert_eq!((&answer["sent"], &answer["failed"]), (&json!(0), &json!(301)), "{answer}");
    assert!(answer["error"].is_string() && answer["connections"] == 0, "{answer}");
    let line = "{\"id\":1000,\"msg\":\"lost\",\"to\":\"followers\"}\n";
    let (status, answer) = send_lines(&here, line);
    assert_eq!((status, &answer["failed"]), (503, &json!(1)), "{answer}");
    broker.start_again();
    wait_for_health(&here, 200);
    assert_eq!(send(&here, "1000?to=followers", "two")["connections"], 1);
    local.expect_message(2, "two");
}
