//! The URL file: read twice, never held in memory.
//!
//! The first pass looks at every line, so that a bad one is named before anything is connected;
//! the second one feeds the connects as they fall due, and begins again at the end of the file
//! when there are more connections than lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use memchr::memchr;
use serde::{Deserialize, Serialize};

use crate::request::{Filling, LineError, fill, has_place};
use crate::url::{Url, UrlError, shown};

/// Bytes that a line may have. A server takes a request head of 8 KiB, so a longer URL could not
/// be asked for; and a file that is one endless line would otherwise be read into memory.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// URLs from one whose place in the file is known to the next. Lines are not held: to go to any of
/// them, a few KB from the known one on are read again.
const INDEX_EVERY: u64 = 64;

/// Where the URLs are in a file, a quarter of a byte for each: for places that are dialed again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LineIndex {
    /// Of each 64th URL, the first one included: where its line begins, and how many lines are
    /// before it.
    marks: Vec<(u64, u64)>,
    /// How many URLs there are.
    pub(crate) n_urls: u64,
}

impl LineIndex {
    /// Takes in the URL at which `file` is, the next one.
    pub(crate) fn push(&mut self, file: &UrlFile) {
        if self.n_urls.is_multiple_of(INDEX_EVERY) {
            self.marks.push((file.line_at, file.number - 1));
        }
        self.n_urls += 1;
    }
}

/// Why a URL file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlFileError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {reason}{}", advice(.reason))]
    Read {
        /// The file.
        path: String,
        /// What the operating system says.
        reason: io::Error,
    },
    /// It is a pipe, a folder or a device.
    #[error(
        "{path} is not a regular file; it is read twice, so write a pipe's output to a file first"
    )]
    NotAFile {
        /// The file.
        path: String,
    },
    /// There is not one URL in it.
    #[error("{path} has no URL in it; `floodtest urls` writes such files")]
    Empty {
        /// The file.
        path: String,
    },
    /// A line is too long.
    #[error("{path}:{line}: longer than 8192 bytes: \"{start}\"")]
    TooLong {
        /// The file.
        path: String,
        /// The line's number.
        line: u64,
        /// How the line begins.
        start: String,
    },
    /// A line is not a URL.
    #[error("{path}:{line}: {problem}")]
    Line {
        /// The file.
        path: String,
        /// The line's number.
        line: u64,
        /// What is wrong with it.
        problem: UrlError,
    },
    /// A line does not have what the request needs.
    #[error("{path}:{line}: {problem}")]
    Request {
        /// The file.
        path: String,
        /// The line's number.
        line: u64,
        /// What is wrong with it.
        problem: LineError,
    },
}

/// What helps against `error`, where something does.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; `floodtest urls` writes such files",
        _ => "",
    }
}

/// What one line says about one connection.
pub(crate) struct Entry<'a> {
    /// The line's number.
    pub(crate) line: u64,
    /// The URL, filled in.
    pub(crate) url: Url<'a>,
    /// What fills in the rest of the request.
    pub(crate) filling: Filling<'a>,
}

/// The URLs of a file, one after the other.
#[derive(Debug)]
pub(crate) struct UrlFile {
    /// The file's name, for messages.
    path: PathBuf,
    /// Where it is read.
    reader: BufReader<File>,
    /// The present line.
    line: Vec<u8>,
    /// The present line's number, from 1.
    number: u64,
    /// Where it begins in the file.
    line_at: u64,
    /// Where the next one begins.
    next_at: u64,
    /// The present URL, where there was something to fill in.
    filled: Vec<u8>,
}

impl UrlFile {
    /// Opens the file at its beginning.
    pub(crate) fn open(path: &Path) -> Result<Self, UrlFileError> {
        let read_error = |reason| UrlFileError::Read { path: path.display().to_string(), reason };
        // Asked before it is opened: to open a pipe would wait for its writer.
        if !path.metadata().map_err(read_error)?.is_file() {
            return Err(UrlFileError::NotAFile { path: path.display().to_string() });
        }
        let reader = BufReader::new(File::open(path).map_err(read_error)?);
        Ok(Self {
            path: path.to_owned(),
            reader,
            line: Vec::new(),
            number: 0,
            line_at: 0,
            next_at: 0,
            filled: Vec::new(),
        })
    }

    /// The same file once more, read from its beginning.
    pub(crate) fn reopen(&self) -> Result<Self, UrlFileError> {
        Self::open(&self.path)
    }

    /// Goes to the URL of the connection of number `number`, wherever in the file that is.
    pub(crate) fn go_to(&mut self, index: &LineIndex, number: u64) -> Result<(), UrlFileError> {
        let url = number.checked_rem(index.n_urls).ok_or_else(|| self.empty_error())?;
        let mark = usize::try_from(url / INDEX_EVERY).ok().and_then(|at| index.marks.get(at));
        let (at, n_before) = mark.copied().ok_or_else(|| self.empty_error())?;
        self.reader.seek(SeekFrom::Start(at)).map_err(|reason| self.read_error(reason))?;
        (self.number, self.next_at) = (n_before, at);
        (0..=url % INDEX_EVERY).try_for_each(|_| self.advance_round())
    }

