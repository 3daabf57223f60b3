//! A Comet server whose idle connections cost a row in a table.
//!
//! `GET /test/{id}` opens an endless response; `POST /send/{id}` at the control door sends a
//! message to every connection that is logged in as that id, as one chunk.
//!
//! Read it in this order: [`router`] (the tables, and all that happens to a parked connection),
//! `wire` (sockets and epoll under it), `accept`, `pending`, `request` and `strict` (from a new
//! connection to a parked one), `control`, `ndjson` and `send` (from a message to the router), and
//! this file (how they are put together and taken down). [`cluster`] joins several servers.
//!
//! There is no task and no buffer for an idle connection: only its row.

mod accept;
mod addresses;
pub mod allocator;
mod answer;
pub mod args;
pub mod close;
pub mod cluster;
mod control;
#[cfg(test)]
mod fake_wire;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzz_properties;
pub mod limits;
mod lines;
pub mod logging;
mod logout;
#[cfg(test)]
mod malformed;
mod metrics;
#[cfg(test)]
mod model_tests;
mod ndjson;
mod overload;
mod page;
mod pending;
mod ping;
mod request;
pub mod router;
mod send;
mod stats;
mod strict;
mod sync;
mod token;
mod wire;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::accept::Acceptor;
use self::addresses::Addresses;
use self::close::CloseReason;
use self::cluster::{Cluster, ClusterConfig, Departures};
use self::control::ControlApi;
pub use self::control::{ByStatus, ControlStats};
use self::pending::{AcceptStats, Pending, PendingLimits};
use self::router::{Limits, Router};
use self::send::Sender;
pub use self::stats::Stats;
use self::sync::Mutex;
use self::wire::Poller;

/// Bytes that a connection may send after its request before it is closed as chatty: a page of
/// anything, and no traffic.
const CHATTY_BYTES: usize = 64 * 1024;

/// Room for reading what connections send after their requests; it is dropped.
const DROP_BYTES: usize = 16 * 1024;

/// What one reader may be behind.
const DEFAULT_BACKLOG_BYTES: usize = 64 * 1024;

/// What all backlogs together may take: a thousand readers that are as far behind as one may be.
const DEFAULT_BACKLOG_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// Ids of all connections together: what a million connections need with one each. As further ids of
/// few connections they take 52 to 60 MB.
const DEFAULT_MAX_IDS: u64 = 1 << 20;

/// How often a drain looks whether all connections are gone.
const DRAIN_TICK: Duration = Duration::from_millis(5);

/// How the server is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads, and shards of the tables.
    pub threads: NonZeroUsize,
    /// Connections held at a time; one more is answered 503.
    pub max_connections: u64,
    /// Connections held at a time from one IPv4 address or IPv6 /64 network, if there is a limit;
    /// one more is answered 429.
    pub max_connections_per_ip: Option<NonZeroU64>,
    /// Connections of the control door at a time. Of one in ten the place is for newcomers.
    pub max_control_connections: usize,
    /// Refused connections that may take their time to read why, beyond `max_connections`.
    pub max_lingering: usize,
    /// How long a request may take from accept to its last byte, and the first one of a control
    /// connection to its head's.
    pub head_timeout: Duration,
    /// Bytes that may wait for one connection.
    pub backlog_bytes: usize,
    /// Bytes of memory that all backlogs together may take.
    pub backlog_total_bytes: usize,
    /// Ids that all connections together may follow; a request with more than are left is answered
    /// 503.
    pub max_ids: u64,
    /// How often an event stream gets a comment, if ever.
    pub ping: Option<Duration>,
    /// How long a shutdown may take.
    pub grace: Duration,
    /// What senders must show at the control door, if anything.
    pub control_token: Option<String>,
    /// Names that requests to the control door may have as their `Host`, if there is no token.
    pub control_hosts: Vec<String>,
    /// How this server is a node of a cluster, if it is.
    pub cluster: Option<ClusterConfig>,
}

