//! The router under every order of locking that shuttle can think of.
//!
//! The same source files as in the library, compiled with shuttle's locks in place of std's: see
//! `sync` below. Each scenario is run thousands of times under another schedule.

#![allow(dead_code, reason = "each scenario uses some of the router and of the fake sockets")]
#![allow(unused_imports, reason = "and some of what the router shows")]
#![allow(
    unreachable_pub,
    unnameable_types,
    missing_docs,
    reason = "the files are modules of a test here"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../src/close.rs"]
mod close;
#[path = "../../src/fake_wire.rs"]
mod fake_wire;
#[path = "../../src/router/mod.rs"]
mod router;
mod sync;

use std::sync::{Arc, Mutex};

use shuttle::thread;

use crate::fake_wire::{FakeMessage, FakeStyle, FakeWire, Peer, READABLE, connect, wires};
use crate::router::{Id, Limits, Router, Sent, Sweep};

/// Schedules tried for each scenario.
const N_SCHEDULES: usize = 2_000;

/// More than any peer here receives.
const ROOM: usize = 1 << 20;

fn new_router() -> Arc<Router<FakeWire>> {
    Arc::new(Router::new(wires(3).0, 1, Limits::for_tests()))
}

fn login(router: &Router<FakeWire>, ids: &[Id]) -> Arc<Mutex<Peer>> {
    login_with_room(router, ids, ROOM)
}

/// The peer takes so many bytes.
fn login_with_room(router: &Router<FakeWire>, ids: &[Id], room: usize) -> Arc<Mutex<Peer>> {
    let (socket, peer) = connect(room);
    let room = router.room(ids.len()).expect("few ids are logged in");
    router
        .login(room, socket, FakeStyle::Talks, ids, b"head;", 0)
        .expect("there is room for the head");
    peer
}

fn log_out(router: &Router<FakeWire>, id: Id) {
    let mut rest = router.log_out(id);
    while rest.step(router).is_none() {}
}

fn send(router: &Router<FakeWire>, id: Id, message: &str) -> u64 {
    let message = &FakeMessage::new(message);
    match router.send(id, message) {
        Sent::Done(n_reached) => n_reached,
        Sent::Many => {
            let mut fan_out = router.fan_out(id);
            loop {
                if let Some(n_reached) = fan_out.step(router, message) {
                    return n_reached;
                }
                thread::yield_now();
            }
        }
    }
}

/// The peer closes its side, and the poller says so.
fn leave(router: &Router<FakeWire>, peer: &Mutex<Peer>) {
    let (shard, key) = {
        let mut peer = peer.lock().unwrap();
        peer.is_gone = true;
        peer.watched.expect("it was parked")
    };
    router.on_events(shard, &[(key, READABLE)], &mut [0; 8]);
}

/// Chunks are numbered 1, 2, 3 … and nothing comes before the head.
fn assert_in_order(peer: &Mutex<Peer>) {
    let received = peer.lock().unwrap().received.clone();
    let chunks = received.strip_prefix("head;").expect("the head comes first");
    let chunks = chunks.trim_end_matches("end;");
    for (n_before, chunk) in chunks.split_terminator(';').enumerate() {
        let (n, _) = chunk.split_once(':').expect("a chunk has a number");
        assert_eq!(n.parse::<usize>().unwrap(), n_before + 1, "{received}");
    }
}

fn assert_balanced(router: &Router<FakeWire>) {
    let stats = router.stats();
    assert_eq!(stats.messages, stats.messages_void + stats.messages_reached);
    assert_eq!(
        stats.chunks,
        stats.chunks_written + stats.chunks_queued + stats.chunks_dropped.total()
    );
}

fn assert_nothing_is_left(router: &Router<FakeWire>) {
    assert_balanced(router);
    let stats = router.stats();
    assert_eq!((stats.connections_parked, stats.ids, stats.logins), (0, 0, 0));
    assert_eq!((stats.chunks_queued, stats.backlog_bytes), (0, 0));
}

fn check(scenario: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(scenario, N_SCHEDULES);
}

#[test]
fn connections_with_several_ids_come_and_go_during_sends() {
    check(|| {
        let router = new_router();
        let comers: Vec<_> = [[1, 2, 3], [3, 2, 1]]
            .into_iter()
            .map(|ids| {
                let router = Arc::clone(&router);
                thread::spawn(move || {
                    let peer = login(&router, &ids);
                    let n_reached = send(&router, 2, "own");
                    assert!(n_reached >= 1, "a login is complete when the head is written");
                    leave(&router, &peer);
                    assert_in_order(&peer);
                })
            })
            .collect();
        for id in [1, 2, 3] {
            send(&router, id, "other");
        }
        for comer in comers {
            comer.join().unwrap();
        }
        assert_nothing_is_left(&router);
    });
}

