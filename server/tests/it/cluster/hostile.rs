//! Brokers that talk nonsense: no node ends, no figure is wrong, and all heals.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fake_broker::{FakeBroker, Mode, bulk};
use super::{node, send, wait_for_health};
use crate::support::Server;

/// Memory that a node may gain from all nonsense together, in KB: far less than one claim of it.
const MAX_GAIN_KB: u64 = 32 * 1024;

/// Replies that no broker gives, each under a name.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let message = |payload: &[u8]| {
        [b"*3\r\n".as_slice(), &bulk(b"message"), &bulk(b"comet:7"), payload].concat()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("200 KB of nested arrays", b"*1\r\n".repeat(50_000)),
        ("arrays of three, nested", b"*3\r\n".repeat(50_000)),
        (
            "nested where a string belongs",
            [&b"*3\r\n$7\r\nmessage\r\n"[..], &b"*3\r\n".repeat(50_000)].concat(),
        ),
        ("an array of 2^31", text("*2147483648\r\n")),
        ("an array of 2^63-1", text("*9223372036854775807\r\n")),
        ("an array of -1", text("*-1\r\n")),
        ("an array of -2^31", text("*-2147483648\r\n")),
        ("a string of 2^63-1", text("*3\r\n$9223372036854775807\r\n")),
        ("a string of 2^64", text("*3\r\n$18446744073709551616\r\n")),
        ("a string of -2", text("*3\r\n$-2\r\n")),
        ("a payload of 2^63-1", message(b"$9223372036854775807\r\n")),
        ("a payload beyond what Redis takes", message(b"$536870913\r\n")),
        ("a payload that is longer than it says", message(b"$3\r\nabcdef\r\n")),
        (
            "a huge payload that is longer than it says",
            message(&[b"$300000\r\n".as_slice(), &[b'x'; 300_010]].concat()),
        ),
        ("a payload that is a number", message(b":1\r\n")),
        ("an endless line", [b"+".as_slice(), &[b'x'; 100_000]].concat()),
        ("an endless error", [b"-".as_slice(), &[b'x'; 100_000]].concat()),
        ("endless digits", [b":".as_slice(), &[b'1'; 100_000]].concat()),
        ("a count of 2^64-1", text(":18446744073709551615\r\n")),
        ("a count of 2^63-1", text(":9223372036854775807\r\n")),
        ("a negative count", text(":-1\r\n")),
        ("a string for a count", text("*3\r\n$9\r\nsubscribe\r\n$7\r\ncomet:7\r\n$1\r\n1\r\n")),
        ("an array for a count", text("*3\r\n$9\r\nsubscribe\r\n$7\r\ncomet:7\r\n*1\r\n:1\r\n")),
        ("what nobody subscribed", text("*3\r\n$9\r\nsubscribe\r\n$7\r\ncomet:9\r\n:1\r\n")),
        ("a number to a subscriber, and one too many", text(":1\r\n").repeat(200)),
        (
            "a pushed pattern",
            text("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$7\r\ncomet:7\r\n$1\r\nx\r\n"),
        ),
        ("a push of RESP3", text(">3\r\n$7\r\nmessage\r\n$7\r\ncomet:7\r\n$1\r\nx\r\n")),
        ("a map of RESP3", text("%1\r\n+server\r\n+redis\r\n")),
        ("a string of its own", text("$5\r\nhello\r\n")),
        ("HTTP", text("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")),
        ("an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x28".to_vec()),
        ("LF alone", text("+PONG\n")),
        ("an error with controls", b"-ERR \x1b[2J\x00\r\n".to_vec()),
        ("zeros", vec![0; 100_000]),
    ]
}

/// It is red while nonsense is talked, tries again, and heals.
fn survives(node: &Server, broker: &FakeBroker, bytes: &[u8], name: &str) {
    let n_before = broker.n_accepted();
    broker.set_mode(Mode::Hostile(bytes.to_vec()));
    broker.say(bytes);
    let why = wait_for_health(node, 503);
    assert!(!why.chars().any(char::is_control), "{name}: {why}");
    // Each of its two connections comes again, at least.
    broker.wait_for_accepted(n_before + 4);
    assert_eq!(node.ask("GET", "/healthz", "", "").0, 503, "{name}");
    broker.set_mode(Mode::Good);
    wait_for_health(node, 200);
}

#[test]
fn no_reply_of_a_broker_ends_a_node() {
    let all = nonsense();
    assert!(all.len() >= 17);
    // Each time a node waits longer before it tries again; so several share the work.
    std::thread::scope(|scope| {
        for some in all.chunks(6) {
            scope.spawn(|| survives_all(some));
        }
    });
}

