//! Which nodes there are at a broker, as far as they were heard.

use crate::sync::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::publication::Nonce;
use super::timing::HELLO_EVERY;

/// Nodes whose answers to `?count=exact` are taken, at 40 bytes each.
const MAX_NODES: usize = 1_024;

/// How long a node that is silent keeps its place when there is no room: as long as it takes to say
/// three times that it is there.
const PLACE_KEPT: Duration = HELLO_EVERY.saturating_mul(3);

/// Nodes that were heard at one broker.
///
/// A node says that it is there when it connects, and then seldom, in a channel that all nodes
/// subscribe; those who hear it answer in its own channel before they publish anything else. As the
/// broker keeps the order of what a node publishes, both know of each other before one of them can
/// get a count from the other.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<HashMap<Nonce, Instant>>);

impl Nodes {
    /// Takes note that `node` is there. Without room those that have been silent for long are
    /// forgotten; if there is none even so, it stays unknown, so that nobody can push out nodes
    /// that are there.
    pub(super) fn heard(&self, node: Nonce, now: Instant) {
        let mut nodes = self.lock();
        if nodes.len() >= MAX_NODES && !nodes.contains_key(&node) {
            nodes.retain(|_, heard_at| now.duration_since(*heard_at) <= PLACE_KEPT);
            if nodes.len() >= MAX_NODES {
                return;
            }
        }
        nodes.insert(node, now);
    }

    /// Whether `node` was heard.
    pub(super) fn is_known(&self, node: Nonce) -> bool {
        self.lock().contains_key(&node)
    }

    /// The nodes, for one look.
    fn lock(&self) -> MutexGuard<'_, HashMap<Nonce, Instant>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pushes_out_nodes_that_are_there() {
        let (nodes, now) = (Nodes::default(), Instant::now());
        nodes.heard(7, now);
        assert!(nodes.is_known(7) && !nodes.is_known(8));
        for forged in 0..10 * MAX_NODES as u64 {
            nodes.heard(1_000 + forged, now);
        }
        assert_eq!(nodes.lock().len(), MAX_NODES);
        nodes.heard(8, now + PLACE_KEPT);
        assert!(!nodes.is_known(8));
        let later = now + 2 * PLACE_KEPT;
        nodes.heard(7, later);
        nodes.heard(8, later);
        assert!(nodes.is_known(7) && nodes.is_known(8));
        assert_eq!(nodes.lock().len(), 2, "those that are silent make room");
    }
}
