//! `POST /send` with a message a line: sent as the lines arrive, nothing held.

use std::borrow::Cow;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use crate::Shared;
use crate::answer::{Response, json_response, refusal};
use crate::request::check_id;
use crate::send::MAX_MESSAGE_BYTES;

/// The media type that announces lines.
const NDJSON: &str = "application/x-ndjson";

/// Bytes in a line: a message and its frame.
const MAX_LINE_BYTES: usize = MAX_MESSAGE_BYTES + 256;

/// Lines sent before other tasks are let in: at 7 µs a write, half a millisecond.
const LINES_AT_A_TIME: u64 = 64;

/// A line as it comes in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'line> {
    /// Whom the message is for.
    id: u64,
    /// The message.
    #[serde(borrow)]
    msg: Cow<'line, str>,
}

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
    /// Lines read, for the number of a bad one.
    #[serde(skip)]
    n_lines: u64,
}

/// Sends line by line. A bad line ends it; what was before it stays sent, and the answer says so.
pub(crate) async fn send(request: hyper::Request<Incoming>, shared: &Shared) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|given| given.eq_ignore_ascii_case(NDJSON)) {
        let why = format!("POST /send takes lines of JSON, as Content-Type: {NDJSON}");
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why);
    }
    let mut outcome = Outcome::default();
    let error = send_lines(request.into_body(), shared, &mut outcome).await.err();
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    outcome.error = error;
    json_response(status, serde_json::to_string(&outcome).expect("counts are plain JSON"))
}

/// Cuts the body into lines and sends them.
async fn send_lines(
    mut body: Incoming,
    shared: &Shared,
    outcome: &mut Outcome,
) -> Result<(), String> {
    // The part of a line that ended a frame; empty most of the time.
    let mut begun = Vec::new();
    // A sender that leaves drops this whole future, wherever it waits.
    let mut unfinished = Unfinished { shared, is_in_line: false };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body broke off: {error}"))?;
        let Ok(data) = frame.into_data() else { continue };
        let mut rest = &data[..];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            // Whatever becomes of this line, it is whole.
            unfinished.is_in_line = false;
            if begun.is_empty() {
                send_line(line, shared, outcome).await?;
            } else {
                begun.extend_from_slice(line);
                send_line(&begun, shared, outcome).await?;
                begun.clear();
            }
            rest = after;
        }
        begun.extend_from_slice(rest);
        unfinished.is_in_line = !begun.is_empty();
        if begun.len() > MAX_LINE_BYTES {
            unfinished.is_in_line = false;
            return Err(too_long(outcome.n_lines + 1));
        }
    }
    unfinished.is_in_line = false;
    // The last line may come without its line feed: the body's end is as good.
    if begun.is_empty() { Ok(()) } else { send_line(&begun, shared, outcome).await }
}

/// Sends one line; a blank one is skipped.
async fn send_line(line: &[u8], shared: &Shared, outcome: &mut Outcome) -> Result<(), String> {
    outcome.n_lines += 1;
    let number = outcome.n_lines;
    if line.len() > MAX_LINE_BYTES {
        return Err(too_long(number));
    }
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let wrong = |why: String| format!("line {number}: {why}");
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    let id = check_id(line.id).map_err(wrong)?;
    if line.msg.len() > MAX_MESSAGE_BYTES {
        return Err(wrong(format!("a message is at most {MAX_MESSAGE_BYTES} bytes")));
    }
    let n_reached = shared.sender.send(id, &line.msg).await;
    outcome.messages += 1;
    outcome.connections += n_reached;
    outcome.void += u64::from(n_reached == 0);
    if outcome.messages.is_multiple_of(LINES_AT_A_TIME) {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The error of a line that is too long.
fn too_long(number: u64) -> String {
    format!("line {number}: longer than {MAX_LINE_BYTES} bytes")
}

/// Counts a sender that left in the middle of a line.
struct Unfinished<'shared> {
    /// Where it is counted.
    shared: &'shared Shared,
    /// Whether a line has begun and not ended.
    is_in_line: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.is_in_line {
            self.shared.count_aborted();
        }
    }
}
