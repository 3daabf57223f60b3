//! Request heads of the control door: bytes in, a request or a refusal out. No sockets.
//!
//! What a head is, and what is refused in it, is the same as at the public door
//! ([`request`](crate::request), [`strict`](crate::strict)); what is asked for is decided here.

use std::borrow::Cow;

use httparse::Header;

use super::body::{Body, Chunks};
use super::guard::{Guard, Stranger, field};
use crate::answer::{BAD_REQUEST, Frame};
use crate::close::CloseReason;
use crate::framing::MAX_MESSAGE_BYTES;
use crate::friends::{Direction, PAGE_IDS};
use crate::refusal::Refusal;
use crate::request::{self, MAX_FIELDS, parse_id};
use crate::router::Id;
use crate::strict::{check_fields, path_of};

/// The media type of lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// What it wants done, or why that is not done.
    pub(crate) call: Result<Call, Denial>,
    /// Whether it shows the token if there is one, and comes from no web page.
    pub(crate) is_trusted: bool,
    /// Its body.
    pub(crate) body: Body,
    /// How much of its body was taken to the front of what has come in.
    pub(crate) n_taken: usize,
    /// How it is to be answered, if its body is read to the end.
    pub(crate) frame: Frame,
    /// Whether it waits for `100 Continue` before it sends its body.
    pub(crate) expects_continue: bool,
}

/// What a request wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `POST /send/{id}`: the body is the message.
    Send {
        /// Whom it is for.
        id: Id,
        /// Whether all nodes of a cluster are asked how many connections it reached.
        is_counted: bool,
        /// Whether it is about the id and for all that follow it.
        to_followers: bool,
    },
    /// `POST /send`: the body is lines of JSON.
    SendLines,
    /// `GET /logins/{id}`.
    CountLogins(Id),
    /// `DELETE /logins/{id}`.
    LogOut(Id),
    /// `POST /friends`: the body is lines of JSON.
    ChangeFriends,
    /// `GET /friends/{id}`: how many they are.
    CountFriends(Id),
    /// `GET /friends/{id}?list=…`.
    ListFriends(List),
    /// `GET /stats`.
    Stats,
    /// `GET /metrics`.
    Metrics,
    /// `GET /healthz`.
    Health,
}

/// Part of a list of friends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    /// Whose.
    pub(crate) user: Id,
    /// Followers, or who is followed.
    pub(crate) direction: Direction,
    /// Behind which id it begins; 0 is before all.
    pub(crate) after: Id,
    /// How many ids at most.
    pub(crate) limit: usize,
}

/// Why what was asked for is not done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The status line's code and phrase.
    pub(crate) status: &'static str,
    /// A sentence for the person who sent it.
    pub(crate) why: Cow<'static, str>,
    /// The methods that there are instead.
    pub(crate) allow: Option<&'static str>,
}

impl Denial {
    /// A denial.
    pub(crate) fn new(status: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { status, why: why.into(), allow: None }
    }

    /// 405 with the methods that there are.
    fn not_allowed(methods: &'static str) -> Self {
        let why = format!("this path takes {methods}").into();
        Self { status: "405 Method Not Allowed", why, allow: Some(methods) }
    }
}

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The head is not complete.
    Incomplete,
    /// It is, in this many bytes.
    Complete(Ask, usize),
    /// It is refused, complete or not, and where a next one begins cannot be known.
    Refused(Refusal),
}

/// Whether bytes are the beginning of a request, and not just the line feed that some clients send
/// behind a body.
pub(crate) fn has_begun(bytes: &[u8]) -> bool {
    !matches!(bytes, [] | b"\r" | b"\r\n")
}

/// Parses a request head from its first byte on.
pub(crate) fn parse(bytes: &[u8], guard: &Guard) -> Parsed {
    // One blank line before a request is skipped (RFC 9112, 2.2).
    let n_skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    match try_parse(&bytes[n_skipped..], n_skipped, guard) {
        Ok(Some((ask, n_bytes))) => Parsed::Complete(ask, n_skipped + n_bytes),
        Ok(None) => Parsed::Incomplete,
        Err(refusal) => {
            let with_body = !bytes[n_skipped..].starts_with(b"HEAD ");
            Parsed::Refused(Refusal { with_body, ..refusal })
        }
    }
}

