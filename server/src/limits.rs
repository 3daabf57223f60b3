//! What the operating system allows, and how it is shared out.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Descriptors kept for other things than clients, so that a server with all places taken can
/// still be asked, and can refuse: control connections, refusals in progress, listeners and
/// pollers.
const RESERVED: u64 = 256;

/// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`, whose
/// default this is.
pub(crate) const LISTEN_BACKLOG: u16 = 4096;

/// Unsent bytes that the kernel may hold for a connection. Without this a reader that never reads
/// takes 4.3 MB of kernel memory before its first byte waits with us; with it 175 KB.
const NOT_SENT_LOWAT: u32 = 16 * 1024;

/// How long a connection may be silent before the kernel asks whether the peer is there: from the
/// first to the last of these seconds, another for each connection. Nothing is sent to an idle id
/// for hours; without this a peer that lost its power stays open for ever. At 10,000 connections it
/// is 110 probes a second, of 40 bytes.
///
/// All connections alike would be asked at once: the kernel rounds such timers to 2 s and more, and
/// sends what is due together, of which a queue of 1,000 packets (`net.core.netdev_max_backlog`)
/// takes the first. A million connections opened in two minutes lost half of them so, with the same
/// 2 min for each.
const KEEPALIVE_AFTER_S: Range<u64> = 60..120;

/// How often it asks again.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// How long written data may stay unacknowledged, or a peer silent that is asked, before it counts
/// as gone. The kernel takes this time for both: it leaves room for five probes at least, of which
/// one that is answered is enough.
const USER_TIMEOUT: Duration = Duration::from_mins(3);

/// The lowest open-file limit that is enough to start with: listeners, pollers and the like take
/// about 30.
pub const MIN_OPEN_FILES: u64 = 64;

/// How many threads run if nobody says: one. Measured on two cores, with clients and senders on the
/// same machine: see ARCHITECTURE.md.
pub const DEFAULT_THREADS: NonZeroUsize = NonZeroUsize::MIN;

/// Bytes that a connection may send after its request before it is closed as chatty: a page of
/// anything, and no traffic.
pub(crate) const CHATTY_BYTES: usize = 64 * 1024;

/// What stands for "never" where a time is too long to be added to now.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// When it will be `time` from now.
pub(crate) fn deadline(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + FOREVER)
}

/// How the descriptors of the process are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// For clients.
    pub connections: u64,
    /// For connections of the control door.
    pub control: usize,
    /// For clients that were refused because the others are taken, and have not read why.
    pub lingering: usize,
}

impl Descriptors {
    /// Shares out `n_descriptors`: all but 256 to clients, or half of them where they are few.
    pub fn split(n_descriptors: u64) -> Self {
        let connections = n_descriptors.saturating_sub(RESERVED).max(n_descriptors / 2);
        let reserved = usize::try_from(n_descriptors - connections).unwrap_or(usize::MAX);
        // Listeners, pollers, standard streams and the control door's spares.
        let own = (reserved / 4).min(32);
        let lingering = reserved / 4;
        Self { connections, control: reserved - own - lingering, lingering }
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

/// Binds a listener for clients. What is set here is inherited by every accepted connection, and
/// costs no system call for each.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Chunks are small and awaited: a delay to fill a segment would be a message's delay.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_LOWAT)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(KEEPALIVE_EVERY))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG.into())?;
    Ok(socket.into())
}

/// Sets when the kernel first asks whether the peer of the connection `number` is there.
pub(crate) fn spread_keepalive(socket: &OwnedFd, number: u64) {
    let n_times = KEEPALIVE_AFTER_S.end - KEEPALIVE_AFTER_S.start;
    let after_s = KEEPALIVE_AFTER_S.start + number % n_times;
    // A socket that its peer has reset refuses this, and needs it no more.
    _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(after_s));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_reserve_goes_to_clients() {
        let split = Descriptors::split(20_000);
        assert_eq!(split, Descriptors { connections: 19_744, control: 160, lingering: 64 });
        let few = Descriptors::split(256);
        assert_eq!(few, Descriptors { connections: 128, control: 64, lingering: 32 });
        let fewest = Descriptors::split(MIN_OPEN_FILES);
        assert_eq!(fewest, Descriptors { connections: 32, control: 16, lingering: 8 });
    }

    #[test]
    fn a_time_that_is_too_long_is_for_ever() {
        let in_fifty_years = Instant::now() + FOREVER / 2;
        for time in [Duration::MAX, Duration::from_secs(10_000_000_000_000_000_000)] {
            assert!(deadline(time) > in_fifty_years);
        }
        assert!(deadline(Duration::from_secs(1)) < in_fifty_years);
    }

    #[test]
    fn accepted_connections_inherit_what_bounds_bad_peers() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOT_SENT_LOWAT);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert!(socket.keepalive().unwrap());
    }

    #[test]
    fn connections_are_asked_at_times_of_their_own() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let socket = OwnedFd::from(listener.accept().unwrap().0);
        for (number, after_s) in [(0, 60), (59, 119), (60, 60)] {
            spread_keepalive(&socket, number);
            let socket = socket2::SockRef::from(&socket);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(after_s));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
        }
    }
}
