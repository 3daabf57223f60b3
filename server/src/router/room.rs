//! Room for ids: how many all connections together may be logged in as.

use crate::sync::{AtomicU64, Ordering};

/// Room for the ids of one login. Dropped without one, it is free again.
#[derive(Debug)]
#[must_use]
pub struct Room<'router> {
    /// For how many ids.
    n_ids: u64,
    /// Where they are counted.
    n_logins: &'router AtomicU64,
}

impl<'router> Room<'router> {
    /// Room for `n_ids` ids, if with them there are no more than `max_ids`.
    pub(super) fn take(n_logins: &'router AtomicU64, n_ids: u64, max_ids: u64) -> Option<Self> {
        // Taken first and looked at then, so that two logins never take the same room.
        let room = Room { n_ids, n_logins };
        let n_before = n_logins.fetch_add(n_ids, Ordering::Relaxed);
        (n_before.saturating_add(n_ids) <= max_ids).then_some(room)
    }

    /// The ids stay counted: from now on the login has them.
    pub(super) fn keep(mut self) {
        self.n_ids = 0;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.n_ids > 0 {
            self.n_logins.fetch_sub(self.n_ids, Ordering::Relaxed);
        }
    }
}
