//! The control door, seen from its client: one request, and what became of its messages.
//!
//! Delivery is at most once. A request whose first byte may have left is never sent again: if no
//! whole answer comes back, its messages are *unanswered*, and the server may or may not have them.
//! *Failed* are those of which the server said that it did not take them, or that never left.
//!
//! The client below may hand a request to a second connection in one case: a kept connection was
//! found closed before the request was begun on it. hyper gives the request back then, which it
//! does only when not a byte of it was written. Retries on any other ground are turned off.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Request, Response, StatusCode, Url};
use serde::Deserialize;

use crate::Error;

/// How long a connection may take to be established. Less than any answer may take, so that a
/// message for which there was no connection is told from one that was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read; the door's answers have about 100. A longer one is not the
/// door's, and is not collected.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024;

/// Finds the server: resolves its host once, and returns the first address that takes a
/// connection. All later ones go there.
pub async fn find(server: &Url) -> Result<SocketAddr, Error> {
    let host = server.host_str().expect("a checked server URL has a host");
    let port = server.port_or_known_default().expect("http has a default port");
    // An IPv6 address stands in brackets in a URL and without them anywhere else.
    let bare_host = host.trim_start_matches('[').trim_end_matches(']');
    let unknown = |source| Error::UnknownHost { host: host.to_owned(), source };
    let addresses = tokio::net::lookup_host((bare_host, port)).await.map_err(unknown)?;
    let mut refusal = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        let connecting = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(_probe)) => return Ok(address),
            Ok(Err(error)) => refusal = error,
            Err(_elapsed) => refusal = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Error::NobodyListening { server: server.to_string(), source: refusal })
}

/// A client of the control door, shared by all sources.
#[derive(Debug)]
pub struct Door {
    /// Keeps one connection for every source that needs one at a time.
    client: Client,
    /// `{server}/send`, where batches go; a single message goes to `/{id}` below it.
    send_url: Url,
}

impl Door {
    /// A client of `server`, which was found at `address`. An answer that takes longer than
    /// `timeout` is given up.
    pub fn new(
        server: &Url,
        address: SocketAddr,
        token: Option<&HeaderValue>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let host = server.host_str().expect("a checked server URL has a host");
        let client = Client::builder()
            .default_headers(headers)
            .resolve_to_addrs(host, &[address])
            .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
            .timeout(timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            // What a burst of overdue messages has opened is kept for the next one, which should
            // not wait for connects; and a server's memory should not move with the sender's moods.
            .pool_idle_timeout(None)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .map_err(Error::Client)?;
        let mut send_url = server.clone();
        send_url.set_path(&format!("{}/send", server.path().trim_end_matches('/')));
        Ok(Self { client, send_url })
    }

    /// Sends one message to `id`.
    pub async fn send_one(&self, id: u64, message: Bytes) -> Receipt {
        let mut url = self.send_url.clone();
        url.set_path(&format!("{}/{id}", self.send_url.path()));
        let mut request = Request::new(Method::POST, url);
        *request.body_mut() = Some(message.into());
        self.exchange(request, 1, SingleAnswer::receipt).await
    }

    /// Sends `n` messages, a line each.
    pub async fn send_batch(&self, lines: Bytes, n: u64) -> Receipt {
        let mut request = Request::new(Method::POST, self.send_url.clone());
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        request.headers_mut().insert(CONTENT_TYPE, ndjson);
        *request.body_mut() = Some(lines.into());
        self.exchange(request, n, BatchAnswer::receipt).await
    }

    /// Sends a request of `n` messages and reads its answer as an `A`.
    async fn exchange<A>(
        &self,
        request: Request,
        n: u64,
        receipt: fn(&A, StatusCode, u64) -> Receipt,
    ) -> Receipt
    where
        A: for<'de> Deserialize<'de> + Default,
    {
        let (status, body) = match self.answer(request).await {
            Ok(answer) => answer,
            Err(miss) => return Receipt::nothing(miss),
        };
        // An answer of another kind may be a refusal all the same: then the status says all. An
        // array is of another kind too, though serde would take it for the fields in their order.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let answer = is_object.then(|| serde_json::from_slice::<A>(&body).ok()).flatten();
        receipt(&answer.unwrap_or_default(), status, n)
    }

    /// The status and the body of the answer to `request`.
    async fn answer(&self, request: Request) -> Result<(StatusCode, Bytes), Miss> {
        let mut response = self.client.execute(request).await.map_err(|e| Miss::of(&e))?;
        let status = response.status();
        match read_body(&mut response).await {
            Ok(Some(body)) => Ok((status, body)),
            Ok(None) => Ok((status, Bytes::new())),
            // A refusal whose text was cut off is a refusal still.
            Err(_) if !status.is_success() => Ok((status, Bytes::new())),
            Err(error) => Err(Miss::of(&error)),
        }
    }
}

/// The whole body of an answer, or none when it is longer than an answer can be.
async fn read_body(response: &mut Response) -> reqwest::Result<Option<Bytes>> {
    let first = response.chunk().await?.unwrap_or_default();
    let Some(second) = response.chunk().await? else {
        return Ok(Some(first));
    };
    let mut body = [first, second].concat();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_LIMIT_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.into()))
}

