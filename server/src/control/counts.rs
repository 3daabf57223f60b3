//! What is counted at the control door.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

/// Statuses of answers that say why not, as they are counted.
const STATUSES: [&str; 12] =
    ["400", "401", "403", "404", "405", "408", "413", "415", "417", "431", "501", "503"];

/// What happened, while it happens.
#[derive(Debug, Default)]
pub(crate) struct ControlCounts {
    /// Connections accepted.
    accepted: AtomicU64,
    /// Answers that say why not, by status.
    refused: [AtomicU64; STATUSES.len()],
    /// Connections told to go because their time was up.
    timed_out: AtomicU64,
    /// Connections told to go because another one needed the place.
    evicted: AtomicU64,
}

impl ControlCounts {
    /// Counts a connection.
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer with this status, if it is one that says why not.
    pub(crate) fn count_refused(&self, status: &str) {
        let number = STATUSES.iter().position(|known| status.starts_with(known));
        debug_assert!(number.is_some(), "{status} is not counted");
        if let Some(number) = number {
            self.refused[number].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection whose time was up.
    pub(crate) fn count_timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that had to make room.
    pub(crate) fn count_evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of now, with so many connections open.
    pub(crate) fn stats(&self, n_open: usize) -> ControlStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ControlStats {
            accepted: count(&self.accepted),
            open: n_open as u64,
            timed_out: count(&self.timed_out),
            evicted: count(&self.evicted),
            refused: ByStatus(self.refused.each_ref().map(count)),
        }
    }
}

/// What happened at the control door, as `/stats` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ControlStats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections closed because a head or a body was not complete in time, or an answer not
    /// taken.
    pub timed_out: u64,
    /// Connections closed because another one needed the place.
    pub evicted: u64,
    /// Answers that say why not, by status.
    pub refused: ByStatus,
}

/// A count for every status; those that did not occur are left out of `/stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByStatus([u64; STATUSES.len()]);

impl ByStatus {
    /// All statuses with their counts.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATUSES.into_iter().zip(self.0)
    }
}

impl Serialize for ByStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.all().filter(|&(_, n)| n > 0))
    }
}
