//! One connection that is not parked, and what it is doing.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::close::CloseReason;
use crate::cluster::ledger::Ticket;
use crate::framing::Style;
use crate::refusal::Refusal;

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
    Waiting {
        /// What it waits for.
        ticket: Ticket,
        /// How its messages are to be framed.
        style: Style,
        /// Bytes that came behind its request, of which there are few.
        n_extra_bytes: u32,
    },
}

impl State {
    /// Bytes that are kept of an unfinished request.
    pub(super) fn n_kept_bytes(&self) -> usize {
        if let Self::Reading(bytes) = self { bytes.capacity() } else { 0 }
    }
}

/// A number of bytes that were read at a time, or not too many.
pub(super) fn small(n_bytes: usize) -> u32 {
    u32::try_from(n_bytes).expect("a connection that sent more was closed")
}

/// The answer to a client whose ids could not be subscribed.
pub(super) fn unsubscribed(why: &'static str) -> Refusal {
    Refusal::new(CloseReason::Unsubscribed, why)
}
