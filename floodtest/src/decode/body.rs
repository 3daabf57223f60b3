//! The framing of a body: chunk sizes, chunk ends, trailers, a length, the close, or the frames of
//! a WebSocket.

use super::error::ChunkFault::{self, Extension, NoCrlf, Overflow, Size, TooLong, Trailer};
use super::error::DecodeError;
use super::extension::Extension as Ext;
use super::frames::{FrameStep, Frames};
use super::head::{Framing, is_text, is_token};
use super::sink::{Progress, Sink};

/// Bytes that a size line with its extensions, or all trailers together, may have. Nobody uses
/// either; without a bound they would be a way to send for ever without sending a chunk.
const MAX_LINE_BYTES: u16 = 4 * 1024;

/// How far a response has been read: 12 bytes of a connection's row, and nothing else.
///
/// It is packed so that the row has no gaps; its fields are read and written by value.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, packed(4))]
pub struct Framer {
    /// Bytes to come of the chunk or of the `Content-Length`; while a size line is read, the size
    /// so far. Of a connection that is closed, what [`Framer::close`] was given. Of a WebSocket, as
    /// in [`Frames`].
    remaining: u64,
    /// Bytes of the present size line, or of the trailers. Of a WebSocket: `first`, `message` and
    /// `n_length` of [`Frames`], in 8, 5 and 3 bits.
    line_len: u16,
    /// What the next byte of a WebSocket must be.
    frame: FrameStep,
    /// What the next byte must be.
    step: Step,
}

/// What the next byte of a response must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    /// A part of its head.
    #[default]
    Head,
    /// A digit of a chunk's size, or what ends it.
    Size,
    /// Part of a chunk extension.
    Extension(Ext),
    /// The line feed of a size line.
    SizeLf,
    /// A chunk's data.
    Data,
    /// The carriage return after a chunk's data.
    DataCr,
    /// The line feed after a chunk's data.
    DataLf,
    /// The first byte of a trailer, or the carriage return that ends the body.
    TrailerStart,
    /// Part of a trailer's name, or the colon behind it.
    TrailerName,
    /// Part of a trailer's value.
    Trailer,
    /// The line feed of a trailer.
    TrailerLf,
    /// The line feed that ends the body.
    LastLf,
    /// Data of a body whose length is known.
    Length,
    /// Data of a body that lasts until the close.
    UntilClose,
    /// Nothing: the body is complete.
    Done,
    /// A part of a frame of a WebSocket: which one, the framer's `frame` says.
    Frame,
    /// Nothing: the connection is closed, after it had a head.
    Closed,
}

impl Framer {
    /// Whether the head is complete.
    pub fn has_head(&self) -> bool {
        self.step != Step::Head
    }

    /// Goes on to the body.
    pub(super) fn begin_body(&mut self, framing: Framing) {
        (self.step, self.remaining) = match framing {
            Framing::Chunked => (Step::Size, 0),
            Framing::Length(0) => (Step::Done, 0),
            Framing::Length(length) => (Step::Length, length),
            Framing::UntilClose => (Step::UntilClose, 0),
        };
    }

    /// Goes on to the frames of a WebSocket.
    pub(super) fn begin_frames(&mut self) {
        self.set_frames(Frames::START);
    }

    /// Whether it is a WebSocket, and open.
    pub fn is_websocket(&self) -> bool {
        self.step == Step::Frame
    }

    /// Whether a control frame is being read, of which something may have to be kept.
    pub fn is_in_control(&self) -> bool {
        self.is_websocket() && self.frame == FrameStep::Control
    }

    /// The code with which the server has closed its WebSocket, if it has; 1005 where it gave none
    /// (RFC 6455, 7.1.5).
    pub fn close_code(&self) -> Option<u16> {
        const NO_CODE: u16 = 1005;
        let code = u16::try_from(self.remaining).ok().filter(|code| *code > 0);
        let is_closed = self.is_websocket() && self.frame == FrameStep::Closing;
        is_closed.then(|| code.unwrap_or(NO_CODE))
    }

