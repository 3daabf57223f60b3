//! What goes out on the wire: response heads, and messages as chunks, events and WebSocket frames.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use crate::close::CloseReason;
use crate::refusal::Refusal;
use crate::router::{Meter, SharedTail};
use crate::websocket;

/// The value of the `Server` field.
pub(crate) const SERVER: &str = concat!("comet-server/", env!("CARGO_PKG_VERSION"));

/// Bytes in a message, as it comes in.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// How a connection's messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// HTTP/1.1: one chunk a message, HTML.
    HtmlChunks,
    /// HTTP/1.0: the same HTML, ended by the close.
    HtmlPlain,
    /// HTTP/1.1: one chunk a message, a server-sent event.
    EventChunks,
    /// HTTP/1.0: the same events, ended by the close.
    EventPlain,
    /// One message of text a message, in one frame (RFC 6455).
    WebSocket,
}

/// The response head that opens a stream of `$media_type`, with what says how it ends.
macro_rules! head {
    ($media_type:literal, $framing:literal) => {
        concat!(
            "HTTP/1.1 200 OK\r\nServer: comet-server/",
            env!("CARGO_PKG_VERSION"),
            "\r\nContent-Type: ",
            $media_type,
            "\r\n",
            $framing,
            "\r\n\r\n"
        )
    };
}

impl Style {
    /// The style for a request.
    pub(crate) fn new(is_http_1_1: bool, with_events: bool) -> Self {
        match (is_http_1_1, with_events) {
            (true, false) => Self::HtmlChunks,
            (false, false) => Self::HtmlPlain,
            (true, true) => Self::EventChunks,
            (false, true) => Self::EventPlain,
        }
    }

    /// Whether messages go out as chunks.
    fn is_chunked(self) -> bool {
        matches!(self, Self::HtmlChunks | Self::EventChunks)
    }

    /// The response head that opens the stream; that of a WebSocket up to what shows that its
    /// request was understood.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::HtmlChunks => head!(
                "text/html; charset=utf-8",
                "Transfer-Encoding: chunked\r\nCache-Control: no-store"
            ),
            Self::HtmlPlain => {
                head!("text/html; charset=utf-8", "Cache-Control: no-store\r\nConnection: close")
            }
            Self::EventChunks => {
                head!("text/event-stream", "Transfer-Encoding: chunked\r\nCache-Control: no-store")
            }
            Self::EventPlain => {
                head!("text/event-stream", "Cache-Control: no-store\r\nConnection: close")
            }
            Self::WebSocket => concat!(
                "HTTP/1.1 101 Switching Protocols\r\nServer: comet-server/",
                env!("CARGO_PKG_VERSION"),
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            ),
        }
    }

    /// What ends the stream, before the close, if that is for `reason`.
    pub(crate) fn last_chunk(self, reason: CloseReason) -> &'static [u8] {
        match self {
            Self::HtmlChunks | Self::EventChunks => b"0\r\n\r\n",
            Self::HtmlPlain | Self::EventPlain => b"",
            Self::WebSocket => websocket::close_frame(reason),
        }
    }

    /// What finds out whether the peer is alive and means nothing to it: a comment among events, a
    /// ping of a WebSocket. HTML has nothing like it.
    pub(crate) fn ping(self) -> &'static [u8] {
        match self {
            Self::EventChunks => b"3\r\n:\n\n\r\n",
            Self::EventPlain => b":\n\n",
            Self::WebSocket => websocket::PING,
            Self::HtmlChunks | Self::HtmlPlain => b"",
        }
    }
}

/// A message, prepared once for all the connections that it goes to.
#[derive(Debug)]
pub(crate) struct Message {
    /// The text.
    text: String,
    /// The text with HTML's special characters escaped, if it has any.
    html: Option<String>,
    /// The text as `data:` lines, made for the first connection that wants them.
    event: OnceLock<Box<str>>,
    /// What every chunk of HTML ends in, made for the first connection that is slow.
    html_tail: OnceLock<Arc<SharedTail>>,
    /// What every event ends in.
    event_tail: OnceLock<Arc<SharedTail>>,
    /// What every frame of a WebSocket ends in.
    frame_tail: OnceLock<Arc<SharedTail>>,
}

/// A message in one style, without its number: `{before_number}{n}{after_number}{text}{end}`.
struct Parts<'message> {
    before_number: &'static str,
    after_number: &'static str,
    text: &'message str,
    end: &'static str,
}

