//! `rig peers`: one scenario against several servers in turn, and one page that compares them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use crate::job::{Job, KeptArgs};
use crate::place;
use crate::scenario::Scenario;

/// Where the scenarios of the checkout are.
const SHIPPED: &str = "reports/rig/scenarios/peers";

/// The page.
const PAGE: &str = "peers.html";

/// The figures.
const FIGURES: &str = "peers.json";

/// What is asked of `rig peers`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PeersArgs {
    /// Scenario files, one for each server [default: those in reports/rig/scenarios/peers of the
    /// checkout]
    files: Vec<String>,
    /// Runs of each, in turn: all servers once, then all of them again
    #[arg(long, value_name = "N", default_value = "3", value_parser = repeats)]
    repeats: u64,
    /// Override a value of all of them; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The folder to keep the runs and the page in; runs that are there already are not made again
    /// [default: a new one in runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Build the programs of the checkout that it is started in, with this cargo profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// What is to be run, and where it is kept.
pub(crate) struct Turns {
    /// The folder of all of it.
    pub(crate) folder: PathBuf,
    /// The runs, in their order.
    pub(crate) jobs: Vec<Job>,
    /// The folders of each server's runs.
    pub(crate) peers: Vec<charts::Peer>,
}

impl PeersArgs {
    /// The runs in turn.
    pub(crate) fn turns(&self) -> anyhow::Result<Turns> {
        let files = if self.files.is_empty() { shipped()? } else { self.files.clone() };
        let mut scenarios = Vec::new();
        for file in &files {
            let (name, mut sheet) = Scenario::sheet(file)?;
            sheet.set_all(&self.set)?;
            let scenario = Scenario::of(name, sheet).with_context(|| file.clone())?;
            ensure!(
                scenarios.iter().all(|other: &Scenario| other.name != scenario.name),
                "two of the scenarios are called {}; their runs would have one folder",
                scenario.name
            );
            scenarios.push(scenario);
        }
        let folder = match &self.out {
            // Runs that are there already are kept.
            Some(folder) => {
                fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make the folder {}", folder.display()))?;
                folder.clone()
            }
            None => place::make(None, "peers")?,
        };
        let folder_of =
            |scenario: &Scenario, turn| folder.join(format!("{}-{turn}", scenario.name));
        let mut jobs = Vec::new();
        for turn in 1..=self.repeats {
            for scenario in &scenarios {
                let out = Some(folder_of(scenario, turn));
                let kept = KeptArgs { out, json: false, profile: self.profile.clone() };
                jobs.push(kept.job(scenario.clone()));
            }
        }
        let peers = scenarios.iter().map(|scenario| charts::Peer {
            folders: (1..=self.repeats).map(|turn| folder_of(scenario, turn)).collect(),
        });
        let peers = peers.collect();
        Ok(Turns { folder, jobs, peers })
    }
}

/// The most runs of each: beyond it a spread does not become clearer.
const MOST_REPEATS: u64 = 100;

/// How many runs of each.
fn repeats(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n) if (1..=MOST_REPEATS).contains(&n) => Ok(n),
        _ => Err(format!("write a number from 1 to {MOST_REPEATS}")),
    }
}

/// The scenarios that come with the checkout.
fn shipped() -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(SHIPPED).with_context(|| {
        format!("cannot find {SHIPPED}; start it in the checkout, or name scenario files")
    })?;
    let mut files: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "there are no scenarios in {SHIPPED}");
    Ok(files)
}

/// Writes the page and the figures.
pub(crate) fn write(turns: &Turns, command: &str) -> anyhow::Result<charts::Peers> {
    // One that could not be made, such as for a server that is not installed, has no figures.
    let peers: Vec<charts::Peer> = turns
        .peers
        .iter()
        .map(|peer| charts::Peer {
            folders: peer.folders.iter().filter(|folder| place::is_made(folder)).cloned().collect(),
        })
        .filter(|peer| !peer.folders.is_empty())
        .collect();
    ensure!(!peers.is_empty(), "no run could be made");
    let command = reports::run::Command { program: "rig".to_owned(), line: command.to_owned() };
    let peers = charts::peers(&peers, command, &turns.folder.join(PAGE))?;
    place::write_figures(&turns.folder.join(FIGURES), &peers)?;
    Ok(peers)
}

/// The path of the page.
pub(crate) fn page(turns: &Turns) -> PathBuf {
    turns.folder.join(PAGE)
}
