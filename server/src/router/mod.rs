//! Who is logged in as what: `login`, `logout` and `send`.
//!
//! Nothing here waits and nothing here knows HTTP: sockets, framing and the poller come in through
//! [`Wire`]. That is what lets the tests try every order of logins, sends and deaths without a
//! server.
//!
//! A connection's row lives in the shard of its first id, and so does that id's index entry: the
//! whole of a send to a connection with one id is one lock. Further ids of a connection are *alias*
//! rows in the shards of those ids. **No two shards are ever locked at once**, so there is no lock
//! order to get wrong; references that are carried from one shard to another name a generation, and
//! a stale one is dropped.

mod backlog;
mod index;
mod rows;
mod shard;

use std::hash::BuildHasher;
use std::io;
use std::ops::Range;

use foldhash::fast::FixedState;
use serde::Serialize;

use self::index::Found;
pub use self::rows::RowRef;
use self::shard::Shard;
use crate::close::{ByReason, CloseReason};
use crate::sync::{Mutex, MutexGuard};

/// What connections log in as: 1..=2⁶³−1.
pub type Id = u64;

/// Rows that a fan-out writes before it lets others in: at 7 µs a write, half a millisecond. With
/// 256 rows the 99th percentile of other ids' delivery latency during fan-outs to 10,000
/// connections was 4.2 ms, with 64 it is 1.7; the fan-outs take no longer.
pub const SLICE: usize = 64;

/// What the router needs of the world: sockets, a poller to watch them, and framing.
///
/// One value is the poller of one shard; sockets and framing are reached through its types.
pub trait Wire {
    /// A connection's descriptor; dropping it closes the connection.
    type Socket: std::fmt::Debug;
    /// How a connection's chunks are framed.
    type Style: Copy + std::fmt::Debug;
    /// What is sent.
    type Message: ?Sized;

    /// Watches a socket for bytes and for the peer's end; events come back with `key`.
    fn watch(&self, socket: &Self::Socket, key: u64) -> io::Result<()>;
    /// Watches a watched socket for room as well, or no longer.
    fn watch_writable(&self, socket: &Self::Socket, key: u64, wanted: bool) -> io::Result<()>;
    /// Sends without waiting.
    fn send(socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Receives without waiting.
    fn recv(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;
    /// Makes the coming close throw away what the kernel still holds for the peer.
    fn abort(socket: &Self::Socket);
    /// Makes the coming close deliver all that was written, even to a peer that still talks.
    fn finish(socket: &Self::Socket);
    /// Appends `message` as chunk number `n`.
    fn render(message: &Self::Message, n: u64, style: Self::Style, out: &mut Vec<u8>);
    /// What ends a response.
    fn last_chunk(style: Self::Style) -> &'static [u8];
    /// What can be sent at any time to find out whether the peer is there; empty if nothing can.
    fn ping(style: Self::Style) -> &'static [u8];
    /// Hears that a socket of a login is about to be closed, exactly once for each.
    fn closing(&self, socket: &Self::Socket);
    /// Hears that nobody is logged in as `id` any longer. It may be somebody again at once.
    fn left(&self, id: Id);
}

/// What an event said about a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read: bytes, the peer's end, or an error.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that may wait for it. A reader that is this far behind is closed rather than fed.
    pub backlog_bytes: usize,
    /// Bytes that it may send after its request. They are read and dropped.
    pub chatty_bytes: usize,
}

/// What happened to connections and messages. At every quiet moment
/// `messages = void + reached` and `deliveries = written + queued + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RouterStats {
    /// Connections logged in now.
    pub parked: u64,
    /// Connections that were logged in, or about to be, and are closed, by reason.
    pub closed: ByReason,
    /// Messages sent.
    pub messages: u64,
    /// Messages that reached nobody.
    pub void: u64,
    /// Messages that reached at least one connection.
    pub reached: u64,
    /// Chunks made of messages.
    pub deliveries: u64,
    /// Chunks whose last byte the kernel took.
    pub written: u64,
    /// Chunks waiting in a backlog.
    pub queued: u64,
    /// Chunks dropped with their connection, by the reason of its close.
    pub dropped: ByReason,
    /// Different ids logged in now.
    pub ids: u64,
}

