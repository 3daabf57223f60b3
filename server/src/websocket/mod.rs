//! WebSockets (RFC 6455), the server's end: how one begins, what clients say, and what they are
//! answered. Messages are framed where chunks and events are, in [`framing`](crate::framing).
//!
//! Neither extensions nor subprotocols: what a client offers is passed over in silence, which means
//! that it is not taken.

#[cfg(test)]
mod conformance;
pub(crate) mod frames;
pub(crate) mod handshake;
mod text;

use self::frames::{End, Frames, Said};
use crate::close::{ByCode, CloseReason};
use crate::router::{Allowance, Heard};

/// A ping without payload.
pub(crate) const PING: &[u8] = &[0x89, 0];

/// The first byte of a pong.
const PONG: u8 = 0x8a;

/// The first byte of a close frame.
const CLOSE: u8 = 0x88;

/// What ends a connection that the server ends for `reason`, without any fault of the peer (RFC
/// 6455, 7.4.1).
pub(crate) fn close_frame(reason: CloseReason) -> &'static [u8] {
    /// 1000: the connection has done what it was for.
    const NORMAL: &[u8] = &[CLOSE, 2, 0x03, 0xe8];
    /// 1001: a client that connects again at once finds nobody.
    const GOING_AWAY: &[u8] = &[CLOSE, 2, 0x03, 0xe9];
    if reason == CloseReason::Shutdown { GOING_AWAY } else { NORMAL }
}

/// Appends a close frame with a code, and why.
fn write_close(code: u16, why: &str, out: &mut Vec<u8>) {
    let n_bytes = u8::try_from(2 + why.len()).expect("our reasons are short");
    out.extend_from_slice(&[CLOSE, n_bytes]);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(why.as_bytes());
}

/// Appends the header of a text message of so many bytes, in the one spelling that its length has.
pub(crate) fn begin_text_frame(n_bytes: usize, out: &mut Vec<u8>) {
    const TEXT: u8 = 0x81;
    if let Ok(n_bytes @ ..=125) = u8::try_from(n_bytes) {
        out.extend_from_slice(&[TEXT, n_bytes]);
    } else if let Ok(n_bytes) = u16::try_from(n_bytes) {
        out.extend_from_slice(&[TEXT, 126]);
        out.extend_from_slice(&n_bytes.to_be_bytes());
    } else {
        out.extend_from_slice(&[TEXT, 127]);
        out.extend_from_slice(&(n_bytes as u64).to_be_bytes());
    }
}

/// The first border between answers at `at` or behind it. They are control frames, whose second
/// byte is the length of what follows.
pub(crate) fn answer_end(answers: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let length = answers.get(end + 1).copied().map_or(answers.len(), usize::from);
        end = end.saturating_add(2 + length).min(answers.len());
    }
    end
}

/// Takes in bytes of a client, and appends what it is to be answered: pongs, and a close frame.
pub(crate) fn take_in(
    frames: &mut Frames,
    bytes: &mut [u8],
    allowance: &mut Allowance,
    answers: &mut Vec<u8>,
) -> Heard {
    let mut heard = Heard::default();
    let ended = frames.read(bytes, allowance, |said| match said {
        Said::Ping(payload) => {
            heard.last_answer = answers.len();
            let n_bytes = u8::try_from(payload.len()).expect("a longer control frame was refused");
            answers.extend_from_slice(&[PONG, n_bytes]);
            answers.extend_from_slice(payload);
        }
        Said::Pong => heard.has_answered = true,
    });
    let Err(end) = ended else { return heard };
    heard.last_answer = answers.len();
    let (reason, code, why) = match end {
        End::Closed(code) => {
            heard.end = Some(CloseReason::Peer);
            heard.code = Some(code.unwrap_or(ByCode::WITHOUT_CODE));
            // The same code back, if there was one (5.5.1); the words were the client's own.
            match code {
                Some(code) => write_close(code, "", answers),
                None => answers.extend_from_slice(&[CLOSE, 0]),
            }
            return heard;
        }
        End::Broken(how) => (CloseReason::BadFrame, 1002, how),
        End::NotText => (CloseReason::BadText, 1007, "text that is not UTF-8"),
        // What came was right, and is against the policy here.
        End::TooMuch => (CloseReason::Chatty, 1008, "more than 64 KiB in an hour"),
        End::TooLarge => (CloseReason::FrameTooLarge, 1009, "a frame over 64 KiB"),
    };
    heard.end = Some(reason);
    write_close(code, why, answers);
    heard
}
