//! A drawing as a list of shapes in whole pixels, with every text measured before it is placed.

use std::sync::Once;

use plotters::style::{FontDesc, FontStyle, IntoFont as _, RGBColor, register_font};

/// The name of the font. Whoever opens an SVG without this first one gets one that is as wide.
///
/// Pixels are always drawn in the first one, which is part of the program.
pub(super) const FONT: &str = "DejaVu Sans, Verdana, sans-serif";

/// A point in pixels, from the upper left corner.
pub(super) type Point = (i32, i32);

/// Where a text stands in relation to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// It begins there.
    Left,
    /// It is centred on it.
    Center,
    /// It ends there.
    Right,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pen {
    /// Its colour.
    pub(super) color: RGBColor,
    /// Its width.
    pub(super) width_px: u32,
    /// Pixels that are drawn and left out in turns. Empty: none is left out.
    pub(super) dash: &'static [i32],
}

impl Pen {
    /// A line without dashes.
    pub(super) const fn solid(color: RGBColor, width_px: u32) -> Self {
        Self { color, width_px, dash: &[] }
    }
}

/// A text that has been measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// What it says.
    pub(super) words: String,
    /// Its point, at half the height of a capital.
    pub(super) at: Point,
    /// How it stands to the point.
    pub(super) align: Align,
    /// Whether it runs upwards.
    pub(super) is_upwards: bool,
    /// The height of a line of it.
    pub(super) size_px: i32,
    /// Its width.
    pub(super) width_px: i32,
    /// Its colour.
    pub(super) color: RGBColor,
}

impl Text {
    /// Pixels from the point back to where the text begins.
    pub(super) fn before_px(&self) -> i32 {
        match self.align {
            Align::Left => 0,
            Align::Center => self.width_px / 2,
            Align::Right => self.width_px,
        }
    }
}

/// A shape on a canvas. Later ones cover earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line through points.
    Line(Vec<Point>, Pen),
    /// The outline of a rectangle.
    Outline(Point, Point, RGBColor),
    /// A filled rectangle.
    Block(Point, Point, RGBColor),
    /// A text.
    Text(Text),
}

/// A drawing in the making.
#[derive(Debug)]
pub(super) struct Canvas {
    /// Width and height.
    pub(super) size_px: Point,
    /// What has been drawn.
    pub(super) shapes: Vec<Shape>,
}

impl Canvas {
    /// An empty canvas.
    pub(super) fn new(size_px: (u32, u32)) -> Self {
        let px = |size_px: u32| i32::try_from(size_px).unwrap_or(i32::MAX);
        Self { size_px: (px(size_px.0), px(size_px.1)), shapes: Vec::new() }
    }

    /// A line through `points`; a single one is a dot.
    pub(super) fn line(&mut self, points: &[Point], pen: Pen) {
        match simpler(points).as_slice() {
            [] => {}
            [(x, y)] => self.block((x - 1, y - 1), (x + 1, y + 1), pen.color),
            points => self.shapes.push(Shape::Line(points.to_vec(), pen)),
        }
    }

    /// The outline of a rectangle.
    pub(super) fn outline(&mut self, from: Point, to: Point, color: RGBColor) {
        self.shapes.push(Shape::Outline(from, to, color));
    }

    /// A filled rectangle.
    pub(super) fn block(&mut self, from: Point, to: Point, color: RGBColor) {
        self.shapes.push(Shape::Block(from, to, color));
    }

    /// A text whose middle line is at the point's height.
    pub(super) fn text(
        &mut self,
        words: &str,
        at: Point,
        align: Align,
        size_px: i32,
        color: RGBColor,
    ) {
        let (words, width_px) = (words.to_owned(), width_of(words, size_px));
        let text = Text { words, at, align, is_upwards: false, size_px, width_px, color };
        self.shapes.push(Shape::Text(text));
    }

    /// A text that runs upwards, centred on the point.
    pub(super) fn text_upwards(&mut self, words: &str, at: Point, size_px: i32, color: RGBColor) {
        let (words, width_px) = (words.to_owned(), width_of(words, size_px));
        let (align, is_upwards) = (Align::Center, true);
        let text = Text { words, at, align, is_upwards, size_px, width_px, color };
        self.shapes.push(Shape::Text(text));
    }
}

