//! What a process keeps of its places beside their rows, where they have more than one connection.

use std::collections::VecDeque;

use super::column::Column;
use super::queue::Queue;
use crate::again::Again;
use crate::reason::Reason;
use crate::urls::UrlFile;

/// A connection that we are to close.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToClose {
    /// Its row.
    pub(super) row: u32,
    /// Which of its place's connections it is.
    pub(super) life: u32,
    /// Why.
    pub(super) reason: Reason,
    /// Whether it is thrown away.
    pub(super) is_reset: bool,
    /// Which settling is about it.
    pub(super) settling: Option<usize>,
}

/// What a process keeps of its places beside their rows.
#[derive(Debug)]
pub(super) struct Places {
    /// A column for each row.
    pub(super) columns: Vec<Column>,
    /// When they are due.
    pub(super) queue: Queue,
    /// Those that were found to be due just now; empty but for its memory.
    pub(super) due: Vec<(u32, u32)>,
    /// Those whose next connection is due, and since when, in milliseconds after the start.
    pub(super) to_dial: VecDeque<(u32, u32)>,
    /// Connections that we are to close, in slices, so that the others need not wait for all of
    /// them.
    pub(super) to_close: VecDeque<ToClose>,
    /// The URL file once more, where their lines are read again.
    pub(super) urls: UrlFile,
    /// What servers have said about how to come back.
    pub(super) again: Again,
    /// Places of which it is known what became of their first connect.
    pub(super) n_tried: usize,
    /// Whether all of them have been so far.
    pub(super) has_settled: bool,
    /// The next storm.
    pub(super) next_storm: usize,
    /// Connections that others have closed in the last second: when, and of which rows.
    pub(super) lost: VecDeque<(u32, u32)>,
    /// Which settling is about the absence of a server that lasts.
    pub(super) absence: Option<usize>,
    /// What the delays were when the settling before had settled.
    pub(super) settled: reports::latency::LatencyCounts,
}

impl Places {
    /// No places so far, and memory set aside for `n`. Their lines are read from `urls`.
    pub(super) fn new(urls: UrlFile, n: usize) -> Self {
        Self {
            columns: Vec::with_capacity(n),
            queue: Queue::default(),
            due: Vec::new(),
            to_dial: VecDeque::new(),
            to_close: VecDeque::new(),
            urls,
            again: Again::default(),
            n_tried: 0,
            has_settled: false,
            next_storm: 0,
            lost: VecDeque::new(),
            absence: None,
            settled: reports::latency::LatencyCounts::default(),
        }
    }
}
