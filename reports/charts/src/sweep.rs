//! The same storms with several back-off windows, on a page: how fast all connections were back,
//! and how many came at once.

use std::fmt;
use std::path::{Path, PathBuf};

use maud::{Markup, html};
use plotters::style::RGBColor;
use serde::Serialize;

use super::canvas::{Canvas, Pen, Point};
use super::scale::{Scale, Tick};
use super::sheet::{Entry, Panel, Sheet};
use super::{ChartError, Format, Options, drawn};
use crate::ReportError;
use crate::page::{command_lines, document, facts, figure, section, table};
use crate::pictures::{FILE_SIZE_PX, Picture};
use reports::books::Settle;
use reports::date::utc;
use reports::run::replace;
use reports::run::words::{figure as number, grouped, ms};
use reports::run::{Command, Host, Plan, Run};

/// Until half of the connections were back, 95 % of them, all: as the chart of delays has median,
/// percentile and longest.
const TIMES: [(&str, Pen); 3] = [
    ("50 % back", Pen { color: RGBColor(0, 90, 180), width_px: 2, dash: &[2, 4] }),
    ("95 % back", Pen { color: RGBColor(0, 90, 180), width_px: 2, dash: &[8, 4] }),
    ("all back", Pen { color: RGBColor(0, 90, 180), width_px: 3, dash: &[] }),
];

/// The most connects in a second.
const PEAK: Pen = Pen::solid(RGBColor(0, 140, 100), 3);

/// A back-off window and the run that was made with it.
#[derive(Debug, Clone)]
pub struct Window {
    /// How it is written: `5s`.
    pub window: String,
    /// The folder of its run.
    pub folder: PathBuf,
}

/// What came of a run with a back-off window.
#[derive(Debug, Clone, Serialize)]
pub struct SweptRun {
    /// The window.
    pub window: String,
    /// The name of the run's folder.
    pub run: String,
    /// Whether the run held.
    pub held: bool,
    /// In what respects it fell short.
    pub shortfalls: Vec<String>,
    /// How connections came back, each time.
    pub settles: Vec<Settle>,
}

/// Runs that differ in their back-off window.
#[derive(Debug, Clone, Serialize)]
pub struct Sweep {
    /// What they have in common, in words.
    pub what: String,
    /// One for each window.
    pub runs: Vec<SweptRun>,
    /// The plan of the first one.
    #[serde(skip)]
    plan: Plan,
    /// Its machine.
    #[serde(skip)]
    host: Host,
    /// How they are made again.
    #[serde(skip)]
    command: Command,
}

impl Sweep {
    /// Whether all runs held.
    pub fn held(&self) -> bool {
        self.runs.iter().all(|run| run.held)
    }

    /// What closed connections, as often as it did in the run that has most of it. One that is
    /// called the same twice is told apart by its number.
    fn n_causes(&self) -> usize {
        self.runs.iter().map(|run| run.settles.len()).max().unwrap_or_default()
    }

    /// The name of cause number `at`.
    fn cause(&self, at: usize) -> String {
        let settles = self.runs.iter().find_map(|run| run.settles.get(at));
        settles.map(|settle| settle.cause.clone()).unwrap_or_default()
    }

    /// What is drawn of cause number `at`.
    fn curve(&self, at: usize) -> SweepChart {
        let point = |run: &SweptRun| {
            let settle = run.settles.get(at);
            let times = settle.map_or([None; 3], |it| [it.t50_s, it.t95_s, it.t100_s]);
            let peak = settle.map(|settle| settle.peak_connects_per_s as f64);
            SweepPoint { window: run.window.clone(), times_s: times, peak_per_s: peak }
        };
        SweepChart { cause: self.cause(at), points: self.runs.iter().map(point).collect() }
    }
}

/// How connections came back after one cause, by back-off window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SweepChart {
    /// What closed them.
    pub cause: String,
    /// One for each window, the shortest first.
    pub points: Vec<SweepPoint>,
}

/// How they came back with one window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SweepPoint {
    /// The window.
    pub window: String,
    /// Seconds until 50 %, 95 % and all were back; `None` if they were not.
    pub times_s: [Option<f64>; 3],
    /// The most connects in one second; `None` if it is not known.
    pub peak_per_s: Option<f64>,
}

