//! What is reported of streams.

use std::time::Duration;

use reports::books::{Counted, FloodReport, Goodput, Streams};

use super::counts::StreamCounts;
use super::plan::StreamPlan;

/// Writes what was counted of streams into the report of a run that has gone on for `elapsed`.
/// `start_us` is when the first connect was begun, in microseconds after the start.
pub(crate) fn write(
    report: &mut FloodReport,
    plan: &StreamPlan,
    counts: &StreamCounts,
    start_us: u64,
    elapsed: Duration,
) {
    report.first_item_from_due = counts.first_item_from_due.summary();
    report.first_item_from_send = counts.first_item_from_send.summary();
    report.gap = counts.gap.summary();
    report.stream_time = counts.stream_time.summary();
    if !plan.asks_something() {
        return;
    }
    let counted = plan.count.as_ref().map(|field| {
        let item_us = counts.last_item_us.saturating_sub(start_us);
        Counted {
            field: field.to_string(),
            total: counts.counted,
            streams: counts.n_counted,
            streams_without: counts.n_not_counted,
            per_s: counts.counted.and_then(|total| per_s(total, Duration::from_micros(item_us))),
        }
    });
    // What never had a response head is no stream that anybody would call good, also when it still
    // waits for one at the end.
    let n_unanswered = report.begun.saturating_sub(report.established);
    let n_failed = if report.is_final { n_unanswered } else { report.failed };
    let goodput = plan.goodput.as_ref().map(|goodput| Goodput {
        asked: goodput.text().to_owned(),
        met: counts.met,
        of: counts.over.saturating_add(n_failed),
        per_s: per_s(counts.met, elapsed).unwrap_or(0.0),
    });
    let of_done = |n| plan.done.is_some().then_some(n);
    report.streams = Some(Streams {
        done: of_done(counts.done),
        not_done: of_done(counts.not_done),
        counted,
        goodput,
    });
    if counts.n_too_long > 0 {
        report.notes.push(format!(
            "{} items were longer than 64 KiB and were not looked into for --done and --count",
            counts.n_too_long
        ));
    }
    if let Some(field) = &plan.count
        && counts.counted.is_none()
        && counts.over > 0
    {
        report.notes.push(format!(
            "no item had a whole number in the field \"{field}\" of --count, so nothing is \
             counted: many servers send it only when they are asked to, as with \
             \"stream_options\": \
             {{\"include_usage\": true}}"
        ));
    }
}

/// So many a second; `None` if there was no time.
fn per_s(n: u64, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| n as f64 / seconds)
}
