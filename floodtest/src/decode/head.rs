//! The status line and the header fields of a response.

use memchr::memchr;

use super::error::DecodeError::{self, BadHead};
use super::error::HeadFault::{self, Framing as BadFraming, Line, TooLong};

/// Bytes that a response head may have. Servers write a few hundred; more than this is not a
/// head, and it is kept in memory for each connection until it is complete.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Lines that a response head may have, the status line included.
pub const MAX_HEAD_LINES: usize = 100;

/// How the server of this project names itself, up to the version.
const OUR_SERVER: &[u8] = b"comet-server/";

/// What a response head says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// How the end of the body is recognised.
    pub framing: Framing,
    /// Whether the `Server` field names `comet-server`, whose messages are numbered from 1.
    pub is_ours: bool,
    /// What the `Content-Type` field says that the body consists of.
    pub content: Content,
    /// Whether the `Content-Encoding` field says that the body is compressed, or otherwise not what
    /// it seems.
    pub is_encoded: bool,
    /// What the `Content-Type` field says, if there is one.
    pub media_type: Option<MediaType>,
    /// Whether there was nothing behind the status, not even the space that RFC 9112 asks for.
    pub is_lenient: bool,
    /// What the `Location` field says, if there is one.
    pub location: Option<Box<[u8]>>,
    /// What the `WWW-Authenticate` field says, if there is one.
    pub authenticate: Option<Box<[u8]>>,
    /// How many seconds the `Retry-After` field asks for, if it gives them as a number.
    pub retry_after_s: Option<u32>,
    /// What it says about another protocol, if its status is 101.
    pub upgrade: Option<Box<Upgrade>>,
}

/// What a response of status 101 says about the protocol that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each says one thing of the response")]
pub struct Upgrade {
    /// Whether its version is HTTP/1.1.
    pub is_http_1_1: bool,
    /// Whether `Upgrade` is `websocket`.
    pub is_websocket: bool,
    /// Whether `Connection` names `Upgrade`.
    pub is_connection: bool,
    /// What `Sec-WebSocket-Accept` says.
    pub accept: Option<Box<[u8]>>,
    /// What `Sec-WebSocket-Protocol` says.
    pub protocol: Option<Box<[u8]>>,
    /// Whether there is a `Sec-WebSocket-Extensions` with something in it.
    pub has_extensions: bool,
    /// Whether one of those that are there once is there twice.
    pub has_twice: bool,
}

impl Upgrade {
    /// Takes in one field line.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("upgrade") {
            self.is_websocket = value.eq_ignore_ascii_case(b"websocket");
        } else if is("connection") {
            let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.is_connection |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        } else if is("sec-websocket-accept") {
            self.has_twice |= self.accept.replace(value.into()).is_some();
        } else if is("sec-websocket-protocol") {
            self.has_twice |= self.protocol.replace(value.into()).is_some();
        } else if is("sec-websocket-extensions") {
            self.has_extensions |= !value.is_empty();
        }
    }
}

/// Bytes that a media type may have here: the longest in use have about 70.
const MAX_MEDIA_TYPE_BYTES: usize = 79;

/// The media type of a response, in small letters and without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType {
    /// Its text, and zeros behind it.
    bytes: [u8; MAX_MEDIA_TYPE_BYTES],
    /// How long it is; 0 for one that is too long, or malformed.
    len: u8,
}

impl MediaType {
    /// The media type in the value of a `Content-Type` field.
    fn of(value: &[u8]) -> Self {
        let text = value.split(|byte| *byte == b';').next().unwrap_or(value).trim_ascii();
        let mut bytes = [0; MAX_MEDIA_TYPE_BYTES];
        let is_good = text.len() <= MAX_MEDIA_TYPE_BYTES
            && text.iter().all(|byte| is_token(*byte) || *byte == b'/');
        let len = if is_good { text.len() } else { 0 };
        bytes[..len].copy_from_slice(&text[..len]);
        bytes.make_ascii_lowercase();
        Self { bytes, len: u8::try_from(len).expect("79 at most") }
    }

    /// Its text; empty if it is malformed.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// What a media type says that a body consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    /// Server-sent events: `text/event-stream`.
    Events,
    /// A JSON value a line: NDJSON, JSON lines, JSON text sequences.
    Lines,
    /// Anything else.
    #[default]
    Other,
}

impl Content {
    /// What `media_type` says.
    fn of(media_type: &str) -> Self {
        const LINES: [&str; 6] = [
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonlines",
            "application/json-seq",
            "application/stream+json",
        ];
        match media_type {
            "text/event-stream" => Self::Events,
            kind if LINES.contains(&kind) => Self::Lines,
            _ => Self::Other,
        }
    }
}

