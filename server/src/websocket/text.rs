//! Whether text that comes in pieces is UTF-8.

/// Where in a text its pieces have come to: what is kept of a character that is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// The bytes of a character of which more are to come.
    begun: [u8; 3],
    /// How many there are.
    n_begun: u8,
}

impl Text {
    /// Takes in the next piece. Returns whether the text can still become UTF-8: not from the first
    /// byte on after which nothing could make it so.
    pub(super) fn take(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        // A character that the piece before began is put together byte by byte.
        while self.n_begun > 0 {
            let Some((&byte, after)) = rest.split_first() else { return true };
            rest = after;
            let n = usize::from(self.n_begun);
            let mut character = [0; 4];
            character[..n].copy_from_slice(&self.begun[..n]);
            character[n] = byte;
            if !self.keep_unfinished(&character[..=n]) {
                return false;
            }
        }
        self.keep_unfinished(rest)
    }

    /// Whether it does not end within a character.
    pub(super) fn is_whole(self) -> bool {
        self.n_begun == 0
    }

    /// Checks bytes that begin with a character, and keeps an unfinished one at their end.
    fn keep_unfinished(&mut self, bytes: &[u8]) -> bool {
        self.n_begun = 0;
        let Err(error) = std::str::from_utf8(bytes) else { return true };
        if error.error_len().is_some() {
            return false;
        }
        let unfinished = &bytes[error.valid_up_to()..];
        self.begun[..unfinished.len()].copy_from_slice(unfinished);
        self.n_begun = u8::try_from(unfinished.len()).expect("a character has four bytes at most");
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_judged_alike_wherever_it_is_cut() {
        for text in ["", "plain", "κόσμε", "\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}"] {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut judge = Text::default();
                    let pieces = [0..first, first..second, second..text.len()];
                    let pieces = pieces.map(|piece| &text.as_bytes()[piece]);
                    assert!(pieces.iter().all(|piece| judge.take(piece)));
                    assert!(judge.is_whole(), "{text:?} at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn the_first_byte_that_is_wrong_is_refused() {
        // Overlong, surrogates, beyond the last character, a continuation alone, never valid.
        for (good, wrong) in [
            (&b"a\xc3"[..], b'('),
            (b"", 0x80),
            (b"", 0xc0),
            (b"\xe0", 0x9f),
            (b"\xed", 0xa0),
            (b"\xf0", 0x8f),
            (b"\xf4", 0x90),
            (b"\xf0\x90\x80", b'x'),
            (b"\xce\xba", 0xff),
        ] {
            let mut by_byte = Text::default();
            assert!(good.iter().all(|&byte| by_byte.take(&[byte])), "{good:x?}");
            assert!(!by_byte.take(&[wrong]), "{good:x?} {wrong:x}");
            assert!(!Text::default().take(&[good, &[wrong]].concat()));
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library(
            pieces in prop::collection::vec(prop::collection::vec(
                prop_oneof![any::<u8>(), 0x80..0xc0_u8, Just(0xe2), Just(0xf0)], 0..6), 0..6),
        ) {
            let mut judge = Text::default();
            let is_good = pieces.iter().all(|piece| judge.take(piece)) && judge.is_whole();
            prop_assert_eq!(is_good, std::str::from_utf8(&pieces.concat()).is_ok());
        }
    }
}
