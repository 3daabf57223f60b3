//! The tables, and how one gets at a shard of them.

use std::sync::Arc;

use super::extras::Aliases;
use super::id::{Id, IdHasher};
use super::index::Found;
use super::meter::Meter;
use super::presence::Presence;
use super::room::Room;
use super::rows::{Row, RowRef};
use super::shard::Shard;
use super::stats::RouterStats;
use super::wire::{Limits, Ready, Wire};
use crate::close::CloseReason;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};

/// The tables behind `login`, `logout` and `send`.
#[derive(Debug)]
pub struct Router<W: Wire> {
    /// The shards; an id belongs to one of them by its hash.
    pub(super) shards: Box<[Mutex<Shard<W>>]>,
    /// Chooses the shard of an id.
    hasher: IdHasher,
    /// Counts what all backlogs hold.
    pub(super) meter: Arc<Meter>,
    /// Whether somebody closes connections because all backlogs together hold too much.
    pub(super) is_relieving: AtomicBool,
    /// Ids of all connections together, of logins on their way included.
    n_logins: Arc<AtomicU64>,
    /// How many these may be.
    max_ids: u64,
}

/// What became of a message.
#[derive(Debug)]
#[must_use]
pub enum Sent {
    /// It reached this many connections.
    Done(u64),
    /// The id has several connections: [`Router::fan_out`] serves them, one fan-out of an id after
    /// the other.
    Many,
}

impl<W: Wire> Router<W> {
    /// Bytes that a login costs in the table of rows. A parked connection costs its row and about
    /// nine bytes in the index.
    pub const ROW_BYTES: usize = size_of::<Row<W>>();

    /// A router with a shard for every given poller. `seed` is random except in tests.
    pub fn new(wires: Vec<W>, seed: u64, limits: Limits) -> Self {
        let hasher = IdHasher::new(seed);
        let meter = Arc::new(Meter::new(limits.backlog_total_bytes));
        let n_logins = Arc::new(AtomicU64::new(0));
        let shard = |(number, wire)| {
            let number = u16::try_from(number).expect("there are as many shards as threads");
            let (meter, n_logins) = (Arc::clone(&meter), Arc::clone(&n_logins));
            Mutex::new(Shard::new(number, wire, hasher.clone(), limits, meter, n_logins))
        };
        Self {
            shards: wires.into_iter().enumerate().map(shard).collect(),
            hasher,
            meter,
            is_relieving: AtomicBool::new(false),
            n_logins,
            max_ids: limits.max_ids,
        }
    }

    /// Tells `presence` from now on which ids are logged in. To be called before the first login.
    pub fn tell(&self, presence: &Arc<Presence>) {
        for shard in 0..self.shards.len() {
            self.lock(shard).presence = Some(Arc::clone(presence));
        }
    }

