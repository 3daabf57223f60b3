//! What all charts share: title, legend, phases, panels and their axes.

use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, Pen, fitted, width_of};
use super::scale::{Scale, Tick};

/// Text.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);

/// Established connections, in every chart of one run.
pub(super) const CONNECTIONS: RGBColor = RGBColor(148, 103, 189);

/// Frames of panels.
const FRAME: RGBColor = RGBColor(150, 150, 150);

/// Lines at round numbers.
const GRID: RGBColor = RGBColor(228, 228, 228);

/// Phases, and what is not there.
pub(super) const QUIET: RGBColor = RGBColor(110, 110, 110);

/// The line where a phase begins.
const PHASE: Pen = Pen { color: QUIET, width_px: 1, dash: &[3, 2] };

/// The smallest text: below it a comma and a dot look alike.
const LEAST_EM_PX: i32 = 12;

/// The largest text: a larger chart has more room, not larger words.
const MOST_EM_PX: i32 = 22;

/// The most round numbers beside an axis.
pub(super) const MOST_TICKS: usize = 5;

/// A phase that begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// When, in seconds since the chart's beginning.
    pub at_s: f64,
    /// What it is called.
    pub text: String,
}

/// A phase as it is drawn.
pub(super) struct Mark<'a> {
    /// When it begins.
    pub(super) at_s: f64,
    /// When the next one does.
    pub(super) end_s: f64,
    /// What it is called.
    pub(super) text: &'a str,
    /// Its colour.
    pub(super) color: RGBColor,
}

impl<'a> Mark<'a> {
    /// The phases of one run, which lasted `span_s`.
    pub(super) fn all(phases: &'a [Phase], span_s: f64, color: RGBColor) -> Vec<Self> {
        let next = |at_s: f64| phases.iter().map(|it| it.at_s).filter(move |it| *it > at_s);
        let end_s = |at_s: f64| next(at_s).fold(span_s.max(at_s), f64::min);
        let mark = |Phase { at_s, text }: &'a Phase| {
            let (at_s, end_s) = (*at_s, end_s(*at_s));
            Mark { at_s, end_s, text, color }
        };
        phases.iter().map(mark).collect()
    }
}

/// The name of a phase above a panel.
struct Name {
    /// Its row, from the uppermost.
    row: i32,
    /// Where it begins.
    from: i32,
    /// Where the next one may begin.
    to: i32,
    /// What it says.
    text: String,
    /// Its colour.
    color: RGBColor,
}

impl Name {
    /// It in the uppermost of `n_rows` where none of `others` is in its way. `None`: in all of
    /// them one is.
    fn in_free_row(self, others: &[Self], n_rows: i32) -> Option<Self> {
        let is_free = |row: &i32| {
            let mut in_row = others.iter().filter(|it| it.row == *row);
            in_row.all(|it| self.to <= it.from || it.to <= self.from)
        };
        let row = (0..n_rows).find(is_free)?;
        Some(Self { row, ..self })
    }
}

/// An entry of a legend.
pub(super) struct Entry {
    /// What it says.
    pub(super) text: String,
    /// The line beside it.
    pub(super) pen: Pen,
}

impl Entry {
    /// An entry.
    pub(super) fn new(text: &str, pen: Pen) -> Self {
        Self { text: text.to_owned(), pen }
    }
}

/// A panel on the canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// Left and right.
    pub(super) xs: (i32, i32),
    /// Upper and lower edge.
    pub(super) ys: (i32, i32),
}

/// A canvas with its measures.
pub(super) struct Sheet<'a> {
    /// Where it is drawn.
    pub(super) canvas: &'a mut Canvas,
    /// Height of a line of text.
    pub(super) em: i32,
    /// What is left free at the edges.
    pub(super) margin: i32,
    /// The lower edge of what has been drawn from the top down.
    pub(super) top: i32,
}

impl<'a> Sheet<'a> {
    /// A sheet that begins with a title.
    pub(super) fn new(canvas: &'a mut Canvas, title: &str) -> Self {
        let (width, height) = canvas.size_px;
        let em = even((height / 48).min(width / 60).clamp(LEAST_EM_PX, MOST_EM_PX));
        let margin = em * 2 / 3;
        let size_px = even(em * 5 / 4);
        let title = fitted(title, width - em * 2, size_px);
        canvas.text(&title, (width / 2, margin + size_px / 2), Align::Center, size_px, INK);
        Self { canvas, em, margin, top: margin + size_px + em / 2 }
    }

    /// Where the lowest panel ends: below it are the numbers and the name of its axis.
    pub(super) fn bottom(&self) -> i32 {
        self.canvas.size_px.1 - self.margin - self.em * 3
    }

    /// Left and right of panels that have labels of this width at their sides.
    pub(super) fn sides(&self, left_px: i32, right_px: i32) -> (i32, i32) {
        let edge = self.margin + self.em * 2;
        (edge + left_px, self.canvas.size_px.0 - edge - right_px)
    }

