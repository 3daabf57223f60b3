//! Concurrent sources of messages, on schedule, through a Comet server's control door.
//!
//! Each source sends its messages to random ids, and not one interval after the last answer (the
//! article's own loop, which slows down with its server and then reports how well the server kept
//! up), but when the schedule says. A source that fell behind sends what is overdue as fast as
//! answers come, and the lateness is reported, as is every message's fate: answered, failed, or
//! unanswered.
//!
//! What is to be sent:
//!
//! - [`args`]: the command line, checked once into a [`Config`].
//! - [`route`]: where messages go, as it is given there.
//! - [`random`]: the numbers that a seed stands for.
//! - [`ids`]: whom a source sends to.
//! - [`mod@interval`]: when they are due.
//! - [`template`], [`message`]: what.
//!
//! Sending it:
//!
//! - [`mod@run`]: all of it together.
//! - [`sender`]: one source's loop.
//! - [`order`], [`numbers`]: messages to one id go one after the other and are numbered.
//! - [`timer`]: wakes sources when their messages are due.
//! - [`connector`]: the way to a server, and what is done while it is gone.
//! - [`control`], [`http1`], [`pool`], [`pipe`]: requests to a control door; a connection; all of
//!   them; what one source has on one of them.
//! - [`foreign`]: requests to servers other than comet-server.
//! - [`stream`], [`tls`]: plain connections and TLS; whom to trust.
//! - [`shutdown`]: how a run is told to end.
//! - [`descriptors`]: room for the connections.
//!
//! What became of it:
//!
//! - [`receipt`]: of the messages of one request.
//! - [`tally`]: of all of them.
//! - [`misses`], [`sent_file`]: which messages to each id were not answered; the file of `--sent`.
//! - [`report`]: the tally as JSON, as a line, as a table.
//! - [`verdict`]: whether the run did what was asked.

pub mod args;
pub mod connector;
pub mod control;
pub mod descriptors;
pub mod foreign;
pub mod http1;
pub mod ids;
pub mod interval;
pub mod message;
pub mod misses;
pub mod numbers;
pub mod order;
pub mod pipe;
pub mod pool;
pub mod random;
pub mod receipt;
pub mod report;
pub mod route;
pub mod run;
pub mod sender;
pub mod sent_file;
pub mod shutdown;
pub mod stream;
pub mod tally;
pub mod template;
pub mod timer;
pub mod tls;
pub mod verdict;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reports::expect::ExpectError;
use reports::out;
use reqwest::header::HeaderValue;

pub use report::Outcome;
pub use route::Route;
pub use run::{Observer, run};
pub use verdict::Verdict;

/// What a run is asked to do; checked by [`args`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Messages that each source sends; at least 1.
    pub n_messages: u64,
    /// From one message of a source to its next; zero means as fast as answers come.
    pub interval: interval::Interval,
    /// The ids that messages go to.
    pub audience: Arc<ids::Audience>,
    /// Sources; at least 1, and few enough that `n_sources` × `n_messages` is a number.
    pub n_sources: u64,
    /// Requests that a source may have on their way; at least 1.
    pub in_flight: usize,
    /// What messages say.
    pub text: message::Text,
    /// Where they go.
    pub route: Route,
    /// `Bearer …`, for a control door that wants one.
    pub token: Option<HeaderValue>,
    /// Whom to trust where a URL is `https`.
    pub trust: tls::Trust,
    /// Connections to a server at a time; at least 1.
    pub n_connections: usize,
    /// What every source's ids and random intervals follow from.
    pub seed: u64,
    /// Whether messages carry a stamp.
    pub has_stamps: bool,
    /// Whether messages that have numbers may overtake others to the same id.
    pub is_unordered: bool,
    /// Where to write what was sent to each id, if anywhere. Needs stamps.
    pub sent: Option<PathBuf>,
    /// How long an answer may take before its messages count as unanswered.
    pub timeout: Duration,
    /// How long messages wait for a server that is gone before they fail.
    pub patience: Duration,
    /// From one report to the next.
    pub report_every: Duration,
    /// The logs to keep, if any.
    pub out: Option<out::Folder>,
}

impl Config {
    /// Whether messages have numbers, and so an order.
    pub fn numbers_messages(&self) -> bool {
        self.has_stamps || self.text.template.has_number() || self.route.has_number()
    }
}

/// Why a run could not begin. The message names the cause and, where there is one, a fix.
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
    /// `--to` and what belongs to it make no request.
    #[error("cannot send to \"{text}\": {why}")]
    To {
        /// What was given.
        text: String,
        /// What is wrong, and what to write.
        why: String,
    },
    /// There is nobody to send to.
    #[error(transparent)]
    Ids(#[from] ids::IdsError),
    /// What is expected of the run is not understood.
    #[error("--expect: {0}")]
    Expect(#[from] ExpectError),
    /// More messages are asked for than can be counted.
    #[error("{n_sources} sources × {n_messages} messages are more than 2^64; lower --num")]
    TooManyMessages {
        /// Sources asked for.
        n_sources: u64,
        /// Messages a source asked for.
        n_messages: u64,
    },
    /// More messages are asked for than can be numbered.
    #[error(
        "{n_sources} sources × {n_messages} messages are more than can be numbered, {}; lower \
         --num, or leave out --stamp and {{n}}",
        numbers::HIGHEST_NUMBER
    )]
    TooManyNumbers {
        /// Sources asked for.
        n_sources: u64,
        /// Messages a source asked for.
        n_messages: u64,
    },
    /// A request would not fit into memory.
    #[error(
        "{batch} messages of {size} bytes in a request are more than {limit_mib} MiB; lower \
         --batch or --size"
    )]
    BatchTooLarge {
        /// Messages in a request asked for.
        batch: usize,
        /// Bytes of a message asked for.
        size: usize,
        /// What a request may hold.
        limit_mib: usize,
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
    /// The server's host has no address.
    #[error("unknown host {host}: {source}; check the URL")]
    UnknownHost {
        /// The host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing takes connections where the server should be.
    #[error(
        "nobody is listening at {server}: {source}; start the server, or name another with \
         --server (a control door) or --to"
    )]
    NobodyListening {
        /// Its scheme, host and port.
        server: String,
        /// What connecting ended in.
        source: io::Error,
    },
    /// `https` cannot be spoken.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A server does not speak TLS, or is not trusted.
    #[error(
        "no TLS with {server}: {source}; --ca names a certificate to trust, --insecure trusts all, \
         and a server without TLS has an http URL"
    )]
    Handshake {
        /// Its scheme, host and port.
        server: String,
        /// What the handshake ended in.
        source: io::Error,
    },
    /// So many connections may be needed at the same time, and there are not as many.
    #[error(
        "cannot have {n_connections} connections: the open-file limit is {limit}; raise it with \
         `ulimit -n {needed}`, or lower --connections"
    )]
    Descriptors {
        /// Connections asked for.
        n_connections: u64,
        /// The hard limit.
        limit: u64,
        /// The limit that would do.
        needed: u64,
    },
    /// The folder of `--out` cannot be used.
    #[error(transparent)]
    Out(#[from] out::OutError),
    /// The file of `--sent` cannot be written.
    #[error(transparent)]
    Sent(#[from] sent_file::SentFileError),
    /// The operating system gives no random number.
    #[error("cannot draw a random number: {0}")]
    Random(#[source] io::Error),
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// The kernel has no timer for us.
    #[error("cannot make a timer: {0}")]
    Timer(#[source] io::Error),
}
