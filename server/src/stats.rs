//! The counts as `GET /stats` shows them.

use std::time::Duration;

use serde::Serialize;

use crate::cluster::health::ClusterStats;
use crate::control::counts::ControlStats;
use crate::pending::AcceptStats;
use crate::router::RouterStats;

/// All counts of a server. At every quiet moment `accepted = open + Σ closed`, and the router's
/// identities hold.
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
    /// Of these, connections whose request is not complete or whose answer is not read.
    pub heads: u64,
    /// Whether connections are accepted: not while descriptors have run out, nor at the end.
    pub accepting: bool,
    /// Senders that left in mid-message; what they had begun was not sent.
    pub aborted: u64,
    /// What happened at the control door.
    pub control: ControlStats,
    /// What became of connections and messages; its `closed` counts those that were never parked
    /// as well.
    #[serde(flatten)]
    pub router: RouterStats,
    /// What happened in the cluster, if this is a node of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStats>,
}

impl Stats {
    /// Puts the counts together.
    pub(crate) fn new(
        accept: &AcceptStats,
        mut router: RouterStats,
        n_aborted: u64,
        is_down: bool,
        uptime: Duration,
        control: ControlStats,
        cluster: Option<ClusterStats>,
    ) -> Self {
        router.closed.merge(&accept.closed);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: uptime.as_secs_f64(),
            accepted: accept.accepted,
            open: accept.pending + router.parked,
            heads: accept.pending,
            accepting: !accept.is_paused && !is_down,
            aborted: n_aborted,
            control,
            router,
            cluster,
        }
    }
}
