//! The figures of a report by name: what `--expect` compares.

use reports::books::{FloodReport, Settle};
use reports::expect::{ExpectError, Expectations, Figure, Figures, Unit};

use crate::reason::Reason;

/// The figures of `report`, by the names that they have in the JSON report.
pub fn figures(report: &FloodReport) -> Figures {
    of_itself(report, of_streams(report, of_connections(report)))
}

/// The names of the times of streams, and of what is counted of them.
const OF_STREAMS: [&str; 5] =
    ["first_item_from_due", "first_item_from_send", "gap", "stream_time", "streams"];

/// The names of the delays of messages.
const DELAYS: [&str; 2] = ["delivery_from_due", "delivery_from_send"];

/// Whether the figure of this name is there only where streams are measured.
pub(crate) fn is_of_streams(name: &str) -> bool {
    OF_STREAMS.contains(&family(name))
}

/// Whether the figure of this name says how long the server takes, as it is measured here.
pub(crate) fn is_latency(name: &str) -> bool {
    match name.split_once('.') {
        // How often something was measured is no time.
        Some((_, "count" | "negative")) => false,
        Some(("streams", which)) => which.starts_with("goodput."),
        _ => DELAYS.contains(&family(name)) || is_of_streams(name),
    }
}

/// The name of a figure up to its first dot.
fn family(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Adds what is known of streams that end.
fn of_streams(report: &FloodReport, figures: Figures) -> Figures {
    const NOT_ASKED: &str = "not asked for";
    const NEVER_CAME: &str = "the field never came";
    let streams = report.streams.as_ref();
    let done = streams.and_then(|streams| streams.done);
    let not_done = streams.and_then(|streams| streams.not_done);
    let counted = streams.and_then(|streams| streams.counted.as_ref());
    let goodput = streams.and_then(|streams| streams.goodput.as_ref());
    let count = |n: Option<u64>| n.map_or(Figure::Null(Unit::Count, NOT_ASKED), Figure::Count);
    let why = if counted.is_some() { NEVER_CAME } else { NOT_ASKED };
    let total = counted.and_then(|counted| counted.total);
    let total = total.map_or(Figure::Null(Unit::Count, why), Figure::Count);
    let per_s = counted.and_then(|counted| counted.per_s);
    let per_s = per_s.map_or(Figure::Null(Unit::Number, why), Figure::Number);
    let met_per_s = goodput.map(|goodput| goodput.per_s);
    let met_per_s = met_per_s.map_or(Figure::Null(Unit::Number, NOT_ASKED), Figure::Number);
    figures
        .with_delays("first_item_from_due", &report.first_item_from_due)
        .with_delays("first_item_from_send", &report.first_item_from_send)
        .with_delays("gap", &report.gap)
        .with_delays("stream_time", &report.stream_time)
        .with("streams.done", count(done))
        .with("streams.not_done", count(not_done))
        .with("streams.counted.total", total)
        .with("streams.counted.streams", count(counted.map(|counted| counted.streams)))
        .with(
            "streams.counted.streams_without",
            count(counted.map(|counted| counted.streams_without)),
        )
        .with("streams.counted.per_s", per_s)
        .with("streams.goodput.met", count(goodput.map(|goodput| goodput.met)))
        .with("streams.goodput.of", count(goodput.map(|goodput| goodput.of)))
        .with("streams.goodput.per_s", met_per_s)
}

/// Adds what floodtest has measured of itself.
fn of_itself(report: &FloodReport, figures: Figures) -> Figures {
    let number = |n: Option<f64>, why| n.map_or(Figure::Null(Unit::Number, why), Figure::Number);
    let own = &report.own;
    figures
        .with_delays("own.lateness", &own.lateness)
        .with("own.busiest_thread_share", number(own.busiest_thread_share, "not measured"))
        .with("own.asked_per_s", number(own.asked_per_s, "as many as possible"))
        .with("own.achieved_per_s", Figure::Number(own.achieved_per_s))
}

/// The figures of connections and messages.
fn of_connections(report: &FloodReport) -> Figures {
    let slow = report.slow_readers.as_ref();
    Figures::default()
        .with_counts([
            ("asked", report.asked),
            ("begun", report.begun),
            ("places_begun", report.places_begun),
            ("away", report.away),
            ("reopened", report.reopened),
            ("resumed", report.resumed),
            ("replayed", report.replayed),
            ("established", report.established),
            ("peak", report.peak),
            ("connected", report.connected),
            ("closed", report.closed),
            ("ended", report.ended),
            ("waiting", report.waiting),
            ("failed", report.failed),
            ("unknown", report.unknown),
            ("chunks", report.chunks),
            ("items", report.items),
            ("messages", report.messages),
            ("comments", report.comments),
            ("bytes", report.bytes),
            ("encoded_bytes", report.encoded_bytes),
            ("unanswered_missing", report.unanswered_missing),
            ("too_old", report.too_old),
            ("unjudged", report.unjudged),
            ("numbered", report.numbered),
            ("unnumbered", report.unnumbered),
            ("heard", report.heard),
            ("unheard", report.unheard),
            ("late_joiners", report.late_joiners),
            ("rss_start_kb", report.rss_start_kb),
            ("rss_kb", report.rss_kb),
        ])
        .with_judged([
            ("lost", report.lost),
            ("duplicated", report.duplicated),
            ("reordered", report.reordered),
            ("lost_in_gaps", report.lost_in_gaps),
        ])
        .with_counts([
            ("settles", report.settles.len() as u64),
            ("slow_readers.connections", slow.map_or(0, |it| it.connections)),
            ("slow_readers.open", slow.map_or(0, |it| it.open)),
        ])
        .with("settle.t50", slowest(report, |settle| settle.t50_s))
        .with("settle.t95", slowest(report, |settle| settle.t95_s))
        .with("settle.t100", slowest(report, |settle| settle.t100_s))
        .with("elapsed_s", Figure::Number(report.elapsed_s))
        .with("opening_s", Figure::Number(report.opening_s))
        .with_reasons("failed", &report.failures, Reason::is_word)
        .with_reasons("closed", &report.closures, Reason::is_word)
        .with_delays("connect_lateness", &report.connect_lateness)
        .with_delays("delivery_from_due", &report.delivery_from_due)
        .with_delays("delivery_from_send", &report.delivery_from_send)
}

/// The longest of a time of all settles, in microseconds; not known if there is none, or if in one
/// of them not so many came back.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time within the run is positive and far below 2^64 microseconds"
)]
fn slowest(report: &FloodReport, of: impl Fn(&Settle) -> Option<f64>) -> Figure {
    let times: Option<Vec<f64>> = report.settles.iter().map(of).collect();
    match times.map(|times| times.into_iter().reduce(f64::max)) {
        Some(Some(slowest_s)) => Figure::Time((slowest_s * 1e6).round() as u64),
        Some(None) => Figure::Null(Unit::Time, "nothing settled"),
        None => Figure::Null(Unit::Time, "not all were back"),
    }
}

/// Reads the value of `--expect`.
pub fn parse(text: &str) -> Result<Expectations, ExpectError> {
    Expectations::parse(text, &figures(&FloodReport::default()))
}
