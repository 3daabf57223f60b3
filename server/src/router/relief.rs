//! What is done when all backlogs together hold too much.

use super::tables::Router;
use super::wire::Wire;
use crate::close::CloseReason;
use crate::sync::Ordering;

impl<W: Wire> Router<W> {
    /// Closes the connections that are furthest behind until the backlogs hold less. Returns false
    /// if another thread is doing so, which looks again when it is done, or if nothing waits. No
    /// shard may be locked.
    pub(super) fn relieve(&self) -> bool {
        if self.is_relieving.swap(true, Ordering::Acquire) {
            return false;
        }
        let mut has_closed = true;
        while has_closed && !self.meter.is_relieved() {
            has_closed = self.close_furthest_behind();
        }
        self.is_relieving.store(false, Ordering::Release);
        has_closed
    }

    /// Closes connections, those with the most bytes waiting first, until enough is free. Returns
    /// whether there was one.
    fn close_furthest_behind(&self) -> bool {
        let mut behind = Vec::new();
        for shard in 0..self.shards.len() {
            self.lock(shard).add_behind(&mut behind);
        }
        behind.sort_unstable_by_key(|&(n_bytes, _)| std::cmp::Reverse(n_bytes));
        for &(_, row) in &behind {
            if self.meter.is_relieved() {
                break;
            }
            let mut shard = self.lock(row.shard.into());
            shard.give_up(row, CloseReason::BacklogTotal);
            self.unlock(shard);
        }
        !behind.is_empty()
    }
}
