//! Room for ids: how many all connections together may be logged in as.

use super::{Router, Wire};
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

impl Room<'_> {
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

impl<W: Wire> Router<W> {
    /// Room for a login with `n_ids` ids, if there is as much.
    pub fn room(&self, n_ids: usize) -> Option<Room<'_>> {
        let (n_ids, n_logins) = (n_ids as u64, &*self.n_logins);
        // Taken first and looked at then, so that two logins never take the same room.
        let room = Room { n_ids, n_logins };
        let n_before = n_logins.fetch_add(n_ids, Ordering::Relaxed);
        (n_before.saturating_add(n_ids) <= self.max_ids).then_some(room)
    }
}
