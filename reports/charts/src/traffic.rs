//! The chart of traffic: messages sent and items received a second above, connections below.

use plotters::style::RGBColor;

use super::canvas::{Canvas, Pen};
use super::scale::Scale;
use super::segment::{Segment, highest, last_s, lines};
use super::sheet::{CONNECTIONS, Entry, Mark, Panel, Phase, QUIET, Sheet};
use super::{ChartError, Format, Options, drawn};
use reports::books::{FloodReport, ItemKind, SendReport};

/// Messages sent: wide and light, since where all is well the items are exactly on it.
const MESSAGES: Pen = Pen::solid(RGBColor(245, 190, 110), 4);

/// Items received.
pub(super) const ITEMS: Pen = Pen::solid(RGBColor(0, 90, 180), 1);

/// What went over the connections of a run, and how many there were.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Established connections.
    pub connections: Vec<Segment>,
    /// What is counted of what was received.
    pub item_kind: ItemKind,
    /// Of these, received a second.
    pub items_per_s: Vec<Segment>,
    /// Messages sent a second.
    pub messages_per_s: Vec<Segment>,
    /// Phases of the run.
    pub phases: Vec<Phase>,
}

impl Traffic {
    /// From the reports of the two tools, which began `flood_s` and `send_s` seconds after the
    /// chart does. Of what was received `item_kind` is counted.
    pub fn of(
        flood: (&[FloodReport], f64),
        send: (&[SendReport], f64),
        phases: &[Phase],
        item_kind: ItemKind,
    ) -> Self {
        let of_flood = |count: &dyn Fn(&FloodReport) -> u64| {
            intervals(flood.0, |it| (it.elapsed_s, count(it)))
                .into_iter()
                .map(move |it| it.later(flood.1))
        };
        let of_send = intervals(send.0, |it| (it.elapsed_s, it.sent)).into_iter();
        Self {
            item_kind,
            connections: of_flood(&|it| it.connected).map(Interval::level).collect(),
            items_per_s: of_flood(&|it| it.n_of(item_kind)).map(Interval::rate).collect(),
            messages_per_s: of_send.map(|it| it.later(send.1).rate()).collect(),
            phases: phases.to_vec(),
        }
    }
}

/// A count at the beginning and the end of an interval.
#[derive(Debug, Clone, Copy)]
struct Interval {
    /// When it begins.
    begin_s: f64,
    /// When it ends.
    end_s: f64,
    /// The count at its beginning.
    begin: u64,
    /// The count at its end.
    end: u64,
}

impl Interval {
    /// The same on a clock that is `by_s` ahead.
    fn later(self, by_s: f64) -> Self {
        Self { begin_s: self.begin_s + by_s, end_s: self.end_s + by_s, ..self }
    }

    /// The count itself.
    fn level(self) -> Segment {
        let Self { begin_s, end_s, begin, end } = self;
        Segment { begin_s, end_s, begin: begin as f64, end: end as f64 }
    }

    /// By how much the count grew a second. One that shrinks was begun anew, and stands still here.
    fn rate(self) -> Segment {
        let grown = self.end.saturating_sub(self.begin) as f64;
        Segment::flat(self.begin_s, self.end_s, grown / (self.end_s - self.begin_s))
    }
}

/// The intervals between reports, from nothing at 0 s on.
///
/// A last report comes whenever the run ends. One that is soon after the one before takes its
/// place: a few messages over a few milliseconds would be a rate that never was.
fn intervals<R>(reports: &[R], at: impl Fn(&R) -> (f64, u64)) -> Vec<Interval> {
    /// Of the usual interval.
    const LEAST_PART: f64 = 0.5;
    let times = || std::iter::once(0.0).chain(reports.iter().map(|it| at(it).0));
    let mut lengths: Vec<f64> = times().skip(1).zip(times()).map(|(to, from)| to - from).collect();
    lengths.sort_by(f64::total_cmp);
    let usual_s = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    let mut intervals: Vec<Interval> = Vec::new();
    for (end_s, end) in reports.iter().map(at) {
        let (begin_s, begin) = intervals.last().map_or((0.0, 0), |it| (it.end_s, it.end));
        if end_s - begin_s > 0.0 && end_s - begin_s >= usual_s * LEAST_PART {
            intervals.push(Interval { begin_s, end_s, begin, end });
        } else if let Some(last) = intervals.last_mut() {
            (last.end_s, last.end) = (last.end_s.max(end_s), end);
        }
    }
    intervals
}

/// Draws messages, items and connections over time.
pub fn traffic(
    traffic: &Traffic,
    options: &Options,
    format: Format,
) -> Result<Vec<u8>, ChartError> {
    drawn(options, format, |canvas| draw(canvas, traffic, options))
}

