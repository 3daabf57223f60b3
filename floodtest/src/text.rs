//! Reports for people.

use std::fmt;

use reports::books::{
    ByReason, Counted, Example, Extent, FloodReport, Goodput, HostReport, ItemKind, Judged,
    JudgedBy, Settle, SlowReader, SlowReaders, Streams,
};
use reports::expect::NOT_JUDGED;
use reports::latency::LatencySummary;

use crate::outcome::{Outcome, listed, n_headless};

/// The line that the article's load generator printed: open now, closed so far, and items so far,
/// which are chunks for comet-server.
#[derive(Debug, Clone, Copy)]
pub struct StatsLine<'a>(pub &'a FloodReport);

impl fmt::Display for StatsLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FloodReport { connected, closed, items, .. } = self.0;
        write!(f, "Stats: {{{connected},{closed},{items}}}")
    }
}

/// The final report, several lines.
#[derive(Debug, Clone, Copy)]
pub struct FinalText<'a>(pub &'a Outcome);

impl fmt::Display for FinalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0.report;
        connections(f, report)?;
        hosts(f, report)?;
        if let Some(slow) = &report.slow_readers {
            slow_readers(f, slow)?;
        }
        items(f, report)?;
        messages(f, report)?;
        if !report.worst.is_empty() {
            writeln!(f, "              most of them on these connections:")?;
        }
        report.worst.iter().try_for_each(|it| {
            writeln!(f, "{:>13} {}{}", it.faults, it.url, on(it.host.as_ref()))
        })?;
        latencies(f, report)?;
        let is_known = report.clock_bound_us.is_some() || report.delivery_from_due.is_unknown;
        if self.0.is_remote && report.delivery_from_due.count > 0 && !is_known
            || report.delivery_from_due.negative > 0
        {
            writeln!(f, "{CLOCKS}")?;
        }
        streams(f, report)?;
        writeln!(f, "connect_lateness  {}", report.connect_lateness)?;
        own(f, report)?;
        memory(f, report)?;
        report.notes.iter().try_for_each(|note| writeln!(f, "note          {note}"))
    }
}

/// Connections from which on their part of the memory says something about them: below, most of
/// what was added since the first connect is the program's own.
const MANY: u64 = 1_000;

/// What a reader of latencies between two machines must know.
const CLOCKS: &str = "\
The first time of each delay is the sender's clock, the second one this machine's. Where messages
come from another machine, each delay is wrong by as much as the two clocks differ; those that came
out negative are counted above and are in no percentile.";

/// Where the connections are that were asked for.
fn connections(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let FloodReport { asked, begun, established, peak, connected, failed, closed, waiting, .. } =
        report;
    let n_places = report.places_begun;
    let unknown = match report.unknown {
        0 => String::new(),
        n => format!("{n} unknown + "),
    };
    write!(
        f,
        "connections   {asked} asked, {established} established, {peak} open at most, {connected} \
         open at the end"
    )?;
    if report.opening_s > 0.0 {
        // From the first to the last connect there is one interval fewer than connects.
        let per_s = n_places.saturating_sub(1) as f64 / report.opening_s;
        write!(f, "; begun within {:.3} s ({per_s:.1}/s)", report.opening_s)?;
    }
    writeln!(f)?;
    if *begun > n_places {
        // Places have had several connections, so that these do not add up to places.
        lives(f, report)?;
    } else {
        writeln!(
            f,
            "missing       {} = {failed} failed + {closed} closed + {unknown}{} connecting + \
             {waiting} waiting for a head + {} not begun",
            asked - connected,
            n_headless(report).saturating_sub(*waiting),
            asked.saturating_sub(n_places)
        )?;
    }
    writeln!(f, "failed        {failed}{}", why(&report.failures))?;
    writeln!(f, "closed        {closed}{}", why(&report.closures))?;
    if !report.content_types.is_empty() {
        writeln!(f, "content       {}", listed(&report.content_types))?;
    }
    report.examples.iter().try_for_each(|Example { reason, detail, url, host }| {
        let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        writeln!(f, "              first {reason}{detail}: {url}{}", on(host.as_ref()))
    })
}

/// Where a connection was held, if not here.
fn on(host: Option<&String>) -> String {
    host.map(|host| format!(" (on {host})")).unwrap_or_default()
}

