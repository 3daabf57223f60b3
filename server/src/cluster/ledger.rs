//! Who waits for which subscription, and what each broker is told next. No sockets.
//!
//! No set of subscribed ids is kept: the router's index is the truth. What is needed beside it
//! follows from the order in which a broker does what it is told. Whenever an id is in the index,
//! or a login of it is on its way, **the last that its broker was told about it is to subscribe**:
//!
//! - A login asks first. For each of its ids that is not in the index, its broker is told to
//!   subscribe, again perhaps, and the login waits for the acknowledgement. From then until it is
//!   done, it *wants* its ids.
//! - When an id has left the index its broker is told to unsubscribe, unless at that later moment
//!   the id is wanted, or in the index again.
//! - A broker that was away is told to subscribe what is wanted, then everything in the index.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::rendezvous::Rendezvous;
use crate::router::{Id, Router, Wire};

/// Ids that logins on their way may name together: at 100 bytes each, 6.5 MB. A broker acknowledges
/// as many in less than a second.
const MAX_WANTED: usize = 64 * 1024;

/// Ids that a broker is still to be told, beyond which nobody may ask: at 24 bytes each, 6 MB.
/// Clients that ask, leave and ask again would otherwise fill the memory while a broker stands
/// still.
const MAX_UNTOLD: usize = 256 * 1024;

/// Channels in one command.
pub(super) const BATCH: usize = 512;

/// Subscriptions that a broker was told and has not acknowledged. At 40 bytes an acknowledgement,
/// far below any limit on a broker's output buffer.
const MAX_IN_FLIGHT: usize = 8 * BATCH;

/// The name of a login that waits; never used again.
pub(crate) type Ticket = u64;

/// What a login gets that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All its ids are subscribed.
    Ready,
    /// It has to wait.
    Wait(Ticket),
    /// Too many wait already.
    Full,
}

/// What a broker is told about some ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Subscribe them.
    Subscribe(Vec<Id>),
    /// Unsubscribe them.
    Unsubscribe(Vec<Id>),
}

/// For whom an id is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// A login that waits for the acknowledgement.
    Waiting(Ticket),
    /// Connections that are logged in, or are just being logged in; nobody waits.
    LoggedIn,
}

/// What a broker is to be told about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// To subscribe it.
    Subscribe(For),
    /// To unsubscribe it.
    Unsubscribe,
}

// What `MAX_UNTOLD` counts with.
const _: () = assert!(size_of::<(Id, Order)>() == 24);

/// A login that waits.
#[derive(Debug)]
struct Login {
    /// Its ids.
    ids: Box<[Id]>,
    /// How many of them are not acknowledged: all those of brokers that are away are among them.
    n_left: usize,
    /// Where the one who asked keeps it.
    place: usize,
}

/// What one broker was told, and is to be told.
#[derive(Debug, Default)]
struct Told {
    /// Whether there is a connection to tell it anything.
    is_connected: bool,
    /// What it is to be told, the oldest first. The last entry of an id, in here or else in
    /// `in_flight`, is what the rule at the head of this file speaks of.
    outbox: VecDeque<(Id, Order)>,
    /// What it was told to subscribe and has not acknowledged, the oldest first.
    in_flight: VecDeque<(Id, For)>,
    /// How far the index was read, to subscribe everything in it: shard and slot.
    walk: Option<(usize, u32)>,
    /// How many are in `outbox` and `in_flight` for those that are logged in.
    n_for_logged_in: usize,
}

impl Told {
    /// Whether everything in the index is subscribed there.
    fn is_ready(&self) -> bool {
        self.is_connected && self.walk.is_none() && self.n_for_logged_in == 0
    }

    /// Takes the ids to be unsubscribed off the front of the outbox, at most a batch of them. They
    /// are not acknowledged to anybody, so there is no bound on how many are in flight.
    fn take_unsubscribed(&mut self) -> Vec<Id> {
        let mut ids = Vec::new();
        while let Some(&(id, Order::Unsubscribe)) = self.outbox.front()
            && ids.len() < BATCH
        {
            self.outbox.pop_front();
            ids.push(id);
        }
        ids
    }

    /// Takes the ids to be subscribed off the front of the outbox, at most `n_room` of them, and
    /// notes that they are in flight.
    fn take_subscribed(&mut self, n_room: usize) -> Vec<Id> {
        let mut ids = Vec::new();
        while let Some(&(id, Order::Subscribe(who))) = self.outbox.front()
            && ids.len() < n_room
        {
            self.outbox.pop_front();
            self.in_flight.push_back((id, who));
            ids.push(id);
        }
        ids
    }
}

