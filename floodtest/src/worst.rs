//! The connections with the most faults in their messages.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

/// Connections that the final report names for their lost, duplicated and reordered messages.
const MAX_WORST: usize = 10;

/// A connection by its number in the run, and what was wrong with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Worst {
    /// Its messages lost, duplicated and reordered.
    pub(crate) faults: u32,
    /// The connection's number.
    pub(crate) number: u64,
}

impl Worst {
    /// Puts the worst first and leaves out all but [`MAX_WORST`].
    pub(crate) fn sort(list: &mut Vec<Self>) {
        list.sort_unstable_by_key(|worst| (Reverse(worst.faults), worst.number));
        list.truncate(MAX_WORST);
    }
}
