//! Request heads: bytes in, a decision out. No sockets.
//!
//! `httparse` finds the fields; what it lets through and RFC 9112 does not is refused here (lines
//! that end in a bare LF, blank lines before the request) and in [`strict`](crate::strict).
//!
//! A decision never depends on how the bytes were cut: the first byte that is wrong decides,
//! whatever came along with it.

use std::borrow::Cow;

use crate::close::CloseReason;
use crate::framing::Style;
use crate::page;
use crate::refusal::{BLANK_LINE, Refusal};
use crate::router::Id;
use crate::strict::{check_fields, path_of};
use crate::websocket::handshake;

/// Bytes in a request head. The longest useful one names 1,024 ids of 19 digits only in theory;
/// browsers with cookies stay below 8 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Field lines in a request head; browsers send about 15.
pub(crate) const MAX_FIELDS: usize = 100;

/// Ids in one request: as many as fit a head when they are short.
pub(crate) const MAX_IDS: usize = 1_024;

/// The largest id, 2⁶³−1, so that every id fits the signed integers of databases.
const MAX_ID: Id = i64::MAX as Id;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To be logged in as `ids`, each once, and to receive what is sent to them.
    Follow {
        /// The ids, in the order in which they were given.
        ids: Vec<Id>,
        /// How messages are to be framed.
        style: Style,
        /// The response head that opens the stream.
        head: Cow<'static, str>,
    },
    /// To be answered with this whole response.
    Whole(Cow<'static, str>),
}

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The head is not complete.
    Incomplete,
    /// It is, in this many bytes.
    Complete(Request, usize),
    /// It is refused, complete or not.
    Refused(Refusal),
}

/// Parses a request head from its first byte on.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    match try_parse(bytes) {
        Ok(Some((request, n_bytes))) => Parsed::Complete(request, n_bytes),
        Ok(None) => Parsed::Incomplete,
        Err(refusal) => Parsed::Refused(refusal.in_answer_to(bytes)),
    }
}

/// The same, with refusals as errors.
fn try_parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let n_skipped = if bytes.starts_with(BLANK_LINE) { BLANK_LINE.len() } else { 0 };
    match bytes[n_skipped..] {
        [b'\r'] if n_skipped == 0 => return Ok(None),
        [b'\r' | b'\n', ..] => return Err(bad("the request begins with blank lines")),
        _ => {}
    }
    let within = &bytes[n_skipped..bytes.len().min(MAX_HEAD_BYTES)];
    let within = &*without_query(within);
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let Some((request, n_bytes)) = read_head(within, n_skipped, &mut fields)? else {
        return Ok(None);
    };
    let is_http_1_1 = request.version == Some(1);
    let read = check_fields(request.headers, is_http_1_1)?;
    let method = request.method.expect("a complete head has a method");
    let target = request.path.expect("a complete head has a target");
    let style = Style::new(is_http_1_1, read.accepts_events);
    let mut asked = route(method, target, style)?;
    // In HTTP/1.0, and for anything but a stream, an upgrade is ignored (RFC 9110, 7.8).
    if let Request::Follow { style, head, .. } = &mut asked
        && is_http_1_1
        && let Some(opening) = handshake::answer(request.headers)?
    {
        (*style, *head) = (Style::WebSocket, opening.into());
    }
    Ok(Some((asked, n_skipped + n_bytes)))
}

/// The same head, with a query in it that `httparse` takes. It wants UTF-8 there, and browsers send
/// what they like; here a query is thrown away in any case.
fn without_query(head: &[u8]) -> Cow<'_, [u8]> {
    let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
    let Some(begin) = memchr::memchr(b'?', line) else { return Cow::Borrowed(head) };
    let query = &line[begin..];
    let end = query.iter().position(|&byte| byte <= b' ' || byte == DELETE);
    let query = begin..begin + end.unwrap_or(query.len());
    if head[query.clone()].is_ascii() {
        return Cow::Borrowed(head);
    }
    let mut head = head.to_vec();
    head[query].fill(b'?');
    Cow::Owned(head)
}

