//! How many connections each address has, for `--max-connections-per-ip`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard};

/// Counts the open connections of every address, up to a limit.
///
/// A row has no room for an address, and a socket that was reset has forgotten its own. So the
/// addresses are kept here by descriptor: 8 bytes a connection, and only if there is a limit.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Connections that an address may have.
    limit: u64,
    /// What is counted.
    counts: Mutex<Counts>,
}

/// What is counted.
#[derive(Debug, Default)]
struct Counts {
    /// By descriptor, the address of the connection that has it.
    by_descriptor: Vec<Option<Address>>,
    /// How many connections an address has; never 0.
    by_address: HashMap<Address, u64>,
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
    /// Nothing counted yet; `limit` connections for each address.
    pub(crate) fn new(limit: NonZeroU64) -> Self {
        Self { limit: limit.get(), counts: Mutex::default() }
    }

    /// Counts a connection, until [`leave`](Self::leave). Returns false, and does not count it, if
    /// its address has as many as it may.
    pub(crate) fn enter(&self, socket: &OwnedFd, ip: IpAddr) -> bool {
        let address = Address::of(ip);
        let mut counts = self.lock();
        let n_connections = counts.by_address.get(&address).copied().unwrap_or(0);
        if n_connections >= self.limit {
            return false;
        }
        counts.by_address.insert(address, n_connections + 1);
        let at = index(socket);
        if counts.by_descriptor.len() <= at {
            counts.by_descriptor.resize(at + 1, None);
        }
        counts.by_descriptor[at] = Some(address);
        true
    }

    /// Counts a connection no longer, if it was counted. Its descriptor is still open, so no other
    /// connection has it.
    pub(crate) fn leave(&self, socket: &OwnedFd) {
        let mut counts = self.lock();
        let Some(entry) = counts.by_descriptor.get_mut(index(socket)) else { return };
        let Some(address) = entry.take() else { return };
        let count = counts.by_address.get_mut(&address).expect("a counted address has a count");
        *count -= 1;
        if *count == 0 {
            counts.by_address.remove(&address);
        }
    }

    /// The counts, for one change.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nothing panics while it holds the addresses")
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
        let addresses = Addresses::new(NonZeroU64::new(2).unwrap());
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let sockets = [socket(), socket(), socket()];
        assert!(addresses.enter(&sockets[0], one));
        assert!(addresses.enter(&sockets[1], "::ffff:10.0.0.1".parse().unwrap()));
        assert!(!addresses.enter(&sockets[2], one));
        addresses.leave(&sockets[2]);
        assert!(addresses.enter(&sockets[2], other), "another address is another matter");
        addresses.leave(&sockets[0]);
        assert!(addresses.enter(&sockets[0], one), "one left");
        for socket in &sockets {
            addresses.leave(socket);
        }
        assert!(addresses.lock().by_address.is_empty(), "nothing is left behind");
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
