//! What a response says that does not establish a connection: where it leads, what it asks for,
//! how its body begins.

use memchr::memmem;

use super::head::{Framing, Head};
use crate::shown::safe;

/// Bytes of the body of a refusal that are looked at, in all framings: its first line is a sentence
/// or the beginning of a page.
const MAX_BODY_BYTES: usize = 1024;

/// A response that does not establish a connection.
#[derive(Debug)]
pub struct Refusal {
    /// Its status.
    pub status: u16,
    /// Its `Location`, which redirects have.
    pub location: Option<Box<[u8]>>,
    /// Its `WWW-Authenticate`.
    authenticate: Option<Box<[u8]>>,
    /// How many seconds it asks for until the next try.
    pub retry_after_s: Option<u32>,
    /// How its body ends.
    framing: Framing,
    /// The beginning of its body, framing included.
    body: Vec<u8>,
}

impl Refusal {
    /// A refusal with this head, and what came of its body.
    pub(super) fn new(head: Head, body: &[u8]) -> Self {
        let Head { status, framing, location, authenticate, retry_after_s, .. } = head;
        let framing = if matches!(status, 204 | 304) { Framing::Length(0) } else { framing };
        let body_so_far = Vec::new();
        let mut refusal =
            Self { status, location, authenticate, retry_after_s, framing, body: body_so_far };
        refusal.feed(body);
        refusal
    }

    /// Takes more of its body.
    pub fn feed(&mut self, bytes: &[u8]) {
        let n_room = MAX_BODY_BYTES.saturating_sub(self.body.len());
        self.body.extend_from_slice(&bytes[..bytes.len().min(n_room)]);
    }

    /// Whether nothing more of it is of interest.
    pub fn is_complete(&self) -> bool {
        let (text, is_whole) = self.text();
        is_whole || self.body.len() >= MAX_BODY_BYTES || first_line(&text).is_some_and(|it| it.1)
    }

    /// What it says, safe to show: its fields and the first line of its body that is not blank.
    pub fn detail(&self) -> Option<String> {
        let mut parts = Vec::new();
        for (name, value) in
            [("Location", &self.location), ("WWW-Authenticate", &self.authenticate)]
        {
            parts.extend(value.as_ref().map(|value| format!("{name}: {}", safe(value))));
        }
        let (text, _) = self.text();
        parts.extend(first_line(&text).map(|(line, _)| format!("\"{}\"", safe(line))));
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The body without its framing, as far as it came, and whether that is all of it.
    fn text(&self) -> (Vec<u8>, bool) {
        match self.framing {
            Framing::Chunked => unchunked(&self.body),
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let text = &self.body[..self.body.len().min(length)];
                (text.to_vec(), text.len() == length)
            }
            Framing::UntilClose => (self.body.clone(), false),
        }
    }
}

/// The first line of `text` that is not blank, and whether its end is there.
fn first_line(text: &[u8]) -> Option<(&[u8], bool)> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let line = lines.find(|line| !line.trim_ascii().is_empty())?;
    Some((line.trim_ascii(), line.ends_with(b"\n")))
}

/// The data of the chunks in `body`, as far as it came, and whether the last chunk is there. What
/// is no chunk ends it.
fn unchunked(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    while let Some(end) = memmem::find(body, b"\r\n") {
        let digits = body[..end].split(|byte| *byte == b';').next().unwrap_or_default();
        let size = str::from_utf8(digits).ok().and_then(|it| usize::from_str_radix(it, 16).ok());
        match size {
            Some(0) | None => return (text, true),
            Some(size) => {
                let data = &body[end + 2..];
                text.extend_from_slice(&data[..data.len().min(size)]);
                body = data.get(size.saturating_add(2)..).unwrap_or_default();
            }
        }
    }
    (text, false)
}

#[cfg(test)]
mod tests {
    use super::super::{Beginning, DecodeError, Framer, Progress, Sink};
    use super::*;

    /// Nothing of a refusal is of interest but itself.
    struct Deaf;

    impl Sink for Deaf {
        fn head(&mut self, _: &Head) {}
        fn data(&mut self, _: &[u8]) {}
        fn chunk_end(&mut self) {}
    }

    /// What is said about a response that comes in pieces, and whether all of it came.
    fn detail(pieces: &[&str]) -> (Option<String>, bool) {
        let (mut response, mut beginning) = (Framer::default(), Beginning::default());
        for piece in pieces {
            let fed = response.feed(&mut beginning, piece.as_bytes(), &mut Deaf);
            assert!(matches!(fed, Ok(Progress::More) | Err(DecodeError::Status(_))), "{fed:?}");
        }
        let refusal = beginning.refusal().unwrap();
        (refusal.detail(), refusal.is_complete())
    }

    #[test]
    fn a_refusal_says_where_it_leads_what_it_asks_for_and_why() {
        for (pieces, expected, is_complete) in [
            (&["HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nbusy\n"][..], Some("\"busy\""), true),
            (&["HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\n", "bu"], Some("\"bu\""), false),
            (&["HTTP/1.1 503 Busy\r\n\r\n", "\r\n bu", "sy\r\nmore"], Some("\"busy\""), true),
            (&["HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"], None, true),
            (&["HTTP/1.1 304 \r\n\r\n"], None, true),
            (&["HTTP/1.1 500 \r\n\r\n"], None, false),
            (
                &[
                    "HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n",
                    "2;x\r\nno",
                    "\r\n3\r\nt!\n",
                ],
                Some("\"not!\""),
                true,
            ),
            (&["HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], None, true),
            (
                &["HTTP/1.1 302 \r\nLocation: /a\u{202e}\r\nContent-Length: 3\r\n\r\nx\x1by"],
                Some("Location: /a\\u{202e}; \"x\\u{1b}y\""),
                true,
            ),
            (
                &["HTTP/1.1 401 \r\nContent-Length: 0\r\n\
                     WWW-Authenticate: Basic realm=\"x\"\r\n\r\n"],
                Some("WWW-Authenticate: Basic realm=\"x\""),
                true,
            ),
        ] {
            assert_eq!(detail(pieces), (expected.map(str::to_owned), is_complete), "{pieces:?}");
        }
    }

    #[test]
    fn a_refusal_without_end_is_bounded() {
        let long = "x".repeat(100_000);
        let (detail, is_complete) = detail(&["HTTP/1.1 500 \r\n\r\n", &long, &long]);
        assert!(detail.unwrap().chars().count() < 210 && is_complete);
    }
}
