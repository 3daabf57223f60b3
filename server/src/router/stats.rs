//! What is counted.

use serde::Serialize;

use crate::close::ByReason;

/// What happened to connections and messages. At every quiet moment
/// `messages = void + reached` and `deliveries = written + queued + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RouterStats {
    /// Connections logged in now.
    pub parked: u64,
    /// Connections that were logged in, or about to be, and are closed, by reason.
    pub closed: ByReason,
    /// Messages sent.
    pub messages: u64,
    /// Messages that reached nobody.
    pub void: u64,
    /// Messages that reached at least one connection.
    pub reached: u64,
    /// Chunks made of messages.
    pub deliveries: u64,
    /// Chunks whose last byte the kernel took.
    pub written: u64,
    /// Chunks waiting in a backlog.
    pub queued: u64,
    /// Chunks dropped with their connection, by the reason of its close.
    pub dropped: ByReason,
    /// Different ids logged in now.
    pub ids: u64,
    /// Ids of all connections together, each counted for each connection: what `--max-ids` limits.
    pub logins: u64,
    /// Bytes of memory that all backlogs hold: what `--backlog-total` limits.
    pub backlog_bytes: u64,
}

impl RouterStats {
    /// Counts a message that reached `n` connections.
    pub(super) fn count_message(&mut self, n: u64) {
        self.messages += 1;
        if n == 0 {
            self.void += 1;
        } else {
            self.reached += 1;
        }
    }

    /// Takes in the counts of another shard.
    pub(super) fn merge(&mut self, other: &Self) {
        self.parked += other.parked;
        self.closed.merge(&other.closed);
        self.messages += other.messages;
        self.void += other.void;
        self.reached += other.reached;
        self.deliveries += other.deliveries;
        self.written += other.written;
        self.queued += other.queued;
        self.dropped.merge(&other.dropped);
        self.ids += other.ids;
    }
}