/// How the end of a body is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Transfer-Encoding: chunked`: by the chunk of size zero.
    Chunked,
    /// `Content-Length`: after this many bytes.
    Length(u64),
    /// Neither: the body lasts until the connection is closed.
    UntilClose,
}

/// A head that is still being read. Nothing is kept before its first byte, and nothing at all
/// if it arrives in one piece.
#[derive(Debug, Default)]
pub struct PartialHead {
    /// The bytes so far.
    kept: Option<Box<Kept>>,
}

/// The bytes of an incomplete head.
#[derive(Debug, Default)]
struct Kept {
    /// From the head's first byte.
    bytes: Vec<u8>,
}

impl PartialHead {
    /// Reads on. When the head is complete: what it says, and how many of `bytes` belong to it.
    /// Interim heads (status 100 to 199, without 101) are skipped.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, DecodeError> {
        let Some(kept) = &mut self.kept else {
            return match final_head(bytes)? {
                Found::Whole(head, end) => Ok(Some((head, end))),
                Found::Part([]) => Ok(None),
                Found::Part(rest) => {
                    self.kept = Some(Box::new(Kept { bytes: rest.to_vec() }));
                    Ok(None)
                }
            };
        };
        let n_before = kept.bytes.len();
        kept.bytes.extend_from_slice(bytes);
        // Only a line feed can complete a line; without one there is nothing new to see.
        if memchr(b'\n', bytes).is_none() && kept.bytes.len() <= MAX_HEAD_BYTES {
            return Ok(None);
        }
        match final_head(&kept.bytes)? {
            // The kept bytes alone were not a whole head, so the end lies within the new ones.
            Found::Whole(head, end) => Ok(Some((head, end - n_before))),
            // Interim heads are thrown away as they come: they have no limit of number, and kept
            // ones would count against that of the final head.
            Found::Part(rest) => {
                kept.bytes = rest.to_vec();
                Ok(None)
            }
        }
    }
}

/// What there is of a final head, one that is not an interim one.
enum Found<'a> {
    /// All of it, and where it ends.
    Whole(Head, usize),
    /// These bytes of it, or of an interim head before it.
    Part(&'a [u8]),
}

/// Skips the interim heads at the start of `bytes`, and reads the final one behind them.
fn final_head(bytes: &[u8]) -> Result<Found<'_>, DecodeError> {
    let mut start = 0;
    while let Some((head, len)) = parse(&bytes[start..])? {
        // 101 is final: what follows it is another protocol, and no other head.
        if !matches!(head.status, 100 | 102..=199) {
            return Ok(Found::Whole(head, start + len));
        }
        start += len;
    }
    Ok(Found::Part(&bytes[start..]))
}

/// Parses the head at the start of `bytes`: what it says, and its length; `None` if it is not
/// complete.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, DecodeError> {
    // Line by line, so that a bad line is an error at once, and the limit of length holds for a
    // line that never ends as well.
    let mut fields = Fields::default();
    let mut start_line = None;
    let mut at = 0;
    for _ in 0..MAX_HEAD_LINES {
        let Some(len) = memchr(b'\n', &bytes[at..]) else {
            return if bytes.len() > MAX_HEAD_BYTES { Err(BadHead(TooLong)) } else { Ok(None) };
        };
        if at + len + 1 > MAX_HEAD_BYTES {
            return Err(BadHead(TooLong));
        }
        let fault = if start_line.is_none() { HeadFault::StatusLine } else { Line };
        let line = bytes[at..at + len].strip_suffix(b"\r").ok_or(BadHead(fault))?;
        at += len + 1;
        match start_line {
            None => start_line = Some(status_line(line).ok_or(BadHead(HeadFault::StatusLine))?),
            Some(start) if line.is_empty() => return Ok(Some((fields.head(start)?, at))),
            Some(_) => fields.add(line).map_err(BadHead)?,
        }
    }
    Err(BadHead(TooLong))
}

/// What a status line says.
#[derive(Debug, Clone, Copy)]
struct StatusLine {
    /// The minor version.
    minor_version: u8,
    /// The status.
    status: u16,
    /// Whether nothing is behind the status, not even a space.
    is_lenient: bool,
}

/// Reads `HTTP/1.x SP status SP [reason]`. The second space may be absent where there is no reason:
/// RFC 9112 asks for it, some servers leave it out, and everybody takes that.
fn status_line(line: &[u8]) -> Option<StatusLine> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let ([minor @ (b'0' | b'1'), b' ', digits @ ..], reason) = rest.split_first_chunk::<5>()?
    else {
        return None;
    };
    let is_status = digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    let is_reason = reason.is_empty() || reason[0] == b' ' && reason.iter().copied().all(is_text);
    if !is_status || !is_reason {
        return None;
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Some(StatusLine { minor_version: minor - b'0', status, is_lenient: reason.is_empty() })
}

