//! The bytes of one connection, whether they are encrypted on their way or not.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::opening::Unsent;
use crate::decode::error::DecodeError;
use crate::decode::sink::Progress;
use crate::dial::send_some;
use crate::reason::Reason;
use crate::tls::Tls;

/// Bytes of answers on a WebSocket that may wait for a server that does not read: a few hundred
/// pongs.
const MAX_UNSENT_BYTES: usize = 4 * 1024;

/// What one `recv` has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing: the socket is empty.
    Nothing,
    /// The end of the stream.
    Closed,
}

/// How far a response is with what was shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It goes on.
    More,
    /// It is complete.
    Ended,
    /// The server has said, within TLS, that nothing more comes.
    Closed,
}

/// One connection while it is received from. It keeps nothing between two times.
pub(super) struct Transport<'a> {
    /// The socket.
    socket: &'a OwnedFd,
    /// The TLS that is spoken over it, if it is.
    tls: Option<&'a mut Tls>,
    /// Where it is received into.
    buffer: &'a mut [u8],
    /// Where TLS writes what it sends.
    outgoing: &'a mut Vec<u8>,
    /// Bytes in front of the buffer that came before: the beginning of a record.
    start: usize,
    /// Bytes that are received at once, if there is room for them.
    most: usize,
}

impl<'a> Transport<'a> {
    /// The connection behind `socket`. What is received goes into `buffer`, and what TLS has to
    /// send through `outgoing`; both are only lent, so that an idle connection has neither.
    pub(super) fn new(
        socket: &'a OwnedFd,
        tls: Option<&'a mut Tls>,
        buffer: &'a mut [u8],
        outgoing: &'a mut Vec<u8>,
    ) -> Self {
        Self { socket, tls, buffer, outgoing, start: 0, most: usize::MAX }
    }

    /// Receives no more than `most` bytes at once.
    pub(super) fn reading_at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Whether TLS is spoken.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Receives once.
    pub(super) fn read(&mut self) -> Result<Read, Reason> {
        // A record can be decrypted only as a whole: the part that came before is put in front.
        self.start = match &mut self.tls {
            None => 0,
            Some(tls) => tls.put_back(self.buffer)?,
        };
        let end = self.start.saturating_add(self.most).min(self.buffer.len());
        loop {
            match recv(self.socket, &mut self.buffer[self.start..end], RecvFlags::empty()) {
                Ok((_, 0)) => return Ok(Read::Closed),
                Ok((_, n)) => return Ok(Read::Bytes(n)),
                Err(Errno::AGAIN) => return Ok(Read::Nothing),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether `n` bytes, the last that were read, are all that there was room for. Then the socket
    /// may have more.
    pub(super) fn is_filled_by(&self, n: usize) -> bool {
        n == self.buffer.len() - self.start
    }

    /// Shows the `n` bytes that were read last to `plain`, decrypted if need be. With TLS there may
    /// be something to send, and what the socket does not take of that goes to `unsent`.
    pub(super) fn show(
        &mut self,
        n: usize,
        mut plain: impl FnMut(&[u8]) -> Result<Progress, DecodeError>,
        unsent: &mut Unsent,
    ) -> Result<Shown, Reason> {
        let Some(tls) = &mut self.tls else {
            return Ok(plain(&self.buffer[..n])?.into());
        };
        self.outgoing.clear();
        let received = &mut self.buffer[..self.start + n];
        let shown = match tls.receive(received, self.outgoing, plain) {
            // The one end that TLS knows itself; whether it is a proper one the framing says.
            Err(Reason::Cut) => return Ok(Shown::Closed),
            progress => progress?.into(),
        };
        if unsent.is_empty() {
            *unsent = Unsent::of(self.outgoing, send_some(self.socket, self.outgoing)?);
        } else {
            unsent.append(self.outgoing);
        }
        Ok(shown)
    }

    /// Sends frames behind what is `unsent`; whether some of them are left to be sent.
    ///
    /// Where the socket takes nothing because the server does not read, answers that wait already
    /// are enough: further ones are left out unless they `must_go`. An error of the socket is seen
    /// by the next read.
    pub(super) fn say(&mut self, frames: &[u8], must_go: bool, unsent: &mut Unsent) -> bool {
        if !must_go && unsent.n_left() >= MAX_UNSENT_BYTES {
            return false;
        }
        self.outgoing.clear();
        match &mut self.tls {
            None => self.outgoing.extend_from_slice(frames),
            Some(tls) => {
                if tls.encrypt(frames, self.outgoing).is_err() {
                    return false;
                }
            }
        }
        if unsent.is_empty() {
            let n_sent = send_some(self.socket, self.outgoing).unwrap_or(self.outgoing.len());
            *unsent = Unsent::of(self.outgoing, n_sent);
        } else {
            unsent.append(self.outgoing);
        }
        !unsent.is_empty()
    }
}

impl From<Progress> for Shown {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::More => Self::More,
            Progress::Ended => Self::Ended,
        }
    }
}
