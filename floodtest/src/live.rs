//! What a terminal shows while a run goes on.

use reports::books::FloodReport;

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
    if report.waiting > 0 {
        lines.push(good(format!("{} wait for a response head", report.waiting)));
    }
    let (now, all) = (&recent.delivery_from_due, &report.delivery_from_due);
    if all.count > 0 {
        let ms = |us: u64| us as f64 / 1_000.0;
        lines.push(good(match now.count {
            0 => "delivery_from_due now: none".to_owned(),
            _ => format!(
                "delivery_from_due now: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
                ms(now.p50_us),
                ms(now.p99_us),
                ms(now.max_us)
            ),
        }));
        let (p99_ms, max_ms) = (ms(all.p99_us), ms(all.max_us));
        lines.push(good(format!(
            "delivery_from_due so far: p99 {p99_ms:.3} ms, max {max_ms:.3} ms"
        )));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use reports::books::{ItemKind, Recent};
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
    fn no_line_is_as_long_as_the_terminal_is_wide_and_colour_can_be_had_or_not() {
        let narrow = Style { columns: 20, is_coloured: false };
        let shown = view(&report(), narrow);
        assert!(shown.lines().all(|line| line.chars().count() < 20), "{shown}");
        let coloured = view(&report(), Style { is_coloured: true, ..PLAIN });
        assert!(coloured.contains("\n\x1b[31mfailed: 8 refused\x1b[0m\n"), "{coloured}");
        assert!(coloured.starts_with("12 s: "), "{coloured}");
    }
}
