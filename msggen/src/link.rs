//! One WebSocket: frames over a connection, by tungstenite.
//!
//! tungstenite decodes, checks and masks, and leaves reading and writing to whoever calls it. It is
//! called with the connection and the task to wake, so that there is no layer of futures between
//! them; tokio-tungstenite is one, whose buffers are 128 KiB in each direction by default.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

use crate::receipt::Reason;
use crate::stream::Stream;

/// Bytes that are read at a time, and that a connection holds while nothing comes: answers are
/// short.
const READ_BYTES: usize = 4 * 1024;

/// The longest frame and message that a server may send. Four times the longest message that is
/// sent, for servers that say it back within something of their own.
pub const MESSAGE_LIMIT_BYTES: usize = 256 * 1024;

/// Answers of `--answer` that wait for the kernel to take them. Further ones are not sent: a server
/// that asks and does not read is not answered into our memory.
const ANSWERS_WAITING: usize = 64;

/// The code that stands for a close frame without one.
const NO_CODE: u16 = 1005;

/// How a WebSocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// By a close frame of the server with this code; 1005 stands for none.
    Closed(u16),
    /// Without a close frame.
    Broken(Reason),
    /// By a frame that the RFC forbids, or that is too long.
    Bad(&'static str),
    /// We said the last word, and the server did not.
    Unconfirmed,
}

impl End {
    /// Its name where messages are unanswered for it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Closed(_) => Reason::Closed,
            Self::Broken(reason) => reason,
            Self::Bad(_) => Reason::BadFrame,
            Self::Unconfirmed => Reason::Interrupted,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // There are 2,000 codes that anybody may use, and a report is not to have a line for
            // each.
            Self::Closed(code @ ..3000) => write!(f, "close {code}"),
            Self::Closed(3000..4000) => f.write_str("close 3000-3999"),
            Self::Closed(_) => f.write_str("close 4000-4999"),
            Self::Broken(reason) => reason.fmt(f),
            Self::Bad(what) => f.write_str(what),
            Self::Unconfirmed => f.write_str("unconfirmed"),
        }
    }
}

/// What happened on a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel has taken the last byte of all that was written.
    Flushed,
    /// A message came.
    Message(Bytes),
    /// It ended.
    Ended(End),
}

/// A WebSocket, from the end of the handshake on.
#[derive(Debug)]
pub struct Link {
    /// Its connection.
    stream: Stream,
    /// The frames.
    context: WebSocketContext,
    /// Whether the kernel has not taken all that was written.
    has_unflushed: bool,
    /// Answers that it has not taken.
    n_answers: usize,
    /// Why the kernel takes no more; none as long as it does.
    torn: Option<End>,
}

impl Link {
    /// One over `stream`, where `early` came behind the handshake.
    pub fn new(stream: Stream, early: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // What is written stays in memory until it is flushed: nothing is written where its
            // failure would be taken for another message's.
            .write_buffer_size(usize::MAX / 2)
            .max_message_size(Some(MESSAGE_LIMIT_BYTES))
            .max_frame_size(Some(MESSAGE_LIMIT_BYTES));
        let context = WebSocketContext::from_partially_read(early, Role::Client, Some(config));
        Self { stream, context, has_unflushed: false, n_answers: 0, torn: None }
    }

    /// Whether the kernel has taken all that was written.
    pub fn is_flushed(&self) -> bool {
        !self.has_unflushed
    }

    /// Writes a message. It goes out with the next event that is waited for.
    pub fn write(&mut self, payload: Bytes, is_binary: bool) -> Result<(), End> {
        let message = if is_binary {
            Message::Binary(payload)
        } else {
            let text = payload.try_into().map_err(|_| End::Bad("not UTF-8"))?;
            Message::Text(text)
        };
        self.has_unflushed = true;
        unless_blocked(self.context.write(&mut Nowhere, message))
            .map(drop)
            .map_err(|error| end_of(&error))
    }

    /// Writes an answer to something that came, unless too many wait already.
    pub fn answer(&mut self, payload: Bytes, is_binary: bool) -> Result<(), End> {
        if self.n_answers >= ANSWERS_WAITING {
            return Ok(());
        }
        self.n_answers += 1;
        self.write(payload, is_binary)
    }

