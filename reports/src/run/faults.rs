//! What was done to the server while the run went on, to see how its connections come back:
//! `faults.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// Everything that was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// In its order.
    #[serde(rename = "fault", default)]
    pub faults: Vec<Fault>,
}

/// Something that was done to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What: `kill` (SIGKILL, and started again) or `stop` (SIGSTOP, then SIGCONT).
    pub what: FaultKind,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// When the server was ready again; of a stop, when it was continued. `None`: it was not, since
    /// the run ended before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_unix_ms: Option<u64>,
}

/// What can be done to a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is killed at once, with all its connections, and started again.
    #[default]
    Kill,
    /// It stands still for a while, and its connections stay.
    Stop,
}

impl Faults {
    /// Reads them from `folder`; none where a run has not said any.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(files::FAULTS);
        if path.exists() { read_toml(&path) } else { Ok(Self::default()) }
    }

    /// Writes them into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::FAULTS), self)
    }

    /// Whether the server was killed, so that what it had counted is not known.
    pub fn has_kill(&self) -> bool {
        self.faults.iter().any(|fault| fault.what == FaultKind::Kill)
    }
}
