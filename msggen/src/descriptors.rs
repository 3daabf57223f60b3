//! Room for all connections.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use crate::error::Error;
use crate::route::Route;

/// Descriptors beyond the connections: the standard three, the runtime's own, the logs, and
/// connections that are being closed while their successor is being opened.
const RESERVE: u64 = 64;

/// Raises the soft open-file limit to the hard one, as far as that is allowed. Fails if that is not
/// enough for all connections that `config` can need at a time.
pub fn make_room(config: &Config) -> Result<(), Error> {
    let mut limits = getrlimit(Resource::Nofile);
    let hard = limits.maximum.unwrap_or(u64::MAX);
    limits.current = limits.maximum;
    // Where raising it is forbidden the old limit stays, and failures will say `no descriptors`.
    let _ = setrlimit(Resource::Nofile, limits);
    let n_connections = n_connections(config);
    let needed = n_connections.saturating_add(RESERVE);
    if needed > hard {
        return Err(Error::Descriptors { n_connections, limit: hard, needed });
    }
    Ok(())
}

/// Connections at a time: a source has one to every control door, and one for every request on its
/// way to any other server. WebSockets are all open from the start.
fn n_connections(config: &Config) -> u64 {
    let (n_targets, n_a_source) = match &config.route {
        Route::Control { servers, .. } => (servers.len(), 1),
        Route::Foreign { urls, .. } => (urls.len(), config.in_flight),
        Route::Sockets { urls, .. } => return (config.n_sockets() * urls.len()) as u64,
    };
    let n_wanted = config.n_sources.saturating_mul(n_a_source as u64);
    n_wanted.min(config.n_connections as u64).saturating_mul(n_targets as u64)
}
