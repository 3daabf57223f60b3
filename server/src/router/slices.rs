//! What is done to many connections: in slices, so that others are served in between.

use std::ops::Range;

use super::id::Id;
use super::rows::{Body, RowRef};
use super::shard::Shard;
use super::tables::Router;
use super::wire::Wire;
use crate::close::CloseReason;

/// Rows that a fan-out writes before it lets others in: at 7 µs a write, half a millisecond. With
/// 256 rows the 99th percentile of other ids' delivery latency during fan-outs to 10,000
/// connections was 4.2 ms, with 64 it is 1.7; the fan-outs take no longer.
pub const SLICE: usize = 64;

/// The slots of a slice, and where the next one begins if there is one.
pub(super) fn slice(n_slots: u32, first_slot: u32) -> (Range<u32>, Option<u32>) {
    let n_in_slice = u32::try_from(SLICE).expect("a slice is small");
    let end = n_slots.min(first_slot.saturating_add(n_in_slice));
    (first_slot..end, (end < n_slots).then_some(end))
}

/// A send to many connections, done in slices so that others are served in between.
#[derive(Debug)]
pub struct FanOut {
    /// The shard in which the message is counted.
    home: usize,
    /// The connections, as they were logged in at the start.
    targets: Vec<RowRef>,
    /// How many of them were served.
    n_done: usize,
    /// How many of those were reached.
    n_reached: u64,
}

impl FanOut {
    /// A send to the connections `targets` of an id in the shard `home`.
    pub(super) fn new(home: usize, targets: Vec<RowRef>) -> Self {
        Self { home, targets: by_shard(targets), n_done: 0, n_reached: 0 }
    }

    /// How many connections it is for.
    pub fn n_targets(&self) -> usize {
        self.targets.len()
    }

    /// Serves the next slice. Returns the number of connections reached when it was the last.
    pub fn step<W: Wire>(&mut self, router: &Router<W>, message: &W::Message) -> Option<u64> {
        let end = self.targets.len().min(self.n_done + SLICE);
        let slice = &self.targets[self.n_done..end];
        for of_one_shard in slice.chunk_by(|left, right| left.shard == right.shard) {
            let mut shard = router.lock(of_one_shard[0].shard.into());
            let reached = of_one_shard.iter().filter(|&&row| shard.deliver(row, message)).count();
            self.n_reached += reached as u64;
            router.release(shard);
        }
        self.n_done = end;
        if end < self.targets.len() {
            return None;
        }
        router.lock(self.home).stats.count_message(self.n_reached);
        Some(self.n_reached)
    }
}

/// The end of many connections, done in slices so that others are served in between.
#[derive(Debug)]
pub struct LogOut {
    /// The connections, as they were logged in at the start.
    targets: Vec<RowRef>,
    /// How many of them were logged out.
    n_done: usize,
}

impl LogOut {
    /// The end of the connections `targets`.
    pub(super) fn new(targets: Vec<RowRef>) -> Self {
        Self { targets: by_shard(targets), n_done: 0 }
    }

    /// Logs out the next slice. Returns how many connections there were when it was the last.
    pub fn step<W: Wire>(&mut self, router: &Router<W>) -> Option<usize> {
        let end = self.targets.len().min(self.n_done + SLICE);
        let slice = &self.targets[self.n_done..end];
        for of_one_shard in slice.chunk_by(|left, right| left.shard == right.shard) {
            let mut shard = router.lock(of_one_shard[0].shard.into());
            for &row in of_one_shard {
                shard.end(row, CloseReason::Logout);
            }
            router.release(shard);
        }
        self.n_done = end;
        (end == self.targets.len()).then_some(end)
    }
}

/// Sorted by shard, so that a slice locks few of them.
fn by_shard(mut targets: Vec<RowRef>) -> Vec<RowRef> {
    targets.sort_unstable_by_key(|target| target.shard);
    targets
}

impl<W: Wire> Router<W> {
    /// Begins a send to all connections that are logged in as `id` now.
    pub fn fan_out(&self, id: Id) -> FanOut {
        let home = self.home(id);
        FanOut::new(home, self.lock(home).targets(id))
    }

    /// Begins a send of what is about `id` to `targets`, which [`add_targets`](Self::add_targets)
    /// has found. A connection that was found several times gets it once.
    pub fn fan_out_to(&self, id: Id, mut targets: Vec<RowRef>) -> FanOut {
        // Sorted by shard, too.
        targets.sort_unstable();
        targets.dedup();
        FanOut { home: self.home(id), targets, n_done: 0, n_reached: 0 }
    }

    /// Adds the connections that are logged in as any of `ids` now, of no more ids than a
    /// [`SLICE`]: whoever has more lets others in between.
    pub fn add_targets(&self, ids: &[Id], targets: &mut Vec<RowRef>) {
        debug_assert!(ids.len() <= SLICE);
        let mut by_home: Vec<_> = ids.iter().map(|&id| (self.home(id), id)).collect();
        by_home.sort_unstable();
        for of_one_shard in by_home.chunk_by(|left, right| left.0 == right.0) {
            let shard = self.lock(of_one_shard[0].0);
            for &(_, id) in of_one_shard {
                shard.add_targets(id, targets);
            }
        }
    }

    /// Begins to log out every connection that is logged in as `id` now: it gets its last chunk and
    /// is closed.
    pub fn log_out(&self, id: Id) -> LogOut {
        LogOut::new(self.lock(self.home(id)).targets(id))
    }

    /// Ends the connections in the slots from `first_slot` on of one shard, a slice of them.
    /// Returns where to go on, or `None` after the last slot.
    pub fn end_slice(&self, shard: usize, first_slot: u32, reason: CloseReason) -> Option<u32> {
        self.for_slice(shard, first_slot, |shard, slot| {
            let row = shard.target(slot);
            shard.end(row, reason);
        })
    }

    /// Does something with the connections in a slice of the slots of one shard. Returns where the
    /// next slice begins, or `None` after the last one.
    pub(super) fn for_slice(
        &self,
        shard: usize,
        first_slot: u32,
        mut act: impl FnMut(&mut Shard<W>, u32),
    ) -> Option<u32> {
        let mut shard = self.lock(shard);
        let (slots, next) = slice(shard.rows.n_slots(), first_slot);
        for slot in slots {
            if let Some(Body::Connection(_)) = shard.rows.find(slot).map(|row| &row.body) {
                act(&mut shard, slot);
            }
        }
        self.release(shard);
        next
    }

    /// Shows the ids that are logged in at the slots from `first_slot` on of one shard, a slice of
    /// them; each id is at one slot only. Returns where to go on, or `None` after the last slot.
    pub fn ids_slice(
        &self,
        shard: usize,
        first_slot: u32,
        mut show: impl FnMut(Id),
    ) -> Option<u32> {
        let shard = self.lock(shard);
        let (slots, next) = slice(shard.rows.n_slots(), first_slot);
        for slot in slots {
            let Some(row) = shard.rows.find(slot) else { continue };
            // Of the rows of an id one is the first.
            if row.position == 0 && !matches!(row.body, Body::Free { .. }) {
                show(row.id);
            }
        }
        next
    }
}
