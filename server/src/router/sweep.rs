//! What is done to all connections again and again: pings, and forgiving.

use super::deliver::connection_mut;
use super::shard::Shard;
use super::tables::Router;
use super::wire::Wire;

/// What a sweep does to each connection.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Whether it is pinged.
    pub pings: bool,
    /// How many bytes it is forgiven of those that it was not asked for, if its peer talks.
    pub n_forgiven: usize,
}

impl<W: Wire> Router<W> {
    /// Sweeps over the connections in the slots from `first_slot` on of one shard, a slice of them.
    /// Returns where to go on, or `None` after the last slot.
    pub fn sweep_slice(&self, shard: usize, first_slot: u32, sweep: Sweep) -> Option<u32> {
        self.for_slice(shard, first_slot, |shard, slot| {
            if sweep.n_forgiven > 0 {
                shard.forgive(slot, sweep.n_forgiven);
            }
            if sweep.pings {
                shard.ping(slot);
            }
        })
    }
}

impl<W: Wire> Shard<W> {
    /// Forgives the peer of the connection in `slot` some bytes, if it may talk. Nobody else has a
    /// reason to send anything, however slowly.
    fn forgive(&mut self, slot: u32, n_bytes: usize) {
        let row = self.row(slot);
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let n_chatty = self.extras.n_chatty(connection, slot);
        if n_chatty > 0 && W::talks(connection.style) {
            self.extras.set_chatty(connection, slot, n_chatty.saturating_sub(n_bytes));
            self.extras.tidy(connection, slot);
        }
    }
}
