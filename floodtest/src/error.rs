//! Why a run cannot be made.

use reports::edges::EdgeListError;
use reports::out::OutError;

use crate::limits;
use crate::request::error::RequestError;
use crate::shape::ShapeError;
use crate::targets::TargetError;
use crate::tls::trust::TrustError;
use crate::urls::UrlFileError;

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
    /// The file of `--follows` cannot be used.
    #[error("--follows: {0}")]
    Follows(#[from] EdgeListError),
    /// What is asked of the shape of the load makes no sense together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
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
    /// Hosts cannot hold their part of the connections: a sentence for each.
    #[error("{}", listed(.0))]
    Hosts(Vec<String>),
    /// It was told to end before the first connect.
    #[error("it was told to end before the first connect")]
    Interrupted,
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

/// Faults of several hosts, a line each; a single one goes into the line that it is said in.
fn listed(faults: &[String]) -> String {
    match faults {
        [fault] => fault.clone(),
        faults => {
            format!("{} hosts cannot hold connections:\n  {}", faults.len(), faults.join("\n  "))
        }
    }
}
