//! How long this node waits for its brokers, and how often it says that it is there.

use std::time::Duration;

/// How long a client waits for the subscription of its ids before it is answered 503: longer than
/// a broker needs to be restarted, shorter than people wait.
pub(crate) const LOGIN_WAIT: Duration = Duration::from_secs(5);

/// How often a node publishes to itself, and asks a silent broker whether it is there.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How often a node tells all others that it is there, besides when it connects: all of them hear
/// it and answer, so it is seldom.
pub(super) const HELLO_EVERY: Duration = Duration::from_mins(1);

/// After how long without a word from a broker a connection to it is given up, and without a probe
/// the node is no longer healthy.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
