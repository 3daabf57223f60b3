//! When places are due: one queue for all of them, and no timer for any.
//!
//! A wheel of milliseconds. A slot has those that are due in its millisecond, whichever turn of the
//! wheel that is in, as a list that goes through the columns of the places themselves. So a place
//! that waits costs nothing beyond its column, and the wheel is 66 KiB however many wait.
//!
//! To take one out again means to look through its slot: with a million lifetimes on the wheel that
//! are some 60 others.

/// Slots, of a millisecond each. A turn takes 16.4 s; what is due later is looked at once a turn.
const SLOTS: usize = 1 << 14;

/// Bits of a word of the map of slots.
const WORD: usize = u64::BITS as usize;

/// No place, and no time.
const NONE: u32 = u32::MAX;

/// Where a place is in the queue, in 8 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    /// The next place of the same slot.
    next: u32,
    /// When it is due, in milliseconds after the start of the run.
    due_ms: u32,
}

impl Default for Ticket {
    fn default() -> Self {
        Self { next: NONE, due_ms: NONE }
    }
}

/// What has a ticket.
pub(super) trait Queued {
    /// Its ticket.
    fn ticket(&mut self) -> &mut Ticket;
}

/// All that wait.
#[derive(Debug)]
pub(super) struct Queue {
    /// The first place of each slot.
    slots: Box<[u32]>,
    /// A bit for each slot that has one.
    map: [u64; SLOTS / WORD],
    /// Nothing is due before this.
    now_ms: u32,
    /// How many wait.
    n: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { slots: vec![NONE; SLOTS].into(), map: [0; SLOTS / WORD], now_ms: 0, n: 0 }
    }
}

/// The slot of a time.
fn slot_of(due_ms: u32) -> usize {
    due_ms as usize % SLOTS
}

impl Queue {
    /// Puts a place into the queue, which is not in it. A time that is past is the next millisecond.
    pub(super) fn insert(&mut self, all: &mut [impl Queued], row: u32, due_ms: u32) {
        let due_ms = due_ms.clamp(self.now_ms, NONE - 1);
        let slot = slot_of(due_ms);
        *all[row as usize].ticket() = Ticket { next: self.slots[slot], due_ms };
        self.slots[slot] = row;
        self.map[slot / WORD] |= 1 << (slot % WORD);
        self.n += 1;
    }

    /// Takes a place out, if it is in.
    pub(super) fn remove(&mut self, all: &mut [impl Queued], row: u32) {
        let Ticket { next, due_ms } = std::mem::take(all[row as usize].ticket());
        if due_ms == NONE {
            return;
        }
        let slot = slot_of(due_ms);
        self.n -= 1;
        if self.slots[slot] == row {
            self.set_first(slot, next);
            return;
        }
        let mut at = self.slots[slot];
        while at != NONE {
            let ticket = all[at as usize].ticket();
            if ticket.next == row {
                ticket.next = next;
                return;
            }
            at = ticket.next;
        }
    }

    /// Takes out all that are due at `now_ms`, and adds them to `due` with when that was.
    pub(super) fn take_due(
        &mut self,
        all: &mut [impl Queued],
        now_ms: u32,
        due: &mut Vec<(u32, u32)>,
    ) {
        if now_ms < self.now_ms || now_ms >= NONE - 1 {
            return;
        }
        let n_slots = (now_ms - self.now_ms) as usize + 1;
        let first = slot_of(self.now_ms);
        for slot in (0..n_slots.min(SLOTS)).map(|n| (first + n) % SLOTS) {
            if self.n == 0 {
                break;
            }
            if self.map[slot / WORD] >> (slot % WORD) & 1 == 0 {
                continue;
            }
            let (mut at, mut rest) = (self.slots[slot], NONE);
            while at != NONE {
                let ticket = all[at as usize].ticket();
                let (row, next) = (at, ticket.next);
                if ticket.due_ms <= now_ms {
                    due.push((row, ticket.due_ms));
                    *ticket = Ticket::default();
                    self.n -= 1;
                } else {
                    ticket.next = rest;
                    rest = row;
                }
                at = next;
            }
            self.set_first(slot, rest);
        }
        // Not `now_ms` itself: a slot with those of a later turn would be looked at all through its
        // millisecond.
        self.now_ms = now_ms + 1;
    }

    /// When it is to be looked at again, if something waits: never later than when the next is due,
    /// and earlier where a slot has only those of a later turn.
    pub(super) fn next_ms(&self) -> Option<u32> {
        if self.n == 0 {
            return None;
        }
        let first = slot_of(self.now_ms);
        let n_words = SLOTS / WORD;
        // The first word is looked at twice: from its bit on at first, and its other bits at last.
        for n in 0..=n_words {
            let word = (first / WORD + n) % n_words;
            let mut bits = self.map[word];
            if n == 0 {
                bits &= u64::MAX << (first % WORD);
            } else if n == n_words {
                bits &= !(u64::MAX << (first % WORD));
            }
            if bits != 0 {
                let slot = word * WORD + bits.trailing_zeros() as usize;
                let distance = (slot + SLOTS - first) % SLOTS;
                let distance = u32::try_from(distance).expect("it is less than a turn");
                return Some(self.now_ms.saturating_add(distance));
            }
        }
        None
    }

    /// Makes a place the first of a slot, or none.
    fn set_first(&mut self, slot: usize, first: u32) {
        self.slots[slot] = first;
        if first == NONE {
            self.map[slot / WORD] &= !(1 << (slot % WORD));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Queued for Ticket {
        fn ticket(&mut self) -> &mut Self {
            self
        }
    }

    #[test]
    fn a_ticket_is_8_bytes() {
        assert_eq!(size_of::<Ticket>(), 8);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_map(
            steps in proptest::collection::vec((0_u32..40, 0_u32..50_000, 0_u8..3), 1..300),
        ) {
            let (mut queue, mut all) = (Queue::default(), vec![Ticket::default(); 40]);
            let mut waiting = BTreeMap::<u32, u32>::new();
            let mut now_ms = 0;
            for (row, ms, what) in steps {
                match what {
                    0 => {
                        queue.remove(&mut all, row);
                        waiting.remove(&row);
                    }
                    1 if !waiting.contains_key(&row) => {
                        queue.insert(&mut all, row, now_ms + 1 + ms);
                        waiting.insert(row, now_ms + 1 + ms);
                    }
                    1 => {}
                    _ => {
                        if let Some(due_ms) = waiting.values().min() {
                            prop_assert!(queue.next_ms().unwrap() <= *due_ms);
                        }
                        now_ms += ms / 3;
                        let mut due = Vec::new();
                        queue.take_due(&mut all, now_ms, &mut due);
                        due.sort_unstable();
                        let expected = waiting.iter().filter(|(_, due_ms)| **due_ms <= now_ms);
                        let expected: Vec<_> = expected.map(|(row, ms)| (*row, *ms)).collect();
                        waiting.retain(|_, due_ms| *due_ms > now_ms);
                        prop_assert_eq!(due, expected);
                    }
                }
                prop_assert_eq!(queue.next_ms().is_some(), !waiting.is_empty());
            }
        }
    }
}
