//! Which nodes there are at a broker, as far as they were heard.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::publication::Nonce;

/// Nodes whose answers to `?count=exact` are taken, at 40 bytes each. All of them hear each other's
/// probes, every two seconds, so a cluster has other troubles long before.
const MAX_NODES: usize = 1_024;

/// Nodes that were heard at one broker.
///
/// A node says that it is there with every probe, in a channel that all nodes subscribe. One that
/// hears another for the first time sends a probe at once: so the newcomer has heard of it before
/// it can get an answer from it, as the broker keeps the order of what a node publishes.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<HashMap<Nonce, Instant>>);

impl Nodes {
    /// Takes note of a probe of `node`; whether it is a new one. Those that have not been heard for
    /// `patience` are forgotten when there is no room; if there is none even so, it stays unknown,
    /// so that nobody can push out nodes that are there.
    pub(super) fn heard(&self, node: Nonce, now: Instant, patience: Duration) -> bool {
        let mut nodes = self.lock();
        if let Some(heard_at) = nodes.get_mut(&node) {
            *heard_at = now;
            return false;
        }
        if nodes.len() == MAX_NODES {
            nodes.retain(|_, heard_at| now.duration_since(*heard_at) <= patience);
        }
        if nodes.len() == MAX_NODES {
            return false;
        }
        nodes.insert(node, now);
        true
    }

    /// Whether `node` was heard.
    pub(super) fn is_known(&self, node: Nonce) -> bool {
        self.lock().contains_key(&node)
    }

    /// The nodes, for one look.
    fn lock(&self) -> MutexGuard<'_, HashMap<Nonce, Instant>> {
        self.0.lock().expect("nothing panics while it holds the nodes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_new_once_and_nobody_pushes_out_those_that_are_there() {
        let (nodes, now, patience) = (Nodes::default(), Instant::now(), Duration::from_secs(8));
        assert!(nodes.heard(7, now, patience) && !nodes.heard(7, now, patience));
        assert!(nodes.is_known(7) && !nodes.is_known(8));
        for forged in 0..10 * MAX_NODES as u64 {
            nodes.heard(1_000 + forged, now, patience);
        }
        assert_eq!(nodes.lock().len(), MAX_NODES);
        assert!(!nodes.heard(8, now + patience, patience) && !nodes.is_known(8));
        let later = now + 2 * patience;
        nodes.heard(7, later, patience);
        assert!(nodes.heard(8, later, patience) && nodes.is_known(7));
        assert_eq!(nodes.lock().len(), 2, "those that are silent make room");
    }
}