/// Finds the request line and the fields of a head, at either door. `n_before` bytes before it
/// count to the limit. `None` while it is not complete, otherwise it and the bytes that it takes.
pub(crate) fn read_head<'fields, 'bytes>(
    bytes: &'bytes [u8],
    n_before: usize,
    fields: &'fields mut [httparse::Header<'bytes>],
) -> Result<Option<(httparse::Request<'fields, 'bytes>, usize)>, Refusal> {
    // Only the bytes before the first bare LF and within the limit are looked at, so that what is
    // wrong first is what is refused.
    let limit = MAX_HEAD_BYTES - n_before;
    let within = &bytes[..bytes.len().min(limit)];
    let bare_lf = find_bare_lf(within);
    let within = &within[..bare_lf.unwrap_or(within.len())];
    let mut request = httparse::Request::new(fields);
    match request.parse(within) {
        Ok(httparse::Status::Complete(n_bytes)) => Ok(Some((request, n_bytes))),
        Ok(httparse::Status::Partial) if bare_lf.is_some() => {
            Err(bad("a line of the request head ends without a carriage return"))
        }
        Ok(httparse::Status::Partial) if within.len() == limit => Err(too_large()),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(too_large()),
        Err(error) => Err(bad(format!("the request head is malformed: {error}"))),
    }
}

/// The refusal of a request that is not complete in time, of which `bytes` have come.
pub(crate) fn too_late(bytes: &[u8]) -> Refusal {
    let sentence = "the request was not complete in time";
    Refusal::new(CloseReason::HeadTimeout, sentence).in_answer_to(bytes)
}

/// The refusal of a request of which `bytes` have come, and whose place others need.
pub(crate) fn crowded_out(bytes: &[u8]) -> Refusal {
    let sentence = "the server is crowded, and no request was unfinished for longer";
    Refusal::new(CloseReason::CrowdedOut, sentence).in_answer_to(bytes)
}

/// What is asked for, by method and target.
fn route(method: &str, target: &str, style: Style) -> Result<Request, Refusal> {
    if !matches!(method, "GET" | "HEAD" | "POST") {
        let sentence = "only GET, HEAD and POST are known here";
        return Err(Refusal::new(CloseReason::NotImplemented, sentence));
    }
    let path = path_of(target)?;
    let is_head = method == "HEAD";
    if path == "/" && method != "POST" {
        return Ok(Request::Whole(page::response(!is_head).into()));
    }
    let (Some(ids), true) = (path.strip_prefix("/test/"), method != "POST") else {
        let sentence = "there is nothing here; connect to /test/{id}";
        return Err(Refusal::new(CloseReason::NotFound, sentence));
    };
    let ids = parse_ids(ids).map_err(bad)?;
    let head = Cow::Borrowed(style.head());
    Ok(if is_head { Request::Whole(head) } else { Request::Follow { ids, style, head } })
}

/// A control character above all others.
const DELETE: u8 = 127;

/// Reads `7` or `7,8,9`. Repeated ids count once.
fn parse_ids(text: &str) -> Result<Vec<Id>, String> {
    let mut ids = Vec::with_capacity(1);
    for (n_before, id) in text.split(',').enumerate() {
        if n_before == MAX_IDS {
            return Err(format!("more than {MAX_IDS} ids"));
        }
        ids.push(parse_id(id)?);
    }
    Ok(if ids.len() > 1 { each_once(&ids) } else { ids })
}

/// The ids in their order, repeated ones once. A search among those before each would be half a
/// million comparisons for a full request.
fn each_once(ids: &[Id]) -> Vec<Id> {
    let mut numbered: Vec<_> = ids.iter().enumerate().map(|(at, &id)| (id, at)).collect();
    numbered.sort_unstable();
    numbered.dedup_by_key(|&mut (id, _)| id);
    numbered.sort_unstable_by_key(|&(_, at)| at);
    numbered.into_iter().map(|(id, _)| id).collect()
}

/// Reads one id: decimal, 1..=2⁶³−1.
pub(crate) fn parse_id(text: &str) -> Result<Id, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("\"{}\" is not an id: write a decimal number", text.escape_debug()));
    }
    text.parse().ok().and_then(|id| check_id(id).ok()).ok_or_else(|| out_of_range(text))
}

/// Checks the range of an id.
pub(crate) fn check_id(id: u64) -> Result<Id, String> {
    if (1..=MAX_ID).contains(&id) { Ok(id) } else { Err(out_of_range(&id.to_string())) }
}

/// Says that a number is no id.
fn out_of_range(number: &str) -> String {
    format!("{number} is not an id: ids are 1 to {MAX_ID}")
}

