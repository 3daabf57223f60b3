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
    /// The response was to open a WebSocket and does not.
    BadUpgrade(UpgradeFault),
    /// A frame of a WebSocket is none, or none that a server may send.
    BadFrame(FrameFault),
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

/// What is wrong with a response of status 101 (RFC 6455, 4.1). Its display is a sentence for the
/// report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum UpgradeFault {
    /// It is of HTTP/1.0, which has no upgrade.
    #[error("its version is HTTP/1.0")]
    Version,
    /// `Upgrade` is absent or names something else.
    #[error("its Upgrade is not websocket")]
    Upgrade,
    /// `Connection` is absent or does not name `Upgrade`.
    #[error("its Connection does not name Upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` is absent.
    #[error("it has no Sec-WebSocket-Accept")]
    NoAccept,
    /// `Sec-WebSocket-Accept` is not what follows from the key that was sent: the answer is to
    /// somebody else, or from somebody who knows no WebSockets.
    #[error("its Sec-WebSocket-Accept does not follow from the key that was sent")]
    WrongAccept,
    /// A field that a response has once is there twice.
    #[error("a Sec-WebSocket field is there twice")]
    Twice,
    /// It chose a subprotocol that was not asked for.
    #[error("it chose a subprotocol that was not asked for")]
    Protocol,
    /// It chose none of those that were asked for. Browsers close such a connection.
    #[error("it chose none of the subprotocols that were asked for")]
    NoProtocol,
    /// It chose an extension; none was offered.
    #[error("it chose an extension, and none was offered")]
    Extension,
}

/// What is wrong with a frame of a WebSocket, or with what is in it (RFC 6455, 5 and 7.4). Its
/// display is a sentence for the report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum FrameFault {
    /// One of the three reserved bits is set, though no extension gives it a meaning.
    #[error("a reserved bit is set")]
    Reserved,
    /// Its opcode is none of the six.
    #[error("an opcode is reserved")]
    Opcode,
    /// It is masked, which only a client's are.
    #[error("a frame is masked")]
    Masked,
    /// A control frame is a fragment.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame is longer than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// It goes on with a message, and none has begun.
    #[error("a fragment continues no message")]
    NothingToContinue,
    /// It begins a message before the one before has ended.
    #[error("a message begins within another one")]
    Interleaved,
    /// Its length has the highest of 64 bits set.
    #[error("a length is 2^63 or more")]
    Overflow,
    /// Its length is written in more bytes than it needs.
    #[error("a length is not written in the fewest bytes")]
    LongLength,
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// A close frame has one byte in it, or a code that is never sent.
    #[error("a close frame has no valid code")]
    CloseCode,
    /// The reason in a close frame is not UTF-8.
    #[error("the reason in a close frame is not UTF-8")]
    CloseText,
    /// Something follows the close frame.
    #[error("something follows the close frame")]
    AfterClose,
}

impl FrameFault {
    /// The code that the connection is closed with; `None` if it was closed before.
    pub fn close_code(self) -> Option<u16> {
        match self {
            Self::Text | Self::CloseText => Some(1007),
            Self::AfterClose => None,
            _ => Some(1002),
        }
    }
}
