//! One connection that is not parked, what it is doing, and what bytes make of that. No sockets.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::close::CloseReason;
use crate::cluster::ledger::Ticket;
use crate::framing::Style;
use crate::limits::CHATTY_BYTES;
use crate::refusal::Refusal;
use crate::request::{self, MAX_HEAD_BYTES, Parsed, Request};

/// A connection that is not parked.
#[derive(Debug)]
pub(super) struct Connection {
    /// Its descriptor.
    pub(super) socket: OwnedFd,
    /// Its own, in the state that it is in: a slot is used again.
    pub(super) number: u32,
    /// When it is given up.
    pub(super) deadline: Instant,
    /// What it is doing.
    pub(super) state: State,
}

// What a pending connection costs; a flood of them is to stay small.
const _: () = assert!(size_of::<Connection>() == 48);

/// What a connection that is not parked is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Sending its request. The bytes that came, if they were not yet a whole one.
    Reading(Vec<u8>),
    /// Reading its answer, after which it should close.
    Draining {
        /// Under which its close is counted, however it leaves.
        reason: CloseReason,
        /// How many bytes it may still send.
        n_bytes_left: usize,
    },
    /// Waiting until the cluster has subscribed its ids.
    Waiting(Box<Waiting>),
}

/// What is kept of a connection that waits for the cluster.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What it waits for.
    pub(super) ticket: Ticket,
    /// How its messages are to be framed.
    pub(super) style: Style,
    /// The response head that opens its stream.
    pub(super) head: Cow<'static, str>,
    /// Bytes that came behind its request, of which there are few.
    pub(super) n_extra_bytes: usize,
}

/// What is to be done with a connection after bytes have come.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing: its state has taken note of them.
    Stay,
    /// To carry out what it asks for.
    Serve {
        /// What that is.
        request: Request,
        /// Bytes that came behind it.
        n_extra_bytes: usize,
    },
    /// To tell it why not.
    Refuse(Refusal),
    /// To close it: it sends more than it may.
    Close(CloseReason),
}

/// Why a connection of the table is ended.
#[derive(Debug)]
pub(super) enum Leave<'refusal> {
    /// Its peer left, or sends more than it may: it gets no answer.
    Gone(CloseReason),
    /// It took too long.
    TooLate,
    /// It was the oldest when others needed the room.
    CrowdedOut,
    /// The server goes down, and says so.
    Shutdown(&'refusal Refusal),
}

impl State {
    /// Takes note of bytes that came. `bytes` are the reader's own: only an unfinished request is
    /// copied out of them.
    pub(super) fn on_bytes(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::Reading(kept) => {
                let is_first = kept.is_empty();
                if !is_first {
                    kept.extend_from_slice(bytes);
                }
                let all = if is_first { bytes } else { &kept[..] };
                match request::parse(all) {
                    Parsed::Incomplete => {
                        debug_assert!(all.len() < MAX_HEAD_BYTES, "more is refused");
                        if is_first {
                            kept.extend_from_slice(bytes);
                        }
                        Step::Stay
                    }
                    Parsed::Complete(request, n_head) => {
                        Step::Serve { request, n_extra_bytes: all.len() - n_head }
                    }
                    Parsed::Refused(refusal) => Step::Refuse(refusal),
                }
            }
            Self::Waiting(waiting) => {
                waiting.n_extra_bytes += bytes.len();
                match waiting.style {
                    // They would be frames, which a client must not send before it is answered
                    // (RFC 6455, 4.1).
                    Style::WebSocket => Step::Close(CloseReason::BadRequest),
                    _ if waiting.n_extra_bytes > CHATTY_BYTES => Step::Close(CloseReason::Chatty),
                    _ => Step::Stay,
                }
            }
            Self::Draining { reason, n_bytes_left } => {
                match n_bytes_left.checked_sub(bytes.len()) {
                    Some(n_left) => {
                        *n_bytes_left = n_left;
                        Step::Stay
                    }
                    None => Step::Close(*reason),
                }
            }
        }
    }

    /// Whether it has been answered.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self, Self::Draining { .. })
    }

    /// Bytes that are kept of an unfinished request.
    pub(super) fn n_kept_bytes(&self) -> usize {
        if let Self::Reading(bytes) = self { bytes.capacity() } else { 0 }
    }
}

/// The answer to a client whose ids could not be subscribed.
pub(super) fn unsubscribed(why: &'static str) -> Refusal {
    Refusal::new(CloseReason::Unsubscribed, why)
}
