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
    /// How many bytes of each waiting chunk are still to be written, the oldest chunk first.
    chunks: VecDeque<usize>,
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
        self.chunks.len() as u64
    }

    /// Adds a chunk, or what is left of one.
    pub(super) fn push_chunk(&mut self, rest: &[u8]) {
        self.bytes.extend(rest);
        self.chunks.push_back(rest.len());
    }

    /// Adds bytes that belong to no message: they are written, but not counted.
    pub(super) fn push_end(&mut self, end: &[u8]) {
        self.bytes.extend(end);
    }

    /// The oldest bytes that lie together in memory.
    pub(super) fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Takes `n` written bytes off the front; returns how many chunks that completed.
    pub(super) fn written(&mut self, n: usize) -> u64 {
        self.bytes.drain(..n);
        let (mut n_left, mut n_completed) = (n, 0);
        while let Some(first) = self.chunks.front_mut() {
            if *first > n_left {
                *first -= n_left;
                break;
            }
            n_left -= *first;
            self.chunks.pop_front();
            n_completed += 1;
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
        backlog.push_end(b"!");
        assert_eq!((backlog.n_bytes(), backlog.n_chunks()), (8, 2));
        assert_eq!(backlog.written(2), 0);
        assert_eq!(backlog.written(1), 1);
        assert_eq!(backlog.written(3), 0);
        assert_eq!(backlog.front(), b"g!");
        assert_eq!(backlog.written(2), 1);
        assert!(backlog.is_empty());
        assert_eq!(backlog.n_chunks(), 0);
    }
}
