//! How the server is run, and what it does if nobody says.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::cluster::config::ClusterConfig;
use crate::friends::Opened;
use crate::limits;
use crate::request::MAX_IDS;

/// What one reader may be behind.
const DEFAULT_BACKLOG_BYTES: usize = 64 * 1024;

/// What all backlogs together may take: a thousand readers that are as far behind as one may be.
const DEFAULT_BACKLOG_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// Ids of all connections together: what a million connections need with one each. As further ids
/// of few connections they take 52 to 60 MB.
pub(crate) const DEFAULT_MAX_IDS: u64 = 1 << 20;

/// How the server is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads, and shards of the tables.
    pub threads: NonZeroUsize,
    /// Connections held at a time; one more is answered 503.
    pub max_connections: u64,
    /// Connections held at a time from one IPv4 address or IPv6 /64 network, if there is a limit;
    /// one more is answered 429.
    pub max_connections_per_ip: Option<NonZeroU64>,
    /// Connections of the control door at a time. Of one in ten the place is for newcomers.
    pub max_control_connections: usize,
    /// Refused connections that may take their time to read why, beyond `max_connections`.
    pub max_lingering: usize,
    /// How long a request may take from accept to its last byte, and the first one of a control
    /// connection to its head's.
    pub head_timeout: Duration,
    /// Bytes that may wait for one connection.
    pub backlog_bytes: usize,
    /// Bytes of memory that all backlogs together may take.
    pub backlog_total_bytes: usize,
    /// Ids that all connections together may follow; a request with more than are left is answered
    /// 503.
    pub max_ids: u64,
    /// How often an event stream gets a comment and a WebSocket a ping, if ever.
    pub ping: Option<Duration>,
    /// How long a shutdown may take.
    pub grace: Duration,
    /// What senders must show at the control door, if anything.
    pub control_token: Option<String>,
    /// Names that requests to the control door may have as their `Host`, if there is no token.
    pub control_hosts: Vec<String>,
    /// How this server is a node of a cluster, if it is.
    pub cluster: Option<ClusterConfig>,
    /// Who follows whom, if that is stored here.
    pub friends: Option<Opened>,
}

impl Config {
    /// The configuration for `n_descriptors` open files, everything else at its default.
    pub fn with_descriptors(n_descriptors: u64) -> Self {
        let split = limits::Descriptors::split(n_descriptors);
        Self {
            threads: limits::DEFAULT_THREADS,
            max_connections: split.connections,
            max_connections_per_ip: None,
            max_control_connections: split.control,
            max_lingering: split.lingering,
            head_timeout: Duration::from_secs(10),
            backlog_bytes: DEFAULT_BACKLOG_BYTES,
            backlog_total_bytes: DEFAULT_BACKLOG_TOTAL_BYTES,
            max_ids: DEFAULT_MAX_IDS.max(split.connections),
            ping: None,
            grace: Duration::from_secs(5),
            control_token: None,
            control_hosts: Vec::new(),
            cluster: None,
            friends: None,
        }
    }
    /// Ids that the connections of one address may follow together, where they may be
    /// `max_connections_per_ip`: the share of all ids that this is of all connections. A single
    /// request may always have as many as a request may have.
    pub(crate) fn ids_per_ip(&self, max_connections_per_ip: NonZeroU64) -> u64 {
        let share = u128::from(self.max_ids) * u128::from(max_connections_per_ip.get())
            / u128::from(self.max_connections.max(1));
        u64::try_from(share).unwrap_or(u64::MAX).max(MAX_IDS as u64).min(self.max_ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_share_of_ids_that_it_has_of_connections() {
        let config = |max_connections, max_ids| Config {
            max_connections,
            max_ids,
            ..Config::with_descriptors(9_999)
        };
        let share = |config: &Config, n| config.ids_per_ip(NonZeroU64::new(n).unwrap());
        assert_eq!(share(&config(10_000, 1_000_000), 100), 10_000);
        assert_eq!(share(&config(10_000, 1_000_000), 1), 1_024, "a whole request");
        assert_eq!(share(&config(10, 100), 1), 100);
        assert_eq!(share(&config(1, u64::MAX), u64::MAX), u64::MAX);
    }
}
