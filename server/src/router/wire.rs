//! What the router needs of the world, and what it is told about limits.

use std::io;
use std::sync::Arc;

use super::id::Id;
use super::meter::{Meter, SharedTail};
use crate::close::CloseReason;

/// What the router needs of the world: sockets, a poller to watch them, and framing.
///
/// One value is the poller of one shard; sockets and framing are reached through its types.
pub trait Wire {
    /// What is left of a chunk is shared with others if it is at least so many bytes, and copied
    /// if it is less. More than the tail of a short message has.
    const SHARED_BYTES: usize;

    /// A connection's descriptor; dropping it closes the connection.
    type Socket: std::fmt::Debug;
    /// How a connection's chunks are framed.
    type Style: Copy + std::fmt::Debug;
    /// What is sent.
    type Message: ?Sized;
    /// What is kept of a peer that talks, and has been heard in mid-sentence.
    type Talk: Default + std::fmt::Debug;

    /// Watches a socket for bytes and for the peer's end; events come back with `key`.
    fn watch(&self, socket: &Self::Socket, key: u64) -> io::Result<()>;
    /// Watches a watched socket for room as well, or no longer.
    fn watch_writable(&self, socket: &Self::Socket, key: u64, wanted: bool) -> io::Result<()>;
    /// Sends without waiting.
    fn try_write(socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Receives without waiting.
    fn recv(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;
    /// Makes the coming close throw away what the kernel still holds for the peer.
    fn abort(socket: &Self::Socket);
    /// Makes the coming close deliver all that was written, even to a peer that still talks.
    fn finish(socket: &Self::Socket);
    /// Appends `message` as chunk number `n`.
    fn render(message: &Self::Message, n: u64, style: Self::Style, out: &mut Vec<u8>);
    /// What all chunks of `message` end in, whatever their number: so many of the first bytes of
    /// what connections share. Made once for a message, and counted by `meter`.
    fn tail(
        message: &Self::Message,
        style: Self::Style,
        meter: &Arc<Meter>,
    ) -> (Arc<SharedTail>, usize);
    /// What ends a response that ends for `reason`.
    fn last_chunk(style: Self::Style, reason: CloseReason) -> &'static [u8];
    /// What can be sent at any time to find out whether the peer is there; empty if nothing can.
    fn ping(style: Self::Style) -> &'static [u8];
    /// Whether what peers send means something in this style, and a ping is answered. In others
    /// what they send is dropped.
    fn talks(style: Self::Style) -> bool;
    /// Takes in what such a peer has sent, which may be changed in place, and appends what it is
    /// answered.
    fn hear(
        talk: &mut Self::Talk,
        bytes: &mut [u8],
        allowance: &mut Allowance,
        answers: &mut Vec<u8>,
    ) -> Heard;
    /// Whether nothing of a talk need be kept.
    fn is_over(talk: &Self::Talk) -> bool;
    /// Hears that a socket of a login with so many ids is about to be closed, exactly once for
    /// each.
    fn closing(&self, socket: &Self::Socket, n_ids: usize);
    /// Hears that nobody is logged in as `id` any longer. It may be somebody again at once.
    fn left(&self, id: Id);
}

/// What an event said about a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read: bytes, the peer's end, or an error.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// What a peer that talks may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of things that nobody has asked it for.
    pub n_bytes: usize,
    /// Pings that it has not answered. Its answer costs nothing.
    pub n_answers: u8,
}

impl Allowance {
    /// Takes up to `n` bytes; returns how many were left.
    pub(crate) fn take(&mut self, n: usize) -> usize {
        let n_taken = n.min(self.n_bytes);
        self.n_bytes -= n_taken;
        n_taken
    }
}

/// What was heard of a peer that talks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether it has answered a ping.
    pub has_answered: bool,
    /// Where the last answer to it begins. That one is enough for a peer whose socket is full.
    pub last_answer: usize,
    /// Why its connection ends now. The last answer says so to the peer.
    pub end: Option<CloseReason>,
    /// The code with which the peer has ended it, if it has.
    pub code: Option<u16>,
}

/// Limits of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that may wait for one connection. A reader that is this far behind is closed rather
    /// than fed.
    pub backlog_bytes: usize,
    /// Bytes of memory that all backlogs together may take. When it is more, the connections that
    /// are furthest behind are closed.
    pub backlog_total_bytes: usize,
    /// Bytes that one may send after its request. They are read and dropped. Peers that talk are
    /// forgiven some of them from time to time.
    pub chatty_bytes: usize,
    /// Ids that all connections together may be logged in as, each counted for each connection.
    pub max_ids: u64,
}

#[cfg(test)]
impl Limits {
    /// Limits that no test reaches which does not want to.
    pub(crate) fn for_tests() -> Self {
        Self {
            backlog_bytes: 64,
            backlog_total_bytes: 1_000_000,
            chatty_bytes: 64,
            max_ids: 1_000_000,
        }
    }
}