/// Draws them.
pub(super) fn draw(canvas: &mut Canvas, traffic: &Traffic, options: &Options) {
    let Traffic { item_kind, connections, items_per_s, messages_per_s, phases } = traffic;
    let title = format!("Messages, {item_kind} and connections");
    let mut sheet = Sheet::new(canvas, options.title.as_deref().unwrap_or(&title));
    sheet.legend(&[
        Entry::new("messages sent", MESSAGES),
        Entry::new(&format!("{item_kind} received"), ITEMS),
        Entry::new("connections", Pen::solid(CONNECTIONS, 2)),
    ]);
    let (rates, most) = (highest(items_per_s).max(highest(messages_per_s)), highest(connections));
    let xs = sheet.sides(sheet.widest_up_to(rates).max(sheet.widest_up_to(most)), 0);
    let phases_s = phases.iter().map(|it| it.at_s);
    let lasts = [connections, items_per_s, messages_per_s].map(|it| last_s(it));
    let span_s = phases_s.chain(lasts).fold(0.0, f64::max);
    let time = Scale::new(span_s, xs.0, xs.1);
    let marks = Mark::all(phases, span_s, QUIET);
    sheet.phase_names(&marks, &time);
    let (upper, lower) = sheet.panels(xs, true);
    let drawn = [(messages_per_s, MESSAGES), (items_per_s, ITEMS)];
    panel(&mut sheet, upper, &drawn, (&time, &marks), "Per second");
    panel(&mut sheet, lower, &[(connections, Pen::solid(CONNECTIONS, 2))], (&time, &marks), "");
    sheet.heading(lower, &["Established connections".to_owned()]);
    if span_s > 0.0 {
        sheet.time_axis(lower, &time);
    }
}

/// A count of reports that began `later_s` seconds after the chart does, as it was and as it grew a
/// second.
pub(super) fn counted<R>(
    reports: &[R],
    later_s: f64,
    at: impl Fn(&R) -> (f64, u64),
) -> (Vec<Segment>, Vec<Segment>) {
    let intervals = intervals(reports, at).into_iter().map(|it| it.later(later_s));
    intervals.map(|it| (it.level(), it.rate())).unzip()
}

/// Draws a panel with curves over time.
pub(super) fn panel(
    sheet: &mut Sheet<'_>,
    panel: Panel,
    curves: &[(&Vec<Segment>, Pen)],
    (time, marks): (&Scale, &[Mark<'_>]),
    label: &str,
) {
    let n_ticks = sheet.n_ticks(panel);
    let most = curves.iter().map(|it| highest(it.0)).fold(0.0, f64::max);
    let scale = Scale::rounded(most, panel.ys.1, panel.ys.0, n_ticks);
    if curves.iter().all(|it| it.0.is_empty()) {
        sheet.frame(panel, &[], label);
        return sheet.nothing(panel);
    }
    sheet.frame(panel, &scale.ticks(n_ticks), label);
    sheet.phase_lines(marks, time, panel);
    for (segments, pen) in curves {
        for line in lines(segments, time, |value| scale.px(value)) {
            sheet.canvas.line(&line, *pen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates of a tool that reported these times and counts, as (begin, end, rate).
    fn rates(reports: &[(f64, u64)]) -> Vec<(f64, f64, f64)> {
        let report =
            |it: &(f64, u64)| SendReport { elapsed_s: it.0, sent: it.1, ..SendReport::default() };
        let reports: Vec<SendReport> = reports.iter().map(report).collect();
        let traffic = Traffic::of((&[], 0.0), (&reports, 10.0), &[], ItemKind::Chunks);
        traffic.messages_per_s.iter().map(|it| (it.begin_s, it.end_s, it.begin)).collect()
    }

    #[test]
    fn rates_are_differences_over_the_time_that_they_took() {
        assert_eq!(rates(&[]), []);
        assert_eq!(rates(&[(2.0, 100)]), [(10.0, 12.0, 50.0)], "one interval only");
        let irregular = [(1.0, 1_000), (2.0, 1_000), (4.0, 3_000), (4.75, 3_300)];
        let expected =
            [(10.0, 11.0, 1_000.0), (11.0, 12.0, 0.0), (12.0, 14.0, 1_000.0), (14.0, 14.75, 400.0)];
        assert_eq!(rates(&irregular), expected);
    }

    #[test]
    fn a_last_report_that_comes_at_once_makes_no_peak_and_loses_nothing() {
        let expected = [(10.0, 11.0, 1_000.0), (11.0, 12.25, 1_600.0)];
        assert_eq!(rates(&[(1.0, 1_000), (2.0, 2_000), (2.25, 3_000)]), expected);
        assert_eq!(
            rates(&[(1.0, 1_000), (1.0, 1_100)]),
            [(10.0, 11.0, 1_100.0)],
            "at the same time"
        );
        assert_eq!(rates(&[(0.0, 7)]), [], "no time has passed");
    }

    #[test]
    fn a_count_that_begins_anew_stands_still() {
        assert_eq!(rates(&[(1.0, 500), (2.0, 100)]), [(10.0, 11.0, 500.0), (11.0, 12.0, 0.0)]);
    }

    #[test]
    fn connections_are_drawn_from_report_to_report() {
        let report =
            |elapsed_s, connected| FloodReport { elapsed_s, connected, ..FloodReport::default() };
        let reports = [report(1.0, 100), report(2.0, 80)];
        let traffic = Traffic::of((&reports, 5.0), (&[], 0.0), &[], ItemKind::Chunks);
        let expected = [
            Segment { begin_s: 5.0, end_s: 6.0, begin: 0.0, end: 100.0 },
            Segment { begin_s: 6.0, end_s: 7.0, begin: 100.0, end: 80.0 },
        ];
        assert_eq!(traffic.connections, expected);
    }
}
