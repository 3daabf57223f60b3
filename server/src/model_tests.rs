//! The router against a plain model: lists that are searched from end to end.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::close::CloseReason;
use crate::fake_wire::{FakeWire, Left, Peer, READABLE, connect, wires};
use crate::router::{Id, Limits, Ready, Router, Sent};

/// Small, so that a few messages fill it.
const BACKLOG_BYTES: usize = 20;

const HEAD: &str = "head;";

const LAST: &str = "end;";

const PING: &str = "ping;";

const WRITABLE: Ready = Ready { readable: false, writable: true };

/// Something that happens. Connections are picked by a number modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Login {
        ids: Vec<Id>,
        room: usize,
    },
    /// To an id, with so many bytes more than a short message.
    Send(Id, usize),
    Logout(Id),
    PeerLeaves(usize),
    PeerBreaks(usize),
    PeerReads(usize, usize),
    StaleEvent(usize),
    Ping,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = prop::collection::btree_set(1..6_u64, 1..4);
    // Most peers take everything; some take little more than the head.
    let room = prop_oneof![3 => Just(usize::MAX / 2), 1 => 0..40_usize];
    let step = prop_oneof![
        4 => (ids.prop_shuffle_ids(), room).prop_map(|(ids, room)| Step::Login { ids, room }),
        7 => (1..6_u64).prop_map(|id| Step::Send(id, 0)),
        1 => (1..6_u64, 1..50_usize).prop_map(|(id, n_more)| Step::Send(id, n_more)),
        1 => (1..6_u64).prop_map(Step::Logout),
        2 => any::<usize>().prop_map(Step::PeerLeaves),
        1 => any::<usize>().prop_map(Step::PeerBreaks),
        3 => (any::<usize>(), 1..40_usize).prop_map(|(which, room)| Step::PeerReads(which, room)),
        1 => any::<usize>().prop_map(Step::StaleEvent),
        1 => Just(Step::Ping),
    ];
    prop::collection::vec(step, 1..80)
}

trait ShuffleIds {
    fn prop_shuffle_ids(self) -> impl Strategy<Value = Vec<Id>>;
}

impl<S: Strategy<Value = std::collections::BTreeSet<Id>>> ShuffleIds for S {
    fn prop_shuffle_ids(self) -> impl Strategy<Value = Vec<Id>> {
        self.prop_map(|ids| ids.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }
}

/// What the model knows of a connection.
struct Modelled {
    ids: Vec<Id>,
    peer: Arc<Mutex<Peer>>,
    /// The shard that watches it, and under which key.
    watched: (usize, u64),
    /// Everything that was sent to it, taken or not.
    sent: String,
    n_chunks: u64,
    is_open: bool,
    is_broken: bool,
    /// Its last chunk is in its backlog: it is logged in, but gets no more messages.
    is_ending: bool,
}

impl Modelled {
    fn event(&self, router: &Router<FakeWire>, ready: Ready) {
        let (shard, key) = self.watched;
        router.on_events(shard, &[(key, ready)], &mut [0; 8]);
    }

    fn n_waiting(&self) -> usize {
        self.sent.len() - self.peer.lock().unwrap().received.len()
    }

    /// What a send to it must do. Returns whether it is reached.
    fn send(&mut self, message: &str) -> bool {
        if self.is_ending {
            return false;
        }
        let (n_waiting, chunk) = (self.n_waiting(), format!("{}:{message};", self.n_chunks + 1));
        let is_slow = n_waiting > 0 && n_waiting + chunk.len() > BACKLOG_BYTES;
        let is_lost = n_waiting == 0 && self.is_broken;
        if is_slow || is_lost {
            self.is_open = false;
            return false;
        }
        self.n_chunks += 1;
        self.sent += &chunk;
        true
    }
}

struct Pair {
    router: Router<FakeWire>,
    connections: Vec<Modelled>,
    n_messages: u64,
    /// What the router said to have left.
    left: Left,
    /// The ids that were logged in after the last step.
    logged_in: Vec<Id>,
}

impl Pair {
    fn new() -> Self {
        let limits = Limits { backlog_bytes: BACKLOG_BYTES, chatty_bytes: 10 };
        let (wires, left) = wires(3);
        let router = Router::new(wires, 1, limits);
        Self { router, connections: Vec::new(), n_messages: 0, left, logged_in: Vec::new() }
    }

