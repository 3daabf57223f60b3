//! What became of messages.
//!
//! Delivery is at most once. A request whose first byte may have left is never sent again: if no
//! whole answer comes back, its messages are *unanswered*, and the server may or may not have them.
//! *Failed* are those of which the server said that it did not take them, or that never left.
//! *Written* are those that went where nobody answers: the kernel took them, and no more is known.

use std::fmt;
use std::io;

/// The most connections that a message can reach: no server has more, and sums of fewer stay
/// numbers. An answer with more of them is a bad answer.
pub const HIGHEST_CONNECTIONS: u64 = u32::MAX as u64;

/// What became of the messages of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Messages that the server took.
    pub answered: u64,
    /// Messages that the kernel took, where no server answers.
    pub written: u64,
    /// Of the answered, messages that are known to have reached somebody.
    pub reached: u64,
    /// Of the answered, messages that are known to have reached nobody. Of those that are in
    /// neither count it is not known: few servers say it, and in a cluster one does not know of
    /// all.
    pub void: u64,
    /// Connections that all of them are known to have reached.
    pub connections: u64,
    /// Followers that their ids have, where messages go to these.
    pub followers: u64,
    /// What became of the other messages of the request; none when there are no others.
    pub miss: Option<Miss>,
}

impl Receipt {
    /// The receipt of a request with one message, which the server took. How many connections it
    /// reached, if that is known.
    pub fn taken(connections: Option<u64>) -> Self {
        let reached = u64::from(connections.is_some_and(|n| n > 0));
        let void = u64::from(connections == Some(0));
        Self {
            answered: 1,
            reached,
            void,
            connections: connections.unwrap_or(0),
            ..Self::default()
        }
    }

    /// The receipt of `n` messages that the kernel took and nobody answers.
    pub fn written(n: u64) -> Self {
        Self { written: n, ..Self::default() }
    }

    /// How many of the messages did not fail and are not unanswered; they are the first ones.
    pub fn n_taken(&self) -> u64 {
        self.answered + self.written
    }

    /// The receipt of a request none of whose messages was taken.
    pub fn nothing(miss: Miss) -> Self {
        Self { miss: Some(miss), ..Self::default() }
    }
}

/// Why a message was not taken, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The server does not have it.
    Failed(Reason),
    /// The server may or may not have it.
    Unanswered(Reason),
}

/// What went wrong, in the words of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody listens where the server was.
    Refused,
    /// The connection was reset.
    Reset,
    /// No connection, or no answer, within the time that it had.
    TimedOut,
    /// The server closed the connection before its answer was whole.
    Cut,
    /// This process has no file descriptor left for another connection.
    NoDescriptors,
    /// This machine has no port left for another connection.
    NoPorts,
    /// There is no room for the numbers of another id.
    NoNumber,
    /// There was no connection for a reason without a name of its own.
    NoConnection,
    /// The server answered with another status than 2xx.
    Status(u16),
    /// The server answered with something that is not an answer to the request, or without being
    /// asked.
    BadAnswer,
    /// The server answered with a 2xx and a body that is not what `--ok` wants.
    NotOk,
    /// The server closed its WebSocket.
    Closed,
    /// The server sent a frame that a WebSocket cannot have, or one that is too long.
    BadFrame,
    /// The server did not make a WebSocket of the connection, though it answered 101.
    BadUpgrade,
    /// The run ended before there was an answer.
    Interrupted,
}

impl Reason {
    /// All of them that have no number in their names.
    pub const PLAIN: [Self; 14] = [
        Self::Refused,
        Self::Reset,
        Self::TimedOut,
        Self::Cut,
        Self::NoDescriptors,
        Self::NoPorts,
        Self::NoNumber,
        Self::NoConnection,
        Self::BadAnswer,
        Self::NotOk,
        Self::Closed,
        Self::BadFrame,
        Self::BadUpgrade,
        Self::Interrupted,
    ];

    /// The name of what kept a connection from being established.
    pub fn of_connecting(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::AddrNotAvailable => Self::NoPorts,
            _ => match Errno::from_io_error(error) {
                Some(Errno::MFILE | Errno::NFILE) => Self::NoDescriptors,
                _ => Self::NoConnection,
            },
        }
    }

    /// The name of what ended an established connection.
    pub fn of_breaking(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Cut,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed out",
            Self::Cut => "cut",
            Self::NoDescriptors => "no descriptors",
            Self::NoPorts => "no ports",
            Self::NoNumber => "no number",
            Self::NoConnection => "no connection",
            Self::Status(code) => return write!(f, "status {code}"),
            Self::BadAnswer => "bad answer",
            Self::NotOk => "not ok",
            Self::Closed => "closed",
            Self::BadFrame => "bad frame",
            Self::BadUpgrade => "bad upgrade",
            Self::Interrupted => "interrupted",
        })
    }
}
