//! How many connections each address has, and how many ids, for `--max-connections-per-ip`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd as _, OwnedFd};

use crate::sync::{Mutex, MutexGuard};

/// Counts the open connections of every address and their ids, up to a limit.
///
/// A row has no room for an address, and a socket that was reset has forgotten its own. So the
/// addresses are kept here by descriptor: 8 bytes a connection, and only if there is a limit.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Connections that an address may have.
    max_connections: u64,
    /// Ids that they may be logged in as together.
    max_ids: u64,
    /// What is counted.
    counts: Mutex<Counts>,
}

/// What is counted.
#[derive(Debug, Default)]
struct Counts {
    /// By descriptor, the address of the connection that has it.
    by_descriptor: Vec<Option<Address>>,
    /// What an address has: one connection at least.
    by_address: HashMap<Address, Used>,
}

/// What an address has of what it may have.
#[derive(Debug, Default)]
struct Used {
    n_connections: u64,
    n_ids: u64,
}

/// Whom a limit is for: an IPv4 address, or the 64 bits of an IPv6 address that name a network. A
/// single host may choose among all the addresses of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(NonZeroU64);

impl Address {
    /// The address that a connection from `ip` counts for.
    fn of(ip: IpAddr) -> Self {
        let bits = match ip.to_canonical() {
            // Nothing is routed under the prefix 0:1::/32, so these are no IPv6 network's bits.
            IpAddr::V4(ip) => 1 << 32 | u64::from(ip.to_bits()),
            IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).expect("64 bits are left"),
        };
        // The network of all zeros holds `::1`.
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }
}

impl Addresses {
    /// Nothing counted yet; so many connections for each address, and so many ids.
    pub(crate) fn new(max_connections: NonZeroU64, max_ids: u64) -> Self {
        Self { max_connections: max_connections.get(), max_ids, counts: Mutex::default() }
    }

    /// Counts a connection, until [`leave`](Self::leave). Returns false, and does not count it, if
    /// its address has as many as it may.
    pub(crate) fn enter(&self, socket: &OwnedFd, ip: IpAddr) -> bool {
        let address = Address::of(ip);
        let mut counts = self.lock();
        let used = counts.by_address.get(&address);
        if used.is_some_and(|used| used.n_connections >= self.max_connections) {
            return false;
        }
        counts.by_address.entry(address).or_default().n_connections += 1;
        let at = index(socket);
        if counts.by_descriptor.len() <= at {
            counts.by_descriptor.resize(at + 1, None);
        }
        counts.by_descriptor[at] = Some(address);
        true
    }

    /// Counts the ids of a connection that was counted, until it leaves. Returns false, and does
    /// not count them, if they are more than its address has left.
    pub(crate) fn log_in(&self, socket: &OwnedFd, n_ids: usize) -> bool {
        let mut counts = self.lock();
        let address = counts.by_descriptor.get(index(socket)).copied().flatten();
        let Some(address) = address else { return true };
        let used = counts.by_address.get_mut(&address).expect("a counted address has a count");
        let n_all = used.n_ids.saturating_add(n_ids as u64);
        let has_room = n_all <= self.max_ids;
        if has_room {
            used.n_ids = n_all;
        }
        has_room
    }

    /// Counts a connection no longer, if it was counted, nor its `n_ids` ids. Its descriptor is
    /// still open, so no other connection has it.
    pub(crate) fn leave(&self, socket: &OwnedFd, n_ids: usize) {
        let mut counts = self.lock();
        let Some(entry) = counts.by_descriptor.get_mut(index(socket)) else { return };
        let Some(address) = entry.take() else { return };
        let used = counts.by_address.get_mut(&address).expect("a counted address has a count");
        used.n_connections -= 1;
        used.n_ids -= n_ids as u64;
        if used.n_connections == 0 {
            counts.by_address.remove(&address);
        }
    }

    /// The counts, for one change.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

/// A descriptor's place in the table.
fn index(socket: &OwnedFd) -> usize {
    usize::try_from(socket.as_raw_fd()).expect("an open descriptor is not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let addresses = Addresses::new(NonZeroU64::new(2).unwrap(), 10);
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let sockets = [socket(), socket(), socket()];
        assert!(addresses.enter(&sockets[0], one));
        assert!(addresses.enter(&sockets[1], "::ffff:10.0.0.1".parse().unwrap()));
        assert!(!addresses.enter(&sockets[2], one));
        addresses.leave(&sockets[2], 0);
        assert!(addresses.enter(&sockets[2], other), "another address is another matter");
        addresses.leave(&sockets[0], 0);
        assert!(addresses.enter(&sockets[0], one), "one left");
        for socket in &sockets {
            addresses.leave(socket, 0);
        }
        assert!(addresses.lock().by_address.is_empty(), "nothing is left behind");
    }

    #[test]
    fn the_connections_of_an_address_have_as_many_ids_as_they_may() {
        let addresses = Addresses::new(NonZeroU64::new(2).unwrap(), 10);
        let sockets = [socket(), socket(), socket()];
        for (socket, ip) in sockets.iter().zip(["10.0.0.1", "10.0.0.1", "10.0.0.2"]) {
            assert!(addresses.enter(socket, ip.parse().unwrap()));
        }
        assert!(addresses.log_in(&sockets[0], 6));
        assert!(!addresses.log_in(&sockets[1], 5));
        assert!(addresses.log_in(&sockets[1], 4));
        assert!(addresses.log_in(&sockets[2], 10), "another address is another matter");
        addresses.leave(&sockets[0], 6);
        assert!(addresses.enter(&sockets[0], "10.0.0.1".parse().unwrap()));
        assert!(addresses.log_in(&sockets[0], 6), "six have left");
        assert!(addresses.log_in(&socket(), 100), "who was not counted has no limit");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let of = |ip: &str| Address::of(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("::1"), of("127.0.0.1"));
        assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
    }
}