/// What each host held.
fn hosts(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    for it in &report.hosts {
        let HostReport { host, lost_why, connected, closed, failed, items, .. } = it;
        let due = &it.delivery_from_due;
        write!(f, "host          {host}: {connected} open, {closed} closed, {failed} failed, ")?;
        if it.unknown > 0 {
            write!(f, "{} unknown, ", it.unknown)?;
        }
        write!(f, "{items} items, {} KB in {} processes", it.rss_kb, it.processes)?;
        if due.count > 0 {
            let shown = |us| known_ms(us, report.clock_bound_us);
            let (p50, p99) = (shown(due.p50_us), shown(due.p99_us));
            write!(f, "; delivery_from_due p50 {p50}, p99 {p99}")?;
            if let Some(clock) = it.clock {
                write!(f, ", clock ± {}", known_ms(clock.bound_us, None))?;
            }
        }
        writeln!(f)?;
        if let Some(why) = lost_why {
            writeln!(f, "              lost {why}")?;
        }
    }
    Ok(())
}

/// Slow readers that a final text names; the JSON report has more of them.
const MAX_SLOW_SHOWN: usize = 10;

/// What became of slow readers.
fn slow_readers(f: &mut fmt::Formatter<'_>, slow: &SlowReaders) -> fmt::Result {
    let SlowReaders { connections, open, ends, readers } = slow;
    writeln!(
        f,
        "slow readers  {connections} = {open} still open + {} that ended{}",
        connections.saturating_sub(*open),
        why(ends)
    )?;
    for reader in readers.iter().take(MAX_SLOW_SHOWN) {
        let SlowReader { url, bytes_per_s, bytes, end, after_s } = reader;
        let rate = match bytes_per_s {
            0 => "read nothing".to_owned(),
            n => format!("read {n} bytes/s"),
        };
        let after = after_s.map(|s| format!(" after {s:.1} s")).unwrap_or_default();
        writeln!(f, "              {rate}: {end}{after} and {bytes} bytes: {url}")?;
    }
    match readers.len().checked_sub(MAX_SLOW_SHOWN).filter(|n| *n > 0) {
        Some(n_more) => writeln!(f, "              and {n_more} more"),
        None => Ok(()),
    }
}

/// The connections of places that have had several, and how they came back.
fn lives(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let FloodReport { asked, begun, established, failed, away, reopened, resumed, waiting, .. } =
        report;
    let n_opening = n_headless(report);
    writeln!(
        f,
        "lives         {begun} begun = {established} established + {failed} failed + {} connecting \
         + {waiting} waiting for a head; {reopened} were not the first of their place, {resumed} \
         resumed",
        n_opening.saturating_sub(*waiting)
    )?;
    let n_places = report.places_begun;
    let n_over = n_places.saturating_sub(report.connected + n_opening + away);
    writeln!(
        f,
        "places        {asked} = {} open + {n_opening} opening + {away} away + {n_over} over + {} \
         not begun",
        report.connected,
        asked.saturating_sub(n_places)
    )?;
    for settle in &report.settles {
        let Settle { cause, at_s, closed, back, t50_s, t95_s, t100_s, .. } = settle;
        let s = |time: &Option<f64>| time.map_or("never".to_owned(), |s| format!("{s:.2} s"));
        writeln!(
            f,
            "settle        {cause} at {at_s:.1} s: {back} of {closed} back; 50 % after {}, 95 % \
             after {}, all after {}; {} connects in one second at most, failed: {}",
            s(t50_s),
            s(t95_s),
            s(t100_s),
            settle.peak_connects_per_s,
            listed(&settle.failed)
        )?;
    }
    Ok(())
}

/// What came, by framing and as items.
fn items(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let FloodReport { items, item_kind, chunks, comments, bytes, .. } = report;
    write!(f, "items         {items} {item_kind} (")?;
    if *item_kind != ItemKind::Chunks {
        write!(f, "{chunks} chunks, ")?;
    }
    if *comments > 0 {
        write!(f, "{comments} comments, ")?;
    }
    writeln!(f, "{bytes} bytes received)")
}

