//! The counts as `GET /stats` shows them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::accept::AcceptStats;
use crate::close::ByReason;
use crate::router::RouterStats;

/// All counts of a server. At every quiet moment `accepted = open + Σ closed`,
/// `messages = void + reached` and `deliveries = written + queued + Σ dropped`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The server's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now: `heads + parked`.
    pub open: u64,
    /// Of these, connections whose request is not complete or whose refusal is not read.
    pub heads: u64,
    /// Of these, connections logged in.
    pub parked: u64,
    /// Different ids logged in now.
    pub ids: u64,
    /// Connections closed since the start, by reason.
    pub closed: BTreeMap<&'static str, u64>,
    /// Messages sent through the control door.
    pub messages: u64,
    /// Of these, messages that reached nobody.
    pub void: u64,
    /// Of these, messages that reached at least one connection.
    pub reached: u64,
    /// Chunks that messages became.
    pub deliveries: u64,
    /// Of these, chunks whose last byte the kernel took.
    pub written: u64,
    /// Of these, chunks that wait in a backlog now.
    pub queued: u64,
    /// Of these, chunks dropped with their connection, by the reason of its close.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Senders that left in mid-message; what they had begun was not sent.
    pub aborted: u64,
}

impl Stats {
    /// Puts the counts together.
    pub(crate) fn new(
        accept: &AcceptStats,
        router: &RouterStats,
        n_aborted: u64,
        uptime: Duration,
    ) -> Self {
        let mut closed = router.closed;
        closed.merge(&accept.closed);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: uptime.as_secs_f64(),
            accepted: accept.accepted,
            open: accept.heads + router.parked,
            heads: accept.heads,
            parked: router.parked,
            ids: router.ids,
            closed: by_name(&closed),
            messages: router.messages,
            void: router.void,
            reached: router.reached,
            deliveries: router.deliveries,
            written: router.written,
            queued: router.queued,
            dropped: by_name(&router.dropped),
            aborted: n_aborted,
        }
    }
}

/// The counted reasons under their names.
fn by_name(counts: &ByReason) -> BTreeMap<&'static str, u64> {
    counts.nonzero().map(|(reason, n)| (reason.name(), n)).collect()
}
