//! The rows of one shard: what is kept of a parked connection.

use super::{Id, Wire};

/// Rows that are allocated together. They never move afterwards, so growing copies nothing and
/// wastes at most one block: 256 rows are 8 KiB.
const BLOCK: usize = 256;

/// The end of a block's free list.
const NO_ROW: u32 = u32::MAX;

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
        /// The next free row of the block.
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

/// Rows that are allocated together, and given back together once all of them are free.
#[derive(Debug)]
struct Block<W: Wire> {
    /// The rows; none if they were given back.
    rows: Box<[Row<W>]>,
    /// The first free row.
    first_free: u32,
    /// How many are taken.
    n_taken: u32,
    /// The generation of new rows here. It is beyond that of all references to rows which were here
    /// and were given back.
    generation: u32,
}

/// A slab of rows.
#[derive(Debug)]
pub(super) struct Rows<W: Wire> {
    /// The rows, in blocks.
    blocks: Vec<Block<W>>,
    /// For every block a bit: whether it has a free row.
    with_room: Vec<u64>,
    /// No word of `with_room` before this one has a bit that is set.
    first_word: usize,
    /// A block of free rows that is kept, so that coming and going at a border costs nothing.
    spare: Option<u32>,
    /// How many blocks there are up to the last one that has rows.
    n_used_blocks: usize,
}

impl<W: Wire> Default for Rows<W> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            with_room: Vec::new(),
            first_word: 0,
            spare: None,
            n_used_blocks: 0,
        }
    }
}

impl<W: Wire> Rows<W> {
    /// Takes a free slot. It stays `Free` until the caller puts something there.
    ///
    /// The lowest block with a free one is taken: so the rows of a crowd that has left come together
    /// in few blocks, and the others can be given back.
    pub(super) fn take_slot(&mut self) -> u32 {
        let at = self.block_with_room();
        let block = &mut self.blocks[at];
        if block.rows.is_empty() {
            block.fill();
            self.n_used_blocks = self.n_used_blocks.max(at + 1);
        }
        let row = block.first_free;
        let Body::Free { next } = block.rows[row as usize].body else {
            unreachable!("the free list holds free rows only")
        };
        block.first_free = next;
        block.n_taken += 1;
        if next == NO_ROW {
            self.with_room[at / 64] &= !(1 << (at % 64));
        }
        if self.spare.is_some_and(|spare| spare as usize == at) {
            self.spare = None;
        }
        u32::try_from(at * BLOCK).expect("slots are numbered in 32 bits") + row
    }

    /// Frees a slot and returns what was in it. References to it no longer match.
    pub(super) fn free(&mut self, slot: u32) -> Body<W> {
        let (at, row) = (slot as usize / BLOCK, slot as usize % BLOCK);
        let block = &mut self.blocks[at];
        let next = std::mem::replace(&mut block.first_free, u32::try_from(row).expect("few"));
        block.n_taken -= 1;
        let is_empty = block.n_taken == 0;
        let row = &mut block.rows[row];
        row.generation = row.generation.wrapping_add(1);
        let body = std::mem::replace(&mut row.body, Body::Free { next });
        self.with_room[at / 64] |= 1 << (at % 64);
        self.first_word = self.first_word.min(at / 64);
        if is_empty {
            self.give_back(u32::try_from(at).expect("blocks are fewer than slots"));
        }
        body
    }

