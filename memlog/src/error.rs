//! Why something could not be done.

use std::io;
use std::path::PathBuf;

use charts::ChartError;

use crate::host::fault::Fault;
use crate::text::{listed, ports_listed};

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
    #[error(
        "{} processes are called {name}: {}; choose with --pid, or sum them with --name {name}",
        pids.len(),
        listed(pids)
    )]
    SeveralNamed {
        /// The name.
        name: String,
        /// The processes.
        pids: Vec<u32>,
    },
    /// Nobody listens on a port.
    #[error(
        "nobody listens on {}; start the server first, or name it with --name or --pid",
        ports_listed(.0.iter().copied())
    )]
    NobodyListens(Vec<u16>),
    /// Somebody listens on a port, and it cannot be seen who.
    #[error(
        "cannot see who listens on {}; run as its user or root",
        ports_listed(.0.iter().copied())
    )]
    UnseenOwner(Vec<u16>),
    /// There is no such process.
    #[error("no process {0}")]
    NoPid(u32),
    /// The target's descriptors, and so its listening ports, may not be seen.
    #[error(
        "cannot see on which ports {target} listens: {source}; give them with --port, or run as \
         its user or root"
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
    #[error(
        "{} is not a memory log, and is left alone; name another file with --log",
        .0.display()
    )]
    NoLog(PathBuf),
    /// Another memlog writes this log.
    #[error("another memlog writes {}; name another file with --log", .0.display())]
    LogInUse(PathBuf),
    /// A host does not do what it is to.
    #[error(transparent)]
    Host(#[from] Fault),
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
