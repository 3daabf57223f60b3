//! `POST /send` with a message a line: sent as the lines arrive, nothing held.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde::Serialize;

use crate::Shared;
use crate::answer::{Response, json_response, refusal};
use crate::lines::{Line, Lines};
use crate::router::Id;
use crate::send::MAX_MESSAGE_BYTES;

/// The media type that announces lines.
const NDJSON: &str = "application/x-ndjson";

/// Lines sent before other tasks are let in: at 7 µs a write, half a millisecond.
pub(crate) const LINES_AT_A_TIME: u64 = 64;

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
    void: u64,
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

/// Why lines are no longer sent.
#[derive(Debug)]
enum End {
    /// A line is bad, or the body broke off.
    Bad(String),
    /// The cluster did not take some.
    NotSent(String),
}

impl From<String> for End {
    fn from(why: String) -> Self {
        Self::Bad(why)
    }
}

/// Sends line by line. A bad line ends it; what was before it stays sent, and the answer says so.
pub(crate) async fn send(request: hyper::Request<Incoming>, shared: &Shared) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|given| given.eq_ignore_ascii_case(NDJSON)) {
        let why = format!("POST /send takes lines of JSON, as Content-Type: {NDJSON}");
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why);
    }
    let cluster = shared.cluster.as_ref().map(|_| ClusterOutcome::default());
    let mut outcome = Outcome { cluster, ..Outcome::default() };
    let (status, error) = match send_lines(request.into_body(), shared, &mut outcome).await {
        Ok(()) => (StatusCode::OK, None),
        Err(End::Bad(why)) => (StatusCode::BAD_REQUEST, Some(why)),
        Err(End::NotSent(why)) => (StatusCode::SERVICE_UNAVAILABLE, Some(why)),
    };
    outcome.error = error;
    json_response(status, serde_json::to_string(&outcome).expect("counts are plain JSON"))
}

/// Cuts the body into lines and sends them. No more of the body is read than is being sent, so a
/// sender that is faster than its receivers waits.
async fn send_lines(mut body: Incoming, shared: &Shared, outcome: &mut Outcome) -> Result<(), End> {
    // A sender that leaves drops this whole future, wherever it waits.
    let mut counted = Counted { shared, lines: Lines::default() };
    let mut batch = Batch::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body broke off: {error}"))?;
        let Ok(data) = frame.into_data() else { continue };
        let mut piece = &data[..];
        while let Some(line) = counted.lines.next(&mut piece) {
            match line {
                Ok(line) => send_line(&line, shared, &mut batch, outcome).await?,
                // Those before it are sent.
                Err(why) => return batch.send(shared, outcome).await.and(Err(End::Bad(why))),
            }
        }
        batch.send(shared, outcome).await?;
    }
    if let Some(line) = counted.lines.last() {
        send_line(&line?, shared, &mut batch, outcome).await?;
        batch.send(shared, outcome).await?;
    }
    Ok(())
}

/// Sends one line, or puts it into the batch that is sent to a cluster.
async fn send_line(
    line: &Line<'_>,
    shared: &Shared,
    batch: &mut Batch,
    outcome: &mut Outcome,
) -> Result<(), End> {
    if shared.cluster.is_some() {
        return batch.add(line, shared, outcome).await;
    }
    let n_reached = shared.sender.send(line.id, &line.msg).await;
    outcome.messages += 1;
    outcome.connections += n_reached;
    outcome.void += u64::from(n_reached == 0);
    if outcome.messages.is_multiple_of(LINES_AT_A_TIME) {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Lines that are published together: each alone would wait for the broker.
#[derive(Debug, Default)]
struct Batch {
    /// The messages, the oldest first.
    messages: Vec<(Id, String)>,
    /// Bytes in them.
    n_bytes: usize,
}

impl Batch {
    /// Adds a line, and sends them all when they are enough.
    async fn add(
        &mut self,
        line: &Line<'_>,
        shared: &Shared,
        outcome: &mut Outcome,
    ) -> Result<(), End> {
        self.messages.push((line.id, line.msg.clone().into_owned()));
        self.n_bytes += line.msg.len();
        let is_full = self.messages.len() == LINES_IN_BATCH;
        if is_full || self.n_bytes >= MAX_MESSAGE_BYTES {
            self.send(shared, outcome).await?;
        }
        Ok(())
    }

    /// Sends what is there.
    async fn send(&mut self, shared: &Shared, outcome: &mut Outcome) -> Result<(), End> {
        self.n_bytes = 0;
        let messages = std::mem::take(&mut self.messages);
        let (Some(cluster), Some(counts)) = (&shared.cluster, &mut outcome.cluster) else {
            return Ok(());
        };
        if messages.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for sent in cluster.send(messages).await {
            match sent {
                Ok(reach) => {
                    outcome.messages += 1;
                    outcome.connections += reach.connections;
                    let is_here = reach.connections > 0;
                    outcome.void += u64::from(!is_here && reach.subscribers == 0);
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
        failed.map_or(Ok(()), |failure| Err(End::NotSent(failure.why.to_string())))
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
