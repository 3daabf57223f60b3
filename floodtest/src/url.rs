//! `http://[name:password@]host[:port]/path`, or https, ws, wss, read strictly and without copying.

use std::fmt;

use memchr::memrchr;

/// How much of a bad URL an error message shows.
const SHOWN_BYTES: usize = 120;

/// Why a line is not a URL that can be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It begins with none of `http://`, `https://`, `ws://` and `wss://`.
    #[error("not an http or ws URL: \"{0}\"")]
    NotHttp(String),
    /// There is no host, or it has characters that no host has.
    #[error("no valid host in \"{0}\"")]
    Host(String),
    /// The port is not in 1..=65535.
    #[error("no valid port in \"{0}\"; it is a number from 1 to 65535")]
    Port(String),
    /// The path has a space, a control or a non-ASCII character.
    #[error("a character that must be percent-encoded in \"{0}\"")]
    Path(String),
    /// There is a `#…` part, which is never sent to a server.
    #[error("a fragment, which is never sent to a server, in \"{0}\"; remove what begins with #")]
    Fragment(String),
}

/// An `http://`, `https://`, `ws://` or `wss://` URL, in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// Host and port as written: what the `Host` field says.
    pub authority: &'a str,
    /// Name and password, as written in front of the host: `name:password`, percent-encoded.
    pub userinfo: Option<&'a str>,
    /// The host's name or address, without the brackets of an IPv6 address.
    pub host: &'a str,
    /// The port; 80, or 443 with TLS, where none is written.
    pub port: u16,
    /// Whether it is an `https://` or `wss://` URL.
    pub is_tls: bool,
    /// Whether it is a `ws://` or `wss://` URL.
    pub is_ws: bool,
    /// Path and query as written; may be empty, or begin with the query.
    pub path: &'a str,
}

/// As a URL is shown everywhere: without its password.
impl fmt::Debug for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The URL without name and password.
impl fmt::Display for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

/// All schemes, each with whether TLS is spoken and whether it is of a WebSocket.
const SCHEMES: [(&str, bool, bool); 4] =
    [("http", false, false), ("https", true, false), ("ws", false, true), ("wss", true, true)];

impl<'a> Url<'a> {
    /// Its scheme, in small letters.
    pub fn scheme(&self) -> &'static str {
        let is_it = |it: &&(&str, bool, bool)| (it.1, it.2) == (self.is_tls, self.is_ws);
        SCHEMES.iter().find(is_it).map_or("http", |it| it.0)
    }

    /// Reads one URL.
    pub fn parse(line: &'a [u8]) -> Result<Self, UrlError> {
        let text = || shown(line);
        let scheme = |(scheme, is_tls, is_ws): &(&str, bool, bool)| {
            let rest = strip_scheme(line, scheme.as_bytes())?.strip_prefix(b"://")?;
            Some((rest, *is_tls, *is_ws))
        };
        let (rest, is_tls, is_ws) =
            SCHEMES.iter().find_map(scheme).ok_or_else(|| UrlError::NotHttp(text()))?;
        if !rest.iter().all(u8::is_ascii_graphic) {
            return Err(UrlError::Path(text()));
        }
        let rest = str::from_utf8(rest).map_err(|_| UrlError::Path(text()))?;
        if rest.contains('#') {
            return Err(UrlError::Fragment(text()));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // The last @, as browsers take it: a password may have one that is not encoded.
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, authority),
        };
        let (host, port) = split_port(authority).ok_or_else(|| UrlError::Host(text()))?;
        let port = match port {
            None if is_tls => 443,
            None => 80,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| UrlError::Port(text()))?,
            Some(_) => return Err(UrlError::Port(text())),
        };
        Ok(Self { authority, userinfo, host, port, is_tls, is_ws, path })
    }
}

/// `line` without `scheme`, which may be in capitals.
fn strip_scheme<'a>(line: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Host, without brackets, and port of `authority`. `None` if the host is not valid.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return Some((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_host)).then_some((host, port))
}

