//! What a sender says that it sent: the file of `msggen --sent`, which floodtest reads.
//!
//! Lines of JSON. First a header; then a line for each id that was sent to, in any order, with the
//! highest number and the numbers that failed or stay unanswered; last a line with the totals. A
//! file without the last line is of a sender that did not come to its end: what it says of the
//! beginning holds, the end is not known. Each object is one line, broken here for width.
//!
//! ```text
//! {"sent":1,"sender":"89abcdef","seed":7,"targets":["http://127.0.0.1:8001"],
//!  "first_due_unix_us":1764022500123456}
//! {"id":17,"n":12,"failed":[[3,3],[7,9]],"unanswered":[[12,12]]}
//! {"id":18,"n":4}
//! {"end":true,"last_answer_unix_us":1764022620123456,"ids":2,"messages":16,"answered":11,
//!  "failed":4,"unanswered":1}
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::stamp::Sender;

/// The version of this format, the value of the header's `sent`.
pub const VERSION: u32 = 1;

/// Bytes that a line may have. An id whose every other number failed has the longest: some 40 bytes
/// for each range, so that this is room for 400,000 of them.
pub const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;

/// A range of numbers, both ends included.
pub type Range = (u64, u64);

/// The first line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub sent: u32,
    /// Who sent the messages, as in their stamps.
    pub sender: Sender,
    /// The seed of the sender's random ids.
    pub seed: u64,
    /// Where messages were sent.
    pub targets: Vec<String>,
    /// When the first message was due, in microseconds since the Unix epoch by the sender's clock.
    pub first_due_unix_us: u64,
    /// Whether messages to one id were sent without waiting for each other, so that their order
    /// says nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unordered: bool,
    /// Whether messages went to all who follow an id, and to the id.
    #[serde(default, skip_serializing_if = "is_false")]
    pub followers: bool,
}

/// Whether a flag need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Whether a count need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What was sent to one id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdLine {
    /// The id.
    pub id: u64,
    /// The highest number that was sent to it.
    pub n: u64,
    /// Numbers that the server refused or that could not be sent, in rising order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Range>,
    /// Numbers that were sent and never answered, in rising order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Range>,
}

/// The last line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// True. Tells the line from one of an id.
    pub end: bool,
    /// When the last answer came, in microseconds since the Unix epoch by the sender's clock; when
    /// the sending ended if none came.
    pub last_answer_unix_us: u64,
    /// How many ids were sent to.
    pub ids: u64,
    /// How many messages were sent: `answered + written + failed + unanswered`.
    pub messages: u64,
    /// Of these, how many were answered.
    pub answered: u64,
    /// How many the kernel took, where no server answers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub written: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were never answered.
    pub unanswered: u64,
}

