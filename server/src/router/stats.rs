//! What is counted.

use serde::Serialize;

use crate::close::{ByCode, ByReason};

/// What happened to connections and messages. At every quiet moment
/// `messages = messages_void + messages_reached` and
/// `chunks = chunks_written + chunks_queued + chunks_dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RouterStats {
    /// Connections logged in now.
    pub connections_parked: u64,
    /// Connections that were logged in, or about to be, and are closed, by reason.
    pub connections_closed: ByReason,
    /// How peers ended their WebSockets: by the code of the close frame, 1005 for one without a
    /// code, and 1006 where no close frame came.
    pub close_codes: ByCode,
    /// Messages sent.
    pub messages: u64,
    /// Messages that reached nobody.
    pub messages_void: u64,
    /// Messages that reached at least one connection.
    pub messages_reached: u64,
    /// Chunks made of messages.
    pub chunks: u64,
    /// Chunks whose last byte the kernel took.
    pub chunks_written: u64,
    /// Chunks waiting in a backlog.
    pub chunks_queued: u64,
    /// Chunks dropped with their connection, by the reason of its close.
    pub chunks_dropped: ByReason,
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
            self.messages_void += 1;
        } else {
            self.messages_reached += 1;
        }
    }

    /// Takes in the counts of another shard.
    pub(super) fn merge(&mut self, other: &Self) {
        self.connections_parked += other.connections_parked;
        self.connections_closed.merge(&other.connections_closed);
        self.close_codes.merge(&other.close_codes);
        self.messages += other.messages;
        self.messages_void += other.messages_void;
        self.messages_reached += other.messages_reached;
        self.chunks += other.chunks;
        self.chunks_written += other.chunks_written;
        self.chunks_queued += other.chunks_queued;
        self.chunks_dropped.merge(&other.chunks_dropped);
        self.ids += other.ids;
    }
}
