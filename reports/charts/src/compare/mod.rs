//! Runs side by side: one a side, or several, whose spread then says what is chance.

mod comparison;
mod junit;
mod markdown;
mod page;
mod text;

use std::path::{Path, PathBuf};
use std::thread;

use comparison::{Compared, of_loaded};
pub use comparison::{Comparison, Differing, Side};

use crate::ReportError;
use crate::pictures::{Picture, history};
use crate::{self as chart, History, Log, PercentileCurve};
use reports::compare::condition::Conditions;
use reports::compare::ranks::median;
use reports::latency::Latency;
use reports::run::{Run, RunError, doubts, replace};

/// What is to be compared, and how.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The run folders of both sides, at least one each.
    pub sides: [&'a [PathBuf]; 2],
    /// What must not come of the change.
    pub conditions: &'a Conditions,
    /// Whether conditions are judged although the sides cannot be compared as they are.
    pub is_despite_differences: bool,
}

/// What is kept of a run to be compared. The run itself is much larger.
struct Loaded {
    /// What is said of it.
    compared: Compared,
    /// Memory and connections.
    history: History,
    /// Its delays from due time and from actual send.
    delays: [Option<Latency>; 2],
}

impl Loaded {
    /// Reads the run in `folder`.
    fn of(folder: &Path) -> Result<Self, RunError> {
        let run = Run::load(folder)?;
        Ok(Self {
            compared: Compared {
                name: run.name(),
                folder: folder.to_owned(),
                summary: run.summary(),
                doubts: doubts(&run),
                plan: run.plan,
                host: run.host,
            },
            history: history(&run.memory),
            delays: [run.delivery_due, run.delivery_actual].map(|log| log.map(|it| it.total)),
        })
    }

    /// Reads all `folders`, on as many threads as there are processors.
    fn all(folders: &[PathBuf]) -> Result<Vec<Self>, RunError> {
        let n_threads = thread::available_parallelism().map_or(1, usize::from);
        let part = folders.len().div_ceil(n_threads).max(1);
        let read = |part: &[PathBuf]| part.iter().map(|it| Self::of(it)).collect::<Vec<_>>();
        let loaded: Vec<Result<Self, RunError>> = thread::scope(|scope| {
            let threads: Vec<_> =
                folders.chunks(part).map(|part| scope.spawn(move || read(part))).collect();
            threads
                .into_iter()
                .flat_map(|it| it.join().expect("reading a folder fails and does not panic"))
                .collect()
        });
        loaded.into_iter().collect()
    }
}

/// Sets the runs of two sides side by side, on one self-contained page at `out`.
pub fn compare(question: &Question<'_>, out: &Path) -> Result<Comparison, ReportError> {
    let folders = question.sides.concat();
    let mut loaded = [Loaded::all(&folders)?, Vec::new()];
    loaded[1] = loaded[0].split_off(question.sides[0].len());
    let runs = loaded.each_ref().map(|side| side.iter().map(|it| &it.compared).collect::<Vec<_>>());
    let comparison = of_loaded(&runs, question.conditions, question.is_despite_differences);
    let pictures = [memory(&comparison, &loaded)?, percentiles(&comparison, &loaded)?];
    let page = page::page(&comparison, &runs, pictures.each_ref());
    replace(out, page.as_bytes())?;
    Ok(comparison)
}

/// Draws the memory of one run of each side.
fn memory(comparison: &Comparison, sides: &[Vec<Loaded>; 2]) -> Result<Picture, ReportError> {
    let shown = sides.each_ref().map(|side| &side[in_the_middle(side)]);
    let labels = [0, 1].map(|at| match sides[at].len() {
        1 => comparison.sides[at].name.clone(),
        _ => format!("{}: {}", comparison.sides[at].name, shown[at].compared.name),
    });
    let logs = [0, 1].map(|at| Log { label: &labels[at], history: &shown[at].history });
    let words = "Memory of both servers and connections over time";
    let draw = |options: &_, format| chart::render(&logs, options, format);
    Ok(Picture::draw(words, (430, 400), draw)?)
}

/// Which run of a side has the RSS in the middle of all of them, after the messages.
fn in_the_middle(side: &[Loaded]) -> usize {
    let rss = |run: &Loaded| Some(run.compared.summary.cost.after.as_ref()?.rss_kb as f64);
    let Some(middle) = median(&side.iter().filter_map(rss).collect::<Vec<_>>()) else { return 0 };
    let off = |at: &usize| rss(&side[*at]).map_or(f64::INFINITY, |kb| (kb - middle).abs());
    (0..side.len()).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0)
}

/// Draws the delays of both sides by percentile, those of a side's runs together.
fn percentiles(comparison: &Comparison, sides: &[Vec<Loaded>; 2]) -> Result<Picture, ReportError> {
    let mut curves = Vec::new();
    for (at, side) in sides.iter().enumerate() {
        for (of, what) in ["from due time", "from actual send"].into_iter().enumerate() {
            let mut all: Option<Latency> = None;
            for delays in side.iter().filter_map(|run| run.delays[of].as_ref()) {
                all.get_or_insert_default().merge(delays);
            }
            if let Some(all) = all {
                let label = format!("{}, {what}", comparison.sides[at].name);
                curves.push(PercentileCurve::of(&label, at, &all));
            }
        }
    }
    let words = "Delivery latency of both sides by percentile, from due time and from actual send";
    let draw = |options: &_, format| chart::percentiles(&curves, options, format);
    Ok(Picture::draw(words, (400, 400), draw)?)
}
