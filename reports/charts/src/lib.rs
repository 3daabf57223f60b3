//! Charts of a run, drawn as PNG or SVG, and its page, which shows them.
//!
//! - [`report`]: all that follows from the raw files of a run; [`compare`]: runs side by side;
//!   [`peers()`]: one scenario against several servers; [`sweep()`]: storms by back-off window.
//! - [`render`]: resident, anonymous and kernel memory on the left axis and connections on the
//!   right one, over the time elapsed; below them bytes per connection. Several logs are laid over
//!   each other.
//! - [`traffic()`]: messages sent and items received a second; below them connections.
//! - [`open()`]: open connections, with storms and what was done to the server; below them
//!   connects a second.
//! - [`delivery()`]: the median, the 99th percentile and the longest delay of each interval.
//! - [`percentiles()`]: delays by percentile, of one run or of several.
//!
//! Text is measured with a font that is part of the program, since a fresh machine has none, and
//! everything is placed in whole pixels by this module: where labels of unknown length must neither
//! be cut off nor touch each other, they are measured first. What comes out of it is a list of
//! shapes (`canvas`), which `pixels` and `svg` put down. plotters paints the pixels; it has no
//! words for the width of a text in an SVG and for dashes, so that the SVG is written here.

mod canvas;
mod compare;
mod delivery;
mod history;
mod log_scale;
mod memory;
mod open;
mod page;
mod peers;
mod per_connection;
mod percentiles;
mod pictures;
mod pixels;
mod report;
mod scale;
mod segment;
mod sheet;
mod svg;
mod sweep;
mod traffic;

use std::io;
use std::path::Path;

use plotters::style::RGBColor;

use canvas::Canvas;
pub use compare::{Comparison, Differing, Question, Side, compare};
pub use delivery::{Delays, Delivery, delivery};
pub use history::History;
pub use open::{Open, open};
pub use peers::{Peer, PeerFigure, PeerLimit, PeerRuns, PeerValues, Peers, peers};
pub use percentiles::{PercentileCurve, percentiles};
pub use report::{ReportError, report};
use reports::replace::{check, replace};
pub use segment::Segment;
pub use sheet::Phase;
pub use sweep::{Sweep, SweepChart, SweepPoint, SweptRun, Window, sweep, windows_chart};
pub use traffic::{Traffic, traffic};

/// The least width and height: below it the labels alone fill the chart.
pub const LEAST_SIZE_PX: (u32, u32) = (400, 250);

/// The greatest width and height: a history has no more columns than this, and an image of this
/// size takes 48 MB.
pub const GREATEST_SIZE_PX: (u32, u32) = (4000, 4000);

/// The colours of several runs, and a light one each for their connections. Blue, red and green of
/// these are told apart by the colour-blind.
const RUNS: [(RGBColor, RGBColor); 6] = [
    (RGBColor(0, 90, 180), RGBColor(150, 190, 230)),
    (RGBColor(210, 60, 20), RGBColor(240, 175, 150)),
    (RGBColor(0, 140, 100), RGBColor(140, 210, 190)),
    (RGBColor(140, 80, 180), RGBColor(205, 175, 225)),
    (RGBColor(150, 110, 20), RGBColor(220, 200, 140)),
    (RGBColor(90, 90, 90), RGBColor(185, 185, 185)),
];

/// Why a chart was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The size is too small or too large.
    #[error("a chart of {0}x{1} cannot be drawn; give a size from 400x250 to 4000x4000")]
    Size(u32, u32),
    /// The file's name says neither PNG nor SVG.
    #[error("\"{0}\" is neither .png nor .svg; the ending of the name says what is drawn")]
    Ending(String),
    /// The library that draws failed.
    #[error("cannot draw the chart: {0}")]
    Draw(String),
    /// The image could not be encoded.
    #[error("cannot encode the chart: {0}")]
    Encode(#[from] png::EncodingError),
    /// The file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// A log to draw.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// What it is called, when there are several.
    pub label: &'a str,
    /// Its samples.
    pub history: &'a History,
}

/// How to draw.
#[derive(Debug, Clone)]
pub struct Options {
    /// Width and height in pixels.
    pub size_px: (u32, u32),
    /// The title. `None`: the chart's own.
    pub title: Option<String>,
}

/// What a chart is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pixels.
    Png,
    /// Lines and text.
    Svg,
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of(path: &Path) -> Result<Self, ChartError> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "png" => Ok(Self::Png),
            "svg" => Ok(Self::Svg),
            _ => Err(ChartError::Ending(path.display().to_string())),
        }
    }
}