/// What ends a chunk.
const CHUNK_END: &str = "\r\n";

impl Message {
    /// Prepares a text.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            html: escape_html(text),
            event: OnceLock::new(),
            html_tail: OnceLock::new(),
            event_tail: OnceLock::new(),
            frame_tail: OnceLock::new(),
        }
    }

    /// The message in a style.
    fn parts(&self, style: Style) -> Parts<'_> {
        let (before_number, after_number, text, end): (_, _, &str, _) = match style {
            Style::HtmlChunks | Style::HtmlPlain => {
                ("Recvd msg #", ": '", self.html.as_deref().unwrap_or(&self.text), "'<br/>")
            }
            Style::EventChunks | Style::EventPlain => {
                ("id: ", "\n", self.event.get_or_init(|| data_lines(&self.text)), "\n")
            }
            Style::WebSocket => ("Recvd msg #", ": ", &self.text, ""),
        };
        Parts { before_number, after_number, text, end }
    }

    /// What every chunk of this message in this style ends in: so many of the first bytes of what
    /// connections share.
    pub(crate) fn tail(&self, style: Style, meter: &Arc<Meter>) -> (Arc<SharedTail>, usize) {
        let tail = match style {
            Style::HtmlChunks | Style::HtmlPlain => &self.html_tail,
            Style::EventChunks | Style::EventPlain => &self.event_tail,
            Style::WebSocket => &self.frame_tail,
        };
        let Parts { text, end, .. } = self.parts(style);
        // One is enough for both versions of HTTP: the plain one leaves out the end of the chunk.
        let with_chunk_end = || [text, end, CHUNK_END].concat().into_bytes();
        let tail = tail.get_or_init(|| SharedTail::new(with_chunk_end(), meter));
        let n_left_out = if style.is_chunked() { 0 } else { CHUNK_END.len() };
        (Arc::clone(tail), tail.bytes().len() - n_left_out)
    }

    /// Appends the message as number `n` of a connection: as `Recvd msg #{n}: '{message}'<br/>`, as
    /// an event with `id: {n}`, or as a frame with `Recvd msg #{n}: {message}`.
    pub(crate) fn render(&self, n: u64, style: Style, out: &mut Vec<u8>) {
        let Parts { before_number, after_number, text, end } = self.parts(style);
        let n_bytes = || {
            let n_digits = n.checked_ilog10().unwrap_or(0) as usize + 1;
            let n_fixed = before_number.len() + after_number.len() + end.len();
            n_fixed + n_digits + text.len()
        };
        if style.is_chunked() {
            write!(out, "{:x}\r\n", n_bytes()).expect("a vector takes all");
        } else if style == Style::WebSocket {
            websocket::begin_text_frame(n_bytes(), out);
        }
        write!(out, "{before_number}{n}{after_number}").expect("a vector takes all");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(end.as_bytes());
        if style.is_chunked() {
            out.extend_from_slice(CHUNK_END.as_bytes());
        }
    }
}

/// A text as the lines of an event. Whatever ends a line for the receiver (LF, CR, or both) ends
/// one here, so that no message can forge a field.
fn data_lines(text: &str) -> Box<str> {
    // Enough for one line, which most messages are.
    let mut lines = String::with_capacity(text.len() + "data: \n".len());
    let mut rest = text;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', rest.as_bytes()).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        lines.extend(["data: ", line, "\n"]);
        if after.is_empty() {
            return lines.into();
        }
        rest = after.strip_prefix("\r\n").unwrap_or(&after[1..]);
    }
}

/// Escapes what could end the text or start an element, in element content and in attributes.
/// `None` if there is nothing of the kind.
fn escape_html(text: &str) -> Option<String> {
    // Most messages have nothing to escape, and a look at bytes is quicker than one at characters.
    if !text.bytes().any(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')) {
        return None;
    }
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            char => html.push(char),
        }
    }
    Some(html)
}