/// The header fields that matter here.
#[derive(Debug, Default)]
struct Fields {
    /// The value of `Content-Length`.
    content_length: Option<u64>,
    /// Whether there was a `Transfer-Encoding`, which then was `chunked`.
    is_chunked: bool,
    /// Whether `Server` names the server of this project.
    is_ours: bool,
    /// The value of `Content-Type`.
    media_type: Option<MediaType>,
    /// Whether there was a `Content-Encoding` other than `identity`.
    is_encoded: bool,
    /// The value of `Location`.
    location: Option<Box<[u8]>>,
    /// The value of `WWW-Authenticate`, the first where there are several.
    authenticate: Option<Box<[u8]>>,
    /// The value of `Retry-After`, if that is a number.
    retry_after_s: Option<u32>,
    /// What is said about another protocol.
    upgrade: Upgrade,
}

impl Fields {
    /// Takes in one field line.
    fn add(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        let colon = memchr(b':', line).ok_or(Line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty()
            || !name.iter().copied().all(is_token)
            || !value.iter().copied().all(is_text)
        {
            return Err(Line);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let whole = reports::stamp::leading_number(value).filter(|(_, rest)| rest.is_empty());
            let (length, _) = whole.ok_or(BadFraming)?;
            // Given twice, it is an attack or a bug even where both agree.
            if self.content_length.replace(length).is_some() {
                return Err(BadFraming);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadFraming);
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"server") {
            self.is_ours = value.starts_with(OUR_SERVER);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.media_type = Some(MediaType::of(value));
        } else if name.eq_ignore_ascii_case(b"location") {
            self.location = Some(value.into());
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            self.retry_after_s = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        } else if name.eq_ignore_ascii_case(b"www-authenticate") {
            self.authenticate.get_or_insert_with(|| value.into());
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            self.is_encoded |= !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
        } else {
            self.upgrade.add(name, value);
        }
        Ok(())
    }

    /// The head that has these fields.
    fn head(self, line: StatusLine) -> Result<Head, DecodeError> {
        let StatusLine { minor_version, status, is_lenient } = line;
        let framing = match (self.is_chunked, self.content_length) {
            (true, Some(_)) => return Err(BadHead(BadFraming)),
            (true, None) if minor_version == 0 => return Err(BadHead(BadFraming)),
            (true, None) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        let Self { is_ours, media_type, is_encoded, location, authenticate, .. } = self;
        let (retry_after_s, upgrade) = (self.retry_after_s, self.upgrade);
        let upgrade = Upgrade { is_http_1_1: minor_version == 1, ..upgrade };
        Ok(Head {
            status,
            framing,
            is_ours,
            content: media_type.map_or(Content::Other, |it| Content::of(it.as_str())),
            is_encoded,
            media_type,
            is_lenient,
            location,
            authenticate,
            retry_after_s,
            upgrade: (status == 101).then(|| Box::new(upgrade)),
        })
    }
}

/// Whether `byte` may be in a field name.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `byte` may be in a field value: no control character but the tab.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use HeadFault::StatusLine;

    /// What becomes of a head with these lines.
    fn read(lines: &[&str]) -> Result<Option<Head>, DecodeError> {
        let bytes = lines.iter().flat_map(|line| [line, "\r\n"]).collect::<String>() + "\r\n";
        let complete = PartialHead::default().feed(bytes.as_bytes())?;
        assert!(complete.as_ref().is_none_or(|(_, n_used)| *n_used == bytes.len()));
        Ok(complete.map(|(head, _)| head))
    }

    #[test]
    fn the_head_of_our_server_is_read() {
        let head = read(&[
            "HTTP/1.1 200 OK",
            "Server: comet-server/0.1.0",
            "content-type: text/html; charset=utf-8",
            "TRANSFER-ENCODING:\t Chunked ",
        ]);
        let head = head.unwrap().unwrap();
        assert_eq!((head.status, head.framing), (200, Framing::Chunked));
        assert!(head.is_ours && head.content == Content::Other && !head.is_lenient);
        assert_eq!(head.media_type.unwrap().as_str(), "text/html");
    }

    #[test]
    fn what_a_body_consists_of_is_known_by_its_media_type() {
        for (line, content) in [
            ("Content-Type: text/event-stream", Content::Events),
            ("content-type:Text/Event-Stream ; charset=utf-8", Content::Events),
            ("Content-Type: application/x-ndjson", Content::Lines),
            ("Content-Type: application/json-seq", Content::Lines),
            ("Content-Type: text/html", Content::Other),
            ("Content-Type: text/event-streams", Content::Other),
            ("Accept: text/event-stream", Content::Other),
        ] {
            let head = read(&["HTTP/1.1 200 OK", line]).unwrap().unwrap();
            assert_eq!(head.content, content, "{line}");
        }
    }

    #[test]
    fn an_encoded_body_is_known() {
        for (line, is_encoded) in [
            ("Content-Encoding: gzip", true),
            ("content-encoding: br, gzip", true),
            ("Content-Encoding: identity", false),
            ("Vary: Accept-Encoding", false),
        ] {
            let head = read(&["HTTP/1.1 200 OK", line]).unwrap().unwrap();
            assert_eq!(head.is_encoded, is_encoded, "{line}");
        }
    }

    #[test]
    fn a_status_without_a_reason_may_lack_its_space() {
        for (line, is_lenient) in [("HTTP/1.1 200", true), ("HTTP/1.1 200 ", false)] {
            assert_eq!(read(&[line]).unwrap().unwrap().is_lenient, is_lenient);
        }
    }

    #[test]
    fn media_types_are_small_letters_without_parameters_and_bounded() {
        let long = "x".repeat(MAX_MEDIA_TYPE_BYTES + 1);
        for (value, expected) in [
            ("Application/JSON; charset=utf-8", "application/json"),
            ("text/html", "text/html"),
            ("text/\u{202e}html", ""),
            ("text html", ""),
            ("", ""),
            (long.as_str(), ""),
        ] {
            assert_eq!(MediaType::of(value.as_bytes()).as_str(), expected, "{value}");
        }
    }

    #[test]
    fn where_a_redirect_leads_and_what_is_asked_for_is_kept() {
        let head = read(&[
            "HTTP/1.1 302 Found",
            "Location:  /login ",
            "WWW-Authenticate: Basic",
            "WWW-Authenticate: Bearer",
        ]);
        let head = head.unwrap().unwrap();
        assert_eq!(head.location.as_deref(), Some(&b"/login"[..]));
        assert_eq!(head.authenticate.as_deref(), Some(&b"Basic"[..]));
    }

    #[test]
    fn a_head_that_is_not_rfc_9112_is_bad_and_says_where() {
        for (lines, fault) in [
            (["HTTP/1.1 20", "A: b"], StatusLine),
            (["HTTP/1.1 200OK", "A: b"], StatusLine),
            (["HTTP/1.1  200 OK", "A: b"], StatusLine),
            (["HTTP/2.0 200 OK", "A: b"], StatusLine),
            (["HTTP/1.2 200 OK", "A: b"], StatusLine),
            (["http/1.1 200 OK", "A: b"], StatusLine),
            (["HTTP/1.1 2000 OK", "A: b"], StatusLine),
            (["HTTP/1.1 20x OK", "A: b"], StatusLine),
            (["HTTP/1.1 020 OK", "A: b"], StatusLine),
            (["HTTP/1.1 200 O\rK", "A: b"], StatusLine),
            (["", "HTTP/1.1 200 OK"], StatusLine),
            (["HTTP/1.1 200 OK", "A b"], Line),
            (["HTTP/1.1 200 OK", "A : b"], Line),
            (["HTTP/1.1 200 OK", " A: b"], Line),
            (["HTTP/1.1 200 OK", ": b"], Line),
            (["HTTP/1.1 200 OK", "A: b\0"], Line),
            (["HTTP/1.1 200 OK", "A: b\nC: d"], Line),
            (["HTTP/1.1 200 OK", "Content-Length: -1"], BadFraming),
            (["HTTP/1.1 200 OK", "Content-Length: 3, 3"], BadFraming),
            (["HTTP/1.1 200 OK", "Content-Length: 99999999999999999999"], BadFraming),
            (["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"], BadFraming),
            (["HTTP/1.0 200 OK", "Transfer-Encoding: chunked"], BadFraming),
        ] {
            assert_eq!(read(&lines), Err(BadHead(fault)), "{lines:?}");
        }
    }

    #[test]
    fn contradictory_framing_is_bad() {
        for [one, two] in [
            ["Content-Length: 3", "Content-Length: 3"],
            ["Content-Length: 3", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ] {
            let read = read(&["HTTP/1.1 200 OK", one, two]);
            assert_eq!(read, Err(BadHead(BadFraming)), "{one} {two}");
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_lines() {
        let mut lines = vec!["HTTP/1.1 200 OK"];
        lines.resize(MAX_HEAD_LINES - 1, "A: b");
        assert!(read(&lines).is_ok_and(|head| head.is_some()));
        lines.push("A: b");
        assert_eq!(read(&lines), Err(BadHead(TooLong)));
        let mut partial = PartialHead::default();
        let endless = vec![b'x'; MAX_HEAD_BYTES];
        assert_eq!(partial.feed(b"HTTP/1.1 200 OK\r\nA: "), Ok(None));
        assert_eq!(partial.feed(&endless), Err(BadHead(TooLong)));
    }
}
