//! How the parts of a server are put together, run and taken down.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::accept::Acceptor;
use crate::addresses::Addresses;
use crate::close::CloseReason;
use crate::cluster::departures::Departures;
use crate::config::Config;
use crate::control::api::ControlApi;
use crate::friends::Friends;
use crate::limits::{self, CHATTY_BYTES};
use crate::pending::{AcceptStats, Pending, PendingLimits};
use crate::router::{Limits, Presence, Router};
use crate::send::Sender;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::sweep::FORGIVE_EVERY;
use crate::sync::{self, Mutex};
use crate::wire::Poller;
use crate::{cluster, control, sweep};

/// Room for reading what connections send after their requests; it is dropped.
const DROP_BYTES: usize = 16 * 1024;

/// How often a drain looks whether all connections are gone.
const DRAIN_TICK: Duration = Duration::from_millis(5);

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
    /// The control door, for its counts.
    control_api: Arc<ControlApi>,
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
            .map(|limit| Arc::new(Addresses::new(limit, config.ids_per_ip(limit))));
        let departures = config.cluster.as_ref().map(|cluster| Arc::new(Departures::new(cluster)));
        let (router, pollers) = open_router(&config, addresses.as_ref(), departures.as_ref())?;
        let sender = Sender::new(Arc::clone(&router));
        let friends = start_friends(&config, &router)?;
        let mut tasks = JoinSet::new();
        let cluster = config.cluster.clone().zip(departures).map(|(config, departures)| {
            cluster::start(config, departures, Arc::clone(&router), sender.clone(), &mut tasks)
        });

        let accept_stats = Arc::new(Mutex::new(AcceptStats::default()));
        let limits = PendingLimits {
            max_connections: config.max_connections,
            max_lingering: config.max_lingering,
            timeout: config.head_timeout,
        };
        let counted = Arc::clone(&accept_stats);
        let (accepted, nodes) = (addresses.clone(), cluster.clone());
        let pending = Pending::new(Arc::clone(&router), limits, counted, accepted, nodes)?;
        let acceptor = Acceptor::new(listeners, pending, addresses)?;

        let is_down_too = is_down.clone();
        let shared =
            Shared::new(config, router, sender, cluster, friends, accept_stats, is_down_too);
        let shared = Arc::new(shared);
        control.set_nonblocking(true)?;
        let control = tokio::net::TcpListener::from_std(control)?;
        let control_api = Arc::new(ControlApi::new(&control, Arc::clone(&shared))?);

        // Nothing can fail any longer, so that no task runs for a server that did not start. (Those
        // of the cluster end with `tasks`.)
        let accepting = tokio::spawn(acceptor.run(is_down.clone()));
        spawn_pollers(pollers, &shared, &mut tasks);
        let controlling = tokio::spawn(control::run(control, Arc::clone(&control_api), is_down));
        Ok(Self { shared, control_api, go_down, accepting, controlling, tasks })
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
        // The listeners are closed before connections are ended: one that came in behind the drain
        // would never be told. The control door goes last, as requests there reach connections
        // that are being drained.
        let deadline = limits::deadline(self.shared.config.grace);
        self.go_down.send_replace(true);
        self.accepting.await??;
        drain(&self.shared.router, deadline).await;
        // Requests in progress at the control door have what is left of the time.
        _ = tokio::time::timeout_at(deadline.into(), self.controlling).await;
        Ok(self.control_api.stats())
    }
}

/// The tables, with a poller for each shard, and what waits for the events of each.
#[expect(clippy::type_complexity, reason = "two lists that belong together")]
fn open_router(
    config: &Config,
    addresses: Option<&Arc<Addresses>>,
    departures: Option<&Arc<Departures>>,
) -> io::Result<(Arc<Router<Poller>>, Vec<AsyncFd<Poller>>)> {
    let poller = |_| Poller::for_shard(addresses.cloned(), departures.cloned());
    let pollers = (0..config.threads.get()).map(poller);
    let pollers = pollers.collect::<Result<Vec<_>, _>>()?;
    // The router owns the pollers, under its locks; a task waits for the same epoll instance
    // without a lock.
    let waiters = pollers.iter().map(Poller::waiter).collect::<Result<Vec<_>, _>>()?;
    let limits = Limits {
        backlog_bytes: config.backlog_bytes,
        backlog_total_bytes: config.backlog_total_bytes,
        chatty_bytes: CHATTY_BYTES,
        max_ids: config.max_ids,
    };
    Ok((Arc::new(Router::new(pollers, rand::rng().random(), limits)), waiters))
}

/// Starts the store of friends, if there is one. The router tells it who is logged in.
fn start_friends(config: &Config, router: &Router<Poller>) -> io::Result<Option<Arc<Friends>>> {
    let Some(store) = config.friends.clone() else { return Ok(None) };
    let presence = Arc::new(Presence::new(config.max_ids, rand::rng().random()));
    router.tell(&presence);
    Friends::start(store, presence).map(|friends| Some(Arc::new(friends)))
}

/// Starts what happens to parked connections by itself: events of their sockets, and sweeps.
fn spawn_pollers(
    pollers: Vec<AsyncFd<Poller>>,
    shared: &Shared,
    tasks: &mut JoinSet<io::Result<()>>,
) {
    for (shard, poller) in pollers.into_iter().enumerate() {
        tasks.spawn(run_poller(poller, shard, Arc::clone(&shared.router)));
    }
    let mut spawn_sweep = |every, pings, forgives| {
        let router = Arc::clone(&shared.router);
        tasks.spawn(async move { sweep::run(router, every, pings, forgives).await });
    };
    let ping = shared.config.ping;
    let is_rare = ping.is_none_or(|every| every > FORGIVE_EVERY);
    if let Some(every) = ping {
        spawn_sweep(every, true, !is_rare);
    }
    if is_rare {
        spawn_sweep(FORGIVE_EVERY, false, true);
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
    use std::num::NonZeroUsize;

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