/// One node that is told all this nonsense, and a client that stays connected.
fn survives_all(nonsense: &[(&str, Vec<u8>)]) {
    let broker = FakeBroker::start();
    let node = node(&broker.url(), &[]);
    let mut client = node.follow("7");
    let rss_kb = node.anon_kb();
    for (number, (name, bytes)) in (1..).zip(nonsense) {
        survives(&node, &broker, bytes, name);
        assert_eq!(send(&node, "7", name)["connections"], 1);
        client.expect_message(number, name);
    }
    let gain_kb = node.anon_kb().saturating_sub(rss_kb);
    assert!(gain_kb < MAX_GAIN_KB, "{gain_kb} KB");
    let stats = node.wait_for_stats(|stats| stats["cluster"]["subscriptions"] == 1);
    assert_eq!(
        (&stats["connections_parked"], &stats["connections_closed"]),
        (&json!(1), &json!({}))
    );
    assert_eq!(stats["messages"], nonsense.len());
    assert_eq!((&stats["messages_void"], &stats["cluster"]["received"]), (&json!(0), &json!(0)));
}

#[test]
fn a_broker_that_greets_and_then_breaks_off_is_not_tried_all_the_time() {
    let broker = FakeBroker::start();
    let node = node(&broker.url(), &[]);
    let n_before = broker.n_accepted();
    let begun_at = Instant::now();
    let answer = b"+OK\r\n*3\r\n".to_vec();
    broker.set_mode(Mode::HostileLater(answer));
    broker.say(b"*9\r\n");
    // Of each connection the sixth try comes after waits of at least 50 to 800 ms.
    broker.wait_for_accepted(n_before + 12);
    let least = Duration::from_millis(50 + 100 + 200 + 400 + 800);
    assert!(begun_at.elapsed() >= least, "{:?}", begun_at.elapsed());
    assert_eq!(node.ask("GET", "/healthz", "", "").0, 503, "greeting is not publishing");
    broker.set_mode(Mode::Good);
    wait_for_health(&node, 200);
}

#[test]
fn replies_may_come_byte_by_byte() {
    let broker = FakeBroker::start();
    broker.set_mode(Mode::Dribbling);
    let [here, there] = [node(&broker.url(), &[]), node(&broker.url(), &[])];
    let mut client = there.follow("7");
    for number in 1..=20 {
        let answer = send(&here, "7?count=exact", "in pieces");
        assert_eq!((&answer["connections"], &answer["exact"]), (&json!(1), &json!(true)));
        client.expect_message(number, "in pieces");
    }
    assert_eq!(there.stats()["cluster"]["gaps"], 0);
}

#[test]
fn a_reply_that_never_ends_is_no_sign_of_life() {
    let broker = FakeBroker::start();
    let node = node(&broker.url(), &[]);
    let _client = node.follow("7");
    let n_before = broker.n_accepted();
    // From here on everything is answered with the next byte of one string.
    broker.set_mode(Mode::HostileLater(b"x".to_vec()));
    broker.say(b"*3\r\n$7\r\nmessage\r\n$7\r\ncomet:7\r\n$60000\r\n");
    testing::wait_until("it waits for the end no longer", || {
        broker.say(b"x");
        broker.n_accepted() != n_before
    });
    broker.set_mode(Mode::Good);
    wait_for_health(&node, 200);
}

#[test]
fn what_is_too_large_for_a_message_is_dropped_and_counted() {
    const MAX: usize = 64 * 1024;
    let broker = FakeBroker::start();
    let node = node(&broker.url(), &[]);
    let mut client = node.follow("7");
    let publication = |n: usize| [b"1m12345678".as_slice(), &vec![b'x'; n]].concat();
    let sizes = [MAX + 1, MAX + 8, MAX + 9, 300_000, 1_200_000, 20_000_000];
    for n in sizes {
        broker.publish("comet:7", &publication(n));
    }
    broker.publish("comet:7", &publication(MAX));
    client.expect_message(1, &"x".repeat(MAX));
    let stats = node.wait_for_stats(|stats| stats["chunks_written"] == 1);
    let cluster = &stats["cluster"];
    assert_eq!((&cluster["too_large"], &cluster["received"]), (&json!(sizes.len()), &json!(1)));
    assert_eq!((&cluster["gaps"], &cluster["foreign"]), (&json!(0), &json!(0)));
    assert_eq!(broker.n_accepted(), 3, "one to see whether it is there, and two to work with");
    let (_, metrics) = node.door().ask("GET", "/metrics", "");
    let line = format!("comet_cluster_too_large_total {}", sizes.len());
    assert!(metrics.lines().any(|one| one == line), "{metrics}");
    assert!(node.rss_kb() < 64 * 1024, "{} KB", node.rss_kb());
}