/// The same, with refusals as errors.
fn try_parse(
    bytes: &[u8],
    n_skipped: usize,
    guard: &Guard,
) -> Result<Option<(Ask, usize)>, Refusal> {
    match bytes {
        [] => return Ok(None),
        b"\r" if n_skipped == 0 => return Ok(None),
        [b'\r' | b'\n', ..] => {
            let sentence = "the request begins with a blank line";
            return Err(Refusal::new(CloseReason::BadRequest, sentence));
        }
        _ => {}
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let Some((head, n_bytes)) = request::read_head(bytes, n_skipped, &mut fields)? else {
        return Ok(None);
    };
    Ok(Some((read(&head, guard)?, n_bytes)))
}

/// Reads a complete head. An error means that where the next request begins cannot be trusted.
fn read(head: &httparse::Request<'_, '_>, guard: &Guard) -> Result<Ask, Refusal> {
    let is_http_1_1 = head.version == Some(1);
    let fields = &*head.headers;
    check_fields(fields, is_http_1_1)?;
    let method = head.method.expect("a complete head has a method");
    let target = head.path.expect("a complete head has a target");
    let path = path_of(target)?;
    let trust = guard.check(fields, target_host(target));
    let body = body(fields);
    let (expectation, expects_continue) = expectation(fields, is_http_1_1);
    let call = match trust {
        Err(stranger @ Stranger::NoToken) => {
            Err(Denial::new("401 Unauthorized", stranger.sentence()))
        }
        Err(stranger) => Err(Denial::new("403 Forbidden", stranger.sentence())),
        Ok(()) => expectation.and_then(|()| {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            route(method, path, query, fields, &body)
        }),
    };
    let says = |wanted: &str| {
        let values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection"));
        let mut options = values.flat_map(|field| field.value.split(|&byte| byte == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    };
    let keeps = !says("close") && (is_http_1_1 || says("keep-alive"));
    let frame = Frame { keeps, is_http_1_0: !is_http_1_1, with_body: method != "HEAD" };
    Ok(Ask { call, is_trusted: trust.is_ok(), body, n_taken: 0, frame, expects_continue })
}

/// The host that a target of the absolute form names.
fn target_host(target: &str) -> Option<&str> {
    // Such a target has been checked: it begins with "http://".
    let rest = target.split_once("://").filter(|_| !target.starts_with('/'))?.1;
    rest.split(['/', '?']).next()
}

/// How the body is framed, by fields that were checked.
fn body(fields: &[Header<'_>]) -> Body {
    if field(fields, "transfer-encoding").is_some() {
        return Body::Chunked(Chunks::Size);
    }
    let length = field(fields, "content-length").unwrap_or(b"0");
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
    Body::Length(length.expect("a checked length is a number"))
}

/// Whether what `Expect` asks for is known here, and whether the body waits for an answer to it.
/// HTTP/1.0 has no such field.
fn expectation(fields: &[Header<'_>], is_http_1_1: bool) -> (Result<(), Denial>, bool) {
    match field(fields, "expect") {
        Some(value) if is_http_1_1 => {
            if value.eq_ignore_ascii_case(b"100-continue") {
                return (Ok(()), true);
            }
            let why = "only \"100-continue\" can be expected here";
            (Err(Denial::new("417 Expectation Failed", why)), true)
        }
        _ => (Ok(()), false),
    }
}

/// What is asked for.
fn route(
    method: &str,
    path: &str,
    query: &str,
    fields: &[Header<'_>],
    body: &Body,
) -> Result<Call, Denial> {
    let id = |text| parse_id(text).map_err(|why| Denial::new(BAD_REQUEST, why));
    let mut parts = path[1..].split('/');
    let parts = (parts.next().unwrap_or(""), parts.next(), parts.next());
    match (parts, method) {
        (("send", Some(text), None), "POST") => {
            let to_followers = to_followers(query)?;
            let is_counted = query == "count=exact";
            let call = Call::Send { id: id(text)?, is_counted, to_followers };
            match body {
                Body::Length(n) if *n > MAX_MESSAGE_BYTES as u64 => Err(too_large()),
                _ => Ok(call),
            }
        }
        (("send", None, None), "POST") => {
            check_lines(path, fields)?;
            Ok(Call::SendLines)
        }
        (("friends", None, None), "POST") => {
            check_lines(path, fields)?;
            Ok(Call::ChangeFriends)
        }
        (("send", _, None) | ("friends", None, None), _) => Err(Denial::not_allowed("POST")),
        (("logins", Some(text), None), "GET" | "HEAD") => Ok(Call::CountLogins(id(text)?)),
        (("logins", Some(text), None), "DELETE") => Ok(Call::LogOut(id(text)?)),
        (("logins", Some(_), None), _) => Err(Denial::not_allowed("GET, HEAD, DELETE")),
        (("friends", Some(text), None), "GET" | "HEAD") => friends(id(text)?, query),
        (("stats", None, None), "GET" | "HEAD") => Ok(Call::Stats),
        (("metrics", None, None), "GET" | "HEAD") => Ok(Call::Metrics),
        (("healthz", None, None), "GET" | "HEAD") => Ok(Call::Health),
        (("stats" | "metrics" | "healthz", None, None) | ("friends", Some(_), None), _) => {
            Err(Denial::not_allowed("GET, HEAD"))
        }
        _ => Err(Denial::new(
            "404 Not Found",
            "there is nothing here; see /send/{id}, /send, /logins/{id}, /friends/{id}, /friends, \
             /stats, /metrics and /healthz",
        )),
    }
}

/// Checks that a body is lines of JSON.
fn check_lines(path: &str, fields: &[Header<'_>]) -> Result<(), Denial> {
    let media_type = field(fields, "content-type").unwrap_or_default();
    let media_type = media_type.split(|&byte| byte == b';').next().unwrap_or_default();
    if media_type.trim_ascii().eq_ignore_ascii_case(NDJSON.as_bytes()) {
        return Ok(());
    }
    let why = format!("POST {path} takes lines of JSON, as Content-Type: {NDJSON}");
    Err(Denial::new("415 Unsupported Media Type", why))
}

/// Whether a query asks for a message to go to all followers. Nothing else can be asked for then.
fn to_followers(query: &str) -> Result<bool, Denial> {
    if !query.split('&').any(|pair| pair.split('=').next() == Some("to")) {
        return Ok(false);
    }
    if query == "to=followers" {
        return Ok(true);
    }
    let why = "write ?to=followers, and nothing else: how many they are is answered anyway";
    Err(Denial::new(BAD_REQUEST, why))
}

/// What a query asks of the friends of a user.
fn friends(user: Id, query: &str) -> Result<Call, Denial> {
    let bad = |why: String| Denial::new(BAD_REQUEST, why);
    let (mut direction, mut after, mut limit) = (None, 0, PAGE_IDS);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("list", "followers") => direction = Some(Direction::Followers),
            ("list", "follows") => direction = Some(Direction::Follows),
            ("after", "0") => after = 0,
            ("after", text) => after = parse_id(text).map_err(bad)?,
            ("limit", text) => {
                let parsed = text.parse().ok().filter(|limit| (1..=PAGE_IDS).contains(limit));
                let why = || bad(format!("limit is 1 to {PAGE_IDS}"));
                limit = parsed.ok_or_else(why)?;
            }
            _ => {
                let why = "write ?list=followers or ?list=follows, and &after= and &limit= if you \
                           like";
                return Err(bad(why.to_owned()));
            }
        }
    }
    let count = Call::CountFriends(user);
    Ok(direction
        .map_or(count, |direction| Call::ListFriends(List { user, direction, after, limit })))
}

/// 413.
pub(crate) fn too_large() -> Denial {
    let why = format!("a message is at most {MAX_MESSAGE_BYTES} bytes");
    Denial::new("413 Content Too Large", why)
}
