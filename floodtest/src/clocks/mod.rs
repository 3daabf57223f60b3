//! Times of one machine by the clock of another, and how wrong they may be.
//!
//! Messages are stamped with the time of the host that sends, and received on hosts whose clocks
//! are others. Wall clocks are not asked: they are stepped in mid-run. What is compared are
//! monotonic clocks ([`monotonic`](crate::workers::monotonic)): the parent asks each host what its
//! own says, many times, and each answer bounds their difference whichever way took longer.
//!
//! - this file: a question with its answer
//! - `host`: what the answers of a host say, and how wrong what was made of them has been
//! - `correction`: one clock by another, as it is sent to workers
//! - `origin`: the clock that messages are stamped by
//! - `receipts`: the clock of an engine
//! - `senders`: who sends on a machine, and by which clock
//! - `timing`: what the latencies of a run are worth

pub(crate) mod correction;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod receipts;
pub(crate) mod senders;
pub(crate) mod timing;

/// A question what a host's clock says, with its answer. All are times of `CLOCK_MONOTONIC` in
/// microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "a unit ends a name")]
pub(crate) struct Exchange {
    /// When it was asked, by the parent's clock.
    pub(crate) sent_us: i64,
    /// What the host's clock said.
    pub(crate) there_us: i64,
    /// When the answer came, by the parent's clock.
    pub(crate) received_us: i64,
}
