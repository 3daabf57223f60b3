//! What a sender says of itself to everybody on its machine, as long as it lives.
//!
//! A msggen that stamps its messages binds a datagram socket to an abstract name, which nobody
//! sends to: the kernel lists it, and forgets it with the process, however that ends. So a
//! floodtest on the sender's host knows whose stamps have the time of that host. Names of network
//! namespaces are apart: a sender in a container of its own is not seen from outside.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::stamp::Sender;

/// A sender, and the clock by which it stamps. It is written as the name of its socket,
/// `msggen/{sender}/{zero_us}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Announced {
    /// Who it is.
    pub sender: Sender,
    /// What its stamps add to the monotonic clock, in microseconds:
    /// [`Clock::zero_us`](crate::stamp::Clock::zero_us).
    pub zero_us: i64,
}

impl Announced {
    /// Says it until the socket is dropped. Errors with what the kernel says.
    pub fn announce(self) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(self.to_string())?)
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msggen/{}/{}", self.sender, self.zero_us)
    }
}

/// What is not the name of a sender's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sender's name: it would be msggen/, eight hexadecimal digits, /, and microseconds")]
pub struct NotAnnounced;

impl FromStr for Announced {
    type Err = NotAnnounced;

    fn from_str(name: &str) -> Result<Self, NotAnnounced> {
        let fields = name.strip_prefix("msggen/").and_then(|name| name.split_once('/'));
        let (sender, zero_us) = fields.ok_or(NotAnnounced)?;
        let sender = sender.parse().map_err(|_| NotAnnounced)?;
        let announced = Self { sender, zero_us: zero_us.parse().map_err(|_| NotAnnounced)? };
        // No other spelling of the same numbers.
        Some(announced).filter(|it| it.to_string() == name).ok_or(NotAnnounced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_known_by_its_name() {
        let announced = Announced { sender: Sender(0x0bad_cafe), zero_us: 1_764_022_500_123_456 };
        let name = "msggen/0badcafe/1764022500123456";
        assert_eq!(announced.to_string(), name);
        assert_eq!(name.parse(), Ok(announced));
        for name in [
            "",
            "msggen/",
            "msggen/0badcafe",
            "msggen/0badcafe/",
            "msggen/0badcafe/x",
            "msggen/0badcafe/+5",
            "msggen/0badcafe/05",
            "msggen/0badcafe/5/5",
            "msggen/badcafe/5",
            "floodtest/0badcafe/5",
            "msggen/0badcafe/99999999999999999999",
        ] {
            assert_eq!(name.parse::<Announced>(), Err(NotAnnounced), "{name:?}");
        }
    }

    #[test]
    fn a_name_is_taken_as_long_as_its_socket_is_held() {
        let sender = Sender(std::process::id());
        let announced = Announced { sender, zero_us: -1 };
        let socket = announced.announce().unwrap();
        assert_eq!(announced.announce().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        announced.announce().unwrap();
    }
}