/// Where a line of the head ends in LF alone: what stands in front of us may end it elsewhere. What
/// comes behind the blank line that ends the head is not looked at.
fn find_bare_lf(bytes: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at == 0 || bytes[at - 1] != b'\r' {
            return Some(at);
        }
        let ends_the_head = at == line_start + 1 && line_start > 0;
        if ends_the_head {
            return None;
        }
        line_start = at + 1;
    }
    None
}

/// A refusal as malformed.
fn bad(sentence: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(CloseReason::BadRequest, sentence)
}

/// The refusal of a head over the limits.
fn too_large() -> Refusal {
    let sentence =
        format!("the request head is over {MAX_HEAD_BYTES} bytes or {MAX_FIELDS} fields");
    Refusal::new(CloseReason::HeadTooLarge, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Parsed {
        parse(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    fn ids(target: &str) -> Vec<Id> {
        match get(target) {
            Parsed::Complete(Request::Follow { ids, .. }, _) => ids,
            other => panic!("{target}: {other:?}"),
        }
    }

    fn refused(head: &str) -> CloseReason {
        match parse(head.as_bytes()) {
            Parsed::Refused(refusal) => refusal.reason,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn a_path_names_one_id_or_several() {
        assert_eq!(ids("/test/123"), [123]);
        assert_eq!(ids("/test/7,8,9"), [7, 8, 9]);
        assert_eq!(ids("/test/7,7,07"), [7], "a repeated id counts once");
        assert_eq!(ids("/test/9,3,9,1,3,9,2"), [9, 3, 1, 2], "where it is first");
        assert_eq!(ids("/test/1?since=yesterday"), [1]);
        assert_eq!(ids("http://example.com/test/1"), [1]);
        assert_eq!(ids("/test/9223372036854775807"), [MAX_ID]);
    }

    #[test]
    fn a_query_is_thrown_away_whatever_is_in_it() {
        for byte in (b'!'..=255).filter(|&byte| byte != DELETE) {
            let head = [b"GET /test/7?", &[byte][..], b"=\xff%zz HTTP/1.1\r\nHost: x\r\n\r\n"];
            let head = head.concat();
            let Parsed::Complete(Request::Follow { ids, .. }, n_bytes) = parse(&head) else {
                panic!("{byte}: {:?}", parse(&head))
            };
            assert_eq!((ids, n_bytes), (vec![7], head.len()), "{byte}");
            crate::fuzz_properties::head(&head, 0..head.len());
        }
        assert_eq!(ids("/test/1?a[]=1&b=|^%"), [1]);
    }

    #[test]
    fn one_blank_line_before_a_request_is_skipped() {
        let head = b"\r\nGET /test/7 HTTP/1.1\r\nHost: x\r\n\r\n";
        let Parsed::Complete(Request::Follow { ids, .. }, n_bytes) = parse(head) else { panic!() };
        assert_eq!((ids, n_bytes), (vec![7], head.len()));
        crate::fuzz_properties::head(head, 0..head.len());
        let Parsed::Refused(refusal) = parse(b"\r\nHEAD /x\r\n") else { panic!() };
        assert!(!refusal.with_body);
        assert!(!too_late(b"\r\nHEAD /").with_body);
    }

    #[test]
    fn what_is_no_id_is_a_bad_request_that_says_why() {
        for path in ["", "0", "-1", "+1", "1,", ",1", "abc", "%31", "1/2", "9223372036854775808"] {
            assert_eq!(
                refused(&format!("GET /test/{path} HTTP/1.1\r\nHost: x\r\n\r\n")),
                CloseReason::BadRequest,
                "{path}"
            );
        }
        let Parsed::Refused(refusal) = get("/test/abc") else { panic!("accepted") };
        assert_eq!(refusal.sentence, "\"abc\" is not an id: write a decimal number");
        let many = vec!["1"; MAX_IDS + 1].join(",");
        assert!(matches!(get(&format!("/test/{many}")), Parsed::Refused(_)));
    }

    #[test]
    fn other_methods_come_before_other_paths() {
        let status = |request: &str| refused(&format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(status("PUT /nowhere"), CloseReason::NotImplemented);
        assert_eq!(status("get /test/1"), CloseReason::NotImplemented, "methods have a case");
        assert_eq!(status("POST /test/1"), CloseReason::NotFound);
        assert_eq!(status("GET /tests/1"), CloseReason::NotFound);
    }

    #[test]
    fn the_answer_to_head_has_no_body_whatever_is_wrong() {
        for head in
            ["HEAD /x HTTP/1.1\r\n\r\n", "HEAD /x\r\n", "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"]
        {
            let Parsed::Refused(refusal) = parse(head.as_bytes()) else { panic!("{head:?}") };
            assert!(!refusal.with_body, "{head:?}");
        }
        assert!(!too_late(b"HEAD /").with_body);
        assert!(too_late(b"").with_body);
    }

    #[test]
    fn a_head_may_be_as_large_as_the_limits() {
        let head = |fields: &str| format!("GET /test/1 HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let n_before = head("X: \r\n").len();
        let field = |n_bytes| format!("X: {}\r\n", "x".repeat(n_bytes - n_before));
        let is_complete = |head: &str| matches!(parse(head.as_bytes()), Parsed::Complete(..));
        assert!(is_complete(&head(&field(MAX_HEAD_BYTES))));
        assert!(!is_complete(&head(&field(MAX_HEAD_BYTES + 1))));
        assert!(is_complete(&head(&"A: b\r\n".repeat(MAX_FIELDS - 1))));
        assert!(!is_complete(&head(&"A: b\r\n".repeat(MAX_FIELDS))));
        let ids = vec!["1"; MAX_IDS].join(",");
        assert!(matches!(get(&format!("/test/{ids}")), Parsed::Complete(..)));
    }

    #[test]
    fn events_go_to_who_accepts_them() {
        let style = |head: &str| match parse(head.as_bytes()) {
            Parsed::Complete(Request::Follow { style, .. }, _) => style,
            other => panic!("{head:?}: {other:?}"),
        };
        let accept = "Accept: text/event-stream\r\n\r\n";
        let head = format!("GET /test/1 HTTP/1.1\r\nHost: x\r\n{accept}");
        assert_eq!(style(&head), Style::EventChunks);
        assert_eq!(style(&format!("GET /test/1 HTTP/1.0\r\n{accept}")), Style::EventPlain);
    }

    #[test]
    fn a_websocket_is_for_get_of_http_1_1_on_ids() {
        let upgrade = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let parsed = |line: &str, more: &str| match parse(
            format!("{line}\r\n{upgrade}{more}\r\n").as_bytes(),
        ) {
            Parsed::Complete(request, _) => request,
            other => panic!("{line}: {other:?}"),
        };
        let Request::Follow { ids, style, head } = parsed("GET /test/7,8 HTTP/1.1", "") else {
            panic!("not followed")
        };
        assert_eq!((ids, style), (vec![7, 8], Style::WebSocket));
        assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"), "{head}");
        // It comes before events, as the client says that it understands both.
        let both = parsed("GET /test/7 HTTP/1.1", "Accept: text/event-stream\r\n");
        assert!(matches!(both, Request::Follow { style: Style::WebSocket, .. }));
        let old = parsed("GET /test/7 HTTP/1.0", "");
        assert!(matches!(old, Request::Follow { style: Style::HtmlPlain, .. }));
        let whole = |line: &str| matches!(parsed(line, ""), Request::Whole(_));
        assert!(whole("HEAD /test/7 HTTP/1.1") && whole("GET / HTTP/1.1"));
    }

    #[test]
    fn the_page_is_at_the_root() {
        let whole = |head: &str| match parse(head.as_bytes()) {
            Parsed::Complete(Request::Whole(response), _) => response,
            other => panic!("{head:?}: {other:?}"),
        };
        let page = whole("GET /?x HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        let head_alone = whole("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(head_alone, format!("{head}\r\n\r\n"));
    }

    #[test]
    fn http_1_0_needs_no_host_and_gets_no_chunks() {
        let parsed = parse(b"GET /test/1 HTTP/1.0\r\n\r\n");
        let Parsed::Complete(Request::Follow { style, .. }, _) = parsed else { panic!() };
        assert_eq!(style, Style::HtmlPlain);
        let parsed = parse(b"HEAD /test/1 HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = Request::Whole(Style::HtmlChunks.head().into());
        assert!(matches!(parsed, Parsed::Complete(request, _) if request == head));
    }
}
