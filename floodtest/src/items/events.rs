//! Event streams as the WHATWG standard reads them: lines that end with CR, LF or CRLF, fields, and
//! an event at its blank line.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>, "Interpreting an event
//! stream".

use memchr::memchr2;
use reports::stamp::leading_number;

/// Bytes that an id may have with which a stream is opened again (`Last-Event-ID`). The longest in
/// use are some 40; a longer one is not sent.
pub(super) const MAX_ID_BYTES: usize = 128;

/// Bytes that are kept of a line that does not lie whole in what was received at once: a byte order
/// mark, `id:` with a space, an id, and one more that shows that it is too long.
const KEPT_BYTES: usize = MAX_ID_BYTES + 8;

/// The beginning of a line that has not come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartialLine {
    /// Its first bytes.
    bytes: [u8; KEPT_BYTES],
    /// How many of them there are.
    n_kept: u8,
    /// Whether the line is longer.
    is_longer: bool,
}

impl Default for PartialLine {
    fn default() -> Self {
        Self { bytes: [0; KEPT_BYTES], n_kept: 0, is_longer: false }
    }
}

impl PartialLine {
    /// Whether nothing of a line has come.
    pub(super) fn is_empty(&self) -> bool {
        self.n_kept == 0
    }

    /// Takes in more of the line.
    fn push(&mut self, more: &[u8]) {
        let start = usize::from(self.n_kept);
        let n = more.len().min(KEPT_BYTES - start);
        self.bytes[start..start + n].copy_from_slice(&more[..n]);
        self.n_kept += u8::try_from(n).expect("136 at most");
        self.is_longer |= n < more.len();
    }
}

/// What a line of an event stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It is blank: the event is complete.
    Blank,
    /// It is a comment.
    Comment,
    /// A part of the event's data.
    Data,
    /// The event's id, if that is a number.
    Id(Option<u64>),
    /// How many milliseconds to wait before the stream is opened again.
    Retry(u64),
    /// A field that does not matter here, or that nobody knows.
    Other,
}

/// Where lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// What there is of a line, without what ends it.
    pub(super) line: &'a [u8],
    /// What ends it, if that has come.
    pub(super) end: Option<u8>,
    /// What comes after it.
    pub(super) rest: &'a [u8],
}

/// Splits the first line off `bytes`, or all of them if no line ends there.
pub(super) fn split(bytes: &[u8]) -> Piece<'_> {
    match memchr2(b'\r', b'\n', bytes) {
        Some(at) => Piece { line: &bytes[..at], end: Some(bytes[at]), rest: &bytes[at + 1..] },
        None => Piece { line: bytes, end: None, rest: &[] },
    }
}

/// Takes in a piece of a line; what the line says if that is its end. `is_first` is for the first
/// line of a stream, before which a byte order mark may stand. If it is an id its text is put into
/// `id`, where that is wanted.
pub(super) fn take(
    partial: &mut PartialLine,
    piece: &[u8],
    is_end: bool,
    is_first: bool,
    id: Option<&mut Option<Box<[u8]>>>,
) -> Option<Line> {
    if !is_end {
        partial.push(piece);
        return None;
    }
    if partial.is_empty() {
        return Some(interpret(piece, false, is_first, id));
    }
    let mut whole = std::mem::take(partial);
    whole.push(piece);
    Some(interpret(&whole.bytes[..whole.n_kept.into()], whole.is_longer, is_first, id))
}

/// What a line says. `is_longer` if only its beginning is here.
fn interpret(
    line: &[u8],
    is_longer: bool,
    is_first: bool,
    id: Option<&mut Option<Box<[u8]>>>,
) -> Line {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let line = if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    if line.is_empty() {
        return if is_longer { Line::Other } else { Line::Blank };
    }
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon.map_or((line, &line[line.len()..]), |at| line.split_at(at));
    match (name, colon) {
        (b"", Some(_)) => Line::Comment,
        (b"data", _) => Line::Data,
        (b"id", _) => {
            let value = value.strip_prefix(b":").unwrap_or(value);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            // By the standard, one with a zero byte is none.
            if let Some(id) = id
                && !value.contains(&0)
            {
                let is_good = !is_longer && value.len() <= MAX_ID_BYTES;
                *id = Some(if is_good { value.into() } else { Box::default() });
            }
            // An id that only begins with digits is a name.
            let number = leading_number(value).filter(|(_, rest)| rest.is_empty() && !is_longer);
            Line::Id(number.map(|(number, _)| number))
        }
        (b"retry", _) => {
            let value = value.strip_prefix(b":").unwrap_or(value);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let number = leading_number(value).filter(|(_, rest)| rest.is_empty() && !is_longer);
            number.map_or(Line::Other, |(ms, _)| Line::Retry(ms))
        }
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_same_wherever_it_is_cut() {
        let long_data = format!("data: {}", "x".repeat(100));
        let long_id = format!("id: {}", "1".repeat(40));
        for (line, said) in [
            ("", Line::Blank),
            (":", Line::Comment),
            (": ping", Line::Comment),
            ("data", Line::Data),
            ("data:", Line::Data),
            (&long_data, Line::Data),
            ("id: 17", Line::Id(Some(17))),
            ("id:17", Line::Id(Some(17))),
            ("id:  17", Line::Id(None)),
            ("id", Line::Id(None)),
            ("id: 17a", Line::Id(None)),
            ("id: 18446744073709551615", Line::Id(Some(u64::MAX))),
            (&long_id, Line::Id(None)),
            ("ids: 17", Line::Other),
            (" data: x", Line::Other),
            ("event: x", Line::Other),
            ("retry: 10", Line::Retry(10)),
            ("retry: 1.5", Line::Other),
        ] {
            for cut in 0..=line.len() {
                let (left, right) = line.as_bytes().split_at(cut);
                let mut partial = PartialLine::default();
                if !left.is_empty() {
                    assert_eq!(take(&mut partial, left, false, false, None), None);
                }
                let taken = take(&mut partial, right, true, false, None);
                assert_eq!(taken, Some(said), "{line:?} {cut}");
                assert!(partial.is_empty());
            }
        }
    }

    #[test]
    fn the_text_of_an_id_is_the_same_wherever_it_is_cut() {
        let (long, too_long) = ("x".repeat(MAX_ID_BYTES), "x".repeat(MAX_ID_BYTES + 1));
        for (line, text) in [
            ("id: 17-a b", Some("17-a b")),
            ("id", Some("")),
            ("id:", Some("")),
            ("id: a\0b", None),
            ("data: 17", None),
            (&format!("id: {long}"), Some(long.as_str())),
            (&format!("id: {too_long}"), Some("")),
        ] {
            for cut in 0..line.len() {
                let (left, right) = line.as_bytes().split_at(cut);
                let (mut partial, mut id) = (PartialLine::default(), None);
                if !left.is_empty() {
                    take(&mut partial, left, false, false, None);
                }
                take(&mut partial, right, true, false, Some(&mut id));
                assert_eq!(id.as_deref(), text.map(str::as_bytes), "{line:?} {cut}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_stands_before_the_first_line_only() {
        let line = b"\xef\xbb\xbfdata: x";
        let take = |is_first| take(&mut PartialLine::default(), line, true, is_first, None);
        assert_eq!((take(true), take(false)), (Some(Line::Data), Some(Line::Other)));
    }
}
