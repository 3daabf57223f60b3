//! Who sends on a machine.

use reports::stamp::Sender;
use serde::{Deserialize, Serialize};

/// What a sender says of itself as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Announced {
    /// Who it is.
    pub(crate) sender: Sender,
    /// Its wall clock minus its monotonic one, as it read them when it started, in microseconds.
    pub(crate) zero_us: i64,
}
