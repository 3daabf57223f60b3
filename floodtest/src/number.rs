//! The number that a message carries, found in its chunk.
//!
//! The server of this project writes it behind a `#`, server-sent events have it in their `id:`
//! line, and `--sequence` says where other servers have it. Only a chunk's beginning is looked at,
//! as much as [`FIRST_BYTES`](crate::decode::FIRST_BYTES), so that it makes no difference in how
//! many pieces a chunk came.

use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};
use reports::stamp::leading_number;
use serde::{Deserialize, Serialize};

use crate::decode::Chunk;

/// A pattern whose one group is the number: the value of `--sequence`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SequencePattern(Regex);

/// Why a text is not a [`SequencePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequencePatternError {
    /// It is no regular expression.
    #[error("not a regular expression: {0}")]
    NotAPattern(String),
    /// It has no group, or several, so that it does not say what the number is.
    #[error(
        "it has {0} groups; put the digits of the number, and nothing else, into a group, as in \
         'seq=([0-9]+)', and write other groups as (?:…)"
    )]
    Groups(usize),
}

impl FromStr for SequencePattern {
    type Err = SequencePatternError;

    fn from_str(text: &str) -> Result<Self, SequencePatternError> {
        // Chunks are bytes, and \d means 0 to 9.
        let pattern = RegexBuilder::new(text).unicode(false).build();
        let pattern =
            pattern.map_err(|error| SequencePatternError::NotAPattern(error.to_string()))?;
        // The whole match is the group that is always there.
        match pattern.captures_len() - 1 {
            1 => Ok(Self(pattern)),
            n => Err(SequencePatternError::Groups(n)),
        }
    }
}

impl TryFrom<String> for SequencePattern {
    type Error = SequencePatternError;

    fn try_from(text: String) -> Result<Self, SequencePatternError> {
        text.parse()
    }
}

impl From<SequencePattern> for String {
    fn from(pattern: SequencePattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

/// The number in `chunk`, by `pattern` if there is one. `None` if there is no number, or if its
/// digits may go on past what is looked at.
pub fn number(chunk: &Chunk<'_>, pattern: Option<&SequencePattern>) -> Option<u64> {
    let first = chunk.first;
    let (number, rest) = match pattern {
        Some(pattern) => by_pattern(first, pattern)?,
        None if chunk.is_event => event_id(first)?,
        None => memchr::memchr_iter(b'#', first).find_map(|at| leading_number(&first[at + 1..]))?,
    };
    let is_whole = !rest.is_empty() || chunk.len == first.len() as u64;
    is_whole.then_some(number)
}

/// The number in the pattern's group, and what follows it.
fn by_pattern<'a>(text: &'a [u8], pattern: &SequencePattern) -> Option<(u64, &'a [u8])> {
    let group = pattern.0.captures(text)?.get(1)?;
    let (number, after) = leading_number(group.as_bytes())?;
    after.is_empty().then_some((number, &text[group.end()..]))
}

/// The number of the first `id:` line of an event, and what follows it.
fn event_id(event: &[u8]) -> Option<(u64, &[u8])> {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', event).map(|at| at + 1));
    let id = starts.map(|start| &event[start..]).find_map(|line| line.strip_prefix(b"id:"))?;
    let (number, rest) = leading_number(id.strip_prefix(b" ").unwrap_or(id))?;
    // An id that only begins with digits is a name.
    matches!(rest, [] | [b'\r' | b'\n', ..]).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::FIRST_BYTES;

    /// The number in a chunk with this text.
    fn in_text(text: &str, pattern: Option<&str>) -> Option<u64> {
        number(&Chunk::of(text.as_bytes()), pattern.map(|it| it.parse().unwrap()).as_ref())
    }

    /// The number in an event with this text.
    fn in_event(text: &str) -> Option<u64> {
        number(&Chunk { is_event: true, ..Chunk::of(text.as_bytes()) }, None)
    }

    #[test]
    fn the_number_is_the_first_with_a_hash_before_it() {
        for (text, number) in [
            ("Recvd msg #17: 'see #4 of 1'<br/>", Some(17)),
            ("# and #x but #9", Some(9)),
            ("Recvd msg 17", None),
            ("#99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(in_text(text, None), number, "{text:?}");
        }
    }

    #[test]
    fn a_number_that_may_go_on_out_of_sight_is_none() {
        let text = format!("{}#12", "x".repeat(FIRST_BYTES - 3));
        assert_eq!(in_text(&text, None), Some(12));
        assert_eq!(in_text(&format!("{text}3"), None), None);
        assert_eq!(in_text(&text, Some("#([0-9]+)")), Some(12));
        assert_eq!(in_text(&format!("{text}3"), Some("#([0-9]+)")), None);
    }

    #[test]
    fn an_event_has_its_number_in_its_id_line() {
        for (text, number) in [
            ("id: 17\ndata: see #4\n\n", Some(17)),
            ("event: x\r\nid:5\r\ndata: y\r\n\r\n", Some(5)),
            ("data: id: 3\nid: 4\n\n", Some(4)),
            ("id: 17", Some(17)),
            ("id: 17a\n\n", None),
            ("id\n\n", None),
            (": ping\n\n", None),
            ("data: #4\n\n", None),
        ] {
            assert_eq!(in_event(text), number, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_says_where_the_number_of_another_server_is() {
        for (text, number) in [
            ("{\"seq\":17,\"text\":\"#4\"}", Some(17)),
            ("{\"text\":\"x\"}", None),
            ("\u{fffd}\"seq\":3,", Some(3)),
        ] {
            assert_eq!(in_text(text, Some(r#""seq":(\d+)"#)), number, "{text:?}");
        }
        assert_eq!(in_text("n=1x", Some("n=(.*)")), None, "the group is more than digits");
    }

    #[test]
    fn a_pattern_has_one_group() {
        let error = |text: &str| text.parse::<SequencePattern>().unwrap_err();
        assert_eq!(error("seq=[0-9]+"), SequencePatternError::Groups(0));
        assert_eq!(error("(a)([0-9]+)"), SequencePatternError::Groups(2));
        assert!(error("([0-9]+").to_string().contains("unclosed group"));
    }
}