/// Draws `logs` in `format`.
pub fn render(logs: &[Log<'_>], options: &Options, format: Format) -> Result<Vec<u8>, ChartError> {
    drawn(options, format, |canvas| memory::chart(canvas, logs, options))
}

/// What `draw` puts on a canvas, in `format`.
fn drawn(
    options: &Options,
    format: Format,
    draw: impl FnOnce(&mut Canvas),
) -> Result<Vec<u8>, ChartError> {
    let (width, height) = options.size_px;
    if !(LEAST_SIZE_PX.0..=GREATEST_SIZE_PX.0).contains(&width)
        || !(LEAST_SIZE_PX.1..=GREATEST_SIZE_PX.1).contains(&height)
    {
        return Err(ChartError::Size(width, height));
    }
    let mut canvas = Canvas::new(options.size_px);
    draw(&mut canvas);
    match format {
        Format::Png => pixels::png(&canvas, options.size_px),
        Format::Svg => Ok(svg::svg(&canvas).into_bytes()),
    }
}

/// Draws `logs` into the file at `path`, whose ending says how, as [`write()`] does.
pub fn save(path: &Path, logs: &[Log<'_>], options: &Options) -> Result<(), ChartError> {
    write(path, &render(logs, options, Format::of(path)?)?)
}

/// Finds out whether a chart can be written to `path`, and leaves what is there alone.
pub fn check_writable(path: &Path) -> Result<(), ChartError> {
    Format::of(path)?;
    let error = |source| ChartError::Write { path: path.display().to_string(), source };
    if path.is_dir() {
        return Err(error(io::ErrorKind::IsADirectory.into()));
    }
    check(path).map_err(error)
}

/// Puts a chart in the place of the file at `path`. Whoever has the file open sees the old chart or
/// the new one, and never a part of one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), ChartError> {
    let error = |source| ChartError::Write { path: path.display().to_string(), source };
    replace(path, bytes).map_err(error)
}

#[cfg(test)]
mod layout_tests;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use reports::memory_log::Sample;

    /// A minute of a server that fills up.
    fn history() -> History {
        let mut history = History::new();
        for at in 0..60 {
            history.push(&Sample {
                unix_s: 1_000 + at,
                rss_kb: 4_000 + at * 10,
                n_connections: at * 100,
                anon_kb: Some(1_000),
                slab_kb: Some(9_000),
                ..Sample::default()
            });
        }
        history
    }

    /// Draws one history.
    fn one(history: &History, size_px: (u32, u32), format: Format) -> Result<Vec<u8>, ChartError> {
        let options = Options { size_px, title: Some("a & b".to_owned()) };
        render(&[Log { label: "a.log", history }], &options, format)
    }

    #[test]
    fn a_png_has_the_size_that_was_asked_for_and_is_not_blank() {
        for size_px in [LEAST_SIZE_PX, (500, 300), (1600, 900)] {
            let bytes = one(&history(), size_px, Format::Png).unwrap();
            let mut reader = png::Decoder::new(io::Cursor::new(&bytes)).read_info().unwrap();
            assert_eq!((reader.info().width, reader.info().height), size_px);
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert!(pixels.iter().filter(|it| **it < 200).count() > 1_000, "{size_px:?}");
        }
    }

    #[test]
    fn an_svg_has_the_articles_words_and_is_escaped() {
        let svg = String::from_utf8(one(&history(), (500, 300), Format::Svg).unwrap()).unwrap();
        for word in ["a &amp; b", "Mem (KB)", "Seconds Elapsed", "connections", "Bytes per"] {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
        let n_of = |word| svg.matches(word).count();
        assert_eq!(n_of("<text"), n_of("textLength="), "each has its width, whatever the font");
    }

    #[test]
    fn a_history_without_samples_or_connections_is_drawn() {
        one(&History::new(), (500, 300), Format::Png).unwrap();
        let mut idle = History::new();
        idle.push(&Sample { unix_s: 7, rss_kb: 1, ..Sample::default() });
        one(&idle, (500, 300), Format::Svg).unwrap();
    }

    #[test]
    fn sizes_and_endings_are_checked() {
        assert!(matches!(one(&history(), (10, 10), Format::Png), Err(ChartError::Size(10, 10))));
        assert_eq!(Format::of(Path::new("a/b.PNG")).unwrap(), Format::Png);
        assert!(Format::of(Path::new("png")).is_err());
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.svg");
        fs::write(&path, "old").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let history = history();
        let options = Options { size_px: (500, 300), title: None };
        save(&path, &[Log { label: "a", history: &history }], &options).unwrap();
        assert!(fs::read(&path).unwrap().starts_with(b"<svg"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(check_writable(&dir.path().join("no/m.png")).is_err());
    }
}
