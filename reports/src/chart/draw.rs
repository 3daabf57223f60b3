//! A chart from top to bottom: title, legend, marks, memory and connections, bytes per connection,
//! time.

use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, Point};
use super::history::{Bucket, History, Series};
use super::scale::{Scale, grouped};
use super::{ChartError, Log, Options};
use crate::memory_log::bytes_per_connection;

/// Text.
const INK: RGBColor = RGBColor(40, 40, 40);

/// Frames of panels.
const FRAME: RGBColor = RGBColor(150, 150, 150);

/// Lines at round numbers.
const GRID: RGBColor = RGBColor(228, 228, 228);

/// Marks.
const MARK: RGBColor = RGBColor(110, 110, 110);

/// Connections, in a chart of one log.
const CONNECTIONS: RGBColor = RGBColor(148, 103, 189);

/// Memory of one log: resident, anonymous, kernel. Told apart in print and by the colour-blind.
const MEMORY: [(Series, RGBColor, &str); 3] = [
    (Series::Kernel, RGBColor(230, 140, 20), "kernel TCP"),
    (Series::Anon, RGBColor(0, 158, 115), "anonymous"),
    (Series::Rss, RGBColor(0, 90, 180), "RSS"),
];

/// The colours of several logs, and a light one each for their connections.
const LOGS: [(RGBColor, RGBColor); 6] = [
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

/// Bytes per connection say nothing while there are less than this part of the most connections:
/// what the server needs by itself would be divided by a handful.
const LEAST_PART: f64 = 0.1;

/// A line to draw: where the values of a bucket come from, and how it looks.
struct Curve<'a> {
    /// The buckets, a column of pixels each.
    columns: &'a [Bucket],
    /// Colour and width.
    pen: (RGBColor, u32),
}

/// A panel on the canvas.
#[derive(Debug, Clone, Copy)]
struct Panel {
    /// Left and right.
    xs: (i32, i32),
    /// Upper and lower edge.
    ys: (i32, i32),
}

/// An entry of a legend.
struct Entry {
    /// What it says.
    text: String,
    /// The line beside it.
    pen: (RGBColor, u32),
}

/// The unit of an axis of memory.
struct Unit {
    /// The axis' label.
    label: &'static str,
    /// KB in one.
    kb: f64,
}

