//! What the command line does with whole stores: `comet-server friends …`.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use rand::RngExt as _;

use super::check::check;
use super::load::{Loaded, Progress, load};
use super::recent::Direction;
use super::store::{self, DEFAULT_CACHE_BYTES};

/// What is done with a store.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum FriendsCommand {
    /// Makes a store of an edge list: a line `A B` for each edge, where A follows B.
    Load {
        /// The list. Blank lines and lines that begin with # are skipped.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The folder of the store, which is not there yet, or empty.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
    /// Writes the edges of a store to stdout, in the order of who follows.
    Dump {
        /// The folder of the store, which no server has open.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Checks a store: whether its file is whole, and both directions have the same edges.
    Check {
        /// The folder of the store, which no server has open.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

impl FriendsCommand {
    /// Does it. `out` gets what was asked for, and `progress` a line on how far it is, again and
    /// again. Returns whether all is well.
    pub fn run(&self, out: &mut dyn Write, progress: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
        match self {
            Self::Load { file, into } => {
                let loaded = load(file, into, &mut |far| progress(&sentence(far)))?;
                writeln!(out, "{}", summary(&loaded))?;
                Ok(true)
            }
            Self::Dump { folder } => {
                let store = store::open_existing(folder, DEFAULT_CACHE_BYTES)?;
                store.for_each::<anyhow::Error>(Direction::Follows, |(follower, friend)| {
                    Ok(writeln!(out, "{follower} {friend}")?)
                })?;
                out.flush()?;
                Ok(true)
            }
            Self::Check { folder } => {
                let mut store = store::open_existing(folder, DEFAULT_CACHE_BYTES)?;
                let is_whole = store.is_whole()?;
                let checked = check(&store, rand::rng().random())?;
                let [n_follows, n_followers] = checked.n_edges;
                let mut text = format!("{n_follows} edges by who follows, {n_followers} by whom");
                for (direction, (follower, friend)) in checked.lone {
                    let by = match direction {
                        Direction::Follows => "who follows",
                        Direction::Followers => "whom",
                    };
                    write!(text, "\n{follower} {friend} stands only by {by}")?;
                }
                let verdict = match (is_whole, checked.do_agree) {
                    (true, true) => "both directions agree",
                    (false, true) => "both directions agree; the file was damaged and is mended",
                    (_, false) => "the directions differ; make the store again, with friends load",
                };
                writeln!(out, "{text}\n{verdict}")?;
                Ok(is_whole && checked.do_agree)
            }
        }
    }
}

/// How far it is, for people.
fn sentence(progress: Progress) -> String {
    let percent = |n: u64, of: u64| n * 100 / of.max(1);
    match progress {
        Progress::Read(n, of) => format!("reading: {} %", percent(n, of)),
        Progress::Written(n, of) => format!("writing: {} %", percent(n, of)),
    }
}

/// What was loaded, for people.
fn summary(loaded: &Loaded) -> String {
    let Loaded { lines, edges, repeated, selves } = loaded;
    format!(
        "{edges} edges loaded of {lines} lines; left out: {repeated} named again, {selves} of \
         users that follow themselves"
    )
}