    /// Goes to the next URL; false at the end of the file.
    pub(crate) fn advance(&mut self) -> Result<bool, UrlFileError> {
        while self.read_line()? {
            let line = self.line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the next URL, which after the last one is the first one again.
    pub(crate) fn advance_round(&mut self) -> Result<(), UrlFileError> {
        if self.advance()? {
            return Ok(());
        }
        self.rewind()?;
        if self.advance()? { Ok(()) } else { Err(self.empty_error()) }
    }

    /// Passes over `n` URLs, after the last of which comes the first one again.
    pub(crate) fn skip(&mut self, n: u64) -> Result<(), UrlFileError> {
        (0..n).try_for_each(|_| self.advance_round())
    }

    /// The URLs of connections by their numbers; number 0 has the first URL, and there may be more
    /// numbers than URLs.
    pub(crate) fn pick(
        &mut self,
        numbers: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, String>, UrlFileError> {
        let mut picked = BTreeMap::new();
        let mut at = 0;
        self.rewind()?;
        for &number in numbers {
            self.skip(number + 1 - at)?;
            at = number + 1;
            // As it was asked for, without its password and its further fields.
            let url = self.entry(number).map(|entry| entry.url.to_string());
            picked.insert(number, url.unwrap_or_default());
        }
        Ok(picked)
    }

    /// The file's name.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What the present line says about the connection of number `place`.
    pub(crate) fn entry(&mut self, place: u64) -> Result<Entry<'_>, UrlFileError> {
        let (text, filling) = Filling::of_line(&self.line, place);
        let (path, line) = (&self.path, self.number);
        let refused =
            |problem| UrlFileError::Request { path: path.display().to_string(), line, problem };
        let mut url = text;
        if memchr(b'{', text).is_some() {
            if has_place(host_of(text)) {
                return Err(refused(LineError::Place));
            }
            self.filled.clear();
            let used_by = "the URL";
            fill(text, filling, &mut self.filled)
                .map_err(|number| refused(LineError::NoField { number, used_by }))?;
            url = &self.filled;
        }
        let url = Url::parse(url).map_err(|problem| UrlFileError::Line {
            path: path.display().to_string(),
            line,
            problem,
        })?;
        Ok(Entry { line, url, filling })
    }

    /// The error of the present line that does not have what a request needs.
    pub(crate) fn line_error(&self, problem: LineError) -> UrlFileError {
        let path = self.path.display().to_string();
        UrlFileError::Request { path, line: self.number, problem }
    }

    /// Goes back to the file's beginning.
    pub(crate) fn rewind(&mut self) -> Result<(), UrlFileError> {
        self.reader.rewind().map_err(|reason| self.read_error(reason))?;
        (self.number, self.next_at) = (0, 0);
        Ok(())
    }

    /// The error of a file without URLs.
    pub(crate) fn empty_error(&self) -> UrlFileError {
        UrlFileError::Empty { path: self.path.display().to_string() }
    }

    /// Reads the next line, without its line feed; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, UrlFileError> {
        self.line.clear();
        self.line_at = self.next_at;
        let mut is_whole = false;
        while !is_whole {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(reason) => return Err(self.read_error(reason)),
            };
            if buffer.is_empty() {
                if self.line.is_empty() {
                    return Ok(false);
                }
                break;
            }
            let end = memchr(b'\n', buffer);
            is_whole = end.is_some();
            self.line.extend_from_slice(&buffer[..end.unwrap_or(buffer.len())]);
            let n_used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(n_used);
            self.next_at += n_used as u64;
            if self.line.len() > MAX_LINE_BYTES {
                return Err(UrlFileError::TooLong {
                    path: self.path.display().to_string(),
                    line: self.number + 1,
                    start: shown(&self.line),
                });
            }
        }
        self.number += 1;
        if self.number == 1 && self.line.starts_with(b"\xEF\xBB\xBF") {
            self.line.drain(..3);
        }
        Ok(true)
    }

    /// What the operating system says about this file.
    fn read_error(&self, reason: io::Error) -> UrlFileError {
        UrlFileError::Read { path: self.path.display().to_string(), reason }
    }
}

