//! Which ids have left the index, for the brokers to be told.

use std::sync::Mutex;

use tokio::sync::Notify;

use super::brokers::Broker;
use super::config::ClusterConfig;
use super::rendezvous::Rendezvous;
use crate::router::Id;

/// What leaves the index, for the brokers to be told.
#[derive(Debug)]
pub(crate) struct Departures {
    /// Which broker an id belongs to.
    pub(super) rendezvous: Rendezvous,
    /// By broker.
    pub(super) inboxes: Box<[Inbox]>,
}

/// What there is to do for one broker.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Ids that have left the index.
    ids: Mutex<Vec<Id>>,
    /// Wakes whoever looks after the broker.
    pub(super) wake: Notify,
}

impl Inbox {
    /// The ids that have left the index since the last call.
    pub(super) fn take(&self) -> Vec<Id> {
        std::mem::take(&mut self.ids.lock().expect("nothing panics while it holds the ids"))
    }
}

impl Departures {
    /// For the brokers of a cluster.
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        let names: Vec<_> = config.brokers.iter().map(Broker::to_string).collect();
        let inboxes = names.iter().map(|_| Inbox::default()).collect();
        Self { rendezvous: Rendezvous::new(&names), inboxes }
    }

    /// Takes note that `id` has left the index. It is called with a shard locked, and locks
    /// nothing else meanwhile.
    pub(crate) fn left(&self, id: Id) {
        let inbox = self.inbox(id);
        inbox.ids.lock().expect("nothing panics while it holds the ids").push(id);
        inbox.wake.notify_one();
    }
    /// The inbox of the broker that an id belongs to.
    pub(super) fn inbox(&self, id: Id) -> &Inbox {
        &self.inboxes[self.rendezvous.home(id)]
    }
}
