//! The file of `--sent`: what was sent to each id, for whoever judges what arrived.
//!
//! It is written when the run ends, line by line. Whoever finds it has all of it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use reports::sent::{End, Header, IdLine, MAX_LINE_BYTES};
use serde::Serialize;

use crate::misses::{HIGHEST_RANGES, Misses};
use crate::order::Numbers;
use crate::whole_file::{Temporary, WholeFileError};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum SentFileError {
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] WholeFileError),
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
    write_lines(path, temporary.file(), header, numbers, end)?;
    Ok(temporary.complete()?)
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
    let failed = |source| WholeFileError::Write { path: path.to_owned(), source };
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
    lines.to.flush().map_err(failed)?;
    Ok(())
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