/// What became of messages, and how much of that is known.
fn messages(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let FloodReport { judged_by, judged, messages, heard, unheard, unnumbered, .. } = report;
    writeln!(
        f,
        "messages      {messages} received, {} lost, {} duplicated, {} reordered",
        judged_count(report.lost),
        judged_count(report.duplicated),
        judged_count(report.reordered),
    )?;
    let further = [
        (report.unanswered_missing, "missing that the server never answered"),
        (report.lost_in_gaps.unwrap_or_default(), "lost while their place had no connection"),
        (report.replayed, "brought again by resumed streams"),
        (report.too_old, "too old to be judged"),
        (report.unjudged, "beyond --max-windows"),
        (report.late_joiners, "connections that came after the first message was due"),
        (*unnumbered, "items without a stamp or number"),
    ];
    for (n, what) in further.iter().filter(|(n, _)| *n > 0) {
        writeln!(f, "              {n} {what}")?;
    }
    if *judged_by != JudgedBy::Nothing {
        let by = match judged_by {
            JudgedBy::Stamps => "the sender's stamps",
            JudgedBy::Numbers => "the server's numbers",
            _ => "stamps on some connections, numbers on others",
        };
        let word = |extent| match extent {
            Extent::All => "all",
            Extent::Some => "some",
            Extent::None => "none",
        };
        let Judged { beginning, middle, end } = *judged;
        writeln!(
            f,
            "judged        by {by}; beginnings: {}, middles: {}, ends: {}; {heard} connections \
             heard a message, {unheard} none",
            word(beginning),
            word(middle),
            word(end)
        )?;
    }
    Ok(())
}

/// Both latencies side by side, a line for each percentile.
fn latencies(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let (due, sent) = (&report.delivery_from_due, &report.delivery_from_send);
    if due.is_unknown {
        return writeln!(f, "delivery      unknown: a note says why");
    }
    if due.count + due.negative == 0 {
        return writeln!(f, "delivery      no message carried a stamp (msggen --stamp)");
    }
    writeln!(f, "{:<13} {:>17} {:>19}", "delivery", "delivery_from_due", "delivery_from_send")?;
    for (name, of) in PERCENTILES {
        let shown = |summary| known_ms(of(summary), report.clock_bound_us);
        writeln!(f, "  {name:<11} {:>17} {:>19}", shown(due), shown(sent))?;
    }
    if let Some(bound_us) = report.clock_bound_us {
        let bound = format!("± {}", known_ms(bound_us, None));
        writeln!(f, "  {:<11} {bound:>17} {bound:>19}", "clocks")?;
    }
    writeln!(f, "  {:<11} {:>17} {:>19}", "messages", due.count, sent.count)?;
    if due.negative + sent.negative > 0 {
        writeln!(f, "  {:<11} {:>17} {:>19}", "negative", due.negative, sent.negative)?;
    }
    Ok(())
}

/// A latency in milliseconds; unknown if it is smaller than the bound of the clocks.
fn known_ms(us: u64, bound_us: Option<u64>) -> String {
    if bound_us.is_some_and(|bound_us| us < bound_us) {
        return "unknown".to_owned();
    }
    format!("{:.3} ms", us as f64 / 1_000.0)
}

/// What was measured of streams, and which of them were as they should be. The field's words stand
/// beside ours.
fn streams(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    for (name, word, delays) in [
        ("first_item_from_due", "", &report.first_item_from_due),
        ("first_item_from_send", " (TTFT)", &report.first_item_from_send),
        ("gap", " (inter-chunk latency)", &report.gap),
        ("stream_time", "", &report.stream_time),
    ] {
        if delays.count > 0 {
            writeln!(f, "{name}{word}  {delays}")?;
        }
    }
    let Some(Streams { done, not_done, counted, goodput }) = &report.streams else {
        return Ok(());
    };
    if let (Some(done), Some(not_done)) = (done, not_done) {
        writeln!(f, "done          {done} streams; {not_done} ended without the item of --done")?;
    }
    if let Some(Counted { field, total, streams, streams_without, per_s }) = counted {
        write!(f, "counted       ")?;
        match total {
            Some(total) => write!(f, "{total} {field}, {:.1}/s", per_s.unwrap_or_default())?,
            None => write!(f, "{field} never came")?,
        }
        writeln!(f, " ({streams} streams had it, {streams_without} ended without)")?;
    }
    if let Some(Goodput { asked, met, of, per_s }) = goodput {
        writeln!(f, "goodput       {met} of {of} streams, {per_s:.2}/s: {asked}")?;
    }
    Ok(())
}

