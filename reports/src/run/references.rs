//! The figures of the article, which are what a run is compared with.

use super::Summary;
use super::words::{NOT_MEASURED, figure, grouped, judged, kb, of_one_core, time, with_unit};
use crate::books::SendReport;

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

/// The figures of that part of the article beside those of a run. None of a run that does not
/// repeat it: another experiment, or without messages.
pub fn article(summary: &Summary) -> Vec<Row> {
    match &summary.sent {
        Some(sent) if OF_ARTICLE.contains(&&*summary.experiment) => {
            if part(summary) == 3 {
                third_part(summary, sent)
            } else {
                second_part(summary, sent)
            }
        }
        _ => Vec::new(),
    }
}

/// The experiments that are the article's.
const OF_ARTICLE: [&str; 3] = ["c10k", "cluster", "c1m"];

/// Those of the second part. Its memory is that of its log, its 24 hours and `hibernate` those of
/// its text.
fn second_part(summary: &Summary, sent: &SendReport) -> Vec<Row> {
    let (cost, received) = (&summary.cost, &summary.received);
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
fn third_part(summary: &Summary, sent: &SendReport) -> Vec<Row> {
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
            format!("{} ({} asked)", figure(sent.achieved_per_s), figure(sent.asked_per_s)),
        ),
        row("sending for", "not said", time(sent.elapsed_s)),
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
