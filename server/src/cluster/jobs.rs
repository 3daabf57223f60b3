//! What is handed in to be published, and what became of it.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::publication::{Nonce, Publication, channel_of, channel_of_node};
use super::resp;
use crate::router::Id;
use crate::sync::{Mutex, MutexGuard};

/// Jobs that wait to be written, and jobs that were written and are not confirmed. Whoever has one
/// more waits, at the control door, and reads no further request: a slow broker slows its senders.
pub(super) const MAX_JOBS: usize = 64;

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
        Self { is_unconfirmed: true, why: "the server is shutting down".into() }
    }
}

/// How many connections a broker published a message to, or why it did not. Those may be nodes, or
/// anybody else who listens at the broker.
pub(super) type Outcome = Result<u64, Failure>;

/// Publications that belong together: one, or the lines of a batch.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// The commands.
    pub(super) bytes: Vec<u8>,
    /// How many they are.
    pub(super) n: usize,
    /// Whether it is one publication between two questions for its followers.
    pub(super) is_counted: bool,
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
    pub(super) probe: Notify,
    /// The channels of those who are to be told that this node is there. One job does it, which is
    /// among the jobs as long as there are any.
    greetings: Mutex<Vec<String>>,
    /// This node.
    nonce: Nonce,
}

impl Publisher {
    /// A publisher of this node, and the end from which its jobs are taken.
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
    pub(super) fn complete(&self, job: &mut Job) {
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
