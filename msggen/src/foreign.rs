//! Requests to servers other than comet-server, which may answer in any way that HTTP has.
//!
//! They go through reqwest. It may hand a request to a second connection in one case: a kept
//! connection was found closed before the request was begun on it. hyper gives the request back
//! then, which it does only when not a byte of it was written. Retries on any other ground are
//! turned off: delivery is at most once.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use reqwest::{Client, Request, Url};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::connector::{CONNECT_TIMEOUT, Connector};
use crate::error::Error;
use crate::form::Form;
use crate::message::Draft;
use crate::order::{Hold, PipeKey, Waiting};
use crate::receipt::{Miss, Reason, Receipt};
use crate::shared::Shared;
use crate::template::{Filling, Template};
use crate::tls;

/// Bytes of the body of an answer that are kept, for the regular expressions to look at. What
/// follows is read and thrown away: an answer counts when it is complete.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Any other HTTP server.
#[derive(Debug)]
pub struct ForeignTarget {
    /// The client, with its own connections.
    client: Client,
    /// How many of them there may be, and what is done while the server is gone.
    connector: Connector,
    /// The URL of a request.
    url: Template,
    /// The rest of it.
    form: Arc<Form>,
}

impl ForeignTarget {
    /// The server that `url` names, which was found at `address`.
    pub fn new(
        url: (Template, &Url),
        address: SocketAddr,
        connector: Connector,
        form: Arc<Form>,
        timeout: Duration,
        tls: Option<&ClientConfig>,
    ) -> Result<Self, Error> {
        let (url, sample) = url;
        let host = sample.host_str().expect("a checked URL has a host");
        // Less than any answer may take, so that a message for which there was no connection is
        // told from one that was sent.
        let client = Client::builder()
            .resolve_to_addrs(host, &[address])
            .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
            .timeout(timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            // What a burst of overdue messages has opened is kept for the next one, which should
            // not wait for connects.
            .pool_idle_timeout(None)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            // Given also where it is not needed: the client would look for cryptography that it
            // could use by itself, and there is none.
            .tls_backend_preconfigured(tls.cloned().unwrap_or_else(tls::trusting_nobody))
            .build()
            .map_err(Error::Client)?;
        Ok(Self { client, connector, url, form })
    }

    /// Sends the message of `draft`, unless everything is stopped before it can be.
    async fn deliver(&self, pipe: PipeKey, draft: Draft, shared: Arc<Shared>) {
        let ready = async {
            let (room, has_waited) = match self.connector.try_room() {
                Some(room) => (room, false),
                None => (self.connector.room().await, true),
            };
            // Only tried: the client makes its own connections.
            let is_lost = self.connector.is_lost();
            let connected = if is_lost { self.connector.connect().await.map(drop) } else { Ok(()) };
            // What had to wait for the server could not have been sent before.
            let has_waited = has_waited || is_lost;
            let draft = if has_waited { draft.free_at(Instant::now()) } else { draft };
            (room, connected, draft)
        };
        let (_room, connected, draft) = tokio::select! {
            biased;
            ready = ready => ready,
            () = shared.timer.stopped() => {
                let stopped_at = shared.timer.stopped_at().expect("it is stopped");
                shared.give_back(&draft, pipe);
                return shared.forget(&draft, stopped_at);
            }
        };
        if let Err(reason) = connected {
            return fail(draft, pipe, reason, &shared);
        }
        let in_flight = InFlight::begin(pipe, draft, shared);
        let receipt = self.exchange(in_flight.request(self)).await;
        in_flight.end(receipt);
    }

    /// Sends a request and reads its answer to the end: one that breaks off or never ends is none.
    async fn exchange(&self, request: Request) -> Receipt {
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                if error.is_connect() {
                    self.connector.lose();
                }
                return Receipt::nothing(miss(&error));
            }
        };
        if !response.status().is_success() {
            // Whatever its text is, the message was not taken. It is read so that the connection
            // can be used again, and only as long as it is short.
            let mut n_read = 0;
            while let Ok(Some(chunk)) = response.chunk().await
                && n_read <= BODY_LIMIT_BYTES
            {
                n_read += chunk.len();
            }
            return Receipt::nothing(Miss::Failed(Reason::Status(response.status().as_u16())));
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if self.form.wants.is_any() => {
                    let n_wanted = chunk.len().min(BODY_LIMIT_BYTES - body.len());
                    body.extend_from_slice(&chunk[..n_wanted]);
                }
                Ok(Some(_)) => {}
                Ok(None) => return self.form.wants.receipt(&body),
                Err(error) => return Receipt::nothing(Miss::Unanswered(breaking(&error))),
            }
        }
    }
}

/// Counts a message that was never sent. It gets no number: to whoever receives the others none is
/// missing.
fn fail(draft: Draft, pipe: PipeKey, reason: Reason, shared: &Shared) {
    let now = Instant::now();
    shared.give_back(&draft, pipe);
    shared.sent(&[draft], now);
    shared.ended(std::iter::once(draft), now, Receipt::nothing(Miss::Failed(reason)));
}

