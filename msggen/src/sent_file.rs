//! The file of `--sent`: what was sent to each id, for whoever judges what arrived.
//!
//! It is written when the run ends, line by line, under a random name in the same folder, and gets
//! its own name when it is complete: whoever finds it has all of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use reports::sent::{End, Header, IdLine, MAX_LINE_BYTES};
use serde::Serialize;

use crate::misses::{HIGHEST_RANGES, Misses};
use crate::order::Numbers;
use crate::random::from_system;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum SentFileError {
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
    /// More was refused than is kept.
    #[error(
        "{} was not written: the messages that were not answered are more than {HIGHEST_RANGES} \
         ranges of numbers, which are not kept",
        .0.display()
    )]
    TooManyRanges(PathBuf),
    /// More was refused to one id than a line holds.
    #[error(
        "{} was not written: the messages to {id} that were not answered make a line of more than \
         {MAX_LINE_BYTES} bytes",
        path.display()
    )]
    LongLine {
        /// The file.
        path: PathBuf,
        /// The id.
        id: u64,
    },
}

/// Checks before the run that a file can be written at `path` after it.
pub fn check(path: &Path) -> Result<(), SentFileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(SentFileError::NoFile(path.to_owned()));
        }
        _ => {}
    }
    Temporary::create(path).map(drop)
}

/// Writes the file. `end` has the totals of messages; how many ids were sent to is counted here.
pub fn write(
    path: &Path,
    header: &Header,
    numbers: &Numbers,
    end: End,
) -> Result<(), SentFileError> {
    if numbers.misses().is_some_and(Misses::are_too_many) {
        return Err(SentFileError::TooManyRanges(path.to_owned()));
    }
    let temporary = Temporary::create(path)?;
    write_lines(path, &temporary.file, header, numbers, end)?;
    temporary.rename(path)
}

/// Writes all lines into `file`, which is to be at `path`.
fn write_lines(
    path: &Path,
    file: &File,
    header: &Header,
    numbers: &Numbers,
    mut end: End,
) -> Result<(), SentFileError> {
    let mut lines = Lines { to: BufWriter::new(file), line: Vec::new() };
    let failed = |source| SentFileError::Write { path: path.to_owned(), source };
    lines.write(header).map_err(failed)?;
    for (id, n) in numbers.table().each() {
        // Copied, which costs nothing for most ids: they have none.
        let misses = numbers.misses().map(|it| it.of(id));
        let of_id = misses.map(|(failed, unanswered)| (failed.to_vec(), unanswered.to_vec()));
        let (failed_ones, unanswered) = of_id.unwrap_or_default();
        let line = IdLine { id, n, failed: failed_ones, unanswered };
        let length = lines.write(&line).map_err(failed)?;
        if length >= MAX_LINE_BYTES {
            return Err(SentFileError::LongLine { path: path.to_owned(), id });
        }
        end.ids += 1;
    }
    lines.write(&end).map_err(failed)?;
    let file = lines.to.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// The lines of the file.
struct Lines<W: Write> {
    /// Where they go.
    to: BufWriter<W>,
    /// The present one, kept for its memory.
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    /// Writes a line, and returns its length.
    fn write(&mut self, line: &impl Serialize) -> io::Result<u64> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.to.write_all(&self.line)?;
        Ok(self.line.len() as u64)
    }
}

/// A file that is to get another name. It is removed if it does not.
struct Temporary {
    /// The file.
    file: File,
    /// Its name for now; none when it has the other one.
    path: Option<PathBuf>,
}

impl Temporary {
    /// Creates a file in the folder of `path`, under a name that nobody can foresee.
    fn create(path: &Path) -> Result<Self, SentFileError> {
        let error = |source| SentFileError::Write { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| error(io::ErrorKind::InvalidFilename.into()))?;
        let random = from_system().map_err(error)?;
        let mut temporary_name = name.to_owned();
        temporary_name.push(format!(".{random:016x}.tmp"));
        let temporary = path.with_file_name(temporary_name);
        // A link that somebody put there is not followed: whatever has the name, it is refused.
        let file =
            OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(error)?;
        Ok(Self { file, path: Some(temporary) })
    }

    /// Gives it its own name.
    fn rename(mut self, path: &Path) -> Result<(), SentFileError> {
        let error = |source| SentFileError::Write { path: path.to_owned(), source };
        let temporary = self.path.as_ref().expect("it is renamed once");
        fs::rename(temporary, path).map_err(error)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Half a file helps nobody.
            let _ = fs::remove_file(path);
        }
    }
}
