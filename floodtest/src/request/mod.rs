//! What is asked: method, header fields and body, put together once and filled in by each
//! connection.
//!
//! - this file: requests, and whether a line of the URL file has what they need
//! - `header`: header fields, read and checked
//! - `template`: texts with places that each connection fills in
//! - `sockets`: WebSockets, their opening handshake and what is said on them
//! - `args`, `error`: the flags, and what may be wrong with them

mod args;
pub(crate) mod error;
mod header;
pub(crate) mod sockets;
pub(crate) mod template;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::items::Stream;
use crate::url::Url;
pub use args::{Established, RequestArgs, SocketArgs};
pub use error::{LineError, RequestError};
use header::{Header, MAX_HEAD_FILE_BYTES, is_text, is_token, read_file};
use sockets::{Handshake, Sockets};
pub(crate) use template::{Filling, Template, fill, has_place};

/// Bytes that a body may have. What a socket does not take at once of a request is kept for each
/// connection that is being opened, and there may be thousands.
const MAX_BODY_BYTES: u64 = 1024 * 1024;

/// Bytes that it may have when it is filled in: a field of 8 KiB can stand in it 300,000 times.
const MAX_FILLED_BYTES: usize = 16 * 1024 * 1024;

/// How floodtest names itself.
const USER_AGENT: &str = concat!("floodtest/", env!("CARGO_PKG_VERSION"));

/// How a request is sent on after a redirect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Redirected {
    /// Whether it goes to another server, which must not learn who asks.
    pub(crate) is_elsewhere: bool,
    /// Whether it is a GET without a body now.
    pub(crate) is_get: bool,
    /// How many redirects have led there.
    pub(crate) n_redirects: u8,
}

/// The requests of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of the fields")]
pub(crate) struct Requests {
    /// The method.
    method: String,
    /// Whether a field names the host.
    has_host: bool,
    /// Whether a field says who asks.
    has_authorization: bool,
    /// Whether a field says which event came last.
    has_last_event: bool,
    /// All fields but those that the URL and the body say.
    head: Template,
    /// Of these, what another server may see.
    head_elsewhere: Template,
    /// The body.
    body: Option<Template>,
    /// Which statuses establish a connection.
    pub(crate) established: Established,
    /// How many redirects of a connection are followed.
    pub(crate) max_redirects: u8,
    /// Whether a field says what becomes of the connection.
    has_connection: bool,
    /// What items are to be.
    stream: Stream,
    /// What is asked of WebSockets.
    pub(crate) sockets: Sockets,
}

impl Requests {
    /// What the flags ask for; events if `is_sse`. Their items are what `stream` says.
    pub(crate) fn new(
        args: &RequestArgs,
        is_sse: bool,
        stream: Stream,
    ) -> Result<Self, RequestError> {
        let mut headers = header::read_all(&args.headers)?;
        if let Some(path) = &args.token_file {
            let header =
                bearer(&path.display().to_string(), &read_file(path, MAX_HEAD_FILE_BYTES)?)?;
            if let Some(other) = headers.iter().find(|it| it.is("authorization")) {
                let Header { name, whence, .. } = other;
                let why = "--token-file sets it";
                return Err(RequestError::Refused {
                    name: name.clone(),
                    whence: whence.clone(),
                    why,
                });
            }
            headers.push(header);
        }
        if is_sse && let Some(header) = headers.iter().find(|header| header.is("accept")) {
            let Header { name, whence, .. } = header;
            let why = "--sse sets it";
            return Err(RequestError::Refused { name: name.clone(), whence: whence.clone(), why });
        }
        let body = match (&args.body, &args.body_file) {
            (Some(text), _) => Some(text.as_bytes().to_vec()),
            (None, Some(path)) => Some(read_file(path, MAX_BODY_BYTES)?),
            (None, None) => None,
        };
        let all = |_: &Header| true;
        let public = |header: &Header| !header.is_secret() && !header.is("host");
        Ok(Self {
            method: method(&args.method)?,
            has_host: headers.iter().any(|header| header.is("host")),
            has_last_event: headers.iter().any(|header| header.is("last-event-id")),
            has_authorization: headers.iter().any(|header| header.is("authorization")),
            head: fields(&headers, all, is_sse),
            head_elsewhere: fields(&headers, public, is_sse),
            body: body.map(Template::new),
            established: args.status,
            max_redirects: args.follow.unwrap_or(0),
            has_connection: headers.iter().any(|header| header.is("connection")),
            stream,
            sockets: Sockets::new(&args.socket)?,
        })
    }

