//! UTF-8 that comes in pieces (RFC 3629), with a state of three bits between two of them.

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(super) enum Utf8 {
    /// The first byte of a character.
    #[default]
    Start,
    /// The last byte of a character.
    Last,
    /// The last but one.
    LastButOne,
    /// The last but two.
    LastButTwo,
    /// The last but one, after 0xe0: what is smaller has a shorter form.
    AfterE0,
    /// The last but one, after 0xed: what is larger is half of a pair of UTF-16.
    AfterEd,
    /// The last but two, after 0xf0: what is smaller has a shorter form.
    AfterF0,
    /// The last but two, after 0xf4: what is larger is no character.
    AfterF4,
}

impl Utf8 {
    /// All states, in the order of their numbers.
    const ALL: [Self; 8] = [
        Self::Start,
        Self::Last,
        Self::LastButOne,
        Self::LastButTwo,
        Self::AfterE0,
        Self::AfterEd,
        Self::AfterF0,
        Self::AfterF4,
    ];

    /// The state with this number, of which only the three lowest bits count.
    pub(super) fn of(number: u8) -> Self {
        Self::ALL[usize::from(number % 8)]
    }

    /// The state after `bytes`; `None` if they are not UTF-8.
    pub(super) fn after(mut self, mut bytes: &[u8]) -> Option<Self> {
        while let [byte, rest @ ..] = bytes
            && self != Self::Start
        {
            self = self.step(*byte)?;
            bytes = rest;
        }
        // The standard library reads many bytes at once, and knows where the last character begins
        // that is not whole.
        match str::from_utf8(bytes) {
            Ok(_) => Some(self),
            Err(error) if error.error_len().is_some() => None,
            Err(error) => {
                let cut = &bytes[error.valid_up_to()..];
                cut.iter().try_fold(Self::Start, |state, byte| state.step(*byte))
            }
        }
    }

    /// The state after one byte.
    fn step(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, 0..=0x7f) | (Self::Last, 0x80..=0xbf) => Self::Start,
            (Self::Start, 0xc2..=0xdf)
            | (Self::LastButOne, 0x80..=0xbf)
            | (Self::AfterE0, 0xa0..=0xbf)
            | (Self::AfterEd, 0x80..=0x9f) => Self::Last,
            (Self::Start, 0xe0) => Self::AfterE0,
            (Self::Start, 0xed) => Self::AfterEd,
            (Self::Start, 0xe1..=0xef)
            | (Self::LastButTwo, 0x80..=0xbf)
            | (Self::AfterF0, 0x90..=0xbf)
            | (Self::AfterF4, 0x80..=0x8f) => Self::LastButOne,
            (Self::Start, 0xf0) => Self::AfterF0,
            (Self::Start, 0xf1..=0xf3) => Self::LastButTwo,
            (Self::Start, 0xf4) => Self::AfterF4,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_known_by_its_number() {
        for (number, state) in (0..).zip(Utf8::ALL) {
            assert_eq!((state as u8, Utf8::of(number)), (number, state));
        }
    }

    #[test]
    fn every_character_is_taken_wherever_it_is_cut() {
        for char in ('\0'..=char::MAX).step_by(31).chain(['\u{7ff}', '\u{d7ff}', '\u{ffff}']) {
            let mut buffer = [0; 4];
            let bytes = char.encode_utf8(&mut buffer).as_bytes();
            for cut in 0..=bytes.len() {
                let state = Utf8::Start.after(&bytes[..cut]).unwrap();
                assert_eq!(state == Utf8::Start, cut == 0 || cut == bytes.len(), "{char:?}");
                assert_eq!(state.after(&bytes[cut..]), Some(Utf8::Start), "{char:?} {cut}");
            }
        }
    }

    #[test]
    fn all_short_strings_are_judged_as_the_standard_library_does() {
        // Every two bytes, and what may follow them: the borders of all ranges.
        let borders = [0x7f, 0x80, 0xbf, 0xc0];
        for first in 0x7f..=u8::MAX {
            for second in 0..=u8::MAX {
                for (third, fourth) in borders.iter().flat_map(|it| borders.map(|of| (*it, of))) {
                    let bytes = [first, second, third, fourth];
                    for len in 1..=4 {
                        let bytes = &bytes[..len];
                        let mut pieces = bytes.chunks(1);
                        let bytewise = pieces.try_fold(Utf8::Start, Utf8::after);
                        assert_eq!(bytewise, Utf8::Start.after(bytes), "{bytes:x?}");
                        let expected = str::from_utf8(bytes);
                        assert_eq!(bytewise == Some(Utf8::Start), expected.is_ok(), "{bytes:x?}");
                        let is_cut = expected.is_err_and(|error| error.error_len().is_none());
                        let is_inside = bytewise.is_some_and(|state| state != Utf8::Start);
                        assert_eq!(is_inside, is_cut, "{bytes:x?}");
                    }
                }
            }
        }
    }
}