/// A whole response that is followed by the close: a status and a sentence.
pub(crate) fn short_response(refusal: &Refusal) -> String {
    let Refusal { sentence, with_body, .. } = refusal;
    let n_bytes = sentence.len() + 1;
    let mut response = format!(
        "HTTP/1.1 {}\r\nServer: {SERVER}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {n_bytes}\r\n{}\r\n",
        refusal.status(),
        refusal.connection_fields()
    );
    if *with_body {
        writeln!(response, "{sentence}").expect("a string takes all");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, n: u64, style: Style) -> String {
        let mut out = Vec::new();
        Message::new(text).render(n, style, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_is_one_chunk_with_its_number() {
        assert_eq!(
            rendered("Hello World", 1, Style::HtmlChunks),
            "20\r\nRecvd msg #1: 'Hello World'<br/>\r\n"
        );
        assert_eq!(rendered("hi", 1_000, Style::HtmlPlain), "Recvd msg #1000: 'hi'<br/>");
    }

    #[test]
    fn the_size_line_counts_the_bytes_of_the_chunk_whatever_the_number() {
        for n in [1, 9, 10, 99, 100, 12_345_678_901, u64::MAX] {
            for text in ["", "ü", "<b>", "a\nb"] {
                for style in [Style::HtmlChunks, Style::EventChunks] {
                    let chunk = rendered(text, n, style);
                    let (size, rest) = chunk.split_once("\r\n").unwrap();
                    let n_bytes = usize::from_str_radix(size, 16).unwrap();
                    assert_eq!(n_bytes, rest.len() - 2, "{chunk:?}");
                }
            }
        }
    }

    #[test]
    fn what_connections_share_is_the_end_of_every_chunk() {
        let meter = Arc::new(Meter::new(1_000_000));
        for text in ["", "plain", "<'&\">", "a\nb"] {
            let message = Message::new(text);
            for style in
                [Style::HtmlChunks, Style::HtmlPlain, Style::EventChunks, Style::EventPlain]
                    .into_iter()
                    .chain([Style::WebSocket])
            {
                let (tail, n_bytes) = message.tail(style, &meter);
                let (mut first, mut later) = (Vec::new(), Vec::new());
                message.render(1, style, &mut first);
                message.render(123_456, style, &mut later);
                assert!(first.ends_with(&tail.bytes()[..n_bytes]), "{style:?}");
                assert!(later.ends_with(&tail.bytes()[..n_bytes]), "{style:?}");
                assert!(first.len() - n_bytes < 64, "what is not shared is short");
            }
        }
        assert_eq!(meter.held(), 0, "the last of them takes it along");
    }

    #[test]
    fn html_in_a_message_is_text() {
        assert_eq!(
            rendered("<script>alert('&\"')</script>", 1, Style::HtmlPlain),
            "Recvd msg #1: '&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;'<br/>"
        );
    }

    #[test]
    fn an_event_has_the_number_as_its_id_and_a_data_line_for_every_line() {
        assert_eq!(rendered("hi", 7, Style::EventPlain), "id: 7\ndata: hi\n\n");
        assert_eq!(rendered("hi", 7, Style::EventChunks), "10\r\nid: 7\ndata: hi\n\n\r\n");
        let lines = |text| rendered(text, 1, Style::EventPlain);
        assert_eq!(lines(""), "id: 1\ndata: \n\n");
        assert_eq!(
            lines("a\nb\r\n\rid: 2\n"),
            "id: 1\ndata: a\ndata: b\ndata: \ndata: id: 2\ndata: \n\n",
            "no line of a message becomes a field"
        );
        assert_eq!(lines("<b>"), "id: 1\ndata: <b>\n\n", "events are not HTML");
    }

    #[test]
    fn a_websocket_gets_text_frames_without_a_mask_and_without_escapes() {
        let frame = |text: &str, n| {
            let mut out = Vec::new();
            Message::new(text).render(n, Style::WebSocket, &mut out);
            out
        };
        assert_eq!(frame("<b>", 1), b"\x81\x11Recvd msg #1: <b>");
        let n_fixed = "Recvd msg #1: ".len();
        // The header has the shortest form on either side of its borders.
        for (n_payload, header) in [
            (125, &[0x81, 125][..]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(n_payload - n_fixed);
            let expected = [header, b"Recvd msg #1: ", text.as_bytes()].concat();
            assert_eq!(frame(&text, 1), expected, "{n_payload}");
        }
        let largest = frame(&"x".repeat(MAX_MESSAGE_BYTES), u64::MAX);
        assert_eq!(largest.len(), 10 + n_fixed + 19 + MAX_MESSAGE_BYTES);
    }

    #[test]
    fn a_short_response_says_how_long_it_is() {
        let refusal = Refusal::new(CloseReason::NotFound, "there is nothing here");
        let response = short_response(&refusal);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(response.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        assert!(head.ends_with("\r\nConnection: close"), "{head}");
        assert!(short_response(&refusal.in_answer_to(b"HEAD ")).ends_with("\r\n\r\n"));
    }
}
