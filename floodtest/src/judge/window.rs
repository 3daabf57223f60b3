//! Which numbers have come, of one series of messages on one connection, in 32 bytes.
//!
//! Numbers count up by one. A number beyond the expected one opens a gap for each that it skips;
//! one that fills an open gap came out of order; one that came before is a duplicate. The window
//! reaches 64 numbers back: of an older number it is not known whether it came before. A gap that
//! leaves the window is lost, and so is one that is open at the end.
//!
//! Where a series begins in the middle, what came before its first number, its *base*, is not
//! judged here: nobody knows whether it was sent to this connection. Numbers below the base that
//! come after it are out of order all the same.

use serde::{Deserialize, Serialize};

/// How far back a window reaches, in numbers.
pub const WINDOW_NUMBERS: u64 = 64;

/// The span of a window that has no base: all of its gaps count.
const ALL: u8 = 64;

/// What windows have found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Numbers that came, each once.
    pub messages: u64,
    /// Numbers that never came.
    pub lost: u64,
    /// Numbers that came again.
    pub duplicated: u64,
    /// Numbers that came after a later one.
    pub reordered: u64,
    /// Numbers that are older than the window, or that follow such a one: of these it is not known
    /// whether they came before, or whether the count began anew.
    pub too_old: u64,
    /// Numbers that were left out while a place had no connection.
    pub in_gaps: u64,
    /// Numbers that a resumed stream brought again.
    pub replayed: u64,
    /// Numbers among those that were left out in a gap, and came all the same.
    pub late_from_gaps: u64,
}

impl Found {
    /// Numbers lost, duplicated and reordered together.
    pub fn n_faults(&self) -> u64 {
        self.lost.saturating_add(self.duplicated).saturating_add(self.reordered)
    }

    /// Adds what another window, or another number, has found.
    pub fn add(&mut self, more: Self) {
        self.messages += more.messages;
        // A wild number may lose nearly as many as can be counted.
        self.lost = self.lost.saturating_add(more.lost);
        self.duplicated += more.duplicated;
        self.reordered += more.reordered;
        self.too_old += more.too_old;
        self.in_gaps = self.in_gaps.saturating_add(more.in_gaps);
        self.replayed += more.replayed;
        self.late_from_gaps += more.late_from_gaps;
    }

    /// Numbers that never came because their place had no connection when they were sent.
    pub fn lost_in_gaps(&self) -> u64 {
        self.in_gaps.saturating_sub(self.late_from_gaps)
    }

    /// Takes back what was added.
    pub fn take_back(&mut self, less: Self) {
        self.messages -= less.messages;
        self.lost = self.lost.saturating_sub(less.lost);
        self.duplicated -= less.duplicated;
        self.reordered -= less.reordered;
        self.too_old -= less.too_old;
    }
}

/// What a window notices of numbers, for whoever must know which they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// These numbers, both ends included, have left the window and are counted as lost.
    Lost(u64, u64),
    /// This number came, though it is below the base.
    Early(u64),
    /// These numbers, both ends included, were left out while there was no connection.
    InGap(u64, u64),
}

/// The last 64 numbers of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// The number that is expected next; 0 when any is, because none has come.
    pub(super) next: u64,
    /// Bit i is set when number `next − 1 − i` has not come.
    pub(super) missing: u64,
    /// The id that the messages are for, where they are known by stamps.
    pub(super) id: u64,
    /// Numbers from 1 up to the base that have not come.
    pub(super) n_before: u32,
    /// Who sent them, by its place in a table; 0 where they are known by the server's numbers.
    pub(super) sender: u16,
    /// How many numbers lie between the base and the latest, 64 if there are more: a gap that is
    /// older than this is below the base.
    pub(super) span: u8,
    /// What is known of the connection, for the judge.
    pub(super) flags: u8,
}

/// A number older than the window has come, and none that is newer than the latest since.
const IS_BEHIND: u8 = 128;

/// The base is behind a gap between two connections: what is below it and in the window was left
/// out in that gap.
const HAS_GAP: u8 = 64;

impl Window {
    /// For numbers that begin at 1, so that a first number of 3 means two lost ones.
    pub fn from_one() -> Self {
        Self { next: 1, span: ALL, ..Self::default() }
    }

    /// For any others: whatever comes first is the base.
    pub fn from_first() -> Self {
        Self::default()
    }

