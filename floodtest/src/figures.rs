//! The figures of a report by name: what `--expect` compares.

use reports::books::FloodReport;
use reports::expect::{ExpectError, Expectations, Figure, Figures};

use crate::reason::Reason;

/// The figures of `report`, by the names that they have in the JSON report.
pub fn figures(report: &FloodReport) -> Figures {
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
        .with("elapsed_s", Figure::Number(report.elapsed_s))
        .with("opening_s", Figure::Number(report.opening_s))
        .with_reasons("failed", &report.failures, Reason::is_word)
        .with_reasons("closed", &report.closures, Reason::is_word)
        .with_delays("connect_lateness", &report.connect_lateness)
        .with_delays("delivery_from_due", &report.delivery_from_due)
        .with_delays("delivery_from_send", &report.delivery_from_send)
}

/// Reads the value of `--expect`.
pub fn parse(text: &str) -> Result<Expectations, ExpectError> {
    Expectations::parse(text, &figures(&FloodReport::default()))
}
