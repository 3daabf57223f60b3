//! From an id to the rows that are logged in as it.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;

use super::id::{Id, IdHasher};
use super::rows::Rows;
use super::wire::Wire;

/// The bit that marks an entry as the number of a list.
const LIST: u32 = 1 << 31;

/// Tables with room for no more than this are not made smaller: the largest has 5 KiB.
pub(super) const KEPT_ROOM: usize = 1_024;

/// A hash table of row slots.
///
/// An entry is four bytes and a control byte, because the id itself is not kept here: it is read
/// from the row. That is why a shard's index and its rows are under one lock.
#[derive(Debug)]
pub(super) struct Index {
    /// Slots of rows; for an id with several rows, `LIST` and the number of its list.
    table: HashTable<u32>,
    /// The slots of every id that has several rows.
    lists: Vec<Vec<u32>>,
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
        Self { table: HashTable::new(), lists: Vec::new(), hasher }
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
                let number = u32::try_from(lists.len()).expect("lists are fewer than rows");
                lists.push(vec![first, slot]);
                *occupied.get_mut() = LIST | number;
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
            self.shrink_table(rows);
            return true;
        }
        let number = (entry & !LIST) as usize;
        let list = &mut lists[number];
        list.swap_remove(position);
        if let Some(&moved) = list.get(position) {
            rows.get_mut(moved).position = u32::try_from(position).expect("it was a u32");
        }
        if let [last] = list[..] {
            *occupied.get_mut() = last;
            self.remove_list(number, rows);
        } else if list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
        false
    }

    /// Removes a list that no entry names any longer. The last one takes its number, so that the
    /// lists of a crowd that has left are no gaps between others.
    fn remove_list<W: Wire>(&mut self, number: usize, rows: &Rows<W>) {
        let Self { table, lists, hasher } = self;
        let last = u32::try_from(lists.len() - 1).expect("lists are fewer than rows");
        if last as usize != number {
            let id = rows.get(lists[last as usize][0]).id;
            let entry = table
                .find_mut(hasher.hash(id), |&entry| entry == LIST | last)
                .expect("a list has an entry");
            *entry = LIST | u32::try_from(number).expect("lists are fewer than rows");
        }
        lists.swap_remove(number);
        if lists.capacity() > KEPT_ROOM && lists.len() < lists.capacity() / 8 {
            lists.shrink_to(lists.len() * 2);
        }
    }

    /// Gives memory back when a crowd has left: a table that is less than an eighth full is made
    /// one that is less than half full. So few entries have to move, and not soon again.
    fn shrink_table<W: Wire>(&mut self, rows: &Rows<W>) {
        let Self { table, lists, hasher } = self;
        if table.capacity() > KEPT_ROOM && table.len() < table.capacity() / 8 {
            let hash = |&entry: &u32| hasher.hash(id_of(entry, lists, rows));
            table.shrink_to(table.len() * 2, hash);
        }
    }

    /// How many different ids are logged in.
    pub(super) fn n_ids(&self) -> usize {
        self.table.len()
    }
}

/// The id that an entry stands for.
fn id_of<W: Wire>(entry: u32, lists: &[Vec<u32>], rows: &Rows<W>) -> Id {
    let slot = if entry & LIST == 0 { entry } else { lists[(entry & !LIST) as usize][0] };
    rows.get(slot).id
}
