//! What became of one slow reader.

use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// Slow readers whose ends one process remembers, 40 bytes each. In a run with many lives of them,
/// later ones are counted and not named.
pub(crate) const MAX_SLOW_ENDS: usize = 100_000;

/// What became of one connection that was read slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlowEnd {
    /// Its place, by its number in the run.
    pub(crate) number: u64,
    /// Bytes that it reads a second.
    pub(crate) bytes_per_s: u64,
    /// Bytes that came: read ones and those in its socket.
    pub(crate) bytes: u64,
    /// Why it ended; `None` if it was open at the end of the run.
    pub(crate) reason: Option<Reason>,
    /// Milliseconds from its head to its end.
    pub(crate) after_ms: u32,
}
