//! Concurrent sources of messages, on schedule, through a Comet server's control door.
//!
//! Each source sends the article's `Fake message Num = {k}`, k counting down, to uniformly random
//! ids, one every interval: not one interval after the last answer (the article's own loop, which
//! slows down with its server and then reports how well the server kept up), but when the schedule
//! says. A source that fell behind sends what is overdue as fast as answers come, and the lateness
//! is reported, as is every message's fate: answered, failed, or unanswered.
//!
//! - [`args`]: the command line, checked once into a [`Config`].
//! - [`ids`]: whom a source sends to; repeatable by seed.
//! - [`schedule`]: when messages are due, and the thread that says so.
//! - [`sender`]: one source's loop.
//! - [`door`]: one request to the control door, and what became of its messages.
//! - [`tally`]: what became of all of them.
//! - [`report`]: the tally as JSON, as a line, as a table.
//! - [`verdict`]: whether the run did what was asked.
//! - [`shutdown`]: how a run is told to end.
//! - [`descriptors`]: room for a connection per source.
//! - [`mod@run`]: all of it together.

pub mod args;
pub mod descriptors;
pub mod door;
pub mod ids;
pub mod report;
pub mod run;
pub mod schedule;
pub mod sender;
pub mod shutdown;
pub mod tally;
pub mod verdict;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reports::out;
use reqwest::Url;
use reqwest::header::HeaderValue;

pub use report::Outcome;
pub use run::{Observer, run};
pub use verdict::Verdict;

/// What a run is asked to do; checked by [`args`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Messages that each source sends; at least 1.
    pub n_messages: u64,
    /// From one message of a source to its next; zero means as fast as answers come.
    pub interval: Duration,
    /// Messages go to ids in 1..=max.
    pub max_id: u64,
    /// Sources, each with at most one request in flight; at least 1, and few enough that
    /// `n_sources` × `n_messages` is a number.
    pub n_sources: u64,
    /// The server's control door: `http`, with a host.
    pub server: Url,
    /// `Bearer …`, for a door that wants one.
    pub token: Option<HeaderValue>,
    /// Overdue messages that may go in one request; 1 gives each a request of its own.
    pub batch: u64,
    /// What every source's ids follow from.
    pub seed: u64,
    /// Whether messages carry their due time and lateness.
    pub has_stamps: bool,
    /// How long an answer may take before its messages count as unanswered.
    pub timeout: Duration,
    /// From one report to the next.
    pub report_every: Duration,
    /// The logs to keep, if any.
    pub out: Option<out::Folder>,
}

/// Why a run could not begin. The message names the cause and, where there is one, the cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--server` is not the URL of a control door.
    #[error("not a server URL: \"{text}\": {why}")]
    Server {
        /// What was given.
        text: String,
        /// What is wrong with it, and what to write.
        why: String,
    },
    /// More messages are asked for than can be counted.
    #[error("{n_sources} sources × {n_messages} messages are more than 2^64; lower --num")]
    TooManyMessages {
        /// Sources asked for.
        n_sources: u64,
        /// Messages a source asked for.
        n_messages: u64,
    },
    /// The file with the token cannot be read.
    #[error("cannot read the token file {}: {source}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The file with the token holds none that a request can carry.
    #[error("no token in {}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        why: &'static str,
    },
    /// The host in `--server` has no address.
    #[error("unknown host {host}: {source}; check --server")]
    UnknownHost {
        /// The host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing takes connections where the server should be.
    #[error(
        "nobody is listening at {server}: {source}; start comet-server, or name its control door \
         with --server"
    )]
    NobodyListening {
        /// The server.
        server: String,
        /// What connecting ended in.
        source: io::Error,
    },
    /// Every source may need a connection at the same time, and there are not as many.
    #[error(
        "cannot keep {n_sources} requests in flight: the open-file limit is {limit}; raise it with \
         `ulimit -n {needed}`, or lower --sources"
    )]
    Descriptors {
        /// Sources asked for.
        n_sources: u64,
        /// The hard limit.
        limit: u64,
        /// The limit that would do.
        needed: u64,
    },
    /// The folder of `--out` cannot be used.
    #[error(transparent)]
    Out(#[from] out::OutError),
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// The scheduler's thread could not be started.
    #[error("cannot start the scheduler thread: {0}")]
    Thread(#[source] io::Error),
}