    fn login(&mut self, ids: Vec<Id>, room: usize) {
        let (socket, peer) = connect(room);
        let done = self.router.login(socket, (), &ids, HEAD.as_bytes(), 0);
        assert_eq!(done.is_ok(), room >= HEAD.len(), "a head that does not fit ends it");
        assert_eq!(peer.lock().unwrap().n_closings, u32::from(done.is_err()));
        if done.is_ok() {
            let watched = peer.lock().unwrap().watched.expect("a parked connection is watched");
            let sent = HEAD.to_owned();
            let (n_chunks, is_open, is_broken, is_ending) = (0, true, false, false);
            let connection =
                Modelled { ids, peer, watched, sent, n_chunks, is_open, is_broken, is_ending };
            self.connections.push(connection);
        }
    }

    fn send(&mut self, id: Id, n_more: usize) {
        // Before the router is asked: it changes what the peers have received.
        let mut n_expected = 0;
        let message = format!("m{}{}", self.n_messages, "x".repeat(n_more));
        for connection in &mut self.connections {
            if connection.is_open && connection.ids.contains(&id) {
                n_expected += u64::from(connection.send(&message));
            }
        }
        self.n_messages += 1;
        let n_reached = match self.router.send(id, &message) {
            Sent::Done(n_reached) => n_reached,
            Sent::Many => {
                let mut fan_out = self.router.fan_out(id);
                loop {
                    if let Some(n_reached) = fan_out.step(&self.router, &message) {
                        break n_reached;
                    }
                }
            }
        };
        assert_eq!(n_reached, n_expected);
    }

    fn logout(&mut self, id: Id) {
        for connection in &mut self.connections {
            if !connection.is_open || !connection.ids.contains(&id) || connection.is_ending {
                continue;
            }
            let is_waiting = connection.n_waiting() > 0;
            let is_taken = !is_waiting && connection.peer.lock().unwrap().room >= LAST.len();
            connection.is_open = !is_taken && (is_waiting || !connection.is_broken);
            connection.is_ending = connection.is_open;
            connection.sent += LAST;
        }
        self.router.logout(id);
    }

    fn ping(&mut self) {
        for one in self.connections.iter_mut().filter(|one| one.is_open) {
            let is_full = one.peer.lock().unwrap().room == 0;
            // Whoever has bytes waiting is not asked, and a full socket takes nothing.
            if one.n_waiting() == 0 && one.is_broken {
                one.is_open = false;
            } else if one.n_waiting() == 0 && !is_full {
                one.sent += PING;
            }
        }
        for shard in 0..self.router.n_shards() {
            let mut next = Some(0);
            while let Some(slot) = next {
                next = self.router.ping_slice(shard, slot);
            }
        }
    }

    fn with_open(&mut self, which: usize, act: impl FnOnce(&Router<FakeWire>, &mut Modelled)) {
        let mut open: Vec<_> = self.connections.iter_mut().filter(|one| one.is_open).collect();
        if !open.is_empty() {
            let which = which % open.len();
            act(&self.router, open[which]);
        }
    }

