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

/// A close frame without a code.
const CLOSE: &[u8] = &[0x88, 0];

/// What ends a connection for `reason`: a close frame with the code that says so best (RFC 6455,
/// 7.4.1).
pub(crate) fn close_frame(reason: CloseReason) -> &'static [u8] {
    /// A close frame with a code.
    macro_rules! close {
        ($code:expr) => {{
            const CODE: [u8; 2] = u16::to_be_bytes($code);
            &[0x88, 2, CODE[0], CODE[1]]
        }};
    }
    match reason {
        // The server goes away, and so will the next connection's.
        CloseReason::Shutdown => close!(1001),
        CloseReason::BadFrame => close!(1002),
        CloseReason::BadText => close!(1007),
        // What came was right and is against the policy here.
        CloseReason::Chatty => close!(1008),
        CloseReason::FrameTooLarge => close!(1009),
        // A logout is what the connection was for: no fault on either side.
        _ => close!(1000),
    }
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
    let reason = match end {
        End::Closed(code) => {
            // The same code back, without the reason in words: it is the client's own.
            heard.code = Some(code.unwrap_or(ByCode::WITHOUT_CODE));
            match code.map(u16::to_be_bytes) {
                Some([high, low]) => answers.extend_from_slice(&[0x88, 2, high, low]),
                None => answers.extend_from_slice(CLOSE),
            }
            heard.end = Some(CloseReason::Peer);
            return heard;
        }
        End::Broken(_) => CloseReason::BadFrame,
        End::NotText => CloseReason::BadText,
        End::TooLarge => CloseReason::FrameTooLarge,
        End::TooMuch => CloseReason::Chatty,
    };
    answers.extend_from_slice(close_frame(reason));
    heard.end = Some(reason);
    heard
}
