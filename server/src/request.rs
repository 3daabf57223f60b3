//! Request heads: bytes in, a decision out. No sockets.
//!
//! `httparse` finds the fields; what it lets through and RFC 9112 does not is refused here: lines
//! that end in a bare LF, blank lines before the request, a missing or second `Host`, and
//! `Content-Length` together with `Transfer-Encoding`.

use std::borrow::Cow;

use crate::close::CloseReason;
use crate::framing::Style;
use crate::router::Id;

/// Bytes in a request head. The longest useful one names 1,024 ids of 19 digits only in theory;
/// browsers with cookies stay below 8 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Field lines in a request head; browsers send about 15.
const MAX_FIELDS: usize = 100;

/// Ids in one request: as many as fit a head when they are short.
const MAX_IDS: usize = 1_024;

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
    },
    /// The response head that `Follow` would get, and nothing else.
    HeadOnly(Style),
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Under which the close is counted. It determines the status.
    pub(crate) reason: CloseReason,
    /// A sentence for the person who sent it.
    pub(crate) sentence: Cow<'static, str>,
    /// Whether the answer has a body; that to HEAD has none.
    pub(crate) with_body: bool,
}

impl Refusal {
    /// A refusal for `reason` with a sentence.
    pub(crate) fn new(reason: CloseReason, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, sentence: sentence.into(), with_body: true }
    }

    /// The status line's code and phrase.
    pub(crate) fn status(&self) -> &'static str {
        match self.reason {
            CloseReason::NotFound => "404 Not Found",
            CloseReason::HeadTimeout => "408 Request Timeout",
            CloseReason::HeadTooLarge => "431 Request Header Fields Too Large",
            CloseReason::NotImplemented => "501 Not Implemented",
            CloseReason::Full => "503 Service Unavailable",
            _ => "400 Bad Request",
        }
    }
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
        Err(refusal) => Parsed::Refused(refusal),
    }
}

/// The same, with refusals as errors.
fn try_parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let bad = |sentence| Refusal::new(CloseReason::BadRequest, sentence);
    if bytes.first().is_some_and(|&byte| byte == b'\r' || byte == b'\n') {
        return Err(bad("the request begins with a blank line"));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let n_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(n_bytes)) => n_bytes,
        Ok(httparse::Status::Partial) => {
            refuse_bare_lf(bytes)?;
            if bytes.len() > MAX_HEAD_BYTES {
                return Err(too_large());
            }
            return Ok(None);
        }
        Err(httparse::Error::TooManyHeaders) => return Err(too_large()),
        Err(error) => {
            let sentence = format!("the request head is malformed: {error}");
            return Err(Refusal::new(CloseReason::BadRequest, sentence));
        }
    };
    if n_bytes > MAX_HEAD_BYTES {
        return Err(too_large());
    }
    refuse_bare_lf(&bytes[..n_bytes])?;
    let is_http_1_1 = request.version == Some(1);
    check_fields(request.headers, is_http_1_1)?;
    let method = request.method.expect("a complete head has a method");
    let target = request.path.expect("a complete head has a target");
    let style = if is_http_1_1 { Style::HtmlChunks } else { Style::HtmlPlain };
    let request = route(method, target, style)
        .map_err(|refusal| Refusal { with_body: method != "HEAD", ..refusal })?;
    Ok(Some((request, n_bytes)))
}

/// What is asked for, by method and target.
fn route(method: &str, target: &str, style: Style) -> Result<Request, Refusal> {
    if !matches!(method, "GET" | "HEAD" | "POST") {
        let sentence = "only GET, HEAD and POST are known here";
        return Err(Refusal::new(CloseReason::NotImplemented, sentence));
    }
    let ids = path_of(target).and_then(|path| path.strip_prefix("/test/"));
    let (Some(ids), true) = (ids, method != "POST") else {
        let sentence = "there is nothing here; connect to /test/{id}";
        return Err(Refusal::new(CloseReason::NotFound, sentence));
    };
    let ids = parse_ids(ids).map_err(|sentence| Refusal::new(CloseReason::BadRequest, sentence))?;
    Ok(if method == "HEAD" { Request::HeadOnly(style) } else { Request::Follow { ids, style } })
}

/// The path of a request target, origin form or absolute form, without its query.
fn path_of(target: &str) -> Option<&str> {
    let target = match target.strip_prefix("http://") {
        Some(absolute) => absolute.find('/').map(|slash| &absolute[slash..])?,
        None => target,
    };
    target.split('?').next()
}