/// Sets runs with several back-off windows side by side, on a page at `out`, which was made by
/// `command`. There must be one at least.
pub fn sweep(windows: &[Window], command: Command, out: &Path) -> Result<Sweep, ReportError> {
    let (mut runs, mut first) = (Vec::new(), None);
    for Window { window, folder } in windows {
        let run = Run::load(folder)?;
        let summary = run.summary();
        runs.push(SweptRun {
            window: window.clone(),
            run: run.name(),
            held: summary.held(),
            shortfalls: summary.shortfalls,
            settles: summary.received.settles,
        });
        first.get_or_insert((run.plan, run.host));
    }
    let (plan, host) = first.unwrap_or_default();
    let what = format!(
        "{} connections, {} messages a second",
        grouped(plan.connections),
        grouped(plan.messages_per_second)
    );
    let sweep = Sweep { what, runs, plan, host, command };
    replace(out, page(&sweep)?.as_bytes())?;
    let options = Options { size_px: FILE_SIZE_PX, title: None };
    for at in 0..sweep.n_causes() {
        // Those of further causes have a number: sweep.png, sweep.2.png.
        let number = if at == 0 { String::new() } else { format!("{}.", at + 1) };
        for (format, ending) in [(Format::Svg, "svg"), (Format::Png, "png")] {
            let bytes = windows_chart(&sweep.curve(at), &options, format)?;
            replace(&out.with_extension(format!("{number}{ending}")), &bytes)?;
        }
    }
    Ok(sweep)
}

/// Draws how connections came back, by back-off window.
pub fn windows_chart(
    chart: &SweepChart,
    options: &Options,
    format: Format,
) -> Result<Vec<u8>, ChartError> {
    drawn(options, format, |canvas| draw(canvas, chart, options))
}

/// Draws it.
pub(super) fn draw(canvas: &mut Canvas, chart: &SweepChart, options: &Options) {
    let title = format!("Until connections were back: {}", chart.cause);
    let mut sheet = Sheet::new(canvas, options.title.as_deref().unwrap_or(&title));
    let entries = TIMES.map(|(text, pen)| Entry::new(text, pen));
    let peak = Entry::new("connects in a second, at most", PEAK);
    sheet.legend(&entries.into_iter().chain([peak]).collect::<Vec<_>>());
    let times = chart.points.iter().flat_map(|point| point.times_s).flatten();
    let (longest_s, most) = (
        times.fold(0.0, f64::max),
        chart.points.iter().filter_map(|point| point.peak_per_s).fold(0.0, f64::max),
    );
    let left_px = sheet.widest_up_to(longest_s).max(sheet.widest_up_to(most));
    let (upper, lower) = sheet.panels(sheet.sides(left_px, 0), true);
    let at_window = |at: usize| window_px(upper.xs, at, chart.points.len());
    let curves = TIMES.into_iter().enumerate().map(|(which, (_, pen))| {
        let of = move |point: &SweepPoint| point.times_s[which];
        (pen, chart.points.iter().map(of).collect::<Vec<_>>())
    });
    panel(&mut sheet, upper, longest_s, "Seconds", curves.collect(), &at_window);
    let peaks = chart.points.iter().map(|point| point.peak_per_s).collect();
    panel(&mut sheet, lower, most, "", vec![(PEAK, peaks)], &at_window);
    sheet.heading(lower, &["Connects in a second, at most".to_owned()]);
    let ticks = (0..)
        .zip(&chart.points)
        .map(|(at, point)| Tick { px: at_window(at), text: point.window.clone() });
    sheet.lower_axis(lower, &ticks.collect::<Vec<_>>(), "Back-off window");
}

/// Where window number `at` of `n` stands: they are as far apart as they are long only in name,
/// since each is several times the one before.
#[expect(clippy::cast_possible_truncation, reason = "pixels of a chart")]
fn window_px(xs: (i32, i32), at: usize, n: usize) -> i32 {
    let part = (at as f64 + 0.5) / n.max(1) as f64;
    xs.0 + (part * f64::from(xs.1 - xs.0)).round() as i32
}

/// Draws a panel with a curve for each figure. A window without it is a gap.
fn panel(
    sheet: &mut Sheet<'_>,
    panel: Panel,
    most: f64,
    label: &str,
    curves: Vec<(Pen, Vec<Option<f64>>)>,
    at_window: &impl Fn(usize) -> i32,
) {
    let n_ticks = sheet.n_ticks(panel);
    if curves.iter().all(|(_, values)| values.iter().all(Option::is_none)) {
        sheet.frame(panel, &[], label);
        return sheet.nothing(panel);
    }
    let scale = Scale::rounded(most, panel.ys.1, panel.ys.0, n_ticks);
    sheet.frame(panel, &scale.ticks(n_ticks), label);
    for (pen, values) in curves {
        let points: Vec<Option<Point>> = values
            .iter()
            .enumerate()
            .map(|(at, value)| value.map(|value| (at_window(at), scale.px(value))))
            .collect();
        for line in points.split(Option::is_none) {
            let line: Vec<Point> = line.iter().flatten().copied().collect();
            sheet.canvas.line(&line, pen);
        }
        // A point by itself is no line.
        let half_px = sheet.em / 4;
        for (x, y) in points.into_iter().flatten() {
            sheet.canvas.block((x - half_px, y - half_px), (x + half_px, y + half_px), pen.color);
        }
    }
}

