//! Where connections are dialed from: source addresses and source ports.
//!
//! Left to itself the kernel has 28,232 ports to one destination, and past half of them it
//! searches: each connect then costs 35 times more. So address and port are both set, by a cursor
//! that never looks back, and a connect costs the same for the first as for the last.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use serde::{Deserialize, Serialize};

use crate::share::Share;

/// The first source port. Below it are the ports of well-known services; from here to the last
/// one, without those that are left to others, it is 62,000.
const FIRST_PORT: u16 = 2_536;

/// The first of the 1,000 ports that are left to others, at the upper end of those that the kernel
/// chooses from (32,768 to 60,999 by default). It passes over every port that somebody has bound,
/// on whatever address: with all of them bound here, no other program of the machine could connect
/// to anything.
const FIRST_LEFT_PORT: u16 = 60_000;

/// How many are left.
const LEFT_PORTS: u16 = 1_000;

/// Source ports that an address has.
pub const PORTS_PER_ADDRESS: u64 = 62_000;

/// Addresses that one `--source-ip` may name. 1,000,000 connections take 17.
const MAX_ADDRESSES: usize = 4_096;

/// Source addresses, as `--source-ip` names them: `127.0.0.2-127.0.0.60,10.0.0.7`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIps(Vec<IpAddr>);

/// Why a text does not name source addresses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceIpError {
    /// A part is not an IP address.
    #[error("not an IP address: \"{0}\"; write 127.0.0.2, or 127.0.0.2-127.0.0.60")]
    NotAnAddress(String),
    /// A range goes down, or from one family to the other.
    #[error("not a range of addresses: \"{0}\"; its first address is the lower one")]
    NotARange(String),
    /// There are too many addresses in all.
    #[error("more than 4096 addresses")]
    TooMany,
}

impl FromStr for SourceIps {
    type Err = SourceIpError;

    fn from_str(text: &str) -> Result<Self, SourceIpError> {
        let mut ips = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (address(first)?, address(last)?);
            let mut ip = first;
            if first.is_ipv4() != last.is_ipv4() || first > last {
                return Err(SourceIpError::NotARange(part.to_owned()));
            }
            ips.push(ip);
            while ip != last {
                ip = successor(ip);
                if ips.len() == MAX_ADDRESSES {
                    return Err(SourceIpError::TooMany);
                }
                ips.push(ip);
            }
        }
        Ok(Self(ips))
    }
}

/// Reads one address.
fn address(text: &str) -> Result<IpAddr, SourceIpError> {
    text.trim().parse().map_err(|_| SourceIpError::NotAnAddress(text.to_owned()))
}

/// The address after `ip`, which is not the last one.
fn successor(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().wrapping_add(1)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().wrapping_add(1)).into(),
    }
}

impl SourceIps {
    /// Those of the family of `to`.
    fn of_family(&self, to: IpAddr) -> Vec<IpAddr> {
        self.0.iter().copied().filter(|ip| ip.is_ipv4() == to.is_ipv4()).collect()
    }

    /// The first that is not an address of this machine.
    pub(crate) fn first_foreign(&self) -> Option<IpAddr> {
        self.0.iter().copied().find(|ip| !is_local(*ip))
    }
}

/// Whether `ip` is an address of this machine, or the unspecified one.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let bound = socket(family, SocketType::STREAM, None)
        .and_then(|socket| bind(&socket, &SocketAddr::new(ip, 0)));
    !matches!(bound, Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

/// The source addresses and ports for one destination, each handed out once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sources {
    /// The addresses, used up one after the other.
    ips: Vec<IpAddr>,
    /// Where among the ports of an address the cursor begins. Random, so that a run does not meet
    /// the ports that the run before it has left in `TIME_WAIT`.
    start: u64,
    /// How many pairs have been tried since the cursor last stood at its beginning.
    at: u64,
    /// Pairs that were taken by others, one after the other.
    n_taken: u64,
}

impl Sources {
    /// The sources for `n_connections` to `to`: those that are `asked` for, or else what the
    /// kernel would choose; on loopback as many addresses as it takes.
    pub(crate) fn new(to: IpAddr, n_connections: u64, asked: Option<&SourceIps>) -> Self {
        let ips = match (asked, to) {
            (Some(asked), _) => asked.of_family(to),
            (None, IpAddr::V4(ip)) if ip.is_loopback() => loopback_ips(n_connections),
            (None, IpAddr::V6(ip)) if ip.is_loopback() => vec![ip.into()],
            (None, IpAddr::V4(_)) => vec![Ipv4Addr::UNSPECIFIED.into()],
            (None, IpAddr::V6(_)) => vec![Ipv6Addr::UNSPECIFIED.into()],
        };
        let start = RandomState::new().build_hasher().finish() % PORTS_PER_ADDRESS;
        Self { ips, start, at: 0, n_taken: 0 }
    }

