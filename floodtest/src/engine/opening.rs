//! What is kept of a connection until it has a response head.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::following::Following;
use crate::decode::Beginning;
use crate::dial::send_some;
use crate::reason::Reason;
use crate::request::sockets::Handshake;

/// How far a connection without a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is being connected, or TLS is being agreed upon.
    Connecting,
    /// Its request was sent, and its head has not come.
    Waiting,
    /// Its head refuses, and there may be more to say about why.
    Refused,
}

/// An address that is dialed, and for whom.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Which target it goes to.
    pub(super) target: usize,
    /// Which of the target's addresses is being tried.
    pub(super) endpoint: usize,
    /// What is kept for later.
    pub(super) carried: Carried,
}

/// What is kept of a connection until it has its head.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// What a redirect would need, if they are followed.
    pub(super) following: Option<Box<Following>>,
    /// What was asked, if it was for a WebSocket.
    pub(super) handshake: Option<Handshake>,
    /// The further fields of its line, if they will be needed.
    pub(super) fields: Option<Box<[u8]>>,
}

/// What is known of a connection only until its head is complete.
#[derive(Debug)]
pub(super) struct Opening {
    /// Where it goes.
    pub(super) attempt: Attempt,
    /// How far it is.
    pub(super) stage: Stage,
    /// Since when.
    pub(super) since: Instant,
    /// Whether it counts among the connects on their way.
    pub(super) is_in_flight: bool,
    /// What is left of the request.
    pub(super) unsent: Unsent,
    /// What there is of the response.
    pub(super) beginning: Beginning,
}

/// A request, or a hello of TLS, or frames, that could not be sent whole at once.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// All of it; empty if all was sent.
    pub(super) bytes: Box<[u8]>,
    /// How much of it was sent.
    n_sent: usize,
}

impl Unsent {
    /// Of `bytes`, of which some are sent.
    pub(super) fn of(bytes: &[u8], n_sent: usize) -> Self {
        let bytes = if n_sent < bytes.len() { bytes.into() } else { Box::default() };
        Self { bytes, n_sent }
    }

    /// Whether all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether there is a connection: something was sent.
    pub(super) fn is_connected(&self) -> bool {
        self.is_empty() || self.n_sent > 0
    }

    /// Adds bytes behind those that are left.
    pub(super) fn append(&mut self, more: &[u8]) {
        let left = self.bytes.get(self.n_sent..).unwrap_or_default();
        *self = Self { bytes: [left, more].concat().into(), n_sent: 0 };
    }

    /// How many bytes are left.
    pub(super) fn n_left(&self) -> usize {
        self.bytes.len().saturating_sub(self.n_sent)
    }

    /// Sends what the socket takes.
    pub(super) fn send(&mut self, socket: &OwnedFd) -> Result<(), Reason> {
        self.n_sent += send_some(socket, &self.bytes[self.n_sent..])?;
        if self.n_sent == self.bytes.len() {
            self.bytes = Box::default();
        }
        Ok(())
    }
}
