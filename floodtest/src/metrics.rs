//! The figures of a report for Prometheus; SCHEMA.md lists them.
//!
//! Figures that are not known are left out, so that nobody takes them for 0.

use metrics::Text;
use metrics::text::Summary;
use reports::books::{ByReason, FloodReport, Streams};
use reports::latency::LatencySummary;

use crate::reason::Reason;

/// The report as text for Prometheus.
pub fn text(report: &FloodReport) -> String {
    let mut text = Text::new("floodtest_");
    let version = env!("CARGO_PKG_VERSION");
    text.info("build_info", "The version of floodtest.", "version", version);
    text.gauge("elapsed_seconds", "Time since the first connection was due.", report.elapsed_s);
    connections(&mut text, report);
    items(&mut text, report);
    messages(&mut text, report);
    let delays = [
        ("connect_lateness", "later than due a connect was begun", &report.connect_lateness),
        (
            "delivery_from_due",
            "from a message's due time to its receipt",
            &report.delivery_from_due,
        ),
        (
            "delivery_from_send",
            "from a message's actual send to its receipt",
            &report.delivery_from_send,
        ),
    ];
    for (name, what, delays) in delays {
        summary(&mut text, name, what, delays);
    }
    streams(&mut text, report);
    own(&mut text, report);
    let bytes = |kb: u64| kb.saturating_mul(1024);
    let help = "RSS of all processes that hold connections.";
    text.gauge("rss_bytes", help, bytes(report.rss_kb));
    let help = "RSS of all processes before the first connect.";
    text.gauge("rss_start_bytes", help, bytes(report.rss_start_kb));
    text.finish()
}

/// Where the connections are.
fn connections(text: &mut Text, report: &FloodReport) {
    text.gauge("asked", "Connections asked for.", report.asked);
    text.counter("begun", "Connections begun, whatever became of them.", report.begun);
    text.counter("established", "Connections that were established.", report.established);
    let help = "Places whose first connection was begun.";
    text.gauge("places_begun", help, report.places_begun);
    text.gauge("away", "Places that wait for their next connection.", report.away);
    let help = "Established connections that were not the first of their place.";
    text.counter("reopened", help, report.reopened);
    let help = "Of these, those that were asked for with Last-Event-ID.";
    text.counter("resumed", help, report.resumed);
    if let Some(slow) = &report.slow_readers {
        text.gauge("slow_readers_open", "Slow readers that are open.", slow.open);
    }
    text.gauge("connected", "Connections open now.", report.connected);
    text.gauge("peak", "The most connections open at once.", report.peak);
    let help = "Connections whose request was sent and whose response head has not come yet.";
    text.gauge("waiting", help, report.waiting);
    let help = "Connections never established.";
    text.counters("failed", help, "reason", by_reason(&report.failures));
    let help = "Connections that were established and are closed now.";
    text.counters("closed", help, "reason", by_reason(&report.closures));
    let help = "Established connections by the media type of their response.";
    let types = report.content_types.iter().map(|(kind, n)| (kind, *n));
    text.counters("content_types", help, "type", types);
    text.gauge("opening_seconds", "From the first connect to the last one.", report.opening_s);
}

/// Counts of all reasons whose words are known beforehand, those that did not happen included: a
/// series that begins with its first event hides that event from `rate()`.
fn by_reason(counts: &ByReason) -> ByReason {
    let mut all: ByReason = Reason::plain_words().map(|word| (word, 0)).collect();
    all.extend(counts.clone());
    all
}

/// What came.
fn items(text: &mut Text, report: &FloodReport) {
    text.counter("bytes", "Bytes received, heads and framing included.", report.bytes);
    let help = "Bytes of bodies with a Content-Encoding, which are not looked into.";
    text.counter("encoded_bytes", help, report.encoded_bytes);
    text.counter("chunks", "Chunks, counted by framing.", report.chunks);
    text.counter("items", "Items: chunks, events, lines, frames or messages.", report.items);
    text.counter("comments", "Comments of event streams.", report.comments);
}

