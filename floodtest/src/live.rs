//! What a terminal shows while a run goes on.

use reports::books::{FloodReport, Goodput, Settle};

use crate::outcome::listed;

/// Whether and how a terminal may be drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Characters of a line. A longer one would be wrapped, and could not be drawn over.
    pub columns: usize,
    /// Whether what went wrong may be red.
    pub is_coloured: bool,
}

/// The lines that show `report`, each ended.
pub fn view(report: &FloodReport, style: Style) -> String {
    let mut view = String::new();
    for line in lines(report) {
        let mut shown: String = line.text.chars().take(style.columns.max(1) - 1).collect();
        if line.is_bad && style.is_coloured {
            shown = format!("\x1b[31m{shown}\x1b[0m");
        }
        view.push_str(&shown);
        view.push('\n');
    }
    view
}

/// A line of the view.
struct Line {
    /// Its text.
    text: String,
    /// Whether it says that something went wrong.
    is_bad: bool,
}

/// The lines of the view.
fn lines(report: &FloodReport) -> Vec<Line> {
    let FloodReport { asked, begun, connected, closed, failed, items, recent, .. } = report;
    let per_s = |n: u64| if recent.seconds > 0.0 { n as f64 / recent.seconds } else { 0.0 };
    let good = |text| Line { text, is_bad: false };
    let bad = |text| Line { text, is_bad: true };
    let mut lines = vec![
        good(format!(
            "{:.0} s: {connected} of {asked} open, {begun} begun ({:.0}/s), {closed} closed, \
             {failed} failed",
            report.elapsed_s,
            per_s(recent.begun)
        )),
        good(format!(
            "{items} {}, {:.0}/s, {:.1} KB/s",
            report.item_kind,
            per_s(recent.items),
            per_s(recent.bytes) / 1_000.0
        )),
    ];
    if report.away > 0 || report.reopened > 0 {
        lines.push(good(format!("{} away, {} reopened", report.away, report.reopened)));
    }
    if report.waiting > 0 {
        lines.push(good(format!("{} wait for a response head", report.waiting)));
    }
    lines.extend(delays(report).into_iter().map(good));
    if let Some(goodput) = report.streams.as_ref().and_then(|streams| streams.goodput.as_ref()) {
        let Goodput { met, of, per_s, .. } = goodput;
        lines.push(good(format!("goodput: {met} of {of} streams, {per_s:.1}/s")));
    }
    if let Some(settle) = report.settles.last() {
        lines.push(good(storm(settle, report.elapsed_s)));
    }
    if let Some(who) = &report.limited_by {
        lines.push(bad(format!("limited by {who}: latencies are not the server's alone")));
    }
    let all = &report.delivery_from_due;
    if all.negative > 0 {
        lines.push(bad(format!("{} delays negative: the clocks differ", all.negative)));
    }
    if report.n_faults() > 0 {
        let of = |count: Option<u64>| count.unwrap_or_default();
        let (lost, duplicated, reordered) =
            (of(report.lost), of(report.duplicated), of(report.reordered));
        let text = format!("messages: {lost} lost, {duplicated} duplicated, {reordered} reordered");
        lines.push(bad(text));
    }
    for (what, reasons) in [("failed", &report.failures), ("closed", &report.closures)] {
        if !reasons.is_empty() {
            lines.push(bad(format!("{what}: {}", listed(reasons))));
        }
    }
    lines
}

/// The lines of the delays that are measured.
fn delays(report: &FloodReport) -> Vec<String> {
    let mut lines = Vec::new();
    let (now, all) = (&report.recent.delivery_from_due, &report.delivery_from_due);
    let ms = |us: u64| us as f64 / 1_000.0;
    if all.count > 0 {
        lines.push(match now.count {
            0 => "delivery_from_due now: none".to_owned(),
            _ => format!(
                "delivery_from_due now: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
                ms(now.p50_us),
                ms(now.p99_us),
                ms(now.max_us)
            ),
        });
        let (p99_ms, max_ms) = (ms(all.p99_us), ms(all.max_us));
        lines.push(format!("delivery_from_due so far: p99 {p99_ms:.3} ms, max {max_ms:.3} ms"));
    }
    // The field's words beside ours: time to first token, and inter-chunk latency.
    for (what, delays) in
        [("first item (TTFT)", &report.first_item_from_send), ("gap (inter-chunk)", &report.gap)]
    {
        if delays.count > 0 {
            let [p50, p99, max] = [delays.p50_us, delays.p99_us, delays.max_us].map(ms);
            lines.push(format!("{what}: p50 {p50:.3} ms, p99 {p99:.3} ms, max {max:.3} ms"));
        }
    }
    lines
}

