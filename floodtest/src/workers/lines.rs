//! Lines that come in pieces, through a pipe or a socket.

use std::io::{self, ErrorKind, Read};

use memchr::memchr;

/// Bytes of a line, from either side. A job has the places of all URLs in it where places are
/// dialed again: a million of them are some 300 KB.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Bytes taken at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Lines that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What came of lines that were not taken.
    pub(super) bytes: Vec<u8>,
    /// How much of that has no end of a line in it.
    searched: usize,
}

impl Lines {
    /// Takes in what `from` has, which is ready; false at its end.
    pub(super) fn fill(&mut self, mut from: impl Read) -> io::Result<bool> {
        let start = self.bytes.len();
        self.bytes.resize(start + RECEIVE_BYTES, 0);
        let received = from.read(&mut self.bytes[start..]);
        self.bytes.truncate(start + received.as_ref().copied().unwrap_or(0));
        match received {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            received => received.map(|n| n > 0),
        }
    }

    /// Takes the next line, without its end; `None` if it has not come whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(end) = memchr(b'\n', &self.bytes[self.searched..]) else {
            self.searched = self.bytes.len();
            if self.searched > MAX_LINE_BYTES {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than 64 MiB"));
            }
            return Ok(None);
        };
        let mut line: Vec<u8> = self.bytes.drain(..=self.searched + end).collect();
        self.searched = 0;
        line.pop();
        Ok(Some(line))
    }
}