    /// Reads on in the frames of a WebSocket. What there is of a control frame that is cut is kept
    /// in `control`.
    pub(super) fn frames(
        &mut self,
        control: &mut Vec<u8>,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<Progress, DecodeError> {
        let [first, message] = { self.line_len }.to_le_bytes();
        let (message, n_length) = (message % 32, message / 32);
        let (remaining, step) = (self.remaining, self.frame);
        let mut frames = Frames { remaining, first, message, n_length, step };
        let read = frames.read(control, bytes, sink);
        self.set_frames(frames);
        read.map(|()| Progress::More).map_err(DecodeError::BadFrame)
    }

    /// Keeps how far frames have been read.
    fn set_frames(&mut self, frames: Frames) {
        let Frames { remaining, first, message, n_length, step } = frames;
        let line_len = u16::from_le_bytes([first, message | n_length << 5]);
        *self = Self { remaining, line_len, frame: step, step: Step::Frame };
    }

    /// Whether the close of the connection is the proper end of the body.
    pub fn ends_at_close(&self) -> bool {
        self.step == Step::UntilClose
    }

    /// Remembers that the connection, which had a head, was closed, and when.
    pub fn close(&mut self, at_ms: u32) {
        *self = Self { remaining: at_ms.into(), step: Step::Closed, ..Self::default() };
    }

    /// What [`Framer::close`] was given, if the connection is closed.
    pub fn closed_at_ms(&self) -> Option<u32> {
        let at_ms = u32::try_from(self.remaining).unwrap_or(u32::MAX);
        (self.step == Step::Closed).then_some(at_ms)
    }

    /// Reads on in the body. Bytes after its end are not looked at.
    pub(super) fn body(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<Progress, DecodeError> {
        while let [byte, rest @ ..] = bytes {
            bytes = match self.step {
                Step::Data => self.data(bytes, sink),
                Step::Length => self.length(bytes, sink),
                Step::UntilClose => {
                    sink.data(bytes);
                    return Ok(Progress::More);
                }
                Step::Done | Step::Closed | Step::Head | Step::Frame => break,
                Step::DataLf => {
                    if *byte != b'\n' {
                        return Err(DecodeError::BadChunk(NoCrlf));
                    }
                    sink.chunk_end();
                    self.begin_size();
                    rest
                }
                _ => {
                    self.step = self.framing(*byte).map_err(DecodeError::BadChunk)?;
                    rest
                }
            };
        }
        Ok(if self.step == Step::Done { Progress::Ended } else { Progress::More })
    }

    /// Takes data of a chunk; what is left of `bytes` after it.
    fn data<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        // Nearly all chunks lie whole in the buffer, with what ends them.
        if let Some((data, rest)) = bytes.split_at_checked(remaining)
            && let Some(rest) = rest.strip_prefix(b"\r\n")
        {
            sink.data(data);
            sink.chunk_end();
            self.begin_size();
            return rest;
        }
        let (data, rest) = bytes.split_at(remaining.min(bytes.len()));
        sink.data(data);
        self.remaining -= data.len() as u64;
        if self.remaining == 0 {
            self.step = Step::DataCr;
        }
        rest
    }

    /// Takes data of a body whose length is known; what is left of `bytes` after it.
    fn length<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (data, rest) = bytes.split_at(remaining.min(bytes.len()));
        sink.data(data);
        self.remaining -= data.len() as u64;
        if self.remaining == 0 {
            self.step = Step::Done;
        }
        rest
    }

    /// Makes ready for the next chunk's size line.
    fn begin_size(&mut self) {
        *self = Self { step: Step::Size, ..Self::default() };
    }

    /// Takes one byte that is not data; what the next must be.
    fn framing(&mut self, byte: u8) -> Result<Step, ChunkFault> {
        match (self.step, byte) {
            (Step::Size, b'\r') if self.line_len > 0 => Ok(Step::SizeLf),
            (Step::Size, b';') if self.line_len > 0 => self.lengthen(Step::Extension(Ext::Start)),
            (Step::Size, _) => self.digit(byte),
            (Step::Extension(extension), b'\r') if extension.may_end() => Ok(Step::SizeLf),
            (Step::Extension(extension), _) => {
                self.lengthen(Step::Extension(extension.next(byte).ok_or(Extension)?))
            }
            (Step::SizeLf, b'\n') => {
                self.line_len = 0;
                Ok(if self.remaining == 0 { Step::TrailerStart } else { Step::Data })
            }
            (Step::DataCr, b'\r') => Ok(Step::DataLf),
            (Step::TrailerStart, b'\r') => Ok(Step::LastLf),
            (Step::TrailerStart | Step::TrailerName, _) if is_token(byte) => {
                self.lengthen(Step::TrailerName)
            }
            (Step::TrailerName, b':') => self.lengthen(Step::Trailer),
            (Step::Trailer, b'\r') => Ok(Step::TrailerLf),
            (Step::Trailer, _) if is_text(byte) => self.lengthen(Step::Trailer),
            (Step::TrailerLf, b'\n') => Ok(Step::TrailerStart),
            (Step::LastLf, b'\n') => Ok(Step::Done),
            (Step::SizeLf, _) => Err(Size),
            (Step::DataCr, _) => Err(NoCrlf),
            _ => Err(Trailer),
        }
    }

    /// Takes one digit of a chunk's size.
    fn digit(&mut self, byte: u8) -> Result<Step, ChunkFault> {
        let digit = char::from(byte).to_digit(16).ok_or(Size)?;
        let shifted = { self.remaining }.checked_mul(16).ok_or(Overflow)?;
        self.remaining = shifted + u64::from(digit);
        self.lengthen(Step::Size)
    }

    /// Counts one byte of a line towards its bound.
    fn lengthen(&mut self, next: Step) -> Result<Step, ChunkFault> {
        self.line_len += 1;
        if self.line_len > MAX_LINE_BYTES { Err(TooLong) } else { Ok(next) }
    }
}