    /// The method.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Whether a line has what its request needs.
    pub(crate) fn check(&self, url: &Url<'_>, filling: Filling<'_>) -> Result<(), LineError> {
        for number in self.head.fields() {
            let used_by = "--header";
            let value = filling.field(number).ok_or(LineError::NoField { number, used_by })?;
            if !value.iter().copied().all(is_text) {
                return Err(LineError::Control { number });
            }
        }
        let mut of_body = self.body.iter().flat_map(Template::fields);
        if let Some(number) = of_body.find(|number| filling.field(*number).is_none()) {
            return Err(LineError::NoField { number, used_by: "--body" });
        }
        if self.body.as_ref().is_some_and(|body| body.len(filling) > MAX_FILLED_BYTES) {
            return Err(LineError::TooLong);
        }
        if url.userinfo.is_some() && self.has_authorization {
            return Err(LineError::TwoNames);
        }
        if !self.stream.suits(url.is_ws) {
            let (stream, scheme) = (self.stream.word(), url.scheme());
            return Err(LineError::Stream { stream, scheme });
        }
        if !url.is_ws {
            return Ok(());
        }
        if self.method != "GET" || self.body.is_some() {
            return Err(LineError::NotGet);
        }
        if self.has_connection {
            return Err(LineError::Connection);
        }
        self.sockets.check(filling, MAX_FILLED_BYTES)
    }

