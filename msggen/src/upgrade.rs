//! The handshake that makes a WebSocket of a connection, RFC 6455, section 4.

use std::fmt;
use std::io::{self, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::random;
use crate::receipt::Reason;
use crate::stream::Stream;

/// Bytes in the head of an answer. Browsers stop at 256 KiB, servers answer with 200 bytes.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// Fields in the head of an answer: those that a proxy adds included.
const FIELDS_LIMIT: usize = 100;

/// Bytes that are made room for at a time.
const READ_BYTES: usize = 1024;

/// What a key is followed by when it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server is asked for.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// Everything of the request but the key and the end of the head.
    request: Vec<u8>,
    /// The subprotocols that are offered.
    protocols: Vec<String>,
}

/// Why a connection did not become a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It broke off.
    Broken(Reason),
    /// The answer is not HTTP, or its head is too long.
    NotHttp,
    /// The answer has another status than 101; with the `Content-Type` that it has.
    Status(u16, Option<String>),
    /// The answer does not say that this is a WebSocket now.
    NoUpgrade,
    /// The answer was not made for this request.
    WrongAccept,
    /// An extension was not asked for.
    Extension,
    /// None of the subprotocols that were offered was chosen, or another one.
    Protocol(Option<String>),
}

impl Refusal {
    /// Its name in the report.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Broken(reason) => *reason,
            Self::Status(status, _) => Reason::Status(*status),
            _ => Reason::BadHandshake,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => write!(f, "the connection ended before an answer: {reason}"),
            Self::NotHttp => f.write_str("the answer is not HTTP"),
            Self::Status(status, None) => write!(f, "it was answered {status}, not 101"),
            // It is the server's text, so that it is shown with its escapes.
            Self::Status(status, Some(kind)) => {
                write!(f, "it was answered {status} with {}, not 101", kind.escape_debug())
            }
            Self::NoUpgrade => f.write_str("the answer has no Upgrade: websocket"),
            Self::WrongAccept => f.write_str("the answer's Sec-WebSocket-Accept is a wrong one"),
            Self::Extension => f.write_str("the answer has extensions that were not asked for"),
            Self::Protocol(None) => f.write_str("none of the subprotocols was chosen"),
            Self::Protocol(Some(name)) => {
                write!(f, "subprotocol {} was not offered", name.escape_debug())
            }
        }
    }
}

impl Upgrade {
    /// The request for the WebSocket at `url`, with these subprotocols and further fields.
    pub fn new(url: &Url, protocols: &[String], fields: &[(HeaderName, HeaderValue)]) -> Self {
        let host = url.host_str().expect("a checked URL has a host");
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = format!(
            "GET {}{query} HTTP/1.1\r\nHost: {host}{port}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
            url.path()
        )
        .into_bytes();
        if !protocols.is_empty() {
            let names = protocols.join(", ");
            write!(request, "Sec-WebSocket-Protocol: {names}\r\n").expect("memory takes all");
        }
        for (name, value) in fields {
            request.extend_from_slice(name.as_str().as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        Self { request, protocols: protocols.to_vec() }
    }

    /// Makes a WebSocket of a connection. Returns what came behind the answer: it may be frames.
    pub async fn ask(&self, stream: &mut Stream) -> Result<Vec<u8>, Refusal> {
        let broken = |error: io::Error| Refusal::Broken(Reason::of_breaking(&error));
        let key = new_key().map_err(broken)?;
        let mut request = self.request.clone();
        write!(request, "Sec-WebSocket-Key: {key}\r\n\r\n").expect("memory takes all");
        stream.write_all(&request).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut received = Vec::with_capacity(READ_BYTES);
        loop {
            if stream.read_buf(&mut received).await.map_err(broken)? == 0 {
                return Err(Refusal::Broken(Reason::Cut));
            }
            if let Some(length) = self.check(&received, &key)? {
                return Ok(received.split_off(length));
            }
        }
    }

    /// Checks the answer to the request that had `key`. Returns the length of its head; none if it
    /// is not complete.
    fn check(&self, received: &[u8], key: &str) -> Result<Option<usize>, Refusal> {
        let mut start = 0;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
            let mut head = httparse::Response::new(&mut fields);
            let length = match head.parse(&received[start..]) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if received.len() <= HEAD_LIMIT_BYTES => {
                    return Ok(None);
                }
                _ => return Err(Refusal::NotHttp),
            };
            start += length;
            match head.code.expect("a complete head has a status") {
                101 if head.version == Some(1) => {}
                // An interim answer: the real one follows.
                100 | 102..=199 if start <= HEAD_LIMIT_BYTES => continue,
                status => {
                    let kind = values(head.headers, "content-type").next().map(text);
                    return Err(Refusal::Status(status, kind));
                }
            }
            return self.check_fields(head.headers, key).map(|()| Some(start));
        }
    }