#[test]
fn a_close_during_a_send_loses_no_count_and_hits_no_successor() {
    check(|| {
        let router = new_router();
        let first = login(&router, &[7]);
        let second = login(&router, &[7, 8]);
        let sender = {
            let router = Arc::clone(&router);
            thread::spawn(move || (0..3).for_each(|_| _ = send(&router, 7, "seven")))
        };
        let closer = {
            let router = Arc::clone(&router);
            let first = Arc::clone(&first);
            thread::spawn(move || {
                leave(&router, &first);
                // Takes the slot that has just been freed, under another id of the same shard.
                let successor = login(&router, &[9]);
                assert_eq!(send(&router, 9, "nine"), 1);
                let received = successor.lock().unwrap().received.clone();
                assert_eq!(received, "head;1:nine;", "nothing that was meant for another");
                leave(&router, &first);
                assert_eq!(router.n_logins(9), 1, "an old event does not close it");
                leave(&router, &successor);
            })
        };
        sender.join().unwrap();
        closer.join().unwrap();
        assert_in_order(&first);
        assert_in_order(&second);
        assert_eq!(second.lock().unwrap().received, "head;1:seven;2:seven;3:seven;");
        leave(&router, &second);
        assert_nothing_is_left(&router);
    });
}

/// The peer says something, and the poller says so.
fn say(router: &Router<FakeWire>, peer: &Mutex<Peer>, text: &str) {
    let (shard, key) = {
        let mut peer = peer.lock().unwrap();
        peer.said.extend(text.as_bytes());
        peer.watched.expect("it was parked")
    };
    router.on_events(shard, &[(key, READABLE)], &mut [0; 8]);
}

#[test]
fn a_goodbye_meets_messages_pings_and_a_logout() {
    check(|| {
        let router = new_router();
        let peer = login(&router, &[1, 2, 3]);
        let threads: Vec<_> = (1..=3)
            .map(|id| {
                let router = Arc::clone(&router);
                thread::spawn(move || match id {
                    1 => _ = send(&router, id, "one"),
                    2 => log_out(&router, id),
                    _ => {
                        let sweep = Sweep { pings: true, n_forgiven: 1 };
                        (0..router.n_shards()).for_each(|shard| {
                            router.sweep_slice(shard, 0, sweep);
                        });
                    }
                })
            })
            .collect();
        say(&router, &peer, "?a");
        say(&router, &peer, "!_?");
        say(&router, &peer, "b.x");
        for thread in threads {
            thread.join().unwrap();
        }
        // It has left, or was logged out before: once, and by a word that tells which.
        let received = peer.lock().unwrap().received.clone();
        let n_goodbyes = u64::from(received.ends_with("bye;"));
        assert_eq!(received.ends_with("end;"), n_goodbyes == 0, "{received}");
        let stats = router.stats();
        assert_eq!(stats.connections_closed.total(), 1);
        assert_eq!(stats.connections_closed.get(close::CloseReason::Peer), n_goodbyes);
        let n_codes: u64 = stats.close_codes.all().map(|(_, n)| n).sum();
        assert_eq!(n_codes, n_goodbyes);
        assert_nothing_is_left(&router);
    });
}

#[test]
fn logout_and_death_of_the_same_connection_happen_once() {
    check(|| {
        let router = new_router();
        let peer = login(&router, &[1, 2, 3, 4]);
        let threads: Vec<_> = (1..=2)
            .map(|id| {
                let router = Arc::clone(&router);
                thread::spawn(move || log_out(&router, id))
            })
            .collect();
        send(&router, 3, "last");
        leave(&router, &peer);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_in_order(&peer);
        assert_eq!(router.stats().connections_closed.total(), 1);
        assert_nothing_is_left(&router);
    });
}

#[test]
fn backlogs_that_hold_too_much_are_given_up_by_whoever_notices() {
    check(|| {
        // Room for one backlog, which counts for 256 bytes and what it holds.
        let limits = Limits { backlog_total_bytes: 700, ..Limits::for_tests() };
        let router = Arc::new(Router::new(wires(3).0, 1, limits));
        let slow: Vec<_> = [[1, 9], [2, 9], [3, 9], [4, 9]]
            .into_iter()
            .map(|ids| login_with_room(&router, &ids, 5))
            .collect();
        let senders: Vec<_> = [1, 9]
            .into_iter()
            .map(|id| {
                let router = Arc::clone(&router);
                thread::spawn(move || _ = send(&router, id, "a message to be shared"))
            })
            .collect();
        let leaver = {
            let (router, peer) = (Arc::clone(&router), Arc::clone(&slow[3]));
            thread::spawn(move || leave(&router, &peer))
        };
        for thread in senders.into_iter().chain([leaver]) {
            thread.join().unwrap();
        }
        assert_balanced(&router);
        let stats = router.stats();
        assert!(stats.backlog_bytes <= 700, "{stats:?}");
        assert!(stats.connections_closed.get(close::CloseReason::BacklogTotal) > 0);
        for peer in slow {
            if !peer.lock().unwrap().is_closed {
                leave(&router, &peer);
            }
        }
        assert_nothing_is_left(&router);
    });
}

#[test]
fn the_end_of_everything_meets_logins_and_sends() {
    check(|| {
        let router = new_router();
        let comer = {
            let router = Arc::clone(&router);
            thread::spawn(move || {
                login(&router, &[1, 2]);
                login(&router, &[2]);
                send(&router, 2, "two");
            })
        };
        let end_all = |router: &Router<FakeWire>| {
            for shard in 0..router.n_shards() {
                let mut next = Some(0);
                while let Some(slot) = next {
                    next = router.end_slice(shard, slot, close::CloseReason::Shutdown);
                }
            }
        };
        end_all(&router);
        comer.join().unwrap();
        end_all(&router);
        assert_nothing_is_left(&router);
    });
}
