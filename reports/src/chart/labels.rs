//! Everything on a chart that is said in words and numbers: title, legend, marks and axes.

use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use super::ChartError;
use super::canvas::Align;
use super::draw::{CONNECTIONS, Chart, INK, LOGS, MEMORY, Panel};
use super::history::Series;
use super::scale::{Scale, grouped};

/// Frames of panels.
const FRAME: RGBColor = RGBColor(150, 150, 150);

/// Lines at round numbers.
const GRID: RGBColor = RGBColor(228, 228, 228);

/// Marks.
const MARK: RGBColor = RGBColor(110, 110, 110);

/// An entry of a legend.
pub(super) struct Entry {
    /// What it says.
    text: String,
    /// The line beside it.
    pen: (RGBColor, u32),
}

impl<DB: DrawingBackend> Chart<'_, DB> {
    /// Draws the title below `top`, and says where it ends.
    pub(super) fn title(&self, title: &str, top: i32) -> Result<i32, ChartError> {
        let (width, size_px) = (self.canvas.size_px().0, even(self.em * 5 / 4));
        let text = self.canvas.fitted(title, width - self.em * 2, size_px)?;
        self.canvas.text(&text, (width / 2, top + size_px / 2), Align::Center, size_px, INK)?;
        Ok(top + size_px + self.em / 2)
    }

    /// What the legend says.
    pub(super) fn entries(&self) -> Vec<Entry> {
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
    pub(super) fn legend(
        &self,
        entries: &[Entry],
        top: i32,
        margin: i32,
    ) -> Result<i32, ChartError> {
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
    pub(super) fn marks(
        &self,
        top: i32,
        upper_bottom: i32,
        lower_ys: (i32, i32),
    ) -> Result<i32, ChartError> {
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

    /// Draws the frame of a panel, and its left axis.
    pub(super) fn frame(
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
        if label.is_empty() {
            return Ok(());
        }
        self.canvas.text_upwards(label, (self.em, i32::midpoint(ys.0, ys.1)), self.em, INK)
    }

    /// Draws the axis of connections.
    pub(super) fn right_axis(
        &self,
        panel: Panel,
        scale: &Scale,
        n_ticks: usize,
    ) -> Result<(), ChartError> {
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
    pub(super) fn time_axis(&self, panel: Panel) -> Result<(), ChartError> {
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

    /// The width of the widest number.
    pub(super) fn widest(&self, numbers: impl Iterator<Item = f64>) -> Result<i32, ChartError> {
        let mut widest = 0;
        for number in numbers {
            widest = widest.max(self.canvas.width_of(&grouped(number), self.em)?);
        }
        Ok(widest)
    }

    /// How many round numbers a panel has room for, and at most `most`.
    pub(super) fn n_ticks(&self, panel: Panel, most: usize) -> usize {
        let room = (panel.ys.1 - panel.ys.0) / (self.em * 2);
        usize::try_from(room).unwrap_or(1).clamp(1, most)
    }
}

/// The even size of text that is not above `size_px`. The library cuts half pixels off towards
/// zero, which at an odd size lifts commas up to look like dots.
pub(super) fn even(size_px: i32) -> i32 {
    size_px / 2 * 2
}

/// The article's title, as far as a log of memory knows it.
pub(super) fn default_title(n_connections: f64) -> String {
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
