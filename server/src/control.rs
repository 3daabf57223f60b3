//! The control door: where messages come in and counts go out.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::task::coop::unconstrained;

use crate::Shared;
use crate::answer::{Response, json_response, not_allowed, refusal, text_response};
use crate::cluster::Cluster;
use crate::logout;
use crate::metrics;
use crate::ndjson;
use crate::overload::{Complaint, PAUSE};
use crate::request::parse_id;
use crate::router::Id;
use crate::send::MAX_MESSAGE_BYTES;
use crate::sync::Mutex;

type Request = hyper::Request<Incoming>;

/// Bytes that are read of a request before they are made use of: a bound on what the connections
/// of the door may hold together.
const READ_BYTES: usize = 64 * 1024;

/// Descriptors kept for the door, so that it can still be reached when all others are gone. Each is
/// one connection at a time.
const N_SPARES: usize = 8;

/// Serves the control door until `shutdown` changes, then lets requests in progress end.
pub(crate) async fn run(
    listener: TcpListener,
    spares: Spares,
    shared: Arc<Shared>,
    shutdown: watch::Receiver<bool>,
) {
    let config = &shared.config;
    let room = Arc::new(Semaphore::new(config.max_control_connections));
    let spares = Arc::new(spares);
    let mut is_down = shutdown.clone();
    let mut connections = JoinSet::new();
    let mut complaint = Complaint::default();
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            let mut accepted = listener.accept().await;
            if accepted.is_err() && is_waiting(&listener) && spares.take() {
                // Nobody else may run before it has the descriptor, not even for fairness.
                accepted = unconstrained(listener.accept()).await;
            }
            accepted.map(|(stream, _)| (stream, permit))
        };
        tokio::select! {
            biased;
            () = crate::went_down(&mut is_down) => break,
            Some(_) = connections.join_next() => {}
            accepted = accepted => match accepted {
                Ok((stream, permit)) => {
                    let served = serve(stream, Arc::clone(&shared), shutdown.clone());
                    let spares = Arc::clone(&spares);
                    connections.spawn(async move {
                        served.await;
                        // Before anybody else can take the descriptor that has just become free.
                        spares.refill();
                        drop(permit);
                    });
                }
                Err(error) => {
                    if is_waiting(&listener) && complaint.is_due() {
                        tracing::warn!("the control door cannot accept: {error}");
                    }
                    spares.refill();
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Whether somebody waits to be accepted. Without a descriptor to give, the kernel refuses to accept
/// even if nobody does.
fn is_waiting(listener: &TcpListener) -> bool {
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|n_ready| n_ready > 0)
}

/// Descriptors that stand for control connections to come.
#[derive(Debug)]
pub(crate) struct Spares(Mutex<Vec<File>>);

impl Spares {
    /// Opens them. To be done before the first client comes.
    pub(crate) fn open() -> Self {
        let spares = Self(Mutex::new(Vec::with_capacity(N_SPARES)));
        spares.refill();
        spares
    }

    /// Frees one, if there is one.
    fn take(&self) -> bool {
        self.0.lock().pop().is_some()
    }

    /// Opens what is missing, as far as it can.
    fn refill(&self) {
        let mut spares = self.0.lock();
        while spares.len() < N_SPARES {
            let Ok(spare) = File::open("/dev/null") else { return };
            spares.push(spare);
        }
    }
}

/// Serves one connection.
async fn serve(stream: TcpStream, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    // Answers are small and awaited: a delay to fill a segment would be a sender's delay.
    _ = stream.set_nodelay(true);
    let head_timeout = shared.config.head_timeout;
    // Whether it has shown that it is a sender: by a request, with the token if there is one.
    let is_known = AtomicBool::new(false);
    let service = service_fn(|request| {
        let (shared, is_known) = (Arc::clone(&shared), &is_known);
        async move {
            if !is_authorized(&request, shared.config.control_token.as_deref()) {
                let why = "the control token is missing or wrong";
                return Ok::<_, io::Error>(refusal(StatusCode::UNAUTHORIZED, why));
            }
            is_known.store(true, Ordering::Relaxed);
            Ok(answer(request, &shared).await)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .max_buf_size(READ_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let stranger = async {
        tokio::time::sleep(head_timeout).await;
        if is_known.load(Ordering::Relaxed) {
            // No timeout on a silent sender: closing an idle connection just as it is used again
            // makes a message that nobody knows the fate of.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // An error here is a peer that left or broke the protocol, and was answered by hyper.
        _ = connection.as_mut() => return,
        // Strangers must not fill the door.
        () = stranger => return,
        () = crate::went_down(&mut shutdown) => connection.as_mut().graceful_shutdown(),
    }
    _ = connection.await;
}

/// Answers one request.
async fn answer(request: Request, shared: &Shared) -> Response {
    let path = request.uri().path().to_owned();
    let mut parts = path[1.min(path.len())..].split('/');
    let target = (parts.next().unwrap_or(""), parts.next(), parts.next());
    match (target, request.method()) {
        (("send", Some(id), None), &Method::POST) => send(id, request, shared).await,
        (("send", None, None), &Method::POST) => ndjson::send(request, shared).await,
        (("send", _, None), _) => not_allowed("POST"),
        (("logins", Some(id), None), method) => logins(id, method, shared).await,
        (("stats", None, None), &Method::GET) => {
            let stats = serde_json::to_string(&shared.stats()).expect("counts are plain JSON");
            json_response(StatusCode::OK, stats)
        }
        (("metrics", None, None), &Method::GET) => {
            let text = metrics::text(shared.stats(), shared.sender.cost());
            text_response(metrics::CONTENT_TYPE, text)
        }
        (("healthz", None, None), &Method::GET) => health(shared),
        (("stats" | "metrics" | "healthz", None, None), _) => not_allowed("GET"),
        _ => refusal(
            StatusCode::NOT_FOUND,
            "there is nothing here; see /send/{id}, /send, /logins/{id}, /stats, /metrics and \
             /healthz",
        ),
    }
}

/// `POST /send/{id}`: the body is the message.
async fn send(id: &str, request: Request, shared: &Shared) -> Response {
    let id = match parse_id(id) {
        Ok(id) => id,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let is_counted = request.uri().query() == Some("count=exact");
    let body = match Limited::new(request.into_body(), MAX_MESSAGE_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let why = format!("a message is at most {MAX_MESSAGE_BYTES} bytes");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, &why);
        }
        Err(error) => {
            shared.count_aborted();
            return refusal(StatusCode::BAD_REQUEST, &format!("the body broke off: {error}"));
        }
    };
    match std::str::from_utf8(&body) {
        Ok(text) => match &shared.cluster {
            None => {
                let n_reached = shared.sender.send(id, text).await;
                after_the_others().await;
                json_response(StatusCode::OK, format!("{{\"connections\": {n_reached}}}"))
            }
            Some(cluster) => send_to_all(cluster, id, text.to_owned(), is_counted).await,
        },
        Err(error) => {
            refusal(StatusCode::BAD_REQUEST, &format!("the message is not UTF-8: {error}"))
        }
    }
}

/// The same, to all nodes of a cluster.
async fn send_to_all(cluster: &Arc<Cluster>, id: Id, text: String, is_counted: bool) -> Response {
    let sent = if is_counted {
        cluster.send_counted(id, text).await
    } else {
        cluster.send(vec![(id, text)]).await.pop().expect("there is one for each message")
    };
    match sent {
        Ok(reach) => {
            let answer = serde_json::to_string(&reach).expect("counts are plain JSON");
            json_response(StatusCode::OK, answer)
        }
        Err(failure) => {
            let why = json!({ "error": &*failure.why, "unconfirmed": failure.is_unconfirmed });
            json_response(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
        }
    }
}

/// Lets every task that is ready now go first.
///
/// Under load many requests are ready at once. Messages to receivers and answers to senders then
/// go out in two runs instead of taking turns, and each run wakes its processes once. Without load
/// it is nearly free, unlike tokio's own yielding, which looks for new events first.
async fn after_the_others() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// `GET /logins/{id}` counts connections, `DELETE` logs them out.
async fn logins(id: &str, method: &Method, shared: &Shared) -> Response {
    let id = match parse_id(id) {
        Ok(id) => id,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let n_connections = match *method {
        Method::GET => shared.router.n_logins(id),
        Method::DELETE => logout::log_out(&shared.router, id).await,
        _ => return not_allowed("GET, DELETE"),
    };
    json_response(StatusCode::OK, json!({ "connections": n_connections }).to_string())
}

/// `GET /healthz`.
fn health(shared: &Shared) -> Response {
    if !shared.stats().accepting {
        let why = "no connections are accepted: out of descriptors, or shutting down";
        return refusal(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    if let Some(why) = shared.cluster.as_ref().and_then(|cluster| cluster.complaint()) {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, &why);
    }
    json_response(StatusCode::OK, json!({ "status": "ok" }).to_string())
}

/// Whether a request carries the token, if there is one. The time this takes tells nothing about
/// how much of a wrong token was right.
fn is_authorized(request: &Request, token: Option<&str>) -> bool {
    let Some(token) = token else { return true };
    let given = request.headers().get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    let differing = given.iter().zip(token.as_bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
    given.len() == token.len() && differing == 0
}
