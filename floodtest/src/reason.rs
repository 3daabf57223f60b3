//! Why a connection failed or closed, in words that do not change.

use std::fmt;

use rustix::io::Errno;

use crate::decode::DecodeError;

/// Why a connection was never established, or why an established one closed.
///
/// Its display is the key under which reports count it: `refused`, `reset`, `timed out`,
/// `unreachable`, `no ports`, `no descriptors`, `status 503`, `bad head`, `bad chunk`, `ended`,
/// `cut`, or the operating system's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody listens there.
    Refused,
    /// The other side, or something between, threw the connection away.
    Reset,
    /// Neither connection nor head within `--connect-timeout`; or the kernel gave up on a
    /// connection.
    TimedOut,
    /// There is no way to the address.
    Unreachable,
    /// Every source port of every source address is taken.
    NoPorts,
    /// This process, or the machine, has no descriptor left.
    NoDescriptors,
    /// The server answered with this status, which is not 200.
    Status(u16),
    /// The response head is malformed.
    BadHead,
    /// A chunk is malformed.
    BadChunk,
    /// The response came to its proper end: its last chunk, or all of its `Content-Length`.
    Ended,
    /// The connection was closed without that. A body whose only end is the close counts here:
    /// nobody can tell whether it was complete.
    Cut,
    /// Anything else that the operating system says, by its number.
    Os(i32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::NoPorts => f.write_str("no ports"),
            Self::NoDescriptors => f.write_str("no descriptors"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::BadHead => f.write_str("bad head"),
            Self::BadChunk => f.write_str("bad chunk"),
            Self::Ended => f.write_str("ended"),
            Self::Cut => f.write_str("cut"),
            Self::Os(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
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

impl From<DecodeError> for Reason {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Status(status) => Self::Status(status),
            DecodeError::BadHead => Self::BadHead,
            DecodeError::BadChunk => Self::BadChunk,
        }
    }
}
