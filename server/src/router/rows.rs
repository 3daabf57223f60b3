//! The rows of one shard: what is kept of a parked connection.

use super::{Id, Wire};

/// Rows that are allocated together. They never move afterwards, so growing copies nothing and
/// wastes at most one block: 256 rows are 8 KiB.
const BLOCK: usize = 256;

/// The end of the free list.
const NO_SLOT: u32 = u32::MAX;

/// Where a row is. It names one row for ever: a slot that is used again has another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowRef {
    /// The shard that holds the row.
    pub(super) shard: u16,
    /// The row's place in that shard.
    pub(super) slot: u32,
    /// How often the slot had been used before.
    pub(super) generation: u32,
}

impl RowRef {
    /// What the poller gives back with an event: generation and slot.
    pub(super) fn key(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }
}

/// One login of one connection. `size_of::<Row>()` times a million is the product.
#[derive(Debug)]
pub(super) struct Row<W: Wire> {
    /// What it is logged in as.
    pub(super) id: Id,
    /// How often the slot was used before.
    pub(super) generation: u32,
    /// Its place among the rows of the same id, when there are several: removal is not a search.
    pub(super) position: u32,
    /// What the slot holds.
    pub(super) body: Body<W>,
}

/// What a slot holds.
#[derive(Debug)]
pub(super) enum Body<W: Wire> {
    /// Nothing; the slot is on the free list, or taken for a login that is not complete.
    Free {
        /// The next free slot.
        next: u32,
    },
    /// A connection, under the first of its ids.
    Connection(Connection<W>),
    /// A further id of a connection whose row is elsewhere.
    Alias(RowRef),
}

/// A parked connection.
#[derive(Debug)]
pub(super) struct Connection<W: Wire> {
    /// Chunks written or queued since login: the number of the newest one.
    pub(super) n_chunks: u64,
    /// Its descriptor. Dropping it closes the connection.
    pub(super) socket: W::Socket,
    /// How its chunks are framed.
    pub(super) style: W::Style,
    /// Whether the shard keeps more about it than this row. Hardly any connection has more.
    pub(super) has_extra: bool,
}

/// A slab of rows with a free list through the free ones.
#[derive(Debug)]
pub(super) struct Rows<W: Wire> {
    /// The rows, in blocks.
    blocks: Vec<Box<[Row<W>]>>,
    /// The first free slot.
    first_free: u32,
}

impl<W: Wire> Default for Rows<W> {
    fn default() -> Self {
        Self { blocks: Vec::new(), first_free: NO_SLOT }
    }
}

impl<W: Wire> Rows<W> {
    /// Takes a free slot. It stays `Free` until the caller puts something there.
    pub(super) fn take_slot(&mut self) -> u32 {
        if self.first_free == NO_SLOT {
            self.add_block();
        }
        let slot = self.first_free;
        let Body::Free { next } = self.get(slot).body else {
            unreachable!("the free list holds free rows only")
        };
        self.first_free = next;
        slot
    }

    /// Frees a slot and returns what was in it. References to it no longer match.
    pub(super) fn free(&mut self, slot: u32) -> Body<W> {
        let next = self.first_free;
        self.first_free = slot;
        let row = self.get_mut(slot);
        row.generation = row.generation.wrapping_add(1);
        std::mem::replace(&mut row.body, Body::Free { next })
    }

    /// The row in a slot that was once handed out.
    pub(super) fn get(&self, slot: u32) -> &Row<W> {
        &self.blocks[slot as usize / BLOCK][slot as usize % BLOCK]
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Row<W> {
        &mut self.blocks[slot as usize / BLOCK][slot as usize % BLOCK]
    }

    /// How many slots there are, free ones included.
    pub(super) fn n_slots(&self) -> u32 {
        u32::try_from(self.blocks.len() * BLOCK).expect("slots are numbered in 32 bits")
    }

    /// Adds a block of free rows. Only called when no row is free.
    fn add_block(&mut self) {
        let first = self.n_slots();
        let end = first + u32::try_from(BLOCK).expect("a block is small");
        let free_row = |slot| {
            let next = if slot + 1 == end { NO_SLOT } else { slot + 1 };
            Row { id: 0, generation: 0, position: 0, body: Body::Free { next } }
        };
        self.blocks.push((first..end).map(free_row).collect());
        self.first_free = first;
    }
}
