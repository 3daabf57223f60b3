//! Reading and writing the files of a run folder, and what is wrong with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chart::ChartError;

/// The format of a run folder that is written here, and the latest that is read.
pub const FORMAT: u64 = 1;

/// Why a run folder was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file is not there, or may not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the file says is not understood.
    #[error("{}:{line}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The folder was written by a later toolkit.
    #[error(
        "{} is of format {found}, and this toolkit reads up to {FORMAT}: use the toolkit that \
         wrote it, or a later one",
        path.display()
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A chart could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
}

/// Reads a file of the folder as text.
pub(crate) fn read_text(path: &Path) -> Result<String, RunError> {
    fs::read_to_string(path).map_err(|source| RunError::Read { path: path.to_owned(), source })
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    parse_toml(&read_text(path)?, path)
}

/// Reads TOML that came from `path`.
pub(crate) fn parse_toml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, RunError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = 1 + before.matches('\n').count() as u64;
        RunError::Damaged { path: path.to_owned(), line, why: error.message().to_owned() }
    })
}

/// Writes a TOML file.
pub(crate) fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<(), RunError> {
    let text = toml::to_string(value).expect("plain fields and tables are TOML");
    replace(path, text.as_bytes())
}

/// Puts `bytes` in the place of the file at `path`, whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let error = |source| RunError::Write { path: path.to_owned(), source };
    crate::replace::replace(path, bytes).map_err(error)
}
