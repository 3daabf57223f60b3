//! What floodtest reports of the shapes of a load: places that get one connection after another,
//! storms, readers that read slowly, streams that end; and of itself.

use serde::{Deserialize, Serialize};

use super::ByReason;
use super::flood::ClockReport;
use crate::latency::{LatencySummary, or_null};

/// How the connections came back that a storm closed, or that were lost at once because the server
/// was away.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settle {
    /// What closed them: `storm 50%`, or `server away`.
    pub cause: String,
    /// Seconds since the first connection of the run was due, when the first of them closed.
    pub at_s: f64,
    /// Places whose connection closed; one that closed again before all were back counts again.
    pub closed: u64,
    /// Of these, places that have a connection again.
    pub back: u64,
    /// Seconds after `at_s` until 50 % of them were back; `None` if they are not.
    pub t50_s: Option<f64>,
    /// The same for 95 %.
    pub t95_s: Option<f64>,
    /// The same for all.
    pub t100_s: Option<f64>,
    /// The most connects that were begun in one second of this time.
    pub peak_connects_per_s: u64,
    /// Connects of this time that failed, by reason.
    pub failed: ByReason,
    /// From a message's due time to its receipt, in the time before: since the one before it had
    /// settled, or since the start of the run.
    pub delivery_before: LatencySummary,
    /// The same from `at_s` until all had been back for a second, or the end.
    pub delivery_during: LatencySummary,
    /// The same after that, until the next one or the end.
    pub delivery_after: LatencySummary,
}

/// What became of the readers that read slowly, or never (`--slow`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowReaders {
    /// Established connections that were slow readers.
    pub connections: u64,
    /// Of these, those that the server still held and fed when the run ended.
    pub open: u64,
    /// Why the others ended, by reason.
    pub ends: ByReason,
    /// Each of them, in the order of the plan, as many as have room; the final report has them.
    pub readers: Vec<SlowReader>,
}

/// A reader that reads slowly, or never, and what the server did to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowReader {
    /// Its URL.
    pub url: String,
    /// Bytes that it reads a second; 0: it reads nothing after its response head.
    pub bytes_per_s: u64,
    /// Bytes that came for it: those that it read, and those that its socket holds.
    pub bytes: u64,
    /// How it ended: a reason as in `closures`, or `open`.
    pub end: String,
    /// Seconds from its response head to its end; `None` if it is open.
    pub after_s: Option<f64>,
}

/// What is known of streams that end (`--done`, `--count`, `--goodput`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// Streams that ended behind the item that `--done` names; `None` without it.
    pub done: Option<u64>,
    /// Streams that ended in order without that item; `None` without `--done`.
    pub not_done: Option<u64>,
    /// What `--count` found; `None` without it.
    pub counted: Option<Counted>,
    /// What `--goodput` asked for; `None` without it.
    pub goodput: Option<Goodput>,
}

/// What was counted in a field of items: tokens, as the server says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The field's path, as given: `usage.completion_tokens`.
    pub field: String,
    /// The sum of the last value in each stream; `None` if the field never came.
    pub total: Option<u64>,
    /// Streams that had the field.
    pub streams: u64,
    /// Streams that ended without it.
    pub streams_without: u64,
    /// `total` by the seconds from the first connect to the last item; `None` likewise.
    pub per_s: Option<f64>,
}

/// Streams that met what `--goodput` asks of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Goodput {
    /// What is asked of each, as given.
    pub asked: String,
    /// Streams that ended and met it.
    pub met: u64,
    /// Streams that ended, or failed, or never came: all that were due and are over.
    pub of: u64,
    /// `met` by the seconds of the run.
    pub per_s: f64,
}

/// What a tool adds to what it measures, by its own measure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// What comes late because of the tool alone: in floodtest how long the turns of its loop take,
    /// since what comes in one waits for its end; in msggen from when a message was due and its
    /// source free to send it until it was written.
    pub lateness: LatencySummary,
    /// The share of one core that the busiest thread used, from 0 to 1; `None` if unknown.
    pub busiest_thread_share: Option<f64>,
    /// What it was to begin or to send a second; `None` if that was as fast as possible.
    pub asked_per_s: Option<f64>,
    /// What it began or sent a second.
    pub achieved_per_s: f64,
}

/// What one host of `--hosts` held, in the report of all of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// The host, as `--hosts` names it.
    pub host: String,
    /// Why it was lost, if it was. Its figures are then those that came last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_why: Option<String>,
    /// Its processes that hold connections.
    pub processes: u64,
    /// Connections begun there.
    pub begun: u64,
    /// Connections that are open there.
    pub connected: u64,
    /// Connections that were established there and are closed.
    pub closed: u64,
    /// Connections that were never established there.
    pub failed: u64,
    /// Connections that were open there when it was lost.
    pub unknown: u64,
    /// Items that came there.
    pub items: u64,
    /// Messages that came there, by their stamps or numbers.
    pub messages: u64,
    /// RSS of these processes in KB of 1,024 bytes, as it was last looked at.
    pub rss_kb: u64,
    /// From a message's due time to its receipt there.
    #[serde(with = "or_null")]
    pub delivery_from_due: LatencySummary,
    /// What is known of its clock; `None` if its clock was never asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReport>,
}
