//! Which of some entries of a table is the oldest.

use std::collections::VecDeque;

/// Entries that have left the table may be twice as many as those in it, and this many more, before
/// they are dropped from the queue: so a queue is small, and dropping costs nothing for each.
const KEPT: usize = 64;

/// Entries of a table, the oldest first. Those that leave the table stay here until they come to
/// the front, or until they are most of what there is.
#[derive(Debug, Default)]
pub(super) struct Oldest(VecDeque<(u32, u32)>);

impl Oldest {
    /// Adds the entry in a slot; `number` is its own, so that its successor in the slot is not
    /// taken for it.
    pub(super) fn push(&mut self, slot: usize, number: u32) {
        self.0.push_back((u32::try_from(slot).expect("descriptors are fewer"), number));
    }

    /// Takes out the oldest entry that is still there.
    pub(super) fn take(&mut self, is_there: impl Fn(usize, u32) -> bool) -> Option<usize> {
        while let Some((slot, number)) = self.0.pop_front() {
            if is_there(slot as usize, number) {
                return Some(slot as usize);
            }
        }
        None
    }

    /// Drops the entries that have left, if they are most of all. The table has `n_there` entries.
    pub(super) fn tidy(&mut self, n_there: usize, is_there: impl Fn(usize, u32) -> bool) {
        if self.0.len() > 3 * n_there + KEPT {
            self.0.retain(|&(slot, number)| is_there(slot as usize, number));
            self.0.shrink_to(2 * self.0.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_still_there_comes_first() {
        let mut oldest = Oldest::default();
        for number in 0..5 {
            oldest.push(10 + number as usize, number);
        }
        assert_eq!(oldest.take(|_, number| number != 0), Some(11));
        assert_eq!(oldest.take(|slot, _| slot > 12), Some(13));
        assert_eq!(oldest.take(|_, _| true), Some(14));
        assert_eq!(oldest.take(|_, _| true), None);
    }

    #[test]
    fn what_has_left_is_dropped_in_time() {
        let mut oldest = Oldest::default();
        for number in 0..100_000 {
            oldest.push(7, number);
            oldest.tidy(1, |_, its| its == number);
            assert!(oldest.0.len() <= KEPT + 3);
        }
        assert_eq!(oldest.take(|_, number| number == 99_999), Some(7));
    }
}
