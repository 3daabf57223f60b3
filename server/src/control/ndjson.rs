//! `POST /send` with a message a line: sent as the lines arrive, nothing held.

use std::sync::Arc;

use serde::Serialize;

use super::connection::Connection;
use super::end::End;
use super::followers;
use super::head::Ask;
use crate::answer::OK;
use crate::cluster::node::Cluster;
use crate::framing::MAX_MESSAGE_BYTES;
use crate::lines::{Line, Lines, To};
use crate::router::Id;
use crate::send::{MESSAGES_AT_A_TIME, Sender};
use crate::shared::Shared;

/// Lines published together in a cluster: they wait for the broker once.
const LINES_IN_BATCH: usize = 256;

/// What came of the lines so far, and the answer to the request.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// What was wrong with the line that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Messages sent.
    messages: u64,
    /// Connections reached, over all messages.
    connections: u64,
    /// Messages that reached nobody.
    messages_void: u64,
    /// Followers of those whom messages to followers were about, if there were such messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    followers: Option<u64>,
    /// What the cluster has to say, if there is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterOutcome>,
}

/// What came of the lines in a cluster.
#[derive(Debug, Default, Serialize)]
struct ClusterOutcome {
    /// Subscribers at the brokers, over all messages.
    subscribers: u64,
    /// Messages that reached no connection of this node and had subscribers: other nodes, whose
    /// connections are not known here, or anybody else who listens at a broker.
    unknown: u64,
    /// Lines that were read and not sent.
    failed: u64,
    /// Of these, lines that may have reached other nodes all the same.
    unconfirmed: u64,
}

/// Sends line by line. A bad line ends it; what was before it stays sent, and the answer says so.
/// Returns status and body of the answer.
pub(crate) async fn post_lines(
    connection: &mut Connection,
    ask: &mut Ask,
) -> (&'static str, String) {
    let shared = Arc::clone(connection.shared());
    let mut sink = Sink::of(&shared);
    let mut outcome = Outcome::default();
    let status = match send_lines(connection, ask, &shared, &mut sink, &mut outcome).await {
        Ok(()) => OK,
        Err(end) => {
            let (status, why) = end.answer(ask);
            outcome.error = Some(why);
            status
        }
    };
    outcome.cluster = sink.into_counts();
    (status, serde_json::to_string(&outcome).expect("counts are plain JSON"))
}

/// Cuts the body into lines and sends them. No more of the body is read than is being sent, so a
/// sender that is faster than its receivers waits.
async fn send_lines(
    connection: &mut Connection,
    ask: &mut Ask,
    shared: &Shared,
    sink: &mut Sink<'_>,
    outcome: &mut Outcome,
) -> Result<(), End> {
    // A server at its end drops this whole future, wherever it waits.
    let mut counted = Counted { shared, lines: Lines::default() };
    while let Some(n_bytes) =
        connection.piece(ask).await.map_err(|fault| End::BrokenOff(fault.denial()))?
    {
        let mut piece = &connection.window()[..n_bytes];
        let sent = send_piece(&mut piece, &mut counted.lines, sink, outcome).await;
        connection.consume(n_bytes);
        sent?;
    }
    if let Some(line) = counted.lines.last() {
        sink.take(&line.map_err(End::Bad)?, outcome).await?;
        sink.flush(outcome).await?;
    }
    Ok(())
}

/// Sends the lines that end in a piece of the body.
async fn send_piece(
    piece: &mut &[u8],
    lines: &mut Lines,
    sink: &mut Sink<'_>,
    outcome: &mut Outcome,
) -> Result<(), End> {
    while let Some(line) = lines.next(piece) {
        match line {
            Ok(line) => sink.take(&line, outcome).await?,
            // Those before it are sent.
            Err(why) => return sink.flush(outcome).await.and(Err(End::Bad(why))),
        }
    }
    sink.flush(outcome).await
}

