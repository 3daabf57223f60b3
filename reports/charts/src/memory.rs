//! The chart of memory: memory and connections above, bytes per connection below.

use plotters::style::RGBColor;

use super::canvas::{Canvas, Pen, Point};
use super::history::{Bucket, Series};
use super::per_connection::PerConnection;
use super::scale::{Scale, grouped};
use super::sheet::{CONNECTIONS, Entry, INK, Mark, Panel, QUIET, Sheet};
use super::{Log, Options, RUNS};

/// A kind of memory, its line and its name.
type Kind = (Series, Pen, &'static str);

/// Memory of one log. Told apart by the colour-blind, and by their dashes without colours.
const MEMORY: [Kind; 4] = [
    (
        Series::Kernel,
        Pen { color: RGBColor(230, 140, 20), width_px: 2, dash: &[9, 3] },
        "kernel TCP",
    ),
    (
        Series::Pss,
        Pen { color: RGBColor(200, 80, 140), width_px: 2, dash: &[12, 4, 2, 4] },
        "PSS, shared pages counted once",
    ),
    (Series::Anon, Pen { color: RGBColor(0, 158, 115), width_px: 2, dash: &[3, 3] }, "anonymous"),
    (Series::Rss, Pen::solid(RGBColor(0, 90, 180), 2), "RSS"),
];

/// A line to draw: where the values of a bucket come from, and how it looks.
struct Curve<'a> {
    /// The buckets, a column of pixels each.
    columns: &'a [Bucket],
    /// How it looks.
    pen: Pen,
}

/// The unit of an axis of memory.
struct Unit {
    /// The axis' label.
    label: &'static str,
    /// KB in one.
    kb: f64,
}

/// A chart in the making.
struct Chart<'a> {
    /// Where it is drawn.
    sheet: Sheet<'a>,
    /// What is drawn.
    logs: &'a [Log<'a>],
    /// Time, in seconds.
    time: Scale,
}

