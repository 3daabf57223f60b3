//! What the steps of a run share: what was asked for, the programs, and where the run is kept.

use std::path::PathBuf;

use anyhow::Context as _;
use reports::run::{Footprints, Phases, Plan};
use tempfile::TempDir;

use crate::job::Job;
use crate::place;
use crate::process::Process;
use crate::programs::Programs;
use crate::progress::Progress;

/// All that a run has at hand from its beginning on.
pub(crate) struct Stage<'a> {
    /// What was asked for.
    pub(crate) job: &'a Job,
    /// Servers that are started.
    pub(crate) n_nodes: usize,
    /// What is run.
    pub(crate) programs: Programs,
    /// Where the run is kept.
    pub(crate) folder: PathBuf,
    /// Where the URL file is, which is not kept: the plan says how it is written.
    pub(crate) temporary: TempDir,
    /// What is to be known of it.
    pub(crate) plan: Plan,
    /// When each phase began, so far.
    pub(crate) phases: Phases,
    /// What it took of the machine so far.
    pub(crate) footprints: Footprints,
    /// Whether the memory log has ended, because the server has.
    pub(crate) is_log_over: bool,
    /// Tells people how far it is.
    pub(crate) progress: Progress,
}

impl Stage<'_> {
    /// Starts a program, and writes its command line into the plan.
    pub(crate) fn start(&mut self, name: &str, flags: &[String]) -> anyhow::Result<Process> {
        place::note(&mut self.plan, &self.folder, name, flags)?;
        self.programs.start(name, flags)
    }

    /// The path of something that is not kept; `""` is the folder of such things.
    pub(crate) fn temporary_path(&self, name: &str) -> anyhow::Result<String> {
        let path = self.temporary.path().join(name);
        let path = path.into_os_string().into_string().ok();
        path.context("the folder for temporary files has a strange name")
    }

    /// The path of a file of the run.
    pub(crate) fn path(&self, name: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        path.into_os_string().into_string().ok().context("the folder's name is no text")
    }
}

/// Words of a command line.
pub(crate) fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}