    /// Takes in one number, which must be less than `u64::MAX`; what is wrong with it.
    pub fn record(&mut self, number: u64, mut notice: impl FnMut(Notice)) -> Found {
        if self.next == 0 {
            self.begin(number);
            return Found { messages: 1, ..Found::default() };
        }
        if number < self.next {
            return self.record_old(number, &mut notice);
        }
        self.flags &= !IS_BEHIND;
        let lost = self.advance(number, &mut notice);
        Found { messages: 1, lost, ..Found::default() }
    }

    /// Takes in a number on the connection that follows the one before, and on which no new number
    /// has come yet; what is wrong with it. `is_resumed` if the server was told which message came
    /// last, so that it may bring some again.
    ///
    /// What a new number leaves out was sent while there was no connection, or was on its way when
    /// the one before came to its end: nobody can tell which. It is in the gap, and not lost. What
    /// was missing before that is lost now.
    pub fn record_after_gap(
        &mut self,
        number: u64,
        is_resumed: bool,
        mut notice: impl FnMut(Notice),
    ) -> Found {
        if self.next > 0 && number < self.next && is_resumed {
            let was_behind = self.flags & IS_BEHIND;
            let old = self.record_old(number, &mut notice);
            self.flags = self.flags & !IS_BEHIND | was_behind;
            // What was missing and is brought after all is as it should be.
            let replayed = old.duplicated + old.too_old;
            return Found { duplicated: 0, too_old: 0, reordered: 0, replayed, ..old };
        }
        if number <= self.next || self.next == 0 {
            return self.record(number, notice);
        }
        let lost = self.n_missing();
        self.missing().for_each(|number| notice(Notice::Lost(number, number)));
        let (first, by) = (self.next, number - self.latest());
        notice(Notice::InGap(first, number - 1));
        let missing =
            if by < WINDOW_NUMBERS { self.missing << by | ones(by - 1) << 1 } else { u64::MAX - 1 };
        (self.next, self.missing, self.span) = (number + 1, missing, 0);
        self.flags = self.flags & !IS_BEHIND | HAS_GAP;
        Found { messages: 1, lost, in_gaps: number - first, ..Found::default() }
    }

    /// Whether a number has come.
    pub fn has_begun(&self) -> bool {
        self.next > 0
    }

    /// The latest number; 0 if none has come.
    pub fn latest(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// How many numbers from 1 up to the base have not come, and the base itself may be anything
    /// beyond them.
    pub fn n_before(&self) -> u64 {
        self.n_before.into()
    }

    /// Gaps that are open now, from the base on.
    pub fn n_missing(&self) -> u64 {
        (self.missing & self.since_base()).count_ones().into()
    }

    /// The numbers of these gaps.
    pub fn missing(&self) -> impl Iterator<Item = u64> {
        let (bits, latest) = (self.missing & self.since_base(), self.latest());
        (0..WINDOW_NUMBERS).filter(move |age| bits >> age & 1 == 1).map(move |age| latest - age)
    }

    /// Takes in the first number of a series that may begin anywhere.
    fn begin(&mut self, number: u64) {
        (self.next, self.span) = (number + 1, 0);
        self.n_before = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX);
        // All before it are gaps below the base; number 0 is not among them.
        let n_gaps = number.saturating_sub(1).min(WINDOW_NUMBERS - 1);
        self.missing = ones(n_gaps) << 1;
    }

    /// Bits of the numbers from the base on.
    fn since_base(&self) -> u64 {
        ones(u64::from(self.span) + 1)
    }

    /// Takes in a number before the latest.
    fn record_old(&mut self, number: u64, notice: &mut impl FnMut(Notice)) -> Found {
        let age = self.next - 1 - number;
        if age >= WINDOW_NUMBERS {
            // A count that begins anew, or messages that are sent once more: what follows looks
            // the same, so it is not judged until the numbers are new again.
            self.flags |= IS_BEHIND;
            return Found { too_old: 1, ..Found::default() };
        }
        let gap = self.missing & (1 << age);
        if gap == 0 {
            let is_behind = self.flags & IS_BEHIND != 0;
            let (duplicated, too_old) = if is_behind { (0, 1) } else { (1, 0) };
            return Found { duplicated, too_old, ..Found::default() };
        }
        self.missing &= !gap;
        if age > u64::from(self.span) && self.flags & HAS_GAP != 0 {
            return Found { messages: 1, reordered: 1, late_from_gaps: 1, ..Found::default() };
        }
        if age > u64::from(self.span) {
            self.n_before = self.n_before.saturating_sub(1);
            notice(Notice::Early(number));
        }
        Found { messages: 1, reordered: 1, ..Found::default() }
    }

