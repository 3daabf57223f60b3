//! Everything that is computed from the raw files of a run, put beside them.

use std::path::Path;

use super::folder::{RunError, replace};
use super::page::page;
use super::pictures::Pictures;
use super::{Run, Summary, files};

/// Computes everything that the run in `folder` says from its raw files, and replaces what was
/// computed before: charts, `summary.json` and, last, `report.html`.
pub fn report(folder: &Path) -> Result<Summary, RunError> {
    let run = Run::load(folder)?;
    let summary = Summary::of(&run);
    let pictures = Pictures::of(&run);
    pictures.save(folder)?;
    summary.write(folder)?;
    let page = page(&run, &summary, &pictures.draw()?);
    replace(&folder.join(files::REPORT), page.as_bytes())?;
    Ok(summary)
}