/// What of a URL is in front of its path.
fn host_of(url: &[u8]) -> &[u8] {
    let start = url.windows(3).position(|part| part == b"://").map_or(0, |at| at + 3);
    let end = url[start..].iter().position(|byte| matches!(byte, b'/' | b'?'));
    &url[..end.map_or(url.len(), |end| start + end)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A file with `text` in it.
    fn file(text: &[u8]) -> (tempfile::NamedTempFile, UrlFile) {
        let mut temporary = tempfile::NamedTempFile::new().unwrap();
        temporary.write_all(text).unwrap();
        let urls = UrlFile::open(temporary.path()).unwrap();
        (temporary, urls)
    }

    /// Line numbers and paths of all URLs to the end of the file.
    fn paths(urls: &mut UrlFile) -> Vec<(u64, String)> {
        let mut paths = Vec::new();
        while urls.advance().unwrap() {
            let Entry { line, url, .. } = urls.entry(0).unwrap();
            paths.push((line, url.path.to_owned()));
        }
        paths
    }

    #[test]
    fn comments_blank_lines_crlf_and_a_bom_are_allowed() {
        let text = b"\xEF\xBB\xBFhttp://a/1\r\n\r\n# no\n  http://a/2 \n\nhttp://a/3";
        let (_temporary, mut urls) = file(text);
        let expected = [(1, "/1".to_owned()), (4, "/2".to_owned()), (6, "/3".to_owned())];
        assert_eq!(paths(&mut urls), expected);
        urls.rewind().unwrap();
        assert_eq!(paths(&mut urls), expected);
    }

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        let (temporary, mut urls) = file(b"# urls\nhttp://a/1\nhtp://a/2\n");
        assert!(urls.advance().unwrap() && urls.entry(0).is_ok());
        assert!(urls.advance().unwrap());
        let error = urls.entry(0).err().unwrap().to_string();
        let path = temporary.path().display();
        assert_eq!(error, format!("{path}:3: not an http or ws URL: \"htp://a/2\""));
    }

    #[test]
    fn an_endless_line_is_not_read_to_its_end() {
        let mut text = b"http://a/1\nhttp://a/".to_vec();
        text.resize(100_000, b'x');
        let (_temporary, mut urls) = file(&text);
        assert!(urls.advance().unwrap());
        let error = urls.advance().unwrap_err().to_string();
        assert!(error.contains(":2: longer than 8192 bytes: \"http://a/xxx"), "{error}");
    }

    #[test]
    fn after_the_last_url_comes_the_first() {
        let (_temporary, mut urls) = file(b"\nhttp://a/1\nhttp://a/2\n");
        let mut lines = Vec::new();
        for _ in 0..5 {
            urls.advance_round().unwrap();
            lines.push(urls.entry(0).unwrap().line);
        }
        assert_eq!(lines, [2, 3, 2, 3, 2]);
        let (_temporary, mut empty) = file(b"# nothing\n");
        assert!(matches!(empty.advance_round(), Err(UrlFileError::Empty { .. })));
    }

    #[test]
    fn connections_are_named_by_their_numbers_round_and_round() {
        let (_temporary, mut urls) = file(b"# three\nhttp://a/1\n\nhttp://a/2\nhttp://a/3");
        let picked = urls.pick(&BTreeSet::from([0, 2, 4, 300])).unwrap();
        let expected =
            [(0, "http://a/1"), (2, "http://a/3"), (4, "http://a/2"), (300, "http://a/1")];
        assert_eq!(picked, expected.map(|(number, url)| (number, url.to_owned())).into());
    }

    #[test]
    fn any_url_is_found_again() {
        let mut text = b"\xEF\xBB\xBF# many\r\n".to_vec();
        for n in 0..200 {
            let comment = if n % 7 == 0 { "# a line of another length\n\n" } else { "" };
            text.extend_from_slice(format!("{comment}http://a/{n}\r\n").as_bytes());
        }
        let (_temporary, mut urls) = file(&text);
        let (mut index, mut lines) = (LineIndex::default(), Vec::new());
        while urls.advance().unwrap() {
            index.push(&urls);
            lines.push(urls.entry(0).unwrap().line);
        }
        assert_eq!((index.n_urls, index.marks.len()), (200, 4));
        let mut again = urls.reopen().unwrap();
        for number in [0, 63, 64, 199, 128, 1, 200, 463, 7] {
            again.go_to(&index, number).unwrap();
            let entry = again.entry(0).unwrap();
            assert_eq!(entry.url.path, format!("/{}", number % 200));
            assert_eq!(entry.line, lines[usize::try_from(number % 200).unwrap()], "{number}");
        }
        assert!(again.go_to(&LineIndex::default(), 0).is_err());
    }

    #[test]
    fn a_url_is_filled_in_and_shown_without_what_is_secret() {
        let text = b"http://me:secret@{1}/{place}?x={2}\ta\tb\nhttp://a/{x}\thidden\n";
        let (_temporary, mut urls) = file(text);
        let picked = urls.pick(&BTreeSet::from([1, 2])).unwrap();
        let expected = [(1, "http://a/{x}"), (2, "http://a/2?x=b")];
        assert_eq!(picked, expected.map(|(number, url)| (number, url.to_owned())).into());
    }

    #[test]
    fn a_url_that_cannot_be_filled_in_is_named_with_its_line() {
        for (line, words) in [
            ("http://a/{3}\t1\t2", ":1: no field {3}, which the URL needs"),
            ("http://a/{1}\tb c", ":1: a character that must be percent-encoded"),
            ("http://{1}/\ta:99999", ":1: no valid port"),
            ("http://a{place}/", ":1: {place} in the host"),
        ] {
            let (_temporary, mut urls) = file(line.as_bytes());
            assert!(urls.advance().unwrap());
            let error = urls.entry(0).err().unwrap().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_it_is_said() {
        let mut text = b"http://a/".to_vec();
        text.resize(MAX_LINE_BYTES, b'x');
        let (_temporary, mut urls) = file(&text);
        assert_eq!(paths(&mut urls).len(), 1);
    }
}