/// Where lines go.
enum Sink<'shared> {
    /// To the connections of this server, each line at once.
    Server(Lookups<'shared>),
    /// To all nodes of the cluster, many lines together.
    Cluster(Batch<'shared>),
}

impl<'shared> Sink<'shared> {
    /// Where the lines go that come to a server.
    fn of(shared: &'shared Arc<Shared>) -> Self {
        match &shared.cluster {
            None => Self::Server(Lookups { shared, waiting: Vec::new(), n_bytes: 0 }),
            Some(cluster) => Self::Cluster(Batch {
                shared,
                cluster,
                messages: Vec::new(),
                n_bytes: 0,
                counts: ClusterOutcome::default(),
            }),
        }
    }

    /// Takes a line, and sends it now or with others.
    async fn take(&mut self, line: &Line<'_>, outcome: &mut Outcome) -> Result<(), End> {
        match self {
            // What comes behind a line that waits has to wait as well.
            Self::Server(lookups) if line.to.is_some() || !lookups.waiting.is_empty() => {
                lookups.add(line, outcome).await
            }
            Self::Server(lookups) => {
                send_line(&lookups.shared.sender, line.id, &line.msg, outcome).await;
                Ok(())
            }
            Self::Cluster(batch) if line.to.is_some() => batch.send_about(line, outcome).await,
            Self::Cluster(batch) => batch.add(line, outcome).await,
        }
    }

    /// Sends what was taken and still waits.
    async fn flush(&mut self, outcome: &mut Outcome) -> Result<(), End> {
        match self {
            Self::Server(lookups) => lookups.send(outcome).await,
            Self::Cluster(batch) => batch.publish(outcome).await,
        }
    }

    /// What the cluster had to say.
    fn into_counts(self) -> Option<ClusterOutcome> {
        match self {
            Self::Server(_) => None,
            Self::Cluster(batch) => Some(batch.counts),
        }
    }
}

/// Sends a line to the connections of an id of this server.
async fn send_line(sender: &Sender, id: Id, msg: &str, outcome: &mut Outcome) {
    let n_reached = sender.send_to(id, msg).await;
    outcome.count(n_reached);
    // Others have their turn: a body may be endless.
    if outcome.messages.is_multiple_of(MESSAGES_AT_A_TIME) {
        tokio::task::yield_now().await;
    }
}

impl Outcome {
    /// Counts a message.
    fn count(&mut self, n_reached: u64) {
        self.messages += 1;
        self.connections += n_reached;
        self.messages_void += u64::from(n_reached == 0);
    }

    /// Counts the followers of a message to followers.
    fn count_followers(&mut self, n: u64) {
        *self.followers.get_or_insert(0) += n;
    }
}

/// Lines whose followers are looked up together: each alone would wait for a thread that reads.
/// Lines to one id that come behind them are among them.
struct Lookups<'shared> {
    /// The server.
    shared: &'shared Arc<Shared>,
    /// The lines, the oldest first, and whether they are to followers.
    waiting: Vec<(Id, String, Option<To>)>,
    /// Bytes in them.
    n_bytes: usize,
}

