//! Lines and text in whole pixels, on whichever backend.

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontTransform, IntoFont as _, RGBColor, ShapeStyle, TextStyle, WHITE,
};

use super::ChartError;

/// The name of the font, which SVG viewers look up by it.
pub(crate) const FONT: &str = "sans-serif";

/// A point in pixels, from the upper left corner.
pub(crate) type Point = (i32, i32);

/// Where a text stands in relation to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// It begins there.
    Left,
    /// It is centred on it.
    Center,
    /// It ends there.
    Right,
}

/// Something to draw on.
pub(crate) struct Canvas<DB: DrawingBackend> {
    /// All of it.
    area: DrawingArea<DB, Shift>,
    /// Whether lines stay lines, rather than becoming pixels.
    is_vector: bool,
}

impl<DB: DrawingBackend> Canvas<DB> {
    /// A canvas on `area`.
    pub(crate) fn new(area: DrawingArea<DB, Shift>, is_vector: bool) -> Self {
        Self { area, is_vector }
    }

    /// Width and height.
    pub(crate) fn size_px(&self) -> Point {
        let (width, height) = self.area.dim_in_pixel();
        (i32::try_from(width).unwrap_or(i32::MAX), i32::try_from(height).unwrap_or(i32::MAX))
    }

    /// Makes all of it white.
    pub(crate) fn clear(&self) -> Result<(), ChartError> {
        self.area.fill(&WHITE).map_err(failed)
    }

    /// Ends the drawing.
    pub(crate) fn present(&self) -> Result<(), ChartError> {
        self.area.present().map_err(failed)
    }

    /// A line through `points`.
    pub(crate) fn line(
        &self,
        points: &[Point],
        color: RGBColor,
        width_px: u32,
    ) -> Result<(), ChartError> {
        let style = ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: width_px };
        if self.is_vector || width_px == 1 {
            return self.area.draw(&PathElement::new(points.to_vec(), style)).map_err(failed);
        }
        // A thick path is filled as one polygon, which a line that turns back on itself every
        // other pixel makes slow and wrong. Its pieces are not.
        for piece in points.windows(2) {
            self.area.draw(&PathElement::new(piece.to_vec(), style)).map_err(failed)?;
        }
        Ok(())
    }

    /// A dashed vertical line.
    pub(crate) fn dashes(&self, x: i32, ys: (i32, i32), color: RGBColor) -> Result<(), ChartError> {
        /// Pixels from one dash to the next.
        const PERIOD_PX: usize = 5;
        for y in (ys.0..ys.1).step_by(PERIOD_PX) {
            self.line(&[(x, y), (x, (y + 2).min(ys.1))], color, 1)?;
        }
        Ok(())
    }

    /// The outline of a rectangle.
    pub(crate) fn outline(
        &self,
        from: Point,
        to: Point,
        color: RGBColor,
    ) -> Result<(), ChartError> {
        self.area.draw(&Rectangle::new([from, to], color.stroke_width(1))).map_err(failed)
    }

    /// A filled rectangle.
    pub(crate) fn block(&self, from: Point, to: Point, color: RGBColor) -> Result<(), ChartError> {
        self.area.draw(&Rectangle::new([from, to], color.filled())).map_err(failed)
    }

    /// A text whose middle line is at the point's height.
    pub(crate) fn text(
        &self,
        text: &str,
        at: Point,
        align: Align,
        size_px: i32,
        color: RGBColor,
    ) -> Result<(), ChartError> {
        // Measured and placed from the left, so that both backends put it on the same pixels.
        let width = self.width_of(text, size_px)?;
        let x = match align {
            Align::Left => at.0,
            Align::Center => at.0 - width / 2,
            Align::Right => at.0 - width,
        };
        let style = style(size_px).color(&color).pos(Pos::new(HPos::Left, VPos::Center));
        // Figures have no descenders: what the font calls the middle is above theirs.
        let y = if self.is_vector { at.1 } else { at.1 + size_px / 8 };
        self.area.draw(&Text::new(text.to_owned(), (x, y), style)).map_err(failed)
    }

    /// A text that runs upwards, centred on the point.
    pub(crate) fn text_upwards(
        &self,
        text: &str,
        at: Point,
        size_px: i32,
        color: RGBColor,
    ) -> Result<(), ChartError> {
        let font = (FONT, size_px).into_font().transform(FontTransform::Rotate270);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(HPos::Center, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
    }

    /// How wide a text is.
    pub(crate) fn width_of(&self, text: &str, size_px: i32) -> Result<i32, ChartError> {
        let (width, _) = self.area.estimate_text_size(text, &style(size_px)).map_err(failed)?;
        Ok(i32::try_from(width).unwrap_or(i32::MAX))
    }

    /// As much of `text` as fits into `room_px`, with an ellipsis for the rest.
    pub(crate) fn fitted(
        &self,
        text: &str,
        room_px: i32,
        size_px: i32,
    ) -> Result<String, ChartError> {
        if self.width_of(text, size_px)? <= room_px {
            return Ok(text.to_owned());
        }
        let mut chars: Vec<char> = text.chars().collect();
        while !chars.is_empty() {
            chars.pop();
            let shorter: String = chars.iter().collect::<String>().trim_end().to_owned() + "…";
            if self.width_of(&shorter, size_px)? <= room_px {
                return Ok(shorter);
            }
        }
        Ok(String::new())
    }
}

/// The style of upright text.
fn style(size_px: i32) -> TextStyle<'static> {
    TextStyle::from((FONT, size_px).into_font())
}

/// The library's error in our words.
fn failed(error: impl std::fmt::Display) -> ChartError {
    ChartError::Draw(error.to_string())
}
