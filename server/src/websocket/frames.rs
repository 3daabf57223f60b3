//! What a WebSocket client sends, frame by frame (RFC 6455, section 5). No sockets.
//!
//! Data is checked and dropped as it comes. What is kept between two reads is a header or a control
//! frame that is cut, and where in a message the client is: nothing for a client that is between
//! two messages, which most of them are all the time.
//!
//! The first byte that is wrong decides, however the bytes were cut.

use super::text::Text;
use crate::router::Allowance;

/// Bytes of payload in one frame. It is the size of the largest message here and what a client may
/// send in an hour, so no larger frame could ever come in whole; its header is enough to say so.
pub(crate) const MAX_FRAME_BYTES: u64 = 64 * 1024;

/// Bytes in the longest header: two, a length of eight, and a mask.
const MAX_HEADER_BYTES: usize = 14;

/// Bytes of payload in one control frame (RFC 6455, 5.5).
const MAX_CONTROL_BYTES: u8 = 125;

/// What says that the length stands in the two bytes behind this one.
const LENGTH_OF_2_BYTES: u8 = 126;

/// What says that it stands in the eight bytes behind.
const LENGTH_OF_8_BYTES: u8 = 127;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client says and the server has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'bytes> {
    /// It wants these bytes back.
    Ping(&'bytes [u8]),
    /// It has answered a ping, or says that it is there.
    Pong,
}

/// Why nothing more is read from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It says goodbye, with a code or without one.
    Closed(Option<u16>),
    /// It has broken the RFC, and how.
    Broken(&'static str),
    /// What it calls text is not UTF-8.
    NotText,
    /// It has announced a frame over [`MAX_FRAME_BYTES`].
    TooLarge,
    /// It sends more than it is allowed to.
    TooMuch,
}

/// Where in its frames a client is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// The header of a frame, if it is not complete.
    header: [u8; MAX_HEADER_BYTES],
    /// How many bytes of it have come.
    n_header: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// What the message is of which further frames are to come.
    message: Option<Kind>,
    /// Where a message of text has come to.
    text: Text,
    /// The payload of a control frame that is cut.
    control: Vec<u8>,
}

// What a client can make the server keep, with the 125 bytes of a control frame.
const _: () = assert!(size_of::<Frames>() <= 64);

