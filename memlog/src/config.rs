//! What a run is asked for, checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::target::Choice;
use reports::remote::RemoteHost;

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
    /// Where samples are taken, if not here.
    pub there: Option<There>,
}

/// Another host, whose samples are kept here.
#[derive(Debug, Clone)]
pub struct There {
    /// Which.
    pub host: RemoteHost,
    /// What is recorded there, as flags.
    pub flags: Vec<String>,
}

/// A chart to draw.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Where it goes.
    pub path: PathBuf,
    /// How it is drawn.
    pub options: charts::Options,
}