/// The line of the last storm, or of the last time that the server was away.
fn storm(settle: &Settle, elapsed_s: f64) -> String {
    let Settle { cause, at_s, closed, back, t50_s, t95_s, t100_s, peak_connects_per_s, .. } =
        settle;
    let ago_s = (elapsed_s - at_s).max(0.0);
    let mut parts = vec![format!("{cause} {ago_s:.0} s ago: {back}/{closed} back")];
    for (part, time_s) in [("50%", t50_s), ("95%", t95_s), ("all", t100_s)] {
        parts.extend(time_s.map(|time_s| format!("{part} {time_s:.1} s")));
    }
    parts.push(format!("peak {peak_connects_per_s}/s"));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::books::{ItemKind, Recent, Streams};
    use reports::latency::LatencySummary;

    const PLAIN: Style = Style { columns: 120, is_coloured: false };

    fn report() -> FloodReport {
        let delays = |p99_us| LatencySummary {
            count: 9,
            p50_us: 117,
            p99_us,
            max_us: 9_500,
            ..LatencySummary::default()
        };
        FloodReport {
            elapsed_s: 12.4,
            asked: 1_000,
            begun: 990,
            connected: 980,
            closed: 2,
            failed: 8,
            items: 5_000,
            item_kind: ItemKind::Chunks,
            failures: [("refused".to_owned(), 8)].into(),
            closures: [("cut".to_owned(), 2)].into(),
            lost: Some(3),
            duplicated: Some(0),
            reordered: Some(0),
            delivery_from_due: delays(2_000),
            recent: Recent {
                seconds: 0.5,
                begun: 50,
                chunks: 1_000,
                bytes: 40_000,
                items: 1_000,
                delivery_from_due: delays(1_000),
            },
            ..FloodReport::default()
        }
    }

    #[test]
    fn the_view_has_rates_latency_and_reasons() {
        let shown = view(&report(), PLAIN);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "12 s: 980 of 1000 open, 990 begun (100/s), 2 closed, 8 failed",
                "5000 chunks, 2000/s, 80.0 KB/s",
                "delivery_from_due now: p50 0.117 ms, p99 1.000 ms, max 9.500 ms",
                "delivery_from_due so far: p99 2.000 ms, max 9.500 ms",
                "messages: 3 lost, 0 duplicated, 0 reordered",
                "failed: 8 refused",
                "closed: 2 cut",
            ]
        );
    }

    #[test]
    fn streams_and_storms_have_their_lines_and_all_fit_into_80_columns() {
        let delays = |p50_us| LatencySummary {
            count: 9,
            p50_us,
            p99_us: 123_456,
            max_us: 9_876_543,
            ..LatencySummary::default()
        };
        let storm = Settle {
            cause: "storm 50%".to_owned(),
            at_s: 60.0,
            closed: 10_000,
            back: 9_876,
            t50_s: Some(1.23),
            t95_s: Some(12.34),
            peak_connects_per_s: 12_345,
            ..Settle::default()
        };
        let goodput = Goodput { met: 9_000, of: 10_000, per_s: 45.6, ..Goodput::default() };
        let report = FloodReport {
            elapsed_s: 75.0,
            asked: 10_000,
            begun: 123_456,
            connected: 9_876,
            away: 124,
            reopened: 113_456,
            item_kind: ItemKind::Events,
            first_item_from_send: delays(45_678),
            gap: delays(200_123),
            streams: Some(Streams { goodput: Some(goodput), ..Streams::default() }),
            settles: vec![Settle::default(), storm],
            limited_by: Some("floodtest".to_owned()),
            ..FloodReport::default()
        };
        let shown = view(&report, Style { columns: 80, is_coloured: false });
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "75 s: 9876 of 10000 open, 123456 begun (0/s), 0 closed, 0 failed",
                "0 events, 0/s, 0.0 KB/s",
                "124 away, 113456 reopened",
                "first item (TTFT): p50 45.678 ms, p99 123.456 ms, max 9876.543 ms",
                "gap (inter-chunk): p50 200.123 ms, p99 123.456 ms, max 9876.543 ms",
                "goodput: 9000 of 10000 streams, 45.6/s",
                "storm 50% 15 s ago: 9876/10000 back, 50% 1.2 s, 95% 12.3 s, peak 12345/s",
                "limited by floodtest: latencies are not the server's alone",
            ]
        );
    }

    #[test]
    fn no_line_is_as_long_as_the_terminal_is_wide_and_colour_can_be_had_or_not() {
        let narrow = Style { columns: 20, is_coloured: false };
        let shown = view(&report(), narrow);
        assert!(shown.lines().all(|line| line.chars().count() < 20), "{shown}");
        let coloured = view(&report(), Style { is_coloured: true, ..PLAIN });
        assert!(coloured.contains("\n\x1b[31mfailed: 8 refused\x1b[0m\n"), "{coloured}");
        assert!(coloured.starts_with("12 s: "), "{coloured}");
    }
}
