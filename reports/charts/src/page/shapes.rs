//! The shapes of a load: how connections came back after storms and without the server, what became
//! of slow readers, and streams that end.

use maud::{Markup, html};

use super::figures::p50_and_p99;
use super::{figure, section, source, table};
use crate::pictures::Drawn;
use reports::books::{ByReason, FloodReport, Goodput, Settle, SlowReaders, Streams};
use reports::run::words::{figure as number, grouped, ms};
use reports::run::{Run, Summary, files};

/// Slow readers that the page names, each in a row. Those beyond are counted, and stand in the last
/// line of floodtest's reports.
const MOST_READERS: usize = 40;

/// Settles that the page shows. A storm a second for an hour is no table that anybody reads.
const MOST_SETTLES: usize = 50;

/// A time in seconds, or that it never came.
fn seconds(time_s: Option<f64>) -> String {
    time_s.map_or_else(|| "not all".to_owned(), |time_s| format!("{time_s:.2}"))
}

/// Counts by reason, or that there are none.
fn reasons(by_reason: &ByReason) -> String {
    let all = by_reason.iter().filter(|(_, n)| **n > 0);
    let all: Vec<String> = all.map(|(reason, n)| format!("{} {reason}", grouped(*n))).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// How connections came back. Nothing where none had to.
pub(super) fn settles(summary: &Summary, drawn: &Drawn) -> Markup {
    let settles = &summary.received.settles;
    let Some(open) = &drawn.open else { return html! {} };
    let note = [
        "A storm closes a part of the connections at once, from floodtest's side. The server is \
         away when most of them are lost within a moment that is none of floodtest's own doing.",
        "Times run from the first connection that closed until so many of those that closed are \
         back. Connects a second are the most that were begun in one second of that time, failed \
         ones included.",
        "Delivery is from due to receipt; during ends when all are back. What was sent to a place \
         while it had no connection is lost in a gap, and is counted apart from messages lost on a \
         connection.",
    ];
    let back = [
        "what closed them",
        "at, s",
        "closed",
        "50 % back, s",
        "95 % back, s",
        "all back, s",
        "connects a second",
        "failed tries",
    ];
    let times = |settle: &Settle| {
        vec![
            settle.cause.clone(),
            format!("{:.1}", settle.at_s),
            grouped(settle.closed),
            seconds(settle.t50_s),
            seconds(settle.t95_s),
            seconds(settle.t100_s),
            grouped(settle.peak_connects_per_s),
            reasons(&settle.failed),
        ]
    };
    let delivery = |settle: &Settle| {
        let delays = [&settle.delivery_before, &settle.delivery_during, &settle.delivery_after];
        let what = format!("{}, at {:.1} s", settle.cause, settle.at_s);
        [what].into_iter().chain(delays.map(|it| p50_and_p99(it, None))).collect::<Vec<_>>()
    };
    let has_delivery = settles.iter().any(|settle| settle.delivery_before.count > 0);
    let shown = &settles[..settles.len().min(MOST_SETTLES)];
    let n_hidden = settles.len() - shown.len();
    let received = &summary.received;
    let body = html! {
        (figure(open))
        @if !shown.is_empty() {
            (table("figures settles", &back, shown.iter().map(times)))
            @if n_hidden > 0 { p { (grouped(n_hidden as u64)) " more are in the reports." } }
        }
        @if has_delivery {
            h3 { "Delivery, p50 / p99 in ms" }
            (table("figures", &["", "before", "during", "after"], shown.iter().map(delivery)))
        }
        (in_all(received))
        (source(if summary.faults.is_empty() { &[files::FLOODTEST] } else {
            &[files::FLOODTEST, files::FAULTS]
        }))
    };
    // Where none had to come back there is nothing to say of how fast they did.
    if settles.is_empty() {
        return section("Connections, one after another", &[], &body);
    }
    section("How connections came back", &note, &body)
}

/// All connections of the run, and what was sent in between, in a paragraph.
fn in_all(received: &FloodReport) -> Markup {
    html! {
        p {
            (grouped(received.established)) " connections in all, of which "
            (grouped(received.reopened)) " were not the first of their place; "
            (grouped(received.failed)) " tries failed."
            @if let Some(lost) = received.lost_in_gaps {
                " " (grouped(lost)) " messages were sent while their place had no connection."
            }
            @if received.resumed > 0 {
                " " (grouped(received.resumed)) " event streams were resumed by Last-Event-ID, and \
                 brought " (grouped(received.replayed)) " messages again."
            }
        }
    }
}

/// What became of slow readers. Nothing where there were none.
pub(super) fn slow_readers(summary: &Summary) -> Markup {
    let Some(slow) = &summary.received.slow_readers else { return html! {} };
    let note = [
        "These connections were read slowly, or never after their response head, on purpose. A \
         server has to keep what they do not take, or to close them.",
        "Bytes are those that came for it: read, or held by its socket. How fast messages came on \
         the other connections is to be compared with the same run without slow readers.",
    ];
    let shown = &slow.readers[..slow.readers.len().min(MOST_READERS)];
    let heads = ["", "read a second, bytes", "came, bytes", "how it ended", "after, s"];
    let rows = shown.iter().map(|reader| {
        vec![
            reader.url.clone(),
            grouped(reader.bytes_per_s),
            grouped(reader.bytes),
            if reader.end == "open" { "still open".to_owned() } else { reader.end.clone() },
            reader.after_s.map_or_else(|| "–".to_owned(), |after_s| format!("{after_s:.1}")),
        ]
    });
    let body = html! {
        p { (slow_in_all(slow)) }
        (table("figures readers", &heads, rows))
        @if slow.connections > shown.len() as u64 {
            p { "These are the first " (grouped(shown.len() as u64)) " in the order of the plan." }
        }
        (source(&[files::FLOODTEST]))
    };
    section("Slow readers", &note, &body)
}

/// What became of them, in a sentence.
fn slow_in_all(slow: &SlowReaders) -> String {
    format!(
        "{} connections were read slowly or never. {} of them were open at the end; the others \
         ended: {}.",
        grouped(slow.connections),
        grouped(slow.open),
        reasons(&slow.ends)
    )
}

/// What streams that end came to. Nothing where none were looked at.
pub(super) fn streams(run: &Run, summary: &Summary, drawn: &Drawn) -> Markup {
    let received = &summary.received;
    // Our names, and in brackets those of the field where it has one.
    let delays = [
        ("first_item_from_due", &received.first_item_from_due),
        ("first_item_from_send (TTFT)", &received.first_item_from_send),
        ("gap (inter-chunk latency)", &received.gap),
        ("stream_time", &received.stream_time),
    ];
    if received.streams.is_none() && delays.iter().all(|(_, delays)| delays.count == 0) {
        return html! {};
    }
    let note = [
        "From send: from when the request was sent to the first item, which the field calls time \
         to first token. From due: from when the stream should have begun, so that a server that \
         stalls cannot hide it (coordinated omission).",
        "A gap is from an item of a stream to the next: inter-chunk latency. An item may carry \
         several tokens or none, so that neither gaps nor items are tokens; those are counted only \
         by what the server says of them.",
    ];
    let heads = ["", "p50", "p90", "p99", "p99.9", "longest", "how many"];
    let rows = delays.into_iter().filter(|(_, it)| it.count > 0).map(|(name, it)| {
        let figures = [it.p50_us, it.p90_us, it.p99_us, it.p999_us, it.max_us].map(ms);
        [name.to_owned()].into_iter().chain(figures).chain([grouped(it.count)]).collect()
    });
    let logs = [files::FIRST_ITEM_FROM_DUE, files::FIRST_ITEM_FROM_SEND, files::GAP];
    let has_logs = logs.iter().any(|name| run.folder.join(name).exists());
    let body = html! {
        @if let Some(picture) = &drawn.streams { (figure(picture)) }
        h3 { "All delays of streams, ms" }
        (table("figures", &heads, rows))
        @if let Some(streams) = &received.streams {
            (table("terms", &["", "figure", "computed from"], ends(streams)))
        }
        @if has_logs {
            (source(&[&[files::FLOODTEST][..], &logs].concat()))
        } @else {
            (source(&[files::FLOODTEST]))
        }
    };
    section("Streams that end", &note, &body)
}

/// How streams ended, what was counted in them, and how many were good.
fn ends(streams: &Streams) -> Vec<Vec<String>> {
    let row = |what: &str, figure: String, from: String| vec![what.to_owned(), figure, from];
    let mut rows = Vec::new();
    if let (Some(done), Some(not_done)) = (streams.done, streams.not_done) {
        let from = "ended behind the item that --done names".to_owned();
        rows.push(row("streams that came to their end", grouped(done), from));
        let from = "ended in order, and without that item".to_owned();
        rows.push(row("streams that ended too early", grouped(not_done), from));
    }
    if let Some(counted) = &streams.counted {
        let n_without = grouped(counted.streams_without);
        let total = counted.total.map_or_else(|| "it never came".to_owned(), grouped);
        let from = format!(
            "last value in each of {} streams; {n_without} ended without it",
            grouped(counted.streams)
        );
        rows.push(row(&counted.field, total, from));
        if let Some(per_s) = counted.per_s {
            let from = "the same ÷ seconds from the first connect to the last item".to_owned();
            rows.push(row("  a second", number(per_s), from));
        }
    }
    if let Some(Goodput { asked, met, of, per_s }) = &streams.goodput {
        let from = format!("of {} that were due and are over: {asked}", grouped(*of));
        rows.push(row("streams that met it", grouped(*met), from));
        let from = "the same ÷ seconds of the run".to_owned();
        rows.push(row("  goodput, streams a second", number(*per_s), from));
    }
    rows
}
