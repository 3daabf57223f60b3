//! Why a run cannot begin.

use std::io;
use std::path::PathBuf;

use reports::expect::ExpectError;
use reports::out;

use crate::upgrade::Refusal;
use crate::{ids, numbers, tls, whole_file};

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
    /// What is sent over WebSockets is not understood.
    #[error("{flag} {text}: {why}")]
    Socket {
        /// The flag.
        flag: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A server makes no WebSocket of a connection.
    #[error(
        "no WebSocket at {url}{}: {why}; check the path, and what the server wants to be asked \
         (--header, --protocol)",
        if *n_open == 0 { String::new() } else { format!(" after {n_open} that were opened") }
    )]
    Upgrade {
        /// Where it should be.
        url: String,
        /// How many were open before.
        n_open: usize,
        /// What was answered.
        why: Refusal,
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
         and a server without TLS has an http or ws URL"
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
    Sent(#[from] whole_file::WholeFileError),
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