/// A chart in the making.
struct Chart<'a, DB: DrawingBackend> {
    /// Where it is drawn.
    canvas: &'a Canvas<DB>,
    /// What is drawn.
    logs: &'a [Log<'a>],
    /// Size of text.
    em: i32,
    /// Time, in seconds.
    time: Scale,
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
    /// Draws the title below `top`, and says where it ends.
    fn title(&self, title: &str, top: i32) -> Result<i32, ChartError> {
        let (width, size_px) = (self.canvas.size_px().0, even(self.em * 5 / 4));
        let text = self.canvas.fitted(title, width - self.em * 2, size_px)?;
        self.canvas.text(&text, (width / 2, top + size_px / 2), Align::Center, size_px, INK)?;
        Ok(top + size_px + self.em / 2)
    }

    /// What the legend says.
    fn entries(&self) -> Vec<Entry> {
        let entry = |text: &str, pen| Entry { text: text.to_owned(), pen };
        if let [log] = self.logs {
            let of = |(series, color, text): &(Series, RGBColor, &str)| {
                log.history.highest(*series).map(|_| entry(text, (*color, 2)))
            };
            let mut entries: Vec<Entry> = MEMORY.iter().rev().filter_map(of).collect();
            entries.push(entry("connections (right)", (CONNECTIONS, 1)));
            return entries;
        }
        let colors = LOGS.iter().cycle();
        let mut entries: Vec<Entry> =
            self.logs.iter().zip(colors).map(|(log, it)| entry(log.label, (it.0, 2))).collect();
        entries.push(entry("thin: connections (right)", (LOGS[5].1, 1)));
        entries
    }

    /// Draws a legend below `top`, in as many rows as it needs, and says where it ends.
    fn legend(&self, entries: &[Entry], top: i32, margin: i32) -> Result<i32, ChartError> {
        let (em, width) = (self.em, self.canvas.size_px().0 - 2 * margin);
        let sample_px = em * 2;
        let row_px = em * 3 / 2;
        let mut rows: Vec<Vec<(String, &Entry, i32)>> = vec![Vec::new()];
        let mut used_px = 0;
        for entry in entries {
            let text = self.canvas.fitted(&entry.text, width - sample_px - em, em)?;
            let entry_px = sample_px + self.canvas.width_of(&text, em)? + em * 3 / 2;
            if used_px > 0 && used_px + entry_px > width {
                rows.push(Vec::new());
                used_px = 0;
            }
            used_px += entry_px;
            let row = rows.last_mut().expect("there is always a row");
            row.push((text, entry, entry_px));
        }
        for (at, row) in (0..).zip(&rows) {
            let row_width: i32 = row.iter().map(|(_, _, entry_px)| entry_px).sum();
            let mut x = margin + i32::midpoint(width - row_width, em);
            let y = top + at * row_px + row_px / 2;
            for (text, entry, entry_px) in row {
                let (color, pen_px) = entry.pen;
                self.canvas.line(&[(x, y), (x + sample_px - em / 2, y)], color, pen_px)?;
                self.canvas.text(text, (x + sample_px, y), Align::Left, em, INK)?;
                x += entry_px;
            }
        }
        let n_rows = i32::try_from(rows.len()).unwrap_or(1);
        Ok(top + n_rows * row_px + em / 2)
    }

    /// Draws the marks' names below `top`, and their lines through both panels; says where the
    /// names end. A name that finds no free place in three rows is left out; its line is there.
    fn marks(&self, top: i32, upper_bottom: i32, lower_ys: (i32, i32)) -> Result<i32, ChartError> {
        const MOST_ROWS: usize = 3;
        let (em, [log]) = (self.em, self.logs) else { return Ok(top) };
        let row_px = em * 5 / 4;
        let (left, right) = (self.time.px(0.0), self.time.px(f64::MAX));
        let room_px = (right - left) * 2 / 5;
        let mut phases: Vec<_> = log.history.phases().iter().collect();
        phases.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let mut ends = [left - em; MOST_ROWS];
        let mut placed: Vec<(String, i32, usize)> = Vec::new();
        for phase in &phases {
            let text = self.canvas.fitted(&phase.text, room_px, em)?;
            let text_px = self.canvas.width_of(&text, em)?;
            let x = (self.time.px(phase.at_s) + em / 4).min(right - text_px);
            if let Some(row) = ends.iter().position(|end| *end + em / 2 <= x) {
                ends[row] = x + text_px;
                placed.push((text, x, row));
            }
        }
        let n_rows = placed.iter().map(|(_, _, row)| row + 1).max().unwrap_or(0);
        let bottom = (top + i32::try_from(n_rows).unwrap_or(0) * row_px).min(upper_bottom - em);
        for phase in &phases {
            self.canvas.dashes(self.time.px(phase.at_s), (bottom, upper_bottom), MARK)?;
            self.canvas.dashes(self.time.px(phase.at_s), lower_ys, MARK)?;
        }
        for (text, x, row) in placed {
            let y = top + i32::try_from(row).unwrap_or(0) * row_px + row_px / 2;
            self.canvas.text(&text, (x, y), Align::Left, em, MARK)?;
        }
        Ok(bottom)
    }

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

    /// Draws the frame of a panel, and its left axis.
    fn frame(
        &self,
        panel: Panel,
        scale: &Scale,
        n_ticks: usize,
        label: &str,
    ) -> Result<(), ChartError> {
        let Panel { xs, ys } = panel;
        for tick in scale.ticks(n_ticks) {
            let y = scale.px(tick);
            if y < ys.1 {
                self.canvas.line(&[(xs.0, y), (xs.1, y)], GRID, 1)?;
            }
            self.canvas.text(
                &grouped(tick),
                (xs.0 - self.em / 2, y),
                Align::Right,
                self.em,
                INK,
            )?;
        }
        self.canvas.outline((xs.0, ys.0), (xs.1, ys.1), FRAME)?;
        self.canvas.text_upwards(label, (self.em, i32::midpoint(ys.0, ys.1)), self.em, INK)
    }

    /// Draws the axis of connections.
    fn right_axis(&self, panel: Panel, scale: &Scale, n_ticks: usize) -> Result<(), ChartError> {
        let Panel { xs, ys } = panel;
        let color = if self.logs.len() == 1 { CONNECTIONS } else { INK };
        for tick in scale.ticks(n_ticks) {
            let y = scale.px(tick);
            self.canvas.line(&[(xs.1, y), (xs.1 + self.em / 4, y)], FRAME, 1)?;
            let at = (xs.1 + self.em / 2, y);
            self.canvas.text(&grouped(tick), at, Align::Left, self.em, color)?;
        }
        let at = (self.canvas.size_px().0 - self.em, i32::midpoint(ys.0, ys.1));
        self.canvas.text_upwards("Connections", at, self.em, color)
    }

    /// Draws the axis of time below `panel`.
    fn time_axis(&self, panel: Panel) -> Result<(), ChartError> {
        let (label, unit_s) = match self.time.highest {
            span_s if span_s <= 180.0 => ("Seconds Elapsed", 1.0),
            span_s if span_s <= 26.0 * 3_600.0 => ("Minutes Elapsed", 60.0),
            span_s if span_s <= 240.0 * 3_600.0 => ("Hours Elapsed", 3_600.0),
            _ => ("Days Elapsed", 86_400.0),
        };
        let Panel { xs, ys } = panel;
        let time = Scale::new(self.time.highest / unit_s, xs.0, xs.1);
        let n_ticks = usize::try_from((xs.1 - xs.0) / (self.em * 7)).unwrap_or(2).clamp(2, 12);
        for tick in time.ticks(n_ticks) {
            let x = time.px(tick);
            self.canvas.line(&[(x, ys.1), (x, ys.1 + self.em / 4)], FRAME, 1)?;
            let at = (x, ys.1 + self.em);
            self.canvas.text(&grouped(tick), at, Align::Center, self.em, INK)?;
        }
        let at = (i32::midpoint(xs.0, xs.1), ys.1 + self.em * 9 / 4);
        self.canvas.text(label, at, Align::Center, self.em, INK)
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

    /// The width of the widest number.
    fn widest(&self, numbers: impl Iterator<Item = f64>) -> Result<i32, ChartError> {
        let mut widest = 0;
        for number in numbers {
            widest = widest.max(self.canvas.width_of(&grouped(number), self.em)?);
        }
        Ok(widest)
    }

    /// How many round numbers a panel has room for, and at most `most`.
    fn n_ticks(&self, panel: Panel, most: usize) -> usize {
        let room = (panel.ys.1 - panel.ys.0) / (self.em * 2);
        usize::try_from(room).unwrap_or(1).clamp(1, most)
    }
}

