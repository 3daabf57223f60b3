//! What goes out on the wire: response heads and chunks.

use std::fmt::Write as _;
use std::io::Write as _;

/// The value of the `Server` field.
pub(crate) const SERVER: &str = concat!("comet-server/", env!("CARGO_PKG_VERSION"));

/// How a connection's messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// HTTP/1.1: one chunk a message, HTML.
    HtmlChunks,
    /// HTTP/1.0: the same HTML, ended by the close.
    HtmlPlain,
}

impl Style {
    /// The response head that opens the stream.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::HtmlChunks => concat!(
                "HTTP/1.1 200 OK\r\nServer: comet-server/",
                env!("CARGO_PKG_VERSION"),
                "\r\nContent-Type: text/html; charset=utf-8\r\n",
                "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n"
            ),
            Self::HtmlPlain => concat!(
                "HTTP/1.1 200 OK\r\nServer: comet-server/",
                env!("CARGO_PKG_VERSION"),
                "\r\nContent-Type: text/html; charset=utf-8\r\n",
                "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
            ),
        }
    }

    /// What ends the stream, before the close.
    pub(crate) fn last_chunk(self) -> &'static [u8] {
        match self {
            Self::HtmlChunks => b"0\r\n\r\n",
            Self::HtmlPlain => b"",
        }
    }
}

/// A message, prepared once for all the connections that it goes to.
#[derive(Debug)]
pub(crate) struct Message {
    /// The text with HTML's special characters escaped.
    html: String,
}

impl Message {
    /// Prepares a text.
    pub(crate) fn new(text: &str) -> Self {
        Self { html: escape_html(text) }
    }

    /// Appends the message as number `n` of a connection: `Recvd msg #{n}: '{message}'<br/>`.
    pub(crate) fn render(&self, n: u64, style: Style, out: &mut Vec<u8>) {
        const BEFORE_NUMBER: &str = "Recvd msg #";
        const AFTER_NUMBER: &str = ": '";
        const END: &str = "'<br/>";
        let n_fixed = BEFORE_NUMBER.len() + AFTER_NUMBER.len() + END.len();
        if style == Style::HtmlChunks {
            let n_digits = n.checked_ilog10().unwrap_or(0) as usize + 1;
            let n_bytes = n_fixed + n_digits + self.html.len();
            write!(out, "{n_bytes:x}\r\n").expect("a vector takes all");
        }
        write!(out, "{BEFORE_NUMBER}{n}{AFTER_NUMBER}").expect("a vector takes all");
        out.extend_from_slice(self.html.as_bytes());
        out.extend_from_slice(END.as_bytes());
        if style == Style::HtmlChunks {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Escapes what could end the text or start an element, in element content and in attributes.
fn escape_html(text: &str) -> String {
    // Most messages have nothing to escape, and a look at bytes is quicker than one at characters.
    if !text.bytes().any(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')) {
        return text.to_owned();
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
    html
}

/// A whole response that is followed by the close: a status and a sentence.
pub(crate) fn short_response(status: &str, sentence: &str, with_body: bool) -> String {
    let n_bytes = sentence.len() + 1;
    let mut response = format!(
        "HTTP/1.1 {status}\r\nServer: {SERVER}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {n_bytes}\r\nConnection: close\r\n\r\n"
    );
    if with_body {
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
            for text in ["", "ü", "<b>"] {
                let chunk = rendered(text, n, Style::HtmlChunks);
                let (size, rest) = chunk.split_once("\r\n").unwrap();
                let n_bytes = usize::from_str_radix(size, 16).unwrap();
                assert_eq!(n_bytes, rest.len() - 2, "{chunk:?}");
            }
        }
    }

    #[test]
    fn html_in_a_message_is_text() {
        assert_eq!(
            rendered("<script>alert('&\"')</script>", 1, Style::HtmlPlain),
            "Recvd msg #1: '&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;'<br/>"
        );
    }

    #[test]
    fn a_short_response_says_how_long_it_is() {
        let response = short_response("404 Not Found", "there is nothing here", true);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(short_response("404 Not Found", "x", false).ends_with("\r\n\r\n"));
    }
}
