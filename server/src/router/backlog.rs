//! What one connection's socket would not take yet.

use std::collections::VecDeque;

/// Bytes that wait for one connection, and where the chunks among them end.
///
/// The borders are kept so that every chunk can be accounted for: it is *written* when the kernel
/// has taken its last byte, and *dropped* if the connection closes before.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The bytes, the oldest first.
    bytes: VecDeque<u8>,
    /// What they are, the oldest first.
    pieces: VecDeque<Piece>,
}

/// A part of a backlog.
#[derive(Debug)]
struct Piece {
    /// How many bytes of it are still to be written.
    n_bytes: u32,
    /// Whether it is a message's chunk, which is counted.
    is_chunk: bool,
}

impl Backlog {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes waiting.
    pub(super) fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Chunks waiting, one that is partly written included.
    pub(super) fn n_chunks(&self) -> u64 {
        self.pieces.iter().filter(|piece| piece.is_chunk).count() as u64
    }

    /// Adds a chunk, or what is left of one.
    pub(super) fn push_chunk(&mut self, rest: &[u8]) {
        self.push(rest, true);
    }

    /// Adds bytes that belong to no message: they are written, but not counted.
    pub(super) fn push_uncounted(&mut self, rest: &[u8]) {
        self.push(rest, false);
    }

    /// Adds a piece.
    fn push(&mut self, rest: &[u8], is_chunk: bool) {
        let n_bytes = u32::try_from(rest.len()).expect("a message is small");
        self.bytes.extend(rest);
        self.pieces.push_back(Piece { n_bytes, is_chunk });
    }

    /// The oldest bytes that lie together in memory.
    pub(super) fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Takes `n` written bytes off the front; returns how many chunks that completed.
    pub(super) fn written(&mut self, n: usize) -> u64 {
        self.bytes.drain(..n);
        let mut n_left = u32::try_from(n).expect("no more than was pushed");
        let mut n_completed = 0;
        while let Some(first) = self.pieces.front_mut() {
            if first.n_bytes > n_left {
                first.n_bytes -= n_left;
                break;
            }
            n_left -= first.n_bytes;
            n_completed += u64::from(first.is_chunk);
            self.pieces.pop_front();
        }
        n_completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_as_written_with_its_last_byte() {
        let mut backlog = Backlog::default();
        backlog.push_chunk(b"abc");
        backlog.push_chunk(b"defg");
        backlog.push_uncounted(b"!");
        assert_eq!((backlog.n_bytes(), backlog.n_chunks()), (8, 2));
        assert_eq!(backlog.written(2), 0);
        assert_eq!(backlog.written(1), 1);
        assert_eq!(backlog.written(3), 0);
        assert_eq!(backlog.front(), b"g!");
        assert_eq!(backlog.written(2), 1);
        assert!(backlog.is_empty());
        assert_eq!(backlog.n_chunks(), 0);
    }

    #[test]
    fn bytes_that_are_no_chunk_are_never_counted_as_one() {
        let mut backlog = Backlog::default();
        backlog.push_uncounted(b"ping");
        backlog.push_chunk(b"abc");
        assert_eq!((backlog.n_bytes(), backlog.n_chunks()), (7, 1));
        assert_eq!(backlog.written(5), 0);
        assert_eq!(backlog.written(2), 1);
        assert!(backlog.is_empty());
    }
}
