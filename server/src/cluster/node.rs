//! This node: what the connections to its brokers, its logins and its senders share.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt as _;
use tokio::sync::{Notify, mpsc};

use super::brokers::Broker;
use super::config::ClusterConfig;
use super::departures::Departures;
use super::health::{ClusterStats, Counts, Health};
use super::jobs::{Posted, Publisher};
use super::ledger::{Asked, Ledger, Ticket};
use super::nodes::Nodes;
use super::polls::Polls;
use super::timing::PATIENCE;
use super::tls::Tls;
use crate::router::{Id, Router};
use crate::send::Sender;
use crate::wire::Poller;

/// This node's part in the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What this node is called.
    pub(super) name: String,
    /// What its publications are known by.
    pub(super) nonce: u64,
    /// The brokers.
    pub(super) brokers: Vec<Broker>,
    /// How TLS is spoken to those that want it.
    pub(super) tls: Option<Tls>,
    /// Sends messages of other nodes to the connections of this one.
    pub(super) sender: Sender,
    /// Who waits for what. Locked before a shard, and never the other way round.
    pub(super) ledger: Mutex<Ledger<Poller>>,
    /// Wakes whoever accepts, when logins need not wait any longer.
    pub(super) has_done: Notify,
    /// What leaves the index.
    pub(super) departures: Arc<Departures>,
    /// Where messages go out, by broker.
    pub(super) publishers: Box<[Publisher]>,
    /// Requests for exact counts.
    pub(super) polls: Polls,
    /// Which nodes were heard, by broker.
    pub(super) nodes: Box<[Nodes]>,
    /// How the brokers are.
    pub(super) healths: Box<[Health]>,
    /// What was counted.
    pub(super) counts: Counts,
}

impl Cluster {
    /// The part of a node whose tables are in `router`, and for each broker where its jobs come
    /// out.
    pub(super) fn new(
        config: ClusterConfig,
        departures: Arc<Departures>,
        router: Arc<Router<Poller>>,
        sender: Sender,
    ) -> (Self, Vec<mpsc::Receiver<Posted>>) {
        let nonce = rand::rng().random();
        let n_brokers = config.brokers.len();
        let (publishers, posted): (Vec<_>, Vec<_>) =
            config.brokers.iter().map(|_| Publisher::new(nonce)).unzip();
        let cluster = Self {
            name: config.name.unwrap_or_else(|| format!("{nonce:016x}")),
            nonce,
            brokers: config.brokers,
            tls: config.tls,
            sender,
            ledger: Mutex::new(Ledger::new(router, departures.rendezvous.clone(), n_brokers)),
            has_done: Notify::new(),
            departures,
            publishers: publishers.into(),
            polls: Polls::default(),
            nodes: (0..n_brokers).map(|_| Nodes::default()).collect(),
            healths: (0..n_brokers).map(|_| Health::new()).collect(),
            counts: Counts::default(),
        };
        (cluster, posted)
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
    pub(super) fn acknowledged(&self, broker: usize, id: Option<Id>) -> Result<(), String> {
        let was_resubscribed = self.ledger().acknowledged(broker, id)?;
        self.counts.resubscribed.fetch_add(u64::from(was_resubscribed), Ordering::Relaxed);
        Ok(())
    }

    /// Why this node is not healthy as a part of the cluster, if it is not.
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
            self.departures.inbox(id).wake.notify_one();
        }
    }

    /// The ledger, for one step.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger<Poller>> {
        self.ledger.lock().expect("nothing panics while it holds the ledger")
    }
}
