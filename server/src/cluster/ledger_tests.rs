//! The ledger against brokers that do what they are told, late, and come and go.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::ledger::{Asked, Command, Ledger, Ticket};
use super::rendezvous::Rendezvous;
use crate::fake_wire::{FakeSocket, FakeStyle, FakeWire, Left, Peer, READABLE, connect, wires};
use crate::router::{Id, Limits, Router};

const N_BROKERS: usize = 2;

/// Something that happens. What there are several of is picked by a number modulo how many.
#[derive(Debug, Clone)]
enum Step {
    Ask(Vec<Id>),
    GiveUp(usize),
    Claim,
    LogIn,
    PeerLeaves(usize),
    HandleDepartures,
    Tell(usize),
    Acknowledge(usize),
    Connect(usize),
    Lose(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = prop::collection::btree_set(1..6_u64, 1..3);
    let broker = 0..N_BROKERS;
    let step = prop_oneof![
        6 => ids.prop_map(|ids| Step::Ask(ids.into_iter().collect())),
        1 => any::<usize>().prop_map(Step::GiveUp),
        8 => Just(Step::Claim),
        4 => Just(Step::LogIn),
        3 => any::<usize>().prop_map(Step::PeerLeaves),
        4 => Just(Step::HandleDepartures),
        10 => broker.clone().prop_map(Step::Tell),
        12 => broker.clone().prop_map(Step::Acknowledge),
        5 => broker.clone().prop_map(Step::Connect),
        2 => broker.prop_map(Step::Lose),
    ];
    prop::collection::vec(step, 1..200)
}

/// A broker, which does at once what it is told and acknowledges it later.
#[derive(Debug, Default)]
struct Broker {
    is_connected: bool,
    subscribed: BTreeSet<Id>,
    to_acknowledge: VecDeque<Id>,
    acknowledged: BTreeSet<Id>,
}

struct Node {
    router: Arc<Router<FakeWire>>,
    left: Left,
    rendezvous: Rendezvous,
    ledger: Ledger<FakeWire>,
    brokers: [Broker; N_BROKERS],
    /// Connections that wait, by the place that the ledger was told.
    waiting: HashMap<usize, (Ticket, FakeSocket, Arc<Mutex<Peer>>)>,
    /// Connections that wait no longer.
    claimed: Vec<(FakeSocket, Arc<Mutex<Peer>>, Vec<Id>)>,
    logged_in: Vec<Arc<Mutex<Peer>>>,
    next_place: usize,
}

impl Node {
    fn new() -> Self {
        let limits = Limits::for_tests();
        let (wires, left) = wires(2);
        let router = Arc::new(Router::new(wires, 1, limits));
        let rendezvous = Rendezvous::new(["a", "b"]);
        Self {
            ledger: Ledger::new(Arc::clone(&router), rendezvous.clone(), N_BROKERS),
            router,
            left,
            rendezvous,
            brokers: Default::default(),
            waiting: HashMap::new(),
            claimed: Vec::new(),
            logged_in: Vec::new(),
            next_place: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(ids) => self.ask(&ids),
            Step::GiveUp(which) => {
                let mut places: Vec<_> = self.waiting.keys().copied().collect();
                places.sort_unstable();
                if !places.is_empty() {
                    let (ticket, ..) = self.waiting.remove(&places[which % places.len()]).unwrap();
                    let ids = self.ledger.claim(ticket);
                    self.ledger.release(&ids);
                }
            }
            Step::Claim => {
                for (place, ticket) in self.ledger.take_done() {
                    let (its, socket, peer) = self.waiting.remove(&place).unwrap();
                    assert_eq!(its, ticket);
                    let ids = self.ledger.claim(ticket);
                    self.claim(socket, peer, &ids);
                }
            }
            Step::LogIn => {
                for (socket, peer, ids) in std::mem::take(&mut self.claimed) {
                    let room = self.router.room(ids.len()).unwrap();
                    self.router.login(room, socket, FakeStyle::Deaf, &ids, b"head;", 0).unwrap();
                    self.logged_in.push(peer);
                    self.ledger.release(&ids);
                }
            }
            Step::PeerLeaves(which) => {
                if !self.logged_in.is_empty() {
                    let peer = self.logged_in.swap_remove(which % self.logged_in.len());
                    peer.lock().unwrap().is_gone = true;
                    let (shard, key) = peer.lock().unwrap().watched.unwrap();
                    self.router.on_events(shard, &[(key, READABLE)], &mut [0; 8]);
                }
            }
            Step::HandleDepartures => {
                let left = std::mem::take(&mut *self.left.lock().unwrap());
                for id in left {
                    self.ledger.left(id);
                }
            }
            Step::Tell(broker) => {
                self.pass_command(broker);
            }
            Step::Acknowledge(broker) => {
                self.acknowledge(broker);
            }
            Step::Connect(broker) if !self.brokers[broker].is_connected => {
                self.brokers[broker].is_connected = true;
                self.ledger.connected(broker);
            }
            Step::Lose(broker) if self.brokers[broker].is_connected => {
                self.brokers[broker] = Broker::default();
                self.ledger.lost(broker);
            }
            Step::Connect(_) | Step::Lose(_) => {}
        }
        self.check();
    }