/// `line` as an error message shows it: without what may be a password, and only its beginning.
pub(crate) fn shown(line: &[u8]) -> String {
    let hidden = match (line.windows(3).position(|part| part == b"://"), memrchr(b'@', line)) {
        // Up to the last @ of the line: a password that is not encoded may have a slash in it.
        (Some(scheme), Some(at)) if at >= scheme + 3 => {
            Some([&line[..scheme + 3], b"***", &line[at..]].concat())
        }
        _ => None,
    };
    let line = hidden.as_deref().unwrap_or(line);
    let start = &line[..line.len().min(SHOWN_BYTES)];
    let dots = if start.len() < line.len() { "…" } else { "" };
    format!("{}{dots}", String::from_utf8_lossy(start).escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (text, authority, host, port, path) in [
            ("https://localhost/test/1", "localhost", "localhost", 443, "/test/1"),
            ("httpS://localhost:8443", "localhost:8443", "localhost", 8_443, ""),
            ("http://localhost:8000/test/1", "localhost:8000", "localhost", 8_000, "/test/1"),
            ("HTTP://a.example", "a.example", "a.example", 80, ""),
            ("http://[::1]:8000/x?y=1", "[::1]:8000", "::1", 8_000, "/x?y=1"),
            ("http://[::1]/", "[::1]", "::1", 80, "/"),
            ("http://127.0.0.1?q", "127.0.0.1", "127.0.0.1", 80, "?q"),
            ("ws://localhost/test/1", "localhost", "localhost", 80, "/test/1"),
            ("WSS://a:8443?q", "a:8443", "a", 8_443, "?q"),
            ("wss://a", "a", "a", 443, ""),
        ] {
            let scheme = text.split(':').next().unwrap().to_ascii_lowercase();
            let (is_tls, is_ws) =
                (scheme.ends_with('s') && scheme != "ws", scheme.starts_with('w'));
            let url = Url { authority, userinfo: None, host, port, is_tls, is_ws, path };
            assert_eq!(url.scheme(), scheme);
            assert_eq!(Url::parse(text.as_bytes()), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, words) in [
            ("htp://localhost:8000/test/17", "not an http or ws URL"),
            ("/test/1", "not an http or ws URL"),
            ("http:/localhost", "not an http or ws URL"),
            ("httpss://localhost/test/1", "not an http or ws URL"),
            ("wsss://localhost/test/1", "not an http or ws URL"),
            ("http://", "no valid host"),
            ("http:///test/1", "no valid host"),
            ("http://me@/", "no valid host"),
            ("http://::1/", "no valid host"),
            ("http://[::1/", "no valid host"),
            ("http://[::1]8000/", "no valid host"),
            ("http://[localhost]/", "no valid host"),
            ("http://a:/", "no valid port"),
            ("http://a:0/", "no valid port"),
            ("http://a:65536/", "no valid port"),
            ("http://a:+80/", "no valid port"),
            ("http://a/b c", "percent-encoded"),
            ("http://a/ü", "percent-encoded"),
            ("http://a/b#c", "a fragment"),
        ] {
            let error = Url::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.contains(&text.replace("me@", "***@")), "{text}: {error}");
        }
    }

    #[test]
    fn name_and_password_are_no_part_of_the_host_and_never_shown() {
        let url = Url::parse(b"http://me:pass%40word@a:81/test/1?x=@").unwrap();
        assert_eq!((url.userinfo, url.authority), (Some("me:pass%40word"), "a:81"));
        assert_eq!(url.to_string(), "http://a:81/test/1?x=@");
        assert_eq!(format!("{url:?}"), "http://a:81/test/1?x=@");
        assert_eq!(Url::parse(b"https://a@b@c/").unwrap().userinfo, Some("a@b"));
        for bad in ["http://me:secret@a:x/", "http://me:sec/ret@a/", "http://me:secret@a/ b"] {
            let error = Url::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("http://***@a") && !error.contains("sec"), "{error}");
        }
    }
}