/// Logins that wait, and what the brokers are told.
#[derive(Debug)]
pub(super) struct Ledger<W: Wire> {
    /// The index.
    router: Arc<Router<W>>,
    /// Which broker an id belongs to.
    rendezvous: Rendezvous,
    /// Logins that wait.
    logins: HashMap<Ticket, Login>,
    /// How many logins want an id; never 0.
    wanted: HashMap<Id, u32>,
    /// The sum of these.
    n_wanted: usize,
    /// The name of the next login.
    next_ticket: Ticket,
    /// What was told to the brokers, by their numbers.
    told: Box<[Told]>,
    /// Logins that need not wait any longer, and where they are kept.
    done: Vec<(usize, Ticket)>,
}

impl<W: Wire> Ledger<W> {
    /// A ledger for `n_brokers` brokers, none of which is connected.
    pub(super) fn new(router: Arc<Router<W>>, rendezvous: Rendezvous, n_brokers: usize) -> Self {
        Self {
            router,
            rendezvous,
            logins: HashMap::new(),
            wanted: HashMap::new(),
            n_wanted: 0,
            next_ticket: 0,
            told: (0..n_brokers).map(|_| Told::default()).collect(),
            done: Vec::new(),
        }
    }

    /// Whether a connection may be logged in as `ids`. If it has to wait,
    /// [`take_done`](Self::take_done) will show it with its `place`. Unless it is refused, the
    /// caller logs it in, or gives it up, and then calls [`release`](Self::release).
    pub(super) fn ask(&mut self, place: usize, ids: &[Id]) -> Asked {
        let is_behind = self.told.iter().any(|told| told.outbox.len() > MAX_UNTOLD);
        if is_behind || self.n_wanted + ids.len() > MAX_WANTED {
            return Asked::Full;
        }
        self.n_wanted += ids.len();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut n_left = 0;
        for &id in ids {
            *self.wanted.entry(id).or_default() += 1;
            let told = &mut self.told[self.rendezvous.home(id)];
            // An id in the index is subscribed, but only at a broker that has been told all of it.
            if !told.is_ready() || self.router.n_logins(id) == 0 {
                n_left += 1;
                // A broker that is away is told by `connected` what waiting logins want.
                if told.is_connected {
                    told.outbox.push_back((id, Order::Subscribe(For::Waiting(ticket))));
                }
            }
        }
        if n_left == 0 {
            return Asked::Ready;
        }
        self.logins.insert(ticket, Login { ids: ids.into(), n_left, place });
        Asked::Wait(ticket)
    }

    /// Ends the wait of a login, whether it is done or given up. Its ids stay wanted until
    /// [`release`](Self::release).
    pub(super) fn claim(&mut self, ticket: Ticket) -> Box<[Id]> {
        let login = self.logins.remove(&ticket).expect("a login waits until it is claimed");
        login.ids
    }

    /// Forgets that a login wants `ids`: those that are to be in the index are there now.
    pub(super) fn release(&mut self, ids: &[Id]) {
        self.n_wanted -= ids.len();
        for id in ids {
            let count = self.wanted.get_mut(id).expect("it was asked for");
            *count -= 1;
            if *count == 0 {
                self.wanted.remove(id);
            }
            // It may not have been logged in after all.
            self.left(*id);
        }
        if self.wanted.is_empty() && self.wanted.capacity() > BATCH {
            // The tables of a storm are not kept for the next one.
            self.wanted = HashMap::new();
            self.logins.shrink_to_fit();
        }
    }

    /// Takes note that `id` was seen leaving the index.
    pub(super) fn left(&mut self, id: Id) {
        let told = &mut self.told[self.rendezvous.home(id)];
        // A connection that is made later begins without subscriptions. Whether the id is wanted,
        // or in the index again, is looked at now and not when it left: to unsubscribe must never
        // be the last order about an id that somebody has.
        if told.is_connected && !self.wanted.contains_key(&id) && self.router.n_logins(id) == 0 {
            told.outbox.push_back((id, Order::Unsubscribe));
        }
    }

    /// Logins that need not wait any longer, and the places where they are kept.
    pub(super) fn take_done(&mut self) -> Vec<(usize, Ticket)> {
        let mut done = std::mem::take(&mut self.done);
        // Some have left meanwhile.
        done.retain(|(_, ticket)| self.logins.contains_key(ticket));
        done
    }

    /// Takes note of a new connection to a broker, which has no subscriptions yet. What waiting
    /// logins want is the first that it will be told.
    pub(super) fn connected(&mut self, broker: usize) {
        let is_here = |id: &Id| self.rendezvous.home(*id) == broker;
        let mut outbox = VecDeque::new();
        for (&ticket, login) in &self.logins {
            let order = Order::Subscribe(For::Waiting(ticket));
            outbox.extend(login.ids.iter().copied().filter(is_here).map(|id| (id, order)));
        }
        // A login that is just being done may come into the index behind the walk, and no longer
        // waits: so what it wants is told as well, for those that are logged in.
        let n_for_waiting = outbox.len();
        let order = Order::Subscribe(For::LoggedIn);
        outbox.extend(self.wanted.keys().copied().filter(is_here).map(|id| (id, order)));
        let n_for_logged_in = outbox.len() - n_for_waiting;
        let walk = Some((0, 0));
        self.told[broker] =
            Told { is_connected: true, outbox, walk, n_for_logged_in, ..Told::default() };
    }