impl Config {
    /// The configuration for `n_descriptors` open files, everything else at its default.
    pub fn with_descriptors(n_descriptors: u64) -> Self {
        let split = limits::Descriptors::split(n_descriptors);
        Self {
            threads: limits::DEFAULT_THREADS,
            max_connections: split.connections,
            max_connections_per_ip: None,
            max_control_connections: split.control,
            max_lingering: split.lingering,
            head_timeout: Duration::from_secs(10),
            backlog_bytes: DEFAULT_BACKLOG_BYTES,
            backlog_total_bytes: DEFAULT_BACKLOG_TOTAL_BYTES,
            max_ids: DEFAULT_MAX_IDS.max(split.connections),
            ping: None,
            grace: Duration::from_secs(5),
            control_token: None,
            control_hosts: Vec::new(),
            cluster: None,
        }
    }
}

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
    /// What the connections of the control door share.
    pub(crate) control_api: ControlApi,
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
    /// Counts a sender that left in mid-message.
    pub(crate) fn count_aborted(&self) {
        self.n_aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts.
    pub(crate) fn stats(&self) -> Stats {
        let accept = self.accept_stats.lock().clone();
        let n_aborted = self.n_aborted.load(Ordering::Relaxed);
        let is_down = *self.is_down.borrow();
        let uptime = self.started_at.elapsed();
        let control = self.control_api.stats();
        let cluster = self.cluster.as_ref().map(|cluster| cluster.stats());
        Stats::new(&accept, self.router.stats(), n_aborted, is_down, uptime, control, cluster)
    }

    /// Whether connections are accepted: not while descriptors have run out, nor at the end.
    pub(crate) fn is_accepting(&self) -> bool {
        let accept = self.accept_stats.lock();
        !accept.is_paused && !*self.is_down.borrow()
    }
}

/// A runtime for [`serve`] with the configured number of threads.
///
/// One thread gets the single-threaded runtime: it sends a message without waking another thread,
/// which at low rates is half of the cost.
pub fn runtime(config: &Config) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match config.threads.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        n => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(n);
            builder
        }
    };
    builder.enable_io().enable_time().build()
}

