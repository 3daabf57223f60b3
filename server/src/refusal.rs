//! Why a request is not served, and with which status it is answered. No sockets.

use std::borrow::Cow;

use crate::close::CloseReason;

/// What may come before a request: some clients end the body of the request before with it, and
/// RFC 9112 (2.2) asks that one be skipped.
pub(crate) const BLANK_LINE: &[u8] = b"\r\n";

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Under which the close is counted. It determines the status.
    pub(crate) reason: CloseReason,
    /// A sentence for the person who sent it.
    pub(crate) sentence: Cow<'static, str>,
    /// Whether the answer has a body; that to HEAD has none.
    pub(crate) with_body: bool,
}

impl Refusal {
    /// A refusal for `reason` with a sentence.
    pub(crate) fn new(reason: CloseReason, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, sentence: sentence.into(), with_body: true }
    }

    /// The same, for a request that begins with `bytes`.
    pub(crate) fn in_answer_to(self, bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(BLANK_LINE).unwrap_or(bytes);
        Self { with_body: !bytes.starts_with(b"HEAD "), ..self }
    }

    /// The fields of the answer that are about the connection. Each ends in a line break.
    pub(crate) fn connection_fields(&self) -> &'static str {
        match self.reason {
            // What would be understood instead (RFC 9110, 15.5.22; RFC 6455, 4.4).
            CloseReason::UnknownVersion => {
                "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            }
            _ => "Connection: close\r\n",
        }
    }

    /// The status line's code and phrase.
    pub(crate) fn status(&self) -> &'static str {
        match self.reason {
            CloseReason::NotFound => "404 Not Found",
            CloseReason::HeadTimeout | CloseReason::CrowdedOut => "408 Request Timeout",
            CloseReason::HeadTooLarge => "431 Request Header Fields Too Large",
            CloseReason::UnknownVersion => "426 Upgrade Required",
            CloseReason::NotImplemented => "501 Not Implemented",
            CloseReason::FullForAddress | CloseReason::IdsFullForAddress => "429 Too Many Requests",
            CloseReason::Full
            | CloseReason::IdsFull
            | CloseReason::Shutdown
            | CloseReason::Unsubscribed => "503 Service Unavailable",
            _ => "400 Bad Request",
        }
    }
}
