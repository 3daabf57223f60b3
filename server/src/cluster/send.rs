//! A message from the control door on: published first, then sent to this node's connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::jobs::{Failure, Job, Outcome};
use super::node::Cluster;
use super::polls::POLL_TIME;
use super::publication::Publication;
use crate::router::Id;
use crate::send::MESSAGES_AT_A_TIME;

/// Whom a message reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Reach {
    /// Connections of this node; of all nodes, if they were asked.
    pub(crate) connections: u64,
    /// Subscribers of the id at its broker: the nodes that follow it, this one among them if it
    /// does, and whoever else listens there.
    pub(crate) subscribers: u64,
    /// Whether all nodes have said how many connections they reached, if they were asked.
    #[serde(rename = "exact", skip_serializing_if = "Option::is_none")]
    pub(crate) is_exact: Option<bool>,
}

impl Cluster {
    /// Sends messages, in their order.
    ///
    /// One whose publication failed is not sent here either: its sender may try again, and nobody
    /// gets it twice. Whoever asked may leave meanwhile; what was begun is done to its end.
    pub(crate) async fn send_to_nodes(
        self: &Arc<Self>,
        messages: Vec<(Id, String)>,
    ) -> Vec<Result<Reach, Failure>> {
        let cluster = Arc::clone(self);
        let sending = async move {
            let texts = messages.iter().map(|(id, text)| (*id, Publication::Message(text)));
            let outcomes = cluster.publish(texts).await;
            let mut all = Vec::with_capacity(messages.len());
            for (((id, text), outcome), number) in messages.iter().zip(outcomes).zip(1..) {
                if u64::is_multiple_of(number, MESSAGES_AT_A_TIME) {
                    tokio::task::yield_now().await;
                }
                all.push(match outcome {
                    Ok(subscribers) => {
                        let connections = cluster.sender.send_to(*id, text).await;
                        Ok(Reach { connections, subscribers, is_exact: None })
                    }
                    Err(failure) => Err(failure),
                });
            }
            all
        };
        tokio::spawn(sending).await.expect("sending neither panics nor is it cancelled")
    }

    /// Sends a message, and asks all nodes how many connections it reached.
    pub(crate) async fn send_to_nodes_counted(
        self: &Arc<Self>,
        id: Id,
        text: String,
    ) -> Result<Reach, Failure> {
        let cluster = Arc::clone(self);
        let sending = async move {
            let request = cluster.polls.open();
            let asking = Publication::Asking(request.number, &text);
            let (n_nodes, subscribers) = cluster.publish_counted(id, asking).await?;
            let n_here = cluster.sender.send_to(id, &text).await;
            let (n_elsewhere, is_exact) = request.wait(n_nodes, POLL_TIME).await;
            let connections = n_here.saturating_add(n_elsewhere);
            Ok(Reach { connections, subscribers, is_exact: Some(is_exact) })
        };
        tokio::spawn(sending).await.expect("sending neither panics nor is it cancelled")
    }

    /// Publishes a message in the channel of each id, and sends it to nobody here. Returns how many
    /// subscribers each had.
    pub(crate) async fn publish_for(&self, ids: &[Id], text: &str) -> Vec<Result<u64, Failure>> {
        self.publish(ids.iter().map(|&id| (id, Publication::Message(text)))).await
    }

    /// Publishes in the channel of an id. Returns how many nodes must answer, and how many
    /// subscribers there were.
    async fn publish_counted(
        &self,
        id: Id,
        publication: Publication<'_>,
    ) -> Result<(u64, u64), Failure> {
        let job = Job::counted(id, self.nonce, publication);
        let outcomes = self.publishers[self.departures.rendezvous.home(id)].post(job).await;
        let outcomes = outcomes.await.unwrap_or_default();
        let [before, published, after] = <[Outcome; 3]>::try_from(outcomes)
            .unwrap_or_else(|_| std::array::from_fn(|_| Err(Failure::at_the_end())));
        self.count_outcome(&published);
        let n_subscribers = published?;
        Ok(match (before, after) {
            // No more were told than those that were told.
            (Ok(before), Ok(after)) => (before.max(after).min(n_subscribers), n_subscribers),
            // A broker that does not let us ask: every subscriber may be a node.
            _ => (n_subscribers, n_subscribers),
        })
    }

    /// Publishes, each in the channel of an id, and waits for what becomes of it.
    async fn publish(
        &self,
        publications: impl ExactSizeIterator<Item = (Id, Publication<'_>)>,
    ) -> Vec<Outcome> {
        let mut jobs: Vec<_> = self.brokers.iter().map(|_| (Job::default(), Vec::new())).collect();
        let n = publications.len();
        for (number, (id, publication)) in publications.enumerate() {
            let (job, numbers) = &mut jobs[self.departures.rendezvous.home(id)];
            job.add_for(id, self.nonce, publication);
            numbers.push(number);
        }
        let mut posted = Vec::new();
        for ((job, numbers), publisher) in jobs.into_iter().zip(&self.publishers) {
            if !job.is_empty() {
                posted.push((publisher.post(job).await, numbers));
            }
        }
        let mut all = vec![Err(Failure::at_the_end()); n];
        for (outcomes, numbers) in posted {
            // Without outcomes the server is at its end, as they say already.
            let outcomes = outcomes.await.unwrap_or_default();
            numbers.into_iter().zip(outcomes).for_each(|(number, one)| all[number] = one);
        }
        for outcome in &all {
            self.count_outcome(outcome);
        }
        all
    }

    /// Counts what became of a publication.
    fn count_outcome(&self, outcome: &Outcome) {
        let counts = &self.counts;
        let counter = match outcome {
            Ok(subscribers) => {
                counts.unfollowed.fetch_add(u64::from(*subscribers == 0), Ordering::Relaxed);
                &counts.published
            }
            Err(failure) if failure.is_unconfirmed => &counts.unconfirmed,
            Err(_) => &counts.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
