//! More machines than one: nodes that share the connections of a cluster through the pub/sub of
//! brokers, Redis or Valkey.
//!
//! A node subscribes every id that is logged in on it, before the client sees its response head,
//! and publishes every message that is sent to it. Nodes share nothing else. Without `--cluster`
//! none of this runs.
//!
//! Read it in this order: `ledger` (which subscription is wanted, and who waits for it),
//! `subscriber` and `publisher` (the two connections to each broker), `send` (a message from the
//! control door on), `publication`, `resp` and `replies`
//! (what is on the wire), `connect`,
//! `stream` and `tls` (how a broker is reached), `nodes` and `polls` (who is there, and how many
//! connections they reached), `options` and `brokers` (the command line), and `health`.

pub mod brokers;
mod connect;
mod health;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod nodes;
mod options;
mod polls;
mod publication;
mod publisher;
mod rendezvous;
mod replies;
mod resp;
mod send;
mod stream;
mod subscriber;
mod tls;

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::brokers::Broker;
pub use self::connect::check;
pub use self::health::ClusterStats;
use self::health::{Counts, Health};
use self::ledger::Ledger;
pub(crate) use self::ledger::{Asked, Ticket};
use self::nodes::Nodes;
pub use self::options::{Options, PASSWORD_VARIABLE};
use self::polls::Polls;
pub(crate) use self::publisher::Failure;
use self::publisher::Publisher;
use self::rendezvous::Rendezvous;
#[cfg(any(test, fuzzing))]
pub(crate) use self::replies::replies_in;
pub use self::tls::Tls;
use crate::router::{Id, Router};
use crate::send::Sender;
use crate::wire::Poller;

/// How long a client waits for the subscription of its ids before it is answered 503: longer than
/// a broker needs to be restarted, shorter than people wait.
pub(crate) const LOGIN_WAIT: Duration = Duration::from_secs(5);

/// How often a node publishes to itself, and asks a silent broker whether it is there.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How often a node tells all others that it is there, besides when it connects: all of them hear
/// it and answer, so it is seldom.
const HELLO_EVERY: Duration = Duration::from_mins(1);

/// After how long without a word from a broker a connection to it is given up, and without a probe
/// the node is no longer healthy.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a node is part of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The brokers. All nodes must name the same ones in the same words.
    pub brokers: Vec<Broker>,
    /// What this node is called in logs and counts.
    pub name: Option<String>,
    /// How TLS is spoken, if any broker wants it.
    pub tls: Option<Tls>,
}

/// What leaves the index, for the brokers to be told.
#[derive(Debug)]
pub(crate) struct Departures {
    /// Which broker an id belongs to.
    rendezvous: Rendezvous,
    /// By broker.
    desks: Box<[Desk]>,
}

/// What there is to do for one broker.
#[derive(Debug, Default)]
struct Desk {
    /// Ids that have left the index.
    ids: Mutex<Vec<Id>>,
    /// Wakes whoever looks after the broker.
    wake: Notify,
}

impl Desk {
    /// The ids that have left the index since the last call.
    fn take(&self) -> Vec<Id> {
        std::mem::take(&mut self.ids.lock().expect("nothing panics while it holds the ids"))
    }
}

impl Departures {
    /// For the brokers of a cluster.
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        let names: Vec<_> = config.brokers.iter().map(Broker::to_string).collect();
        let desks = names.iter().map(|_| Desk::default()).collect();
        Self { rendezvous: Rendezvous::new(&names), desks }
    }

    /// Takes note that `id` has left the index. It is called with a shard locked, and locks
    /// nothing else meanwhile.
    pub(crate) fn left(&self, id: Id) {
        let desk = &self.desks[self.rendezvous.home(id)];
        desk.ids.lock().expect("nothing panics while it holds the ids").push(id);
        desk.wake.notify_one();
    }
}

/// This node's part in the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What this node is called.
    name: String,
    /// What its publications are known by.
    nonce: u64,
    /// The brokers.
    brokers: Vec<Broker>,
    /// How TLS is spoken to those that want it.
    tls: Option<Tls>,
    /// Sends messages of other nodes to the connections of this one.
    sender: Sender,
    /// Who waits for what. Locked before a shard, and never the other way round.
    ledger: Mutex<Ledger<Poller>>,
    /// Wakes whoever accepts, when logins need not wait any longer.
    has_done: Notify,
    /// What leaves the index.
    departures: Arc<Departures>,
    /// Where messages go out, by broker.
    publishers: Box<[Publisher]>,
    /// Requests for exact counts.
    polls: Polls,
    /// Which nodes were heard, by broker.
    nodes: Box<[Nodes]>,
    /// How the brokers are.
    healths: Box<[Health]>,
    /// What was counted.
    counts: Counts,
}

