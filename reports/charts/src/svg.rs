//! Shapes as the elements of an SVG.
//!
//! The viewer's font need not be ours. Each text says how wide it was measured (`textLength`), so
//! that it takes no more room in any font; a viewer that does not know that attribute still has
//! the text anchored on the side where there is something beside it.

use std::fmt::Write as _;

use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, FONT, Pen, Point, Shape, Text};

/// The height of a line of our font, in its em: (1901 + 483) / 2048 of the font's own units.
const LINE_EM: f64 = 1.164;

/// Why writing cannot fail.
const NEVER_FAILS: &str = "a string takes everything";

/// Moves a line of an odd width from between two pixels onto one, where it is sharp.
const ON_PIXELS: &str = " transform=\"translate(.5 .5)\"";

/// Writes a canvas.
pub(super) fn svg(canvas: &Canvas) -> String {
    let (width, height) = canvas.size_px;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"{FONT}\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for shape in &canvas.shapes {
        match shape {
            Shape::Line(points, pen) => line(&mut svg, points, *pen),
            Shape::Outline(from, to, color) => {
                let paint = format!("fill=\"none\" stroke=\"{}\"{ON_PIXELS}", hex(*color));
                rectangle(&mut svg, *from, *to, &paint);
            }
            Shape::Block(from, to, color) => {
                rectangle(&mut svg, *from, *to, &format!("fill=\"{}\"", hex(*color)));
            }
            Shape::Text(label) => text(&mut svg, label),
        }
    }
    svg + "</svg>\n"
}

/// Writes a line.
fn line(svg: &mut String, points: &[Point], pen: Pen) {
    let list = |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(" ");
    let points = list(&mut points.iter().map(|(x, y)| format!("{x},{y}")));
    let (color, width_px) = (hex(pen.color), pen.width_px);
    write!(
        svg,
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" \
         stroke-width=\"{width_px}\" stroke-linejoin=\"round\""
    )
    .expect(NEVER_FAILS);
    if pen.width_px % 2 == 1 {
        svg.push_str(ON_PIXELS);
    }
    if !pen.dash.is_empty() {
        let dash = list(&mut pen.dash.iter().map(i32::to_string));
        write!(svg, " stroke-dasharray=\"{dash}\"").expect(NEVER_FAILS);
    }
    svg.push_str("/>\n");
}

/// Writes a rectangle.
fn rectangle(svg: &mut String, from: Point, to: Point, paint: &str) {
    let ((x, y), (width, height)) = (from, (to.0 - from.0, to.1 - from.1));
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {paint}/>")
        .expect(NEVER_FAILS);
}

/// Writes a text.
fn text(svg: &mut String, text: &Text) {
    let (x, y) = text.at;
    // From the middle of a capital down to the line that it stands on.
    let below_px = text.size_px * 5 / 16;
    let place = if text.is_upwards {
        format!("transform=\"translate({} {y}) rotate(-90)\"", x + below_px)
    } else {
        format!("x=\"{x}\" y=\"{}\"", y + below_px)
    };
    let anchor = match text.align {
        Align::Left => "start",
        Align::Center => "middle",
        Align::Right => "end",
    };
    let (width_px, em_px) = (text.width_px, f64::from(text.size_px) / LINE_EM);
    let (color, words) = (hex(text.color), escaped(&text.words));
    writeln!(
        svg,
        "<text {place} text-anchor=\"{anchor}\" font-size=\"{em_px:.1}\" fill=\"{color}\" \
         textLength=\"{width_px}\" lengthAdjust=\"spacingAndGlyphs\">{words}</text>"
    )
    .expect(NEVER_FAILS);
}

/// A colour as SVG writes it.
fn hex(color: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", color.0, color.1, color.2)
}

/// A text as XML takes it. Characters that no XML may contain are shown as unknown ones.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            it if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            it => escaped.push(it),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_element() {
        assert_eq!(
            escaped("<script>a & b\u{7}</script>"),
            "&lt;script&gt;a &amp; b\u{fffd}&lt;/script&gt;"
        );
    }
}
