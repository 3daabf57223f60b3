//! Brokers that fail, and what their nodes do meanwhile.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Broker, RED_WITHIN, line, send, send_lines, wait_for_health};
use crate::support::{HEAD, Server, run};

/// The counts of a node's part in the cluster.
fn cluster(server: &Server) -> Value {
    server.stats()["cluster"].clone()
}

/// Follows an id with a client that need not have its head yet.
fn request(id: &str) -> String {
    format!("GET /test/{id} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[test]
fn a_broker_that_is_killed_takes_nobody_along() {
    let Some(mut broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut clients: Vec<_> = (1..=1_000).map(|id| there.follow(&id.to_string())).collect();
    let mut local = here.follow("7");
    broker.kill();
    let why = wait_for_health(&there, 503);
    assert!(why.contains(&format!("the broker at 127.0.0.1:{}", broker.port)), "{why}");
    wait_for_health(&here, 503);
    // Nothing is said to have been sent that was not, here or there.
    let (status, answer) = here.ask("POST", "/send/7", "", "lost");
    assert_eq!((status, &answer["unconfirmed"]), (503, &json!(false)), "{answer}");
    let (status, answer) = send_lines(&here, &line(7, "lost").repeat(3));
    let counted = [&answer["messages"], &answer["failed"], &answer["unconfirmed"]];
    assert_eq!((status, counted), (503, [&json!(0), &json!(3), &json!(0)]), "{answer}");
    // A client that comes now waits for the broker, whether others have its id or not.
    let mut waiting = [there.connect(&request("7")), there.connect(&request("2000"))];
    there.wait_for_stats(|stats| stats["cluster"]["waiting"] == 2);
    // One that leaves meanwhile is forgotten.
    drop(there.connect(&request("2001")));
    there.wait_for_stats(|stats| stats["connections_closed"]["abandoned"] == 1);

    broker.start_again();
    for client in &mut waiting {
        client.expect(HEAD);
    }
    wait_for_health(&there, 200);
    wait_for_health(&here, 200);
    assert_eq!(broker.n_followers(2001), 0);
    let counts = there.wait_for_stats(|stats| stats["cluster"]["subscriptions"] == 1_001);
    assert_eq!(counts["cluster"]["gaps"], 1);
    assert!(counts["cluster"]["resubscribed"].as_u64().unwrap() >= 1_000, "{counts}");
    assert!(counts["cluster"]["blind_s"].as_f64().unwrap() > 0.0, "{counts}");
    assert_eq!(cluster(&here)["failed"], 4);
    for (id, client) in (1..).zip(&mut clients) {
        let answer = send(&here, &format!("{id}?count=exact"), "again");
        let n = if id == 7 { 3 } else { 1 };
        assert_eq!((&answer["connections"], &answer["exact"]), (&json!(n), &json!(true)), "{id}");
        client.expect_message(1, "again");
    }
    waiting[0].expect_message(1, "again");
    local.expect_message(1, "again");
    assert_eq!(
        there.stats()["connections_closed"],
        json!({ "abandoned": 1 }),
        "nobody else has left"
    );
}

#[test]
fn a_broker_that_is_stopped_is_noticed_and_refused() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut client = there.follow("7");
    broker.signal("-STOP");
    let stopped_at = Instant::now();
    // It was told of this one, and does not answer: nobody knows whether it will do it.
    let (status, answer) = here.ask("POST", "/send/7", "", "perhaps");
    assert_eq!((status, &answer["unconfirmed"]), (503, &json!(true)), "{answer}");
    let why = wait_for_health(&there, 503);
    assert!(stopped_at.elapsed() < RED_WITHIN, "{:?}: {why}", stopped_at.elapsed());
    // A client is not kept waiting for ever.
    let refused = there.connect(&request("8")).read_to_end();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("cluster"), "{refused}");
    broker.signal("-CONT");
    wait_for_health(&there, 200);
    wait_for_health(&here, 200);
    let counts = [cluster(&here), cluster(&there)];
    assert_eq!((&counts[0]["unconfirmed"], &counts[1]["gaps"]), (&json!(1), &json!(1)));
    assert!(counts[1]["blind_s"].as_f64().unwrap() >= 8.0, "{}", counts[1]);
    assert_eq!(there.stats()["connections_closed"], json!({ "unsubscribed": 1 }));
    assert_eq!(send(&here, "7", "after")["subscribers"], 1);
    // The broker may have found the first one when it went on, and then published it.
    let first = client.next_chunk().unwrap();
    let second = first.contains("perhaps").then(|| client.next_chunk().unwrap());
    assert!(second.unwrap_or(first).contains("after"));
}

#[test]
fn an_output_buffer_that_runs_over_is_a_gap() {
    let limit = ["--client-output-buffer-limit", "pubsub 256kb 0 0"];
    let Some(broker) = Broker::start(&limit) else { return };
    // Its client may be as far behind as it likes.
    let (here, there) = (broker.node(&[]), broker.node(&["--backlog", "64MiB"]));
    let mut client = there.follow("7");
    // A node that does not read is behind, and what it does not read waits in the broker.
    there.signal("-STOP");
    let message = "x".repeat(60_000);
    let deadline = Instant::now() + crate::support::DEADLINE;
    while send(&here, "7", &message)["subscribers"] == 1 {
        assert!(Instant::now() < deadline, "the broker still waits");
    }
    there.signal("-CONT");
    let counts = there.wait_for_stats(|stats| stats["cluster"]["gaps"] == 1);
    wait_for_health(&there, 200);
    assert_eq!(send(&here, "7", "after")["subscribers"], 1);
    // What arrived before the gap is in order, and the connection is the same.
    let n_received = counts["cluster"]["received"].as_u64().unwrap();
    (1..=n_received).for_each(|n| client.expect_message(n, &message));
    client.expect_message(n_received + 1, "after");
}

#[test]
fn a_wrong_password_is_found_at_the_start_and_later() {
    let Some(broker) = Broker::start(&["--requirepass", "right"]) else { return };
    let with = |password: &str| format!("redis://:{password}@127.0.0.1:{}", broker.port);
    let bare = format!("redis://127.0.0.1:{}", broker.port);
    for url in [with("wrong"), bare] {
        let output =
            run(&["--cluster", &url, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("refuses") && error.contains("--cluster-password-file"), "{error}");
        assert!(!error.contains("wrong@"), "a password is not for logs: {error}");
        assert!(output.stdout.is_empty(), "it was never ready");
    }
    let server = super::node(&with("right"), &[]);
    let mut client = server.follow("7");
    let cli = ["-a", "right", "--no-auth-warning"];
    broker.ask(&[&cli[..], &["CONFIG", "SET", "requirepass", "other"]].concat());
    let cli = ["-a", "other", "--no-auth-warning"];
    broker.ask(&[&cli[..], &["CLIENT", "KILL", "TYPE", "pubsub"]].concat());
    broker.ask(&[&cli[..], &["CLIENT", "KILL", "TYPE", "normal"]].concat());
    let deadline = Instant::now() + crate::support::DEADLINE;
    while !wait_for_health(&server, 503).contains("WRONGPASS") {
        assert!(Instant::now() < deadline, "{}", wait_for_health(&server, 503));
    }
    broker.ask(&[&cli[..], &["CONFIG", "SET", "requirepass", "right"]].concat());
    wait_for_health(&server, 200);
    assert_eq!(send(&server, "7", "again")["subscribers"], 1);
    client.expect_message(1, "again");
}

#[test]
fn a_flag_that_cannot_be_meant_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let unreachable = format!("redis://user:secret@{address}");
    for (flags, part) in [
        (&["--cluster", "redis://u:secret@h:1/2"][..], "without /2"),
        (&["--cluster", &unreachable], "in 5 tries"),
        (&["--name", "n1"], "--cluster"),
    ] {
        let all = [flags, &["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]].concat();
        let output = run(&all);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(part) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn a_node_that_dies_is_followed_no_longer() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let _client = there.follow("7");
    assert_eq!(send(&here, "7", "one")["subscribers"], 1);
    there.signal("-KILL");
    let deadline = Instant::now() + crate::support::DEADLINE;
    while send(&here, "7", "two")["subscribers"] != 0 {
        assert!(Instant::now() < deadline, "the broker still follows it");
    }
}
