//! Frames of a WebSocket (RFC 6455, 5), as a server sends them.
//!
//! Payload is shown in place, in as many pieces as it came in; fragments are one message. Nothing
//! is kept between two reads but the few bytes of the [`Framer`](super::Framer): a header that is
//! cut is in there as far as it came. Only a control frame that is cut keeps what came of its
//! payload, 125 bytes at most, since its answer needs all of it.

use super::error::FrameFault;
use super::sink::Sink;
use super::utf8::Utf8;

/// The bit of a frame's first byte that says that it is the last of its message.
const FIN: u8 = 0x80;

/// The bits that only extensions give a meaning.
const RESERVED: u8 = 0x70;

/// The bit of a frame's second byte that says that it is masked.
const MASKED: u8 = 0x80;

/// Bytes of payload that a control frame may have.
pub(super) const MAX_CONTROL_BYTES: u8 = 125;

/// The opcodes.
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// That a message has begun that has not ended, beside the number of its [`Utf8`].
const IN_MESSAGE: u8 = 0x08;

/// That it is text.
const IS_TEXT: u8 = 0x10;

/// What the next byte must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum FrameStep {
    /// The first byte of a frame.
    #[default]
    First,
    /// Its second one.
    Second,
    /// A part of a length of two bytes.
    Length16,
    /// A part of a length of eight bytes.
    Length64,
    /// Payload of a message.
    Payload,
    /// Payload of a control frame.
    Control,
    /// Nothing: the server has closed the WebSocket.
    Closing,
}

/// How far frames have been read: what a [`Framer`](super::Framer) keeps, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    /// Bytes to come of the payload; while a long length is read, the length so far. Once closed,
    /// the code, or 0 if there was none.
    pub(super) remaining: u64,
    /// The first byte of the present frame.
    pub(super) first: u8,
    /// What there is of a message: [`IN_MESSAGE`], [`IS_TEXT`], and the number of its [`Utf8`].
    /// Five bits.
    pub(super) message: u8,
    /// Bytes of a long length that come after the next one. Three bits.
    pub(super) n_length: u8,
    /// What the next byte must be.
    pub(super) step: FrameStep,
}

impl Frames {
    /// Before the first frame.
    pub(super) const START: Self =
        Self { remaining: 0, first: 0, message: 0, n_length: 0, step: FrameStep::First };

    /// Reads on. What there is of a control frame that is cut is kept in `control`.
    pub(super) fn read(
        &mut self,
        control: &mut Vec<u8>,
        mut bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), FrameFault> {
        while let [byte, rest @ ..] = bytes {
            let has_header = match self.step {
                FrameStep::First => {
                    self.first(*byte)?;
                    false
                }
                FrameStep::Second => self.second(*byte)?,
                FrameStep::Length16 | FrameStep::Length64 => self.length(*byte)?,
                FrameStep::Payload => {
                    bytes = self.payload(bytes, sink)?;
                    continue;
                }
                FrameStep::Control => {
                    bytes = self.control(control, bytes, sink)?;
                    continue;
                }
                FrameStep::Closing => return Err(FrameFault::AfterClose),
            };
            bytes = rest;
            if has_header {
                bytes = self.begin(control, bytes, sink)?;
            }
        }
        Ok(())
    }

    /// Takes the first byte of a frame.
    fn first(&mut self, byte: u8) -> Result<(), FrameFault> {
        if byte & RESERVED != 0 {
            return Err(FrameFault::Reserved);
        }
        let is_inside = self.message & IN_MESSAGE != 0;
        match byte & !FIN {
            CONTINUATION if !is_inside => return Err(FrameFault::NothingToContinue),
            TEXT | BINARY if is_inside => return Err(FrameFault::Interleaved),
            TEXT => self.message = IN_MESSAGE | IS_TEXT,
            BINARY => self.message = IN_MESSAGE,
            CLOSE | PING | PONG if byte & FIN == 0 => return Err(FrameFault::FragmentedControl),
            CONTINUATION | CLOSE | PING | PONG => {}
            _ => return Err(FrameFault::Opcode),
        }
        (self.first, self.step) = (byte, FrameStep::Second);
        Ok(())
    }

    /// Takes the second byte of a frame; whether the header is complete.
    fn second(&mut self, byte: u8) -> Result<bool, FrameFault> {
        if byte & MASKED != 0 {
            return Err(FrameFault::Masked);
        }
        if byte > MAX_CONTROL_BYTES && self.is_control() {
            return Err(FrameFault::LongControl);
        }
        self.remaining = 0;
        (self.step, self.n_length) = match byte {
            126 => (FrameStep::Length16, 1),
            127 => (FrameStep::Length64, 7),
            _ => {
                self.remaining = byte.into();
                return Ok(true);
            }
        };
        Ok(false)
    }

