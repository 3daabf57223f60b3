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
pub(super) struct Extra<W: Wire> {
    /// What its socket would not take yet.
    pub(super) backlog: Backlog,
    /// The rows of its further ids.
    pub(super) aliases: Aliases,
    /// Bytes that it sent after its request, beyond those that are noted in its row.
    pub(super) n_chatty_bytes: u32,
    /// What it has begun to say.
    pub(super) talk: Option<Box<Talk<W>>>,
    /// Why it is closed as soon as its backlog is written, once its last chunk is in there.
    pub(super) ending: Option<CloseReason>,
}

/// What is kept of a peer that was heard in mid-sentence, or that is to be answered later.
#[derive(Debug)]
pub(super) struct Talk<W: Wire> {
    /// What it has begun to say.
    pub(super) begun: W::Talk,
    /// The answer that its socket has no room for. A later one takes its place.
    pub(super) answer: Vec<u8>,
}

impl<W: Wire> Talk<W> {
    /// Whether nothing of it need be kept.
    pub(super) fn is_over(&self) -> bool {
        W::is_over(&self.begun) && self.answer.is_empty()
    }
}

impl<W: Wire> Default for Talk<W> {
    fn default() -> Self {
        Self { begun: W::Talk::default(), answer: Vec::new() }
    }
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
pub(super) struct Extras<W: Wire> {
    /// What is kept.
    by_slot: HashMap<u32, Box<Extra<W>>>,
    /// Counts what the backlogs hold.
    meter: Arc<Meter>,
}

impl<W: Wire> Extras<W> {
    /// Nothing is kept; backlogs are counted by `meter`.
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self { by_slot: HashMap::new(), meter }
    }

    /// What counts the backlogs.
    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// What is kept of a connection, if anything is.
    pub(super) fn get(&self, connection: &Connection<W>, slot: u32) -> Option<&Extra<W>> {
        connection.has_extra.then(|| &*self.by_slot[&slot])
    }

    /// What is kept of a connection, made on first use.
    pub(super) fn of(&mut self, connection: &mut Connection<W>, slot: u32) -> &mut Extra<W> {
        connection.has_extra = true;
        let Self { by_slot, meter } = self;
        by_slot.entry(slot).or_insert_with(|| {
            let (backlog, aliases) = (Backlog::new(meter), Aliases::default());
            Box::new(Extra { backlog, aliases, n_chatty_bytes: 0, talk: None, ending: None })
        })
    }

    /// Bytes that a peer has sent and was not asked for.
    pub(super) fn n_chatty(&self, connection: &Connection<W>, slot: u32) -> usize {
        let beyond = self.get(connection, slot).map_or(0, |extra| extra.n_chatty_bytes as usize);
        connection.noted.n_bytes() + beyond
    }

    /// Notes how many these are: in the row if they are few.
    pub(super) fn set_chatty(&mut self, connection: &mut Connection<W>, slot: u32, n: usize) {
        let n_beyond = if connection.noted.set_bytes(n) {
            0
        } else {
            connection.noted.set_bytes(0);
            u32::try_from(n).expect("a peer that sends more is closed")
        };
        if n_beyond > 0 || connection.has_extra {
            self.of(connection, slot).n_chatty_bytes = n_beyond;
        }
    }

    /// What a peer has begun to say, if it was heard in mid-sentence.
    pub(super) fn talk_mut(
        &mut self,
        connection: &mut Connection<W>,
        slot: u32,
    ) -> Option<&mut Talk<W>> {
        if !connection.has_extra {
            return None;
        }
        self.of(connection, slot).talk.as_deref_mut()
    }

    /// Keeps nothing of what a peer has said any longer if it is between two sentences.
    pub(super) fn forget_talk(&mut self, connection: &mut Connection<W>, slot: u32) {
        if connection.has_extra {
            self.of(connection, slot).talk.take_if(|talk| talk.is_over());
        }
    }

    /// Keeps nothing of a connection any longer if there is nothing to be kept.
    pub(super) fn tidy(&mut self, connection: &mut Connection<W>, slot: u32) {
        let is_needless = self.get(connection, slot).is_some_and(|extra| {
            let Extra { backlog, aliases, n_chatty_bytes, talk, ending } = extra;
            let is_quiet = *n_chatty_bytes == 0 && talk.is_none();
            backlog.is_empty() && aliases.n() == 0 && is_quiet && ending.is_none()
        });
        if is_needless {
            connection.has_extra = false;
            self.remove(slot);
        }
    }

    /// Takes out what is kept of the connection in a slot. The table gets smaller when a crowd has
    /// left it.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Extra<W>>> {
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