impl RouterStats {
    /// Counts a message that reached `n` connections.
    fn count_message(&mut self, n: u64) {
        self.messages += 1;
        if n == 0 {
            self.void += 1;
        } else {
            self.reached += 1;
        }
    }

    /// Takes in the counts of another shard.
    fn merge(&mut self, other: &Self) {
        self.parked += other.parked;
        self.closed.merge(&other.closed);
        self.messages += other.messages;
        self.void += other.void;
        self.reached += other.reached;
        self.deliveries += other.deliveries;
        self.written += other.written;
        self.queued += other.queued;
        self.dropped.merge(&other.dropped);
        self.ids += other.ids;
    }
}

/// Hashes ids, under a seed that peers cannot know: they choose the ids.
#[derive(Debug, Clone)]
struct IdHasher(FixedState);

impl IdHasher {
    fn hash(&self, id: Id) -> u64 {
        self.0.hash_one(id)
    }
}

/// The tables behind `login`, `logout` and `send`.
#[derive(Debug)]
pub struct Router<W: Wire> {
    /// The shards; an id belongs to one of them by its hash.
    shards: Box<[Mutex<Shard<W>>]>,
    /// Chooses the shard of an id.
    hasher: IdHasher,
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
    pub const ROW_BYTES: usize = size_of::<rows::Row<W>>();

    /// A router with a shard for every given poller. `seed` is random except in tests.
    pub fn new(wires: Vec<W>, seed: u64, limits: Limits) -> Self {
        let hasher = IdHasher(FixedState::with_seed(seed));
        let shard = |(number, wire)| {
            let number = u16::try_from(number).expect("there are as many shards as threads");
            Mutex::new(Shard::new(number, wire, hasher.clone(), limits))
        };
        Self { shards: wires.into_iter().enumerate().map(shard).collect(), hasher }
    }

