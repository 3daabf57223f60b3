//! One shard: rows, their index, and all that happens to a row, under one lock.

use std::io;
use std::sync::Arc;

use super::extras::{Aliases, Extras};
use super::id::{Id, IdHasher};
use super::index::{Found, Index};
use super::meter::Meter;
use super::presence::Presence;
use super::rows::{Alias, Body, Connection, Noted, RowRef, Rows};
use super::stats::RouterStats;
use super::wire::{Limits, Wire};
use crate::close::CloseReason;
use crate::sync::{AtomicU64, Ordering};

/// Aliases that are removed under one lock: about ten microseconds.
const FORGOTTEN_AT_ONCE: usize = 64;

/// Rows, the index over them, and the counts of what happened to them.
#[derive(Debug)]
pub(super) struct Shard<W: Wire> {
    /// This shard's number, for references to its rows.
    pub(super) number: u16,
    /// Writes to the sockets and watches them.
    pub(super) wire: W,
    /// The rows.
    pub(super) rows: Rows<W>,
    /// From ids to rows.
    pub(super) index: Index,
    /// What the few rows with `has_extra` have beside their row.
    pub(super) extras: Extras<W>,
    /// Where a chunk is put together, used again for every row.
    pub(super) scratch: Vec<u8>,
    /// Aliases of connections closed here, the first of each shard. Whoever lets go of the lock
    /// takes them along and removes them: no two shards are ever locked at once.
    orphans: Vec<RowRef>,
    /// What happened.
    pub(super) stats: RouterStats,
    /// Limits of a connection.
    pub(super) limits: Limits,
    /// Ids of all connections of all shards.
    n_logins: Arc<AtomicU64>,
    /// Who is told of ids that come and leave, if anybody asks for them without a lock.
    pub(super) presence: Option<Arc<Presence>>,
}

impl<W: Wire> Shard<W> {
    /// An empty shard.
    pub(super) fn new(
        number: u16,
        wire: W,
        hasher: IdHasher,
        limits: Limits,
        meter: Arc<Meter>,
        n_logins: Arc<AtomicU64>,
    ) -> Self {
        Self {
            number,
            wire,
            rows: Rows::default(),
            index: Index::new(hasher),
            extras: Extras::new(meter),
            scratch: Vec::new(),
            orphans: Vec::new(),
            stats: RouterStats::default(),
            limits,
            n_logins,
            presence: None,
        }
    }

    /// Takes a slot for `id`. Nobody finds it before [`login`](Self::login) or
    /// [`alias`](Self::alias) fills it.
    pub(super) fn reserve(&mut self, id: Id) -> RowRef {
        let slot = self.rows.take_slot();
        self.rows.get_mut(slot).id = id;
        self.row(slot)
    }

    /// The row in a slot, in its present generation.
    pub(super) fn row(&self, slot: u32) -> RowRef {
        RowRef { shard: self.number, slot, generation: self.rows.get(slot).generation }
    }

    /// Writes the response head and logs the connection in, as one step for everybody else: no
    /// chunk comes before the head, and a message sent after the peer saw the head arrives.
    pub(super) fn login(
        &mut self,
        row: RowRef,
        socket: W::Socket,
        style: W::Style,
        head: &[u8],
        aliases: Aliases,
    ) -> Result<(), CloseReason> {
        // Before the peer sees the head: it may ask somebody to send to it right then.
        let id = self.rows.get(row.slot).id;
        self.arrive(id);
        // An empty socket buffer takes a head whole. One that does not is no usable connection.
        let refused = match W::try_write(&socket, head) {
            Ok(n) if n == head.len() => {
                self.wire.watch(&socket, row.key()).err().map(|_| CloseReason::Error)
            }
            Ok(_) => Some(CloseReason::ShortHead),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(CloseReason::ShortHead),
            Err(error) => Some(CloseReason::of_error(&error)),
        };
        if let Some(reason) = refused {
            self.wire.closing(&socket, 1 + aliases.n());
            self.rows.free(row.slot);
            if let (Some(presence), Found::Nobody) =
                (&self.presence, self.index.find(id, &self.rows))
            {
                presence.leave(id);
            }
            self.orphans.extend(aliases.into_firsts());
            self.stats.connections_closed.add(reason, 1);
            return Err(reason);
        }
        let noted = Noted::default();
        let mut connection = Connection { has_extra: false, style, noted, socket, n_chunks: 0 };
        if aliases.n() > 0 {
            self.extras.of(&mut connection, row.slot).aliases = aliases;
        }
        self.rows.get_mut(row.slot).body = Body::Connection(connection);
        self.index.add(row.slot, &mut self.rows);
        self.stats.connections_parked += 1;
        Ok(())
    }

