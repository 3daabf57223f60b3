//! The numbers of this project's server, in a body of text: `Recvd msg #17: '` at its beginning, or
//! right after the `<br/>` that ends each message; in a WebSocket `Recvd msg #17: ` at the
//! beginning of a message.
//!
//! A message is escaped, so that `<` stands nowhere in it, and nobody can write what looks like the
//! beginning of the next. In a WebSocket it is not escaped, and only its beginning is looked at. A
//! `#` anywhere else means nothing.

use memchr::memchr;

/// What stands before a number, behind the end of the message before.
const BEFORE: &[u8] = b"<br/>Recvd msg #";

/// How much of it is the end of the message before. The beginning of a body is as good.
const END: u8 = 5;

/// What stands behind a number.
const BEHIND: &[u8] = b": '";

/// What stands behind a number in a message of a WebSocket.
const BEHIND_IN_FRAME: &[u8] = b": ";

/// How far into `BEFORE`, the digits and `BEHIND` a body has got.
const DIGITS: u8 = 16;
const _: () = assert!(BEFORE.len() == 16);

/// Digits that a number may have: as many as 2⁶⁴−1.
const MAX_DIGITS: u8 = 20;

/// Finds numbers in a body, whatever cuts it.
///
/// It looks at each byte once and never goes back: a `<` stands at the beginning of what is looked
/// for and nowhere else in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CometFinder {
    /// The number so far.
    number: u64,
    /// Bytes that have matched: of `BEFORE`; then `DIGITS` while there are digits; then more.
    matched: u8,
    /// Digits of the number so far.
    n_digits: u8,
}

impl CometFinder {
    /// A finder where a message may begin: at the beginning of a body or after a message.
    pub(super) fn at_message() -> Self {
        Self { matched: END, ..Self::default() }
    }

    /// Whether a message may begin here. This, and being outside, are all that an idle connection
    /// is ever in.
    pub(super) fn is_at_message(&self) -> bool {
        *self == Self::at_message()
    }

    /// Reads on; the first number that is complete within `bytes`, and how many of them were read.
    /// After the last number all of them are read.
    pub(super) fn find(&mut self, bytes: &[u8]) -> (Option<u64>, usize) {
        let mut at = 0;
        while at < bytes.len() {
            if self.matched == 0 {
                let Some(n_before) = memchr(b'<', &bytes[at..]) else { break };
                at += n_before + 1;
                self.matched = 1;
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if let Some(number) = self.step(byte, BEHIND) {
                *self = Self::default();
                return (Some(number), at);
            }
        }
        (None, bytes.len())
    }

    /// Reads on at the beginning of a message of a WebSocket; the number if it is complete within
    /// `bytes`. After it, and after what cannot become one, nothing is read any more.
    pub(super) fn find_at_start(&mut self, bytes: &[u8]) -> Option<u64> {
        for byte in bytes {
            if self.matched < END {
                *self = Self::default();
                return None;
            }
            if let Some(number) = self.step(*byte, BEHIND_IN_FRAME) {
                *self = Self::default();
                return Some(number);
            }
        }
        None
    }

    /// Takes one byte of what may be a number with its surroundings; the number if that was the
    /// last of it, which is the last of `behind`.
    fn step(&mut self, byte: u8, behind: &[u8]) -> Option<u64> {
        let matched = usize::from(self.matched);
        if matched < BEFORE.len() {
            if byte == BEFORE[matched] {
                self.matched += 1;
                return None;
            }
        } else if self.matched == DIGITS && byte.is_ascii_digit() && self.n_digits < MAX_DIGITS {
            let digit = u64::from(byte - b'0');
            let number = self.number.checked_mul(10).and_then(|number| number.checked_add(digit));
            if let Some(number) = number {
                (self.number, self.n_digits) = (number, self.n_digits + 1);
                return None;
            }
        } else if self.n_digits > 0 && byte == behind[matched - BEFORE.len()] {
            self.matched += 1;
            return (matched + 1 == BEFORE.len() + behind.len()).then_some(self.number);
        }
        *self = Self { matched: u8::from(byte == b'<'), ..Self::default() };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All numbers of a body that came in these pieces.
    fn find_all<'a, P: IntoIterator<Item = &'a [u8]>>(pieces: P) -> Vec<u64> {
        let mut finder = CometFinder::at_message();
        let mut found = Vec::new();
        for mut piece in pieces {
            while !piece.is_empty() {
                let (number, n_read) = finder.find(piece);
                found.extend(number);
                piece = &piece[n_read..];
            }
        }
        found
    }

    #[test]
    fn every_number_is_found_wherever_the_body_is_cut() {
        let text = "Recvd msg #1: 'Recvd msg #7: &#39;x&lt;br/>'<br/>Recvd msg #2: '#3'<br/>\
                    Recvd msg #18446744073709551615: 'x'<br/>";
        let expected = [1, 2, u64::MAX];
        assert_eq!(find_all([text.as_bytes()]), expected);
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(find_all([left, right]), expected, "cut at {cut}");
        }
        assert_eq!(find_all(text.as_bytes().chunks(1)), expected);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            "Recvd msg #: 'x'",
            "Recvd msg #1 'x'",
            "Recvd msg #1: x",
            " Recvd msg #1: 'x'",
            "ticket #919",
            "Recvd msg #99999999999999999999: 'x'",
            "Recvd msg #000000000000000000001: 'x'",
            "<br/Recvd msg #1: 'x'",
        ] {
            assert!(find_all([text.as_bytes()]).is_empty(), "{text:?}");
        }
        assert_eq!(find_all([&b"<<br/>Recvd msg #4: '"[..]]), [4]);
    }

    #[test]
    fn in_a_websocket_a_number_stands_at_the_beginning_wherever_it_is_cut() {
        for (text, expected) in [
            ("Recvd msg #17: x", Some(17)),
            ("Recvd msg #1: <br/>Recvd msg #2: 'x", Some(1)),
            ("Recvd msg #17: ", Some(17)),
            ("Recvd msg #17:x", None),
            ("Recvd msg #: x", None),
            ("<br/>Recvd msg #2: x", None),
            ("x Recvd msg #2: x", None),
            ("<Recvd msg #2: '", None),
        ] {
            for cut in 0..=text.len() {
                let mut finder = CometFinder::at_message();
                let (left, right) = text.as_bytes().split_at(cut);
                let found = finder.find_at_start(left).or_else(|| finder.find_at_start(right));
                assert_eq!(found, expected, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn between_messages_there_is_nothing_to_keep() {
        let mut finder = CometFinder::at_message();
        finder.find(b"Recvd msg #1: '");
        assert_eq!(finder, CometFinder::default());
        finder.find(b"x'<br/>");
        assert!(finder.is_at_message());
    }
}
