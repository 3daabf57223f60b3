//! What the processes of a run say to each other, over one socket for each worker.
//!
//! The parent sends a [`Job`](crate::job::Job) as a line of JSON and, when all workers are ready,
//! the time of the start in 8 bytes, in microseconds of the machine's monotonic clock. After that each byte asks for the counts, and the end of the
//! stream asks for the end of the run. A worker sends lines of JSON.

use serde::{Deserialize, Serialize};

use crate::end::End;
use crate::slow_end::SlowEnd;
use crate::worst::Worst;

/// The byte that asks for the counts.
pub(super) const ASK: u8 = b'?';

/// What a worker says: one JSON object a line. It lends its counts, and its parent gets them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said<T> {
    /// It knows its job and waits for the start.
    Ready,
    /// What it has counted. Not asked for, it says that its connections are all opened.
    Counts {
        /// How often it was asked so far.
        n_asked: u64,
        /// Whether it will not open a connection of a new place any more.
        is_settled: bool,
        /// The counts.
        tally: T,
    },
    /// It has come to its end.
    Done {
        /// What ended it.
        end: End,
        /// What it has counted.
        tally: T,
        /// Its connections with the most faults.
        worst: Vec<Worst>,
        /// What became of its slow readers.
        slow: Vec<SlowEnd>,
    },
    /// It cannot go on, and says why.
    Failed(String),
}
