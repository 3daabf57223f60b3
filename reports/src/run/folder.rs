//! Reading and writing the files of a run folder, and what is wrong with them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::units::MOST;

/// The format of a run folder that is written here, and the latest that is read.
pub const FORMAT: u64 = 1;

/// The greatest time that is taken from a file, in seconds since the Unix epoch: the end of the
/// year 9999, after which dates have another form.
pub(crate) const LAST_UNIX_S: u64 = 253_402_300_799;

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
}

/// Opens a file of the folder. A pipe would be waited for, and a device may have no end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    File::open(path)
}

/// Reads a file of the folder whole.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file of the folder as text.
pub(crate) fn read_text(path: &Path) -> Result<String, RunError> {
    let text = read(path).and_then(|bytes| {
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))
    });
    text.map_err(|source| RunError::Read { path: path.to_owned(), source })
}

/// Why a number of `value` is none that a run can have, if so. Sums of such numbers would not fit.
pub(crate) fn too_great(value: &impl Serialize) -> Option<String> {
    let value = serde_json::to_value(value).expect("plain fields are JSON");
    greatest(&value).map(|(name, number)| {
        format!("its {name} is {number}, and no run has more than {MOST} of anything")
    })
}

/// A number in `value` beyond [`MOST`], and what it is called.
fn greatest(value: &Value) -> Option<(String, String)> {
    match value {
        Value::Number(number) => {
            let is_too_great = number.as_f64().is_none_or(|number| number.abs() > MOST as f64);
            is_too_great.then(|| ("number".to_owned(), number.to_string()))
        }
        Value::Array(values) => values.iter().find_map(greatest),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let (_, number) = greatest(value)?;
            Some((name.clone(), number))
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned + Serialize>(path: &Path) -> Result<T, RunError> {
    let value = parse_toml(&read_text(path)?, path)?;
    checked(value, path)
}

/// What was read from `path`, unless it has numbers that no run has.
pub(crate) fn checked<T: Serialize>(value: T, path: &Path) -> Result<T, RunError> {
    match too_great(&value) {
        None => Ok(value),
        Some(why) => Err(RunError::Damaged { path: path.to_owned(), line: 1, why }),
    }
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
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let error = |source| RunError::Write { path: path.to_owned(), source };
    crate::replace::replace(path, bytes).map_err(error)
}
