//! The router against a plain model: lists that are searched from end to end.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::close::CloseReason;
use crate::fake_wire::{FakeMessage, FakeWire, Left, Peer, READABLE, connect, wires};
use crate::router::{Id, Limits, Ready, Router, Sent};

/// Small, so that a few messages fill it.
const BACKLOG_BYTES: usize = 20;

/// What all backlogs together may take where that is limited: about four of them, as each counts
/// for 256 bytes and what it holds.
const BACKLOG_TOTAL_BYTES: usize = 1_500;

/// Ids of all connections together, so that some logins find no room.
const MAX_IDS: u64 = 30;

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
    /// What all backlogs together may take.
    backlog_total_bytes: usize,
}

impl Pair {
    fn new(backlog_total_bytes: usize) -> Self {
        let limits = Limits {
            backlog_bytes: BACKLOG_BYTES,
            backlog_total_bytes,
            chatty_bytes: 10,
            max_ids: MAX_IDS,
        };
        let (wires, left) = wires(3);
        let router = Router::new(wires, 1, limits);
        let (connections, logged_in) = (Vec::new(), Vec::new());
        Self { router, connections, n_messages: 0, left, logged_in, backlog_total_bytes }
    }

    /// Ids of all open connections together.
    fn n_logins(&self) -> u64 {
        let open = self.connections.iter().filter(|one| one.is_open);
        open.map(|one| one.ids.len() as u64).sum()
    }

    fn login(&mut self, ids: Vec<Id>, room: usize) {
        let (socket, peer) = connect(room);
        let has_room = self.n_logins() + ids.len() as u64 <= MAX_IDS;
        let room_for_ids = self.router.room(ids.len());
        assert_eq!(room_for_ids.is_some(), has_room);
        let Some(room_for_ids) = room_for_ids else { return };
        let done = self.router.login(room_for_ids, socket, (), &ids, HEAD.as_bytes(), 0);
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
        let (mut n_expected, mut n_closed) = (0, 0);
        let message = format!("m{}{}", self.n_messages, "x".repeat(n_more));
        let n_waiting_before: Vec<_> = self.connections.iter().map(Modelled::n_waiting).collect();
        for connection in &mut self.connections {
            if connection.is_open && connection.ids.contains(&id) {
                n_expected += u64::from(connection.send(&message));
                n_closed += u64::from(!connection.is_open);
            }
        }
        self.n_messages += 1;
        let n_given_up_before =
            self.router.stats().connections_closed.get(CloseReason::BacklogTotal);
        let message = FakeMessage::new(&message);
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
        // Whoever is closed to make room may have been reached before, or not any more.
        let n_victims = self.check_given_up(&n_waiting_before);
        assert!(n_expected - n_victims.min(n_expected) <= n_reached && n_reached <= n_expected);
        let n_given_up = self.router.stats().connections_closed.get(CloseReason::BacklogTotal);
        let n_given_up = n_given_up - n_given_up_before;
        assert!((n_victims..=n_victims + n_closed).contains(&n_given_up));
    }

    /// Looks for connections that were closed because all backlogs together held too much: only
    /// those that were furthest behind may have been. Returns how many they are.
    fn check_given_up(&mut self, n_waiting_before: &[usize]) -> u64 {
        let is_victim = |one: &Modelled| one.is_open && one.peer.lock().unwrap().is_closed;
        let (victims, others): (Vec<_>, Vec<_>) =
            (0..self.connections.len()).partition(|&at| is_victim(&self.connections[at]));
        let others = others.into_iter().filter(|&at| self.connections[at].is_open);
        // Others may have come to wait for more after the victims were closed.
        let most = others.map(|at| n_waiting_before[at]).max().unwrap_or(0);
        for &at in &victims {
            let victim = &mut self.connections[at];
            assert!(victim.n_waiting() >= most.max(1), "another one is further behind");
            victim.is_open = false;
        }
        victims.len() as u64
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
        let mut rest = self.router.log_out(id);
        while rest.step(&self.router).is_none() {}
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
        assert_eq!(stats.connections_parked, n_open);
        assert_eq!(stats.logins, self.n_logins());
        assert!(stats.backlog_bytes <= self.backlog_total_bytes as u64, "{stats:?}");
        let is_waiting = self.connections.iter().any(|one| one.is_open && one.n_waiting() > 0);
        assert_eq!(stats.backlog_bytes > 0, is_waiting, "what holds nothing takes nothing");
        assert_eq!(stats.messages, self.n_messages);
        assert_eq!(stats.messages, stats.messages_void + stats.messages_reached);
        assert_eq!(
            stats.chunks,
            stats.chunks_written + stats.chunks_queued + stats.chunks_dropped.total()
        );
    }
}

proptest! {
    #[test]
    fn the_router_does_what_the_model_does(steps in steps(), is_tight in any::<bool>()) {
        let mut pair = Pair::new(if is_tight { BACKLOG_TOTAL_BYTES } else { usize::MAX });
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
        let left = (stats.connections_parked, stats.ids, stats.chunks_queued);
            prop_assert_eq!(left, (0, 0, 0), "nothing is left");
        prop_assert_eq!((stats.logins, stats.backlog_bytes), (0, 0), "nothing is left");
        prop_assert!(pair.connections.iter().all(|one| one.peer.lock().unwrap().is_closed));
    }
}
