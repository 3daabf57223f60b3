//! Which message numbers of a connection have come, in 16 bytes.
//!
//! Numbers count up by one. A number beyond the expected one opens a gap for each that it skips;
//! one that fills an open gap came out of order; any other old one has come before. The window
//! reaches 64 numbers back. A gap that leaves it is lost, and so is one that is open at the end.

use serde::{Deserialize, Serialize};

/// How far back a connection's window reaches, in numbers.
pub const WINDOW_NUMBERS: u64 = 64;

/// What the windows of all connections have found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Numbers that never came.
    pub lost: u64,
    /// Numbers that came twice. A number that is older than the window counts here: that it came
    /// is known, whether it came before is not.
    pub duplicated: u64,
    /// Numbers that came after a later one.
    pub reordered: u64,
}

impl Sequence {
    /// All of them together.
    pub fn n_faults(&self) -> u64 {
        self.lost.saturating_add(self.duplicated).saturating_add(self.reordered)
    }

    /// Adds what another window, or another number, has found.
    pub fn add(&mut self, more: Self) {
        // A wild number may lose nearly as many as can be counted.
        self.lost = self.lost.saturating_add(more.lost);
        self.duplicated += more.duplicated;
        self.reordered += more.reordered;
    }
}

/// The last 64 numbers of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// The number that is expected next; 0 when any is, because none has come.
    next: u64,
    /// Bit i is set when number `next − 1 − i` has not come.
    missing: u64,
}

impl Window {
    /// For a server whose first number is 1, so that a first number of 3 means two lost ones.
    pub fn from_one() -> Self {
        Self { next: 1, missing: 0 }
    }

    /// For any other server: whatever comes first is the base.
    pub fn from_first() -> Self {
        Self::default()
    }

    /// Takes in one number, which must be less than `u64::MAX`; what is wrong with it.
    pub fn record(&mut self, number: u64) -> Sequence {
        if self.next == 0 {
            self.next = number + 1;
            Sequence::default()
        } else if number < self.next {
            self.record_old(self.next - 1 - number)
        } else {
            Sequence { lost: self.advance(number - self.next + 1), ..Sequence::default() }
        }
    }

    /// Gaps that are open now.
    pub fn n_missing(&self) -> u64 {
        self.missing.count_ones().into()
    }

    /// Takes in the number that is `age` before the latest.
    fn record_old(&mut self, age: u64) -> Sequence {
        let gap = if age < WINDOW_NUMBERS { self.missing & (1 << age) } else { 0 };
        self.missing &= !gap;
        if gap == 0 {
            Sequence { duplicated: 1, ..Sequence::default() }
        } else {
            Sequence { reordered: 1, ..Sequence::default() }
        }
    }

    /// Takes in the number that is `by` after the latest, so that `by` − 1 are skipped; how many
    /// gaps leave the window.
    fn advance(&mut self, by: u64) -> u64 {
        self.next += by;
        if by < WINDOW_NUMBERS {
            let leaving = self.missing >> (WINDOW_NUMBERS - by);
            // Bit 0 is the number that has just come, the bits above it are those skipped.
            self.missing = self.missing << by | ((1 << by) - 2);
            leaving.count_ones().into()
        } else {
            let n_lost = self.n_missing() + (by - WINDOW_NUMBERS);
            self.missing = u64::MAX - 1;
            n_lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What a window and its end make of `numbers`.
    fn judge(mut window: Window, numbers: &[u64]) -> Sequence {
        let mut sequence = Sequence::default();
        for number in numbers {
            sequence.add(window.record(*number));
        }
        sequence.lost += window.n_missing();
        sequence
    }

    /// The same by sets, in as much memory as it takes.
    fn judge_by_sets(base: Option<u64>, numbers: &[u64]) -> Sequence {
        let mut sequence = Sequence::default();
        let mut base = base;
        let mut latest = base.map(|base| base - 1);
        let mut accepted = BTreeSet::new();
        for number in numbers {
            base.get_or_insert(*number);
            if latest.is_none_or(|latest| *number > latest) {
                latest = Some(*number);
                accepted.insert(*number);
            } else if Some(*number) >= base
                && latest.is_some_and(|latest| latest - number < WINDOW_NUMBERS)
                && accepted.insert(*number)
            {
                sequence.reordered += 1;
            } else {
                sequence.duplicated += 1;
            }
        }
        if let (Some(base), Some(latest)) = (base, latest) {
            sequence.lost = latest + 1 - base - accepted.len() as u64;
        }
        sequence
    }

    #[test]
    fn numbers_in_order_are_nothing_to_report() {
        let numbers: Vec<u64> = (1..=1_000).collect();
        assert_eq!(judge(Window::from_one(), &numbers), Sequence::default());
        assert_eq!(judge(Window::from_first(), &numbers[500..]), Sequence::default());
    }

    #[test]
    fn lost_duplicated_and_reordered_are_told_apart() {
        let sequence = judge(Window::from_one(), &[2, 1, 3, 3, 6, 5, 8]);
        assert_eq!(sequence, Sequence { lost: 2, duplicated: 1, reordered: 2 });
    }

    #[test]
    fn a_first_number_is_the_base_only_of_a_foreign_server() {
        assert_eq!(judge(Window::from_one(), &[3]).lost, 2);
        assert_eq!(judge(Window::from_first(), &[3]).lost, 0);
        assert_eq!(judge(Window::from_first(), &[0, 1]), Sequence::default());
    }

    #[test]
    fn a_gap_older_than_the_window_is_lost_for_good() {
        let mut numbers: Vec<u64> = (2..=65).collect();
        numbers.push(1);
        assert_eq!(judge(Window::from_one(), &numbers).duplicated, 1);
        assert_eq!(judge(Window::from_one(), &numbers).lost, 1);
        numbers.remove(63);
        assert_eq!(judge(Window::from_one(), &numbers), Sequence { reordered: 1, ..default() });
    }

    fn default() -> Sequence {
        Sequence::default()
    }

    #[test]
    fn a_wild_number_does_not_overflow() {
        let sequence = judge(Window::from_one(), &[1, u64::MAX - 1, 2, u64::MAX - 1]);
        assert_eq!(sequence.duplicated, 2);
        assert_eq!(sequence.lost, u64::MAX - 3);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_sets(
            steps in proptest::collection::vec((0_u64..200, 0_u64..70), 0..300),
            is_ours in any::<bool>(),
        ) {
            // A walk that mostly goes on, sometimes leaps, and looks back.
            let mut at = 1;
            let numbers: Vec<u64> = steps.iter().map(|(kind, size)| {
                let back = if kind % 3 == 0 { *size } else { 0 };
                at += if *kind > 180 { *size } else { 1 };
                (at - 1_u64).saturating_sub(back).max(1)
            }).collect();
            let (window, base) = if is_ours {
                (Window::from_one(), Some(1))
            } else {
                (Window::from_first(), None)
            };
            prop_assert_eq!(judge(window, &numbers), judge_by_sets(base, &numbers));
        }
    }
}
