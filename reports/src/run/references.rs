//! The figures of others beside those of a run.

use super::Summary;
use super::words::{NOT_MEASURED, figure, grouped, judged, kb, of_one_core, time, with_unit};

/// A figure of the article beside that of a run.
pub struct Row {
    /// What it is.
    pub what: &'static str,
    /// What the article says.
    pub article: &'static str,
    /// What this run says.
    pub here: String,
}

/// Which part of "A Million-user Comet Application with Mochiweb" (2008) a run repeats.
pub fn part(summary: &Summary) -> u32 {
    if summary.experiment == "c1m" { 3 } else { 2 }
}

/// The figures of that part of the article beside those of a run.
pub fn article(summary: &Summary) -> Vec<Row> {
    if part(summary) == 3 { third_part(summary) } else { second_part(summary) }
}

/// Those of the second part. Its memory is that of its log, its 24 hours and `hibernate` those of
/// its text.
fn second_part(summary: &Summary) -> Vec<Row> {
    let (cost, received, sent) = (&summary.cost, &summary.received, &summary.sent);
    let row = |what, article, here| Row { what, article, here };
    let rss = |moment: &Option<super::Moment>| kb(moment.as_ref().map(|it| it.rss_kb));
    let bytes = |bytes: Option<f64>| {
        bytes.map_or_else(|| NOT_MEASURED.to_owned(), |bytes| format!("{bytes:.0}"))
    };
    let wrong = [received.lost, received.duplicated, received.reordered].map(judged).join(", ");
    vec![
        row("connections", "10,000", grouped(received.connected)),
        row(
            "messages a second",
            "about 960 (1,000 asked)",
            format!("{} ({} asked)", figure(sent.achieved_per_s), figure(sent.asked_per_s)),
        ),
        row("sending for", "10 min; 24 h", time(sent.elapsed_s)),
        row("server RSS, nobody connected", "40,156 KB", rss(&cost.empty)),
        row("server RSS, all idle", "90,964 KB", rss(&cost.idle)),
        row("  bytes per connection", "5,203", bytes(cost.idle_bytes_per_connection)),
        row("server RSS, after the messages", "125,360 KB; hibernated 78 MB", rss(&cost.after)),
        row(
            "  bytes per connection",
            "8,725; hibernated 8 KB in all",
            bytes(cost.after_bytes_per_connection),
        ),
        row("server RSS, highest", "about 250 MB after 24 h", kb(cost.highest_rss_kb)),
        row(
            "  growing, in the last half",
            "not said",
            with_unit(cost.rss_slope_kb_per_min, "KB/min"),
        ),
        row("server CPU while sending", "under 1 %", of_one_core(cost.cpu_share)),
        row("lost, duplicated, reordered", "not counted", wrong),
    ]
}

/// The figures of the article's third part, about a million connections, beside those of a run.
fn third_part(summary: &Summary) -> Vec<Row> {
    let row = |what, article, here| Row { what, article, here };
    let machine = &summary.machine;
    let after = machine.after.clone().unwrap_or_default();
    let received = &summary.received;
    let wrong = [received.lost, received.duplicated, received.reordered].map(judged).join(", ");
    let used = machine.used_bytes_per_connection;
    vec![
        row("connections", "1,000,000", grouped(received.connected)),
        row("servers", "1", grouped(summary.nodes)),
        row(
            "messages a second",
            "16,666 asked",
            format!(
                "{} ({} asked)",
                figure(summary.sent.achieved_per_s),
                figure(summary.sent.asked_per_s)
            ),
        ),
        row("sending for", "not said", time(summary.sent.elapsed_s)),
        row("opened in", "not said", time(received.opening_s)),
        row("servers, memory", "25 GB; in C 2 GB", kb(after.server_pss_kb)),
        row(
            "  bytes per connection",
            "25,000; in C 2,000",
            with_unit(machine.server_bytes_per_connection, "bytes"),
        ),
        row("all memory, bytes per connection", "kernel alone 8,000", with_unit(used, "bytes")),
        row("server CPU while sending", "not said", of_one_core(summary.cost.cpu_share)),
        row("lost, duplicated, reordered", "not counted", wrong),
    ]
}

/// A server that others wrote, as it was measured with 10,000 connections: what it is, and its
/// figures in the columns of [`PEER_HEADS`].
pub type Peer = (&'static str, [&'static str; 6]);

/// The columns of the peers' figures.
pub const PEER_HEADS: [&str; 7] = [
    "server",
    "RSS empty, MB",
    "RSS idle, MB",
    "bytes per idle connection",
    "RSS after minutes of messages, MB",
    "CPU then, % of a core",
    "latency then, from send, p50 / p99 ms",
];

/// Where and how the peers were measured.
pub const PEERS_SOURCE: &str = "The others were measured in November 2026 on a virtual \
    machine with two cores (AMD EPYC, Linux 6.18, 24 GiB, Debian 12) over loopback: the server \
    pinned to one core, a raw epoll client and a publisher in C on the other, medians of three runs \
    of 20 s. Where two figures are added, the second one is the router.";

/// The servers of others, the leanest first.
pub const PEERS: [Peer; 8] = [
    (
        "a plain write loop in C: no requests, no router, a lower limit",
        ["1.2", "1.3", "4", "–", "3.0", "–"],
    ),
    (
        "libevent evhttp, as in the article's part 3 (C)",
        ["1.9", "28.9", "2,830", "29", "4.6", "0.06 / 0.13"],
    ),
    ("icomet (C++, libevent)", ["3.9", "31.9", "2,933", "47", "5.1", "0.08 / 0.17"]),
    (
        "the article's Mochiweb and router, hibernating (OTP 25)",
        ["39.5 + 36.8", "110 + 40", "7,225", "131 + 40", "10.6", "0.23 / 0.60"],
    ),
    ("node, http", ["42.9", "147", "10,895", "174", "7.6", "0.08 / 0.57"]),
    ("nginx with nchan", ["31.8", "140", "11,341", "147", "4.1", "0.06 / 0.16"]),
    (
        "the article's Mochiweb and router, not hibernating",
        ["39.5 + 36.9", "198 + 40", "16,183", "699 + 40", "8.8", "0.15 / 0.49"],
    ),
    ("axum, a channel for each connection", ["3.0", "191", "19,769", "195", "3.9", "0.06 / 0.12"]),
];