    /// Checks the fields of a 101.
    fn check_fields(&self, fields: &[httparse::Header<'_>], key: &str) -> Result<(), Refusal> {
        let has = |name, option: &[u8]| {
            let mut options =
                values(fields, name).flat_map(|value| value.split(|byte| *byte == b','));
            options.any(|it| it.trim_ascii().eq_ignore_ascii_case(option))
        };
        if !has("upgrade", b"websocket") || !has("connection", b"upgrade") {
            return Err(Refusal::NoUpgrade);
        }
        let expected = accept_of(key);
        let mut accepts = values(fields, "sec-websocket-accept").map(<[u8]>::trim_ascii);
        if accepts.next() != Some(expected.as_bytes()) || accepts.next().is_some() {
            return Err(Refusal::WrongAccept);
        }
        if values(fields, "sec-websocket-extensions").any(|it| !it.trim_ascii().is_empty()) {
            return Err(Refusal::Extension);
        }
        let mut chosen = values(fields, "sec-websocket-protocol").map(text);
        match (chosen.next(), chosen.next()) {
            (None, _) if self.protocols.is_empty() => Ok(()),
            (Some(name), None) if self.protocols.contains(&name) => Ok(()),
            (name, None) => Err(Refusal::Protocol(name)),
            (first, Some(_)) => Err(Refusal::Protocol(first)),
        }
    }
}

/// The values of all fields of this name.
fn values<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

/// A value as text.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.trim_ascii()).into_owned()
}

/// A key that nobody has had before: 16 random bytes.
fn new_key() -> io::Result<String> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random::from_system()?.to_ne_bytes());
    bytes[8..].copy_from_slice(&random::from_system()?.to_ne_bytes());
    Ok(BASE64_STANDARD.encode(bytes))
}

/// What a server makes of a key.
fn accept_of(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    BASE64_STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn upgrade(protocols: &[&str]) -> Upgrade {
        let protocols: Vec<_> = protocols.iter().map(ToString::to_string).collect();
        Upgrade::new(&Url::parse("ws://[::1]:81/a?b=c").unwrap(), &protocols, &[])
    }

    /// An answer with the fields that it must have, and `more`.
    fn answer(more: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\n\
             connection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{more}\r\n"
        )
    }

    #[test]
    fn the_accept_of_the_example_of_the_rfc() {
        assert_eq!(accept_of(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_request_names_host_path_and_subprotocols() {
        let request = String::from_utf8(upgrade(&["a", "b"]).request).unwrap();
        assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\nHost: [::1]:81\r\n"), "{request}");
        assert!(request.contains("\r\nSec-WebSocket-Protocol: a, b\r\n"), "{request}");
    }

    #[test]
    fn an_answer_is_taken_with_its_last_byte_and_what_follows_is_left() {
        for before in ["", "HTTP/1.1 100 Continue\r\n\r\n"] {
            let answer = before.to_owned() + &answer("");
            for end in 0..answer.len() {
                let part = &answer.as_bytes()[..end];
                assert_eq!(upgrade(&[]).check(part, KEY), Ok(None), "{end}");
            }
            let more = answer.clone() + "\u{81}";
            assert_eq!(upgrade(&[]).check(more.as_bytes(), KEY), Ok(Some(answer.len())));
        }
    }

    #[test]
    fn what_makes_no_websocket_is_refused_by_name() {
        let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>".to_owned();
        let old = answer("").replace("1.1 101", "1.0 101");
        let two = answer("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
        let long = answer(&format!("X: {}\r\n", "x".repeat(HEAD_LIMIT_BYTES)));
        let wrong = answer("").replace("s3pP", "S3pP");
        for (answer, refusal) in [
            (html, Refusal::Status(200, Some("text/html".to_owned()))),
            (old, Refusal::Status(101, None)),
            ("SSH-2.0-OpenSSH\r\n".to_owned(), Refusal::NotHttp),
            (long[..long.len() - 2].to_owned(), Refusal::NotHttp),
            (answer("").replace("WebSocket\r\n", "h2c\r\n"), Refusal::NoUpgrade),
            (answer("").replace("keep-alive, Upgrade", "close"), Refusal::NoUpgrade),
            (wrong, Refusal::WrongAccept),
            (two, Refusal::WrongAccept),
            (answer("Sec-WebSocket-Extensions: permessage-deflate\r\n"), Refusal::Extension),
            (answer("Sec-WebSocket-Protocol: c\r\n"), Refusal::Protocol(Some("c".to_owned()))),
        ] {
            assert_eq!(upgrade(&[]).check(answer.as_bytes(), KEY), Err(refusal), "{answer}");
        }
    }

    #[test]
    fn one_of_the_subprotocols_that_were_offered_must_be_chosen() {
        let check = |more| upgrade(&["a", "b"]).check(answer(more).as_bytes(), KEY);
        assert!(matches!(check("Sec-WebSocket-Protocol: b\r\n"), Ok(Some(_))));
        assert_eq!(check(""), Err(Refusal::Protocol(None)));
        let both = "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n";
        assert_eq!(check(both), Err(Refusal::Protocol(Some("a".to_owned()))));
    }
}
