//! The rows of one shard: what is kept of a parked connection.

use super::id::Id;
use super::wire::Wire;

/// Rows that are allocated together. They never move afterwards, so growing copies nothing. 8,192
/// rows are 256 KiB, which the allocator maps by themselves: so a block that is given back goes
/// back to the system whatever lies beside it, and rows that were never used take no memory.
const BLOCK: usize = 8_192;

/// So many of the first rows are allocated in smaller blocks, of 8 KiB, which fit where the
/// allocator has something free anyway: 10,000 and 20,000 connections take a tenth less memory so.
/// It is 1 MiB that may stay behind after a crowd.
const SMALL_ROWS: usize = 4 * BLOCK;

/// The rows of a small block.
const SMALL_BLOCK: usize = 256;

/// How many small blocks there are.
const N_SMALL: usize = SMALL_ROWS / SMALL_BLOCK;

/// Where a slot is: which block, and which row of it.
fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    match slot.checked_sub(SMALL_ROWS) {
        None => (slot / SMALL_BLOCK, slot % SMALL_BLOCK),
        Some(slot) => (N_SMALL + slot / BLOCK, slot % BLOCK),
    }
}

/// The slot of a block's first row.
fn first_slot(block: usize) -> usize {
    match block.checked_sub(N_SMALL) {
        None => block * SMALL_BLOCK,
        Some(block) => SMALL_ROWS + block * BLOCK,
    }
}

/// How many rows a block has.
fn len(block: usize) -> usize {
    if block < N_SMALL { SMALL_BLOCK } else { BLOCK }
}

/// The end of a list of rows.
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
    Alias(Alias),
}

/// What a further id of a connection leads to. Packed: with the padding of a [`RowRef`] and a link
/// a row would not take 32 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(2))]
pub(super) struct Alias {
    /// The shard of the connection's row.
    shard: u16,
    /// Its slot there.
    slot: u32,
    /// Its generation.
    generation: u32,
    /// The slot of another alias of this connection in this shard, which is how they are found
    /// when it closes: so further ids cost a row each and no list beside.
    next: u32,
}

impl Alias {
    /// One more alias of the connection in `home`, in front of those that it has in this shard.
    pub(super) fn new(home: RowRef, next: Option<RowRef>) -> Self {
        let RowRef { shard, slot, generation } = home;
        Self { shard, slot, generation, next: next.map_or(NO_ROW, |next| next.slot) }
    }

    /// The connection's row.
    pub(super) fn home(self) -> RowRef {
        RowRef { shard: self.shard, slot: self.slot, generation: self.generation }
    }

    /// The slot of the next alias in this shard, if there is one.
    pub(super) fn next(self) -> Option<u32> {
        (self.next != NO_ROW).then_some(self.next)
    }
}

/// A parked connection. What may have further meanings comes first, so that an [`Alias`] fits
/// behind it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection<W: Wire> {
    /// Whether the shard keeps more about it than this row. Hardly any connection has more.
    pub(super) has_extra: bool,
    /// How its chunks are framed.
    pub(super) style: W::Style,
    /// What it has said, and not said. There is room for it before the descriptor.
    pub(super) noted: Noted,
    /// Its descriptor. Dropping it closes the connection.
    pub(super) socket: W::Socket,
    /// Chunks written or queued since login: the number of the newest one.
    pub(super) n_chunks: u64,
}

/// What is noted in the row of what a peer has sent: bytes that it was not asked for, up to
/// [`Noted::MOST_BYTES`], and how many pings it has not answered. So a peer that says little, such
/// as a ping now and then, costs its row alone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted(u16);

impl Noted {
    /// Bytes that can be noted here.
    const MOST_BYTES: u16 = (1 << 14) - 1;

    /// Bytes that it was not asked for, as far as they are noted here.
    pub(super) fn n_bytes(self) -> usize {
        usize::from(self.0 & Self::MOST_BYTES)
    }

    /// Notes that it is so many; returns whether there is room for that.
    pub(super) fn set_bytes(&mut self, n_bytes: usize) -> bool {
        let Ok(n_bytes @ ..=Self::MOST_BYTES) = u16::try_from(n_bytes) else { return false };
        self.0 = self.0 & !Self::MOST_BYTES | n_bytes;
        true
    }

    /// Pings that it has not answered; no more than three are counted.
    pub(super) fn n_unanswered(self) -> u8 {
        u8::try_from(self.0 >> 14).expect("two bits are left")
    }

    /// It was pinged once more.
    pub(super) fn count_ping(&mut self) {
        if self.n_unanswered() < 3 {
            self.0 += Self::MOST_BYTES + 1;
        }
    }

    /// It has answered.
    pub(super) fn answered(&mut self) {
        self.0 &= Self::MOST_BYTES;
    }
}

