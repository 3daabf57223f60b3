//! Opens and holds many HTTP connections from a URL file, and accounts for all that arrives.
//!
//! A run goes through these files:
//!
//! - [`args`]: the command line, checked into a [`Config`].
//! - [`urls`], [`url`]: the URL file, read twice and never held; one line of it.
//! - [`request`]: what is asked on each connection, put together once.
//! - `prepare` and `dry_run`, with `targets`, [`sources`] and `limits`: where connections go, where
//!   they come from, and how many processes that takes. All that can be refused is refused before
//!   the first connect.
//! - `engine`, `job`, `dial`, [`tls`], `redirect`: the one loop that opens, holds and listens, and
//!   what it is to do.
//! - `workers`: the same in several processes, where one may not open as many files.
//! - [`decode`]: responses, read strictly and counted by framing; pure.
//! - [`items`]: from the bytes of a body to its items and the marks of messages; pure.
//! - [`judge`], [`accounting`]: which messages have come, what is missing, and how much of that is
//!   known; what the user says about it.
//! - `receipt`: from what one `recv` brought into both.
//! - `tally`, `kinds`, [`reason`], `report`: what is counted, why connections ended, and which
//!   figures come of it.
//! - `reporter`: the reports while it goes on, and when it was held long enough.
//! - [`outcome`], [`figures`]: how it ended, and whether that is what was asked for.
//! - [`text`], [`live`], `shown`: how it is said, at the end and on a terminal.
//! - [`generate`]: `floodtest urls`.
//!
//! Nothing here prints or chooses an exit code.

pub mod accounting;
pub mod args;
pub mod config;
pub mod decode;
mod dial;
mod dry_run;
mod engine;
pub mod figures;
pub mod generate;
pub mod items;
mod job;
pub mod judge;
mod kinds;
mod limits;
pub mod live;
pub mod outcome;
mod prepare;
pub mod reason;
mod receipt;
mod redirect;
mod report;
mod reporter;
pub mod request;
mod shown;
pub mod sources;
mod tally;
mod targets;
pub mod text;
pub mod tls;
pub mod url;
pub mod urls;
mod workers;

use std::os::fd::AsFd;

pub use config::{Config, Rate};
pub use dry_run::{DryRun, DryRunTarget};
use engine::{Engine, Finished};
use job::Job;
pub use outcome::{End, Observer, Outcome};
use prepare::Prepared;
use reporter::Reporter;
use reports::out::OutError;
use reports::stamp::Clock;
pub use request::RequestError;
pub use targets::TargetError;
pub use tls::{TlsFault, TrustError};
use urls::UrlFileError;
pub use workers::run_worker;

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
    /// Not even worker processes can have so many connections open.
    #[error(
        "cannot hold {asked} connections: with an open-file limit of {limit} a run holds at most \
         {most}; raise it with `ulimit -n {}`, or ask for fewer with --connections",
        asked.saturating_add(limits::RESERVE)
    )]
    OpenFiles {
        /// Connections asked for.
        asked: u64,
        /// The limit of a process, raised as far as is allowed.
        limit: u64,
        /// Connections that all processes can hold.
        most: u64,
    },
    /// All processes of the machine together may not have so many files open.
    #[error(
        "cannot hold {asked} connections: this machine may open only {left} more files; raise \
         that with `sysctl -w fs.file-max=N`"
    )]
    MachineFiles {
        /// Connections asked for.
        asked: u64,
        /// Files that may still be opened.
        left: u64,
    },
    /// What is to be asked cannot be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is nobody to trust for `https://` URLs, or what the flags of TLS name cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// An address of `--source-ip` is not one of this machine.
    #[error("--source-ip {0} is not an address of this machine; `ip address` lists those it has")]
    ForeignSource(std::net::IpAddr),
    /// The folder of `--out` cannot be used.
    #[error(transparent)]
    Out(#[from] OutError),
    /// A worker process cannot be started: no processes or no memory are left.
    #[error("cannot start worker process {number}")]
    CannotStart {
        /// Which one, from 1 on.
        number: u16,
        /// What the operating system, or the worker, says.
        source: std::io::Error,
    },
    /// A worker process cannot go on. The text is the error that it met.
    #[error("{0}")]
    Worker(String),
    /// The operating system refuses something without which there is no run.
    #[error("cannot wait for sockets")]
    Os(#[from] std::io::Error),
}

/// What a run of `config` would do, or why it cannot be made. Nothing is connected.
///
/// Raises this process's soft limit on open files.
pub fn dry_run(config: &Config) -> Result<DryRun, Error> {
    Ok(Prepared::new(config)?.dry_run)
}

/// Makes one run: opens the connections of `config`, holds them and reports to `observer`, until
/// `stop` becomes readable or the run ends by itself.
///
/// Blocks the calling thread, and raises this process's soft limit on open files. Where that is
/// not enough it starts worker processes.
pub fn run(
    config: &Config,
    stop: impl AsFd,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut prepared = Prepared::new(config)?;
    prepared.dry_run.warnings.iter().for_each(|warning| observer.trouble(warning));
    if prepared.dry_run.workers > 0 {
        return workers::run(config, prepared, stop.as_fd(), observer);
    }
    limits::make_room(stop.as_fd(), prepared.dry_run.asked);
    let clock = Clock::start();
    let mut reporter =
        Reporter::new(config, &prepared, vec![std::process::id()], &clock, observer)?;
    let mut job = Job::whole(config, &mut prepared);
    let Prepared { urls, trust, .. } = &mut prepared;
    let (stop, started_at) = (stop.as_fd(), clock.started_at());
    let engine = Engine::new(&mut job, urls, trust.take(), stop, clock, started_at)?;
    let Finished { end, tally, worst } = engine.run(&mut reporter)?;
    Ok(reporter.finish(end, &tally, worst, urls))
}
