//! A chart from top to bottom: title, legend, marks, memory and connections, bytes per connection,
//! time.

use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, Point};
use super::history::{Bucket, Series};
use super::labels::{default_title, even};
use super::per_connection::PerConnection;
use super::scale::{Scale, grouped};
use super::{ChartError, Log, Options};

/// Text.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);

/// Connections, in a chart of one log.
pub(super) const CONNECTIONS: RGBColor = RGBColor(148, 103, 189);

/// Memory of one log: resident, anonymous, kernel. Told apart in print and by the colour-blind.
pub(super) const MEMORY: [(Series, RGBColor, &str); 3] = [
    (Series::Kernel, RGBColor(230, 140, 20), "kernel TCP"),
    (Series::Anon, RGBColor(0, 158, 115), "anonymous"),
    (Series::Rss, RGBColor(0, 90, 180), "RSS"),
];

/// The colours of several logs, and a light one each for their connections.
pub(super) const LOGS: [(RGBColor, RGBColor); 6] = [
    (RGBColor(0, 90, 180), RGBColor(150, 190, 230)),
    (RGBColor(210, 60, 20), RGBColor(240, 175, 150)),
    (RGBColor(0, 140, 100), RGBColor(140, 210, 190)),
    (RGBColor(140, 80, 180), RGBColor(205, 175, 225)),
    (RGBColor(150, 110, 20), RGBColor(220, 200, 140)),
    (RGBColor(90, 90, 90), RGBColor(185, 185, 185)),
];

/// The smallest text: below it a comma and a dot look alike.
const LEAST_EM_PX: i32 = 12;

/// The largest text: a larger chart has more room, not larger words.
const MOST_EM_PX: i32 = 22;

/// A line to draw: where the values of a bucket come from, and how it looks.
struct Curve<'a> {
    /// The buckets, a column of pixels each.
    columns: &'a [Bucket],
    /// Colour and width.
    pen: (RGBColor, u32),
}

/// A panel on the canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// Left and right.
    pub(super) xs: (i32, i32),
    /// Upper and lower edge.
    pub(super) ys: (i32, i32),
}

/// The unit of an axis of memory.
struct Unit {
    /// The axis' label.
    label: &'static str,
    /// KB in one.
    kb: f64,
}

/// A chart in the making.
pub(super) struct Chart<'a, DB: DrawingBackend> {
    /// Where it is drawn.
    pub(super) canvas: &'a Canvas<DB>,
    /// What is drawn.
    pub(super) logs: &'a [Log<'a>],
    /// Size of text.
    pub(super) em: i32,
    /// Time, in seconds.
    pub(super) time: Scale,
}

/// Draws `logs`.
pub(crate) fn chart<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    logs: &[Log<'_>],
    options: &Options,
) -> Result<(), ChartError> {
    let (width, height) = canvas.size_px();
    let em = even((height / 48).min(width / 60).clamp(LEAST_EM_PX, MOST_EM_PX));
    let margin = em * 2 / 3;
    canvas.clear()?;
    let (highest_kb, most) = (highest_memory(logs), highest(logs, Series::Connections));
    let unit = unit_of(highest_kb);
    let mut chart = Chart { canvas, logs, em, time: Scale::new(span_s(logs), 0, width) };
    // From the top down.
    let title = options.title.clone().unwrap_or_else(|| default_title(most));
    let top = chart.title(&title, margin)?;
    let top = chart.legend(&chart.entries(), top, margin)?;
    // From the bottom up.
    let bottom = height - margin - em * 3;
    let lower_top = bottom - (bottom - top) * 3 / 10;
    let has_lower = most > 0.0;
    let upper_bottom = if has_lower { lower_top - em * 2 } else { bottom };
    // From the sides in: the widest label of each axis decides.
    let bytes = chart.highest_bytes();
    let left_labels = Scale::rounded(highest_kb / unit.kb, 0, 1, 5).ticks(5);
    let lower_labels = Scale::rounded(bytes, 0, 1, 2).ticks(2);
    let right_labels = Scale::rounded(most, 0, 1, 5).ticks(5);
    let left_room = chart.widest(left_labels.into_iter().chain(lower_labels))?;
    let right_room = chart.widest(right_labels.into_iter())?;
    let xs = (margin + em * 2 + left_room, width - margin - em * 2 - right_room);
    chart.time = Scale::new(span_s(logs), xs.0, xs.1);
    let marks_bottom = chart.marks(top, upper_bottom, (lower_top, bottom))?;
    let upper = Panel { xs, ys: (marks_bottom, upper_bottom) };
    chart.upper(upper, &unit, highest_kb, most)?;
    if has_lower {
        chart.lower(Panel { xs, ys: (lower_top, bottom) }, bytes)?;
    }
    chart.time_axis(Panel { xs, ys: (marks_bottom, bottom) })?;
    canvas.present()
}

