//! From an id to the rows that are logged in as it.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;
use slab::Slab;

use super::rows::Rows;
use super::{Id, IdHasher, Wire};

/// The bit that marks an entry as the number of a list.
const LIST: u32 = 1 << 31;

/// A hash table of row slots.
///
/// An entry is four bytes and a control byte, because the id itself is not kept here: it is read
/// from the row. That is why a shard's index and its rows are under one lock.
#[derive(Debug)]
pub(super) struct Index {
    /// Slots of rows; for an id with several rows, `LIST` and the number of its list.
    table: HashTable<u32>,
    /// The slots of every id that has several rows.
    lists: Slab<Vec<u32>>,
    /// Hashes ids.
    hasher: IdHasher,
}

/// The rows of one id.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'index> {
    /// None.
    Nobody,
    /// Exactly one.
    One(u32),
    /// Two and more.
    Many(&'index [u32]),
}

impl Index {
    /// An empty index.
    pub(super) fn new(hasher: IdHasher) -> Self {
        Self { table: HashTable::new(), lists: Slab::new(), hasher }
    }

    /// The slots of the rows logged in as `id`.
    pub(super) fn find<W: Wire>(&self, id: Id, rows: &Rows<W>) -> Found<'_> {
        let id_of = |&entry: &u32| id_of(entry, &self.lists, rows) == id;
        match self.table.find(self.hasher.hash(id), id_of) {
            None => Found::Nobody,
            Some(&entry) if entry & LIST == 0 => Found::One(entry),
            Some(&entry) => Found::Many(&self.lists[(entry & !LIST) as usize]),
        }
    }

    /// Enters the row in `slot`, whose id is set already.
    pub(super) fn add<W: Wire>(&mut self, slot: u32, rows: &mut Rows<W>) {
        let Self { table, lists, hasher } = self;
        let id = rows.get(slot).id;
        let entry = table.entry(
            hasher.hash(id),
            |&entry| id_of(entry, lists, rows) == id,
            |&entry| hasher.hash(id_of(entry, lists, rows)),
        );
        let position = match entry {
            TableEntry::Vacant(vacant) => {
                vacant.insert(slot);
                0
            }
            TableEntry::Occupied(mut occupied) if occupied.get() & LIST == 0 => {
                let first = *occupied.get();
                let list = u32::try_from(lists.insert(vec![first, slot]));
                *occupied.get_mut() = LIST | list.expect("lists are fewer than rows");
                1
            }
            TableEntry::Occupied(occupied) => {
                let list = &mut lists[(occupied.get() & !LIST) as usize];
                list.push(slot);
                u32::try_from(list.len() - 1).expect("a list is no longer than the rows are many")
            }
        };
        rows.get_mut(slot).position = position;
    }

    /// Removes the row in `slot`, whose id must still be set. Returns whether it was the last one
    /// of its id.
    pub(super) fn remove<W: Wire>(&mut self, slot: u32, rows: &mut Rows<W>) -> bool {
        let Self { table, lists, hasher } = self;
        let row = rows.get(slot);
        let (id, position) = (row.id, row.position as usize);
        let mut occupied = table
            .find_entry(hasher.hash(id), |&entry| id_of(entry, lists, rows) == id)
            .expect("a row that is logged in is in the index");
        let entry = *occupied.get();
        if entry & LIST == 0 {
            occupied.remove();
            return true;
        }
        let list = &mut lists[(entry & !LIST) as usize];
        list.swap_remove(position);
        if let Some(&moved) = list.get(position) {
            rows.get_mut(moved).position = u32::try_from(position).expect("it was a u32");
        }
        if let [last] = list[..] {
            *occupied.get_mut() = last;
            lists.remove((entry & !LIST) as usize);
        } else if list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
        false
    }

    /// How many different ids are logged in.
    pub(super) fn n_ids(&self) -> usize {
        self.table.len()
    }
}

/// The id that an entry stands for.
fn id_of<W: Wire>(entry: u32, lists: &Slab<Vec<u32>>, rows: &Rows<W>) -> Id {
    let slot = if entry & LIST == 0 { entry } else { lists[(entry & !LIST) as usize][0] };
    rows.get(slot).id
}
