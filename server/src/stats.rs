//! The counts as `GET /stats` shows them.

use std::time::Duration;

use serde::Serialize;

use crate::cluster::health::ClusterStats;
use crate::control::counts::ControlStats;
use crate::friends::FriendsStats;
use crate::pending::AcceptStats;
use crate::router::RouterStats;

/// All counts of a server, under the names that `/metrics` has as well: there they begin with
/// `comet_`, the names of the parts with the part's, and they end in what Prometheus asks for
/// (`_total`, `_seconds`). At every quiet moment
/// `connections_accepted = connections_open + Σ connections_closed`, and the router's identities
/// hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The server's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Connections accepted since the start.
    pub connections_accepted: u64,
    /// Connections open now: `connections_pending + connections_parked`.
    pub connections_open: u64,
    /// Of these, connections whose request is not complete or whose answer is not read.
    pub connections_pending: u64,
    /// Whether connections are accepted: not while descriptors have run out, nor at the end.
    pub accepting: bool,
    /// Senders that left in mid-message; what they had begun was not sent.
    pub messages_aborted: u64,
    /// What happened at the control door.
    pub control: ControlStats,
    /// What became of connections and messages; its `connections_closed` counts those that were
    /// never parked as well.
    #[serde(flatten)]
    pub router: RouterStats,
    /// What happened in the cluster, if this is a node of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStats>,
    /// What happened to the store of friends, if there is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub friends: Option<FriendsStats>,
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
        router.connections_closed.merge(&accept.closed);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: uptime.as_secs_f64(),
            connections_accepted: accept.accepted,
            connections_open: accept.pending + router.connections_parked,
            connections_pending: accept.pending,
            accepting: !accept.is_paused && !is_down,
            messages_aborted: n_aborted,
            control,
            router,
            cluster,
            friends: None,
        }
    }
}