impl<DB: DrawingBackend> Chart<'_, DB> {
    /// Draws memory and connections.
    fn upper(
        &self,
        panel: Panel,
        unit: &Unit,
        highest_kb: f64,
        most: f64,
    ) -> Result<(), ChartError> {
        let n_ticks = self.n_ticks(panel, 5);
        let memory = Scale::rounded(highest_kb / unit.kb, panel.ys.1, panel.ys.0, n_ticks);
        let connections = Scale::rounded(most, panel.ys.1, panel.ys.0, n_ticks);
        self.frame(panel, &memory, n_ticks, unit.label)?;
        self.right_axis(panel, &connections, n_ticks)?;
        for (log, colors) in self.logs.iter().zip(LOGS.iter().cycle()) {
            let columns = &log.history.columns(|at_s| self.time.px(at_s));
            let is_only = self.logs.len() == 1;
            let color = if is_only { CONNECTIONS } else { colors.1 };
            let curve = Curve { columns, pen: (color, 1) };
            self.curve(&curve, &connections, |it| all(it, Series::Connections, 1.0))?;
            for (series, color, _) in MEMORY {
                if is_only || series == Series::Rss {
                    let color = if is_only { color } else { colors.0 };
                    let curve = Curve { columns, pen: (color, 2) };
                    self.curve(&curve, &memory, |it| all(it, series, unit.kb))?;
                }
            }
        }
        Ok(())
    }

    /// Draws bytes per connection.
    fn lower(&self, panel: Panel, highest: f64) -> Result<(), ChartError> {
        let scale = Scale::rounded(highest, panel.ys.1, panel.ys.0, 2);
        self.frame(panel, &scale, 2, "")?;
        let y = panel.ys.0 - self.em;
        let (left, room_px) = (panel.xs.0, panel.xs.1 - panel.xs.0);
        let text = self.canvas.fitted(&self.lower_title(), room_px + self.em * 3, self.em)?;
        self.canvas.text(&text, (left, y), Align::Left, self.em, INK)?;
        for (log, colors) in self.logs.iter().zip(LOGS.iter().cycle()) {
            let columns = &log.history.columns(|at_s| self.time.px(at_s));
            let kinds = if self.logs.len() == 1 { &MEMORY[..] } else { &MEMORY[2..] };
            for (series, color, _) in kinds.iter().filter(|it| it.0 != Series::Anon) {
                let color = if self.logs.len() == 1 { *color } else { colors.0 };
                let curve = Curve { columns, pen: (color, 2) };
                let per = PerConnection::of(log.history, *series);
                self.curve(&curve, &scale, |it| Some([per.bytes(it)?; 4]))?;
            }
        }
        Ok(())
    }

    /// What the lower panel shows: with one log, both terms of the difference and the last figure.
    fn lower_title(&self) -> String {
        let [log] = self.logs else {
            return "Bytes per connection: RSS above that with nobody connected".to_owned();
        };
        let mut text = "Bytes per connection".to_owned();
        for (series, name) in [(Series::Rss, "RSS"), (Series::Kernel, "kernel")] {
            let per = PerConnection::of(log.history, series);
            let columns = log.history.columns(|at_s| self.time.px(at_s));
            let Some(last) = columns.iter().rev().find_map(|it| per.bytes(it)) else { continue };
            let separator = if series == Series::Rss { ": " } else { " · " };
            let last = grouped(last.round());
            let term = match per.empty_kb {
                0.0 => name.to_owned(),
                empty_kb => format!("{name} − {} KB", grouped(empty_kb)),
            };
            text = format!("{text}{separator}{last} ({term})");
        }
        text
    }

    /// The highest figure of the lower panel.
    fn highest_bytes(&self) -> f64 {
        let mut highest = 0.0_f64;
        for log in self.logs {
            let kinds = if self.logs.len() == 1 { &MEMORY[..] } else { &MEMORY[2..] };
            for (series, _, _) in kinds.iter().filter(|it| it.0 != Series::Anon) {
                let per = PerConnection::of(log.history, *series);
                let columns = log.history.columns(|at_s| self.time.px(at_s));
                highest = columns.iter().filter_map(|it| per.bytes(it)).fold(highest, f64::max);
            }
        }
        highest
    }

    /// Draws a curve, broken where samples are missing: through the first, lowest, highest and last
    /// value of each column.
    fn curve(
        &self,
        curve: &Curve<'_>,
        scale: &Scale,
        values: impl Fn(&Bucket) -> Option<[f64; 4]>,
    ) -> Result<(), ChartError> {
        let (color, width_px) = curve.pen;
        let mut points: Vec<Point> = Vec::new();
        for column in curve.columns {
            let values = values(column);
            if column.is_after_gap || values.is_none() {
                self.piece(&mut points, color, width_px)?;
            }
            let Some(values) = values else { continue };
            let (begin, end) = (self.time.px(column.begin_s), self.time.px(column.end_s));
            for (x, value) in [begin, begin, end, end].into_iter().zip(values) {
                let point = (x, scale.px(value));
                if points.last() != Some(&point) {
                    points.push(point);
                }
            }
        }
        self.piece(&mut points, color, width_px)
    }

    /// Draws an unbroken piece of a curve; a single sample is a dot.
    fn piece(
        &self,
        points: &mut Vec<Point>,
        color: RGBColor,
        width_px: u32,
    ) -> Result<(), ChartError> {
        match points.as_slice() {
            [] => {}
            [(x, y)] => self.canvas.block((x - 1, y - 1), (x + 1, y + 1), color)?,
            points => self.canvas.line(points, color, width_px)?,
        }
        points.clear();
        Ok(())
    }
}