    /// The upper and the lower panel below what has been drawn so far. Without a lower one, both
    /// are the same.
    pub(super) fn panels(&self, xs: (i32, i32), has_lower: bool) -> (Panel, Panel) {
        let bottom = self.bottom();
        let whole = Panel { xs, ys: (self.top, bottom) };
        if !has_lower {
            return (whole, whole);
        }
        let lower_top = bottom - (bottom - self.top) * 3 / 10;
        (
            Panel { xs, ys: (self.top, lower_top - self.em * 2) },
            Panel { xs, ys: (lower_top, bottom) },
        )
    }

    /// Draws a legend, in as many rows as it needs. What a quarter of the height has no room for
    /// is counted.
    pub(super) fn legend(&mut self, entries: &[Entry]) {
        let (em, width) = (self.em, self.canvas.size_px.0 - 2 * self.margin);
        let (sample_px, row_px) = (em * 2, em * 3 / 2);
        let mut rows: Vec<Vec<(String, Pen, i32)>> = vec![Vec::new()];
        let mut used_px = 0;
        for entry in entries {
            let text = fitted(&entry.text, width - sample_px - em * 3 / 2, em);
            let entry_px = sample_px + width_of(&text, em) + em * 3 / 2;
            if used_px > 0 && used_px + entry_px > width {
                rows.push(Vec::new());
                used_px = 0;
            }
            used_px += entry_px;
            let row = rows.last_mut().expect("there is always a row");
            row.push((text, entry.pen, entry_px));
        }
        let most_rows = usize::try_from(self.canvas.size_px.1 / 4 / row_px).unwrap_or(0).max(2);
        let n_hidden: usize = if rows.len() > most_rows {
            rows.drain(most_rows - 1..).map(|row| row.len()).sum()
        } else {
            0
        };
        for row in rows {
            let row_width: i32 = row.iter().map(|(_, _, entry_px)| entry_px).sum();
            let mut x = self.margin + i32::midpoint(width - row_width, em);
            let y = self.top + row_px / 2;
            for (text, pen, entry_px) in row {
                self.canvas.line(&[(x, y), (x + sample_px - em / 2, y)], pen);
                self.canvas.text(&text, (x + sample_px, y), Align::Left, em, INK);
                x += entry_px;
            }
            self.top += row_px;
        }
        if n_hidden > 0 {
            let at = (self.canvas.size_px.0 / 2, self.top + row_px / 2);
            self.canvas.text(&format!("and {n_hidden} more"), at, Align::Center, em, QUIET);
            self.top += row_px;
        }
        self.top += em / 2;
    }

