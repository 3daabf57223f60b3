//! What the operating system allows, and how it is shared out.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// Descriptors kept for other things than clients, so that a full house can still be asked and
/// told: control connections, refusals in progress, listeners and pollers.
const RESERVED: u64 = 256;

/// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`, whose
/// default this is.
const LISTEN_BACKLOG: i32 = 4096;

/// Unsent bytes that the kernel may hold for a connection. Without this a reader that never reads
/// takes 4.3 MB of kernel memory before its first byte waits with us; with it 175 KB.
const NOT_SENT_LOWAT: u32 = 16 * 1024;

/// How long written data may stay unacknowledged before the peer counts as gone.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How many threads run if nobody says: one. Measured on two cores, with clients and senders on the
/// same machine: see ARCHITECTURE.md.
pub const DEFAULT_THREADS: NonZeroUsize = NonZeroUsize::MIN;

/// How the descriptors of the process are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// For clients.
    pub connections: u64,
    /// For connections of the control door.
    pub control: usize,
    /// For clients that were refused and have not read why.
    pub lingering: usize,
}

impl Descriptors {
    /// Shares out `n_descriptors`: all but 256 to clients, or half of them where they are few.
    pub fn split(n_descriptors: u64) -> Self {
        let connections = n_descriptors.saturating_sub(RESERVED).max(n_descriptors / 2);
        let reserved = usize::try_from(n_descriptors - connections).unwrap_or(usize::MAX);
        // The rest of the reserve, an eighth, is for listeners, pollers and standard streams.
        Self { connections, control: reserved * 5 / 8, lingering: reserved / 4 }
    }
}

/// Raises the soft limit on open files to the hard one and returns it.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Binds a listener for clients. What is set here is inherited by every accepted connection, so
/// none of them costs a system call of its own.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Chunks are small and awaited: a delay to fill a segment would be a message's delay.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_LOWAT)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_reserve_goes_to_clients() {
        let split = Descriptors::split(20_000);
        assert_eq!(split, Descriptors { connections: 19_744, control: 160, lingering: 64 });
        let few = Descriptors::split(256);
        assert_eq!(few, Descriptors { connections: 128, control: 80, lingering: 32 });
    }
}
