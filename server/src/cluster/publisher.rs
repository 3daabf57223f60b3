//! The connection to a broker on which messages go out.

use crate::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connect::{Connection, Input, Waits};
use super::publication::{CHANNEL_OF_ALL, Nonce, Publication, channel_of, channel_of_node};
use super::replies::{Reply, said};
use super::resp;
use super::stream::Output;
use super::tls;
use super::{Cluster, HELLO_EVERY, PATIENCE, PROBE_EVERY};
use crate::router::Id;

/// Jobs that wait to be written, and jobs that were written and are not confirmed. Whoever has one
/// more waits, at the control door, and reads no further request: a slow broker slows its senders.
const MAX_JOBS: usize = 64;

/// Nodes that are greeted in one job, at 32 bytes each: more have not come between two turns of
/// the connection, or are none.
const MAX_GREETINGS: usize = 1_024;

/// Why a message was not sent.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Whether it may have been published all the same.
    pub(crate) is_unconfirmed: bool,
    /// A sentence.
    pub(crate) why: Arc<str>,
}

impl Failure {
    /// The server ends before it is known what became of a message.
    pub(super) fn at_the_end() -> Self {
        Self { is_unconfirmed: true, why: "the server is at its end".into() }
    }
}

/// How many connections a broker published a message to, or why it did not. Those may be nodes, or
/// anybody else who listens at the broker.
pub(super) type Outcome = Result<u64, Failure>;

/// Publications that belong together: one, or the lines of a batch.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// The commands.
    bytes: Vec<u8>,
    /// How many they are.
    n: usize,
    /// Whether it is one publication between two questions for its followers.
    is_counted: bool,
    /// Whether it is completed with greetings when it leaves the queue.
    is_greeting: bool,
}

impl Job {
    /// Adds a publication.
    pub(super) fn add(&mut self, channel: &str, origin: Nonce, publication: Publication<'_>) {
        resp::begin(&mut self.bytes, 3);
        resp::argument(&mut self.bytes, &[b"PUBLISH"]);
        resp::argument(&mut self.bytes, &[channel.as_bytes()]);
        publication.encode(origin, &mut self.bytes);
        self.n += 1;
    }

    /// Adds a publication in the channel of an id.
    pub(super) fn add_for(&mut self, id: Id, origin: Nonce, publication: Publication<'_>) {
        self.add(&channel_of(id), origin, publication);
    }

    /// A job of one publication, and of the question how many connections subscribe the channel,
    /// before it and behind it: what a publication is answered with counts whoever listens with a
    /// pattern as well. Commands of one job may be done with others between them, so that one
    /// question alone could miss a node that is just coming or leaving.
    pub(super) fn counted(id: Id, origin: Nonce, publication: Publication<'_>) -> Self {
        let mut job = Self { is_counted: true, ..Self::default() };
        let channel = channel_of(id);
        let ask = |job: &mut Self| {
            resp::command(&mut job.bytes, &[b"PUBSUB", b"NUMSUB", channel.as_bytes()]);
            job.n += 1;
        };
        ask(&mut job);
        job.add(&channel, origin, publication);
        ask(&mut job);
        job
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.n == 0
    }
}

/// A job, and who waits for it; nobody waits for an answer to another node.
pub(super) type Posted = (Job, Option<oneshot::Sender<Vec<Outcome>>>);

/// Where jobs for one broker are handed in.
#[derive(Debug)]
pub(super) struct Publisher {
    /// The jobs.
    jobs: mpsc::Sender<Posted>,
    /// Asks for a probe at once.
    probe: Notify,
    /// The channels of those who are to be told that this node is there. One job does it, which is
    /// among the jobs as long as there are any.
    greetings: Mutex<Vec<String>>,
    /// This node.
    nonce: Nonce,
}

impl Publisher {
    /// A publisher of this node, and the end from which [`run`] takes its jobs.
    pub(super) fn new(nonce: Nonce) -> (Self, mpsc::Receiver<Posted>) {
        let (jobs, posted) = mpsc::channel(MAX_JOBS);
        (Self { jobs, probe: Notify::new(), greetings: Mutex::default(), nonce }, posted)
    }

    /// Hands in a job, when there is room, and returns where its outcomes will come.
    pub(super) async fn post(&self, job: Job) -> oneshot::Receiver<Vec<Outcome>> {
        let (done, outcomes) = oneshot::channel();
        // It fails when the server is at its end, and so do the outcomes then.
        _ = self.jobs.send((job, Some(done))).await;
        outcomes
    }

    /// Tells another node how many connections it reached here. If there is no room it is not told,
    /// and will say that its count is not exact: whoever reads messages must not wait here.
    pub(super) fn answer(&self, asker: Nonce, request: u64, n_reached: u64) {
        let mut job = Job::default();
        let answer = Publication::Count(request, n_reached);
        job.add(&channel_of_node(asker), self.nonce, answer);
        _ = self.jobs.try_send((job, None));
    }

    /// Publishes a probe at once.
    pub(super) fn probe(&self) {
        self.probe.notify_one();
    }

    /// Says in a channel that this node is there, before anything that is posted after this. If
    /// there is no room, the next [`HELLO_EVERY`] does it.
    pub(super) fn greet(&self, channel: String) {
        let mut greetings = self.greetings();
        if greetings.len() == MAX_GREETINGS {
            return;
        }
        greetings.push(channel);
        let greeting = Job { is_greeting: true, ..Job::default() };
        if greetings.len() == 1 && self.jobs.try_send((greeting, None)).is_err() {
            greetings.clear();
        }
    }

    /// Completes a job that leaves the queue.
    fn complete(&self, job: &mut Job) {
        if job.is_greeting {
            for channel in std::mem::take(&mut *self.greetings()) {
                job.add(&channel, self.nonce, Publication::Probe);
            }
        }
    }

    /// The greetings, for one step.
    fn greetings(&self) -> MutexGuard<'_, Vec<String>> {
        self.greetings.lock()
    }
}

/// Publishes what is posted for broker number `link`, for ever.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    link: usize,
    mut posted: mpsc::Receiver<Posted>,
) -> ! {
    let broker = &cluster.brokers[link];
    let (health, publisher) = (&cluster.healths[link], &cluster.publishers[link]);
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
                    link,
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
                tracing::warn!(%node, %broker, "lost the connection on which messages go out: {reason}");
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
    link: usize,
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
        let probe_at_once = &self.cluster.publishers[self.link].probe;
        let mut jobs = Vec::with_capacity(MAX_JOBS);
        loop {
            self.handle_replies()?;
            let n_room = MAX_JOBS.saturating_sub(self.flights.len());
            tokio::select! {
                _ = posted.recv_many(&mut jobs, n_room), if n_room > 0 => {
                    for (mut job, waiting) in jobs.drain(..) {
                        self.cluster.publishers[self.link].complete(&mut job);
                        self.add(&job, waiting);
                    }
                }
                written = self.output.write(&mut self.to_write), if self.output.has_work(&self.to_write) => {
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
                    let broker = &self.cluster.brokers[self.link];
                    let why = format!("the broker at {broker} says {}", said(why)).into();
                    Err(Failure { is_unconfirmed: false, why })
                }
                _ => return Err("it answers a publication with something else".to_owned()),
            };
            if !self.is_answered && outcome.is_ok() {
                self.is_answered = true;
                self.cluster.healths[self.link].set_publishing(None);
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