    /// Takes in a number after the latest; how many gaps leave the window.
    fn advance(&mut self, number: u64, notice: &mut impl FnMut(Notice)) -> u64 {
        let latest = self.next - 1;
        let by = number - latest;
        let stay = WINDOW_NUMBERS.saturating_sub(by);
        let leaving = self.missing & self.since_base() & !ones(stay);
        for age in (stay..WINDOW_NUMBERS).rev().filter(|age| leaving >> age & 1 == 1) {
            notice(Notice::Lost(latest - age, latest - age));
        }
        let mut n_lost = u64::from(leaving.count_ones());
        self.next += by;
        if by < WINDOW_NUMBERS {
            // Bit 0 is the number that has just come, the bits above it are those skipped.
            self.missing = self.missing << by | ones(by - 1) << 1;
        } else {
            self.missing = u64::MAX - 1;
            if by > WINDOW_NUMBERS {
                notice(Notice::Lost(latest + 1, number - WINDOW_NUMBERS));
                n_lost += by - WINDOW_NUMBERS;
            }
        }
        let span = u64::from(self.span).saturating_add(by).min(WINDOW_NUMBERS);
        self.span = u8::try_from(span).expect("64 at most");
        n_lost
    }
}

/// The lowest `n` bits.
fn ones(n: u64) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What a window and its end make of `numbers`, and which of them it calls lost.
    fn judge(mut window: Window, numbers: &[u64]) -> (Found, BTreeSet<u64>) {
        let (mut found, mut lost) = (Found::default(), BTreeSet::new());
        for number in numbers {
            found.add(window.record(*number, |notice| {
                if let Notice::Lost(from, to) = notice {
                    lost.extend(from..=to.min(from + 1_000));
                }
            }));
        }
        found.lost = found.lost.saturating_add(window.n_missing());
        lost.extend(window.missing());
        (found, lost)
    }

    /// The same by sets, in as much memory as it takes.
    fn judge_by_sets(is_from_one: bool, numbers: &[u64]) -> (Found, BTreeSet<u64>) {
        let mut found = Found::default();
        let Some(first) = numbers.first() else { return (found, BTreeSet::new()) };
        let base = if is_from_one { 1 } else { *first };
        let mut latest = base - 1;
        let mut accepted = BTreeSet::new();
        let mut is_behind = false;
        for number in numbers {
            if *number > latest {
                latest = *number;
                is_behind = false;
                accepted.insert(*number);
            } else if latest - number >= WINDOW_NUMBERS {
                found.too_old += 1;
                is_behind = true;
            } else if accepted.insert(*number) {
                found.reordered += 1;
            } else if is_behind {
                found.too_old += 1;
            } else {
                found.duplicated += 1;
            }
        }
        let lost: BTreeSet<u64> =
            (base..=latest).filter(|number| !accepted.contains(number)).collect();
        found.messages = accepted.len() as u64;
        found.lost = lost.len() as u64;
        (found, lost)
    }

    fn found(numbers: &[u64]) -> Found {
        judge(Window::from_one(), numbers).0
    }

    #[test]
    fn a_window_is_32_bytes() {
        assert_eq!(size_of::<Window>(), 32);
    }

    #[test]
    fn numbers_in_order_are_nothing_to_report() {
        let numbers: Vec<u64> = (1..=1_000).collect();
        assert_eq!(found(&numbers), Found { messages: 1_000, ..Found::default() });
        let (middle, _) = judge(Window::from_first(), &numbers[500..]);
        assert_eq!(middle, Found { messages: 500, ..Found::default() });
    }

    #[test]
    fn lost_duplicated_and_reordered_are_told_apart() {
        let expected =
            Found { messages: 6, lost: 2, duplicated: 1, reordered: 2, ..Found::default() };
        assert_eq!(found(&[2, 1, 3, 3, 6, 5, 8]), expected);
    }

    #[test]
    fn what_comes_before_the_base_is_out_of_order_and_not_lost() {
        let mut window = Window::from_first();
        let mut early = Vec::new();
        let mut all = Found::default();
        for number in [5, 4, 7, 2, 4] {
            all.add(window.record(number, |notice| early.push(notice)));
        }
        let expected = Found { messages: 4, duplicated: 1, reordered: 2, ..Found::default() };
        assert_eq!((all, window.n_missing()), (expected, 1), "6 is missing, 1 and 3 are not");
        assert_eq!(early, [Notice::Early(4), Notice::Early(2)]);
        assert_eq!(window.n_before(), 2);
    }

    #[test]
    fn zero_is_a_number() {
        let (found, _) = judge(Window::from_first(), &[0, 1, 3]);
        assert_eq!((found.messages, found.lost), (3, 1));
    }

    #[test]
    fn a_gap_older_than_the_window_is_lost_for_good() {
        let mut numbers: Vec<u64> = (2..=65).collect();
        numbers.push(1);
        assert_eq!((found(&numbers).too_old, found(&numbers).lost), (1, 1));
        numbers.remove(63);
        assert_eq!(found(&numbers).reordered, 1);
    }

    #[test]
    fn a_count_that_begins_anew_is_not_called_duplicated() {
        let numbers: Vec<u64> = (1..=100).chain(1..=120).collect();
        let expected = Found { messages: 120, too_old: 100, ..Found::default() };
        assert_eq!(found(&numbers), expected);
    }

    #[test]
    fn what_is_left_out_between_two_connections_is_not_lost() {
        let mut window = Window::from_first();
        let mut all = Found::default();
        let mut notices = Vec::new();
        for number in [5, 6, 8] {
            all.add(window.record(number, |_| {}));
        }
        all.add(window.record_after_gap(12, false, |notice| notices.push(notice)));
        let expected = Found { messages: 4, lost: 1, in_gaps: 3, ..Found::default() };
        assert_eq!(
            (all, window.n_missing()),
            (expected, 0),
            "7 is lost; 9, 10 and 11 are in a gap"
        );
        assert_eq!(notices, [Notice::Lost(7, 7), Notice::InGap(9, 11)]);
        for number in [14, 10] {
            all.add(window.record(number, |_| {}));
        }
        assert_eq!((all.lost_in_gaps(), all.reordered, window.n_missing()), (2, 1, 1));
        assert_eq!(all.messages, 6);
    }

    #[test]
    fn without_a_gap_nothing_changes() {
        let mut window = Window::from_first();
        window.record(5, |_| {});
        window.record(7, |_| {});
        let found = window.record_after_gap(8, false, |_| {});
        assert_eq!(found, Found { messages: 1, ..Found::default() });
        assert_eq!(window.n_missing(), 1, "6 may still come");
    }

    #[test]
    fn what_a_resumed_stream_brings_again_is_no_duplicate() {
        let mut window = Window::from_first();
        let mut all = Found::default();
        for number in [1, 2, 4] {
            all.add(window.record(number, |_| {}));
        }
        for number in [2, 3, 4] {
            all.add(window.record_after_gap(number, true, |_| {}));
        }
        all.add(window.record_after_gap(5, true, |_| {}));
        let expected = Found { messages: 5, replayed: 2, ..Found::default() };
        assert_eq!((all, window.n_missing()), (expected, 0));
    }

    #[test]
    fn a_wild_number_does_not_overflow() {
        let found = found(&[1, u64::MAX - 1, 2, u64::MAX - 1]);
        assert_eq!((found.too_old, found.lost), (2, u64::MAX - 3));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_sets(
            steps in proptest::collection::vec((0_u64..200, 0_u64..70), 0..300),
            is_from_one in any::<bool>(),
            start in 1_u64..100,
        ) {
            // A walk that mostly goes on, sometimes leaps, and looks back.
            let mut at = if is_from_one { 1 } else { start };
            let numbers: Vec<u64> = steps.iter().map(|(kind, size)| {
                let back = if kind % 3 == 0 { *size } else { 0 };
                at += if *kind > 180 { *size } else { 1 };
                (at - 1_u64).saturating_sub(back).max(1)
            }).collect();
            let window = if is_from_one { Window::from_one() } else { Window::from_first() };
            prop_assert_eq!(judge(window, &numbers), judge_by_sets(is_from_one, &numbers));
        }
    }
}