    /// Writes the request for `url` into `request`, and nothing else.
    pub(crate) fn write(
        &self,
        url: &Url<'_>,
        filling: Filling<'_>,
        redirected: Redirected,
        request: &mut Vec<u8>,
    ) {
        let Redirected { is_elsewhere, is_get, n_redirects } = redirected;
        request.clear();
        request.extend_from_slice(if is_get { b"GET" } else { self.method.as_bytes() });
        request.push(b' ');
        if !url.path.starts_with('/') {
            request.push(b'/');
        }
        request.extend_from_slice(url.path.as_bytes());
        request.extend_from_slice(b" HTTP/1.1\r\n");
        if !self.has_host || is_elsewhere {
            request.extend_from_slice(b"Host: ");
            request.extend_from_slice(url.authority.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        if let Some(userinfo) = url.userinfo {
            request.extend_from_slice(b"Authorization: Basic ");
            request.extend_from_slice(basic(userinfo).as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        let head = if is_elsewhere { &self.head_elsewhere } else { &self.head };
        head.write(filling, request);
        if url.is_ws {
            self.sockets.write(Handshake { place: filling.place, n_redirects }, request);
        }
        let body = self.body.as_ref().filter(|_| !is_get);
        if let Some(body) = body {
            let written = write!(request, "Content-Length: {}\r\n", body.len(filling));
            written.expect("memory takes what is written to it");
        }
        request.extend_from_slice(b"\r\n");
        if let Some(body) = body {
            body.write(filling, request);
        }
    }
}

impl Requests {
    /// Says in a request, as it was written, which event of its stream came last, unless a field of
    /// `--header` does.
    pub(crate) fn add_last_event(&self, id: &[u8], request: &mut Vec<u8>) {
        if self.has_last_event {
            return;
        }
        // Behind the request line, where the order of fields does not matter.
        if let Some(end) = request.iter().position(|byte| *byte == b'\n') {
            let line = [b"Last-Event-ID: ", id, b"\r\n"].concat();
            request.splice((end + 1)..=end, line);
        }
    }
}

/// The lines of the header fields that are to be sent and of those that are always sent, which
/// they replace.
fn fields(headers: &[Header], is_sent: impl Fn(&Header) -> bool, is_sse: bool) -> Template {
    let accept = if is_sse { "text/event-stream" } else { "*/*" };
    // Nothing is decompressed: a body in an encoding could be counted in bytes only.
    let ours = [("User-Agent", USER_AGENT), ("Accept", accept), ("Accept-Encoding", "identity")];
    let mut lines = String::new();
    let mut add = |name: &str, value: &str| lines.extend([name, ": ", value, "\r\n"]);
    for (name, value) in ours {
        if !headers.iter().any(|header| header.is(&name.to_ascii_lowercase())) {
            add(name, value);
        }
    }
    headers.iter().filter(|header| is_sent(header)).for_each(|it| add(&it.name, &it.value));
    Template::new(lines.into_bytes())
}

/// The field for the token that is in the file `path`.
fn bearer(path: &str, text: &[u8]) -> Result<Header, RequestError> {
    let token = text.trim_ascii();
    if token.is_empty() {
        return Err(RequestError::EmptyToken { path: path.to_owned() });
    }
    // The characters of RFC 6750: none of them needs quotes or is a placeholder.
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let value = str::from_utf8(token).ok().filter(|it| it.bytes().all(|byte| is_of_token(&byte)));
    let value = value.ok_or_else(|| RequestError::BadToken { path: path.to_owned() })?;
    Ok(Header {
        name: "Authorization".to_owned(),
        value: format!("Bearer {value}"),
        whence: "--token-file".to_owned(),
    })
}

/// The method, if it can be used.
fn method(text: &str) -> Result<String, RequestError> {
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err(RequestError::Method(text.to_owned()));
    }
    if ["HEAD", "CONNECT"].contains(&text) {
        return Err(RequestError::NoBody(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// What Basic authentication sends for the name and password of a URL.
fn basic(userinfo: &str) -> String {
    let mut bytes: Vec<u8> = percent_decode_str(userinfo).collect();
    if !userinfo.contains(':') {
        bytes.push(b':');
    }
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of a run with these flags for a line of the URL file.
    fn request(args: &RequestArgs, line: &str, redirected: Redirected) -> String {
        let requests = Requests::new(args, false, Stream::Auto).unwrap();
        let (url, filling) = Filling::of_line(line.as_bytes(), 7);
        let url = Url::parse(url).unwrap();
        assert_eq!(requests.check(&url, filling), Ok(()));
        let mut request = b"left over".to_vec();
        requests.write(&url, filling, redirected, &mut request);
        String::from_utf8(request).unwrap()
    }

    /// Flags with these header fields.
    fn args(headers: &[&str]) -> RequestArgs {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        RequestArgs { headers, method: "GET".to_owned(), ..RequestArgs::default() }
    }

    #[test]
    fn a_request_is_a_get_of_the_path() {
        let version = env!("CARGO_PKG_VERSION");
        for (is_sse, accept) in [(false, "*/*"), (true, "text/event-stream")] {
            let requests = Requests::new(&args(&[]), is_sse, Stream::Auto).unwrap();
            let url = Url::parse(b"http://localhost:8000?a=b").unwrap();
            let mut request = Vec::new();
            requests.write(&url, Filling::default(), Redirected::default(), &mut request);
            let expected = format!(
                "GET /?a=b HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: floodtest/{version}\r\n\
                 Accept: {accept}\r\nAccept-Encoding: identity\r\n\r\n"
            );
            assert_eq!(str::from_utf8(&request), Ok(expected.as_str()));
        }
    }

    #[test]
    fn fields_replace_ours_and_a_body_has_its_length() {
        let headers =
            ["accept-encoding: gzip", "X-Place: {place}", "Host: other", "X-F:{2}", "A: b"];
        let args = RequestArgs {
            method: "POST".to_owned(),
            body: Some("{\"q\": \"{1}ü\"}".to_owned()),
            ..args(&headers)
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            request(&args, "http://h/x\tone\ttwo", Redirected::default()),
            format!(
                "POST /x HTTP/1.1\r\nUser-Agent: floodtest/{version}\r\nAccept: */*\r\n\
                 accept-encoding: gzip\r\nX-Place: 7\r\nHost: other\r\nX-F: two\r\nA: b\r\n\
                 Content-Length: 14\r\n\r\n{{\"q\": \"oneü\"}}"
            )
        );
    }

    #[test]
    fn another_server_never_learns_who_asks() {
        let args = RequestArgs {
            body: Some("text".to_owned()),
            method: "POST".to_owned(),
            ..args(&["Authorization: Basic c2VjcmV0", "Cookie: secret", "Host: secret", "X-A: b"])
        };
        let elsewhere = Redirected { is_elsewhere: true, is_get: true, n_redirects: 1 };
        let request = request(&args, "http://h/x", elsewhere);
        assert!(request.starts_with("GET /x HTTP/1.1\r\nHost: h\r\n"), "{request}");
        assert!(request.ends_with("X-A: b\r\n\r\n") && !request.contains("ecret"), "{request}");
        assert!(!request.contains("c2VjcmV0") && !request.contains("Content-Length"), "{request}");
    }

    #[test]
    fn a_name_in_the_url_is_basic_authentication() {
        for (line, expected) in [
            ("http://Aladdin:open%20sesame@h/", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("http://me@h/", "bWU6"),
        ] {
            let request = request(&args(&[]), line, Redirected::default());
            let line = format!("Authorization: Basic {expected}\r\n");
            assert!(request.contains(&line) && request.contains("Host: h\r\n"), "{request}");
        }
    }

    #[test]
    fn what_cannot_be_asked_says_why() {
        for (header, words) in [
            ("X: a\r\nY: b", "--header: the value of X has a line break"),
            ("X: a\n", "line break"),
            ("X: a\0", "control character"),
            ("no colon", "not a header field: \"no colon\"; write 'Name: value'"),
            (": x", "not a header field"),
            ("A b: x", "not a header field"),
            ("Content-length: 3", "Content-length cannot be set: it is set to the length of"),
            ("Transfer-Encoding: chunked", "Transfer-Encoding cannot be set"),
            ("Connection: Upgrade", "keep-alive or close"),
            ("Upgrade: h2c", "cannot be set"),
            ("Expect: 100-continue", "cannot be set"),
        ] {
            let error =
                Requests::new(&args(&[header]), false, Stream::Auto).unwrap_err().to_string();
            assert!(error.contains(words), "{header:?}: {error}");
        }
        assert!(Requests::new(&args(&["Connection: Keep-Alive"]), false, Stream::Auto).is_ok());
        for (headers, is_sse, words) in [
            (&["Host: a", "host: b"][..], false, "host is given twice"),
            (&["Accept: a/b"], true, "Accept cannot be set: --sse sets it"),
        ] {
            let error =
                Requests::new(&args(headers), is_sse, Stream::Auto).unwrap_err().to_string();
            assert!(error.contains(words), "{headers:?}: {error}");
        }
        for (method, words) in [("", "not a method"), ("G T", "not a method"), ("HEAD", "no body")]
        {
            let args = RequestArgs { method: method.to_owned(), ..args(&[]) };
            let error = Requests::new(&args, false, Stream::Auto).unwrap_err().to_string();
            assert!(error.contains(words), "{method:?}: {error}");
        }
    }

    #[test]
    fn a_line_that_lacks_what_it_needs_says_what() {
        let requests = |header: &str, body: Option<&str>| {
            let body = body.map(str::to_owned);
            Requests::new(&RequestArgs { body, ..args(&[header]) }, false, Stream::Auto).unwrap()
        };
        let check = |requests: &Requests, line: &str| {
            let (url, filling) = Filling::of_line(line.as_bytes(), 0);
            requests.check(&Url::parse(url).unwrap(), filling).map_err(|error| error.to_string())
        };
        let third = requests("X: {3}", None);
        assert_eq!(
            check(&third, "http://a/\t1\t2"),
            Err("no field {3}, which --header needs; fields follow the URL, after tabs".to_owned())
        );
        assert_eq!(check(&third, "http://a/\t\t\t"), Ok(()));
        assert!(check(&third, "http://a/\t\t\ta\rb").unwrap_err().contains("in field {3}"));
        let body = requests("X: y", Some("{1}"));
        assert!(check(&body, "http://a/").unwrap_err().contains("which --body needs"));
        assert_eq!(check(&body, "http://a/\ta\rb"), Ok(()));
        let long = requests("X: y", Some(&"{1}".repeat(3_000)));
        let line = format!("http://a/\t{}", "x".repeat(6_000));
        assert!(check(&long, &line).unwrap_err().contains("longer than 16 MiB"));
        let named = requests("Authorization: Basic x", None);
        assert!(check(&named, "http://me@a/").unwrap_err().contains("a name in the URL beside"));
    }
}
