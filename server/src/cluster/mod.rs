//! More machines than one: nodes that share the connections of a cluster through the pub/sub of
//! brokers, Redis or Valkey.
//!
//! A node subscribes every id that is logged in on it, before the client sees its response head,
//! and publishes every message that is sent to it. Nodes share nothing else. Without `--cluster`
//! none of this runs.
//!
//! Read it in this order: `ledger` (which subscription is wanted, and who waits for it), `node`
//! (what all parts share), `subscriber` and `publisher` (the two connections to each broker),
//! `send` and `jobs` (a message from the control door to them), `publication`, `resp` and
//! `replies` (what is on the wire), `connect`, `stream` and `tls` (how a broker is reached),
//! `nodes` and `polls` (who is there, and how many connections they reached), `options` and
//! `brokers` (the command line), and `health`.

pub mod brokers;
pub(crate) mod config;
mod connect;
pub(crate) mod departures;
pub(crate) mod health;
mod jobs;
pub(crate) mod ledger;
#[cfg(test)]
mod ledger_tests;
pub(crate) mod node;
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
pub(crate) mod timing;
mod tls;

use std::io;
use std::sync::Arc;

use tokio::task::JoinSet;

pub use self::config::ClusterConfig;
pub use self::connect::check;
use self::departures::Departures;
pub use self::health::ClusterStats;
use self::node::Cluster;
pub use self::options::{Options, PASSWORD_VARIABLE};
#[cfg(any(test, fuzzing))]
pub(crate) use self::replies::replies_in;
pub use self::tls::Tls;
use crate::router::Router;
use crate::send::Sender;
use crate::wire::Poller;

/// Makes a server whose tables are in `router` a node. Two of `tasks` for each broker do the work,
/// and never end.
pub(crate) fn start(
    config: ClusterConfig,
    departures: Arc<Departures>,
    router: Arc<Router<Poller>>,
    sender: Sender,
    tasks: &mut JoinSet<io::Result<()>>,
) -> Arc<Cluster> {
    let (cluster, posted) = Cluster::new(config, departures, router, sender);
    let cluster = Arc::new(cluster);
    for (number, posted) in posted.into_iter().enumerate() {
        let (for_subscriber, for_publisher) = (Arc::clone(&cluster), Arc::clone(&cluster));
        tasks.spawn(async move { subscriber::run(for_subscriber, number).await });
        tasks.spawn(async move { publisher::run(for_publisher, number, posted).await });
    }
    cluster
}
