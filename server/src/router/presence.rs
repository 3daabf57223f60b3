//! Who may be logged in, to be asked without a lock.
//!
//! A message to all followers of somebody is for a few of many ids: of a million users some
//! thousands are logged in. Asking the index for each would take its lock from those who deliver.
//! So every id counts in one of many small counters, chosen by its hash, while a row has it; an id
//! whose counter is zero has none. One whose counter is not may have one, and the index says so.

use super::id::{Id, IdHasher};
use crate::sync::{AtomicU8, Ordering};

/// Counters for each id that may be logged in: with as many ids as the limit allows two fifths of
/// those that are not logged in share a counter with one that is, with a tenth of them a twentieth.
const COUNTERS_FOR_EACH: u64 = 2;

/// The most counters: 64 MiB of them.
const MAX_COUNTERS: u64 = 1 << 26;

/// A counter that has come here stays: what it counts is no longer known.
const STUCK: u8 = u8::MAX;

/// Who may be logged in.
#[derive(Debug)]
pub struct Presence {
    /// How many different ids count in each place. Their number is a power of two.
    counters: Box<[AtomicU8]>,
    /// Chooses the counter of an id, by a seed of its own.
    hasher: IdHasher,
}

impl Presence {
    /// For up to `max_ids` ids. `seed` is random except in tests.
    pub fn new(max_ids: u64, seed: u64) -> Self {
        let n = max_ids.saturating_mul(COUNTERS_FOR_EACH).clamp(64, MAX_COUNTERS);
        let counters = (0..n.next_power_of_two()).map(|_| AtomicU8::new(0)).collect();
        Self { counters, hasher: IdHasher::new(seed) }
    }

    /// Whether somebody may be logged in as `id`; nobody is if not.
    pub fn may_have(&self, id: Id) -> bool {
        self.counter(id).load(Ordering::Acquire) > 0
    }

    /// Counts an id, before its first row is found by anybody.
    pub(super) fn arrive(&self, id: Id) {
        self.change(id, |n| n.saturating_add(1));
    }

    /// Counts it no longer, after its last row has gone.
    pub(super) fn leave(&self, id: Id) {
        self.change(id, |n| if n == STUCK { n } else { n.saturating_sub(1) });
    }

    /// Changes the counter of an id.
    fn change(&self, id: Id, change: impl Fn(u8) -> u8) {
        let counter = self.counter(id);
        let changed =
            counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| Some(change(n)));
        debug_assert!(changed.is_ok());
    }

    /// The counter of an id.
    fn counter(&self, id: Id) -> &AtomicU8 {
        let mask = self.counters.len() as u64 - 1;
        let place = usize::try_from(self.hasher.hash(id) & mask).expect("a place in memory");
        &self.counters[place]
    }

    /// Whether nobody is counted.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.counters.iter().all(|counter| counter.load(Ordering::Acquire) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_share_a_counter_are_there_until_the_last_has_left() {
        // 64 counters.
        let presence = Presence::new(1, 7);
        for id in 1..=200 {
            assert_eq!(presence.may_have(id), id > 200, "{id}");
        }
        (1..=200).for_each(|id| presence.arrive(id));
        for gone in 1..=200 {
            assert!((gone..=200).all(|id| presence.may_have(id)));
            presence.leave(gone);
        }
        assert!(presence.is_empty());
    }

    #[test]
    fn a_counter_that_has_counted_too_many_stays() {
        let presence = Presence::new(1, 7);
        (0..300).for_each(|_| presence.arrive(7));
        (0..300).for_each(|_| presence.leave(7));
        assert!(presence.may_have(7), "rather one lookup too many than a message too few");
    }
}
