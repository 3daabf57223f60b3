//! What is kept of a connection beside its row, for the few that need it.

use std::collections::HashMap;
use std::sync::Arc;

use super::backlog::Backlog;
use super::index::KEPT_ROOM;
use super::meter::Meter;
use super::rows::{Connection, RowRef};
use super::wire::Wire;
use crate::close::CloseReason;

/// What is kept of one connection.
#[derive(Debug)]
pub(super) struct Extra {
    /// What its socket would not take yet.
    pub(super) backlog: Backlog,
    /// The rows of its further ids.
    pub(super) aliases: Aliases,
    /// Bytes that it sent after its request.
    pub(super) n_chatty_bytes: usize,
    /// Why it is closed as soon as its backlog is written, once its last chunk is in there.
    pub(super) ending: Option<CloseReason>,
}

/// The rows of a connection's further ids: in every shard that has some, the first of a chain.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The first one in each shard.
    firsts: Vec<RowRef>,
    /// How many there are in all shards.
    n: usize,
}

impl Aliases {
    /// The first one in a shard, if there is one.
    pub(super) fn first(&self, shard: usize) -> Option<RowRef> {
        self.firsts.iter().copied().find(|first| usize::from(first.shard) == shard)
    }

    /// One more, which was chained in front of the [`first`](Self::first) of its shard.
    pub(super) fn add(&mut self, row: RowRef) {
        self.n += 1;
        match self.firsts.iter_mut().find(|first| first.shard == row.shard) {
            Some(first) => *first = row,
            None => self.firsts.push(row),
        }
    }

    /// How many there are.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// The first one of every shard that has some.
    pub(super) fn into_firsts(self) -> Vec<RowRef> {
        self.firsts
    }
}

/// By slot, what the few rows with `has_extra` have beside their row.
#[derive(Debug)]
pub(super) struct Extras {
    /// What is kept.
    by_slot: HashMap<u32, Box<Extra>>,
    /// Counts what the backlogs hold.
    meter: Arc<Meter>,
}

impl Extras {
    /// Nothing is kept; backlogs are counted by `meter`.
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self { by_slot: HashMap::new(), meter }
    }

    /// What counts the backlogs.
    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// What is kept of a connection, if anything is.
    pub(super) fn get<W: Wire>(&self, connection: &Connection<W>, slot: u32) -> Option<&Extra> {
        connection.has_extra.then(|| &*self.by_slot[&slot])
    }

    /// What is kept of a connection, made on first use.
    pub(super) fn of<W: Wire>(&mut self, connection: &mut Connection<W>, slot: u32) -> &mut Extra {
        connection.has_extra = true;
        let Self { by_slot, meter } = self;
        by_slot.entry(slot).or_insert_with(|| {
            let (backlog, aliases) = (Backlog::new(meter), Aliases::default());
            Box::new(Extra { backlog, aliases, n_chatty_bytes: 0, ending: None })
        })
    }

    /// Keeps nothing of a connection any longer if there is nothing to be kept.
    pub(super) fn tidy<W: Wire>(&mut self, connection: &mut Connection<W>, slot: u32) {
        let is_needless = self.get(connection, slot).is_some_and(|extra| {
            let Extra { backlog, aliases, n_chatty_bytes, ending } = extra;
            backlog.is_empty() && aliases.n() == 0 && *n_chatty_bytes == 0 && ending.is_none()
        });
        if is_needless {
            connection.has_extra = false;
            self.remove(slot);
        }
    }

    /// Takes out what is kept of the connection in a slot. The table gets smaller when a crowd has
    /// left it.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Extra>> {
        let extra = self.by_slot.remove(&slot);
        let n_left = self.by_slot.len();
        if self.by_slot.capacity() > KEPT_ROOM && n_left < self.by_slot.capacity() / 8 {
            self.by_slot.shrink_to(n_left * 2);
        }
        extra
    }

    /// The slots of those who have bytes waiting, with how many.
    pub(super) fn behind(&self) -> impl Iterator<Item = (usize, u32)> {
        let waiting = self.by_slot.iter().map(|(&slot, extra)| (extra.backlog.n_bytes(), slot));
        waiting.filter(|&(n_bytes, _)| n_bytes > 0)
    }
}