    /// Writes `head` and logs the connection in as every one of `ids`, which has at least one and
    /// each once. `n_extra_bytes` came behind the request. An error says why the connection was
    /// closed instead.
    pub fn login(
        &self,
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
        let mut aliases = Vec::new();
        if !further.is_empty() {
            // The aliases come before the head, so that every id works once the peer sees it.
            // Until the row is filled they lead nowhere.
            drop(shard);
            aliases = further.iter().map(|&id| self.lock(self.home(id)).alias(id, row)).collect();
            shard = self.lock(home);
        }
        let done = shard.login(row, socket, style, head, aliases);
        if done.is_ok() && n_extra_bytes > 0 {
            shard.count_chatty(row, n_extra_bytes);
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

    /// Begins a send to all connections that are logged in as `id` now.
    pub fn fan_out(&self, id: Id) -> FanOut {
        let home = self.home(id);
        let mut targets = self.lock(home).targets(id);
        // By shard, so that a slice locks few of them.
        targets.sort_unstable_by_key(|target| target.shard);
        FanOut { home, targets, n_done: 0, n_reached: 0 }
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

    /// Logs out every connection that is logged in as `id` now: it gets its last chunk and is
    /// closed. Returns how many there were.
    pub fn logout(&self, id: Id) -> usize {
        let targets = self.lock(self.home(id)).targets(id);
        for &target in &targets {
            let mut shard = self.lock(target.shard.into());
            shard.end(target, CloseReason::Logout);
            self.release(shard);
        }
        targets.len()
    }

    /// Handles the events of one shard's poller.
    pub fn on_events(&self, shard: usize, events: &[(u64, Ready)], scratch: &mut [u8]) {
        let mut shard = self.lock(shard);
        for &(key, ready) in events {
            shard.on_ready(key, ready, scratch);
        }
        self.release(shard);
    }

    /// Ends the connections in the slots from `first_slot` on of one shard, a slice of them.
    /// Returns where to go on, or `None` after the last slot.
    pub fn end_slice(&self, shard: usize, first_slot: u32, reason: CloseReason) -> Option<u32> {
        self.for_slice(shard, first_slot, |shard, slot| {
            let row = shard.target(slot);
            shard.end(row, reason);
        })
    }

    /// Pings the connections in the slots from `first_slot` on of one shard, a slice of them.
    /// Returns where to go on, or `None` after the last slot.
    pub fn ping_slice(&self, shard: usize, first_slot: u32) -> Option<u32> {
        self.for_slice(shard, first_slot, Shard::ping)
    }

    /// Does something with the connections in a slice of the slots of one shard. Returns where the
    /// next slice begins, or `None` after the last one.
    fn for_slice(
        &self,
        shard: usize,
        first_slot: u32,
        mut act: impl FnMut(&mut Shard<W>, u32),
    ) -> Option<u32> {
        let mut shard = self.lock(shard);
        let (slots, next) = slice(shard.rows.n_slots(), first_slot);
        for slot in slots {
            if let rows::Body::Connection(_) = shard.rows.get(slot).body {
                act(&mut shard, slot);
            }
        }
        self.release(shard);
        next
    }

    /// Shows the ids that are logged in at the slots from `first_slot` on of one shard, a slice of
    /// them; each id is at one slot only. Returns where to go on, or `None` after the last slot.
    pub fn ids_slice(
        &self,
        shard: usize,
        first_slot: u32,
        mut show: impl FnMut(Id),
    ) -> Option<u32> {
        let shard = self.lock(shard);
        let (slots, next) = slice(shard.rows.n_slots(), first_slot);
        for slot in slots {
            let row = shard.rows.get(slot);
            // Of the rows of an id one is the first.
            if row.position == 0 && !matches!(row.body, rows::Body::Free { .. }) {
                show(row.id);
            }
        }
        next
    }

    /// How many slots there are in all shards, free ones included.
    pub fn n_slots(&self) -> u64 {
        (0..self.shards.len()).map(|shard| u64::from(self.lock(shard).rows.n_slots())).sum()
    }

    /// How many connections are logged in.
    pub fn n_parked(&self) -> u64 {
        (0..self.shards.len()).map(|shard| self.lock(shard).stats.parked).sum()
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
        total
    }

    /// The shard of an id. Other bits of the hash than the index uses, or a shard's ids would
    /// crowd together in it.
    fn home(&self, id: Id) -> usize {
        let bits = (self.hasher.hash(id) >> 24) & 0xffff;
        (usize::try_from(bits).expect("16 bits") * self.shards.len()) >> 16
    }

    /// Locks one shard.
    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard<W>> {
        self.shards[shard].lock().expect("nothing panics while it holds a shard")
    }

    /// Unlocks a shard, then removes the aliases that its closed connections left in others.
    fn release(&self, mut shard: MutexGuard<'_, Shard<W>>) {
        let orphans = shard.take_orphans();
        drop(shard);
        for orphan in orphans {
            self.lock(orphan.shard.into()).forget_alias(orphan);
        }
    }
}

/// The slots of a slice, and where the next one begins if there is one.
fn slice(n_slots: u32, first_slot: u32) -> (Range<u32>, Option<u32>) {
    let n_in_slice = u32::try_from(SLICE).expect("a slice is small");
    let end = n_slots.min(first_slot.saturating_add(n_in_slice));
    (first_slot..end, (end < n_slots).then_some(end))
}

/// A send to many connections, done in slices so that others are served in between.
#[derive(Debug)]
pub struct FanOut {
    /// The shard in which the message is counted.
    home: usize,
    /// The connections, as they were logged in at the start.
    targets: Vec<RowRef>,
    /// How many of them were served.
    n_done: usize,
    /// How many of those were reached.
    n_reached: u64,
}

impl FanOut {
    /// Serves the next slice. Returns the number of connections reached when it was the last.
    pub fn step<W: Wire>(&mut self, router: &Router<W>, message: &W::Message) -> Option<u64> {
        let end = self.targets.len().min(self.n_done + SLICE);
        let slice = &self.targets[self.n_done..end];
        for of_one_shard in slice.chunk_by(|left, right| left.shard == right.shard) {
            let mut shard = router.lock(of_one_shard[0].shard.into());
            let reached = of_one_shard.iter().filter(|&&row| shard.deliver(row, message)).count();
            self.n_reached += reached as u64;
            router.release(shard);
        }
        self.n_done = end;
        if end < self.targets.len() {
            return None;
        }
        router.lock(self.home).stats.count_message(self.n_reached);
        Some(self.n_reached)
    }
}