    fn ask(&mut self, ids: &[Id]) {
        let (socket, peer) = connect(1_000);
        let place = self.next_place;
        self.next_place += 1;
        match self.ledger.ask(place, ids) {
            Asked::Ready => self.claim(socket, peer, ids),
            Asked::Wait(ticket) => {
                self.waiting.insert(place, (ticket, socket, peer));
            }
            Asked::Full => panic!("so few are no reason"),
        }
    }

    /// A login need not wait any longer, and will be done at some time.
    fn claim(&mut self, socket: FakeSocket, peer: Arc<Mutex<Peer>>, ids: &[Id]) {
        for &id in ids {
            let broker = &self.brokers[self.rendezvous.home(id)];
            assert!(broker.subscribed.contains(&id), "{id} is logged in before it is subscribed");
            assert!(broker.acknowledged.contains(&id), "{id} is logged in before we know that");
        }
        self.claimed.push((socket, peer, ids.to_vec()));
    }

    /// Tells a broker the next thing; returns whether there was any.
    fn pass_command(&mut self, number: usize) -> bool {
        let broker = &mut self.brokers[number];
        if !broker.is_connected {
            return false;
        }
        match self.ledger.next_command(number) {
            None => return false,
            Some(Command::Subscribe(ids)) => {
                broker.subscribed.extend(&ids);
                broker.to_acknowledge.extend(ids);
            }
            Some(Command::Unsubscribe(ids)) => {
                for id in ids {
                    broker.subscribed.remove(&id);
                    broker.acknowledged.remove(&id);
                }
            }
        }
        true
    }

    /// Hands over an acknowledgement; returns whether there was any.
    fn acknowledge(&mut self, broker: usize) -> bool {
        let Some(id) = self.brokers[broker].to_acknowledge.pop_front() else { return false };
        self.brokers[broker].acknowledged.insert(id);
        self.ledger.acknowledged(broker, Some(id)).unwrap();
        true
    }

    fn check(&self) {
        for id in 1..6 {
            let broker = self.rendezvous.home(id);
            if self.ledger.is_ready(broker) && self.router.n_logins(id) > 0 {
                assert!(self.brokers[broker].subscribed.contains(&id), "{id} is not subscribed");
            }
        }
        assert_eq!(self.ledger.n_waiting(), self.waiting.len());
    }

    /// Everything that can happen happens.
    fn settle(&mut self) {
        (0..N_BROKERS).for_each(|broker| self.take(Step::Connect(broker)));
        loop {
            self.take(Step::HandleDepartures);
            self.take(Step::Claim);
            self.take(Step::LogIn);
            let is_busy =
                (0..N_BROKERS).any(|broker| self.pass_command(broker) || self.acknowledge(broker));
            if !is_busy && self.left.lock().unwrap().is_empty() {
                break;
            }
        }
    }
}

#[test]
fn no_more_wait_than_may_and_who_gives_up_makes_room() {
    let mut node = Node::new();
    let ids: Vec<_> = (1..=1_024).collect();
    let tickets: Vec<_> = (0..64).map(|place| node.ledger.ask(place, &ids)).collect();
    let Asked::Wait(first) = tickets[0] else { panic!("no broker is connected: {tickets:?}") };
    assert_eq!(node.ledger.ask(64, &[1]), Asked::Full);
    let ids = node.ledger.claim(first);
    node.ledger.release(&ids);
    assert!(matches!(node.ledger.ask(64, &[1]), Asked::Wait(_)));
}

#[test]
fn who_asks_and_leaves_does_not_fill_the_memory() {
    let mut node = Node::new();
    (0..N_BROKERS).for_each(|broker| node.take(Step::Connect(broker)));
    let mut n_asked = 0;
    while let Asked::Wait(ticket) = node.ledger.ask(0, &[1, 2, 3, 4]) {
        n_asked += 1;
        assert!(n_asked < 300_000, "an end is in sight");
        let ids = node.ledger.claim(ticket);
        node.ledger.release(&ids);
    }
    // Once the brokers have heard it all there is room again.
    node.settle();
    assert!(matches!(node.ledger.ask(0, &[1]), Asked::Wait(_)));
}

proptest! {
    #[test]
    fn what_is_logged_in_is_subscribed_and_nothing_else_in_the_end(steps in steps()) {
        let mut node = Node::new();
        for step in steps {
            node.take(step);
        }
        node.settle();
        prop_assert!(node.waiting.is_empty(), "nobody waits for ever");
        for broker in 0..N_BROKERS {
            prop_assert!(node.ledger.is_ready(broker));
            let is_here = |id| node.rendezvous.home(id) == broker && node.router.n_logins(id) > 0;
            let logged_in = (1..6).filter(|&id| is_here(id));
            prop_assert_eq!(&node.brokers[broker].subscribed, &logged_in.collect::<BTreeSet<_>>());
        }
    }
}
