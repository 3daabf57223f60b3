//! Edge lists: who follows whom, as text. `A B` a line means that A follows B.
//!
//! Blank lines and lines that begin with `#` are skipped, a line may end in CRLF, and blanks or
//! tabs stand between the two ids. `msggen friends` writes such files, and comet-server's store is
//! loaded from them. An edge that is there twice, and a user that follows itself, are what they
//! are: whoever reads the list decides.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The highest id: the servers' ids are positive numbers of 63 bits.
pub const HIGHEST_ID: u64 = i64::MAX as u64;

/// Bytes that a line may have, comments included. Two ids are 39 of them.
const MAX_LINE_BYTES: u64 = 4 * 1024;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EdgeListError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A line is no edge.
    #[error(
        "{path}:{line}: not an edge: \"{text}\"; write two numbers in 1..={HIGHEST_ID} a line, the \
         follower first"
    )]
    Line {
        /// The file.
        path: String,
        /// The line's number, from 1 on.
        line: u64,
        /// Its beginning.
        text: String,
    },
}

/// Reads the list at `path` and hands each edge to `take`: who follows, and whom. Nothing is held.
pub fn each(path: &Path, mut take: impl FnMut(u64, u64)) -> Result<(), EdgeListError> {
    let failed = |source| EdgeListError::Read { path: path.display().to_string(), source };
    let file = File::open(path).map_err(failed)?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let n_read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if n_read.map_err(failed)? == 0 {
            return Ok(());
        }
        number += 1;
        let is_cut = !line.ends_with(b"\n") && line.len() as u64 == MAX_LINE_BYTES;
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        if !is_cut && (text.is_empty() || text.starts_with(b"#")) {
            continue;
        }
        let Some((follower, other)) = edge(text).filter(|_| !is_cut) else {
            let text = String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
            let path = path.display().to_string();
            return Err(EdgeListError::Line { path, line: number, text });
        };
        take(follower, other);
    }
}

/// The two ids of a line without blanks at its ends.
fn edge(text: &[u8]) -> Option<(u64, u64)> {
    let mut ids = text.split(u8::is_ascii_whitespace).filter(|id| !id.is_empty()).map(id);
    let edge = (ids.next()??, ids.next()??);
    ids.next().is_none().then_some(edge)
}

/// A number in 1..=[`HIGHEST_ID`], of nothing but digits.
fn id(digits: &[u8]) -> Option<u64> {
    let mut id: u64 = 0;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        id = id.checked_mul(10)?.checked_add(digit)?;
    }
    (1..=HIGHEST_ID).contains(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The edges of a file with this content.
    fn read(content: impl AsRef<[u8]>) -> Result<Vec<(u64, u64)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut edges = Vec::new();
        let read = each(file.path(), |follower, followed| edges.push((follower, followed)));
        let name = format!("{}:", file.path().display());
        read.map(|()| edges).map_err(|error| error.to_string().replace(&name, ""))
    }

    #[test]
    fn edges_are_read_in_their_order_and_what_is_none_of_them_is_skipped() {
        let text = "\u{feff}1 2\r\n\n# friends\n  3\t1 \n1  2\n9223372036854775807 4";
        let edges = [(1, 2), (3, 1), (1, 2), (HIGHEST_ID, 4)];
        assert_eq!(read(text).unwrap(), edges);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn a_line_that_is_no_edge_is_named() {
        for (line, text) in [
            ("7", "7"),
            ("1 2 3", "1 2 3"),
            ("0 1", "0 1"),
            ("1 9223372036854775808", "1 9223372036854775808"),
            ("1 99999999999999999999", "1 99999999999999999999"),
            ("-1 2", "-1 2"),
            ("1 +2", "1 +2"),
            ("1,2", "1,2"),
            ("a b", "a b"),
        ] {
            let error = read(format!("5 6\n\n{line}\n7 8\n")).unwrap_err();
            let expected = format!("3: not an edge: \"{text}\"; write two numbers in 1..=");
            assert!(error.starts_with(&expected), "{line}: {error}");
        }
        // Neither an endless line nor one of no text is held.
        let error = read(format!("1 2\n{}", "1".repeat(100_000))).unwrap_err();
        assert!(error.starts_with("2: not an edge: \"1111"), "{error}");
        assert!(read([0xff, 0x20, 0x31]).unwrap_err().starts_with("1: not an edge: \"\u{fffd} 1"));
        // A comment of any length is none either: what follows its first part would be a line.
        assert!(read(format!("#{}\n", "1".repeat(5_000))).is_err());
        let missing = each(Path::new("/nowhere/friends"), |_, _| {}).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/friends: No such file"), "{missing}");
    }
}
