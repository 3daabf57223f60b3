//! Others at the broker: who listens, who publishes, and who pretends to be a node.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use super::fake_broker::bulk;
use super::{Broker, line, send, send_lines};
use crate::support::DEADLINE;

/// A connection to a broker that is no node's.
struct Stranger(BufReader<TcpStream>);

impl Stranger {
    fn new(broker: &Broker) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// One that hears everything from now on.
    fn monitor(broker: &Broker) -> Self {
        let mut monitor = Self::new(broker);
        monitor.write(&[b"PSUBSCRIBE", b"*"]);
        assert_eq!(monitor.read().len(), 3);
        monitor
    }

    fn write(&mut self, words: &[&[u8]]) {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        command.extend(words.iter().flat_map(|word| bulk(word)));
        self.0.get_mut().write_all(&command).unwrap();
    }

    /// The next reply: what is in the array, or the one line.
    fn read(&mut self) -> Vec<Vec<u8>> {
        let (kind, line) = self.line();
        if kind != b'*' {
            return vec![line];
        }
        let n: usize = std::str::from_utf8(&line).unwrap().parse().unwrap();
        (0..n).map(|_| self.element()).collect()
    }

    /// A string or number in an array.
    fn element(&mut self) -> Vec<u8> {
        let (kind, line) = self.line();
        if kind != b'$' {
            return line;
        }
        let mut bytes = vec![0; std::str::from_utf8(&line).unwrap().parse::<usize>().unwrap() + 2];
        self.0.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes
    }

    /// A line, and the byte before it.
    fn line(&mut self) -> (u8, Vec<u8>) {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        (line[0], line[1..line.len() - 2].to_vec())
    }

    /// Publishes; how many heard it.
    fn publish(&mut self, channel: &[u8], payload: &[u8]) -> u64 {
        self.write(&[b"PUBLISH", channel, payload]);
        std::str::from_utf8(&self.read()[0]).unwrap().parse().unwrap()
    }
}

#[test]
fn who_listens_to_everything_is_no_node() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let _monitors = [Stranger::monitor(&broker), Stranger::monitor(&broker)];
    // It is not known whether anybody is reached, until all nodes are asked.
    assert_eq!(send(&here, "7", "nobody"), json!({ "connections": 0, "subscribers": 2 }));
    let nobody = json!({ "connections": 0, "subscribers": 2, "exact": true });
    assert_eq!(send(&here, "7?count=exact", "nobody"), nobody);
    let (status, answer) = send_lines(&here, &line(7, "nobody").repeat(50));
    let expected = json!({
        "messages": 50, "connections": 0, "messages_void": 0, "unknown": 50,
        "subscribers": 100, "failed": 0, "unconfirmed": 0,
    });
    assert_eq!((status, answer), (200, expected));
    let mut client = there.follow("7");
    let one = json!({ "connections": 1, "subscribers": 3, "exact": true });
    assert_eq!(send(&here, "7?count=exact", "one"), one);
    client.expect_message(1, "one");
    assert_eq!(there.stats()["cluster"]["received"], 1);
}

#[test]
fn who_listens_to_an_id_and_never_answers_makes_the_count_unsure_and_not_wrong() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let _client = there.follow("7");
    let mut stranger = Stranger::new(&broker);
    stranger.write(&[b"SUBSCRIBE", b"comet:7"]);
    stranger.read();
    let unsure = json!({ "connections": 1, "subscribers": 2, "exact": false });
    assert_eq!(send(&here, "7?count=exact", "one"), unsure);
}

#[test]
fn forged_and_doubled_counts_are_ignored_and_counted() {
    const N: u64 = 20;
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut client = there.follow("7");
    let mut monitor = Stranger::monitor(&broker);
    let mut forger = Stranger::new(&broker);
    let forging = std::thread::spawn(move || {
        let mut n_asked = 0;
        while n_asked < N {
            let heard = monitor.read();
            let [_, _, channel, payload] = &heard[..] else { panic!("{heard:?}") };
            if channel == b"comet:7" && payload.starts_with(b"1a") {
                // Where the answers go, to what, and who is there.
                let (asker, request) = (&payload[2..10], &payload[10..18]);
                let nonce = u64::from_le_bytes(asker.try_into().unwrap());
                let door = format!("comet:node:{nonce:016x}");
                let mut count = |from: &[u8], n: u64| {
                    let answer = [b"1c", from, request, &n.to_le_bytes()].concat();
                    assert!(forger.publish(door.as_bytes(), &answer) >= 1);
                };
                count(b"somebody", u64::MAX);
                count(b"somebody", u64::MAX);
                count(b"stranger", 1_000);
                count(asker, 1_000);
                n_asked += 1;
            }
        }
        // Nobody asked this.
        let answer = [b"1c", b"somebody".as_slice(), &[0; 16]].concat();
        assert_eq!(forger.publish(b"comet:7", &answer), 2, "a node and the monitor");
    });
    for number in 1..=N {
        let answer = send(&here, "7?count=exact", "one");
        let expected = json!({ "connections": 1, "subscribers": 2, "exact": true });
        assert_eq!(answer, expected, "{number}");
        client.expect_message(number, "one");
    }
    forging.join().unwrap();
    let ignored = |stats: &serde_json::Value| stats["cluster"]["counts_ignored"] == 4 * N;
    here.wait_for_stats(ignored);
    there.wait_for_stats(|stats| stats["cluster"]["foreign"] == 1);
    let (_, metrics) = here.door().ask("GET", "/metrics", "");
    let line = format!("comet_cluster_counts_ignored_total {}", 4 * N);
    assert!(metrics.lines().any(|one| one == line), "{metrics}");
}

