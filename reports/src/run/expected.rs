//! How many messages were to come in a run: `expected.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// How many messages were to come: Σ over all ids (messages to the id that were answered ×
/// connections that follow it). Computed by neither floodtest nor the server, from the file of
/// `msggen --sent` and the URL file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// That many. `None`: it cannot be known, and `why` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// What may have come beside them: messages that were never answered × connections.
    #[serde(default)]
    pub unanswered: u64,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Expected {
    /// That it is not known, and why.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::default() }
    }

    /// Reads it from `folder`; `None` where a run has not said it.
    pub fn read(folder: &Path) -> Result<Option<Self>, RunError> {
        let path = folder.join(files::EXPECTED);
        if path.exists() { read_toml(&path).map(Some) } else { Ok(None) }
    }

    /// Writes it into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::EXPECTED), self)
    }
}