/// Draws `logs`.
pub(super) fn chart(canvas: &mut Canvas, logs: &[Log<'_>], options: &Options) {
    let (highest_kb, most) = (highest_memory(logs), highest(logs, Series::Connections));
    let unit = unit_of(highest_kb);
    let title = options.title.clone().unwrap_or_else(|| default_title(most));
    // From the top down.
    let mut sheet = Sheet::new(canvas, &title);
    sheet.legend(&entries(logs));
    // From the sides in: the widest label of each axis decides.
    let bytes = highest_bytes(logs);
    let left_px = sheet.widest_up_to(highest_kb / unit.kb).max(sheet.widest_up_to(bytes));
    let xs = sheet.sides(left_px, sheet.widest_up_to(most));
    let time = Scale::new(span_s(logs), xs.0, xs.1);
    let marks = marks(logs, &time, sheet.em);
    sheet.phase_names(&marks, &time);
    // From the bottom up.
    let has_lower = most > 0.0;
    let (upper, lower) = sheet.panels(xs, has_lower);
    sheet.phase_lines(&marks, &time, upper);
    let mut chart = Chart { sheet, logs, time };
    chart.upper(upper, &unit, highest_kb, most);
    if has_lower {
        chart.sheet.phase_lines(&marks, &time, lower);
        chart.lower(lower, bytes);
    }
    chart.sheet.time_axis(lower, &time);
}

/// Connections that are within this part of a panel's height of some memory get another axis: the
/// highest memory is a peak, and the line of the rest runs a little below it.
const PARTS_NEAR: i32 = 30;

impl Chart<'_> {
    /// Draws memory and connections.
    fn upper(&mut self, panel: Panel, unit: &Unit, highest_kb: f64, most: f64) {
        let n_ticks = self.sheet.n_ticks(panel);
        let memory = Scale::rounded(highest_kb / unit.kb, panel.ys.1, panel.ys.0, n_ticks);
        let mut connections = Scale::rounded(most, panel.ys.1, panel.ys.0, n_ticks);
        let near_px = (panel.ys.1 - panel.ys.0).abs() / PARTS_NEAR;
        if self.is_covered(connections.px(most), near_px, |kb| memory.px(kb / unit.kb)) {
            connections = Scale::rounded(connections.highest, panel.ys.1, panel.ys.0, n_ticks);
        }
        let is_only = self.logs.len() == 1;
        let color = if is_only { CONNECTIONS } else { INK };
        if self.logs.iter().all(|log| log.history.n_samples() == 0) {
            self.sheet.frame(panel, &[], unit.label);
            return self.sheet.nothing(panel);
        }
        self.sheet.frame(panel, &memory.ticks(n_ticks), unit.label);
        self.sheet.right_axis(panel, &connections.ticks(n_ticks), "Connections", color);
        for (log, colors) in self.logs.iter().zip(RUNS.iter().cycle()) {
            let columns = &log.history.columns(|at_s| self.time.px(at_s));
            let color = if is_only { CONNECTIONS } else { colors.1 };
            let mut drawn = vec![(Series::Connections, Pen::solid(color, 1), &connections, 1.0)];
            if is_only {
                let kinds = kinds(self.logs);
                drawn.extend(kinds.map(|(series, pen, _)| (*series, *pen, &memory, unit.kb)));
                // A thin line over wide ones, which it may well coincide with.
                drawn.rotate_left(1);
            } else {
                drawn.push((Series::Rss, Pen::solid(colors.0, 2), &memory, unit.kb));
            }
            for (series, pen, scale, unit) in drawn {
                if series == Series::Pss {
                    self.readings(&Curve { columns, pen }, scale, unit);
                } else {
                    self.curve(&Curve { columns, pen }, scale, |it| all(it, series, unit));
                }
            }
        }
    }

    /// Whether the most connections, at height `y`, are within `near_px` of some memory at its
    /// highest.
    fn is_covered(&self, y: i32, near_px: i32, px: impl Fn(f64) -> i32) -> bool {
        let highest = |log: &Log<'_>| MEMORY.map(|(series, ..)| log.history.highest(series));
        let mut all = self.logs.iter().flat_map(highest).flatten();
        all.any(|kb| (px(kb) - y).abs() <= near_px)
    }

    /// Draws bytes per connection.
    fn lower(&mut self, panel: Panel, highest: f64) {
        let n_ticks = self.sheet.n_ticks(panel).min(2);
        let scale = Scale::rounded(highest, panel.ys.1, panel.ys.0, n_ticks);
        self.sheet.frame(panel, &scale.ticks(n_ticks), "");
        let headings = self.headings();
        self.sheet.heading(panel, &headings);
        for (log, colors) in self.logs.iter().zip(RUNS.iter().cycle()) {
            let columns = &log.history.columns(|at_s| self.time.px(at_s));
            for (series, pen, _) in per_connection(self.logs) {
                let pen = if self.logs.len() == 1 { *pen } else { Pen::solid(colors.0, 2) };
                let curve = Curve { columns, pen };
                let per = PerConnection::of(log.history, *series);
                self.curve(&curve, &scale, |it| Some([per.bytes(it)?; 4]));
            }
        }
    }

    /// What the lower panel shows, at length and in short: with one log, the last figures, at
    /// length with both terms of the difference.
    fn headings(&self) -> [String; 2] {
        let what = "Bytes per connection";
        let [log] = self.logs else {
            return [format!("{what}: RSS above that with nobody connected"), what.to_owned()];
        };
        let mut headings = [what.to_owned(), what.to_owned()];
        let rss = if log.history.n_processes() > 1 { "sum of RSS" } else { "RSS" };
        for (series, name) in [(Series::Rss, rss), (Series::Kernel, "kernel")] {
            let per = PerConnection::of(log.history, series);
            let columns = log.history.columns(|at_s| self.time.px(at_s));
            let Some(last) = columns.iter().rev().find_map(|it| per.bytes(it)) else { continue };
            let separator = if series == Series::Rss { ": " } else { " · " };
            let last = grouped(last.round());
            let term = match per.empty_kb {
                0.0 => name.to_owned(),
                empty_kb => format!("{name} − {} KB", grouped(empty_kb)),
            };
            headings[0] = format!("{}{separator}{last} ({term})", headings[0]);
            headings[1] = format!("{}{separator}{last} ({name})", headings[1]);
        }
        headings
    }

    /// Draws the PSS, in units of `unit`: a block for each reading, and a line from one to the
    /// next. They are many samples apart, whether some of these are missing or not: the line says
    /// no more than which reading follows which.
    fn readings(&mut self, curve: &Curve<'_>, scale: &Scale, unit: f64) {
        /// From the middle of a block to its edge.
        const HALF_PX: i32 = 2;
        let of = |it: &Bucket| {
            let value = it.get(Series::Pss)?.last / unit;
            Some((self.time.px(it.end_s), scale.px(value)))
        };
        let points: Vec<Point> = curve.columns.iter().filter_map(of).collect();
        for (x, y) in &points {
            let (from, to) = ((x - HALF_PX, y - HALF_PX), (x + HALF_PX, y + HALF_PX));
            self.sheet.canvas.block(from, to, curve.pen.color);
        }
        self.sheet.canvas.line(&points, curve.pen);
    }

    /// Draws a curve, broken where samples are missing: through the first, lowest, highest and last
    /// value of each column.
    fn curve(
        &mut self,
        curve: &Curve<'_>,
        scale: &Scale,
        values: impl Fn(&Bucket) -> Option<[f64; 4]>,
    ) {
        let mut points: Vec<Point> = Vec::new();
        for column in curve.columns {
            let values = values(column);
            if column.is_after_gap || values.is_none() {
                self.sheet.canvas.line(&std::mem::take(&mut points), curve.pen);
            }
            let Some(values) = values else { continue };
            let (begin, end) = (self.time.px(column.begin_s), self.time.px(column.end_s));
            for (x, value) in [begin, begin, end, end].into_iter().zip(values) {
                points.push((x, scale.px(value)));
            }
        }
        self.sheet.canvas.line(&points, curve.pen);
    }
}

