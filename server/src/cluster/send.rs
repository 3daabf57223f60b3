//! A message from the control door on: published first, then sent to this node's connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::polls::POLL_TIME;
use super::publication::Publication;
use super::publisher::{Job, Outcome};
use super::{Cluster, Failure};
use crate::ndjson::LINES_AT_A_TIME;
use crate::router::Id;

/// Whom a message reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Reach {
    /// Connections of this node; of all nodes, if they were asked.
    pub(crate) connections: u64,
    /// Nodes that follow the id. This one is among them if it does.
    pub(crate) nodes: u64,
    /// Whether all nodes have said how many connections they reached, if they were asked.
    #[serde(rename = "exact", skip_serializing_if = "Option::is_none")]
    pub(crate) is_exact: Option<bool>,
}

impl Cluster {
    /// Sends messages, in their order.
    ///
    /// One whose publication failed is not sent here either: its sender may try again, and nobody
    /// gets it twice. Whoever asked may leave meanwhile; what was begun is done to its end.
    pub(crate) async fn send(
        self: &Arc<Self>,
        messages: Vec<(Id, String)>,
    ) -> Vec<Result<Reach, Failure>> {
        let cluster = Arc::clone(self);
        let sending = async move {
            let texts = messages.iter().map(|(id, text)| (*id, Publication::Message(text)));
            let outcomes = cluster.publish(texts).await;
            let mut all = Vec::with_capacity(messages.len());
            for (((id, text), outcome), number) in messages.iter().zip(outcomes).zip(1..) {
                if u64::is_multiple_of(number, LINES_AT_A_TIME) {
                    tokio::task::yield_now().await;
                }
                all.push(match outcome {
                    Ok(nodes) => {
                        let connections = cluster.sender.send(*id, text).await;
                        Ok(Reach { connections, nodes, is_exact: None })
                    }
                    Err(failure) => Err(failure),
                });
            }
            all
        };
        tokio::spawn(sending).await.expect("sending neither panics nor is it cancelled")
    }

    /// Sends a message, and asks all nodes how many connections it reached.
    pub(crate) async fn send_counted(
        self: &Arc<Self>,
        id: Id,
        text: String,
    ) -> Result<Reach, Failure> {
        let cluster = Arc::clone(self);
        let sending = async move {
            let request = cluster.polls.open();
            let asking = Publication::Asking(request.number, &text);
            let outcomes = cluster.publish([(id, asking)].into_iter()).await;
            let nodes = outcomes.into_iter().next().expect("there is one for each message")?;
            let n_here = cluster.sender.send(id, &text).await;
            let (n_elsewhere, is_exact) = request.wait(nodes, POLL_TIME).await;
            let connections = n_here + n_elsewhere;
            Ok(Reach { connections, nodes, is_exact: Some(is_exact) })
        };
        tokio::spawn(sending).await.expect("sending neither panics nor is it cancelled")
    }

    /// Publishes, each in the channel of an id, and waits for what becomes of it.
    async fn publish(
        &self,
        publications: impl ExactSizeIterator<Item = (Id, Publication<'_>)>,
    ) -> Vec<Outcome> {
        let mut jobs: Vec<_> = self.brokers.iter().map(|_| (Job::default(), Vec::new())).collect();
        let n = publications.len();
        for (number, (id, publication)) in publications.enumerate() {
            let (job, numbers) = &mut jobs[self.departures.ring.home(id)];
            job.add_for(id, self.nonce, publication);
            numbers.push(number);
        }
        let mut posted = Vec::new();
        for ((job, numbers), publisher) in jobs.into_iter().zip(&self.publishers) {
            if !job.is_empty() {
                posted.push((publisher.post(job).await, numbers));
            }
        }
        let ending = Failure { is_unconfirmed: true, why: "the server is at its end".into() };
        let mut all = vec![Err(ending); n];
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
            Ok(nodes) => {
                counts.unfollowed.fetch_add(u64::from(*nodes == 0), Ordering::Relaxed);
                &counts.published
            }
            Err(failure) if failure.is_unconfirmed => &counts.unconfirmed,
            Err(_) => &counts.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
