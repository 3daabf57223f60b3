//! The figures of a report by name: what `--expect` compares.

use reports::books::{FloodReport, Settle};
use reports::expect::{ExpectError, Expectations, Figure, Figures, Unit};

use crate::reason::Reason;

/// The figures of `report`, by the names that they have in the JSON report.
pub fn figures(report: &FloodReport) -> Figures {
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