/// Reads `7` or `7,8,9`. Repeated ids count once.
fn parse_ids(text: &str) -> Result<Vec<Id>, String> {
    let mut ids = Vec::with_capacity(1);
    for (n_before, id) in text.split(',').enumerate() {
        if n_before == MAX_IDS {
            return Err(format!("more than {MAX_IDS} ids"));
        }
        let id = parse_id(id)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
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

/// Refuses fields that RFC 9112 refuses and `httparse` does not look at.
fn check_fields(fields: &[httparse::Header<'_>], is_http_1_1: bool) -> Result<(), Refusal> {
    let bad = |sentence| Err(Refusal::new(CloseReason::BadRequest, sentence));
    let values = |name: &'static str| {
        fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    };
    match values("host").count() {
        0 if is_http_1_1 => return bad("an HTTP/1.1 request has a Host field"),
        0 | 1 => {}
        _ => return bad("the request has several Host fields"),
    }
    let mut lengths = values("content-length").map(|field| field.value);
    if let Some(length) = lengths.next() {
        if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
            return bad("the Content-Length is not a number");
        }
        if lengths.any(|other| other != length) {
            return bad("the request has several Content-Length fields");
        }
        if values("transfer-encoding").next().is_some() {
            return bad("the request has a Content-Length and a Transfer-Encoding");
        }
    }
    Ok(())
}

/// Refuses a line that ends in LF alone: what stands in front of us may end it elsewhere.
fn refuse_bare_lf(bytes: &[u8]) -> Result<(), Refusal> {
    let is_bare = |at: usize| at == 0 || bytes[at - 1] != b'\r';
    if memchr::memchr_iter(b'\n', bytes).any(is_bare) {
        let sentence = "a line of the request head ends without a carriage return";
        return Err(Refusal::new(CloseReason::BadRequest, sentence));
    }
    Ok(())
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
        assert_eq!(ids("/test/1?since=yesterday"), [1]);
        assert_eq!(ids("http://example.com/test/1"), [1]);
        assert_eq!(ids("/test/9223372036854775807"), [MAX_ID]);
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
        assert_eq!(status("GET /"), CloseReason::NotFound);
        assert_eq!(status("GET /tests/1"), CloseReason::NotFound);
    }

    #[test]
    fn what_httparse_lets_through_is_refused() {
        for head in [
            "\r\nGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /test/1 HTTP/1.1\nHost: x\n\n",
            "GET /test/1 HTTP/1.1\r\nHost: x\n\r\n",
            "GET /test/1 HTTP/1.1\r\n\r\n",
            "GET /test/1 HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
            "GET /test/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET /test/1 HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
            "GET /test/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /test/1 HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /test/1 HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET /test/1 HTTP/2.0\r\nHost: x\r\n\r\n",
            "GET  /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /test/1\r\n\r\n",
        ] {
            assert_eq!(refused(head), CloseReason::BadRequest, "{head:?}");
        }
    }

    #[test]
    fn a_head_is_the_same_wherever_it_is_cut() {
        let head = b"GET /test/7,8 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parse(&head[..end]), Parsed::Incomplete, "cut at {end}");
        }
        let style = Style::HtmlChunks;
        let request = Request::Follow { ids: vec![7, 8], style };
        assert_eq!(parse(head), Parsed::Complete(request, head.len()));
    }

    #[test]
    fn limits_are_on_bytes_and_on_lines() {
        let field = format!("X: {}\r\n", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(refused(&format!("GET /test/1 HTTP/1.1\r\n{field}")), CloseReason::HeadTooLarge);
        let fields = "A: b\r\n".repeat(MAX_FIELDS + 1);
        let head = format!("GET /test/1 HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refused(&head), CloseReason::HeadTooLarge);
    }

    #[test]
    fn http_1_0_needs_no_host_and_gets_no_chunks() {
        let parsed = parse(b"GET /test/1 HTTP/1.0\r\n\r\n");
        let Parsed::Complete(Request::Follow { style, .. }, _) = parsed else { panic!() };
        assert_eq!(style, Style::HtmlPlain);
        let parsed = parse(b"HEAD /test/1 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(matches!(parsed, Parsed::Complete(Request::HeadOnly(Style::HtmlChunks), _)));
    }
}
