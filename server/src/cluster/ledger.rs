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

/// For whom an id is subscribed: a login that waits, or those that are logged in.
type For = Option<Ticket>;

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

/// What is between us and one broker.
#[derive(Debug, Default)]
struct Link {
    /// Whether there is a connection to tell it anything.
    is_connected: bool,
    /// What it is to be told, the oldest first; the second kind is to unsubscribe.
    outbox: VecDeque<(Id, Option<For>)>,
    /// What it was told to subscribe and has not acknowledged, the oldest first.
    in_flight: VecDeque<(Id, For)>,
    /// How far the index was read, to subscribe everything in it: shard and slot.
    walk: Option<(usize, u32)>,
    /// How many are in `outbox` and `in_flight` for those that are logged in.
    n_for_logged_in: usize,
}

impl Link {
    /// Whether everything in the index is subscribed there.
    fn is_ready(&self) -> bool {
        self.is_connected && self.walk.is_none() && self.n_for_logged_in == 0
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
    /// The brokers.
    links: Box<[Link]>,
    /// Logins that need not wait any longer, and where they are kept.
    done: Vec<(usize, Ticket)>,
}

impl<W: Wire> Ledger<W> {
    /// A ledger for `n_links` brokers, none of which is connected.
    pub(super) fn new(router: Arc<Router<W>>, rendezvous: Rendezvous, n_links: usize) -> Self {
        Self {
            router,
            rendezvous,
            logins: HashMap::new(),
            wanted: HashMap::new(),
            n_wanted: 0,
            next_ticket: 0,
            links: (0..n_links).map(|_| Link::default()).collect(),
            done: Vec::new(),
        }
    }