/// What the legend says.
fn entries(logs: &[Log<'_>]) -> Vec<Entry> {
    if let [log] = logs {
        let of = |(series, pen, text): &Kind| {
            log.history.highest(*series)?;
            Some(match (series, log.history.n_processes()) {
                (Series::Rss, n) if n > 1 => Entry::new(&sum_of_rss(n), *pen),
                _ => Entry::new(text, *pen),
            })
        };
        let mut entries: Vec<Entry> = kinds(logs).rev().filter_map(of).collect();
        entries.push(Entry::new(&connections(log.history.ports()), Pen::solid(CONNECTIONS, 1)));
        return entries;
    }
    let logs = logs.iter().zip(RUNS.iter().cycle());
    let label = |log: &Log<'_>| match log.history.n_processes() {
        n if n > 1 => format!("{}: {}", log.label, sum_of_rss(n)),
        _ => log.label.to_owned(),
    };
    let mut entries: Vec<Entry> =
        logs.map(|(log, it)| Entry::new(&label(log), Pen::solid(it.0, 2))).collect();
    entries.push(Entry::new("thin: connections (right)", Pen::solid(RUNS[5].1, 1)));
    entries
}

/// What the RSS of several processes is. It is no amount of memory that anybody could free: forked
/// workers have most of their pages in common, and each of them counts these.
fn sum_of_rss(n_processes: usize) -> String {
    format!("RSS, sum of {n_processes} processes, shared pages counted in each")
}

/// What the curve of connections counts. Several ports are a sum, which is said: one of them may
/// be a door that the reader does not mean.
fn connections(ports: &[u16]) -> String {
    match ports {
        [] => "connections (right)".to_owned(),
        [one, other] => format!("connections on {one} + {other} (right)"),
        ports => format!("connections on {} ports (right)", ports.len()),
    }
}

/// The phases of all logs. With several, each has the colour of its log; where logs agree on one,
/// to within a letter's width, it is drawn once and has the colour of none.
fn marks<'a>(logs: &[Log<'a>], time: &Scale, em: i32) -> Vec<Mark<'a>> {
    let mut marks: Vec<Mark<'a>> = Vec::new();
    for (log, colors) in logs.iter().zip(RUNS.iter().cycle()) {
        let color = if logs.len() == 1 { QUIET } else { colors.0 };
        for mark in Mark::all(log.history.phases(), log.history.span_s(), color) {
            let is_same = |it: &&mut Mark<'_>| {
                let is_near = (time.px(it.at_s) - time.px(mark.at_s)).abs() <= em / 2;
                is_near && it.text == mark.text && it.color != color
            };
            match marks.iter_mut().find(is_same) {
                Some(same) => same.color = QUIET,
                None => marks.push(mark),
            }
        }
    }
    marks
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
    kinds(logs).map(|(series, _, _)| highest(logs, *series)).fold(0.0, f64::max)
}

/// The kinds of memory that are drawn: of several logs only the RSS, so that the lines can be told
/// apart. The PSS of one process is a little less than its RSS, and a second line beside that.
fn kinds(logs: &[Log<'_>]) -> impl DoubleEndedIterator<Item = &'static Kind> {
    let is_one = logs.len() == 1;
    let is_sum = logs.iter().any(|log| log.history.n_processes() > 1);
    MEMORY.iter().filter(move |(series, ..)| match series {
        Series::Rss => true,
        Series::Pss => is_one && is_sum,
        _ => is_one,
    })
}

/// The kinds of memory that the lower panel shows.
fn per_connection(logs: &[Log<'_>]) -> impl Iterator<Item = &'static Kind> {
    kinds(logs).filter(|it| matches!(it.0, Series::Rss | Series::Kernel))
}

/// The highest figure of the lower panel.
fn highest_bytes(logs: &[Log<'_>]) -> f64 {
    /// As many columns as a chart can have, so that no panel shows a figure above this one.
    const COLUMNS: i32 = 1 << 20;
    let time = Scale::new(span_s(logs), 0, COLUMNS);
    let mut highest = 0.0_f64;
    for log in logs {
        for (series, _, _) in per_connection(logs) {
            let per = PerConnection::of(log.history, *series);
            let columns = log.history.columns(|at_s| time.px(at_s));
            highest = columns.iter().filter_map(|it| per.bytes(it)).fold(highest, f64::max);
        }
    }
    highest
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

    #[test]
    fn a_sum_over_ports_is_called_one() {
        assert_eq!(connections(&[]), "connections (right)");
        assert_eq!(connections(&[8000, 8001]), "connections on 8000 + 8001 (right)");
        assert_eq!(connections(&[1, 2, 3]), "connections on 3 ports (right)");
    }
}
