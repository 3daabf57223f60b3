//! The charts of a run.

use std::path::Path;

use crate::ReportError;
use crate::{
    self as chart, ChartError, Delivery, Format, History, Log, Open, Options, PercentileCurve,
    Phase, Traffic,
};
use reports::memory_log::Sample;
use reports::run::files::marks;
use reports::run::replace;
use reports::run::timeline::Timeline;
use reports::run::{Delays, Run};

/// The size of the charts that are files of their own: as large as a slide.
pub(crate) const FILE_SIZE_PX: (u32, u32) = (1600, 900);

/// The width of a chart on a wide page, which shows it a fifth larger: its text is then as large as
/// that of the page's notes.
const WIDE_PX: u32 = 800;

/// The width of a chart on a narrow page: a telephone's, and the least that can be drawn.
const NARROW_PX: u32 = 400;

/// A chart of a page, as SVG: the page shows the one that fits.
pub(crate) struct Picture {
    /// What is seen, for those who cannot see it.
    pub(crate) words: String,
    /// For a wide page.
    pub(crate) wide: String,
    /// For a narrow one.
    pub(crate) narrow: String,
}

impl Picture {
    /// What `draw` draws, in heights for a wide and a narrow page.
    pub(crate) fn draw(
        words: impl Into<String>,
        heights_px: (u32, u32),
        draw: impl Fn(&Options, Format) -> Result<Vec<u8>, ChartError>,
    ) -> Result<Self, ChartError> {
        let svg = |size_px| {
            let bytes = draw(&Options { size_px, title: None }, Format::Svg)?;
            Ok::<_, ChartError>(String::from_utf8(bytes).expect("an SVG is text"))
        };
        Ok(Self {
            words: words.into(),
            wide: svg((WIDE_PX, heights_px.0))?,
            narrow: svg((NARROW_PX, heights_px.1))?,
        })
    }
}

/// What the charts of a run are drawn from.
pub(crate) struct Pictures {
    /// Memory and connections.
    history: History,
    /// The same without the kernel's memory, which is so much more that it hides the server's.
    process: History,
    /// Whether anything is known of the server's memory.
    has_memory: bool,
    /// Whether anything is known of the kernel's memory.
    has_kernel: bool,
    /// Messages, items and connections.
    traffic: Traffic,
    /// Delays over time.
    delivery_from_due: Delivery,
    /// Delays by percentile.
    percentiles: Vec<PercentileCurve>,
    /// Open connections, where places had one after another or something was done to the server.
    open: Option<Open>,
    /// Delays of streams that end, by percentile; empty where there are none.
    streams: Vec<PercentileCurve>,
}

/// The charts of a run, as its page shows them.
pub(crate) struct Drawn {
    /// The server's memory and connections. `None` if it was not watched.
    pub(crate) process: Option<Picture>,
    /// The same with the kernel's memory. `None` if nothing is known of that.
    pub(crate) kernel: Option<Picture>,
    /// Messages, items and connections.
    pub(crate) traffic: Picture,
    /// Delays over time.
    pub(crate) delivery_from_due: Picture,
    /// Delays by percentile.
    pub(crate) percentiles: Picture,
    /// Open connections. `None` where all were opened once and stayed.
    pub(crate) open: Option<Picture>,
    /// Delays of streams that end, by percentile. `None` where there are none.
    pub(crate) streams: Option<Picture>,
}

impl Pictures {
    /// What the charts of `run` are drawn from. All begin with the first sample of memory.
    pub(crate) fn of(run: &Run) -> Self {
        let timeline = Timeline::of(run);
        let first_phase = run.phases.phases.first().map_or(0, |phase| phase.unix_ms);
        let first_s = run.memory.first().map_or(first_phase, Sample::unix_ms) as f64 / 1_000.0;
        // A tool's logs say when it began. Where there are none, the mark does, to the second.
        let started_s = |log: &Option<Delays>, mark| {
            let logged_s = log.as_ref().and_then(|log| Some(log.started_unix_s? - first_s));
            logged_s.or_else(|| timeline.at_s(mark)).unwrap_or_default().max(0.0)
        };
        let flood_s = started_s(&run.delivery_due, marks::CONNECTING);
        let send_s = started_s(&run.send_due, marks::SENDING);
        let phases: Vec<Phase> =
            timeline.marks().map(|(at_s, text)| Phase { at_s, text: text.to_owned() }).collect();
        let intervals = run.delivery_due.iter().flat_map(|log| &log.intervals);
        let intervals = intervals.filter_map(|it| {
            let begin_s = flood_s + it.start_s;
            chart::Delays::of(begin_s, begin_s + it.duration_s, &it.summary)
        });
        let has_lives = run.received().has_lives() || !run.faults.faults.is_empty();
        Self {
            history: history(&run.memory),
            process: history(&run.memory.iter().map(without_kernel).collect::<Vec<_>>()),
            has_memory: !run.memory.is_empty(),
            has_kernel: run.memory.iter().any(|sample| sample.kernel_kb().is_some()),
            traffic: Traffic::of(
                (&run.flood, flood_s),
                (&run.send, send_s),
                &phases,
                run.item_kind(),
            ),
            delivery_from_due: Delivery { intervals: intervals.collect(), phases },
            percentiles: curves(run, "", 0),
            open: has_lives.then(|| Open::of(&run.flood, flood_s, &run.faults.faults, first_s)),
            streams: stream_curves(run),
        }
    }

