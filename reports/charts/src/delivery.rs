//! The chart of delays over time: the median, the 99th percentile and the longest of each interval.

use plotters::style::RGBColor;

use super::canvas::{Canvas, Pen};
use super::log_scale::LogScale;
use super::scale::Scale;
use super::segment::{Segment, last_s, lines};
use super::sheet::{Entry, Mark, Phase, QUIET, Sheet, widest};
use super::{ChartError, Format, Options, drawn};
use reports::latency::LatencySummary;

/// A figure of an interval, its name and its line: the higher, the thinner.
type Figure = (fn(&Delays) -> u64, &'static str, Pen);

/// What is drawn; later lines cover earlier ones.
const FIGURES: [Figure; 3] = [
    (|it| it.max_us, "max", Pen::solid(RGBColor(80, 80, 80), 1)),
    (|it| it.p99_us, "p99", Pen::solid(RGBColor(230, 140, 20), 2)),
    (|it| it.p50_us, "p50", Pen::solid(RGBColor(0, 90, 180), 3)),
];

/// The delays of an interval in which there were any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delays {
    /// When it began, in seconds since the chart's beginning.
    pub begin_s: f64,
    /// When it ended.
    pub end_s: f64,
    /// The median, in microseconds.
    pub p50_us: u64,
    /// 99 % were no longer than this.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Delays {
    /// Of an interval and what was recorded in it. `None` if nothing was: that is a gap.
    pub fn of(begin_s: f64, end_s: f64, summary: &LatencySummary) -> Option<Self> {
        let LatencySummary { p50_us, p99_us, max_us, .. } = *summary;
        (summary.count > 0).then_some(Self { begin_s, end_s, p50_us, p99_us, max_us })
    }
}

/// Delays over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delivery {
    /// Intervals, oldest first. Time between them is a gap in the lines.
    pub intervals: Vec<Delays>,
    /// Phases of the run.
    pub phases: Vec<Phase>,
}

/// Draws delays over time.
pub fn delivery(
    delivery: &Delivery,
    options: &Options,
    format: Format,
) -> Result<Vec<u8>, ChartError> {
    drawn(options, format, |canvas| draw(canvas, delivery, options))
}

/// Draws them.
pub(super) fn draw(canvas: &mut Canvas, delivery: &Delivery, options: &Options) {
    let Delivery { intervals, phases } = delivery;
    let mut sheet =
        Sheet::new(canvas, options.title.as_deref().unwrap_or("Delivery latency over time"));
    sheet.legend(&FIGURES.map(|(_, name, pen)| Entry::new(name, pen)));
    let figures = FIGURES.map(|(figure, _, pen)| {
        let flat = |it: &Delays| Segment::flat(it.begin_s, it.end_s, figure(it) as f64);
        (intervals.iter().map(flat).collect::<Vec<_>>(), pen)
    });
    let values = figures.iter().flat_map(|it| &it.0).map(|it| it.begin);
    let scale = LogScale::around(values);
    // One pixel apart: all labels that there can be.
    let xs = sheet.sides(widest(&scale.along(0, 1_000_000).ticks(1), sheet.em), 0);
    let phases_s = phases.iter().map(|it| it.at_s);
    let span_s = phases_s.fold(last_s(&figures[0].0), f64::max);
    let time = Scale::new(span_s, xs.0, xs.1);
    let marks = Mark::all(phases, span_s, QUIET);
    sheet.phase_names(&marks, &time);
    let panel = sheet.panels(xs, false).0;
    let scale = scale.along(panel.ys.1, panel.ys.0);
    if intervals.is_empty() {
        sheet.frame(panel, &[], "");
        sheet.nothing(panel);
    } else {
        sheet.frame(panel, &scale.ticks(sheet.em * 3 / 2), scale.label());
        sheet.phase_lines(&marks, &time, panel);
        sheet.time_axis(panel, &time);
    }
    for (segments, pen) in &figures {
        for line in lines(segments, &time, |us| scale.px(us)) {
            sheet.canvas.line(&line, *pen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_without_delays_is_no_interval() {
        assert_eq!(Delays::of(1.0, 2.0, &LatencySummary::default()), None);
        let summary = LatencySummary {
            count: 1,
            p50_us: 5,
            p99_us: 6,
            max_us: 7,
            ..LatencySummary::default()
        };
        let expected = Delays { begin_s: 1.0, end_s: 2.0, p50_us: 5, p99_us: 6, max_us: 7 };
        assert_eq!(Delays::of(1.0, 2.0, &summary), Some(expected));
    }
}