    /// Takes note that a connection is lost, and every subscription with it.
    pub(super) fn lost(&mut self, broker: usize) {
        let lost = std::mem::take(&mut self.told[broker]);
        let in_flight = lost.in_flight.into_iter().map(|(_, who)| who);
        let in_outbox = lost.outbox.into_iter().filter_map(|(_, order)| match order {
            Order::Subscribe(who) => Some(who),
            Order::Unsubscribe => None,
        });
        // First what is not acknowledged is no longer counted, then everything of this broker is:
        // what had been acknowledged as well, since it is gone.
        for who in in_flight.chain(in_outbox) {
            if let For::Waiting(ticket) = who
                && let Some(login) = self.logins.get_mut(&ticket)
            {
                login.n_left -= 1;
            }
        }
        for login in self.logins.values_mut() {
            let is_here = |id: &&Id| self.rendezvous.home(**id) == broker;
            login.n_left += login.ids.iter().filter(is_here).count();
        }
        // Some have to wait again.
        self.done.retain(|(_, ticket)| self.logins.get(ticket).is_some_and(|one| one.n_left == 0));
    }

    /// What a broker is to be told next, if anything: at most [`BATCH`] ids at a time.
    ///
    /// The outbox goes before the walk through the index: logins wait for it. Its order is kept, as
    /// the last order about an id is the one that holds.
    pub(super) fn next_command(&mut self, broker: usize) -> Option<Command> {
        let told = &mut self.told[broker];
        let n_room = MAX_IN_FLIGHT.saturating_sub(told.in_flight.len()).min(BATCH);
        match told.outbox.front() {
            Some((_, Order::Unsubscribe)) => Some(Command::Unsubscribe(told.take_unsubscribed())),
            Some((_, Order::Subscribe(_))) => {
                let ids = told.take_subscribed(n_room);
                (!ids.is_empty()).then_some(Command::Subscribe(ids))
            }
            None => {
                if told.outbox.capacity() > 8 * BATCH {
                    // What a storm needed is not kept for the next one.
                    told.outbox = VecDeque::new();
                }
                self.walk(broker, n_room).map(Command::Subscribe)
            }
        }
    }

    /// The next ids of the index to be subscribed at a broker, a batch of them.
    fn walk(&mut self, broker: usize, n_room: usize) -> Option<Vec<Id>> {
        let told = &mut self.told[broker];
        let mut ids = Vec::new();
        // Slices of the index are taken whole, so only when there is room for a whole batch. Many
        // may have no id of this broker.
        while ids.is_empty() && n_room == BATCH {
            let (mut shard, mut slot) = told.walk?;
            while ids.len() + crate::router::SLICE <= BATCH {
                let next = self.router.ids_slice(shard, slot, |id| {
                    if self.rendezvous.home(id) == broker {
                        ids.push(id);
                    }
                });
                (shard, slot) = next.map_or((shard + 1, 0), |slot| (shard, slot));
                if shard == self.router.n_shards() {
                    break;
                }
            }
            told.walk = (shard < self.router.n_shards()).then_some((shard, slot));
        }
        told.n_for_logged_in += ids.len();
        told.in_flight.extend(ids.iter().map(|&id| (id, For::LoggedIn)));
        (!ids.is_empty()).then_some(ids)
    }

    /// Takes note of an acknowledgement. They come in the order of the commands; another id than
    /// the oldest is an error of the broker. Returns whether it was for those that are logged in.
    pub(super) fn acknowledged(&mut self, broker: usize, id: Option<Id>) -> Result<bool, String> {
        let told = &mut self.told[broker];
        match told.in_flight.pop_front_if(|(first, _)| Some(*first) == id) {
            None => Err("it acknowledges what it was not told".to_owned()),
            Some((_, For::LoggedIn)) => {
                told.n_for_logged_in -= 1;
                Ok(true)
            }
            Some((_, For::Waiting(ticket))) => {
                // One that has left does not wait.
                if let Some(login) = self.logins.get_mut(&ticket) {
                    login.n_left -= 1;
                    if login.n_left == 0 {
                        self.done.push((login.place, ticket));
                    }
                }
                Ok(false)
            }
        }
    }

    /// Whether everything in the index is subscribed at its broker.
    pub(super) fn is_ready(&self, broker: usize) -> bool {
        self.told[broker].is_ready()
    }

    /// How many logins wait.
    pub(super) fn n_waiting(&self) -> usize {
        self.logins.len()
    }
}