    /// Waits until something happens. Nothing is lost if it is not waited for to the end.
    pub async fn event(&mut self) -> Event {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// Says that nothing more will be sent, and waits until the server says the same. What it says
    /// before that is shown to `hear`.
    pub async fn close(&mut self, mut hear: impl FnMut(&Bytes)) -> End {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if let Err(error) = unless_blocked(self.context.close(&mut Nowhere, Some(frame))) {
            return end_of(&error);
        }
        self.has_unflushed = true;
        loop {
            match self.event().await {
                Event::Ended(end) => return end,
                Event::Message(payload) => hear(&payload),
                Event::Flushed => {}
            }
        }
    }

    /// The same as [`Self::event`].
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let mut stream = Polled { stream: &mut self.stream, context };
        if self.has_unflushed && self.torn.is_none() {
            match unless_blocked(self.context.flush(&mut stream)) {
                Ok(Some(())) => {
                    self.has_unflushed = false;
                    self.n_answers = 0;
                    return Poll::Ready(Event::Flushed);
                }
                Ok(None) => {}
                // What the server said before is still read: it may be a close frame.
                Err(error) => self.torn = Some(end_of(&error)),
            }
        }
        loop {
            match unless_blocked(self.context.read(&mut stream)) {
                // tungstenite answers a ping by itself.
                Ok(Some(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Ok(Some(Message::Text(text))) => return Poll::Ready(Event::Message(text.into())),
                Ok(Some(Message::Binary(bytes))) => return Poll::Ready(Event::Message(bytes)),
                Ok(Some(Message::Close(frame))) => {
                    // The answer to it, as far as the kernel takes that.
                    let _ = self.context.flush(&mut stream);
                    let code = frame.map_or(NO_CODE, |frame| frame.code.into());
                    return Poll::Ready(Event::Ended(End::Closed(code)));
                }
                Ok(None) => match self.torn {
                    None => return Poll::Pending,
                    Some(end) => return Poll::Ready(Event::Ended(end)),
                },
                Err(error) => {
                    let end = self.torn.unwrap_or_else(|| end_of(&error));
                    if let End::Bad(what) = end {
                        let frame = CloseFrame { code: code_of(&error), reason: what.into() };
                        let _ = self.context.close(&mut stream, Some(frame));
                    }
                    return Poll::Ready(Event::Ended(end));
                }
            }
        }
    }
}

/// A result without the error that only says that it would have to wait.
fn unless_blocked<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// How a WebSocket ended that ended with this error.
fn end_of(error: &Error) -> End {
    match error {
        Error::Io(error) => End::Broken(Reason::of_breaking(error)),
        Error::ConnectionClosed | Error::AlreadyClosed => End::Broken(Reason::Cut),
        Error::Capacity(_) => End::Bad("frame too long"),
        Error::Utf8(_) => End::Bad("not UTF-8"),
        Error::Protocol(error) => match error {
            ProtocolError::ResetWithoutClosingHandshake => End::Broken(Reason::Cut),
            ProtocolError::MaskedFrameFromServer => End::Bad("masked frame"),
            ProtocolError::NonZeroReservedBits => End::Bad("reserved bits"),
            ProtocolError::UnknownControlFrameType(_)
            | ProtocolError::UnknownDataFrameType(_)
            | ProtocolError::InvalidOpcode(_) => End::Bad("reserved opcode"),
            ProtocolError::FragmentedControlFrame | ProtocolError::ControlFrameTooBig => {
                End::Bad("bad control frame")
            }
            ProtocolError::UnexpectedContinueFrame | ProtocolError::ExpectedFragment(_) => {
                End::Bad("bad fragment")
            }
            ProtocolError::InvalidCloseSequence => End::Bad("bad close frame"),
            _ => End::Bad("bad frame"),
        },
        _ => End::Bad("bad frame"),
    }
}

/// The close code that the RFC has for this error.
fn code_of(error: &Error) -> CloseCode {
    match error {
        Error::Capacity(_) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}

/// A connection and the task that waits for it, as what blocks: it says that it would.
struct Polled<'a, 'b> {
    /// The connection.
    stream: &'a mut Stream,
    /// The task.
    context: &'a mut Context<'b>,
}

/// What `poll` comes to where nothing waits.
fn without_waiting<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(room);
        without_waiting(Pin::new(&mut *self.stream).poll_read(self.context, &mut room))?;
        Ok(room.filled().len())
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        without_waiting(Pin::new(&mut *self.stream).poll_write(self.context, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        without_waiting(Pin::new(&mut *self.stream).poll_flush(self.context))
    }
}

/// Takes nothing and has nothing: what is written to it waits for the next flush.
struct Nowhere;

impl Read for Nowhere {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