/// What became of the messages of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Messages that the server took.
    pub answered: u64,
    /// Of these, messages to an id that nobody was logged in as.
    pub void: u64,
    /// Connections reached by all of them.
    pub connections: u64,
    /// What became of the other messages of the request; none when there are no others.
    pub miss: Option<Miss>,
}

impl Receipt {
    /// The receipt of a request none of whose messages was taken.
    fn nothing(miss: Miss) -> Self {
        Self { miss: Some(miss), ..Self::default() }
    }
}

/// Why a message was not taken, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The server does not have it.
    Failed(Reason),
    /// The server may or may not have it.
    Unanswered(Reason),
}

/// What went wrong, in the words of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody listens where the server was.
    Refused,
    /// The connection was reset.
    Reset,
    /// No connection within [`CONNECT_TIMEOUT`], or no answer within the time that it had.
    TimedOut,
    /// The server closed the connection before its answer was whole.
    Cut,
    /// This process has no file descriptor left for another connection.
    NoDescriptors,
    /// This machine has no port left for another connection.
    NoPorts,
    /// There was no connection for a reason without a name of its own.
    NoConnection,
    /// The server answered with another status than 2xx.
    Status(u16),
    /// The server answered with something that is not the control door's.
    BadAnswer,
    /// The run ended before there was an answer.
    Interrupted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed out",
            Self::Cut => "cut",
            Self::NoDescriptors => "no descriptors",
            Self::NoPorts => "no ports",
            Self::NoConnection => "no connection",
            Self::Status(code) => return write!(f, "status {code}"),
            Self::BadAnswer => "bad answer",
            Self::Interrupted => "interrupted",
        })
    }
}

impl Miss {
    /// What an error of the client means for the messages of its request.
    fn of(error: &reqwest::Error) -> Self {
        let io_error = cause::<io::Error>(error);
        if error.is_connect() {
            return Self::Failed(io_error.map_or(Reason::NoConnection, no_connection));
        }
        if error.is_timeout() {
            return Self::Unanswered(Reason::TimedOut);
        }
        if let Some(error) = cause::<hyper::Error>(error) {
            if error.is_canceled() {
                // The connection was gone before the request was begun on it.
                return Self::Failed(Reason::NoConnection);
            }
            if error.is_parse() {
                return Self::Failed(Reason::BadAnswer);
            }
        }
        match io_error.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                Self::Unanswered(Reason::Reset)
            }
            _ => Self::Unanswered(Reason::Cut),
        }
    }
}