    fn take(&mut self, step: Step) {
        let failed = if let Step::Login { ids, .. } = &step { ids.clone() } else { Vec::new() };
        match step {
            Step::Login { ids, room } => self.login(ids, room),
            Step::Send(id, n_more) => self.send(id, n_more),
            Step::Logout(id) => self.logout(id),
            Step::Ping => self.ping(),
            Step::PeerLeaves(which) => self.with_open(which, |router, one| {
                one.peer.lock().unwrap().is_gone = true;
                one.is_open = false;
                one.event(router, READABLE);
            }),
            Step::PeerBreaks(which) => self.with_open(which, |_, one| {
                // Nobody is told: the next send finds out.
                one.peer.lock().unwrap().is_broken = true;
                one.is_broken = true;
            }),
            Step::PeerReads(which, room) => self.with_open(which, |router, one| {
                if one.is_broken || one.n_waiting() == 0 {
                    return;
                }
                one.peer.lock().unwrap().room += room;
                one.event(router, WRITABLE);
                one.is_open = !(one.is_ending && one.n_waiting() == 0);
            }),
            Step::StaleEvent(which) => {
                // An event of a connection that is gone must not touch its slot's next owner.
                let gone: Vec<_> = self.connections.iter().filter(|one| !one.is_open).collect();
                if !gone.is_empty() {
                    gone[which % gone.len()].event(&self.router, READABLE);
                }
            }
        }
        self.check();
        self.check_left(&failed);
    }

    /// What has left is said once; nothing else is, but of a login that failed.
    fn check_left(&mut self, failed: &[Id]) {
        let is_in = |id: &Id| self.router.n_logins(*id) > 0;
        let mut expected: Vec<_> = self.logged_in.iter().filter(|id| !is_in(id)).collect();
        let mut left = std::mem::take(&mut *self.left.lock().unwrap());
        left.retain(|id| self.logged_in.contains(id) || !failed.contains(id));
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left.iter().collect::<Vec<_>>(), expected);
        self.logged_in = (1..6).filter(is_in).collect();
        let mut shown = Vec::new();
        for shard in 0..self.router.n_shards() {
            let mut next = Some(0);
            while let Some(slot) = next {
                next = self.router.ids_slice(shard, slot, |id| shown.push(id));
            }
        }
        shown.sort_unstable();
        assert_eq!(shown, self.logged_in, "each id is shown once");
    }

    fn check(&self) {
        for id in 1..6 {
            let logged_in = |one: &&Modelled| one.is_open && one.ids.contains(&id);
            let n_expected = self.connections.iter().filter(logged_in).count();
            assert_eq!(self.router.n_logins(id), n_expected, "logins of {id}");
        }
        for one in &self.connections {
            let peer = one.peer.lock().unwrap();
            assert_eq!(peer.is_closed, !one.is_open, "closed exactly when the model says so");
            assert_eq!(peer.n_closings, u32::from(peer.is_closed), "announced once");
            assert!(
                one.sent.starts_with(&peer.received),
                "{:?} was not sent as {:?}",
                peer.received,
                one.sent
            );
        }
        let stats = self.router.stats();
        let n_open = self.connections.iter().filter(|one| one.is_open).count() as u64;
        assert_eq!(stats.parked, n_open);
        assert_eq!(stats.messages, self.n_messages);
        assert_eq!(stats.messages, stats.void + stats.reached);
        assert_eq!(stats.deliveries, stats.written + stats.queued + stats.dropped.total());
    }
}

proptest! {
    #[test]
    fn the_router_does_what_the_model_does(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
        }
        for shard in 0..pair.router.n_shards() {
            let mut next = Some(0);
            while let Some(slot) = next {
                next = pair.router.end_slice(shard, slot, CloseReason::Shutdown);
            }
        }
        // Those that still have to take their last chunk are let read.
        for one in &pair.connections {
            let mut peer = one.peer.lock().unwrap();
            peer.is_broken = false;
            peer.room = usize::MAX / 2;
            drop(peer);
            one.event(&pair.router, WRITABLE);
        }
        let stats = pair.router.stats();
        prop_assert_eq!((stats.parked, stats.ids, stats.queued), (0, 0, 0), "nothing is left");
        prop_assert!(pair.connections.iter().all(|one| one.peer.lock().unwrap().is_closed));
    }
}
