//! What floodtest reports.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ByReason, HostReport, Own, Settle, SlowReaders, Streams};
use crate::latency::{LatencySummary, or_null};

/// What floodtest reports with `--json`: one object a line, the last one final.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FloodReport {
    /// Seconds since the first connection was due.
    pub elapsed_s: f64,
    /// Whether this is the last report of the run.
    pub is_final: bool,
    /// Connections that were asked for.
    pub asked: u64,
    /// Connections begun: `established + failed`, and those that are still without a head.
    #[serde(default)]
    pub begun: u64,
    /// Places whose first connection was begun: `asked` as soon as all are. Older reports do not
    /// have it.
    #[serde(default)]
    pub places_begun: u64,
    /// Connections whose response head has arrived and that are open now.
    pub connected: u64,
    /// Connections that were established once and are closed now.
    pub closed: u64,
    /// Of the closed, those that came to an orderly end.
    #[serde(default)]
    pub ended: u64,
    /// Connections whose request was sent and whose response head has not come yet.
    #[serde(default)]
    pub waiting: u64,
    /// Connections ever established: `connected + closed + unknown`.
    pub established: u64,
    /// Connections that were open on a host of `--hosts` when it was lost: nobody knows what became
    /// of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u64,
    /// The most connections that were open at once.
    #[serde(default)]
    pub peak: u64,
    /// Connections that were never established.
    pub failed: u64,
    /// Why connections failed before they were established.
    pub failures: ByReason,
    /// Why established connections closed.
    pub closures: ByReason,
    /// Established connections by the `Content-Type` of their response.
    #[serde(default)]
    pub content_types: ByReason,
    /// Chunks received, a figure of framing: proxies redraw them.
    pub chunks: u64,
    /// Items received: what `item_kind` says.
    #[serde(default)]
    pub items: u64,
    /// What items are.
    #[serde(default)]
    pub item_kind: ItemKind,
    /// Messages received, by their stamps or numbers, each once however often it came.
    #[serde(default)]
    pub messages: u64,
    /// Comments of event streams, pings included.
    #[serde(default)]
    pub comments: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Bytes of bodies that are compressed or otherwise encoded, which were not looked into.
    #[serde(default)]
    pub encoded_bytes: u64,
    /// What messages are judged by.
    #[serde(default)]
    pub judged_by: JudgedBy,
    /// What of the messages could be judged.
    #[serde(default)]
    pub judged: Judged,
    /// Messages that should have come and did not; `None` if that was not judged.
    pub lost: Option<u64>,
    /// Messages that came again; `None` if that was not judged.
    pub duplicated: Option<u64>,
    /// Messages that came after a later one; `None` if that was not judged.
    pub reordered: Option<u64>,
    /// Messages that are missing and that the server never answered: it may never have had them.
    #[serde(default)]
    pub unanswered_missing: u64,
    /// Messages so much older than the latest that it is not known whether they came before.
    #[serde(default)]
    pub too_old: u64,
    /// Messages that were not judged because there are too many senders and ids to follow.
    #[serde(default)]
    pub unjudged: u64,
    /// Items or messages with a stamp or a number.
    #[serde(default)]
    pub numbered: u64,
    /// Items without one.
    pub unnumbered: u64,
    /// Connections on which a message came.
    #[serde(default)]
    pub heard: u64,
    /// Established connections on which none came.
    #[serde(default)]
    pub unheard: u64,
    /// Connections whose response head came after the sender's first message was due.
    #[serde(default)]
    pub late_joiners: u64,
    /// By how much the numbers of a connection mostly jump, where more than half of the connections
    /// have such numbers: then these count something else than its messages.
    #[serde(default)]
    pub median_jump: Option<u64>,
    /// Seconds from the first connect to the last one.
    pub opening_s: f64,
    /// RSS of all processes of the run before the first connect, in KB of 1,024 bytes.
    #[serde(default)]
    pub rss_start_kb: u64,
    /// The same now; in the final report when it was last looked at.
    #[serde(default)]
    pub rss_kb: u64,
    /// How much later than due the connects were begun.
    #[serde(alias = "connect_late")]
    pub connect_lateness: LatencySummary,
    /// From a message's due time to its receipt, for stamped messages.
    #[serde(alias = "delivery", with = "or_null")]
    pub delivery_from_due: LatencySummary,
    /// From a message's actual send to its receipt, for stamped messages.
    #[serde(alias = "raw_delivery", with = "or_null")]
    pub delivery_from_send: LatencySummary,
    /// Places whose connection has ended or failed, and that wait for the next one (`--reopen`,
    /// `--lifetime`, `--storm`).
    #[serde(default)]
    pub away: u64,
    /// Of the established, those that were not the first of their place.
    #[serde(default)]
    pub reopened: u64,
    /// Messages that were sent while a place had no connection; `None` if the numbers do not tell.
    #[serde(default)]
    pub lost_in_gaps: Option<u64>,
    /// Event streams that were opened again with `Last-Event-ID`.
    #[serde(default)]
    pub resumed: u64,
    /// Messages that resumed streams brought again; they are not in `duplicated`.
    #[serde(default)]
    pub replayed: u64,
    /// How connections came back after each storm, and whenever the server was away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settles: Vec<Settle>,
    /// What became of slow readers; `None` without `--slow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_readers: Option<SlowReaders>,
    /// From when a connection was due to its first item. The field says TTFT, time to first token.
    #[serde(default)]
    pub first_item_from_due: LatencySummary,
    /// From when its request was sent.
    #[serde(default)]
    pub first_item_from_send: LatencySummary,
    /// From each item of a stream to the next: inter-chunk latency. Items are not tokens.
    #[serde(default)]
    pub gap: LatencySummary,
    /// From when a stream's request was sent to its orderly end.
    #[serde(default)]
    pub stream_time: LatencySummary,
    /// What is known of streams that end; `None` if nothing of it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    /// What floodtest itself adds.
    #[serde(default)]
    pub own: Own,
    /// `floodtest` if it was the limit, so that the latencies are not the server's.
    #[serde(default)]
    pub limited_by: Option<String>,
    /// What came since the report before.
    #[serde(default)]
    pub recent: Recent,
    /// The connections with the most messages lost, duplicated or reordered, the worst first. Only
    /// the final report has them.
    #[serde(default)]
    pub worst: Vec<WorstConnection>,
    /// For each reason the first connection that failed or closed for it. Only the final report
    /// has them.
    #[serde(default)]
    pub examples: Vec<Example>,
    /// What each host of `--hosts` held; what stands above is all of them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostReport>,
    /// By how much a latency between hosts may be wrong, in microseconds; `None` where all is on
    /// one machine, or where a sender's clock is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_bound_us: Option<u64>,
    /// What a reader must know before believing the figures, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whether a figure is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl FloodReport {
    /// What a comet-server has written as so many chunks: chunks, or the messages of WebSockets.
    pub fn delivered(&self) -> u64 {
        if self.item_kind == ItemKind::Frames { self.items } else { self.chunks }
    }

    /// How many items of this kind were received: the figure of chunks or that of other items.
    pub fn n_of(&self, kind: ItemKind) -> u64 {
        if kind == ItemKind::Chunks { self.chunks } else { self.items }
    }

    /// Whether places had, or were to have, one connection after another: then `asked` are places,
    /// and `begun`, `established`, `closed` and `failed` count all their connections.
    pub fn has_lives(&self) -> bool {
        self.reopened > 0 || self.away > 0 || self.begun > self.asked || !self.settles.is_empty()
    }

    /// Messages lost, duplicated and reordered together, as far as they were judged.
    pub fn n_faults(&self) -> u64 {
        let judged = [self.lost, self.duplicated, self.reordered];
        judged.into_iter().flatten().fold(0, u64::saturating_add)
    }
}

