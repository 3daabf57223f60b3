//! What a connection of the control door holds between two waits, and why it waits no more.

use super::places::Notice;
use super::room::Input;

/// What a connection holds while it is not idle.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What came in and is not used yet.
    pub(super) input: Input,
    /// Answers, the first to be written at the front.
    pub(super) output: Vec<u8>,
    /// How much of them has been written.
    pub(super) n_written: usize,
}

/// Why no more can be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer will send no more.
    End,
    /// The connection is broken.
    Gone,
    /// It was told to end.
    Notice(Notice),
}
