//! What the parts of a running server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use crate::cluster::node::Cluster;
use crate::config::Config;
use crate::control::counts::ControlStats;
use crate::friends::Friends;
use crate::pending::AcceptStats;
use crate::router::Router;
use crate::send::Sender;
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::wire::Poller;

/// What the parts of a running server share.
pub(crate) struct Shared {
    /// How it is run.
    pub(crate) config: Config,
    /// The tables.
    pub(crate) router: Arc<Router<Poller>>,
    /// Sends messages into them.
    pub(crate) sender: Sender,
    /// The other nodes, if there are any.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Who follows whom, if that is stored here.
    pub(crate) friends: Option<Arc<Friends>>,
    /// What was counted before connections were parked.
    accept_stats: Arc<Mutex<AcceptStats>>,
    /// Senders that left in mid-message.
    n_aborted: AtomicU64,
    /// When the server was started.
    started_at: Instant,
    /// Whether it is on its way down.
    is_down: watch::Receiver<bool>,
}

impl Shared {
    /// For a server that is being put together.
    pub(crate) fn new(
        config: Config,
        router: Arc<Router<Poller>>,
        sender: Sender,
        cluster: Option<Arc<Cluster>>,
        friends: Option<Arc<Friends>>,
        accept_stats: Arc<Mutex<AcceptStats>>,
        is_down: watch::Receiver<bool>,
    ) -> Self {
        let n_aborted = AtomicU64::new(0);
        let started_at = Instant::now();
        Self {
            config,
            router,
            sender,
            cluster,
            friends,
            accept_stats,
            n_aborted,
            started_at,
            is_down,
        }
    }

    /// Counts a sender that left in mid-message.
    pub(crate) fn count_aborted(&self) {
        self.n_aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts, with those of the control door.
    pub(crate) fn stats(&self, control: ControlStats) -> Stats {
        let accept = self.accept_stats.lock().clone();
        let n_aborted = self.n_aborted.load(Ordering::Relaxed);
        let is_down = *self.is_down.borrow();
        let uptime = self.started_at.elapsed();
        let cluster = self.cluster.as_ref().map(|cluster| cluster.stats());
        let mut stats =
            Stats::new(&accept, self.router.stats(), n_aborted, is_down, uptime, control, cluster);
        stats.friends = self.friends.as_ref().map(|friends| friends.stats());
        stats
    }

    /// Whether connections are accepted: not while descriptors have run out, nor at the end.
    pub(crate) fn is_accepting(&self) -> bool {
        let accept = self.accept_stats.lock();
        !accept.is_paused && !*self.is_down.borrow()
    }
}
