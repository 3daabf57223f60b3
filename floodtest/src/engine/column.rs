//! What is kept of a place beside its row, where places have more than one connection.

use super::queue::{Queued, Ticket};

/// Bits of the number of a life. It is counted round and round: chance depends on it, and books
/// do not.
const LIFE_BITS: u32 = 16;

/// Bits of the number of connects that have failed, of which no more are counted: a back-off has
/// come to its bound by then.
const FAILED_BITS: u32 = 6;

/// Bits of the number of a settling.
const SETTLING_BITS: u32 = 8;

/// Settlings that can be told apart in a run. What closes later is in none.
pub(super) const MAX_SETTLINGS: usize = (1 << SETTLING_BITS) - 1;

/// What is kept of a place beside its row: 12 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Column {
    /// When it is due for its next connection, or for the end of the present one.
    ticket: Ticket,
    /// How many connections it has had, from the lowest bit on; how many connects have failed since
    /// the latest; which settling closed that, plus 1; whether it waits; whether it does so because
    /// of an end that is in order.
    bits: u32,
}

impl Queued for Column {
    fn ticket(&mut self) -> &mut Ticket {
        &mut self.ticket
    }
}

impl Column {
    /// How many connections it has had.
    pub(super) fn life(self) -> u32 {
        self.get(0, LIFE_BITS)
    }

    /// Counts another connection that was established. What failed before is forgotten.
    pub(super) fn begin_life(&mut self) {
        // Round and round without the 0, which says that there was none.
        let next = if self.life() + 1 < 1 << LIFE_BITS { self.life() + 1 } else { 1 };
        self.set(0, LIFE_BITS, next);
        self.set(LIFE_BITS, FAILED_BITS, 0);
    }

    /// How many connects have failed since the latest connection.
    pub(super) fn n_failed(self) -> u32 {
        self.get(LIFE_BITS, FAILED_BITS)
    }

    /// Counts a connect that has failed.
    pub(super) fn fail(&mut self) {
        let most = (1 << FAILED_BITS) - 1;
        self.set(LIFE_BITS, FAILED_BITS, (self.n_failed() + 1).min(most));
    }

    /// Whether nothing has become of it so far.
    pub(super) fn is_first(self) -> bool {
        self.life() == 0 && self.n_failed() == 0
    }

    /// Which settling closed its latest connection.
    pub(super) fn settling(self) -> Option<usize> {
        let settling = self.get(LIFE_BITS + FAILED_BITS, SETTLING_BITS);
        usize::try_from(settling).ok()?.checked_sub(1)
    }

    /// Notes which one did, or that it is back.
    pub(super) fn set_settling(&mut self, settling: Option<usize>) {
        let number = settling.map_or(0, |settling| settling + 1);
        let number = u32::try_from(number).ok().filter(|it| *it < 1 << SETTLING_BITS);
        self.set(LIFE_BITS + FAILED_BITS, SETTLING_BITS, number.unwrap_or(0));
    }

    /// Whether it waits for its next connection.
    pub(super) fn is_away(self) -> bool {
        self.get(LIFE_BITS + FAILED_BITS + SETTLING_BITS, 1) == 1
    }

    /// Whether it does so because of an end that is in order.
    pub(super) fn is_in_order(self) -> bool {
        self.get(LIFE_BITS + FAILED_BITS + SETTLING_BITS + 1, 1) == 1
    }

    /// Notes that it waits, or no more, and whether because of an end that is in order.
    pub(super) fn set_away(&mut self, is_away: bool, is_in_order: bool) {
        self.set(LIFE_BITS + FAILED_BITS + SETTLING_BITS, 1, is_away.into());
        self.set(LIFE_BITS + FAILED_BITS + SETTLING_BITS + 1, 1, is_in_order.into());
    }

    /// So many bits from `at` on.
    fn get(self, at: u32, n: u32) -> u32 {
        self.bits >> at & ((1 << n) - 1)
    }

    /// Sets them.
    fn set(&mut self, at: u32, n: u32, value: u32) {
        self.bits = self.bits & !(((1 << n) - 1) << at) | value << at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_12_bytes() {
        assert_eq!(size_of::<Column>(), 12);
    }

    #[test]
    fn its_parts_do_not_meet() {
        let mut column = Column::default();
        assert!(column.is_first());
        (0..100).for_each(|_| column.fail());
        column.set_settling(Some(MAX_SETTLINGS - 1));
        column.set_away(true, true);
        assert_eq!((column.life(), column.n_failed()), (0, 63));
        assert_eq!(column.settling(), Some(254));
        column.set_away(true, false);
        (0..1 << LIFE_BITS).for_each(|_| column.begin_life());
        assert_eq!((column.life(), column.n_failed(), column.settling()), (1, 0, Some(254)));
        assert!(column.is_away() && !column.is_in_order() && !column.is_first());
        column.set_settling(Some(MAX_SETTLINGS));
        assert_eq!(column.settling(), None, "there is no room for its number");
    }
}