/// First, lowest, highest and last value of a series in a bucket, in units of `unit`.
fn all(bucket: &Bucket, series: Series, unit: f64) -> Option<[f64; 4]> {
    let extent = bucket.get(series)?;
    Some([extent.first, extent.low, extent.high, extent.last].map(|value| value / unit))
}

/// The highest value of a series in any log.
fn highest(logs: &[Log<'_>], series: Series) -> f64 {
    logs.iter().filter_map(|log| log.history.highest(series)).fold(0.0, f64::max)
}

/// The highest of all kinds of memory that are drawn.
fn highest_memory(logs: &[Log<'_>]) -> f64 {
    let drawn = if logs.len() == 1 { &MEMORY[..] } else { &MEMORY[2..] };
    drawn.iter().map(|(series, _, _)| highest(logs, *series)).fold(0.0, f64::max)
}

/// The longest log, in seconds.
fn span_s(logs: &[Log<'_>]) -> f64 {
    logs.iter().map(|log| log.history.span_s()).fold(0.0, f64::max)
}

/// The article's unit, and a larger one for larger servers.
fn unit_of(highest_kb: f64) -> Unit {
    /// Numbers of more digits than this are no longer read at a glance.
    const MOST_KB: f64 = 10_000_000.0;
    if highest_kb < MOST_KB {
        Unit { label: "Mem (KB)", kb: 1.0 }
    } else {
        Unit { label: "Mem (MB)", kb: 1024.0 }
    }
}