    /// The row in a slot that is taken.
    pub(super) fn get(&self, slot: u32) -> &Row<W> {
        &self.blocks[slot as usize / BLOCK].rows[slot as usize % BLOCK]
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Row<W> {
        &mut self.blocks[slot as usize / BLOCK].rows[slot as usize % BLOCK]
    }

    /// The row in any slot that was ever handed out, if its block was not given back.
    pub(super) fn find(&self, slot: u32) -> Option<&Row<W>> {
        self.blocks[slot as usize / BLOCK].rows.get(slot as usize % BLOCK)
    }

    /// The same, to change it.
    pub(super) fn find_mut(&mut self, slot: u32) -> Option<&mut Row<W>> {
        self.blocks[slot as usize / BLOCK].rows.get_mut(slot as usize % BLOCK)
    }

    /// How many slots there are up to the last one that has a row, free ones included.
    pub(super) fn n_slots(&self) -> u32 {
        u32::try_from(self.n_used_blocks * BLOCK).expect("slots are numbered in 32 bits")
    }

    /// The lowest block with a free row, or a new one. Its rows may have been given back.
    fn block_with_room(&mut self) -> usize {
        while let Some(&word) = self.with_room.get(self.first_word) {
            if word != 0 {
                return self.first_word * 64 + word.trailing_zeros() as usize;
            }
            self.first_word += 1;
        }
        let at = self.blocks.len();
        self.blocks.push(Block { rows: Box::default(), first_free: 0, n_taken: 0, generation: 0 });
        self.with_room.resize(at / 64 + 1, 0);
        self.with_room[at / 64] |= 1 << (at % 64);
        self.first_word = at / 64;
        at
    }

    /// Gives the memory of a block back whose rows are all free; it or the spare one, whichever is
    /// higher.
    fn give_back(&mut self, at: u32) {
        let Some(spare) = self.spare.replace(at) else { return };
        self.spare = Some(spare.min(at));
        self.blocks[spare.max(at) as usize].empty();
        // Only now and then: what is kept of a block takes 32 bytes, and remembers generations.
        while let Some(last) = self.n_used_blocks.checked_sub(1)
            && self.blocks[last].rows.is_empty()
        {
            self.n_used_blocks = last;
        }
    }
}

impl<W: Wire> Block<W> {
    /// Allocates rows, all of them free.
    fn fill(&mut self) {
        let n_rows = u32::try_from(BLOCK).expect("a block is small");
        let free_row = |row| {
            let next = if row + 1 == n_rows { NO_ROW } else { row + 1 };
            let body = Body::Free { next };
            Row { id: 0, generation: self.generation, position: 0, body }
        };
        self.rows = (0..n_rows).map(free_row).collect();
        self.first_free = 0;
    }

    /// Gives back the rows, all of which are free.
    fn empty(&mut self) {
        // The generation of a free row is beyond all references to it.
        let newest = self.rows.iter().map(|row| row.generation).max();
        self.generation = newest.expect("a block that was filled has rows");
        self.rows = Box::default();
        self.first_free = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_wire::FakeWire;

    #[test]
    fn the_rows_of_a_crowd_are_given_back_and_no_old_reference_matches_a_new_row() {
        let mut rows = Rows::<FakeWire>::default();
        let take = |rows: &mut Rows<FakeWire>, n: usize| -> Vec<_> {
            let mut one = |_| {
                let slot = rows.take_slot();
                (slot, rows.get(slot).generation)
            };
            (0..n).map(&mut one).collect()
        };
        let residents = take(&mut rows, 10);
        for n_crowds in 1..=3 {
            let crowd = take(&mut rows, 100 * BLOCK);
            assert_eq!(rows.n_slots() as usize, 101 * BLOCK, "crowd {n_crowds}");
            for &(slot, _) in &crowd {
                rows.free(slot);
            }
            let n_filled = rows.blocks.iter().filter(|block| !block.rows.is_empty()).count();
            assert_eq!(n_filled, 2, "the residents' block and a spare one");
            assert_eq!(rows.n_slots() as usize, 2 * BLOCK);
            let again = take(&mut rows, 100 * BLOCK);
            let old: std::collections::HashSet<_> = crowd.into_iter().collect();
            assert!(again.iter().all(|taken| !old.contains(taken)));
            for (slot, _) in again {
                rows.free(slot);
            }
        }
        assert!(residents.iter().all(|&(slot, gen_)| rows.get(slot).generation == gen_));
        assert!(rows.find(99 * 256).is_none());
    }
}
