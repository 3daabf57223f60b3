//! `rig storm --sweep`: the same storms with several back-off windows in turn, and one page with
//! how fast all connections were back in each.

use std::path::PathBuf;

use anyhow::ensure;
use reports::run::Command;

use crate::job::{Job, StormArgs, Windows};
use crate::place;

/// The page.
const PAGE: &str = "sweep.html";

/// The figures.
const FIGURES: &str = "sweep.json";

/// What is to be run, and where it is kept.
pub(crate) struct Turns {
    /// The folder of all of it.
    folder: PathBuf,
    /// The windows as they are written, and the run of each.
    pub(crate) runs: Vec<(String, Job)>,
}

/// A run for each window.
pub(crate) fn turns(args: &StormArgs, windows: &Windows) -> anyhow::Result<Turns> {
    let folder = place::make(args.kept().out.as_deref(), "sweep")?;
    let mut runs = Vec::new();
    for window in &windows.0 {
        let text = if window.is_zero() {
            "0".to_owned()
        } else {
            humantime::format_duration(*window).to_string().replace(' ', "")
        };
        let out = folder.join(format!("backoff-{text}"));
        runs.push((text, args.job_within(*window, out)?));
    }
    Ok(Turns { folder, runs })
}

/// Writes the page and the figures. A run that could not be made has none.
pub(crate) fn write(turns: &Turns, command: &str) -> anyhow::Result<charts::Sweep> {
    let made = turns.runs.iter().filter_map(|(window, job)| {
        let folder = job.out.clone().expect("each of them has its folder");
        let window = window.clone();
        place::is_made(&folder).then_some(charts::Window { window, folder })
    });
    let windows: Vec<charts::Window> = made.collect();
    ensure!(!windows.is_empty(), "no run could be made");
    let command = Command { program: "rig".to_owned(), line: command.to_owned() };
    let sweep = charts::sweep(&windows, command, &page(turns))?;
    place::write_figures(&turns.folder.join(FIGURES), &sweep)?;
    Ok(sweep)
}

/// The path of the page.
pub(crate) fn page(turns: &Turns) -> PathBuf {
    turns.folder.join(PAGE)
}