    /// Enters a further id of the connection whose row is `home`, and of whose aliases in this
    /// shard `next` is the first.
    pub(super) fn alias(&mut self, id: Id, home: RowRef, next: Option<RowRef>) -> RowRef {
        let row = self.reserve(id);
        self.rows.get_mut(row.slot).body = Body::Alias(Alias::new(home, next));
        self.arrive(id);
        self.index.add(row.slot, &mut self.rows);
        row
    }

    /// Removes an alias and some of those behind it. Returns the first of those that are left, so
    /// that others get the lock between.
    pub(super) fn forget_aliases(&mut self, first: RowRef) -> Option<RowRef> {
        debug_assert_eq!(self.rows.get(first.slot).generation, first.generation);
        let mut next = Some(first.slot);
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(slot) = next else { break };
            self.leave(slot);
            let Body::Alias(alias) = self.rows.free(slot) else {
                unreachable!("aliases are chained to aliases only, and go with their connection")
            };
            next = alias.next();
        }
        next.map(|slot| self.row(slot))
    }

    /// Notes that an id is about to be in the index, if it is not yet.
    fn arrive(&self, id: Id) {
        if let (Some(presence), Found::Nobody) = (&self.presence, self.index.find(id, &self.rows)) {
            presence.arrive(id);
        }
    }

    /// Removes the row in `slot` from the index.
    fn leave(&mut self, slot: u32) {
        if self.index.remove(slot, &mut self.rows) {
            let id = self.rows.get(slot).id;
            self.wire.left(id);
            if let Some(presence) = &self.presence {
                presence.leave(id);
            }
        }
    }

    /// The aliases that were left behind by connections closed since the last call.
    pub(super) fn take_orphans(&mut self) -> Vec<RowRef> {
        std::mem::take(&mut self.orphans)
    }

    /// The connections logged in as `id`, here or behind an alias.
    pub(super) fn targets(&self, id: Id) -> Vec<RowRef> {
        let mut targets = Vec::new();
        self.add_targets(id, &mut targets);
        targets
    }

    /// Adds the connections logged in as `id`, here or behind an alias.
    pub(super) fn add_targets(&self, id: Id, targets: &mut Vec<RowRef>) {
        match self.index.find(id, &self.rows) {
            Found::Nobody => {}
            Found::One(slot) => targets.push(self.target(slot)),
            Found::Many(slots) => targets.extend(slots.iter().map(|&slot| self.target(slot))),
        }
    }

    /// The connection that the row in `slot` stands for.
    pub(super) fn target(&self, slot: u32) -> RowRef {
        let row = self.rows.get(slot);
        match row.body {
            Body::Alias(alias) => alias.home(),
            _ => RowRef { shard: self.number, slot, generation: row.generation },
        }
    }

    /// Removes a connection and everything about it, and closes its socket.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason) {
        self.leave(slot);
        let Body::Connection(connection) = self.rows.free(slot) else {
            unreachable!("only connections are closed; an alias goes with its connection")
        };
        let mut n_ids = 1;
        if connection.has_extra
            && let Some(extra) = self.extras.remove(slot)
        {
            let n_dropped = extra.backlog.n_chunks();
            self.stats.chunks_queued -= n_dropped;
            self.stats.chunks_dropped.add(reason, n_dropped);
            n_ids += extra.aliases.n();
            self.orphans.extend(extra.aliases.into_firsts());
        }
        self.wire.closing(&connection.socket, n_ids);
        self.n_logins.fetch_sub(n_ids as u64, Ordering::Relaxed);
        self.stats.connections_parked -= 1;
        self.stats.connections_closed.add(reason, 1);
    }
}