    /// Whether a connection may be logged in as `ids`. If it has to wait,
    /// [`take_done`](Self::take_done) will show it with its `place`. Unless it is refused, the
    /// caller logs it in, or gives it up, and then calls [`release`](Self::release).
    pub(super) fn ask(&mut self, place: usize, ids: &[Id]) -> Asked {
        let is_behind = self.links.iter().any(|link| link.outbox.len() > MAX_UNTOLD);
        if is_behind || self.n_wanted + ids.len() > MAX_WANTED {
            return Asked::Full;
        }
        self.n_wanted += ids.len();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut n_left = 0;
        for &id in ids {
            *self.wanted.entry(id).or_default() += 1;
            let link = &mut self.links[self.rendezvous.home(id)];
            if !link.is_ready() || self.router.n_logins(id) == 0 {
                n_left += 1;
                if link.is_connected {
                    link.outbox.push_back((id, Some(Some(ticket))));
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
        let link = &mut self.links[self.rendezvous.home(id)];
        // A connection that is made later begins without subscriptions.
        if link.is_connected && !self.wanted.contains_key(&id) && self.router.n_logins(id) == 0 {
            link.outbox.push_back((id, None));
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
    pub(super) fn connected(&mut self, link: usize) {
        let is_here = |id: &Id| self.rendezvous.home(*id) == link;
        let of_login = |(&ticket, login): (&Ticket, &Login)| {
            let here = login.ids.iter().copied().filter(is_here);
            here.map(|id| (id, Some(Some(ticket)))).collect::<Vec<_>>()
        };
        let mut outbox: VecDeque<_> = self.logins.iter().flat_map(of_login).collect();
        // A login that is being done may come into the index behind the walk.
        let n_for_waiting = outbox.len();
        outbox.extend(self.wanted.keys().copied().filter(is_here).map(|id| (id, Some(None))));
        let n_for_logged_in = outbox.len() - n_for_waiting;
        let walk = Some((0, 0));
        self.links[link] =
            Link { is_connected: true, outbox, walk, n_for_logged_in, ..Link::default() };
    }

    /// Takes note that a connection is lost, and every subscription with it.
    pub(super) fn lost(&mut self, link: usize) {
        let lost = std::mem::take(&mut self.links[link]);
        let in_flight = lost.in_flight.into_iter().filter_map(|(_, who)| who);
        let in_outbox = lost.outbox.into_iter().filter_map(|(_, who)| who.flatten());
        for ticket in in_flight.chain(in_outbox) {
            if let Some(login) = self.logins.get_mut(&ticket) {
                login.n_left -= 1;
            }
        }
        for login in self.logins.values_mut() {
            login.n_left +=
                login.ids.iter().filter(|&&id| self.rendezvous.home(id) == link).count();
        }
        // Some have to wait again.
        self.done.retain(|(_, ticket)| self.logins.get(ticket).is_some_and(|one| one.n_left == 0));
    }

    /// What a broker is to be told next, if anything: at most [`BATCH`] ids at a time.
    pub(super) fn next_command(&mut self, number: usize) -> Option<Command> {
        let link = &mut self.links[number];
        let n_room = MAX_IN_FLIGHT.saturating_sub(link.in_flight.len()).min(BATCH);
        if link.outbox.is_empty() {
            if link.outbox.capacity() > 8 * BATCH {
                link.outbox = VecDeque::new();
            }
            let ids = self.walk(number, n_room)?;
            return Some(Command::Subscribe(ids));
        }
        let mut ids = Vec::new();
        if let Some((_, None)) = link.outbox.front() {
            while let Some(&(id, None)) = link.outbox.front()
                && ids.len() < BATCH
            {
                link.outbox.pop_front();
                ids.push(id);
            }
            return Some(Command::Unsubscribe(ids));
        }
        while let Some(&(id, Some(who))) = link.outbox.front()
            && ids.len() < n_room
        {
            link.outbox.pop_front();
            link.in_flight.push_back((id, who));
            ids.push(id);
        }
        (!ids.is_empty()).then_some(Command::Subscribe(ids))
    }

    /// The next ids of the index to be subscribed at a broker, a batch of them.
    fn walk(&mut self, number: usize, n_room: usize) -> Option<Vec<Id>> {
        let link = &mut self.links[number];
        let mut ids = Vec::new();
        while ids.is_empty() && n_room == BATCH {
            let (mut shard, mut slot) = link.walk?;
            while ids.len() + crate::router::SLICE <= BATCH {
                let next = self.router.ids_slice(shard, slot, |id| {
                    if self.rendezvous.home(id) == number {
                        ids.push(id);
                    }
                });
                (shard, slot) = next.map_or((shard + 1, 0), |slot| (shard, slot));
                if shard == self.router.n_shards() {
                    break;
                }
            }
            link.walk = (shard < self.router.n_shards()).then_some((shard, slot));
        }
        link.n_for_logged_in += ids.len();
        link.in_flight.extend(ids.iter().map(|&id| (id, None)));
        (!ids.is_empty()).then_some(ids)
    }

    /// Takes note of an acknowledgement. They come in the order of the commands; another id than
    /// the oldest is an error of the broker. Returns whether it was for those that are logged in.
    pub(super) fn acknowledged(&mut self, link: usize, id: Option<Id>) -> Result<bool, String> {
        let link = &mut self.links[link];
        let Some((_, who)) = link.in_flight.pop_front_if(|(first, _)| Some(*first) == id) else {
            return Err("it acknowledges what it was not told".to_owned());
        };
        let Some(ticket) = who else {
            link.n_for_logged_in -= 1;
            return Ok(true);
        };
        // One that has left does not wait.
        if let Some(login) = self.logins.get_mut(&ticket) {
            login.n_left -= 1;
            if login.n_left == 0 {
                self.done.push((login.place, ticket));
            }
        }
        Ok(false)
    }

    /// Whether everything in the index is subscribed at its broker.
    pub(super) fn is_ready(&self, link: usize) -> bool {
        self.links[link].is_ready()
    }

    /// How many logins wait.
    pub(super) fn n_waiting(&self) -> usize {
        self.logins.len()
    }
}
