//! The connection to a broker on which messages go out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connect::{Connection, Input, Waits};
use super::jobs::{Failure, Job, MAX_JOBS, Outcome, Posted, Publisher};
use super::node::Cluster;
use super::publication::{CHANNEL_OF_ALL, Publication, channel_of_node};
use super::replies::{Reply, said};
use super::stream::Output;
use super::timing::{HELLO_EVERY, PATIENCE, PROBE_EVERY};
use super::tls;

/// Publishes what is posted for broker number `number`, for ever.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    number: usize,
    mut posted: mpsc::Receiver<Posted>,
) -> ! {
    let broker = &cluster.brokers[number];
    let (health, publisher) = (&cluster.healths[number], &cluster.publishers[number]);
    let mut waits = Waits::default();
    let mut why: Arc<str> = format!("the broker at {broker} is not connected yet").into();
    loop {
        let opened = failing_jobs(
            publisher,
            &mut posted,
            &why,
            Connection::open(broker, cluster.tls.as_ref()),
        )
        .await;
        let reason = match opened {
            Ok(Connection { input, output }) => {
                let made_at = Instant::now();
                let mut wire = Wire {
                    cluster: &cluster,
                    number,
                    input,
                    output,
                    to_write: BytesMut::new(),
                    flights: VecDeque::new(),
                    is_answered: false,
                };
                let Err(reason) = wire.work(&mut posted).await;
                waits.lost(made_at);
                let failure: Arc<str> = format!("the broker at {broker} was lost: {reason}").into();
                wire.flights.into_iter().for_each(|flight| flight.fail(&failure));
                let node = &cluster.name;
                tracing::warn!(
                    %node,
                    %broker,
                    "lost the connection on which messages go out: {reason}"
                );
                reason
            }
            Err(error) => error.to_string(),
        };
        why = format!("the broker at {broker} cannot be reached: {reason}").into();
        health.set_publishing(Some(reason));
        failing_jobs(publisher, &mut posted, &why, sleep(waits.next())).await;
    }
}

/// Waits for `work`, and fails what is posted meanwhile.
async fn failing_jobs<T>(
    publisher: &Publisher,
    posted: &mut mpsc::Receiver<Posted>,
    why: &Arc<str>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = work.as_mut() => return done,
            Some((mut job, waiting)) = posted.recv() => {
                publisher.complete(&mut job);
                let failure = Failure { is_unconfirmed: false, why: Arc::clone(why) };
                let outcomes = vec![Err(failure); job.n];
                Flight { outcomes, n: job.n, is_counted: job.is_counted, waiting }.land();
            }
        }
    }
}

/// A job that was written, at least in part.
#[derive(Debug)]
struct Flight {
    /// What became of its publications so far.
    outcomes: Vec<Outcome>,
    /// How many there are.
    n: usize,
    /// Whether it is one publication between two questions.
    is_counted: bool,
    /// Who waits for it.
    waiting: Option<oneshot::Sender<Vec<Outcome>>>,
}

impl Flight {
    /// Tells whoever waits.
    fn land(self) {
        if let Some(waiting) = self.waiting {
            // Nobody may be left to hear it.
            _ = waiting.send(self.outcomes);
        }
    }

    /// The connection is lost: nobody knows what became of the rest.
    fn fail(mut self, why: &Arc<str>) {
        let failure = Failure { is_unconfirmed: true, why: Arc::clone(why) };
        self.outcomes.resize(self.n, Err(failure));
        self.land();
    }
}

/// One connection, until its loss.
struct Wire<'cluster> {
    /// The cluster.
    cluster: &'cluster Cluster,
    /// The broker's number.
    number: usize,
    /// Where replies come from.
    input: Input,
    /// Where commands go.
    output: Output,
    /// What is to be written.
    to_write: BytesMut,
    /// What was written, the oldest first: replies come in this order.
    flights: VecDeque<Flight>,
    /// Whether a publication was answered as it should be. Only then is the broker well: taking a
    /// connection and greeting back is not yet publishing.
    is_answered: bool,
}

impl Wire<'_> {
    /// Writes what is posted and reads replies, as it comes.
    async fn work(&mut self, posted: &mut mpsc::Receiver<Posted>) -> Result<Infallible, String> {
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hellos = interval(HELLO_EVERY);
        hellos.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probe_at_once = &self.cluster.publishers[self.number].probe;
        let mut jobs = Vec::with_capacity(MAX_JOBS);
        loop {
            self.handle_replies()?;
            let n_room = MAX_JOBS.saturating_sub(self.flights.len());
            let has_work = self.output.has_work(&self.to_write);
            tokio::select! {
                _ = posted.recv_many(&mut jobs, n_room), if n_room > 0 => {
                    for (mut job, waiting) in jobs.drain(..) {
                        self.cluster.publishers[self.number].complete(&mut job);
                        self.add(&job, waiting);
                    }
                }
                written = self.output.write(&mut self.to_write), if has_work => {
                    written.map_err(|error| tls::sentence(&error))?;
                }
                read = self.input.read() => read?,
                () = probe_at_once.notified() => self.add_probe(),
                // The first of them as soon as there is a connection.
                _ = hellos.tick() => self.add_to(CHANNEL_OF_ALL),
                _ = ticks.tick() => {
                    let silent = self.input.heard_at.elapsed();
                    if silent > PATIENCE {
                        return Err(format!("nothing heard for {} s", silent.as_secs()));
                    }
                    self.add_probe();
                }
            }
        }
    }

    /// Adds a job to what is to be written.
    fn add(&mut self, job: &Job, waiting: Option<oneshot::Sender<Vec<Outcome>>>) {
        self.to_write.extend_from_slice(&job.bytes);
        let outcomes = Vec::with_capacity(job.n);
        let is_counted = job.is_counted;
        self.flights.push_back(Flight { outcomes, n: job.n, is_counted, waiting });
    }

    /// Adds a probe.
    fn add_probe(&mut self) {
        self.add_to(&channel_of_node(self.cluster.nonce));
    }

    /// Says in a channel that this node is there.
    fn add_to(&mut self, channel: &str) {
        let mut job = Job::default();
        job.add(channel, self.cluster.nonce, Publication::Probe);
        self.add(&job, None);
    }

    /// Handles all replies that were read.
    fn handle_replies(&mut self) -> Result<(), String> {
        while let Some(reply) = self.input.next()? {
            let Some(flight) = self.flights.front_mut() else {
                return Err("it answers what nobody asked".to_owned());
            };
            let is_question = flight.is_counted && flight.outcomes.len() != 1;
            let outcome = match (reply, is_question) {
                (Reply::Number(n), false) | (Reply::Followers(n), true) => Ok(n),
                (Reply::Error(why), _) => {
                    let broker = &self.cluster.brokers[self.number];
                    let why = format!("the broker at {broker} says {}", said(why)).into();
                    Err(Failure { is_unconfirmed: false, why })
                }
                _ => return Err("it answers a publication with something else".to_owned()),
            };
            if !self.is_answered && outcome.is_ok() {
                self.is_answered = true;
                self.cluster.healths[self.number].set_publishing(None);
            }
            flight.outcomes.push(outcome);
            if flight.outcomes.len() == flight.n
                && let Some(flight) = self.flights.pop_front()
            {
                flight.land();
            }
        }
        Ok(())
    }
}
