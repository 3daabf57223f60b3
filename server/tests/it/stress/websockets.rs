//! WebSockets of every kind at once: good ones, and those that do what they should not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use serde_json::json;

use super::{Random, count};
use crate::support::{Client, Server, frame};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// What one of them does, under which reason it is counted, and under which code.
const WAYS: [(&str, &str, &str); 12] = [
    ("says goodbye", "peer", "1000"),
    ("says goodbye and goes on", "peer", "1001"),
    ("says goodbye without a code", "peer", "1005"),
    ("has a code of its own", "peer", "other"),
    ("leaves without a goodbye", "peer", "1006"),
    ("closes its half in mid-frame", "peer", "1006"),
    ("resets", "reset", "1006"),
    ("sends without a mask", "bad_frame", ""),
    ("sends what is no text", "bad_text", ""),
    ("announces too much", "frame_too_large", ""),
    ("floods pings and reads nothing", "chatty", ""),
    ("floods text", "chatty", ""),
];

/// Opens a WebSocket and leaves in one of the [`WAYS`]. What it sends may meet a closed connection.
fn come_and_go(server: &Server, way: usize, id: u64) {
    // Who leaves with a message unread resets the connection: these get none.
    let id = if matches!(way, 4..=6) { id + 1_000_000 } else { id };
    let mut client = server.web_socket(&id.to_string());
    let close = |code: u16| frame(CLOSE, &code.to_be_bytes());
    let bytes = match way {
        0 => close(1000),
        1 => [close(1001), frame(TEXT, b"and another thing").repeat(100)].concat(),
        2 => frame(CLOSE, b""),
        3 => close(4_242),
        4 | 6 => Vec::new(),
        5 => frame(PING, b"half of it")[..9].to_vec(),
        7 => b"\x81\x05hello".to_vec(),
        8 => frame(TEXT, b"\xc0\xaf"),
        9 => vec![TEXT, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        10 => frame(PING, &[b'x'; 125]).repeat(600),
        _ => frame(TEXT, &[b'x'; 125]).repeat(600),
    };
    _ = client.stream.write_all(&bytes);
    match way {
        4 => {}
        5 => client.stream.shutdown(Shutdown::Write).unwrap(),
        6 => client.reset(),
        // Until the server has closed it: so the reason is not that it was left.
        _ => _ = client.stream.read_to_end(&mut Vec::new()),
    }
}

#[test]
fn bad_clients_of_every_kind_cost_the_good_ones_nothing() {
    const N_GOOD: u64 = 100;
    const N_BAD: u64 = 1_200;
    let mut random = Random::seeded();
    let server = Server::start(&[]);
    // Every third by chunks, the others by WebSocket: an id has both.
    let follow = |id: u64| match id % 3 {
        0 => server.follow(&id.to_string()),
        _ => server.web_socket(&id.to_string()),
    };
    let mut good: Vec<_> = (1..=N_GOOD).map(follow).collect();
    let mut n_messages = vec![0; good.len()];
    let mut door = server.door();
    door.catch_up();
    let n_descriptors = server.n_descriptors();
    // These stop within a frame, and stay to the end.
    let halves: Vec<_> = (1..=100)
        .map(|n| {
            let mut client = server.web_socket("1000000");
            client.stream.write_all(&frame(PING, &[b'x'; 100])[..n]).unwrap();
            client
        })
        .collect();

    let ways: Vec<_> =
        (0..N_BAD).map(|_| usize::try_from(random.below(WAYS.len() as u64)).unwrap()).collect();
    std::thread::scope(|scope| {
        let churners: Vec<_> = ways
            .chunks(ways.len() / 2)
            .map(|ways| {
                let server = &server;
                scope.spawn(move || {
                    for (&way, id) in ways.iter().zip(1..) {
                        come_and_go(server, way, N_GOOD + id);
                    }
                })
            })
            .collect();
        while !churners.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let which = usize::try_from(random.below(N_GOOD)).unwrap();
            let id = which as u64 + 1;
            n_messages[which] += 1;
            let message = format!("message {}", n_messages[which]);
            assert_eq!(door.send(id, &message), 1);
            // To somebody who may be there or not, and may not read.
            door.send(N_GOOD + 1 + random.below(N_BAD / 2), "perhaps");
        }
    });
    for ((client, id), n) in good.iter_mut().zip(1..).zip(&n_messages) {
        for number in 1..=*n {
            let message = format!("message {number}");
            match id % 3 {
                0 => client.expect_message(number, &message),
                _ => client.expect_frame(number, &message),
            }
        }
    }
    drop(halves);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == N_GOOD);
    let (mut closed, mut codes) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
    for (_, reason, code) in ways.iter().map(|&way| WAYS[way]).chain([("", "peer", "1006"); 100]) {
        *closed.entry(reason).or_default() += 1;
        if !code.is_empty() {
            *codes.entry(code).or_default() += 1;
        }
    }
    assert_eq!(stats["connections_closed"], json!(closed));
    assert_eq!(stats["close_codes"], json!(codes));
    assert_eq!((count(&stats, "chunks_queued"), count(&stats, "backlog_bytes")), (0, 0));
    server.wait_for_descriptors(n_descriptors);
}

/// Memory of a server for each of some connections that do something, in bytes.
fn bytes_each(connect: impl Fn(&Server, u64) -> Client, then: impl Fn(&mut Client)) -> (u64, u64) {
    const N: u64 = 2_000;
    let server = Server::start(&[]);
    // Once, for all that a first time costs.
    then(&mut connect(&server, N + 1));
    server.wait_for_stats(|stats| stats["connections_open"] == 0);
    let before_kb = server.anon_kb();
    let mut clients: Vec<_> = (1..=N).map(|id| connect(&server, id)).collect();
    server.door().catch_up();
    let idle_kb = server.anon_kb();
    clients.iter_mut().for_each(then);
    server.door().catch_up();
    let bytes = |kb: u64| kb.saturating_sub(before_kb) * 1_024 / N;
    (bytes(idle_kb), bytes(server.anon_kb()))
}

#[test]
fn a_websocket_costs_its_row_and_one_that_stops_within_a_frame_little_more() {
    let by_chunks = |server: &Server, id: u64| server.follow(&id.to_string());
    let by_frames = |server: &Server, id: u64| server.web_socket(&id.to_string());
    let (chunked, _) = bytes_each(by_chunks, |_| {});
    // One that pings now and then, as many libraries do, needs no more than an idle one.
    let (idle, pinging) = bytes_each(by_frames, |client| {
        client.say(PING, b"hello");
        client.expect_bytes(b"\x8a\x05hello");
    });
    let (_, within_ping) = bytes_each(by_frames, |client| {
        client.stream.write_all(&frame(PING, &[b'x'; 125])[..130]).unwrap();
    });
    println!("{chunked} B by chunks; WebSocket {idle}, pinging {pinging}, half {within_ping}");
    // Pages are 4 KiB, and the allocator takes some at a time: 32 bytes each.
    assert!(idle <= chunked + 32, "{idle} bytes, {chunked} by chunks");
    assert!(pinging <= idle + 32, "{pinging} bytes, {idle} idle");
    assert!(within_ping <= idle + 640, "{within_ping} bytes, {idle} idle");
}
