//! `POST /send` with a message a line: sent as the lines arrive, nothing held.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde::Serialize;

use crate::Shared;
use crate::answer::{Response, json_response, refusal};
use crate::lines::{Line, Lines};

/// The media type that announces lines.
const NDJSON: &str = "application/x-ndjson";

/// Lines sent before other tasks are let in: at 7 µs a write, half a millisecond.
const LINES_AT_A_TIME: u64 = 64;

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

/// Cuts the body into lines and sends them. No more of the body is read than is being sent, so a
/// sender that is faster than its receivers waits.
async fn send_lines(
    mut body: Incoming,
    shared: &Shared,
    outcome: &mut Outcome,
) -> Result<(), String> {
    // A sender that leaves drops this whole future, wherever it waits.
    let mut counted = Counted { shared, lines: Lines::default() };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body broke off: {error}"))?;
        let Ok(data) = frame.into_data() else { continue };
        let mut piece = &data[..];
        while let Some(line) = counted.lines.next(&mut piece) {
            send_line(&line?, shared, outcome).await;
        }
    }
    if let Some(line) = counted.lines.last() {
        send_line(&line?, shared, outcome).await;
    }
    Ok(())
}

/// Sends one line.
async fn send_line(line: &Line<'_>, shared: &Shared, outcome: &mut Outcome) {
    let n_reached = shared.sender.send(line.id, &line.msg).await;
    outcome.messages += 1;
    outcome.connections += n_reached;
    outcome.void += u64::from(n_reached == 0);
    if outcome.messages.is_multiple_of(LINES_AT_A_TIME) {
        tokio::task::yield_now().await;
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