    /// Takes a byte of a long length; whether the header is complete.
    fn length(&mut self, byte: u8) -> Result<bool, FrameFault> {
        self.remaining = self.remaining << 8 | u64::from(byte);
        if self.n_length > 0 {
            self.n_length -= 1;
            return Ok(false);
        }
        let shorter = if self.step == FrameStep::Length16 { 125 } else { u16::MAX.into() };
        match self.remaining {
            length if length > u64::MAX / 2 => Err(FrameFault::Overflow),
            length if length <= shorter => Err(FrameFault::LongLength),
            _ => Ok(true),
        }
    }

    /// Begins with the payload of a frame, of which nearly always all lies in `bytes`; what is left
    /// of them.
    fn begin<'a>(
        &mut self,
        control: &mut Vec<u8>,
        bytes: &'a [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a [u8], FrameFault> {
        if self.is_control() {
            self.step = FrameStep::Control;
            return self.control(control, bytes, sink);
        }
        self.step = FrameStep::Payload;
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        // No fragment, and none before it.
        let is_alone = self.first & FIN != 0 && self.first & !FIN != CONTINUATION;
        if is_alone && let Some((payload, rest)) = bytes.split_at_checked(length) {
            self.check_text(payload)?;
            self.end_frame()?;
            sink.message(payload);
            return Ok(rest);
        }
        self.payload(bytes, sink)
    }

    /// Takes payload of a message; what is left of `bytes` behind it.
    fn payload<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a [u8], FrameFault> {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (payload, rest) = bytes.split_at(remaining.min(bytes.len()));
        self.check_text(payload)?;
        if !payload.is_empty() {
            sink.data(payload);
        }
        self.remaining -= payload.len() as u64;
        if self.remaining == 0 {
            let is_last = self.first & FIN != 0;
            self.end_frame()?;
            if is_last {
                sink.message_end();
            }
        }
        Ok(rest)
    }

    /// Takes in the end of a frame of a message.
    fn end_frame(&mut self) -> Result<(), FrameFault> {
        self.step = FrameStep::First;
        if self.first & FIN != 0 {
            if Utf8::of(self.message) != Utf8::Start {
                return Err(FrameFault::Text);
            }
            self.message = 0;
        }
        Ok(())
    }

    /// Looks at payload that may have to be UTF-8.
    fn check_text(&mut self, payload: &[u8]) -> Result<(), FrameFault> {
        if self.message & IS_TEXT != 0 {
            let state = Utf8::of(self.message).after(payload).ok_or(FrameFault::Text)?;
            self.message = IN_MESSAGE | IS_TEXT | state as u8;
        }
        Ok(())
    }

    /// Takes payload of a control frame; what is left of `bytes` behind it.
    fn control<'a>(
        &mut self,
        control: &mut Vec<u8>,
        bytes: &'a [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a [u8], FrameFault> {
        // What is left is less than 126.
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let Some((payload, rest)) = bytes.split_at_checked(remaining) else {
            control.extend_from_slice(bytes);
            self.remaining -= bytes.len() as u64;
            return Ok(&[]);
        };
        let kept = std::mem::take(control);
        let whole = [kept.as_slice(), payload];
        let joined;
        let payload = if kept.is_empty() {
            payload
        } else {
            joined = whole.concat();
            &joined
        };
        self.step = FrameStep::First;
        match self.first & !FIN {
            PING => sink.ping(payload),
            PONG => sink.pong(),
            _ => {
                let code = close_code(payload)?;
                (self.remaining, self.step) = (code.unwrap_or(0).into(), FrameStep::Closing);
                sink.close(code);
            }
        }
        Ok(rest)
    }

    /// Whether the present frame is a control frame.
    fn is_control(self) -> bool {
        self.first & CLOSE != 0
    }
}

/// The code in a close frame, if there is one.
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameFault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameFault::CloseCode) };
    };
    let code = u16::from_be_bytes(*code);
    if !is_sent(code) {
        return Err(FrameFault::CloseCode);
    }
    str::from_utf8(reason).map_err(|_| FrameFault::CloseText)?;
    Ok(Some(code))
}

/// Whether a close frame may have this code: those of RFC 6455 (7.4) that are sent, those that IANA
/// has registered since, and those that are left to libraries and applications.
fn is_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
