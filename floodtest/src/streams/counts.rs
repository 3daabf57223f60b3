//! What is counted and measured over all streams.

use reports::latency::Latency;
use serde::{Deserialize, Serialize};

/// What is counted and measured over all streams of a process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StreamCounts {
    /// From when a connection was due to its first item.
    pub(crate) first_item_from_due: Latency,
    /// From when its request was sent to its first item.
    pub(crate) first_item_from_send: Latency,
    /// From each item of a stream to the next.
    pub(crate) gap: Latency,
    /// From when a stream's request was sent to its orderly end.
    pub(crate) stream_time: Latency,
    /// Streams that ended in order behind the item of `--done`.
    pub(crate) done: u64,
    /// Streams that ended in order without it.
    pub(crate) not_done: u64,
    /// The sum of what `--count` found; `None` if the field never came.
    pub(crate) counted: Option<u64>,
    /// Streams that had the field.
    pub(crate) n_counted: u64,
    /// Streams that are over and had not.
    pub(crate) n_not_counted: u64,
    /// Items that are too long to be looked into.
    pub(crate) n_too_long: u64,
    /// Streams that met what `--goodput` asks.
    pub(crate) met: u64,
    /// Streams that were established and are over.
    pub(crate) over: u64,
    /// When the last item came, in microseconds after the start.
    pub(crate) last_item_us: u64,
}

impl StreamCounts {
    /// Adds the number that `--count` found in a stream.
    pub(crate) fn count(&mut self, number: u64) {
        self.n_counted += 1;
        self.counted = Some(self.counted.unwrap_or(0).saturating_add(number));
    }

    /// Takes in the counts of another process.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.first_item_from_due.merge(&other.first_item_from_due);
        self.first_item_from_send.merge(&other.first_item_from_send);
        self.gap.merge(&other.gap);
        self.stream_time.merge(&other.stream_time);
        self.done += other.done;
        self.not_done += other.not_done;
        self.counted = match (self.counted, other.counted) {
            (Some(ours), Some(theirs)) => Some(ours.saturating_add(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.n_counted += other.n_counted;
        self.n_not_counted += other.n_not_counted;
        self.n_too_long += other.n_too_long;
        self.met += other.met;
        self.over += other.over;
        self.last_item_us = self.last_item_us.max(other.last_item_us);
    }
}
