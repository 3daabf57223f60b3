//! Why a connection failed or closed, in words that do not change.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::decode::error::{ChunkFault, DecodeError, FrameFault, HeadFault, UpgradeFault};
use crate::tls::fault::TlsFault;

/// Why a connection was never established, or why an established one closed.
///
/// Its display is the key under which reports count it: `refused`, `reset`, `timed out`,
/// `no head`, `unreachable`, `no ports`, `no descriptors`, `status 503`, `bad head`, `bad chunk`,
/// `bad upgrade`, `bad frame`, `bad tls`, `ended`, `close 1001`, `cut`, `lifetime`, `storm`,
/// `worker 2 died`, `host lost`, or the operating system's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Nobody listens there.
    Refused,
    /// The other side, or something between, threw the connection away.
    Reset,
    /// No connection within `--connect-timeout`, or none that speaks TLS; or the kernel gave up on
    /// a connection.
    TimedOut,
    /// The request was sent, and no whole response head came within `--head-timeout`.
    NoHead,
    /// There is no way to the address.
    Unreachable,
    /// Every source port of every source address is taken.
    NoPorts,
    /// This process, or the machine, has no descriptor left.
    NoDescriptors,
    /// The server answered with this status, which `--status` does not name.
    Status(u16),
    /// The response head is malformed.
    BadHead(HeadFault),
    /// A chunk is malformed.
    BadChunk(ChunkFault),
    /// The response has status 101 and opens no WebSocket.
    BadUpgrade(UpgradeFault),
    /// A frame of a WebSocket is malformed, or its text is not UTF-8.
    BadFrame(FrameFault),
    /// The TLS of an `https://` or `wss://` connection came to nothing.
    BadTls(TlsFault),
    /// The response came to its proper end: its last chunk, all of its `Content-Length`, or the
    /// close where a body has no other end.
    Ended,
    /// The server closed its WebSocket with this code; 1005 if it gave none.
    Close(u16),
    /// The connection was closed without that: of a WebSocket, without a close frame.
    Cut,
    /// We closed it, because its `--lifetime` was over.
    Lifetime,
    /// We closed it in a `--storm`.
    Storm,
    /// The worker process of this number, counted from 1, has died and its connections with it.
    WorkerDied(u16),
    /// It was being opened on a host of `--hosts` that was lost.
    HostLost,
    /// Anything else that the operating system says, by its number.
    Os(i32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset"),
            Self::TimedOut => f.write_str("timed out"),
            Self::NoHead => f.write_str("no head"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::NoPorts => f.write_str("no ports"),
            Self::NoDescriptors => f.write_str("no descriptors"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::BadHead(_) => f.write_str("bad head"),
            Self::BadChunk(_) => f.write_str("bad chunk"),
            Self::BadUpgrade(_) => f.write_str("bad upgrade"),
            Self::BadFrame(_) => f.write_str("bad frame"),
            Self::BadTls(_) => f.write_str("bad tls"),
            Self::Ended => f.write_str("ended"),
            Self::Close(code) => write!(f, "close {code}"),
            Self::Cut => f.write_str("cut"),
            Self::Lifetime => f.write_str("lifetime"),
            Self::Storm => f.write_str("storm"),
            Self::WorkerDied(number) => write!(f, "worker {number} died"),
            Self::HostLost => f.write_str("host lost"),
            Self::Os(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl Reason {
    /// One of each kind whose word has no number in it.
    const PLAIN: [Self; 17] = [
        Self::Refused,
        Self::Reset,
        Self::TimedOut,
        Self::NoHead,
        Self::Unreachable,
        Self::NoPorts,
        Self::NoDescriptors,
        Self::BadHead(HeadFault::Line),
        Self::BadChunk(ChunkFault::Size),
        Self::BadUpgrade(UpgradeFault::Upgrade),
        Self::BadFrame(FrameFault::Opcode),
        Self::BadTls(TlsFault::Protocol),
        Self::Ended,
        Self::Cut,
        Self::Lifetime,
        Self::Storm,
        Self::HostLost,
    ];

    /// The keys that can be named before anything has happened.
    pub fn plain_words() -> impl Iterator<Item = String> {
        Self::PLAIN.iter().map(ToString::to_string)
    }

    /// Whether `word` is a key under which connections can be counted: the display of a reason. The
    /// operating system's own texts are not known beforehand.
    pub fn is_word(word: &str) -> bool {
        let number_in = |before: &str, after: &str| {
            let digits = word.strip_prefix(before)?.strip_suffix(after)?;
            digits.parse::<u16>().ok().filter(|number| number.to_string() == digits)
        };
        Self::PLAIN.iter().any(|reason| reason.to_string() == word)
            || number_in("status ", "").is_some_and(|status| (100..1_000).contains(&status))
            || number_in("close ", "").is_some_and(|code| (1_000..5_000).contains(&code))
            || number_in("worker ", " died").is_some()
    }

    /// Whether it is the end that the server meant, of its response or of its WebSocket.
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Ended | Self::Close(1000 | 1001))
    }

    /// Whether it was we who closed the connection, as was asked for.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Lifetime | Self::Storm)
    }

    /// Whether `word` is what a close of ours is counted under.
    pub fn is_our_word(word: &str) -> bool {
        [Self::Lifetime, Self::Storm].iter().any(|reason| reason.to_string() == word)
    }

    /// Whether `word` is what an orderly end is counted under.
    pub fn is_orderly_word(word: &str) -> bool {
        let orderly = [Self::Ended, Self::Close(1000), Self::Close(1001)];
        orderly.iter().any(|reason| reason.to_string() == word)
    }

    /// What exactly was wrong, where the word alone leaves that open.
    pub fn detail(self) -> Option<String> {
        match self {
            Self::BadHead(fault) => Some(fault.to_string()),
            Self::BadChunk(fault) => Some(fault.to_string()),
            Self::BadUpgrade(fault) => Some(fault.to_string()),
            Self::BadFrame(fault) => Some(fault.to_string()),
            Self::BadTls(fault) => Some(fault.to_string()),
            _ => None,
        }
    }
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Self::Refused,
            Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Self::Reset,
            Errno::TIMEDOUT => Self::TimedOut,
            Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN => {
                Self::Unreachable
            }
            Errno::ADDRINUSE | Errno::ADDRNOTAVAIL => Self::NoPorts,
            Errno::MFILE | Errno::NFILE => Self::NoDescriptors,
            other => Self::Os(other.raw_os_error()),
        }
    }
}

impl From<TlsFault> for Reason {
    fn from(fault: TlsFault) -> Self {
        Self::BadTls(fault)
    }
}

impl From<DecodeError> for Reason {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Status(status) => Self::Status(status),
            DecodeError::BadHead(fault) => Self::BadHead(fault),
            DecodeError::BadChunk(fault) => Self::BadChunk(fault),
            DecodeError::BadUpgrade(fault) => Self::BadUpgrade(fault),
            DecodeError::BadFrame(fault) => Self::BadFrame(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_a_reason_is_counted_under() {
        for reason in [
            Reason::Cut,
            Reason::TimedOut,
            Reason::Status(503),
            Reason::BadChunk(ChunkFault::NoCrlf),
            Reason::WorkerDied(12),
            Reason::Close(1_006),
            Reason::BadFrame(FrameFault::Masked),
        ] {
            assert!(Reason::is_word(&reason.to_string()), "{reason}");
        }
        for word in [
            "",
            "cuts",
            "status",
            "status 5",
            "status 0503",
            "close",
            "close 1",
            "close 5000",
            "worker died",
            "Cut",
        ] {
            assert!(!Reason::is_word(word), "{word}");
        }
    }
}
