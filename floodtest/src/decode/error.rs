//! What can be wrong with a response.

use serde::{Deserialize, Serialize};

/// Why a response cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The response is well-formed and refuses: its status is none that
    /// [`Sink::accepts`](super::Sink::accepts).
    Status(u16),
    /// The status line or a header field is malformed or too long, or the framing that it announces
    /// is contradictory.
    BadHead(HeadFault),
    /// A chunk's size line, its end or a trailer is malformed.
    BadChunk(ChunkFault),
}

/// What is wrong with a response head. Its display is a sentence for the report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum HeadFault {
    /// The first line is not `HTTP/1.x SP status SP [reason] CRLF`.
    #[error("the first line is no status line of HTTP/1.0 or HTTP/1.1")]
    StatusLine,
    /// Another line is not `name: value CRLF`.
    #[error("a line is not name, colon, value, CRLF")]
    Line,
    /// `Content-Length` or `Transfer-Encoding` is malformed, given twice, contradicts the other or
    /// the version, or is an encoding other than chunked.
    #[error("its Content-Length or Transfer-Encoding is malformed or contradictory")]
    Framing,
    /// It is longer than [`MAX_HEAD_BYTES`](super::MAX_HEAD_BYTES) or has more than
    /// [`MAX_HEAD_LINES`](super::MAX_HEAD_LINES) lines.
    #[error("it is longer than 16 KiB or 100 lines")]
    TooLong,
}

/// What is wrong with a chunk. Its display is a sentence for the report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum ChunkFault {
    /// A size line is not hexadecimal digits, then a semicolon or CRLF: `0x5`, `+5`, `5 `, nothing.
    #[error("a size line does not begin with hexadecimal digits alone, or ends without CRLF")]
    Size,
    /// The size is 2⁶⁴ or more.
    #[error("a size does not fit into 64 bits")]
    Overflow,
    /// An extension is no name with or without a value: it is empty, a quote is not closed, or
    /// there is a control character such as a bare line feed.
    #[error("a chunk extension is malformed: empty, a quote left open, or a control character")]
    Extension,
    /// No CRLF follows the data: the chunk is longer or shorter than its size.
    #[error("no CRLF after a chunk's data: its size is wrong")]
    NoCrlf,
    /// What follows the last chunk is no trailer and no CRLF.
    #[error("no proper trailer or CRLF after the last chunk")]
    Trailer,
    /// A size line, or all trailers together, are longer than 4 KiB.
    #[error("a size line or the trailers are longer than 4 KiB")]
    TooLong,
}