impl Lookups<'_> {
    /// Adds a line, and sends them all when they are enough.
    async fn add(&mut self, line: &Line<'_>, outcome: &mut Outcome) -> Result<(), End> {
        self.waiting.push((line.id, line.msg.clone().into_owned(), line.to));
        self.n_bytes += line.msg.len();
        if self.waiting.len() == LINES_IN_BATCH || self.n_bytes >= MAX_MESSAGE_BYTES {
            self.send(outcome).await?;
        }
        Ok(())
    }

    /// Sends what is there.
    async fn send(&mut self, outcome: &mut Outcome) -> Result<(), End> {
        self.n_bytes = 0;
        let lines = std::mem::take(&mut self.waiting);
        if lines.is_empty() {
            return Ok(());
        }
        let not_sent = |error: followers::NotSent| End::NotDone(error.why);
        let friends = followers::friends(self.shared).map_err(not_sent)?;
        let users = lines.iter().filter(|(.., to)| to.is_some()).map(|(id, ..)| (*id, 0));
        let audiences = friends.audiences(users.collect()).await;
        let mut audiences = audiences.map_err(|error| not_sent(error.into()))?.into_iter();
        // A message to followers is as much work as it has connections.
        let mut n_in_turn = 0;
        for (id, msg, to) in lines {
            if to.is_none() {
                send_line(&self.shared.sender, id, &msg, outcome).await;
                continue;
            }
            let audience = audiences.next().unwrap_or_default();
            let sent = followers::send_to(self.shared, id, &msg, audience).await;
            let reached = sent.map_err(not_sent)?;
            outcome.count(reached.connections);
            outcome.count_followers(reached.followers);
            n_in_turn += reached.connections.max(1);
            if n_in_turn >= MESSAGES_AT_A_TIME {
                n_in_turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

/// Lines that are published together: each alone would wait for the broker.
struct Batch<'shared> {
    /// The server.
    shared: &'shared Arc<Shared>,
    /// What publishes them.
    cluster: &'shared Arc<Cluster>,
    /// The messages, the oldest first.
    messages: Vec<(Id, String)>,
    /// Bytes in them.
    n_bytes: usize,
    /// What came of those before.
    counts: ClusterOutcome,
}

impl Batch<'_> {
    /// Adds a line, and sends them all when they are enough.
    async fn add(&mut self, line: &Line<'_>, outcome: &mut Outcome) -> Result<(), End> {
        self.messages.push((line.id, line.msg.clone().into_owned()));
        self.n_bytes += line.msg.len();
        let is_full = self.messages.len() == LINES_IN_BATCH;
        if is_full || self.n_bytes >= MAX_MESSAGE_BYTES {
            self.publish(outcome).await?;
        }
        Ok(())
    }

    /// Sends a line to followers, behind those that wait.
    async fn send_about(&mut self, line: &Line<'_>, outcome: &mut Outcome) -> Result<(), End> {
        self.publish(outcome).await?;
        let counts = &mut self.counts;
        match followers::send(self.shared, line.id, &line.msg).await {
            Ok(reached) => {
                outcome.messages += 1;
                outcome.connections += reached.connections;
                outcome.count_followers(reached.followers);
                let subscribers = reached.subscribers.unwrap_or_default();
                let is_here = reached.connections > 0;
                outcome.messages_void += u64::from(!is_here && subscribers == 0);
                counts.unknown += u64::from(!is_here && subscribers > 0);
                counts.subscribers = counts.subscribers.saturating_add(subscribers);
                Ok(())
            }
            Err(not_sent) => {
                counts.failed += 1;
                let mut why = not_sent.why;
                if let Some(partly) = not_sent.partly {
                    counts.unconfirmed += u64::from(partly.sent + partly.unconfirmed > 0);
                    let (sent, failed) = (partly.sent, partly.failed);
                    why = format!("{why}; sent to {sent} ids, not to {failed}");
                }
                Err(End::NotDone(why))
            }
        }
    }

    /// Sends what is there.
    async fn publish(&mut self, outcome: &mut Outcome) -> Result<(), End> {
        self.n_bytes = 0;
        let messages = std::mem::take(&mut self.messages);
        if messages.is_empty() {
            return Ok(());
        }
        let counts = &mut self.counts;
        // Each is counted, those behind one that failed too: they may have been taken.
        let mut failed = None;
        for sent in self.cluster.send_to_nodes(messages).await {
            match sent {
                Ok(reach) => {
                    outcome.messages += 1;
                    outcome.connections += reach.connections;
                    let is_here = reach.connections > 0;
                    outcome.messages_void += u64::from(!is_here && reach.subscribers == 0);
                    counts.unknown += u64::from(!is_here && reach.subscribers > 0);
                    counts.subscribers = counts.subscribers.saturating_add(reach.subscribers);
                }
                Err(failure) => {
                    counts.failed += 1;
                    counts.unconfirmed += u64::from(failure.is_unconfirmed);
                    failed.get_or_insert(failure);
                }
            }
        }
        failed.map_or(Ok(()), |failure| Err(End::NotDone(failure.why.to_string())))
    }
}

/// The lines of a sender; counts one that leaves in the middle of a line.
struct Counted<'shared> {
    /// Where it is counted.
    shared: &'shared Shared,
    /// The lines.
    lines: Lines,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.lines.is_in_line() {
            self.shared.count_aborted();
        }
    }
}
