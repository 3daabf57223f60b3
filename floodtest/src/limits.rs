//! The limit on open files, which is the limit on connections.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors kept for everything that is not a connection: the three standard streams, the URL
/// file, epoll, timer, signal pipe, a resolver's sockets, and what was inherited.
pub(crate) const RESERVE: u64 = 64;

/// Raises the soft limit on open files to the hard one, as far as that is allowed; the limit now.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // A refusal leaves the limit as it was, and that is what is read back.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