    /// Begins where the `share` of one process begins, so that no two meet before they are through.
    pub(crate) fn begin_at(&mut self, share: Share) {
        self.at = self.capacity() * share.index / share.of;
    }

    /// The addresses.
    pub(crate) fn ips(&self) -> &[IpAddr] {
        &self.ips
    }

    /// How many connections can be open from here to one destination.
    pub(crate) fn capacity(&self) -> u64 {
        self.ips.len() as u64 * PORTS_PER_ADDRESS
    }

    /// The next address and port. `None` when all were taken, one after the other.
    pub(crate) fn next(&mut self) -> Option<SocketAddr> {
        if self.n_taken >= self.capacity() {
            return None;
        }
        let index = usize::try_from(self.at / PORTS_PER_ADDRESS).expect("at most 4,096 addresses");
        let offset = (self.start + self.at) % PORTS_PER_ADDRESS;
        self.at = (self.at + 1) % self.capacity();
        let port = FIRST_PORT + u16::try_from(offset).expect("less than 62,000");
        let port = if port < FIRST_LEFT_PORT { port } else { port + LEFT_PORTS };
        Some(SocketAddr::new(self.ips[index], port))
    }

    /// Notes that the last pair was taken by somebody else.
    pub(crate) fn taken(&mut self) {
        self.n_taken += 1;
    }

    /// Notes that the last pair was free.
    pub(crate) fn free(&mut self) {
        self.n_taken = 0;
    }
}

/// 127.0.0.1 and what comes after it, enough for `n_connections` and for ports that others hold.
fn loopback_ips(n_connections: u64) -> Vec<IpAddr> {
    let n_needed = n_connections.div_ceil(PORTS_PER_ADDRESS) + 1;
    let n_ips = usize::try_from(n_needed).unwrap_or(MAX_ADDRESSES).min(MAX_ADDRESSES);
    let first = Ipv4Addr::LOCALHOST.to_bits();
    (first..).take(n_ips).map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ranges_and_lists_of_addresses_are_read() {
        let ips: SourceIps = "127.0.0.254-127.0.1.1,10.0.0.7,::1".parse().unwrap();
        let texts: Vec<String> = ips.0.iter().map(ToString::to_string).collect();
        let expected = ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.1.1", "10.0.0.7", "::1"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "localhost", "127.0.0.2-", "127.0.0.2-9", "127.0.0.9-127.0.0.2", "::1-1"] {
            assert!(text.parse::<SourceIps>().is_err(), "{text:?}");
        }
        assert_eq!("10.0.0.0-10.1.0.0".parse::<SourceIps>(), Err(SourceIpError::TooMany));
    }

    #[test]
    fn every_pair_is_handed_out_once_before_any_comes_again() {
        let to = Ipv4Addr::LOCALHOST.into();
        let asked: SourceIps = "127.0.0.2-127.0.0.3".parse().unwrap();
        let mut sources = Sources::new(to, 1, Some(&asked));
        let pairs: HashSet<_> = (0..sources.capacity()).map(|_| sources.next().unwrap()).collect();
        assert_eq!(pairs.len(), 124_000);
        assert!(pairs.iter().all(|pair| pair.port() >= FIRST_PORT));
        let is_left = |pair: &SocketAddr| (60_000..61_000).contains(&pair.port());
        assert!(!pairs.iter().any(is_left), "other programs connect from these");
        assert!(pairs.contains(&sources.next().unwrap()));
    }

    #[test]
    fn the_shares_of_several_processes_do_not_meet() {
        let to = Ipv4Addr::LOCALHOST.into();
        let mut pairs = HashSet::new();
        let sources = serde_json::to_string(&Sources::new(to, 124_000, None)).unwrap();
        for index in 0..3 {
            let mut sources: Sources = serde_json::from_str(&sources).unwrap();
            sources.begin_at(Share::local(index, 3));
            let n = sources.capacity() / 3;
            assert!((0..n).all(|_| pairs.insert(sources.next().unwrap())), "share {index}");
        }
    }

    #[test]
    fn sources_give_up_when_everything_is_taken() {
        let mut sources = Sources::new(Ipv6Addr::LOCALHOST.into(), 1, None);
        for _ in 0..PORTS_PER_ADDRESS {
            assert!(sources.next().is_some());
            sources.taken();
        }
        assert_eq!(sources.next(), None);
    }

    #[test]
    fn loopback_takes_as_many_addresses_as_it_needs() {
        let to = Ipv4Addr::LOCALHOST.into();
        assert!(Sources::new(to, 1_000_000, None).capacity() > 1_000_000);
        assert_eq!(Sources::new(to, 1, None).ips()[0], to);
        assert!(is_local(to));
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