/// What one connection costs, in one kind of memory of one log.
struct PerConnection {
    /// The kind.
    series: Series,
    /// What is there with nobody connected. 0 when the log does not say.
    empty_kb: f64,
    /// The fewest connections that say something.
    fewest: f64,
}

impl PerConnection {
    /// For a log and a kind of memory.
    fn of(history: &History, series: Series) -> Self {
        let most = history.highest(Series::Connections).unwrap_or(0.0);
        let fewest = (most * LEAST_PART).max(1.0);
        Self { series, empty_kb: history.empty_kb(series).unwrap_or(0.0), fewest }
    }

    /// At the end of a bucket.
    fn bytes(&self, bucket: &Bucket) -> Option<f64> {
        let n_connections = bucket.get(Series::Connections)?.last;
        let kb = bucket.get(self.series)?.last;
        (n_connections >= self.fewest).then_some(())?;
        bytes_per_connection(kb, self.empty_kb, n_connections).map(|bytes| bytes.max(0.0))
    }
}

/// The even size of text that is not above `size_px`. The library cuts half pixels off towards
/// zero, which at an odd size lifts commas up to look like dots.
fn even(size_px: i32) -> i32 {
    size_px / 2 * 2
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

/// The article's title, as far as a log of memory knows it.
fn default_title(n_connections: f64) -> String {
    let rounded = (n_connections / 1_000.0).round();
    let n = match n_connections {
        0.0 => return "Mem usage".to_owned(),
        n if n >= 10_000.0 && (n / 1_000.0 - rounded).abs() < 0.05 => format!("{rounded:.0}k"),
        n => grouped(n),
    };
    format!("Mem usage with {n} active connections")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_is_the_articles() {
        assert_eq!(default_title(10_001.0), "Mem usage with 10k active connections");
        assert_eq!(default_title(9_836.0), "Mem usage with 9,836 active connections");
        assert_eq!(default_title(0.0), "Mem usage");
    }
}
