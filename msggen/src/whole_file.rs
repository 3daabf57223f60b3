//! A file that is there as a whole or not at all: it is written under a random name in the same
//! folder, and gets its own name when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::random::from_system;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum WholeFileError {
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file, or the one that was to become it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something that cannot be replaced by a file has its name.
    #[error("cannot write {}: it is there and is no regular file; name another", .0.display())]
    NoFile(PathBuf),
}

/// Checks beforehand that a file can be written at `path`.
pub fn check(path: &Path) -> Result<(), WholeFileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(WholeFileError::NoFile(path.to_owned())),
        _ => Temporary::create(path).map(drop),
    }
}

/// A file that is to get another name. It is removed if it does not.
#[derive(Debug)]
pub struct Temporary {
    /// The file.
    file: File,
    /// Its name for now; none when it has the other one.
    present: Option<PathBuf>,
    /// The other one.
    path: PathBuf,
}

impl Temporary {
    /// Creates a file in the folder of `path`, under a name that nobody can foresee.
    pub fn create(path: &Path) -> Result<Self, WholeFileError> {
        let error = |source| WholeFileError::Write { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| error(io::ErrorKind::InvalidFilename.into()))?;
        let random = from_system().map_err(error)?;
        let mut temporary_name = name.to_owned();
        temporary_name.push(format!(".{random:016x}.tmp"));
        let temporary = path.with_file_name(temporary_name);
        // A link that somebody put there is not followed: whatever has the name, it is refused.
        let file =
            OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(error)?;
        Ok(Self { file, present: Some(temporary), path: path.to_owned() })
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its own name, when all of it is on the disk.
    pub fn complete(mut self) -> Result<(), WholeFileError> {
        let error = |source| WholeFileError::Write { path: self.path.clone(), source };
        self.file.sync_all().map_err(error)?;
        let temporary = self.present.as_ref().expect("it is renamed once");
        fs::rename(temporary, &self.path).map_err(error)?;
        self.present = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.present {
            // Half a file helps nobody.
            let _ = fs::remove_file(path);
        }
    }
}
