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
//! - [`args`], [`config`]: the command line; what is checked of it once, into a [`Config`].
//! - [`route`], [`form`], [`escapes`]: where messages go, as it is given there; what requests look
//!   like there; text in which any byte can be written.
//! - [`random`]: the numbers that a seed stands for.
//! - [`ids`]: whom a source sends to.
//! - [`mod@interval`]: when they are due.
//! - [`template`], [`message`]: what.
//!
//! Sending it:
//!
//! - [`mod@run`]: all of it together.
//! - [`sender`], [`shared`]: one source's loop; what all sources share.
//! - [`order`], [`numbers`]: messages to one id go one after the other and are numbered.
//! - [`timer`]: wakes sources when their messages are due.
//! - [`connector`]: the way to a server, and what is done while it is gone.
//! - [`control`], [`http1`], [`pool`], [`pipe`]: requests to a control door; a connection; all of
//!   them; what one source has on one of them.
//! - [`foreign`]: requests to servers other than comet-server.
//! - [`socket`], [`upgrade`], [`link`](mod@link): messages over WebSockets; the handshake; one
//!   WebSocket.
//! - [`stream`], [`tls`]: plain connections and TLS; whom to trust.
//! - [`graph`]: `msggen friends`, who follows whom.
//! - [`whole_file`]: files that are there as a whole or not at all.
//! - [`shutdown`]: how a run is told to end.
//! - [`descriptors`]: room for the connections.
//!
//! What became of it:
//!
//! - [`receipt`]: of the messages of one request.
//! - [`tally`]: of all of them.
//! - [`misses`], [`sent_file`]: which messages to each id were not answered; the file of `--sent`.
//! - [`cores`], [`own`]: what msggen had of a core; whether it was the limit itself.
//! - [`report`], [`mod@metrics`]: the tally as JSON, as a line, as a table; for Prometheus.
//! - [`error`], [`verdict`]: why a run could not begin; whether it did what was asked.

pub mod args;
pub mod config;
pub mod connector;
pub mod control;
pub mod cores;
pub mod descriptors;
pub mod error;
pub mod escapes;
pub mod foreign;
pub mod form;
pub mod graph;
pub mod http1;
pub mod ids;
pub mod interval;
pub mod link;
pub mod message;
pub mod metrics;
pub mod misses;
pub mod numbers;
pub mod order;
pub mod own;
pub mod pipe;
pub mod pool;
pub mod random;
pub mod receipt;
pub mod report;
pub mod route;
pub mod run;
pub mod sender;
pub mod sent_file;
pub mod shared;
pub mod shutdown;
pub mod socket;
pub mod stream;
pub mod tally;
pub mod template;
pub mod timer;
pub mod tls;
pub mod upgrade;
pub mod verdict;
pub mod whole_file;

pub use config::Config;
pub use error::Error;
pub use report::Outcome;
pub use route::Route;
pub use run::{Observer, run};
pub use verdict::Verdict;
