//! What is kept of a chunk: its two ends.

/// How much of a chunk's beginning is looked at. `Recvd msg #` and any number end well before.
pub const FIRST_BYTES: usize = 64;

/// How much of a chunk's end is looked at. A stamp of two largest numbers and the `'<br/>` behind
/// it are 49 bytes.
pub const LAST_BYTES: usize = 128;

/// A complete chunk, shown by its two ends, which overlap in a short one.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Its first bytes, [`FIRST_BYTES`] at most.
    pub first: &'a [u8],
    /// Its last bytes, [`LAST_BYTES`] at most.
    pub last: &'a [u8],
    /// How long it is.
    pub len: u64,
}

impl<'a> Chunk<'a> {
    /// The chunk whose data is `data`.
    pub fn of(data: &'a [u8]) -> Self {
        Self {
            first: &data[..data.len().min(FIRST_BYTES)],
            last: &data[data.len().saturating_sub(LAST_BYTES)..],
            len: data.len() as u64,
        }
    }

    /// The number in the chunk: the first `#` with digits behind it. None if the digits may go on
    /// past what is shown.
    pub fn number(&self) -> Option<u64> {
        let first = self.first;
        let (number, rest) = memchr::memchr_iter(b'#', first)
            .find_map(|at| reports::stamp::leading_number(&first[at + 1..]))?;
        let is_whole = !rest.is_empty() || self.len == first.len() as u64;
        is_whole.then_some(number)
    }
}

/// The two ends of a chunk that did not come in one piece.
#[derive(Debug)]
pub(super) struct Capture {
    /// The chunk's first bytes.
    first: [u8; FIRST_BYTES],
    /// The last bytes so far, in order, at the front.
    last: [u8; LAST_BYTES],
    /// Bytes of the chunk so far.
    len: u64,
}

impl Default for Capture {
    fn default() -> Self {
        Self { first: [0; FIRST_BYTES], last: [0; LAST_BYTES], len: 0 }
    }
}

impl Capture {
    /// Takes in the next bytes of the chunk.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let n_first = self.n_captured(FIRST_BYTES);
        let n_more = bytes.len().min(FIRST_BYTES - n_first);
        self.first[n_first..n_first + n_more].copy_from_slice(&bytes[..n_more]);

        let n_last = self.n_captured(LAST_BYTES);
        let n_new = bytes.len().min(LAST_BYTES);
        let n_old = n_last.min(LAST_BYTES - n_new);
        self.last.copy_within(n_last - n_old..n_last, 0);
        self.last[n_old..n_old + n_new].copy_from_slice(&bytes[bytes.len() - n_new..]);
        self.len += bytes.len() as u64;
    }

    /// The chunk, once all of it was pushed.
    pub(super) fn chunk(&self) -> Chunk<'_> {
        Chunk {
            first: &self.first[..self.n_captured(FIRST_BYTES)],
            last: &self.last[..self.n_captured(LAST_BYTES)],
            len: self.len,
        }
    }

    /// How many bytes are captured where `room` fit.
    fn n_captured(&self, room: usize) -> usize {
        usize::try_from(self.len).map_or(room, |len| len.min(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_first_with_a_hash_before_it() {
        for (text, number) in [
            ("Recvd msg #17: 'see #4 of 1'<br/>", Some(17)),
            ("# and #x but #9", Some(9)),
            ("Recvd msg 17", None),
            ("#99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(Chunk::of(text.as_bytes()).number(), number, "{text:?}");
        }
    }

    #[test]
    fn a_number_that_may_go_on_out_of_sight_is_none() {
        let text = format!("{}#12", "x".repeat(FIRST_BYTES - 3));
        assert_eq!(Chunk::of(text.as_bytes()).number(), Some(12));
        assert_eq!(Chunk::of(format!("{text}3").as_bytes()).number(), None);
    }
}