/// What is known of the clock of a host, against that of the host which reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockReport {
    /// The host's monotonic clock minus the other's at the end, in microseconds.
    pub offset_us: i64,
    /// By how much that grew, in microseconds a second.
    pub drift_ppm: f64,
    /// By how much a time of the host, as it was corrected, may have been wrong at any time of the
    /// run, in microseconds.
    pub bound_us: u64,
}

/// What items are: the parts that a stream consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// There was no stream yet.
    #[default]
    None,
    /// Chunks of a chunked response.
    Chunks,
    /// Events of an event stream.
    Events,
    /// Lines of NDJSON.
    Lines,
    /// Messages of a WebSocket.
    Frames,
    /// Messages found in a body without borders of its own.
    Bytes,
    /// Several of these.
    Mixed,
}

impl ItemKind {
    /// What items of both kinds are.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, kind) | (kind, Self::None) => kind,
            (one, two) if one == two => one,
            _ => Self::Mixed,
        }
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None | Self::Mixed => "items",
            Self::Chunks => "chunks",
            Self::Events => "events",
            Self::Lines => "lines",
            Self::Frames => "frames",
            Self::Bytes => "messages",
        })
    }
}

/// What messages are judged by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgedBy {
    /// Nothing: no message had a stamp or a number.
    #[default]
    Nothing,
    /// The stamps of msggen.
    Stamps,
    /// The server's numbers.
    Numbers,
    /// Stamps on some connections, numbers on others.
    Both,
}

/// How much of something was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// On every connection.
    All,
    /// On some.
    Some,
    /// On none.
    #[default]
    None,
}

impl Extent {
    /// That of `n` of `of` connections.
    pub fn of(n: u64, of: u64) -> Self {
        match n {
            0 => Self::None,
            n if n >= of => Self::All,
            _ => Self::Some,
        }
    }
}

/// What of the messages of all connections was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Whether messages before the first that came are known to be missing or not.
    pub beginning: Extent,
    /// Whether those between the first and the last that came are.
    pub middle: Extent,
    /// Whether those after the last that came are.
    pub end: Extent,
}

/// What came between two reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// Seconds between them.
    pub seconds: f64,
    /// Connections begun.
    pub begun: u64,
    /// Chunks received.
    pub chunks: u64,
    /// Items received.
    #[serde(default)]
    pub items: u64,
    /// Bytes received.
    pub bytes: u64,
    /// From a message's due time to its receipt.
    #[serde(alias = "delivery", with = "or_null")]
    pub delivery_from_due: LatencySummary,
}

/// A connection whose messages did not come as they were numbered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorstConnection {
    /// Its URL.
    pub url: String,
    /// Its messages lost, duplicated and reordered.
    pub faults: u64,
    /// The host of `--hosts` that held it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
}

/// The first connection that failed or closed for a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The reason, as in `failures` and `closures`.
    pub reason: String,
    /// What exactly was wrong, where the reason leaves that open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// The connection's URL.
    pub url: String,
    /// The host of `--hosts` that held it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
}
