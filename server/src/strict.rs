//! What RFC 9112 refuses in a request and `httparse` lets through: targets and fields. No sockets.

use httparse::Header;

use crate::close::CloseReason;
use crate::refusal::Refusal;

/// What the fields of a request say, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// `Accept` names `text/event-stream`.
    pub(crate) accepts_events: bool,
}

/// Checks the fields of a request, and reads those that matter.
pub(crate) fn check_fields(fields: &[Header<'_>], is_http_1_1: bool) -> Result<Fields, Refusal> {
    let (mut n_hosts, mut n_lengths) = (0, 0);
    let mut codings = Vec::new();
    let mut read = Fields::default();
    for &Header { name, value } in fields {
        let is = |known| name.eq_ignore_ascii_case(known);
        if is("host") {
            n_hosts += 1;
            if !is_host(value) {
                return bad("the Host is not a name or an address with a port");
            }
        } else if is("content-length") {
            n_lengths += 1;
            let is_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(value).unwrap_or_default();
            if !is_digits || text.parse::<u64>().is_err() {
                return bad("the Content-Length is not a number");
            }
        } else if is("transfer-encoding") {
            codings.extend(value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii));
        } else if is("accept") {
            read.accepts_events |= names_events(value);
        }
    }
    match n_hosts {
        0 if is_http_1_1 => return bad("an HTTP/1.1 request has a Host field"),
        0 | 1 => {}
        _ => return bad("the request has several Host fields"),
    }
    // Equal ones could be taken for one; nobody sends them but to see which of them counts.
    if n_lengths > 1 {
        return bad("the request has several Content-Length fields");
    }
    if !codings.is_empty() {
        if n_lengths > 0 {
            return bad("the request has a Content-Length and a Transfer-Encoding");
        }
        check_codings(&codings, is_http_1_1)?;
    }
    Ok(read)
}

/// Checks the list of transfer codings: its body would be dropped, but where it ends must be clear.
fn check_codings(codings: &[&[u8]], is_http_1_1: bool) -> Result<(), Refusal> {
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if !is_http_1_1 {
        return bad("HTTP/1.0 has no Transfer-Encoding");
    }
    let (last, others) = codings.split_last().expect("a field has at least one element");
    if !is_chunked(last) || others.iter().any(is_chunked) {
        return bad("the Transfer-Encoding does not end in one \"chunked\"");
    }
    if others.is_empty() {
        return Ok(());
    }
    let sentence = "no Transfer-Encoding but \"chunked\" is known here";
    Err(Refusal::new(CloseReason::NotImplemented, sentence))
}

/// Whether an `Accept` value names `text/event-stream`, and does not rule it out with `q=0`.
fn names_events(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|range| {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let is_events = |media: &[u8]| media.eq_ignore_ascii_case(b"text/event-stream");
        parts.next().is_some_and(is_events) && !parts.any(is_zero_quality)
    })
}

/// Whether a parameter is `q=0`, `q=0.0`, …
fn is_zero_quality(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', b'=', b'0', decimals @ ..] = parameter else { return false };
    decimals.iter().all(|byte| matches!(byte, b'.' | b'0'))
}

/// The path of a request target, without its query: of the origin form (`/path?query`) or of the
/// absolute form (`http://host/path?query`).
pub(crate) fn path_of(target: &str) -> Result<&str, Refusal> {
    const SCHEME: &str = "http://";
    let mut origin = target;
    if let Some((scheme, rest)) = target.split_at_checked(SCHEME.len())
        && scheme.eq_ignore_ascii_case(SCHEME)
    {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        if authority.is_empty() || !is_host(authority.as_bytes()) {
            return bad("the request target has no valid host");
        }
        // `http://host` and `http://host?query` mean the root.
        if after.starts_with('?') || after.is_empty() {
            return Ok("/");
        }
        origin = after;
    }
    if !origin.starts_with('/') {
        return bad("the request target is neither a path nor an http URI");
    }
    // What RFC 3986 allows in a path: a well-behaved client escapes everything else. Browsers do
    // not escape all that it asks for in a query, which is not looked at.
    let path = origin.split('?').next().expect("a split has a first part");
    let is_allowed = |byte| is_name_byte(byte) || matches!(byte, b':' | b'@' | b'/');
    if has_only(path.as_bytes(), is_allowed) {
        return Ok(path);
    }
    bad("the path has a character that belongs percent-escaped, or a broken escape")
}

/// Whether a `Host` value is one: a name or an address, and perhaps a port. It may be empty, which
/// says that the target has none.
fn is_host(value: &[u8]) -> bool {
    let (is_valid, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
        let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        (address.parse::<std::net::Ipv6Addr>().is_ok(), &rest[end + 1..])
    } else {
        let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
        (has_only(&value[..end], is_name_byte), &value[end..])
    };
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    is_valid && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

/// Whether a text consists of allowed bytes and whole percent-escapes.
fn has_only(text: &[u8], is_allowed: impl Fn(u8) -> bool) -> bool {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            [byte, after @ ..] if is_allowed(*byte) => after,
            _ => return false,
        }
    }
}

/// RFC 3986's unreserved characters and sub-delimiters.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~')
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// A refusal as malformed.
fn bad<T>(sentence: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(CloseReason::BadRequest, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_paths_or_http_uris() {
        for (target, path) in [
            ("/", "/"),
            ("/test/7,8?since=a%20b&c", "/test/7,8"),
            ("http://example.com/test/1", "/test/1"),
            ("HTTP://[::1]:8000/test/1?x", "/test/1"),
            ("http://example.com", "/"),
            ("http://example.com?x", "/"),
            ("//test/1", "//test/1"),
            ("/test/1?a[]=1&b=%zz|^\"<#`{}\\\u{e9}", "/test/1"),
            ("/test/1??/test/2", "/test/1"),
            ("http://x?<", "/"),
        ] {
            assert_eq!(path_of(target), Ok(path), "{target}");
        }
        for target in [
            "*",
            "test/1",
            "https://x/",
            "http:///test/1",
            "http://a@b/",
            "http://[::1/",
            "/%",
            "/%2",
            "/%zz",
            "/<",
            "/a#b",
            "/\"",
            "/\\",
            "/^",
            "/`",
            "/{",
            "/|",
            "/[",
            "/ü",
            "http://x:port/",
            "http://x:123456/",
            "http://?x",
            "/<?",
            "http:/",
            "",
        ] {
            let refusal = path_of(target).expect_err(target);
            assert_eq!(refusal.reason, CloseReason::BadRequest, "{target}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for host in ["", "x", "x:", "x:80", "127.0.0.1:8000", "[::1]", "[::1]:80", "a_b.c-d%20"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a b", "a,b c", "x/y", "x?y", "x@y", "x:y", "x:1:2", "[::1", "[x]", "[::1]8"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(b"\xff"));
    }

    #[test]
    fn events_are_sent_to_who_names_them() {
        let names = |value: &str| names_events(value.as_bytes());
        assert!(names("text/event-stream"));
        assert!(names("*/*, Text/Event-Stream ;q=0.5;x=0"));
        assert!(names("text/event-stream;q=0.01"));
        for other in ["", "*/*", "text/*", "text/event-streams", "text/event-stream;q=0.000"] {
            assert!(!names(other), "{other}");
        }
    }
}