/// What floodtest itself adds.
fn own(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let own = &report.own;
    if own.lateness.count == 0 {
        return Ok(());
    }
    write!(f, "own lateness  {}", own.lateness)?;
    if let Some(share) = own.busiest_thread_share {
        write!(f, "; {:.0} % of a core in its busiest second", share * 100.0)?;
    }
    writeln!(f)
}

/// What a connection costs here.
fn memory(f: &mut fmt::Formatter<'_>, report: &FloodReport) -> fmt::Result {
    let FloodReport { rss_start_kb, rss_kb, peak, .. } = report;
    write!(f, "memory        {rss_kb} KB, {rss_start_kb} KB before the first connect")?;
    if *peak >= MANY {
        let each = rss_kb.saturating_sub(*rss_start_kb) * 1024 / peak;
        write!(f, ": {each} bytes a connection")?;
    }
    writeln!(f)
}

/// A count, or that it was not judged.
fn judged_count(count: Option<u64>) -> String {
    count.map_or_else(|| NOT_JUDGED.to_owned(), |count| count.to_string())
}

/// How a delay in microseconds is read from a summary.
type Percentile = fn(&LatencySummary) -> u64;

/// The percentiles that are printed.
const PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", |summary| summary.p50_us),
    ("p90", |summary| summary.p90_us),
    ("p99", |summary| summary.p99_us),
    ("p99.9", |summary| summary.p999_us),
    ("max", |summary| summary.max_us),
];