/// What a file says, of the ids that were asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Its first line.
    pub header: Header,
    /// Its lines of the ids that were asked about.
    pub ids: HashMap<u64, IdLine>,
    /// Its last line; `None` if the sender did not come to its end.
    pub end: Option<End>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SentError {
    /// It cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A line is not one of those that a sender writes.
    #[error("{path}:{line}: {problem}; `msggen --stamp --sent FILE` writes such files")]
    Line {
        /// The file.
        path: String,
        /// The line's number.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl Sent {
    /// Reads a file, keeping the lines of the ids that are `wanted`. All other lines are read and
    /// checked, and cost no memory.
    pub fn read(path: &Path, mut wanted: impl FnMut(u64) -> bool) -> Result<Self, SentError> {
        let mut lines = Lines::open(path)?;
        let header: Header = lines.next()?.ok_or_else(|| lines.problem("the file is empty"))?;
        if header.sent != VERSION {
            let problem = format!("version {} of the format is not known here", header.sent);
            return Err(lines.problem(&problem));
        }
        let mut sent = Self { header, ..Self::default() };
        while let Some(line) = lines.next::<Line>()? {
            if sent.end.is_some() {
                return Err(lines.problem("there is a line after the last one"));
            }
            match line {
                Line::End(end) => sent.end = Some(end),
                Line::Id(line) => {
                    let is_in_order = |ranges: &[Range]| {
                        ranges.iter().all(|(from, to)| *from >= 1 && from <= to && *to <= line.n)
                            && ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
                    };
                    if !is_in_order(&line.failed) || !is_in_order(&line.unanswered) {
                        return Err(lines.problem("numbers are not in rising order up to n"));
                    }
                    if wanted(line.id) && sent.ids.insert(line.id, line).is_some() {
                        return Err(lines.problem("the id has a line already"));
                    }
                }
            }
        }
        Ok(sent)
    }
}

/// Bytes from the end of a file in which its last line is looked for; it has about 200.
const LAST_LINE_BYTES: u64 = 4 * 1024;

/// The last line of a file, read by itself; `None` if the file is not there, or has none yet.
pub fn end(path: &Path) -> Option<End> {
    let mut file = path.metadata().ok()?.is_file().then(|| File::open(path).ok())??;
    let len = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LAST_LINE_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(LAST_LINE_BYTES).read_to_end(&mut bytes).ok()?;
    let line = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

/// A line after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    /// The last one.
    End(End),
    /// One of an id.
    Id(IdLine),
}

/// The lines of a file.
struct Lines {
    /// Where it is read.
    reader: BufReader<File>,
    /// Its name, for messages.
    path: String,
    /// The present line.
    line: Vec<u8>,
    /// Its number, from 1.
    number: u64,
}

impl Lines {
    /// Opens a file.
    fn open(path: &Path) -> Result<Self, SentError> {
        let name = path.display().to_string();
        let read_error = |source| SentError::Read { path: name.clone(), source };
        // Asked before it is opened: to open a pipe would wait for its writer.
        if !path.metadata().map_err(read_error)?.is_file() {
            return Err(read_error(io::Error::other("it is not a regular file")));
        }
        let reader = BufReader::new(File::open(path).map_err(read_error)?);
        Ok(Self { reader, path: name, line: Vec::new(), number: 0 })
    }

    /// The next line; `None` at the end of the file.
    fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, SentError> {
        self.line.clear();
        self.number += 1;
        let mut most = self.reader.by_ref().take(MAX_LINE_BYTES);
        let result = most.read_until(b'\n', &mut self.line);
        result.map_err(|source| SentError::Read { path: self.path.clone(), source })?;
        match self.line.last() {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) if self.line.len() as u64 == MAX_LINE_BYTES => {
                return Err(self.problem("the line is longer than 16 MiB"));
            }
            Some(_) => return Err(self.problem("the line has no end: the file is cut off")),
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|error| self.problem(&error.to_string()))
    }

    /// Something that is wrong with the present line.
    fn problem(&self, problem: &str) -> SentError {
        SentError::Line { path: self.path.clone(), line: self.number, problem: problem.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"sent\":1,\"sender\":\"89abcdef\",\"seed\":7,\
                          \"targets\":[\"http://a\"],\"first_due_unix_us\":5}";
    const END: &str = "{\"end\":true,\"last_answer_unix_us\":9,\"ids\":2,\"messages\":16,\
                       \"answered\":11,\"failed\":4,\"unanswered\":1}";

    /// What a file with these lines says of all ids but 18.
    fn read(lines: &[&str]) -> Result<Sent, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let name = file.path().display().to_string();
        Sent::read(file.path(), |id| id != 18)
            .map_err(|error| error.to_string().replace(&name, "sent"))
    }

    #[test]
    fn a_file_says_what_was_sent_to_each_id() {
        let id = "{\"id\":17,\"n\":12,\"failed\":[[3,3],[7,9]],\"unanswered\":[[12,12]]}";
        let sent = read(&[HEADER, id, "{\"id\":18,\"n\":4}", END, ""]).unwrap();
        assert_eq!(sent.header.sender, Sender(0x89ab_cdef));
        let (failed, unanswered) = (vec![(3, 3), (7, 9)], vec![(12, 12)]);
        assert_eq!(sent.ids[&17], IdLine { id: 17, n: 12, failed, unanswered });
        assert_eq!((sent.ids.len(), sent.end.unwrap().answered), (1, 11));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(end(file.path()), None);
        std::fs::write(file.path(), format!("{HEADER}\n{END}\n")).unwrap();
        assert_eq!(end(file.path()).unwrap().answered, 11);
        assert_eq!(end(Path::new("/dev/zero")), None, "an endless device");
        assert_eq!(serde_json::to_string(&sent.header).unwrap(), HEADER);
        assert_eq!(serde_json::to_string(&sent.ids[&17]).unwrap(), id);
    }

    #[test]
    fn a_sender_that_did_not_come_to_its_end_has_none() {
        assert_eq!(read(&[HEADER, ""]).unwrap().end, None);
    }

    #[test]
    fn what_no_sender_writes_is_refused_with_its_line() {
        for (lines, problem) in [
            (&[""][..], "sent:1: the file is empty"),
            (&["{}", ""], "sent:1: missing field"),
            (&[&HEADER.replace(":1,", ":2,"), ""], "sent:1: version 2"),
            (&[HEADER, "{\"id\":1}", ""], "sent:2: "),
            (&[HEADER, "{\"id\":1,\"n\":2}"], "sent:2: the line has no end"),
            (&[HEADER, END, END, ""], "sent:3: there is a line after the last one"),
            (&[HEADER, "{\"id\":1,\"n\":2}", "{\"id\":1,\"n\":2}", ""], "sent:3: the id has"),
            (&[HEADER, "{\"id\":1,\"n\":2,\"failed\":[[2,1]]}", ""], "sent:2: numbers are not"),
            (&[HEADER, "{\"id\":1,\"n\":2,\"failed\":[[1,3]]}", ""], "sent:2: numbers are not"),
        ] {
            let error = read(lines).unwrap_err();
            assert!(error.starts_with(problem), "{lines:?}: {error}");
        }
        assert!(Sent::read(Path::new("/dev/zero"), |_| true).is_err(), "an endless device");
    }
}
