//! What the connections of the control door share.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::counts::ControlCounts;
use super::guard::Guard;
use super::places::Places;
use super::room::Pool;
use super::spares::Spares;
use crate::shared::Shared;
use crate::stats::Stats;

/// What the connections of the door share.
pub(crate) struct ControlApi {
    /// The server that they are about.
    pub(super) shared: Arc<Shared>,
    /// Who is let in.
    pub(super) guard: Guard,
    /// Who may stay.
    pub(super) places: Places,
    /// Room for requests and answers.
    pub(super) pool: Pool,
    /// What is counted.
    pub(super) counts: Arc<ControlCounts>,
    /// Descriptors for connections that come when there are no others.
    pub(super) spares: Spares,
    /// Wakes whoever waits for a connection to leave.
    pub(super) has_left: Notify,
}

impl ControlApi {
    /// The control door of a server, at a listener.
    pub(crate) fn new(listener: &TcpListener, shared: Arc<Shared>) -> io::Result<Self> {
        let config = &shared.config;
        let bound_to = listener.local_addr()?.ip();
        let hosts = config.control_hosts.clone();
        let counts = Arc::<ControlCounts>::default();
        let n_connections = config.max_control_connections;
        let places = Places::new(n_connections, config.head_timeout, Arc::clone(&counts));
        let guard = Guard::new(config.control_token.clone(), hosts, bound_to);
        let (pool, spares, has_left) = (Pool::default(), Spares::open(), Notify::new());
        Ok(Self { shared, guard, places, pool, counts, spares, has_left })
    }

    /// All counts of the server, with those of the control door.
    pub(crate) fn stats(&self) -> Stats {
        self.shared.stats(self.counts.stats(self.places.n_taken()))
    }

    /// Tells those to go whose time is up, and frees room that nobody needs.
    pub(super) fn sweep(&self) {
        self.places.sweep();
        self.pool.trim();
    }
}