    /// Room for a login with `n_ids` ids, if there is as much.
    pub fn room(&self, n_ids: usize) -> Option<Room<'_>> {
        Room::take(&self.n_logins, n_ids as u64, self.max_ids)
    }

    /// Writes `head` and logs the connection in as every one of `ids`, which has at least one and
    /// each once, and for which there is `room`. `n_extra_bytes` came behind the request. An error
    /// says why the connection was closed instead.
    pub fn login(
        &self,
        room: Room<'_>,
        socket: W::Socket,
        style: W::Style,
        ids: &[Id],
        head: &[u8],
        n_extra_bytes: usize,
    ) -> Result<RowRef, CloseReason> {
        let (&first, further) = ids.split_first().expect("a login has at least one id");
        let home = self.home(first);
        let mut shard = self.lock(home);
        let row = shard.reserve(first);
        let mut aliases = Aliases::default();
        if !further.is_empty() {
            // The aliases come before the head, so that every id works once the peer sees it.
            // Until the row is filled they lead nowhere.
            drop(shard);
            for &id in further {
                let its_home = self.home(id);
                let next = aliases.first(its_home);
                aliases.add(self.lock(its_home).alias(id, row, next));
            }
            shard = self.lock(home);
        }
        let done = shard.login(row, socket, style, head, aliases);
        if done.is_ok() && n_extra_bytes > 0 {
            shard.count_chatty(row, n_extra_bytes);
        }
        if done.is_ok() {
            // Given back when the connection is closed, which cannot be before the lock is free.
            room.keep();
        }
        self.release(shard);
        done.map(|()| row)
    }

    /// Sends `message` to whoever is logged in as `id`, unless that is several connections.
    pub fn send(&self, id: Id, message: &W::Message) -> Sent {
        let home = self.home(id);
        let mut shard = self.lock(home);
        let n_reached = match shard.index.find(id, &shard.rows) {
            Found::Many(_) => return Sent::Many,
            Found::Nobody => 0,
            Found::One(slot) => {
                let target = shard.target(slot);
                if usize::from(target.shard) != home {
                    drop(shard);
                    shard = self.lock(target.shard.into());
                }
                u64::from(shard.deliver(target, message))
            }
        };
        shard.stats.count_message(n_reached);
        self.release(shard);
        Sent::Done(n_reached)
    }

    /// How many connections are logged in as `id`.
    pub fn n_logins(&self, id: Id) -> usize {
        let shard = self.lock(self.home(id));
        match shard.index.find(id, &shard.rows) {
            Found::Nobody => 0,
            Found::One(_) => 1,
            Found::Many(slots) => slots.len(),
        }
    }

    /// Handles the events of one shard's poller.
    pub fn on_events(&self, shard: usize, events: &[(u64, Ready)], scratch: &mut [u8]) {
        let mut shard = self.lock(shard);
        for &(key, ready) in events {
            shard.on_ready(key, ready, scratch);
        }
        self.release(shard);
    }

    /// How many slots there are in all shards, free ones included.
    pub fn n_slots(&self) -> u64 {
        (0..self.shards.len()).map(|shard| u64::from(self.lock(shard).rows.n_slots())).sum()
    }

    /// How many connections are logged in.
    pub fn n_parked(&self) -> u64 {
        (0..self.shards.len()).map(|shard| self.lock(shard).stats.connections_parked).sum()
    }

    /// How many shards there are.
    pub fn n_shards(&self) -> usize {
        self.shards.len()
    }

    /// The counts of all shards. Each shard's are of one moment.
    pub fn stats(&self) -> RouterStats {
        let mut total = RouterStats::default();
        for shard in 0..self.shards.len() {
            let shard = self.lock(shard);
            total.merge(&shard.stats);
            total.ids += shard.index.n_ids() as u64;
        }
        total.logins = self.n_logins.load(Ordering::Relaxed);
        total.backlog_bytes = self.meter.held() as u64;
        total
    }

    /// The shard of an id. Other bits of the hash than the index uses, or a shard's ids would
    /// crowd together in it.
    pub(super) fn home(&self, id: Id) -> usize {
        let bits = (self.hasher.hash(id) >> 24) & 0xffff;
        (usize::try_from(bits).expect("16 bits") * self.shards.len()) >> 16
    }

    /// Locks one shard.
    pub(super) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard<W>> {
        self.shards[shard].lock()
    }

    /// Unlocks a shard, then does what its lock was in the way of: removes the aliases that its
    /// closed connections left in others, and closes connections if all backlogs hold too much.
    pub(super) fn release(&self, shard: MutexGuard<'_, Shard<W>>) {
        self.unlock(shard);
        while self.meter.is_over() && self.relieve() {}
    }

    /// Unlocks a shard, then removes the aliases that its closed connections left in others.
    pub(super) fn unlock(&self, mut shard: MutexGuard<'_, Shard<W>>) {
        let orphans = shard.take_orphans();
        drop(shard);
        for orphan in orphans {
            let mut rest = Some(orphan);
            while let Some(first) = rest {
                rest = self.lock(first.shard.into()).forget_aliases(first);
            }
        }
    }
}