/// The name of what kept a connection from being established.
fn no_connection(error: &io::Error) -> Reason {
    use rustix::io::Errno;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        io::ErrorKind::ConnectionReset => Reason::Reset,
        io::ErrorKind::TimedOut => Reason::TimedOut,
        io::ErrorKind::AddrNotAvailable => Reason::NoPorts,
        _ => match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => Reason::NoDescriptors,
            _ => Reason::NoConnection,
        },
    }
}

/// The first error of type `E` in the chain of causes of `error`.
fn cause<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What the door answers to a single message.
#[derive(Debug, Default, Deserialize)]
struct SingleAnswer {
    /// Connections that the message reached.
    connections: Option<u64>,
}

impl SingleAnswer {
    /// What this answer, given with `status`, says of its one message.
    fn receipt(&self, status: StatusCode, _n: u64) -> Receipt {
        match self.connections {
            _ if !status.is_success() => {
                Receipt::nothing(Miss::Failed(Reason::Status(status.as_u16())))
            }
            Some(connections) => {
                Receipt { answered: 1, void: u64::from(connections == 0), connections, miss: None }
            }
            None => Receipt::nothing(Miss::Failed(Reason::BadAnswer)),
        }
    }
}

/// What the door answers to a batch, be it to the whole one or up to a line that it refused.
#[derive(Debug, Default, Deserialize)]
struct BatchAnswer {
    /// Messages taken.
    messages: Option<u64>,
    /// Connections that they reached.
    connections: Option<u64>,
    /// Of the messages, those to an id that nobody was logged in as.
    void: Option<u64>,
}

impl BatchAnswer {
    /// What this answer, given with `status`, says of its `n` messages.
    fn receipt(&self, status: StatusCode, n: u64) -> Receipt {
        let reason =
            if status.is_success() { Reason::BadAnswer } else { Reason::Status(status.as_u16()) };
        match (self.messages, self.connections, self.void) {
            // More than was sent, or more void than taken: not an answer to this request.
            (Some(answered), Some(connections), Some(void))
                if void <= answered && answered <= n =>
            {
                let miss = (answered < n).then_some(Miss::Failed(reason));
                Receipt { answered, void, connections, miss }
            }
            _ => Receipt::nothing(Miss::Failed(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(status: u16, answer: &str, n: u64) -> Receipt {
        let answer: BatchAnswer = serde_json::from_str(answer).unwrap_or_default();
        answer.receipt(StatusCode::from_u16(status).unwrap(), n)
    }

    #[test]
    fn a_message_that_reached_nobody_went_into_the_void() {
        let receipt = |connections| {
            SingleAnswer { connections: Some(connections) }.receipt(StatusCode::OK, 1)
        };
        assert_eq!(receipt(0), Receipt { answered: 1, void: 1, connections: 0, miss: None });
        assert_eq!(receipt(3), Receipt { answered: 1, void: 0, connections: 3, miss: None });
    }

    #[test]
    fn what_was_sent_before_a_bad_line_counts_and_the_rest_failed() {
        let answer = r#"{"error":"line 3: no id","messages":2,"connections":5,"void":1}"#;
        let miss = Some(Miss::Failed(Reason::Status(400)));
        let receipt = Receipt { answered: 2, void: 1, connections: 5, miss };
        assert_eq!(batch(400, answer, 10), receipt);
    }

    #[test]
    fn an_answer_that_cannot_be_one_to_this_batch_is_a_bad_answer() {
        let bad = Receipt::nothing(Miss::Failed(Reason::BadAnswer));
        for answer in [
            "",
            "[]",
            "ok",
            "{}",
            r#"{"messages":10,"connections":1}"#,
            r#"{"messages":11,"connections":1,"void":0}"#,
            r#"{"messages":3,"connections":1,"void":4}"#,
        ] {
            assert_eq!(batch(200, answer, 10), bad, "{answer}");
        }
    }

    #[test]
    fn a_refusal_without_figures_failed_as_a_whole() {
        let refused = Receipt::nothing(Miss::Failed(Reason::Status(503)));
        assert_eq!(batch(503, "come back later", 10), refused);
    }
}