    /// Draws the names of phases in the rows that the height has room for, from the first row down
    /// in their order. Longer phases choose first whether they are named; one that finds no place
    /// is left out, and its line is there.
    pub(super) fn phase_names(&mut self, marks: &[Mark<'_>], time: &Scale) {
        /// More rows are not read.
        const MOST_ROWS: i32 = 4;
        let (em, row_px) = (self.em, self.em * 5 / 4);
        let n_rows = (self.canvas.size_px.1 / 8 / row_px).clamp(1, MOST_ROWS);
        let (left, right) = (time.px(0.0), time.px(f64::MAX));
        let mut names: Vec<Name> = Vec::new();
        let mut marks: Vec<&Mark<'_>> = marks.iter().collect();
        marks.sort_by(|a, b| (b.end_s - b.at_s).total_cmp(&(a.end_s - a.at_s)));
        for mark in marks {
            let text = fitted(mark.text, (right - left) * 2 / 5, em);
            let text_px = width_of(&text, em);
            let x = (time.px(mark.at_s) + em / 4).min(right - text_px);
            let name = Name { row: 0, from: x, to: x + text_px + em / 2, text, color: mark.color };
            names.extend(name.in_free_row(&names, n_rows));
        }
        // From left to right they need no more rows than in any other order.
        names.sort_by_key(|name| name.from);
        let mut placed: Vec<Name> = Vec::new();
        for name in names {
            placed.extend(name.in_free_row(&placed, n_rows));
        }
        for Name { row, from, text, color, .. } in &placed {
            let at = (*from, self.top + row * row_px + row_px / 2);
            self.canvas.text(text, at, Align::Left, em, *color);
        }
        self.top += placed.iter().map(|name| name.row + 1).max().unwrap_or(0) * row_px;
    }

    /// Draws the lines at which phases begin.
    pub(super) fn phase_lines(&mut self, marks: &[Mark<'_>], time: &Scale, panel: Panel) {
        for mark in marks {
            let x = time.px(mark.at_s);
            let pen = Pen { color: mark.color, ..PHASE };
            self.canvas.line(&[(x, panel.ys.0), (x, panel.ys.1)], pen);
        }
    }

    /// Draws the frame of a panel, and its left axis with its name, if it has one.
    pub(super) fn frame(&mut self, panel: Panel, ticks: &[Tick], label: &str) {
        let (Panel { xs, ys }, em) = (panel, self.em);
        for Tick { px: y, text } in ticks {
            if ys.0 < *y && *y < ys.1 {
                self.canvas.line(&[(xs.0, *y), (xs.1, *y)], Pen::solid(GRID, 1));
            }
            if !text.is_empty() {
                self.canvas.text(text, (xs.0 - em / 2, *y), Align::Right, em, INK);
            }
        }
        self.canvas.outline((xs.0, ys.0), (xs.1, ys.1), FRAME);
        if !label.is_empty() {
            self.canvas.text_upwards(label, (em, i32::midpoint(ys.0, ys.1)), em, INK);
        }
    }

    /// Draws the right axis of a panel.
    pub(super) fn right_axis(
        &mut self,
        panel: Panel,
        ticks: &[Tick],
        label: &str,
        color: RGBColor,
    ) {
        let (Panel { xs, ys }, em) = (panel, self.em);
        for Tick { px: y, text } in ticks {
            self.canvas.line(&[(xs.1, *y), (xs.1 + em / 4, *y)], Pen::solid(FRAME, 1));
            self.canvas.text(text, (xs.1 + em / 2, *y), Align::Left, em, color);
        }
        let at = (self.canvas.size_px.0 - em, i32::midpoint(ys.0, ys.1));
        self.canvas.text_upwards(label, at, em, color);
    }

    /// Draws the axis below a panel, with a short line at each tick.
    pub(super) fn lower_axis(&mut self, panel: Panel, ticks: &[Tick], label: &str) {
        let (Panel { xs, ys }, em) = (panel, self.em);
        for Tick { px: x, text } in ticks {
            self.canvas.line(&[(*x, ys.1), (*x, ys.1 + em / 4)], Pen::solid(FRAME, 1));
            if !text.is_empty() {
                self.canvas.text(text, (*x, ys.1 + em), Align::Center, em, INK);
            }
        }
        let at = (i32::midpoint(xs.0, xs.1), ys.1 + em * 9 / 4);
        self.canvas.text(label, at, Align::Center, em, INK);
    }

    /// Draws the axis of time below a panel.
    pub(super) fn time_axis(&mut self, panel: Panel, time: &Scale) {
        /// More numbers are not read.
        const MOST_TIMES: usize = 12;
        let (label, unit_s) = match time.highest {
            span_s if span_s <= 180.0 => ("Seconds Elapsed", 1.0),
            span_s if span_s <= 26.0 * 3_600.0 => ("Minutes Elapsed", 60.0),
            span_s if span_s <= 240.0 * 3_600.0 => ("Hours Elapsed", 3_600.0),
            _ => ("Days Elapsed", 86_400.0),
        };
        let time = Scale::new(time.highest / unit_s, panel.xs.0, panel.xs.1);
        let is_airy = |ticks: &Vec<Tick>| {
            let apart_px = widest(ticks, self.em) + self.em * 2;
            ticks.windows(2).all(|pair| pair[1].px - pair[0].px >= apart_px)
        };
        let ticks = (1..=MOST_TIMES).rev().map(|n| time.ticks(n)).find(is_airy);
        self.lower_axis(panel, &ticks.unwrap_or_default(), label);
    }

    /// Says in a panel that there is nothing to draw.
    pub(super) fn nothing(&mut self, panel: Panel) {
        let at = (i32::midpoint(panel.xs.0, panel.xs.1), i32::midpoint(panel.ys.0, panel.ys.1));
        self.canvas.text("no data", at, Align::Center, self.em, QUIET);
    }

    /// Draws a line of text above a panel: the first one of `texts` that is short enough.
    pub(super) fn heading(&mut self, panel: Panel, texts: &[String]) {
        let room_px = self.canvas.size_px.0 - panel.xs.0 - self.margin;
        let fits = |text: &&String| width_of(text, self.em) <= room_px;
        let Some(text) = texts.iter().find(fits).or(texts.last()) else { return };
        let (text, at) = (fitted(text, room_px, self.em), (panel.xs.0, panel.ys.0 - self.em));
        self.canvas.text(&text, at, Align::Left, self.em, INK);
    }

    /// The width of the widest number beside a linear axis, whatever room it has in the end.
    pub(super) fn widest_up_to(&self, highest: f64) -> i32 {
        let ticks = (1..=MOST_TICKS).flat_map(|n| Scale::rounded(highest, 0, 1, n).ticks(n));
        widest(&ticks.collect::<Vec<_>>(), self.em)
    }

    /// How many round numbers a panel has room for beside it.
    pub(super) fn n_ticks(&self, panel: Panel) -> usize {
        let room = (panel.ys.1 - panel.ys.0) / (self.em * 2);
        usize::try_from(room).unwrap_or(1).clamp(1, MOST_TICKS)
    }
}

/// The width of the widest label.
pub(super) fn widest(ticks: &[Tick], em: i32) -> i32 {
    ticks.iter().map(|it| width_of(&it.text, em)).max().unwrap_or(0)
}

/// The even size of text that is not above `size_px`. The library cuts half pixels off towards
/// zero, which at an odd size lifts commas up to look like dots.
fn even(size_px: i32) -> i32 {
    size_px / 2 * 2
}
