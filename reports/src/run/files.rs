//! The names of the files in a run folder.

use std::path::Path;

/// What was asked for.
pub const PLAN: &str = "plan.toml";

/// On what machine.
pub const HOST: &str = "host.toml";

/// How each program ended.
pub const EXITS: &str = "exits.toml";

/// What the run took of the whole machine, at some moments.
pub const FOOTPRINT: &str = "footprint.toml";

/// The memory log of the server.
pub const MEMORY: &str = "memory.tsv";

/// When each phase began.
pub const PHASES: &str = "phases.toml";

/// What was done to the server while the run went on.
pub const FAULTS: &str = "faults.toml";

/// How many messages were to come, by what the sender wrote down and the ids of the connections.
pub const EXPECTED: &str = "expected.toml";

/// The experiment as it was described, with everything that was overridden.
pub const SCENARIO: &str = "scenario.toml";

/// floodtest's reports, one a line.
pub const FLOODTEST: &str = "floodtest.ndjson";

/// msggen's reports, one a line.
pub const MSGGEN: &str = "msggen.ndjson";

/// The counts of each server, one after the other, after the last message and before anybody was
/// disconnected.
pub const SERVER_STATS: &str = "server-stats.json";

/// Delivery latency from a message's due time, interval by interval.
pub const DELIVERY_FROM_DUE: &str = "floodtest-delivery_from_due.hlog";

/// Delivery latency from a message's actual send.
pub const DELIVERY_FROM_SEND: &str = "floodtest-delivery_from_send.hlog";

/// Send latency from a message's due time to its answer.
pub const SEND_FROM_DUE: &str = "msggen-send_from_due.hlog";

/// Send latency from a message's actual send to its answer.
pub const SEND_FROM_SEND: &str = "msggen-send_from_send.hlog";

/// How much later than due messages were sent.
pub const LATENESS: &str = "msggen-lateness.hlog";

/// From when a connection was due to its first item.
pub const FIRST_ITEM_FROM_DUE: &str = "floodtest-first_item_from_due.hlog";

/// From when its request was sent to its first item.
pub const FIRST_ITEM_FROM_SEND: &str = "floodtest-first_item_from_send.hlog";

/// From each item of a stream to the next.
pub const GAP: &str = "floodtest-gap.hlog";

/// From when a stream's request was sent to its orderly end.
pub const STREAM_TIME: &str = "floodtest-stream_time.hlog";

/// The names that latency logs had in runs until November 2026. A log is looked for under its
/// present name first.
const FORMER_NAMES: [(&str, &str); 4] = [
    (DELIVERY_FROM_DUE, "floodtest-delivery-due.hlog"),
    (DELIVERY_FROM_SEND, "floodtest-delivery-actual.hlog"),
    (SEND_FROM_DUE, "msggen-send-due.hlog"),
    (SEND_FROM_SEND, "msggen-send-actual.hlog"),
];

/// What the file `name` is called in `folder`: as it was called formerly, if only that is there.
pub fn name_in(folder: &Path, name: &'static str) -> &'static str {
    let former = FORMER_NAMES.iter().find(|(present, _)| *present == name);
    match former {
        Some((_, former)) if !folder.join(name).exists() && folder.join(former).exists() => former,
        _ => name,
    }
}

/// Every published figure.
pub const SUMMARY: &str = "summary.json";

/// The page that a person looks at.
pub const REPORT: &str = "report.html";

/// Two runs side by side.
pub const COMPARE: &str = "compare.html";

/// The marks in the memory log, in the order in which the phases follow each other.
pub mod marks {
    /// The server runs, and nobody is connected.
    pub const NOBODY: &str = "nobody connected";
    /// Connections are being opened.
    pub const CONNECTING: &str = "connecting";
    /// All are connected, and nothing is sent yet.
    pub const CONNECTED: &str = "all connected";
    /// Messages are being sent.
    pub const SENDING: &str = "sending";
    /// The last message is answered; its chunks may still be on their way.
    pub const SENT: &str = "sent";
    /// Connections are being closed.
    pub const DISCONNECTING: &str = "disconnecting";
}
