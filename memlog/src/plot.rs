//! The chart of a run while it goes on, and the charts of old logs.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use charts::{ChartError, History};
use reports::memory_log::{self, Sample};

use crate::config::Plot;
use crate::error::Error;

/// The shortest time from one drawing to the next. A chart takes a tenth of a second of CPU, which
/// must stay small beside that of a server on the same machine.
const REDRAW_EVERY: Duration = Duration::from_secs(15);

/// Damaged lines of a log that are named one by one. More say no more.
const MOST_DAMAGE: usize = 10;

/// The chart of a run.
#[derive(Debug)]
pub struct LivePlot {
    /// Where it goes, and how it is drawn.
    plot: Plot,
    /// The samples, in bounded memory however long the run.
    history: History,
    /// When it was drawn last, in time since boot.
    drawn_at: Option<Duration>,
    /// Whether the last drawing failed.
    has_failed: bool,
}

impl LivePlot {
    /// A chart without samples. Whether it can be written is found out now, not after a day.
    pub fn new(plot: Plot) -> Result<Self, ChartError> {
        charts::check_writable(&plot.path)?;
        let history = History::new();
        // Draws in memory: a size that cannot be drawn is found out now as well.
        let format = charts::Format::of(&plot.path)?;
        charts::render(&[charts::Log { label: "", history: &history }], &plot.options, format)?;
        Ok(Self { plot, history, drawn_at: None, has_failed: false })
    }

    /// Takes the next sample.
    pub fn push(&mut self, sample: &Sample) {
        self.history.push(sample);
    }

    /// Draws again if it is time to. What went wrong is said once.
    pub fn redraw(&mut self, uptime: Duration) -> Option<ChartError> {
        if self.drawn_at.is_some_and(|drawn_at| uptime < drawn_at + REDRAW_EVERY) {
            return None;
        }
        self.drawn_at = Some(uptime);
        let error = self.draw().err();
        let had_failed = std::mem::replace(&mut self.has_failed, error.is_some());
        error.filter(|_| !had_failed)
    }

    /// Draws now.
    pub fn draw(&self) -> Result<(), ChartError> {
        let label = self.plot.path.to_string_lossy();
        let log = charts::Log { label: &label, history: &self.history };
        charts::save(&self.plot.path, &[log], &self.plot.options)
    }
}

/// Draws the logs at `paths`, and says which of their lines are damaged. The rest is drawn.
pub fn draw_logs(paths: &[PathBuf], plot: &Plot) -> Result<Vec<String>, Error> {
    charts::check_writable(&plot.path)?;
    let mut damage = Vec::new();
    let mut histories = Vec::new();
    for path in paths {
        let (history, damaged) = read(path)?;
        damage.extend(damaged);
        histories.push((label(path), history));
    }
    let logs: Vec<charts::Log<'_>> =
        histories.iter().map(|(label, history)| charts::Log { label, history }).collect();
    charts::save(&plot.path, &logs, &plot.options)?;
    Ok(damage)
}

/// Reads a log and names its damaged lines.
fn read(path: &Path) -> Result<(History, Vec<String>), Error> {
    let error = |source| Error::Read { path: path.to_owned(), source };
    let log = BufReader::new(File::open(path).map_err(error)?);
    let mut history = History::new();
    let mut damage = Vec::new();
    let mut n_damaged = 0;
    let damaged = |it: memory_log::Damage| {
        n_damaged += 1;
        if damage.len() < MOST_DAMAGE {
            damage.push(format!("{}:{}: {}", path.display(), it.line, it.why));
        }
    };
    memory_log::read(log, |sample| history.push(&sample), damaged).map_err(error)?;
    if history.n_samples() == 0 {
        return Err(Error::Empty(path.to_owned()));
    }
    if n_damaged > damage.len() {
        damage.push(format!("{}: {n_damaged} damaged lines in all", path.display()));
    }
    Ok((history, damage))
}

/// What a log is called on a chart: its file's name.
fn label(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
