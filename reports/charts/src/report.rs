//! Everything that is computed from the raw files of a run, put beside them.

use std::path::Path;

use crate::ChartError;
use crate::page::page;
use crate::pictures::Pictures;
use reports::run::replace;
use reports::run::{Run, RunError, Summary, files};

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Its folder was not read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A chart could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
}

/// Computes everything that the run in `folder` says from its raw files, and replaces what was
/// computed before: charts, `summary.json` and, last, `report.html`.
pub fn report(folder: &Path) -> Result<Summary, ReportError> {
    let run = Run::load(folder)?;
    let summary = run.summary();
    let pictures = Pictures::of(&run);
    pictures.save(folder)?;
    summary.write(folder)?;
    let page = page(&run, &summary, &pictures.draw()?);
    replace(&folder.join(files::REPORT), page.as_bytes())?;
    Ok(summary)
}
