//! Who goes when all places are taken, or too many bytes of unfinished requests are kept.

use super::Pending;
use super::connection::{Leave, State};

/// Bytes of unfinished requests that are kept at a time. Hardly any request comes in parts, but
/// 20,000 of nearly 8 KiB each would take 160 MB.
const MAX_KEPT_BYTES: usize = 16 * 1024 * 1024;

impl Pending {
    /// Makes room for a connection that was accepted, if all places are taken, at the cost of who
    /// has the least to lose: an answered connection that does not close, then the unfinished
    /// request that is the oldest. Returns whether there is room: not if all places are taken by
    /// connections that are logged in.
    pub(crate) fn make_room(&mut self) -> bool {
        let limits = self.limits;
        if self.n_open() >= limits.max_connections.saturating_add(limits.max_lingering as u64) {
            self.close_oldest_answered();
        }
        let n_busy = self.n_open() - self.n_draining as u64;
        n_busy < limits.max_connections || self.crowd_out()
    }

    /// How many connections are open.
    pub(super) fn n_open(&self) -> u64 {
        self.table.len() as u64 + self.router.n_parked()
    }

    /// Gives up the oldest unfinished requests while there are too many bytes of them.
    pub(super) fn bound_kept_bytes(&mut self) {
        while self.n_kept_bytes > MAX_KEPT_BYTES && self.crowd_out() {}
    }

    /// Puts a connection that is kept into the queue of its state.
    pub(super) fn queue(&mut self, slot: usize, number: u32) {
        let Self { table, reading, draining, .. } = self;
        let is_there =
            |slot, number| table.get(slot).is_some_and(|connection| connection.number == number);
        let queue = match table[slot].state {
            State::Reading(_) => reading,
            State::Draining { .. } => draining,
            State::Waiting(_) => return,
        };
        queue.push(slot, number);
        queue.tidy(table.len(), is_there);
    }

    /// Closes the connection that was answered before all others that are draining.
    fn close_oldest_answered(&mut self) {
        let Self { table, draining, .. } = self;
        let is_there =
            |slot, number| table.get(slot).is_some_and(|connection| connection.number == number);
        if let Some(slot) = draining.take(is_there) {
            self.leave(slot, &Leave::CrowdedOut);
        }
    }

    /// Answers the oldest unfinished request that it was not fast enough. Returns whether there was
    /// one.
    fn crowd_out(&mut self) -> bool {
        let Self { table, reading, .. } = self;
        let is_there =
            |slot, number| table.get(slot).is_some_and(|connection| connection.number == number);
        let Some(slot) = reading.take(is_there) else { return false };
        self.leave(slot, &Leave::CrowdedOut);
        true
    }
}