/// What an error of the client means for the message of its request.
fn miss(error: &reqwest::Error) -> Miss {
    let io_error = cause::<io::Error>(error);
    if error.is_connect() {
        return Miss::Failed(io_error.map_or(Reason::NoConnection, Reason::of_connecting));
    }
    if error.is_timeout() {
        return Miss::Unanswered(Reason::TimedOut);
    }
    if let Some(error) = cause::<hyper::Error>(error) {
        if error.is_canceled() {
            // The connection was gone before the request was begun on it.
            return Miss::Failed(Reason::NoConnection);
        }
        if error.is_parse() {
            return Miss::Failed(Reason::BadAnswer);
        }
    }
    Miss::Unanswered(io_error.map_or(Reason::Cut, Reason::of_breaking))
}

/// Why the body of an answer broke off.
fn breaking(error: &reqwest::Error) -> Reason {
    if error.is_timeout() {
        return Reason::TimedOut;
    }
    if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        return Reason::BadAnswer;
    }
    cause::<io::Error>(error).map_or(Reason::Cut, Reason::of_breaking)
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

/// A request on its way, and the promise that its message is accounted for: dropped without an
/// answer, as at the end of a run that does not wait for it, it counts as unanswered.
struct InFlight {
    /// The source that sent it.
    source: u64,
    /// Its message.
    draft: Draft,
    /// When it was sent: right before it was made and handed to the client.
    sent_at: Instant,
    /// Where it is accounted for.
    shared: Arc<Shared>,
    /// What became of it.
    receipt: Receipt,
}

impl InFlight {
    /// Counts a message as sent now.
    fn begin(pipe: PipeKey, draft: Draft, shared: Arc<Shared>) -> Self {
        let sent_at = Instant::now();
        let number = shared.numbers().map_or(0, |mut numbers| numbers.next(draft.id));
        let (draft, source) = (Draft { number, ..draft }, pipe.source as u64);
        shared.sent(&[draft], sent_at);
        let receipt = Receipt::nothing(Miss::Unanswered(Reason::Interrupted));
        Self { source, draft, sent_at, shared, receipt }
    }

    /// The request to `target`.
    fn request(&self, target: &ForeignTarget) -> Request {
        let (draft, shared) = (&self.draft, &self.shared);
        let mut message = String::new();
        let stamps = shared.stamps.as_ref();
        shared.text.write(draft, self.source, self.sent_at, stamps, &mut message);
        let (source, Draft { countdown, id, number, .. }) = (self.source, *draft);
        let filling = Filling { countdown, id, source, number, message: &message };
        target.form.request(&target.url, filling)
    }

    /// Counts what became of it.
    fn end(mut self, receipt: Receipt) {
        self.receipt = receipt;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.ended(std::iter::once(self.draft), self.sent_at, self.receipt);
    }
}

/// What one source sends to one server that is no comet-server. Its requests go out as connections
/// allow, so that with several on their way their order is not kept.
pub struct ForeignPipe {
    /// Whose it is and where it leads.
    key: PipeKey,
    /// What it shares with the others.
    shared: Arc<Shared>,
    /// Where it sends.
    target: Arc<ForeignTarget>,
    /// Messages that wait until those before them to the same id are answered.
    waiting: Waiting,
    /// Requests on their way.
    requests: JoinSet<()>,
}

impl ForeignPipe {
    /// The pipe `key` to `target`.
    pub fn new(key: PipeKey, shared: Arc<Shared>, target: Arc<ForeignTarget>) -> Self {
        Self { key, shared, target, waiting: Waiting::default(), requests: JoinSet::new() }
    }

    /// Takes a message to be sent.
    pub fn push(&mut self, draft: Draft) {
        let claimed = match self.shared.numbers() {
            None => Ok(false),
            Some(_) if self.waiting.push_behind(&draft, Instant::now()) => return,
            Some(mut numbers) => numbers.claim(draft.id, self.key).map(|()| true),
        };
        match claimed {
            Ok(has_place) => self.spawn(Draft { has_place, ..draft }),
            Err(Hold::Wait) => self.waiting.push(draft, Instant::now()),
            Err(Hold::NoRoom) => {
                let (key, shared) = (self.key, Arc::clone(&self.shared));
                self.requests.spawn(async move { fail(draft, key, Reason::NoNumber, &shared) });
            }
        }
    }

    /// Begins to send a message whose turn it is.
    fn spawn(&mut self, draft: Draft) {
        let (target, shared) = (Arc::clone(&self.target), Arc::clone(&self.shared));
        let key = self.key;
        self.requests.spawn(async move { target.deliver(key, draft, shared).await });
    }

    /// Begins to send the messages whose turn has come that they had to wait for.
    fn take_turns(&mut self) {
        if self.waiting.n_drafts() == 0 {
            return;
        }
        let mut drafts = Vec::new();
        if let Some(mut numbers) = self.shared.numbers() {
            let take = |draft| drafts.push(draft);
            self.waiting.take_turns(&mut numbers, self.key, Instant::now(), take);
        }
        for draft in drafts {
            self.spawn(draft);
        }
    }

    /// Gives up what waits for its turn: nothing more is to be sent since `stopped_at`. What waits
    /// for a connection sees the stop by itself.
    pub fn forget_drafts(&mut self, stopped_at: Instant) {
        self.waiting.drain().for_each(|draft| self.shared.forget(&draft, stopped_at));
    }

    /// Requests that are on their way or wait for it.
    pub fn n_requests(&self) -> usize {
        self.requests.len() + self.waiting.n_drafts()
    }

    /// Goes on with everything. Completes when a request has ended.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.take_turns();
        match ready!(self.requests.poll_join_next(context)) {
            Some(ended) => {
                ended.expect("a request ends by itself");
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}