/// Serves connections on `listeners` and messages on `control` until `shutdown` resolves; then
/// gives every connection its last chunk and returns the final counts. To be run on a
/// [`runtime`] for the same configuration.
pub async fn serve(
    config: Config,
    listeners: Vec<TcpListener>,
    control: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<Stats> {
    Running::start(config, listeners, control)?.run_until(shutdown).await
}

/// A running server.
struct Running {
    /// What its parts share.
    shared: Arc<Shared>,
    /// Tells all parts that it goes down.
    go_down: watch::Sender<bool>,
    /// Accepts connections.
    accepting: JoinHandle<io::Result<()>>,
    /// Serves the control door.
    controlling: JoinHandle<()>,
    /// Everything else; none of it ends by itself.
    tasks: JoinSet<io::Result<()>>,
}

impl Running {
    /// Starts it. To be called on its runtime.
    fn start(
        config: Config,
        listeners: Vec<TcpListener>,
        control: TcpListener,
    ) -> io::Result<Self> {
        let (go_down, is_down) = watch::channel(false);
        let addresses = config
            .max_connections_per_ip
            .map(|limit| Arc::new(Addresses::new(limit, limits::ids_per_ip(&config, limit))));
        let departures = config.cluster.as_ref().map(|cluster| Arc::new(Departures::new(cluster)));
        let poller = |_| Poller::for_shard(addresses.clone(), departures.clone());
        let pollers = (0..config.threads.get()).map(poller);
        let pollers = pollers.collect::<Result<Vec<_>, _>>()?;
        let waiters = pollers.iter().map(Poller::waiter).collect::<Result<Vec<_>, _>>()?;
        let limits = Limits {
            backlog_bytes: config.backlog_bytes,
            backlog_total_bytes: config.backlog_total_bytes,
            chatty_bytes: CHATTY_BYTES,
            max_ids: config.max_ids,
        };
        let router = Arc::new(Router::new(pollers, rand::rng().random(), limits));
        let sender = Sender::new(Arc::clone(&router));
        let mut tasks = JoinSet::new();
        let cluster = config.cluster.clone().zip(departures).map(|(config, departures)| {
            Cluster::start(config, departures, Arc::clone(&router), sender.clone(), &mut tasks)
        });
        let accept_stats = Arc::new(Mutex::new(AcceptStats::default()));
        let limits = PendingLimits {
            max_connections: config.max_connections,
            max_lingering: config.max_lingering,
            timeout: config.head_timeout,
        };
        let pending = Pending::new(
            Arc::clone(&router),
            limits,
            Arc::clone(&accept_stats),
            addresses.clone(),
            cluster.clone(),
        )?;
        let acceptor = Acceptor::new(listeners, pending, addresses)?;
        let spares = control::Spares::open();
        control.set_nonblocking(true)?;
        let control = tokio::net::TcpListener::from_std(control)?;
        let control_api = ControlApi::new(&config, &control, spares)?;
        let shared = Arc::new(Shared {
            config,
            sender,
            router,
            cluster,
            control_api,
            accept_stats,
            n_aborted: AtomicU64::new(0),
            started_at: Instant::now(),
            is_down: is_down.clone(),
        });

        let accepting = tokio::spawn(acceptor.run(is_down.clone()));
        for (shard, poller) in waiters.into_iter().enumerate() {
            tasks.spawn(run_poller(poller, shard, Arc::clone(&shared.router)));
        }
        if let Some(every) = shared.config.ping {
            let router = Arc::clone(&shared.router);
            tasks.spawn(async move { ping::run(router, every).await });
        }
        let controlling = tokio::spawn(control::run(control, Arc::clone(&shared), is_down));
        Ok(Self { shared, go_down, accepting, controlling, tasks })
    }

    /// Serves until `shutdown` resolves, then ends.
    async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> io::Result<Stats> {
        tokio::select! {
            biased;
            // First, as it says more than the end of a task that met the same.
            () = sync::poisoned() => return Err(half_changed()),
            // None of these ends by itself, except by an error of epoll or a panic.
            ended = &mut self.accepting => return Err(ended_early(ended)),
            Some(ended) = self.tasks.join_next() => return Err(ended_early(ended)),
            () = shutdown => {}
        }
        let deadline = limits::deadline(self.shared.config.grace);
        self.go_down.send_replace(true);
        self.accepting.await??;
        drain(&self.shared.router, deadline).await;
        // Requests in progress at the control door have what is left of the time.
        _ = tokio::time::timeout_at(deadline.into(), self.controlling).await;
        Ok(self.shared.stats())
    }
}

/// Waits for the events of one shard and hands them to the router.
async fn run_poller(
    poller: AsyncFd<Poller>,
    shard: usize,
    router: Arc<Router<Poller>>,
) -> io::Result<()> {
    let mut events = Vec::new();
    let mut scratch = vec![0; DROP_BYTES].into_boxed_slice();
    loop {
        let mut guard = poller.readable().await?;
        poller.get_ref().poll(&mut events)?;
        if events.is_empty() {
            guard.clear_ready();
            continue;
        }
        router.on_events(shard, &events, &mut scratch);
        tokio::task::yield_now().await;
    }
}

/// Gives every connection its last chunk, in slices, and waits until the slow ones have taken it
/// or time is up.
async fn drain(router: &Router<Poller>, deadline: Instant) {
    for shard in 0..router.n_shards() {
        let mut next = Some(0);
        while let Some(slot) = next {
            next = router.end_slice(shard, slot, CloseReason::Shutdown);
            tokio::task::yield_now().await;
        }
    }
    while router.n_parked() > 0 && Instant::now() < deadline {
        tokio::time::sleep(DRAIN_TICK).await;
    }
}

/// Waits until the server is told to go down, or nobody is left to tell it.
pub(crate) async fn went_down(is_down: &mut watch::Receiver<bool>) {
    _ = is_down.wait_for(|&is_down| is_down).await;
}

/// The error after which no count and no table can be trusted.
fn half_changed() -> io::Error {
    io::Error::other(
        "a panic has left its tables half changed, so it ends rather than lose messages in \
         silence; start it again, and report what the panic said",
    )
}

/// The error of a task that ended though nobody asked it to.
fn ended_early(ended: Result<io::Result<()>, tokio::task::JoinError>) -> io::Error {
    match ended {
        Ok(Ok(())) => io::Error::other("a task ended too early"),
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_panic_that_leaves_a_table_half_changed_ends_the_server_with_a_sentence() {
        for n_threads in [1, 2] {
            let threads = NonZeroUsize::new(n_threads).unwrap();
            let config = Config { threads, ..Config::with_descriptors(256) };
            let runtime = runtime(&config).unwrap();
            let error = runtime.block_on(async {
                let at = "127.0.0.1:0".parse().unwrap();
                let (listener, control) =
                    (limits::listen(at).unwrap(), limits::listen(at).unwrap());
                let public = listener.local_addr().unwrap();
                let running = Running::start(config, vec![listener], control).unwrap();
                let router = Arc::clone(&running.shared.router);
                let panicking = std::thread::spawn(move || {
                    let mut client = std::net::TcpStream::connect(public).unwrap();
                    client.write_all(b"GET /test/7 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                    client.read_exact(&mut [0; 12]).unwrap();
                    // The lock of a shard is held while its ids are shown.
                    let show = |shard| _ = router.ids_slice(shard, 0, |_| panic!("provoked"));
                    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        (0..router.n_shards()).for_each(show);
                    }));
                    assert!(panicked.is_err());
                    // Who connects next, or sends, or leaves, meets what is left.
                    drop(client);
                });
                let ended = running.run_until(std::future::pending()).await;
                panicking.join().unwrap();
                ended.unwrap_err()
            });
            assert!(error.to_string().contains("half changed"), "{error}");
        }
    }
}
