//! How the connections to the brokers are, and what was counted on them.

use crate::sync::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// What happened in the cluster, as this node saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClusterStats {
    /// The name of this node.
    pub node: String,
    /// Ids subscribed at the brokers now.
    pub subscriptions: u64,
    /// Subscriptions that were made again, because a broker had been away.
    pub resubscribed: u64,
    /// Connections that wait for a subscription now.
    pub waiting: u64,
    /// Messages published from here, each confirmed by its broker.
    pub published: u64,
    /// Of these, messages that nobody follows: their broker had no subscriber for them. Somebody
    /// who listens at the broker with a pattern is a subscriber of all.
    pub unfollowed: u64,
    /// Messages that were refused, because their broker could not be told of them.
    pub failed: u64,
    /// Messages that were refused although they may have been published: the connection broke
    /// before they were confirmed.
    pub unconfirmed: u64,
    /// Messages of other nodes, given to the router. It counts them in `messages` as well.
    pub received: u64,
    /// Messages of this node that came back, and were dropped.
    pub echoed: u64,
    /// Publications that no node of this version wrote, dropped.
    pub foreign: u64,
    /// Publications longer than any message of a sender, dropped.
    pub too_large: u64,
    /// Answers to `?count=exact` that were ignored: the second of a node, one of a node that was
    /// never heard, one that comes too late, or a count that cannot be.
    pub counts_ignored: u64,
    /// How often a connection was lost on which messages come in. What other nodes sent then did
    /// not arrive here.
    pub gaps: u64,
    /// For how many seconds messages could not come in, over all brokers: from the last sign of
    /// life until everything was subscribed again. A gap of now is included.
    pub blind_s: f64,
}

/// Numbers that only grow.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// See [`ClusterStats`], as for the others.
    pub(super) resubscribed: AtomicU64,
    /// Confirmed.
    pub(super) published: AtomicU64,
    /// Confirmed, and followed by nobody.
    pub(super) unfollowed: AtomicU64,
    /// Refused.
    pub(super) failed: AtomicU64,
    /// Refused, and perhaps published.
    pub(super) unconfirmed: AtomicU64,
    /// From other nodes.
    pub(super) received: AtomicU64,
    /// From this node.
    pub(super) echoed: AtomicU64,
    /// From nobody we know.
    pub(super) foreign: AtomicU64,
    /// Longer than any message.
    pub(super) too_large: AtomicU64,
    /// Answers that do not count.
    pub(super) ignored: AtomicU64,
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is known of the connections to one broker.
#[derive(Debug)]
pub(super) struct Health(Mutex<State>);

/// The same.
#[derive(Debug)]
struct State {
    /// When a probe came back last.
    last_probe: Option<Instant>,
    /// Since when messages cannot come in.
    blind_since: Option<Instant>,
    /// How long that was before.
    blind: Duration,
    /// How often it began.
    n_gaps: u64,
    /// Ids subscribed.
    n_subscribed: u64,
    /// Why the connection is down on which messages come in, or what it waits for.
    receiving: Option<String>,
    /// Why the one is down on which they go out.
    publishing: Option<String>,
}

impl Health {
    /// Nothing is connected.
    pub(super) fn new() -> Self {
        let not_yet = || Some("it is not connected yet".to_owned());
        Self(Mutex::new(State {
            last_probe: None,
            blind_since: None,
            blind: Duration::ZERO,
            n_gaps: 0,
            n_subscribed: 0,
            receiving: not_yet(),
            publishing: not_yet(),
        }))
    }

    /// A probe came back.
    pub(super) fn probed(&self) {
        self.lock().last_probe = Some(Instant::now());
    }

    /// So many ids are subscribed.
    pub(super) fn set_subscribed(&self, n: u64) {
        self.lock().n_subscribed = n;
    }

    /// The connection on which messages come in is down, or up but not ready, since `since`.
    pub(super) fn receiving_failed(&self, why: String, since: Option<Instant>) {
        let mut state = self.lock();
        state.receiving = Some(why);
        // Before everything was subscribed for the first time nobody could miss anything.
        if let (Some(since), None) = (since, state.blind_since) {
            state.blind_since = Some(since);
            state.n_gaps += 1;
        }
    }

    /// Everything is subscribed. Returns how long messages could not come in, if they could not.
    pub(super) fn receiving_works(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.receiving = None;
        let blind = state.blind_since.take().map(|since| since.elapsed());
        state.blind += blind.unwrap_or_default();
        blind
    }

    /// The connection on which messages go out is down, or not.
    pub(super) fn set_publishing(&self, why_not: Option<String>) {
        self.lock().publishing = why_not;
    }

    /// Why it is not well, if it is not. It is well when both connections are and a probe came
    /// back within `patience`.
    pub(super) fn complaint(&self, patience: Duration) -> Option<String> {
        let state = self.lock();
        if let Some(why) = &state.receiving {
            return Some(format!("receiving: {why}"));
        }
        if let Some(why) = &state.publishing {
            return Some(format!("publishing: {why}"));
        }
        match state.last_probe.map(|at| at.elapsed()) {
            None => Some("no probe has come back yet".to_owned()),
            Some(ago) if ago > patience => {
                Some(format!("no probe has come back for {} s", ago.as_secs()))
            }
            Some(_) => None,
        }
    }

    /// Adds what was counted here.
    pub(super) fn add_to(&self, sum: &mut ClusterStats) {
        let state = self.lock();
        sum.subscriptions += state.n_subscribed;
        sum.gaps += state.n_gaps;
        let now = state.blind_since.map(|since| since.elapsed());
        sum.blind_s += (state.blind + now.unwrap_or_default()).as_secs_f64();
    }

    /// The state, for one look.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_well_when_both_connections_are_and_a_probe_came_back() {
        let patience = Duration::from_secs(8);
        let health = Health::new();
        assert!(health.complaint(patience).unwrap().contains("not connected"));
        assert_eq!(health.receiving_works(), None, "the first time is no gap");
        health.set_publishing(None);
        assert!(health.complaint(patience).unwrap().contains("no probe"));
        health.probed();
        assert_eq!(health.complaint(patience), None);
        assert!(health.complaint(Duration::ZERO).unwrap().contains("no probe"));
        health.set_publishing(Some("x".to_owned()));
        assert_eq!(health.complaint(patience).unwrap(), "publishing: x");
    }

    #[test]
    fn a_gap_is_counted_once_however_often_connecting_fails() {
        let health = Health::new();
        let now = Instant::now();
        health.receiving_failed("refused".to_owned(), None);
        health.receiving_works();
        let before = now.checked_sub(Duration::from_secs(3)).unwrap();
        health.receiving_failed("lost".to_owned(), Some(before));
        health.receiving_failed("lost again".to_owned(), Some(now));
        let mut stats = ClusterStats::default();
        health.add_to(&mut stats);
        assert_eq!(stats.gaps, 1);
        assert!(stats.blind_s >= 3.0);
        assert!(health.receiving_works().unwrap() >= Duration::from_secs(3));
        let mut after = ClusterStats::default();
        health.add_to(&mut after);
        assert!(after.blind_s >= stats.blind_s, "it is kept");
    }
}
