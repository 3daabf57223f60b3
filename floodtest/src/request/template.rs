//! Texts with places that each connection fills in for itself.
//!
//! `{1}` to `{99}` are the further fields of the connection's line in the URL file, `{place}` is
//! its number in the run. All other braces are text, so that JSON can be written as it is. What is
//! filled in is not looked at again.

use std::io::Write as _;

use memchr::{memchr, memmem};
use serde::{Deserialize, Serialize};

/// What stands for the number of a connection.
pub(crate) const PLACE: &[u8] = b"{place}";

/// What separates the fields of a line.
const SEPARATOR: u8 = b'\t';

/// What one connection fills in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Filling<'a> {
    /// The fields behind the URL of its line, if there is a separator behind the URL.
    pub(crate) fields: Option<&'a [u8]>,
    /// Its number in the run, from 0 on.
    pub(crate) place: u64,
}

impl<'a> Filling<'a> {
    /// A line in two: its URL, and what fills it in.
    pub(crate) fn of_line(line: &'a [u8], place: u64) -> (&'a [u8], Self) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (url, fields) = match memchr(SEPARATOR, line) {
            Some(end) => (&line[..end], Some(&line[end + 1..])),
            None => (line, None),
        };
        (url.trim_ascii(), Self { fields, place })
    }

    /// Field `number`, counted from 1.
    pub(crate) fn field(&self, number: u8) -> Option<&'a [u8]> {
        let mut fields = self.fields?.split(|byte| *byte == SEPARATOR);
        fields.nth(usize::from(number).checked_sub(1)?)
    }
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// As it is.
    Text(&'a [u8]),
    /// The field of this number.
    Field(u8),
    /// The connection's number.
    Place,
}

/// The parts of a text.
pub(crate) struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    /// The parts of `text`.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self(text)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let text = self.0;
        if let Some((piece, len)) = placeholder(text) {
            self.0 = &text[len..];
            return Some(piece);
        }
        let mut end = 0;
        loop {
            let brace = memchr(b'{', &text[end..]).map_or(text.len(), |at| end + at);
            if brace == text.len() || placeholder(&text[brace..]).is_some() {
                self.0 = &text[brace..];
                return (brace > 0).then_some(Piece::Text(&text[..brace]));
            }
            end = brace + 1;
        }
    }
}

/// The placeholder that `text` begins with, and its length.
fn placeholder(text: &[u8]) -> Option<(Piece<'static>, usize)> {
    if text.starts_with(PLACE) {
        return Some((Piece::Place, PLACE.len()));
    }
    match *text {
        [b'{', digit @ b'1'..=b'9', b'}', ..] => Some((Piece::Field(digit - b'0'), 3)),
        [b'{', ten @ b'1'..=b'9', one @ b'0'..=b'9', b'}', ..] => {
            Some((Piece::Field((ten - b'0') * 10 + one - b'0'), 4))
        }
        _ => None,
    }
}

/// Appends `text`, filled in, to `out`. An error is the number of a field that is missing.
pub(crate) fn fill(text: &[u8], filling: Filling<'_>, out: &mut Vec<u8>) -> Result<(), u8> {
    for piece in Pieces::of(text) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Field(number) => out.extend_from_slice(filling.field(number).ok_or(number)?),
            Piece::Place => {
                let written = write!(out, "{}", filling.place);
                written.expect("memory takes what is written to it");
            }
        }
    }
    Ok(())
}

/// Whether `{place}` is in `text`.
pub(crate) fn has_place(text: &[u8]) -> bool {
    memmem::find(text, PLACE).is_some()
}

/// A text that every request fills in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Template {
    /// The text.
    text: Vec<u8>,
    /// Whether there is nothing to fill in, so that it need not be looked through.
    is_fixed: bool,
}

impl Template {
    /// A template with this text.
    pub(crate) fn new(text: Vec<u8>) -> Self {
        let is_fixed = Pieces::of(&text).all(|piece| matches!(piece, Piece::Text(_)));
        Self { text, is_fixed }
    }

    /// The numbers of the fields in it.
    pub(crate) fn fields(&self) -> impl Iterator<Item = u8> {
        Pieces::of(&self.text).filter_map(|piece| match piece {
            Piece::Field(number) => Some(number),
            Piece::Text(_) | Piece::Place => None,
        })
    }

    /// Whether there are fields in it.
    pub(crate) fn has_fields(&self) -> bool {
        self.fields().next().is_some()
    }

    /// Appends it, filled in, to `out`. Fields that are missing are left empty: the survey of the
    /// URL file has refused such a line.
    pub(crate) fn write(&self, filling: Filling<'_>, out: &mut Vec<u8>) {
        if self.is_fixed {
            out.extend_from_slice(&self.text);
        } else {
            let _ = fill(&self.text, filling, out);
        }
    }

    /// The length of what [`Template::write`] appends.
    pub(crate) fn len(&self, filling: Filling<'_>) -> usize {
        if self.is_fixed {
            return self.text.len();
        }
        let len = |piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Field(number) => filling.field(number).map_or(0, <[u8]>::len),
            Piece::Place => filling.place.checked_ilog10().map_or(1, |log| log as usize + 1),
        };
        Pieces::of(&self.text).map(len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text`, filled in for connection 1207 of a line.
    fn filled(text: &str, line: &str) -> Result<String, u8> {
        let (_, filling) = Filling::of_line(line.as_bytes(), 1_207);
        let mut out = Vec::new();
        fill(text.as_bytes(), filling, &mut out)?;
        let template = Template::new(text.as_bytes().to_vec());
        assert_eq!(template.len(filling), out.len(), "{text}");
        let mut written = Vec::new();
        template.write(filling, &mut written);
        assert_eq!(written, out, "{text}");
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn fields_and_place_are_filled_in_and_other_braces_are_text() {
        let line = "http://a/\tone\t\t{1}{place}\tvier";
        for (text, expected) in [
            ("", ""),
            ("no braces", "no braces"),
            ("{1}", "one"),
            ("<{1}{2}|{4}>{place}", "<one|vier>1207"),
            ("{3}", "{1}{place}"),
            (
                "{\"n\": {\"a\": {1}}, {0} {} {x} {100} {place",
                "{\"n\": {\"a\": one}, {0} {} {x} {100} {place",
            ),
            ("{{1}}{", "{one}{"),
        ] {
            assert_eq!(filled(text, line), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(filled("{5}", line), Err(5));
        assert_eq!(filled("{12}", line), Err(12));
        assert_eq!(filled("{1}", "http://a/"), Err(1));
        assert_eq!(filled("{1}", "http://a/\t\r"), Ok(String::new()));
        assert_eq!(Template::new(b"{place}".to_vec()).len(Filling::default()), 1);
    }

    #[test]
    fn a_line_is_its_url_and_its_fields() {
        let (url, filling) = Filling::of_line(b"  http://a/ \t x \ty\r", 3);
        assert_eq!((url, filling.field(1)), (&b"http://a/"[..], Some(&b" x "[..])));
        assert_eq!((filling.field(2), filling.field(3)), (Some(&b"y"[..]), None));
    }
}