impl Cluster {
    /// The part of a node whose tables are in `router`. The work is done by `tasks`, which never
    /// end.
    pub(crate) fn start(
        config: ClusterConfig,
        departures: Arc<Departures>,
        router: Arc<Router<Poller>>,
        sender: Sender,
        tasks: &mut JoinSet<io::Result<()>>,
    ) -> Arc<Self> {
        let nonce = rand::rng().random();
        let n_links = config.brokers.len();
        let (publishers, posted): (Vec<_>, Vec<_>) =
            config.brokers.iter().map(|_| Publisher::new(nonce)).unzip();
        let cluster = Self {
            name: config.name.unwrap_or_else(|| format!("{nonce:016x}")),
            nonce,
            brokers: config.brokers,
            tls: config.tls,
            sender,
            ledger: Mutex::new(Ledger::new(router, departures.rendezvous.clone(), n_links)),
            has_done: Notify::new(),
            departures,
            publishers: publishers.into(),
            polls: Polls::default(),
            nodes: (0..n_links).map(|_| Nodes::default()).collect(),
            healths: (0..n_links).map(|_| Health::new()).collect(),
            counts: Counts::default(),
        };
        let cluster = Arc::new(cluster);
        for (link, posted) in posted.into_iter().enumerate() {
            let (for_subscriber, for_publisher) = (Arc::clone(&cluster), Arc::clone(&cluster));
            tasks.spawn(async move { subscriber::run(for_subscriber, link).await });
            tasks.spawn(async move { publisher::run(for_publisher, link, posted).await });
        }
        cluster
    }

    /// Asks whether a connection may be logged in as `ids`: see [`Ledger::ask`].
    pub(crate) fn ask(&self, place: usize, ids: &[Id]) -> Asked {
        let asked = self.ledger().ask(place, ids);
        if let Asked::Wait(_) = asked {
            self.wake(ids);
        }
        asked
    }

    /// Ends the wait of a login: see [`Ledger::claim`].
    pub(crate) fn claim(&self, ticket: Ticket) -> Box<[Id]> {
        self.ledger().claim(ticket)
    }

    /// Forgets that a login wants `ids`: see [`Ledger::release`].
    pub(crate) fn release(&self, ids: &[Id]) {
        self.ledger().release(ids);
        self.wake(ids);
    }

    /// Waits until logins need not wait any longer.
    pub(crate) fn acknowledgements(&self) -> impl Future<Output = ()> {
        self.has_done.notified()
    }

    /// These logins, and the places where they are kept.
    pub(crate) fn take_done(&self) -> Vec<(usize, Ticket)> {
        self.ledger().take_done()
    }

    /// Takes note of an acknowledgement: see [`Ledger::acknowledged`].
    fn acknowledged(&self, link: usize, id: Option<Id>) -> Result<(), String> {
        let was_resubscribed = self.ledger().acknowledged(link, id)?;
        self.counts.resubscribed.fetch_add(u64::from(was_resubscribed), Ordering::Relaxed);
        Ok(())
    }

    /// Why this node is no good part of the cluster, if it is not.
    pub(crate) fn complaint(&self) -> Option<String> {
        let mut all = String::new();
        for (broker, health) in self.brokers.iter().zip(&self.healths) {
            if let Some(why) = health.complaint(PATIENCE) {
                let separator = if all.is_empty() { "" } else { "; " };
                write!(all, "{separator}the broker at {broker}: {why}")
                    .expect("a string takes all");
            }
        }
        (!all.is_empty()).then_some(all)
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> ClusterStats {
        let Counts { resubscribed, published, unfollowed, failed, unconfirmed, .. } = &self.counts;
        let Counts { received, echoed, foreign, too_large, ignored, .. } = &self.counts;
        let mut stats = ClusterStats {
            node: self.name.clone(),
            resubscribed: resubscribed.load(Ordering::Relaxed),
            waiting: self.ledger().n_waiting() as u64,
            published: published.load(Ordering::Relaxed),
            unfollowed: unfollowed.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            unconfirmed: unconfirmed.load(Ordering::Relaxed),
            received: received.load(Ordering::Relaxed),
            echoed: echoed.load(Ordering::Relaxed),
            foreign: foreign.load(Ordering::Relaxed),
            too_large: too_large.load(Ordering::Relaxed),
            counts_ignored: ignored.load(Ordering::Relaxed),
            ..ClusterStats::default()
        };
        self.healths.iter().for_each(|health| health.add_to(&mut stats));
        stats
    }

    /// Wakes whoever looks after the brokers of `ids`.
    fn wake(&self, ids: &[Id]) {
        for &id in ids {
            self.departures.desks[self.departures.rendezvous.home(id)].wake.notify_one();
        }
    }

    /// The ledger, for one step.
    fn ledger(&self) -> MutexGuard<'_, Ledger<Poller>> {
        self.ledger.lock().expect("nothing panics while it holds the ledger")
    }
}
