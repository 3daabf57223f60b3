//! `floodtest urls`: writes a URL file.

use std::io::{self, Write};

use reports::share::share_of;

use crate::url::{Url, UrlError};

/// What stands for the id in a pattern.
const PLACE: &str = "{id}";

/// A URL with a place for an id in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is not a [`Pattern`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no `{id}` in it, so that all lines would be the same.
    #[error("no {PLACE} in it; write http://127.0.0.1:8000/test/{PLACE}")]
    NoPlace,
    /// With a number for `{id}` it is not a URL.
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !text.contains(PLACE) {
            return Err(PatternError::NoPlace);
        }
        // Behind a tab are the further fields of the line, which are no part of the URL.
        let url = text.split('\t').next().unwrap_or(text);
        Url::parse(url.replace(PLACE, "1").as_bytes())?;
        Ok(Self(text.to_owned()))
    }
}

/// Writes `count` URLs, one a line, for the ids from `first` on. Several patterns, of which there
/// is at least one, share the ids by their hash.
pub fn write_urls(
    out: &mut impl Write,
    patterns: &[Pattern],
    first: u64,
    count: u64,
) -> io::Result<()> {
    let parts: Vec<Vec<&str>> =
        patterns.iter().map(|pattern| pattern.0.split(PLACE).collect()).collect();
    for id in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let parts = &parts[share_of(id, parts.len())];
        let (start, rest) = parts.split_first().expect("a split text has a first part");
        out.write_all(start.as_bytes())?;
        for part in rest {
            write!(out, "{id}{part}")?;
        }
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_gets_the_id() {
        let pattern: Pattern = "http://h:8000/{id}/test/{id}?x".parse().unwrap();
        let mut out = Vec::new();
        write_urls(&mut out, &[pattern], 9, 2).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "http://h:8000/9/test/9?x\nhttp://h:8000/10/test/10?x\n");
    }

    #[test]
    fn several_patterns_share_the_ids_as_msggens_servers_do() {
        let patterns = ["http://a/{id}", "http://b/{id}"].map(|text| text.parse().unwrap());
        let mut out = Vec::new();
        write_urls(&mut out, &patterns, 1, 50).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 50);
        for (id, line) in (1..).zip(text.lines()) {
            assert_eq!(line, format!("http://{}/{id}", ["a", "b"][share_of(id, 2)]));
        }
    }

    #[test]
    fn a_pattern_needs_a_place_and_makes_a_url() {
        assert_eq!("http://h/test".parse::<Pattern>(), Err(PatternError::NoPlace));
        assert!(matches!("h/{id}".parse::<Pattern>(), Err(PatternError::Url(_))));
    }
}