#[test]
fn a_count_that_a_known_node_cannot_have_is_ignored_and_so_is_its_second_one() {
    const N: u64 = 10;
    let Some(broker) = Broker::start(&[]) else { return };
    let mut monitor = Stranger::monitor(&broker);
    let [here, there] = broker.two_nodes();
    let mut client = there.follow("7");
    let mut forger = Stranger::new(&broker);
    let forging = std::thread::spawn(move || {
        let (mut nodes, mut n_asked) = (std::collections::HashSet::new(), 0);
        while n_asked < N {
            let heard = monitor.read();
            let [_, _, channel, payload] = &heard[..] else { panic!("{heard:?}") };
            let origin = payload.get(2..10).unwrap().to_vec();
            if channel.starts_with(b"comet:node") {
                nodes.insert(origin);
            } else if channel == b"comet:7" && payload.starts_with(b"1a") {
                let nonce = u64::from_le_bytes(origin[..].try_into().unwrap());
                let door = format!("comet:node:{nonce:016x}");
                let other = nodes.iter().find(|&node| *node != origin).unwrap();
                for n in [u64::MAX, u64::MAX, 1] {
                    let answer = [b"1c", &other[..], &payload[10..18], &n.to_le_bytes()].concat();
                    forger.publish(door.as_bytes(), &answer);
                }
                n_asked += 1;
            }
        }
    });
    for number in 1..=N {
        let answer = send(&here, "7?count=exact", "one");
        let expected = json!({ "connections": 1, "subscribers": 2, "exact": true });
        assert_eq!(answer, expected, "{number}");
        client.expect_message(number, "one");
    }
    forging.join().unwrap();
    // Of its own answer and of the one that is like it, the first that comes counts.
    here.wait_for_stats(|stats| stats["cluster"]["counts_ignored"] == 3 * N);
}

#[test]
fn nodes_that_are_not_there_do_not_push_out_those_that_are() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [here, there] = broker.two_nodes();
    let mut client = there.follow("7");
    let mut forger = Stranger::new(&broker);
    for forged in 0..5_000_u64 {
        let probe = [b"1p".as_slice(), &forged.to_le_bytes()].concat();
        assert_eq!(forger.publish(b"comet:nodes", &probe), 2);
    }
    for number in 1..=5 {
        let answer = send(&here, "7?count=exact", "one");
        assert_eq!((&answer["connections"], &answer["exact"]), (&json!(1), &json!(true)));
        client.expect_message(number, "one");
    }
    assert_eq!(here.ask("GET", "/healthz", "", "").0, 200);
}

#[test]
fn what_is_too_large_for_a_message_cuts_no_node_off_from_redis() {
    let Some(broker) = Broker::start(&[]) else { return };
    let node = broker.node(&[]);
    let mut client = node.follow("7");
    let mut stranger = Stranger::new(&broker);
    for n in [64 * 1024 + 1, 300_000, 1_200_000] {
        let publication = [b"1mstranger".as_slice(), &vec![b'x'; n]].concat();
        assert_eq!(stranger.publish(b"comet:7", &publication), 1);
    }
    let largest = [b"1mstranger".as_slice(), &vec![b'x'; 64 * 1024]].concat();
    assert_eq!(stranger.publish(b"comet:7", &largest), 1);
    client.expect_message(1, &"x".repeat(64 * 1024));
    let stats = node.wait_for_stats(|stats| stats["chunks_written"] == 1);
    let cluster = &stats["cluster"];
    assert_eq!((&cluster["too_large"], &cluster["gaps"]), (&json!(3), &json!(0)));
}