/// Rows that are allocated together, and given back together once all of them are free.
#[derive(Debug)]
struct Block<W: Wire> {
    /// The rows that were used so far, with room for the others; none if they were given back.
    rows: Vec<Row<W>>,
    /// The first of them that is free.
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
    /// The lowest block with a free one is taken: so the rows of a crowd that has left come
    /// together in few blocks, and the others can be given back.
    pub(super) fn take_slot(&mut self) -> u32 {
        let at = self.block_with_room();
        let block = &mut self.blocks[at];
        self.n_used_blocks = self.n_used_blocks.max(at + 1);
        let row = block.take(len(at));
        if block.n_taken == n_rows(len(at)) {
            self.with_room[at / 64] &= !(1 << (at % 64));
        }
        if self.spare.is_some_and(|spare| spare as usize == at) {
            self.spare = None;
        }
        u32::try_from(first_slot(at)).expect("slots are numbered in 32 bits") + row
    }

    /// Frees a slot and returns what was in it. References to it no longer match.
    pub(super) fn free(&mut self, slot: u32) -> Body<W> {
        let (at, row) = place(slot);
        let block = &mut self.blocks[at];
        let next = std::mem::replace(&mut block.first_free, n_rows(row));
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
        let (at, row) = place(slot);
        &self.blocks[at].rows[row]
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Row<W> {
        let (at, row) = place(slot);
        &mut self.blocks[at].rows[row]
    }

    /// The row in any slot that was ever handed out, if its block was not given back.
    pub(super) fn find(&self, slot: u32) -> Option<&Row<W>> {
        let (at, row) = place(slot);
        self.blocks[at].rows.get(row)
    }

    /// The same, to change it.
    pub(super) fn find_mut(&mut self, slot: u32) -> Option<&mut Row<W>> {
        let (at, row) = place(slot);
        self.blocks[at].rows.get_mut(row)
    }

    /// How many slots there are up to the last one that has a row, free ones included.
    pub(super) fn n_slots(&self) -> u32 {
        u32::try_from(first_slot(self.n_used_blocks)).expect("slots are numbered in 32 bits")
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
        let rows = Vec::new();
        self.blocks.push(Block { rows, first_free: NO_ROW, n_taken: 0, generation: 0 });
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
    /// Takes a free row of the block's `len`, one that was used before if there is one.
    fn take(&mut self, len: usize) -> u32 {
        self.n_taken += 1;
        if self.first_free == NO_ROW {
            // The room for all of them, so that they never move; its pages are touched one by one.
            self.rows.reserve_exact(len - self.rows.len());
            let body = Body::Free { next: NO_ROW };
            self.rows.push(Row { id: 0, generation: self.generation, position: 0, body });
            return n_rows(self.rows.len() - 1);
        }
        let row = self.first_free;
        let Body::Free { next } = self.rows[row as usize].body else {
            unreachable!("the free list holds free rows only")
        };
        self.first_free = next;
        row
    }

    /// Gives back the rows, all of which are free.
    fn empty(&mut self) {
        // The generation of a free row is beyond all references to it.
        let newest = self.rows.iter().map(|row| row.generation).max();
        self.generation = newest.expect("a block that was used has rows");
        self.rows = Vec::new();
        self.first_free = NO_ROW;
    }
}

/// A number of rows of one block.
fn n_rows(n: usize) -> u32 {
    u32::try_from(n).expect("a block is small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_wire::FakeWire;

    #[test]
    fn bytes_and_pings_are_noted_apart() {
        let mut noted = Noted::default();
        assert!(noted.set_bytes(16_383) && !noted.set_bytes(16_384) && !noted.set_bytes(70_000));
        assert_eq!((noted.n_bytes(), noted.n_unanswered()), (16_383, 0));
        for n_unanswered in [1, 2, 3, 3] {
            noted.count_ping();
            assert_eq!((noted.n_bytes(), noted.n_unanswered()), (16_383, n_unanswered));
        }
        assert!(noted.set_bytes(5));
        noted.answered();
        assert_eq!((noted.n_bytes(), noted.n_unanswered()), (5, 0));
    }

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for slot in 0..n_rows(3 * BLOCK) {
            assert_eq!(place(slot), expected, "slot {slot}");
            assert_eq!(first_slot(expected.0) + expected.1, slot as usize);
            expected.1 += 1;
            if expected.1 == len(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
    }

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
            let crowd = take(&mut rows, 10 * BLOCK);
            assert_eq!(rows.n_slots() as usize, 11 * BLOCK, "crowd {n_crowds}");
            for &(slot, _) in &crowd {
                rows.free(slot);
            }
            let n_filled = rows.blocks.iter().filter(|block| !block.rows.is_empty()).count();
            assert_eq!(n_filled, 2, "the residents' block and a spare one");
            assert_eq!(rows.n_slots() as usize, 2 * SMALL_BLOCK);
            let again = take(&mut rows, 10 * BLOCK);
            let old: std::collections::HashSet<_> = crowd.into_iter().collect();
            assert!(again.iter().all(|taken| !old.contains(taken)));
            for (slot, _) in again {
                rows.free(slot);
            }
        }
        assert!(residents.iter().all(|&(slot, gen_)| rows.get(slot).generation == gen_));
        assert!(rows.find(n_rows(9 * BLOCK)).is_none());
    }
}