/// `: 2 cut, 1 reset`, or nothing.
fn why(by_reason: &ByReason) -> String {
    if by_reason.is_empty() { String::new() } else { format!(": {}", listed(by_reason)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end::{End, Ends};
    use reports::books::{ClockReport, WorstConnection};

    #[test]
    fn the_stats_line_is_the_article_s() {
        let report = FloodReport { connected: 10_000, items: 5_912, ..FloodReport::default() };
        assert_eq!(StatsLine(&report).to_string(), "Stats: {10000,0,5912}");
    }

    /// What the report of the next test says.
    const EVERY_FIGURE: &str = "\
connections   1010 asked, 997 established, 996 open at most, 995 open at the end; begun within \
9.990 s (100.0/s)
missing       15 = 1 failed + 2 closed + 0 connecting + 2 waiting for a head + 10 not begun
failed        1: 1 bad head
closed        2: 2 cut
              first bad head (a line is wrong): http://a/17
items         120 chunks (4800 bytes received)
messages      107 received, 12 lost, 0 duplicated, 0 reordered
              most of them on these connections:
           12 http://a/3
delivery      delivery_from_due  delivery_from_send
  p50                  0.177 ms            0.177 ms
  p90                  0.000 ms            0.000 ms
  p99                  0.000 ms            0.000 ms
  p99.9                0.000 ms            0.000 ms
  max                 16.969 ms           16.969 ms
  messages                  119                 120
  negative                    1                   0
The first time of each delay is the sender's clock, the second one this machine's. Where messages
come from another machine, each delay is wrong by as much as the two clocks differ; those that came
out negative are counted above and are in no percentile.
connect_lateness  none recorded
memory        4050 KB, 4000 KB before the first connect
";

    #[test]
    fn the_final_report_has_every_figure() {
        let delays = |count, negative| LatencySummary {
            count,
            negative,
            p50_us: 177,
            max_us: 16_969,
            ..LatencySummary::default()
        };
        let report = FloodReport {
            asked: 1_010,
            begun: 1_000,
            places_begun: 1_000,
            connected: 995,
            closed: 2,
            closures: [("cut".to_owned(), 2)].into(),
            established: 997,
            peak: 996,
            failed: 1,
            waiting: 2,
            failures: [("bad head".to_owned(), 1)].into(),
            opening_s: 9.99,
            rss_start_kb: 4_000,
            rss_kb: 4_050,
            chunks: 120,
            items: 120,
            item_kind: ItemKind::Chunks,
            messages: 107,
            bytes: 4_800,
            lost: Some(12),
            duplicated: Some(0),
            reordered: Some(0),
            examples: vec![Example {
                reason: "bad head".to_owned(),
                detail: Some("a line is wrong".to_owned()),
                url: "http://a/17".to_owned(),
                host: None,
            }],
            worst: vec![WorstConnection { url: "http://a/3".to_owned(), faults: 12, host: None }],
            delivery_from_due: delays(119, 1),
            delivery_from_send: delays(120, 0),
            ..FloodReport::default()
        };
        let end = End::Stopped;
        let outcome = Outcome {
            end,
            report,
            log_shortfall: None,
            is_remote: false,
            must_judge: false,
            ends: Ends::Fault,
            has_reopen: false,
            away_in_order: 0,
            reopening: 0,
        };
        assert_eq!(FinalText(&outcome).to_string(), EVERY_FIGURE);
    }

    #[test]
    fn the_bytes_of_a_connection_are_said_where_there_are_many() {
        let (rss_start_kb, rss_kb) = (4_000, 5_000);
        let report = FloodReport { peak: 10_000, rss_start_kb, rss_kb, ..FloodReport::default() };
        let outcome = Outcome {
            end: End::Stopped,
            report,
            log_shortfall: None,
            is_remote: false,
            must_judge: false,
            ends: Ends::Fault,
            has_reopen: false,
            away_in_order: 0,
            reopening: 0,
        };
        let text = FinalText(&outcome).to_string();
        let line =
            "memory        5000 KB, 4000 KB before the first connect: 102 bytes a connection";
        assert_eq!(text.lines().last(), Some(line));
    }

    /// What is said at the end of a run that `report` is of, on another machine.
    fn text_of(report: FloodReport, is_remote: bool) -> String {
        let outcome = Outcome {
            end: End::Stopped,
            report,
            log_shortfall: None,
            is_remote,
            must_judge: false,
            ends: Ends::Fault,
            has_reopen: false,
            away_in_order: 0,
            reopening: 0,
        };
        FinalText(&outcome).to_string()
    }

    #[test]
    fn a_latency_that_is_smaller_than_the_bound_of_the_clocks_is_unknown() {
        let delays = LatencySummary {
            count: 9,
            p50_us: 200,
            p90_us: 250,
            p99_us: 9_000,
            p999_us: 9_000,
            p9999_us: 9_000,
            max_us: 9_000,
            ..LatencySummary::default()
        };
        let clock = Some(ClockReport { bound_us: 240, ..ClockReport::default() });
        let delivery_from_due = delays.clone();
        let host =
            HostReport { host: "a".to_owned(), delivery_from_due, clock, ..HostReport::default() };
        let report = FloodReport {
            delivery_from_due: delays.clone(),
            delivery_from_send: delays,
            hosts: vec![host],
            clock_bound_us: Some(250),
            ..FloodReport::default()
        };
        let text = text_of(report, true);
        let line = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}"))
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("p50 "), "unknown unknown");
        assert_eq!(line("p90 "), "0.250 ms 0.250 ms");
        assert_eq!(line("clocks "), "± 0.250 ms ± 0.250 ms");
        let of_host = "delivery_from_due p50 unknown, p99 9.000 ms, clock ± 0.240 ms";
        assert!(line("host ").ends_with(of_host), "{text}");
        assert!(!text.contains(CLOCKS), "they are known");
    }

    #[test]
    fn latencies_by_an_unknown_clock_are_unknown() {
        let unknown = LatencySummary::unknown;
        let report = FloodReport {
            delivery_from_due: unknown(),
            delivery_from_send: unknown(),
            notes: vec!["latencies are unknown".to_owned()],
            ..FloodReport::default()
        };
        let text = text_of(report, true);
        assert!(text.contains("delivery      unknown: a note says why\n"), "{text}");
        assert!(text.contains("note          latencies are unknown"), "{text}");
        assert!(!text.contains(CLOCKS), "{text}");
    }

    #[test]
    fn clocks_are_mentioned_only_where_they_may_differ() {
        let text = |count, is_remote| {
            let delivery_from_due = LatencySummary { count, ..LatencySummary::default() };
            text_of(FloodReport { delivery_from_due, ..FloodReport::default() }, is_remote)
        };
        assert!(text(1, true).contains(CLOCKS));
        assert!(!text(1, false).contains(CLOCKS));
        assert!(
            text(0, true).contains("no message carried a stamp") && !text(0, true).contains(CLOCKS)
        );
    }
}
