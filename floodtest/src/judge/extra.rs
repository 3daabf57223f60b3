//! Windows beyond the first of a connection: one for each further sender and id.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::window::Window;

/// A window with its key, in 32 bytes. It is a [`Window`] whose numbers fit into 32 bits.
#[derive(Debug, Clone, Copy)]
struct Extra {
    /// The id that the messages are for.
    id: u64,
    /// As in the window.
    missing: u64,
    /// The connection.
    row: u32,
    /// As in the window.
    next: u32,
    /// As in the window.
    n_before: u32,
    /// Who sent them.
    sender: u16,
    /// As in the window.
    span: u8,
    /// As in the window.
    flags: u8,
}

impl Extra {
    /// Puts a window away; `None` if its numbers are too large.
    fn pack(row: u32, window: &Window) -> Option<Self> {
        let Window { next, missing, id, n_before, sender, span, flags } = *window;
        let next = u32::try_from(next).ok()?;
        Some(Self { id, missing, row, next, n_before, sender, span, flags })
    }

    /// Takes it out again.
    fn unpack(self) -> Window {
        let Self { id, missing, next, n_before, sender, span, flags, .. } = self;
        Window { next: next.into(), missing, id, n_before, sender, span, flags }
    }

    /// What it is found by.
    fn key(&self) -> (u32, u16, u64) {
        (self.row, self.sender, self.id)
    }
}

/// All windows beyond the first of each connection.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// The windows.
    table: HashTable<Extra>,
    /// What their keys are hashed with. Keys come from senders that are the user's own.
    hasher: FixedState,
    /// How many there may be.
    most: usize,
}

impl Extras {
    /// Room for `most` windows, which take memory only when they are there.
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Changes the window of a connection, a sender and an id, which is made if there is none.
    /// `None`, and nothing changed, if there are too many or the number is too large.
    pub(super) fn change<T>(
        &mut self,
        (row, sender, id): (u32, u16, u64),
        number: u64,
        change: impl FnOnce(&mut Window) -> T,
    ) -> Option<T> {
        // The number that is expected next must fit too.
        if number >= u64::from(u32::MAX) {
            return None;
        }
        let key = (row, sender, id);
        let hash = self.hasher.hash_one(key);
        let found = self.table.find_mut(hash, |extra| extra.key() == key);
        if let Some(extra) = found {
            let mut window = extra.unpack();
            let changed = change(&mut window);
            *extra = Extra::pack(row, &window).expect("a number that fits was added");
            return Some(changed);
        }
        if self.table.len() >= self.most {
            return None;
        }
        let mut window = Window { id, sender, ..Window::from_first() };
        let changed = change(&mut window);
        let extra = Extra::pack(row, &window).expect("a number that fits was added");
        let hasher = &self.hasher;
        self.table.insert_unique(hash, extra, |extra| hasher.hash_one(extra.key()));
        Some(changed)
    }

    /// All of them, each with its connection.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Window)> {
        self.table.iter().map(|extra| (extra.row, extra.unpack()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_window_is_32_bytes() {
        assert_eq!(size_of::<Extra>(), 32);
    }

    #[test]
    fn each_connection_sender_and_id_has_its_own() {
        let mut extras = Extras::new(3);
        let mut record = |key, number| {
            extras.change(key, number, |window| window.record(number, |_| {}).messages)
        };
        assert_eq!(record((1, 1, 7), 1), Some(1));
        assert_eq!(record((1, 1, 7), 1), Some(0), "again");
        assert_eq!(record((1, 2, 7), 1), Some(1));
        assert_eq!(record((2, 1, 7), 1), Some(1));
        assert_eq!(record((2, 1, 8), 1), None, "too many");
        assert_eq!(record((1, 1, 7), u64::from(u32::MAX)), None, "too large");
        assert_eq!(record((1, 1, 7), 3), Some(1));
        assert_eq!(extras.iter().map(|(_, window)| window.n_missing()).sum::<u64>(), 1);
    }
}
