//! Sockets without a network, for tests of the router.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::close::CloseReason;
use crate::router::{Allowance, Heard, Id, Meter, Ready, SharedTail, Wire};

/// The poller of a shard: tests make their own events.
#[derive(Debug)]
pub(crate) struct FakeWire {
    /// The shard's number.
    shard: usize,
    /// Ids that nobody is logged in as any longer.
    left: Left,
}

/// What all wires heard to have left.
pub(crate) type Left = Arc<Mutex<Vec<Id>>>;

/// Wires for `n` shards, and what they hear to have left.
pub(crate) fn wires(n: usize) -> (Vec<FakeWire>, Left) {
    let left = Left::default();
    ((0..n).map(|shard| FakeWire { shard, left: Arc::clone(&left) }).collect(), left)
}

/// What the test sees of a connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Everything that was sent to it.
    pub(crate) received: String,
    /// Bytes that it still takes before it makes the sender wait.
    pub(crate) room: usize,
    /// What it has said and was not heard yet.
    pub(crate) said: VecDeque<u8>,
    /// Whether it has closed its side.
    pub(crate) is_gone: bool,
    /// Whether sending to it fails.
    pub(crate) is_broken: bool,
    /// Whether our side was closed.
    pub(crate) is_closed: bool,
    /// How often the wire heard that it would be.
    pub(crate) n_closings: u32,
    /// The shard that watches it, and under which key.
    pub(crate) watched: Option<(usize, u64)>,
}

/// Our end of a connection to a [`Peer`].
#[derive(Debug)]
pub(crate) struct FakeSocket(Arc<Mutex<Peer>>);

/// A connected pair; the peer takes `room` bytes before it makes the sender wait.
pub(crate) fn connect(room: usize) -> (FakeSocket, Arc<Mutex<Peer>>) {
    let peer = Arc::new(Mutex::new(Peer { room, ..Peer::default() }));
    (FakeSocket(Arc::clone(&peer)), peer)
}

impl FakeSocket {
    /// The other end.
    fn peer(&self) -> MutexGuard<'_, Peer> {
        self.0.lock().expect("no test panics while it holds a peer")
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        self.peer().is_closed = true;
    }
}

/// What is sent: a text, and what the chunks made of it share.
#[derive(Debug)]
pub(crate) struct FakeMessage {
    text: String,
    tail: OnceLock<Arc<SharedTail>>,
}

impl FakeMessage {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), tail: OnceLock::new() }
    }
}

/// Whether peers are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FakeStyle {
    /// What they send is dropped.
    Deaf,
    /// They say sentences of two bytes: `?x` asks for `x!;`, `!x` is an answer, `.x` says goodbye
    /// and is answered `bye;`, `#x` is a fault and is answered `bad;`. Others mean nothing.
    Talks,
}

/// Something to read, nothing to write.
pub(crate) const READABLE: Ready = Ready { readable: true, writable: false };

impl Wire for FakeWire {
    const SHARED_BYTES: usize = 8;

    type Socket = FakeSocket;
    type Style = FakeStyle;
    type Message = FakeMessage;
    type Talk = Option<u8>;

    fn watch(&self, socket: &FakeSocket, key: u64) -> io::Result<()> {
        socket.peer().watched = Some((self.shard, key));
        Ok(())
    }

    fn watch_writable(&self, _: &FakeSocket, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn try_write(socket: &FakeSocket, bytes: &[u8]) -> io::Result<usize> {
        let mut peer = socket.peer();
        if peer.is_broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if peer.room == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = bytes.len().min(peer.room);
        peer.room -= n;
        peer.received.push_str(std::str::from_utf8(&bytes[..n]).expect("tests send ASCII"));
        Ok(n)
    }

    fn recv(socket: &FakeSocket, buffer: &mut [u8]) -> io::Result<usize> {
        let mut peer = socket.peer();
        if peer.is_broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let n = peer.said.len().min(buffer.len());
        if n > 0 {
            buffer.iter_mut().zip(peer.said.drain(..n)).for_each(|(to, byte)| *to = byte);
            return Ok(n);
        }
        if peer.is_gone { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn abort(_: &FakeSocket) {}

    fn finish(_: &FakeSocket) {}

    fn render(message: &FakeMessage, n: u64, _: FakeStyle, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{n}:{};", message.text).as_bytes());
    }

    fn tail(message: &FakeMessage, _: FakeStyle, meter: &Arc<Meter>) -> (Arc<SharedTail>, usize) {
        // Longer than what is used of it, as with styles that leave out the end.
        let bytes = || format!("{};|", message.text).into_bytes();
        let tail = message.tail.get_or_init(|| SharedTail::new(bytes(), meter));
        (Arc::clone(tail), tail.bytes().len() - 1)
    }

    fn last_chunk(_: FakeStyle, _: CloseReason) -> &'static [u8] {
        b"end;"
    }

    fn ping(_: FakeStyle) -> &'static [u8] {
        b"ping;"
    }

    fn talks(style: FakeStyle) -> bool {
        style == FakeStyle::Talks
    }

    fn hear(
        begun: &mut Option<u8>,
        bytes: &mut [u8],
        allowance: &mut Allowance,
        answers: &mut Vec<u8>,
    ) -> Heard {
        let mut heard = Heard::default();
        for &byte in &*bytes {
            let first = begun.unwrap_or(byte);
            if (first != b'!' || allowance.n_answers == 0) && allowance.take(1) == 0 {
                heard.end = Some(CloseReason::Chatty);
            } else if begun.take().is_none() {
                *begun = Some(byte);
            } else if first == b'?' {
                heard.last_answer = answers.len();
                answers.extend_from_slice(&[byte, b'!', b';']);
            } else if first == b'!' {
                heard.has_answered = true;
                allowance.n_answers = 0;
            } else if first == b'.' {
                (heard.end, heard.code) = (Some(CloseReason::Peer), Some(1000));
            } else if first == b'#' {
                heard.end = Some(CloseReason::BadFrame);
            }
            if let Some(reason) = heard.end {
                heard.last_answer = answers.len();
                let is_goodbye = reason == CloseReason::Peer;
                answers.extend_from_slice(if is_goodbye { b"bye;" } else { b"bad;" });
                break;
            }
        }
        heard
    }

    fn is_over(begun: &Option<u8>) -> bool {
        begun.is_none()
    }

    fn closing(&self, socket: &FakeSocket, _: usize) {
        socket.peer().n_closings += 1;
    }

    fn left(&self, id: Id) {
        self.left.lock().expect("no test panics while it holds the ids").push(id);
    }
}
