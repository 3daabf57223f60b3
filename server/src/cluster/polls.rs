//! `?count=exact`: how many connections a message reached, on all nodes together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long the nodes may take to answer. One that is slower has other troubles.
pub(super) const POLL_TIME: Duration = Duration::from_secs(1);

/// Requests that wait for the counts of other nodes. There are no more of them than connections of
/// the control door.
#[derive(Debug, Default)]
pub(super) struct Polls(Mutex<State>);

/// The same.
#[derive(Debug, Default)]
struct State {
    /// By number.
    open: HashMap<u64, Poll>,
    /// The next number.
    next: u64,
}

/// What came in for one request.
#[derive(Debug, Default)]
struct Poll {
    /// Nodes that answered.
    n_answers: u64,
    /// The connections that they reached.
    n_connections: u64,
    /// Says that another node has answered.
    changed: Arc<Notify>,
}

impl Polls {
    /// Begins a request.
    pub(super) fn open(&self) -> Request<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Poll::default());
        Request { polls: self, number }
    }

    /// Takes a node's answer; one that comes too late is dropped.
    pub(super) fn answer(&self, number: u64, n_connections: u64) {
        if let Some(poll) = self.lock().open.get_mut(&number) {
            poll.n_answers += 1;
            poll.n_connections += n_connections;
            poll.changed.notify_one();
        }
    }

    /// The state, for one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the polls")
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
    /// Waits until `n_nodes` have answered, or it takes longer than `time`. Returns how many connections they
    /// reached, and whether all have answered.
    pub(super) async fn wait(&self, n_nodes: u64, time: Duration) -> (u64, bool) {
        let all = async {
            loop {
                let changed = {
                    let state = self.polls.lock();
                    let poll = &state.open[&self.number];
                    if poll.n_answers >= n_nodes {
                        return;
                    }
                    Arc::clone(&poll.changed)
                };
                changed.notified().await;
            }
        };
        let is_exact = timeout(time, all).await.is_ok();
        (self.polls.lock().open[&self.number].n_connections, is_exact)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.polls.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_all_nodes_and_no_longer_than_it_may() {
        let polls = Polls::default();
        let (one, other) = (polls.open(), polls.open());
        polls.answer(one.number, 3);
        polls.answer(other.number, 100);
        polls.answer(77, 1);
        assert_eq!(one.wait(2, Duration::ZERO).await, (3, false));
        let wait = one.wait(2, Duration::from_secs(20));
        let answer = async { polls.answer(one.number, 4) };
        assert_eq!(tokio::join!(wait, answer).0, (7, true));
        drop((one, other));
        assert!(polls.lock().open.is_empty());
    }
}
