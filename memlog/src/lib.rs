//! Watches a server's memory and connections for days without disturbing it.
//!
//! A sample is two small files of `/proc` and the children of each process, two files of the
//! kernel's, and two questions to the kernel's `sock_diag`; it becomes a line of a log that the
//! article's own tools read.
//!
//! - [`args`]: the command line, checked once into a [`Config`].
//! - [`target`]: which processes are watched, across restarts; [`process`]: one of them.
//! - [`holders`]: which processes hold a port; [`guard`]: a warning where they are not watched.
//! - [`provenance`]: which program a name was taken for.
//! - [`pss`]: memory in which shared pages count once, read seldom.
//! - [`sockets`] and [`kernel`]: connections, and what the kernel spends on them.
//! - [`clock`]: absolute due times, and steps of the wall clock.
//! - [`wait`]: due times, marks and signals, whichever comes first.
//! - [`log`]: whole lines, on a full disk and after a kill too.
//! - [`sampler`]: one sample; [`record`]: the run; [`plot`]: its chart, and those of old logs.

pub mod args;
pub mod clock;
pub mod guard;
pub mod holders;
pub mod kernel;
pub mod log;
pub mod plot;
pub mod process;
pub mod provenance;
pub mod pss;
pub mod record;
pub mod sampler;
pub mod sockets;
pub mod target;
pub mod wait;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use charts::ChartError;

use crate::target::Choice;

/// What to record, and where.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which processes.
    pub choice: Choice,
    /// Whether their descendants are watched too.
    pub with_tree: bool,
    /// Ports to count connections on. Empty: those on which the target listens.
    pub ports: Vec<u16>,
    /// Where the lines go.
    pub log: PathBuf,
    /// Size past which a new log is begun.
    pub rotate_bytes: Option<u64>,
    /// From one sample to the next.
    pub interval: Duration,
    /// How long. `None`: until told to end.
    pub run_for: Option<Duration>,
    /// The chart that is redrawn meanwhile.
    pub plot: Option<Plot>,
}

/// A chart to draw.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Where it goes.
    pub path: PathBuf,
    /// How it is drawn.
    pub options: charts::Options,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process has this name.
    #[error("no process is called {name}; start it first, or name another with --name or --pid")]
    NoneNamed {
        /// The name.
        name: String,
    },
    /// Several processes have a name that one should have.
    #[error("{} processes are called {name}: {}; choose with --pid, or sum them with --name {name}", pids.len(), listed(pids))]
    SeveralNamed {
        /// The name.
        name: String,
        /// The processes.
        pids: Vec<u32>,
    },
    /// Nobody listens on a port.
    #[error("nobody listens on {}; start the server first, or name it with --name or --pid", ports_listed(.0.iter().copied()))]
    NobodyListens(Vec<u16>),
    /// Somebody listens on a port, and it cannot be seen who.
    #[error("cannot see who listens on {}; run as its user or root", ports_listed(.0.iter().copied()))]
    UnseenOwner(Vec<u16>),
    /// There is no such process.
    #[error("no process {0}")]
    NoPid(u32),
    /// The target's descriptors, and so its listening ports, may not be seen.
    #[error(
        "cannot see on which ports {target} listens: {source}; give them with --port, or run as its user or root"
    )]
    Ports {
        /// The target.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel does not answer questions about sockets.
    #[error("cannot ask the kernel about sockets: {0}; `modprobe tcp_diag` may help")]
    SockDiag(io::Error),
    /// The log cannot be opened, read or repaired.
    #[error("cannot write {}: {source}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is there, and is something else.
    #[error("{} is not a memory log, and is left alone; name another file with --log", .0.display())]
    NoLog(PathBuf),
    /// Another memlog writes this log.
    #[error("another memlog writes {}; name another file with --log", .0.display())]
    LogInUse(PathBuf),
    /// The chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// A log to draw cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A log to draw has nothing to draw.
    #[error("{} holds no sample", .0.display())]
    Empty(PathBuf),
    /// Signals, or marks.
    #[error("cannot wait for signals and marks: {0}")]
    Wait(io::Error),
    /// Nobody takes marks for this log.
    #[error("no memlog writes {}: {source}", path.display())]
    NoMemlog {
        /// The log.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Ports in a sentence: `port 7`, or `ports 7 and 8`.
fn ports_listed(ports: impl Iterator<Item = u16>) -> String {
    let ports: Vec<u32> = ports.map(u32::from).collect();
    let what = if ports.len() == 1 { "port" } else { "ports" };
    format!("{what} {}", listed(&ports))
}

/// Numbers in a sentence: `7, 8 and 9`.
fn listed(numbers: &[u32]) -> String {
    let mut text = String::new();
    for (at, number) in numbers.iter().enumerate() {
        let separator = match at {
            0 => "",
            at if at + 1 == numbers.len() => " and ",
            _ => ", ",
        };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{number}");
    }
    text
}
