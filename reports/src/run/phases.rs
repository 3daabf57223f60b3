//! When each phase of a run began: `phases.toml`. The memory log has them as marks too; a run whose
//! server is elsewhere has no memory log.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// When each phase began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// One for each phase, in their order.
    #[serde(rename = "phase", default)]
    pub phases: Vec<PhaseStart>,
}

/// When a phase began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseStart {
    /// Its name, one of [`files::marks`].
    pub name: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Phases {
    /// Reads them from `folder`. Runs before November 2026 have none.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(files::PHASES);
        if path.exists() { read_toml(&path) } else { Ok(Self::default()) }
    }

    /// Writes them into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::PHASES), self)
    }
}
