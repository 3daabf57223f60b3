//! Shapes as the pixels of a PNG.

use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{PathElement, Rectangle, Text as Label};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontTransform, TextStyle};

use super::ChartError;
use super::canvas::{Canvas, Pen, Point, Shape, Text, dashed, font};

/// Bytes of a pixel: red, green, blue.
const PIXEL_BYTES: usize = 3;

/// Where pixels are put.
type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Paints a canvas and encodes it.
pub(super) fn png(canvas: &Canvas, size_px: (u32, u32)) -> Result<Vec<u8>, ChartError> {
    let mut pixels = vec![u8::MAX; size_px.0 as usize * size_px.1 as usize * PIXEL_BYTES];
    let area = BitMapBackend::with_buffer(&mut pixels, size_px).into_drawing_area();
    for shape in &canvas.shapes {
        match shape {
            Shape::Line(points, pen) if pen.dash.is_empty() => line(&area, points, *pen)?,
            Shape::Line(points, pen) => {
                dashed(points, pen.dash).iter().try_for_each(|it| line(&area, it, *pen))?;
            }
            Shape::Outline(from, to, color) => {
                area.draw(&Rectangle::new([*from, *to], color.stroke_width(1))).map_err(failed)?;
            }
            Shape::Block(from, to, color) => {
                area.draw(&Rectangle::new([*from, *to], color.filled())).map_err(failed)?;
            }
            Shape::Text(label) => text(&area, label)?,
        }
    }
    area.present().map_err(failed)?;
    drop(area);
    encode(&pixels, size_px)
}

/// Paints a line.
fn line(area: &Area<'_>, points: &[Point], pen: Pen) -> Result<(), ChartError> {
    let style = pen.color.stroke_width(pen.width_px);
    if pen.width_px == 1 {
        return area.draw(&PathElement::new(points.to_vec(), style)).map_err(failed);
    }
    // A thick path is filled as one polygon, which a line that turns back on itself every other
    // pixel makes slow and wrong. Its pieces are not.
    for piece in points.windows(2) {
        area.draw(&PathElement::new(piece.to_vec(), style)).map_err(failed)?;
    }
    Ok(())
}

/// Paints a text.
fn text(area: &Area<'_>, text: &Text) -> Result<(), ChartError> {
    let font = font(text.size_px);
    let (at, font, h_pos) = if text.is_upwards {
        (text.at, font.transform(FontTransform::Rotate270), HPos::Center)
    } else {
        // Figures have no descenders: what the font calls the middle is above theirs.
        let at = (text.at.0 - text.before_px(), text.at.1 + text.size_px / 8);
        (at, font, HPos::Left)
    };
    let style = TextStyle::from(font).color(&text.color).pos(Pos::new(h_pos, VPos::Center));
    area.draw(&Label::new(text.words.clone(), at, style)).map_err(failed)
}

/// Encodes RGB pixels as PNG.
fn encode(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, ChartError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// The library's error in our words.
fn failed(error: impl std::fmt::Display) -> ChartError {
    ChartError::Draw(error.to_string())
}
