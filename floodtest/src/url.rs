//! `http://host[:port]/path`, or https, read strictly and without copying.

/// How much of a bad URL an error message shows.
const SHOWN_BYTES: usize = 120;

/// Why a line is not a URL that can be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It begins neither with `http://` nor with `https://`.
    #[error("not an http URL: \"{0}\"")]
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

/// An `http://` or `https://` URL, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// Host and port as written: what the `Host` field says.
    pub authority: &'a str,
    /// The host's name or address, without the brackets of an IPv6 address.
    pub host: &'a str,
    /// The port; 80, or 443 with https, where none is written.
    pub port: u16,
    /// Whether it is an `https://` URL.
    pub is_tls: bool,
    /// Path and query as written; may be empty, or begin with the query.
    pub path: &'a str,
}

impl<'a> Url<'a> {
    /// Reads one URL.
    pub fn parse(line: &'a [u8]) -> Result<Self, UrlError> {
        let text = || shown(line);
        let (plain, tls) = (strip_scheme(line, b"http://"), strip_scheme(line, b"https://"));
        let is_tls = tls.is_some();
        let rest = plain.or(tls).ok_or_else(|| UrlError::NotHttp(text()))?;
        if !rest.iter().all(u8::is_ascii_graphic) {
            return Err(UrlError::Path(text()));
        }
        let rest = str::from_utf8(rest).map_err(|_| UrlError::Path(text()))?;
        if rest.contains('#') {
            return Err(UrlError::Fragment(text()));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
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
        Ok(Self { authority, host, port, is_tls, path })
    }

    /// The URL as text.
    pub(crate) fn text(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }

    /// Writes the request for this URL into `request`, and nothing else; one for server-sent
    /// events if `is_sse`.
    pub fn write_request(&self, is_sse: bool, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(b"GET ");
        if !self.path.starts_with('/') {
            request.push(b'/');
        }
        request.extend_from_slice(self.path.as_bytes());
        request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        request.extend_from_slice(self.authority.as_bytes());
        request.extend_from_slice(
            concat!("\r\nUser-Agent: floodtest/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes(),
        );
        let accept: &[u8] = if is_sse { b"text/event-stream" } else { b"*/*" };
        request.extend_from_slice(b"Accept: ");
        request.extend_from_slice(accept);
        request.extend_from_slice(b"\r\n\r\n");
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

/// `line` as an error message shows it.
pub(crate) fn shown(line: &[u8]) -> String {
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
        ] {
            let is_tls = text.as_bytes()[4].eq_ignore_ascii_case(&b's');
            let url = Url { authority, host, port, is_tls, path };
            assert_eq!(Url::parse(text.as_bytes()), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, words) in [
            ("htp://localhost:8000/test/17", "not an http URL"),
            ("/test/1", "not an http URL"),
            ("http:/localhost", "not an http URL"),
            ("httpss://localhost/test/1", "not an http URL"),
            ("http://", "no valid host"),
            ("http:///test/1", "no valid host"),
            ("http://me@host/", "no valid host"),
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
            assert!(error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn the_request_is_a_get_of_the_path() {
        let url = Url::parse(b"http://localhost:8000?a=b").unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let mut request = Vec::new();
        for (is_sse, accept) in [(false, "*/*"), (true, "text/event-stream")] {
            url.write_request(is_sse, &mut request);
            let expected = format!(
                "GET /?a=b HTTP/1.1\r\nHost: localhost:8000\r\n\
                 User-Agent: floodtest/{version}\r\nAccept: {accept}\r\n\r\n"
            );
            assert_eq!(str::from_utf8(&request), Ok(expected.as_str()));
        }
    }
}
