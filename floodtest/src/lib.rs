//! Opens and holds many HTTP connections from a URL file, and accounts for all that arrives.
//!
//! A run goes through these files:
//!
//! - [`args`]: the command line, checked into a [`Config`].
//! - [`urls`], [`url`]: the URL file, read twice and never held; one line of it.
//! - `targets`, [`sources`], `limits`: where connections go and where they come from, and whether
//!   that many are possible at all. All that can be refused is refused before the first connect.
//! - `engine`, `dial`: the one loop that opens, holds and listens.
//! - [`decode`]: responses, read strictly and counted by framing; pure.
//! - [`window`]: which message numbers have come; pure.
//! - `tally`, [`reason`]: what is counted, and why connections ended.
//! - [`outcome`], [`text`]: how it ended, whether that is what was asked for, and how it is said.
//! - [`generate`]: `floodtest urls`.
//!
//! Nothing here prints or chooses an exit code.

pub mod args;
pub mod config;
pub mod decode;
mod dial;
mod engine;
pub mod generate;
mod limits;
pub mod outcome;
pub mod reason;
pub mod sources;
mod tally;
mod targets;
pub mod text;
pub mod url;
pub mod urls;
pub mod window;

use std::os::fd::AsFd;

pub use config::{Config, Rate};
pub use outcome::{End, Observer, Outcome, Progress};
use reports::out::OutError;
pub use targets::TargetError;
use targets::Targets;
use urls::{UrlFile, UrlFileError};

/// Why a run could not be made, or had to be abandoned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL file cannot be used.
    #[error(transparent)]
    Urls(#[from] UrlFileError),
    /// A line names a host that the first reading of the file did not find. The file was changed
    /// in mid-run; leave it as it is.
    #[error("{path}:{line}: the file was changed while it was in use")]
    FileChanged {
        /// The URL file.
        path: String,
        /// The line.
        line: u64,
    },
    /// A destination cannot be dialed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// This process may not have so many connections open.
    #[error(
        "cannot hold {asked} connections: the open-file limit is {limit}; raise it with \
         `ulimit -n {}`, or ask for at most {} with --connections",
        asked.saturating_add(limits::RESERVE), limit.saturating_sub(limits::RESERVE)
    )]
    OpenFiles {
        /// Connections asked for.
        asked: u64,
        /// The limit, raised as far as is allowed.
        limit: u64,
    },
    /// An address of `--source-ip` is not one of this machine.
    #[error("--source-ip {0} is not an address of this machine; `ip address` lists those it has")]
    ForeignSource(std::net::IpAddr),
    /// The folder of `--out` cannot be used.
    #[error(transparent)]
    Out(#[from] OutError),
    /// The operating system refuses something without which there is no run.
    #[error("cannot wait for sockets")]
    Os(#[from] std::io::Error),
}

/// Makes one run: opens the connections of `config`, holds them and tells `observer`, until
/// `stop` becomes readable or the run ends by itself.
///
/// Blocks the calling thread, and raises this process's soft limit on open files.
pub fn run(
    config: &Config,
    stop: impl AsFd,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut urls = UrlFile::open(&config.urls)?;
    let (mut targets, n_asked) = Targets::survey(&mut urls, config.connections)?;
    let limit = limits::raise_open_files();
    if n_asked.saturating_add(limits::RESERVE) > limit {
        return Err(Error::OpenFiles { asked: n_asked, limit });
    }
    if let Some(ip) = config.source_ips.as_ref().and_then(sources::SourceIps::first_foreign) {
        return Err(Error::ForeignSource(ip));
    }
    targets.resolve(&config.urls, n_asked, config.source_ips.as_ref())?;
    let n_asked = usize::try_from(n_asked).expect("as many descriptors are allowed");
    engine::Engine::new(config, urls, targets, n_asked, stop.as_fd())?.run(observer)
}