/// A block for each window.
impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, by back-off window", self.what)?;
        for run in &self.runs {
            writeln!(f, "\n{}: {}", run.window, if run.held { "held" } else { "fell short" })?;
            for settle in &run.settles {
                let [t50, t95, t100] = [settle.t50_s, settle.t95_s, settle.t100_s].map(seconds);
                writeln!(
                    f,
                    "  {:<14} 50 % back after {t50} s, 95 % after {t95} s, all after {t100} s; {} \
                     connects in a second at most, {} failed",
                    settle.cause,
                    grouped(settle.peak_connects_per_s),
                    grouped(n_failed(settle))
                )?;
            }
            run.shortfalls.iter().try_for_each(|it| writeln!(f, "  fell short: {it}"))?;
        }
        Ok(())
    }
}

/// A time in seconds, or that it never came.
fn seconds(time_s: Option<f64>) -> String {
    time_s.map_or_else(|| "–".to_owned(), |time_s| format!("{time_s:.2}"))
}

/// Connects that failed until all were back.
fn n_failed(settle: &Settle) -> u64 {
    settle.failed.values().fold(0, |sum, n| sum.saturating_add(*n))
}

/// The page.
fn page(sweep: &Sweep) -> Result<String, ChartError> {
    let title = format!("Back-off windows: {}", sweep.what);
    let kicker =
        format!("{} · Comet toolkit {}", utc(sweep.plan.started_unix_s), sweep.plan.toolkit);
    let mut causes = Vec::new();
    for at in 0..sweep.n_causes() {
        causes.push(cause(sweep, at)?);
    }
    let body = html! {
        header {
            p.kicker { (kicker) }
            h1 { (title) }
            @if sweep.held() {
                p.verdict.held { strong { "All held." } " Nothing was lost on a connection." }
            } @else {
                p.verdict.short { strong { "Not all held." } }
                ul.bad {
                    @for run in &sweep.runs {
                        @for shortfall in &run.shortfalls { li { (run.window) ": " (shortfall) } }
                    }
                }
            }
        }
        main {
            @for cause in causes { (cause) }
            (runs(sweep))
            (section("The machine", &[], &table("", &["", ""], machine(sweep))))
            (section("How to repeat it", &[], &command_lines(std::slice::from_ref(&sweep.command))))
        }
        footer {
            "The raw figures lie in the folders of the runs, and each has a report of its own."
        }
    };
    Ok(document(&title, &body))
}

/// How connections came back after cause number `at`.
fn cause(sweep: &Sweep, at: usize) -> Result<Markup, ChartError> {
    let chart = sweep.curve(at);
    let words = format!(
        "Seconds until connections were back after {}, and most connects in a second, by back-off \
         window",
        chart.cause
    );
    let picture =
        Picture::draw(words, (400, 400), |options, format| windows_chart(&chart, options, format))?;
    let heads = [
        "window",
        "closed",
        "50 % back, s",
        "95 % back, s",
        "all back, s",
        "connects in a second",
        "failed tries",
        "delivery meanwhile, p99, ms",
    ];
    let rows = sweep.runs.iter().map(|run| {
        let Some(settle) = run.settles.get(at) else {
            let none = std::iter::repeat_n("–".to_owned(), heads.len() - 1);
            return [run.window.clone()].into_iter().chain(none).collect();
        };
        let during = &settle.delivery_during;
        vec![
            run.window.clone(),
            grouped(settle.closed),
            seconds(settle.t50_s),
            seconds(settle.t95_s),
            seconds(settle.t100_s),
            number(settle.peak_connects_per_s as f64),
            grouped(n_failed(settle)),
            if during.count > 0 { ms(during.p99_us) } else { "–".to_owned() },
        ]
    });
    let body = html! { (figure(&picture)) (table("figures", &heads, rows)) };
    let note = [
        "A connection comes back at a random time within the window, and again within it after a \
         try that fails. A window of 0: at once.",
        "A short window brings everybody back soon, and all together. A long one spares the \
         server, and costs those who wait.",
    ];
    Ok(section(&format!("After: {}", chart.cause), if at == 0 { &note } else { &[] }, &body))
}

/// The runs, with a link to the report of each.
fn runs(sweep: &Sweep) -> Markup {
    let body = html! {
        table {
            thead { tr { th { "window" } th { "run" } th { "verdict" } } }
            tbody {
                @for run in &sweep.runs {
                    tr {
                        th scope="row" { (run.window) }
                        td { a href=(format!("{}/report.html", run.run)) { (run.run) } }
                        td { (if run.held { "held" } else { "fell short" }) }
                    }
                }
            }
        }
    };
    section("The runs", &[], &body)
}

/// The machine.
fn machine(sweep: &Sweep) -> Vec<Vec<String>> {
    let known = facts(&sweep.host).into_iter();
    known.filter_map(|(what, fact)| Some(vec![what.to_owned(), fact?])).collect()
}