    /// Draws all of them for a page.
    pub(crate) fn draw(&self) -> Result<Drawn, ChartError> {
        Ok(Drawn {
            process: self.process()?,
            kernel: self.kernel()?,
            traffic: Picture::draw(
                format!(
                    "Messages sent and {} received a second, and connections, over time",
                    self.traffic.item_kind
                ),
                (380, 380),
                |options, format| chart::traffic(&self.traffic, options, format),
            )?,
            delivery_from_due: Picture::draw(
                "Delivery latency from due time over time: median, 99th percentile and longest",
                (330, 320),
                |options, format| chart::delivery(&self.delivery_from_due, options, format),
            )?,
            percentiles: Picture::draw(
                "Delivery latency by percentile, from due time and from actual send",
                (360, 340),
                |options, format| chart::percentiles(&self.percentiles, options, format),
            )?,
            open: self.open()?,
            streams: self.streams()?,
        })
    }

    /// Draws each of them into files in `folder`, as SVG and PNG.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), ReportError> {
        let options = Options { size_px: FILE_SIZE_PX, title: None };
        for (format, ending) in [(Format::Svg, "svg"), (Format::Png, "png")] {
            if self.has_memory {
                let bytes = memory(&self.history, &options, format)?;
                replace(&folder.join(format!("memory.{ending}")), &bytes)?;
            }
            if let Some(open) = &self.open {
                let bytes = chart::open(open, &options, format)?;
                replace(&folder.join(format!("open.{ending}")), &bytes)?;
            }
            if !self.streams.is_empty() {
                let bytes = chart::percentiles(&self.streams, &titled(&options), format)?;
                replace(&folder.join(format!("streams.{ending}")), &bytes)?;
            }
            for (name, bytes) in [
                ("traffic", chart::traffic(&self.traffic, &options, format)),
                ("delivery", chart::delivery(&self.delivery_from_due, &options, format)),
                ("percentiles", chart::percentiles(&self.percentiles, &options, format)),
            ] {
                replace(&folder.join(format!("{name}.{ending}")), &bytes?)?;
            }
        }
        Ok(())
    }

    /// Draws open connections, if not all stayed.
    fn open(&self) -> Result<Option<Picture>, ChartError> {
        let Some(open) = &self.open else { return Ok(None) };
        let words = "Open connections over time, and connects begun a second";
        let draw = |options: &Options, format| chart::open(open, options, format);
        Picture::draw(words, (400, 400), draw).map(Some)
    }

    /// Draws the delays of streams that end, if there are any.
    fn streams(&self) -> Result<Option<Picture>, ChartError> {
        let words = "Delays of streams by percentile: first item, and gaps between items";
        let draw =
            |options: &Options, format| chart::percentiles(&self.streams, &titled(options), format);
        let is_there = !self.streams.is_empty();
        is_there.then(|| Picture::draw(words, (360, 340), draw)).transpose()
    }

    /// Draws the server's memory, if it was watched.
    fn process(&self) -> Result<Option<Picture>, ChartError> {
        let draw = |options: &Options, format| memory(&self.process, options, format);
        let words = "Memory of the server and connections over time";
        self.has_memory.then(|| Picture::draw(words, (430, 400), draw)).transpose()
    }

    /// Draws memory with the kernel's, if that is known.
    fn kernel(&self) -> Result<Option<Picture>, ChartError> {
        let title = "With the kernel's memory for TCP, of the whole machine";
        let draw = |options: &Options, format| {
            let options = Options { title: Some(title.to_owned()), ..options.clone() };
            memory(&self.history, &options, format)
        };
        let words = "Memory of the server and of the kernel over time";
        self.has_kernel.then(|| Picture::draw(words, (360, 360), draw)).transpose()
    }
}

/// Draws memory and connections.
fn memory(history: &History, options: &Options, format: Format) -> Result<Vec<u8>, ChartError> {
    chart::render(&[Log { label: "memory", history }], options, format)
}

/// Samples to be drawn.
pub(crate) fn history(samples: &[Sample]) -> History {
    let mut history = History::new();
    for sample in samples {
        history.push(sample);
    }
    history
}

/// A sample without the kernel's memory.
fn without_kernel(sample: &Sample) -> Sample {
    Sample { kernel_tcp_kb: None, slab_kb: None, ..sample.clone() }
}

/// The delays of streams that end, by percentile. `gap` has another colour: it is another thing.
fn stream_curves(run: &Run) -> Vec<PercentileCurve> {
    let logs = [
        ("first item, from due", 0, &run.first_item_from_due),
        ("first item, from send (TTFT)", 0, &run.first_item_from_send),
        ("gap", 1, &run.gap),
    ];
    let curve = |(name, color, log): (&str, usize, &Option<Delays>)| {
        let total = &log.as_ref()?.total;
        (total.count() > 0).then(|| PercentileCurve::of(name, color, total))
    };
    logs.into_iter().filter_map(curve).collect()
}

/// The same for a chart of streams.
fn titled(options: &Options) -> Options {
    Options { title: Some("Streams: delays by percentile".to_owned()), ..options.clone() }
}

/// The delivery latencies of `run` by percentile, their names beginning with `name`.
pub(crate) fn curves(run: &Run, name: &str, color: usize) -> Vec<PercentileCurve> {
    let logs = [("from due time", &run.delivery_due), ("from actual send", &run.delivery_actual)];
    let curve = |(what, log): (&str, &Option<Delays>)| {
        Some(PercentileCurve::of(&format!("{name}{what}"), color, &log.as_ref()?.total))
    };
    logs.into_iter().filter_map(curve).collect()
}
