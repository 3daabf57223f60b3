//! What the processes of a run say to each other.
//!
//! Parent and local worker have one socket. The parent sends a [`Job`] as a line of JSON and, when
//! all workers are ready, `start` and the time of it on a line, in microseconds of the machine's
//! monotonic clock. After that each byte `?` asks for the counts, and the end of the stream asks
//! for the end of the run. Where the sender of the messages has another clock, lines of JSON say
//! how receipts are to be corrected. A worker sends lines of JSON.
//!
//! Between a parent and the agent of a host these go through one pair of pipes: see [`ToAgent`] and
//! [`OfAgent`].

use std::path::PathBuf;

use reports::announced::Announced;
use serde::{Deserialize, Serialize};

use crate::dry_run::DryRun;
use crate::end::End;
use crate::job::Job;
use crate::slow_end::SlowEnd;
use crate::tally::Tally;
use crate::worst::Worst;

/// The byte that asks for the counts.
pub(super) const ASK: u8 = b'?';

/// What a worker says: one JSON object a line. It lends its counts, and its parent gets them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said<T> {
    /// It knows its job and waits for the start.
    Ready,
    /// What it has counted. Not asked for, it says that its connections are all opened.
    Counts {
        /// How often it was asked so far.
        n_asked: u64,
        /// Whether it will not open a connection of a new place any more.
        is_settled: bool,
        /// The counts.
        tally: T,
    },
    /// It has come to its end.
    Done {
        /// What ended it.
        end: End,
        /// What it has counted.
        tally: T,
        /// Its connections with the most faults.
        worst: Vec<Worst>,
        /// What became of its slow readers.
        slow: Vec<SlowEnd>,
    },
    /// It cannot go on, and says why.
    Failed(String),
}

/// The version of what a parent and the agent of a host say to each other. Another one is refused.
pub(super) const PROTOCOL: u32 = 1;

/// What the first line of an agent begins with. What a login shell printed stands before it.
pub(super) const HELLO: &str = "floodtest-worker ";

/// What an agent says first: who it is, and what its host allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`PROTOCOL`], as it knows it.
    pub(super) protocol: u32,
    /// Its version of floodtest.
    pub(super) version: String,
    /// What the host calls itself.
    pub(super) hostname: String,
    /// Files that one process may open there.
    pub(super) open_files: u64,
    /// How many more files the whole host may open, if that is known.
    pub(super) open_files_of_machine: Option<u64>,
    /// Memory that it has left, in KB of 1,024 bytes, if that is known.
    pub(super) available_memory_kb: Option<u64>,
}

/// What an agent is told, one JSON object a line.
///
/// What is for one worker has its number and a space before it: `start` and the time of the host's
/// monotonic clock in microseconds, `?` for its counts, and `stop`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// The content of a file follows this line. One that is there already is replaced.
    File {
        /// Which one, from 0 on without a gap. The first is the URL file.
        file: usize,
        /// Its length.
        bytes: u64,
    },
    /// Find out what the host's share of a run takes. Its files have come.
    Prepare(Box<Job>),
    /// Who sends on your machine, and by which clock?
    Senders,
    /// Start the workers of the run that was prepared.
    Spawn,
    /// What does your monotonic clock say? The question that is asked each second says as well that
    /// the parent is there.
    Ping {
        /// What the parent's says, in microseconds.
        sent_us: i64,
    },
}

/// What an agent says beside what its workers do, whose lines have their number and a space before
/// them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum OfAgent {
    /// A file has come whole.
    Filed {
        /// Which one.
        file: usize,
        /// Where it is on the host.
        path: PathBuf,
    },
    /// What the host's share of a run takes.
    Prepared(Box<DryRun>),
    /// The answer to a ping.
    Pong {
        /// What the parent's clock said when it asked, in microseconds.
        sent_us: i64,
        /// What the host's says, likewise.
        there_us: i64,
        /// RSS of the host's processes in KB of 1,024 bytes, when it was last looked at.
        rss_kb: u64,
    },
    /// Who sends on the host.
    Senders {
        /// The host's wall clock minus its monotonic one, in microseconds.
        zero_us: i64,
        /// Those who have announced themselves.
        announced: Vec<Announced>,
    },
    /// A worker has ended. One that did so without a last word has died.
    Ended {
        /// Which one.
        worker: usize,
        /// How its process ended.
        how: String,
    },
    /// It cannot go on, and says why.
    Failed(String),
}

/// What a parent takes in of a worker.
pub(super) type SaidWhole = Said<Tally>;