/// What became of messages.
fn messages(text: &mut Text, report: &FloodReport) {
    text.counter("messages", "Messages that came, each once.", report.messages);
    let judged = [
        ("lost", "Messages that should have come and did not.", report.lost),
        ("duplicated", "Messages that came again.", report.duplicated),
        ("reordered", "Messages that came after a later one.", report.reordered),
    ];
    for (name, help, n) in judged {
        // What the sender's files say at the end can make them smaller, so they are no counters.
        if let Some(n) = n {
            text.gauge(name, help, n);
        }
    }
    if let Some(n) = report.lost_in_gaps {
        let help = "Messages that were sent while their place had no connection.";
        text.gauge("lost_in_gaps", help, n);
    }
    let help = "Messages that resumed streams brought again.";
    text.counter("replayed", help, report.replayed);
    let help = "Missing messages that the server never answered.";
    text.gauge("unanswered_missing", help, report.unanswered_missing);
    let help = "Messages too much older than the latest to be judged.";
    text.counter("too_old", help, report.too_old);
    text.counter("unjudged", "Messages beyond --max-windows.", report.unjudged);
    text.counter("numbered", "Messages judged, duplicates included.", report.numbered);
    text.counter("unnumbered", "Items without a stamp or number.", report.unnumbered);
    text.gauge("heard", "Connections on which a message came.", report.heard);
    text.gauge("unheard", "Established connections on which none came.", report.unheard);
    let help = "Connections whose head came after the sender's first message was due.";
    text.gauge("late_joiners", help, report.late_joiners);
    if let Some(jump) = report.median_jump {
        let help = "By how much the server's numbers jump at the median.";
        text.gauge("median_jump", help, jump);
    }
}

/// What is known of streams that end.
fn streams(text: &mut Text, report: &FloodReport) {
    let delays = [
        (
            "first_item_from_due",
            "from when a connection was due to its first item",
            &report.first_item_from_due,
        ),
        (
            "first_item_from_send",
            "from when a connection's request was sent to its first item",
            &report.first_item_from_send,
        ),
        ("gap", "from each item of a stream to the next", &report.gap),
        (
            "stream_time",
            "from when a stream's request was sent to its orderly end",
            &report.stream_time,
        ),
    ];
    for (name, what, delays) in delays {
        summary(text, name, what, delays);
    }
    let Some(Streams { done, not_done, counted, goodput }) = &report.streams else { return };
    let n_counted = counted.as_ref().and_then(|counted| counted.total);
    let (met, of) = (goodput.as_ref().map(|it| it.met), goodput.as_ref().map(|it| it.of));
    for (name, help, n) in [
        ("streams_done", "Streams that ended in order behind the item of --done.", *done),
        ("streams_not_done", "Streams that ended in order without it.", *not_done),
        ("streams_counted", "Sum of the field of --count over all streams.", n_counted),
        ("streams_good", "Streams that met what --goodput asks.", met),
        ("streams_over", "Streams that are over, of which these are a part.", of),
    ] {
        if let Some(n) = n {
            text.counter(name, help, n);
        }
    }
}

/// What floodtest has measured of itself.
fn own(text: &mut Text, report: &FloodReport) {
    let own = &report.own;
    summary(text, "own_lateness", "that a turn of floodtest's own loop took", &own.lateness);
    if let Some(share) = own.busiest_thread_share {
        let help = "Share of a core that the loop ran for in its busiest second, 0 to 1.";
        text.gauge("busiest_thread_share", help, share);
    }
    let help = "Whether floodtest was the limit, so that latencies are not the server's alone: 1.";
    text.gauge("limited", help, u64::from(report.limited_by.is_some()));
}

/// One kind of delay.
fn summary(text: &mut Text, name: &str, what: &str, delays: &LatencySummary) {
    let seconds = |us: u64| us as f64 / 1e6;
    let quantiles = [
        (0.5, seconds(delays.p50_us)),
        (0.9, seconds(delays.p90_us)),
        (0.99, seconds(delays.p99_us)),
        (0.999, seconds(delays.p999_us)),
        (0.9999, seconds(delays.p9999_us)),
        (1.0, seconds(delays.max_us)),
    ];
    let sum_s = delays.mean_us * delays.count as f64 / 1e6;
    let summary = Summary { quantiles: &quantiles, sum_s, count: delays.count };
    text.summary(name, &format!("Time {what}."), summary);
    let help = "Delays that are negative because two clocks differ.";
    text.counter(&format!("{name}_negative"), help, delays.negative);
}
