//! The messages that were not answered: their numbers by id, as ranges.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use reports::sent::Range;

/// The most ranges that are kept: 16 bytes each, and an id has at least one of some 80 bytes. A run
/// with more of them has no file of what it sent, and says so.
pub const HIGHEST_RANGES: usize = 4_000_000;

/// The messages to one id that were not answered.
#[derive(Debug, Default)]
struct OfId {
    /// Those that the server does not have.
    failed: Vec<Range>,
    /// Those that it may or may not have.
    unanswered: Vec<Range>,
}

/// The messages that were not answered.
#[derive(Debug, Default)]
pub struct Misses {
    /// Those to each id.
    ids: HashMap<u64, OfId, RandomState>,
    /// How many ranges there are.
    n_ranges: usize,
}

impl Misses {
    /// Notes a message that the server does not have.
    pub fn failed(&mut self, id: u64, number: u64) {
        self.add(id, number, |of_id| &mut of_id.failed);
    }

    /// Notes a message that the server may or may not have.
    pub fn unanswered(&mut self, id: u64, number: u64) {
        self.add(id, number, |of_id| &mut of_id.unanswered);
    }

    /// The failed and the unanswered ones of an id.
    pub fn of(&self, id: u64) -> (&[Range], &[Range]) {
        self.ids.get(&id).map_or((&[], &[]), |of_id| (&of_id.failed, &of_id.unanswered))
    }

    /// Whether there were more than are kept.
    pub fn are_too_many(&self) -> bool {
        self.n_ranges > HIGHEST_RANGES
    }

    /// Adds a number to one of the lists of an id.
    fn add(&mut self, id: u64, number: u64, list: fn(&mut OfId) -> &mut Vec<Range>) {
        if self.are_too_many() {
            return;
        }
        let ranges = list(self.ids.entry(id).or_default());
        let n_before = ranges.len();
        insert(ranges, number);
        self.n_ranges += ranges.len();
        self.n_ranges -= n_before;
    }
}

/// Adds a number that is in none of the ranges to them. They are in rising order and do not touch.
fn insert(ranges: &mut Vec<Range>, number: u64) {
    // Nearly always it is the last one: messages to an id end in their order.
    let at = match ranges.last() {
        Some((_, to)) if *to < number => ranges.len(),
        _ => ranges.partition_point(|(_, to)| *to < number),
    };
    let touches_left = at > 0 && ranges[at - 1].1 + 1 == number;
    let touches_right = at < ranges.len() && ranges[at].0 == number + 1;
    match (touches_left, touches_right) {
        (true, true) => {
            ranges[at - 1].1 = ranges[at].1;
            ranges.remove(at);
        }
        (true, false) => ranges[at - 1].1 = number,
        (false, true) => ranges[at].0 = number,
        (false, false) => ranges.insert(at, (number, number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges_in_whatever_order_they_come() {
        let mut misses = Misses::default();
        for number in [5, 3, 9, 4, 1, 8, 10] {
            misses.failed(7, number);
        }
        misses.unanswered(7, 2);
        assert_eq!(misses.of(7), (&[(1, 1), (3, 5), (8, 10)][..], &[(2, 2)][..]));
        assert_eq!(misses.of(8), (&[][..], &[][..]));
        assert_eq!(misses.n_ranges, 4);
    }

    #[test]
    fn more_ranges_than_are_kept_are_noticed_and_take_no_memory() {
        let mut misses = Misses::default();
        misses.failed(1, 2);
        misses.n_ranges = HIGHEST_RANGES;
        assert!(!misses.are_too_many());
        misses.failed(1, 4);
        misses.failed(1, 6);
        assert!(misses.are_too_many());
        assert_eq!(misses.of(1).0, [(2, 2), (4, 4)]);
    }
}