/// The font in a size.
pub(super) fn font(size_px: i32) -> FontDesc<'static> {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        let registered = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
        registered.ok().expect("the font that is part of the program is understood");
    });
    (FONT, size_px).into_font()
}

/// How wide a text is.
pub(super) fn width_of(text: &str, size_px: i32) -> i32 {
    let ((left, _), (right, _)) = font(size_px).layout_box(text).expect("the font is registered");
    right - left
}

/// As much of `text` as fits into `room_px`, with an ellipsis for the rest.
pub(super) fn fitted(text: &str, room_px: i32, size_px: i32) -> String {
    if width_of(text, size_px) <= room_px {
        return text.to_owned();
    }
    let mut chars: Vec<char> = text.chars().collect();
    while chars.pop().is_some() {
        let shorter = chars.iter().collect::<String>().trim_end().to_owned() + "…";
        if width_of(&shorter, size_px) <= room_px {
            return shorter;
        }
    }
    String::new()
}

/// The same line through fewer points: none in the middle of a horizontal or vertical piece.
fn simpler(points: &[Point]) -> Vec<Point> {
    let is_between = |a: i32, b: i32, c: i32| a.min(c) <= b && b <= a.max(c);
    let mut simpler: Vec<Point> = Vec::with_capacity(points.len());
    for next in points {
        if simpler.last() == Some(next) {
            continue;
        }
        if let [.., a, b] = simpler.as_slice() {
            let is_flat = a.1 == b.1 && b.1 == next.1 && is_between(a.0, b.0, next.0);
            let is_upright = a.0 == b.0 && b.0 == next.0 && is_between(a.1, b.1, next.1);
            if is_flat || is_upright {
                simpler.pop();
            }
        }
        simpler.push(*next);
    }
    simpler
}

/// The pieces of a line that `dash` leaves of it.
pub(super) fn dashed(points: &[Point], dash: &[i32]) -> Vec<Vec<Point>> {
    let mut lengths = dash.iter().cycle().map(|px| f64::from(*px));
    let (mut left_px, mut is_drawn) = (lengths.next().unwrap_or(f64::MAX), true);
    let mut pieces: Vec<Vec<Point>> = points.first().map(|it| vec![*it]).into_iter().collect();
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length_px = dx.hypot(dy);
        let mut done_px = 0.0;
        while length_px - done_px > left_px {
            done_px += left_px;
            let part = done_px / length_px;
            let at = (near(from.0, dx * part), near(from.1, dy * part));
            match (is_drawn, pieces.last_mut()) {
                (true, Some(piece)) => piece.push(at),
                _ => pieces.push(vec![at]),
            }
            (left_px, is_drawn) = (lengths.next().unwrap_or(f64::MAX), !is_drawn);
        }
        left_px -= length_px - done_px;
        if let (true, Some(piece)) = (is_drawn, pieces.last_mut()) {
            piece.push(to);
        }
    }
    pieces
}

/// The pixel that is `by` away from another.
#[expect(clippy::cast_possible_truncation, reason = "between two pixels of a line")]
fn near(px: i32, by: f64) -> i32 {
    px + by.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_points_and_no_peak() {
        let flat = [(0, 5), (1, 5), (2, 5), (2, 1), (2, 9), (2, 5), (3, 5), (9, 5)];
        assert_eq!(simpler(&flat), [(0, 5), (2, 5), (2, 1), (2, 9), (2, 5), (9, 5)]);
        assert_eq!(simpler(&[(1, 1), (1, 1)]), [(1, 1)]);
    }

    #[test]
    fn dashes_go_on_around_corners() {
        let pieces = dashed(&[(0, 0), (10, 0), (10, 10)], &[6, 2]);
        let expected =
            [vec![(0, 0), (6, 0)], vec![(8, 0), (10, 0), (10, 4)], vec![(10, 6), (10, 10)]];
        assert_eq!(pieces, expected);
        assert_eq!(dashed(&[(0, 0), (10, 0)], &[]), [[(0, 0), (10, 0)]]);
    }
}
