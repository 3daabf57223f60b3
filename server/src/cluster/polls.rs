//! `?count=exact`: how many connections a message reached, on all nodes together.

use crate::sync::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::publication::Nonce;

/// How long the nodes may take to answer. One that is slower has other troubles.
pub(super) const POLL_TIME: Duration = Duration::from_secs(1);

/// The most connections that a node can have reached: no process may have as many open files
/// (`fs.nr_open`). A higher count is none.
const MAX_CONNECTIONS: u64 = 1 << 31;

/// Requests that wait for the counts of other nodes. There are no more of them than connections of
/// the control door.
#[derive(Debug, Default)]
pub(super) struct Polls(Mutex<HashMap<u64, Poll>>);

/// What came in for one request.
#[derive(Debug, Default)]
struct Poll {
    /// Nodes that answered.
    nodes: HashSet<Nonce>,
    /// The connections that they reached: at most [`MAX_CONNECTIONS`] for each node, and few nodes
    /// are known, so that the sum has room.
    n_connections: u64,
    /// Says that another node has answered.
    changed: Arc<Notify>,
}

impl Polls {
    /// Begins a request. Its number is drawn, so that only who hears the question can answer it.
    pub(super) fn open(&self) -> Request<'_> {
        let mut polls = self.lock();
        let mut number = rand::rng().random();
        while polls.contains_key(&number) {
            number = rand::rng().random();
        }
        polls.insert(number, Poll::default());
        Request { polls: self, number }
    }

    /// Takes the answer of a node that is known. Returns whether it counts: not if it comes too
    /// late, or is the second one of this node, or cannot be.
    pub(super) fn answer(&self, number: u64, node: Nonce, n_connections: u64) -> bool {
        let mut polls = self.lock();
        let Some(poll) = polls.get_mut(&number) else { return false };
        if n_connections > MAX_CONNECTIONS {
            return false;
        }
        let Some(sum) = poll.n_connections.checked_add(n_connections) else { return false };
        if !poll.nodes.insert(node) {
            return false;
        }
        poll.n_connections = sum;
        poll.changed.notify_one();
        true
    }

    /// The requests, for one step.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Poll>> {
        self.0.lock()
    }
}

/// A request for an exact count, until it is dropped.
#[derive(Debug)]
pub(super) struct Request<'polls> {
    /// Where answers come in.
    polls: &'polls Polls,
    /// Its number.
    pub(super) number: u64,
}

impl Request<'_> {
    /// Waits until `n_nodes` have answered, or it takes longer than `time`. Returns how many
    /// connections they reached, and whether that is all of them.
    pub(super) async fn wait(&self, n_nodes: u64, time: Duration) -> (u64, bool) {
        let all = async {
            loop {
                let (n_answers, _, changed) = self.so_far();
                if n_answers >= n_nodes {
                    return;
                }
                changed.notified().await;
            }
        };
        // Its result is what `so_far` says afterwards.
        _ = timeout(time, all).await;
        let (n_answers, n_connections, _) = self.so_far();
        // More answers than there are nodes to give them cannot all be true.
        (n_connections, n_answers == n_nodes)
    }

    /// How many nodes have answered, how many connections they reached, and what says that there
    /// are more.
    fn so_far(&self) -> (u64, u64, Arc<Notify>) {
        let polls = self.polls.lock();
        let poll = polls.get(&self.number).expect("it is there until it is dropped");
        (poll.nodes.len() as u64, poll.n_connections, Arc::clone(&poll.changed))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.polls.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_all_nodes_and_no_longer_than_it_may() {
        let polls = Polls::default();
        let (one, other) = (polls.open(), polls.open());
        assert!(polls.answer(one.number, 1, 3) && polls.answer(other.number, 1, 100));
        assert_eq!(one.wait(2, Duration::ZERO).await, (3, false));
        let wait = one.wait(2, Duration::from_secs(20));
        let answer = async { polls.answer(one.number, 2, 4) };
        assert_eq!(tokio::join!(wait, answer), ((7, true), true));
        let number = one.number;
        drop((one, other));
        assert!(polls.lock().is_empty() && !polls.answer(number, 3, 1), "it comes too late");
    }

    #[tokio::test]
    async fn only_the_first_answer_of_a_node_counts_and_only_if_it_can_be() {
        let polls = Polls::default();
        let request = polls.open();
        for n_connections in [u64::MAX, u64::MAX, MAX_CONNECTIONS + 1] {
            assert!(!polls.answer(request.number, 1, n_connections));
        }
        assert!(polls.answer(request.number, 1, 3) && !polls.answer(request.number, 1, 3));
        assert!(!polls.answer(request.number.wrapping_add(1), 2, 5), "nobody asked");
        assert_eq!(request.wait(2, Duration::ZERO).await, (3, false));
        assert!(polls.answer(request.number, 2, MAX_CONNECTIONS));
        assert_eq!(request.wait(2, Duration::ZERO).await, (MAX_CONNECTIONS + 3, true));
        assert!(polls.answer(request.number, 3, 0));
        assert!(!request.wait(2, Duration::ZERO).await.1, "one answer too many");
    }
}
