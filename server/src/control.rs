//! The control door: where messages come in and counts go out.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::Shared;
use crate::answer::{Response, json_response, not_allowed, refusal};
use crate::ndjson;
use crate::overload::{Complaint, PAUSE};
use crate::request::parse_id;
use crate::send::MAX_MESSAGE_BYTES;

type Request = hyper::Request<Incoming>;

/// Serves the control door until `shutdown` changes, then lets requests in progress end.
pub(crate) async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: watch::Receiver<bool>,
) {
    let config = &shared.config;
    let room = Arc::new(Semaphore::new(config.max_control_connections));
    let mut is_down = shutdown.clone();
    let mut connections = JoinSet::new();
    let mut complaint = Complaint::default();
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        tokio::select! {
            biased;
            () = crate::went_down(&mut is_down) => break,
            Some(_) = connections.join_next() => {}
            accepted = accepted => match accepted {
                Ok((stream, permit)) => {
                    let served = serve(stream, Arc::clone(&shared), shutdown.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    if complaint.is_due() {
                        tracing::warn!("the control door cannot accept: {error}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection.
async fn serve(stream: TcpStream, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    // Answers are small and awaited: a delay to fill a segment would be a sender's delay.
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, io::Error>(answer(request, &shared).await) }
    });
    // No timeout on a silent sender: closing an idle connection just as it is used again makes a
    // message that nobody knows the fate of.
    let connection = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // An error here is a peer that left or broke the protocol, and was answered by hyper.
        _ = connection.as_mut() => return,
        () = crate::went_down(&mut shutdown) => connection.as_mut().graceful_shutdown(),
    }
    _ = connection.await;
}

/// Answers one request.
async fn answer(request: Request, shared: &Shared) -> Response {
    if !is_authorized(&request, shared.config.control_token.as_deref()) {
        return refusal(StatusCode::UNAUTHORIZED, "the control token is missing or wrong");
    }
    let path = request.uri().path().to_owned();
    let mut parts = path[1.min(path.len())..].split('/');
    let target = (parts.next().unwrap_or(""), parts.next(), parts.next());
    match (target, request.method()) {
        (("send", Some(id), None), &Method::POST) => send(id, request, shared).await,
        (("send", None, None), &Method::POST) => ndjson::send(request, shared).await,
        (("send", _, None), _) => not_allowed("POST"),
        (("logins", Some(id), None), method) => logins(id, method, shared),
        (("stats", None, None), &Method::GET) => {
            let stats = serde_json::to_string(&shared.stats()).expect("counts are plain JSON");
            json_response(StatusCode::OK, stats)
        }
        (("healthz", None, None), &Method::GET) => health(shared),
        (("stats" | "healthz", None, None), _) => not_allowed("GET"),
        _ => refusal(
            StatusCode::NOT_FOUND,
            "there is nothing here; see /send/{id}, /send, /logins/{id}, /stats and /healthz",
        ),
    }
}

/// `POST /send/{id}`: the body is the message.
async fn send(id: &str, request: Request, shared: &Shared) -> Response {
    let id = match parse_id(id) {
        Ok(id) => id,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
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
        Ok(text) => {
            let n_reached = shared.sender.send(id, text).await;
            after_the_others().await;
            json_response(StatusCode::OK, format!("{{\"connections\": {n_reached}}}"))
        }
        Err(error) => {
            refusal(StatusCode::BAD_REQUEST, &format!("the message is not UTF-8: {error}"))
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
fn logins(id: &str, method: &Method, shared: &Shared) -> Response {
    let id = match parse_id(id) {
        Ok(id) => id,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let n_connections = match *method {
        Method::GET => shared.router.n_logins(id),
        Method::DELETE => shared.router.logout(id),
        _ => return not_allowed("GET, DELETE"),
    };
    json_response(StatusCode::OK, json!({ "connections": n_connections }).to_string())
}

/// `GET /healthz`.
fn health(shared: &Shared) -> Response {
    if shared.is_accepting() {
        json_response(StatusCode::OK, json!({ "status": "ok" }).to_string())
    } else {
        refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
    }
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