/// A frame whose header is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    /// What it is.
    kind: Kind,
    /// Whether it is the last one of its message.
    is_last: bool,
    /// Whether it is an answer to a ping, which costs the client nothing.
    is_awaited: bool,
    /// The mask, turned so that it begins with what the next byte is masked with.
    mask: [u8; 4],
    /// Bytes of payload that are still to come.
    n_left: u32,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Frames {
    /// Whether nothing need be kept: the client is between two messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.n_header == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Takes in bytes, unmasking them where they are, and tells `hear` what they say. They are
    /// taken off the allowance, but for pongs that are awaited.
    pub(crate) fn read(
        &mut self,
        bytes: &mut [u8],
        allowance: &mut Allowance,
        mut hear: impl FnMut(Said<'_>),
    ) -> Result<(), End> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.frame.is_none() {
                let n = self.read_header(rest, allowance)?;
                rest = &mut rest[n..];
            }
            let Some(frame) = self.frame else { return Ok(()) };
            let n_in_frame = rest.len().min(frame.n_left as usize);
            let n_allowed = if frame.is_awaited { n_in_frame } else { allowance.take(n_in_frame) };
            let (payload, after) = rest.split_at_mut(n_in_frame);
            // What is still allowed is looked at first, as it would be if no more had come.
            self.read_payload(frame, &mut payload[..n_allowed], &mut hear)?;
            if n_allowed < n_in_frame {
                return Err(End::TooMuch);
            }
            if frame.is_awaited && self.frame.is_none() {
                // One pong answers all pings before it (5.5.3); more are not asked for.
                allowance.n_answers = 0;
            }
            rest = after;
        }
        Ok(())
    }

    /// Takes in a header, or what has come of it. Returns how many bytes that were.
    fn read_header(&mut self, bytes: &[u8], allowance: &mut Allowance) -> Result<usize, End> {
        for (n_before, &byte) in bytes.iter().enumerate() {
            let n_header = usize::from(self.n_header);
            // Its first byte says whether it is a pong, and may have come in an earlier read.
            let first = if n_header == 0 { byte } else { self.header[0] };
            let is_awaited = first == 0x80 | PONG && allowance.n_answers > 0;
            if !is_awaited && allowance.take(1) == 0 {
                return Err(End::TooMuch);
            }
            self.header[n_header] = byte;
            self.n_header += 1;
            match n_header + 1 {
                1 => self.check_first()?,
                2 => self.check_second()?,
                n => {
                    let n_length = n_length_bytes(self.header[1]);
                    if n == 2 + n_length {
                        self.check_length()?;
                    }
                    if n == 2 + n_length + 4 {
                        self.begin_frame(is_awaited);
                        return Ok(n_before + 1);
                    }
                }
            }
        }
        Ok(bytes.len())
    }

    /// Checks the byte with the reserved bits and the opcode.
    fn check_first(&self) -> Result<(), End> {
        let byte = self.header[0];
        let (is_last, opcode) = (byte & 0x80 != 0, byte & 0x0f);
        if byte & 0x70 != 0 {
            return Err(End::Broken("a reserved bit is set, and no extension was agreed on"));
        }
        match opcode {
            CONTINUATION if self.message.is_none() => {
                Err(End::Broken("a continuation without a message before it"))
            }
            TEXT | BINARY if self.message.is_some() => {
                Err(End::Broken("a message begins within another one"))
            }
            CONTINUATION | TEXT | BINARY => Ok(()),
            CLOSE | PING | PONG if is_last => Ok(()),
            CLOSE | PING | PONG => Err(End::Broken("a control frame in fragments")),
            _ => Err(End::Broken("a reserved opcode")),
        }
    }

    /// Checks the byte with the mask bit and the length.
    fn check_second(&self) -> Result<(), End> {
        let [first, second, ..] = self.header;
        if second & 0x80 == 0 {
            return Err(End::Broken("a frame without a mask"));
        }
        if first & 0x08 != 0 && second & 0x7f > MAX_CONTROL_BYTES {
            return Err(End::Broken("a control frame over 125 bytes"));
        }
        Ok(())
    }

    /// Checks a length that has bytes of its own.
    fn check_length(&self) -> Result<(), End> {
        let n_bytes = self.length();
        match self.header[1] & 0x7f {
            // "The minimal number of bytes MUST be used" (5.2): one length has one spelling, so
            // that nobody between us and the client can read another one.
            LENGTH_OF_2_BYTES if n_bytes <= u64::from(MAX_CONTROL_BYTES) => {
                Err(End::Broken("a length in more bytes than it needs"))
            }
            LENGTH_OF_8_BYTES if u16::try_from(n_bytes).is_ok() => {
                Err(End::Broken("a length in more bytes than it needs"))
            }
            LENGTH_OF_8_BYTES if n_bytes >> 63 != 0 => {
                Err(End::Broken("a length with its highest bit set"))
            }
            _ if n_bytes > MAX_FRAME_BYTES => Err(End::TooLarge),
            _ => Ok(()),
        }
    }

    /// The length that the header tells.
    fn length(&self) -> u64 {
        let second = self.header[1];
        let bytes = &self.header[2..2 + n_length_bytes(second)];
        match bytes {
            [] => u64::from(second & 0x7f),
            bytes => bytes.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
        }
    }

    /// Goes on to the payload of a frame whose header is complete.
    fn begin_frame(&mut self, is_awaited: bool) {
        let kind = match self.header[0] & 0x0f {
            CONTINUATION => self.message.expect("a continuation without a message was refused"),
            TEXT => Kind::Text,
            BINARY => Kind::Binary,
            CLOSE => Kind::Close,
            PING => Kind::Ping,
            _ => Kind::Pong,
        };
        let n_header = usize::from(self.n_header);
        let mask = self.header[n_header - 4..n_header].try_into().expect("four bytes");
        let n_left = u32::try_from(self.length()).expect("a longer frame was refused");
        let is_last = self.header[0] & 0x80 != 0;
        self.frame = Some(Frame { kind, is_last, is_awaited, mask, n_left });
        self.n_header = 0;
    }

    /// Takes in payload of a frame, all that is left of it or less.
    fn read_payload(
        &mut self,
        mut frame: Frame,
        payload: &mut [u8],
        hear: &mut impl FnMut(Said<'_>),
    ) -> Result<(), End> {
        // Nobody looks at binary data: it is dropped masked.
        if frame.kind != Kind::Binary {
            for (byte, mask) in payload.iter_mut().zip(frame.mask.iter().cycle()) {
                *byte ^= mask;
            }
            frame.mask.rotate_left(payload.len() % 4);
        }
        if frame.kind == Kind::Text && !self.text.take(payload) {
            return Err(End::NotText);
        }
        frame.n_left -= u32::try_from(payload.len()).expect("it is a part of what is left");
        let is_whole = frame.n_left == 0;
        self.frame = (!is_whole).then_some(frame);
        if frame.kind.is_control() {
            return self.read_control(frame, payload, hear);
        }
        if is_whole && frame.is_last && !self.text.is_whole() {
            return Err(End::NotText);
        }
        if is_whole {
            self.message = (!frame.is_last).then_some(frame.kind);
        }
        Ok(())
    }

    /// Takes in payload of a control frame: only one that is cut is copied.
    fn read_control(
        &mut self,
        frame: Frame,
        payload: &[u8],
        hear: &mut impl FnMut(Said<'_>),
    ) -> Result<(), End> {
        if frame.n_left > 0 || !self.control.is_empty() {
            self.control.reserve_exact(payload.len() + frame.n_left as usize);
            self.control.extend_from_slice(payload);
        }
        if frame.n_left > 0 {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.control);
        let payload = if kept.is_empty() { payload } else { &kept };
        match frame.kind {
            Kind::Ping => hear(Said::Ping(payload)),
            Kind::Close => return Err(closed(payload)),
            _ => hear(Said::Pong),
        }
        Ok(())
    }
}

/// How many bytes the length takes besides those in the second byte of a header.
fn n_length_bytes(second: u8) -> usize {
    match second & 0x7f {
        LENGTH_OF_2_BYTES => 2,
        LENGTH_OF_8_BYTES => 8,
        _ => 0,
    }
}

/// What a close frame with this payload says.
fn closed(payload: &[u8]) -> End {
    match *payload {
        [] => End::Closed(None),
        [_] => End::Broken("a close frame with half a code"),
        [high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            if !may_be_sent(code) {
                End::Broken("a close frame with a code that nobody may send")
            } else if std::str::from_utf8(reason).is_err() {
                End::NotText
            } else {
                End::Closed(Some(code))
            }
        }
    }
}

/// Whether a code may stand in a close frame: those that the RFC and its registry (as of 2025)
/// define for that, and those of libraries and applications (7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
