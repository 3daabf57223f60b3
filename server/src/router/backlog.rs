//! What one connection's socket would not take yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::meter::{Meter, SharedTail};

/// What a backlog holds beside its bytes and pieces, so that a crowd of short ones counts as well:
/// what is kept of the connection beside its row (`Extra`), its place in the table of these, and
/// what the allocator adds to three small blocks.
const OVERHEAD_BYTES: usize = 256;

/// Bytes that wait for one connection, and where the chunks among them end.
///
/// The borders are kept so that every chunk can be accounted for: it is *written* when the kernel
/// has taken its last byte, and *dropped* if the connection closes before.
///
/// Long ends of chunks are shared with the other connections that got the same message; short ones
/// are copied, which takes less than a reference to them would.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The bytes that are not shared, the oldest first.
    own: VecDeque<u8>,
    /// What the bytes are, the oldest first.
    pieces: VecDeque<Piece>,
    /// Bytes waiting, shared ones included.
    n_bytes: usize,
    /// What `meter` has counted of it.
    n_held: usize,
    /// Counts what all backlogs hold.
    meter: Arc<Meter>,
}

/// A part of a backlog: bytes of its own, then shared ones.
#[derive(Debug)]
struct Piece {
    /// How many of the backlog's own bytes are still to be written.
    n_own: u32,
    /// The shared bytes that are still to be written, if any.
    shared: Option<Shared>,
    /// Whether it is a message's chunk, which is counted.
    is_chunk: bool,
}

// 2,000 chunks may wait for one connection, and this is what each of them costs beside its bytes.
const _: () = assert!(size_of::<Piece>() == 24);

/// Bytes that are shared with other backlogs.
#[derive(Debug)]
struct Shared {
    /// The whole of them.
    tail: Arc<SharedTail>,
    /// Where in it the first byte is that is still to be written.
    start: u32,
    /// Where those end that belong to this piece: some styles leave out the last ones.
    end: u32,
}

impl Piece {
    /// Bytes of it that are still to be written.
    fn n_bytes(&self) -> usize {
        self.n_own as usize + self.shared.as_ref().map_or(0, Shared::n_bytes)
    }
}

impl Shared {
    fn n_bytes(&self) -> usize {
        (self.end - self.start) as usize
    }
}

impl Backlog {
    /// An empty one. It allocates nothing.
    pub(super) fn new(meter: &Arc<Meter>) -> Self {
        Self {
            own: VecDeque::new(),
            pieces: VecDeque::new(),
            n_bytes: 0,
            n_held: 0,
            meter: Arc::clone(meter),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.n_bytes == 0
    }

    /// Bytes waiting.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Chunks waiting, one that is partly written included.
    pub(super) fn n_chunks(&self) -> u64 {
        self.pieces.iter().filter(|piece| piece.is_chunk).count() as u64
    }

    /// Adds a chunk, or what is left of one.
    pub(super) fn push_chunk(&mut self, rest: &[u8]) {
        self.push(rest, None, true);
    }

    /// Adds a chunk, or what is left of one, that ends in the first `n_tail` bytes of `tail`. Of
    /// `rest`, only what comes before them is copied.
    pub(super) fn push_shared(&mut self, rest: &[u8], tail: Arc<SharedTail>, n_tail: usize) {
        let n_own = rest.len().saturating_sub(n_tail);
        let n_shared = rest.len() - n_own;
        let shared = Shared { tail, start: small(n_tail - n_shared), end: small(n_tail) };
        self.push(&rest[..n_own], Some(shared), true);
    }

    /// Adds bytes that belong to no message: they are written, but not counted.
    pub(super) fn push_uncounted(&mut self, rest: &[u8]) {
        self.push(rest, None, false);
    }

    /// Adds a piece.
    fn push(&mut self, own: &[u8], shared: Option<Shared>, is_chunk: bool) {
        let piece = Piece { n_own: small(own.len()), shared, is_chunk };
        self.n_bytes += piece.n_bytes();
        make_room(&mut self.own, own.len());
        self.own.extend(own);
        make_room(&mut self.pieces, 1);
        self.pieces.push_back(piece);
        self.count();
    }

    /// The oldest bytes that lie together in memory.
    pub(super) fn front(&self) -> &[u8] {
        // Own bytes lie together over the borders of pieces, up to the first shared ones.
        let mut n_own = 0;
        for piece in &self.pieces {
            n_own += piece.n_own as usize;
            if let Some(Shared { tail, start, end }) = &piece.shared {
                if n_own == 0 {
                    return &tail.bytes()[*start as usize..*end as usize];
                }
                break;
            }
        }
        let together = self.own.as_slices().0;
        &together[..together.len().min(n_own)]
    }

    /// Takes `n` written bytes off the front; returns how many chunks that completed.
    pub(super) fn written(&mut self, n: usize) -> u64 {
        let (mut n_left, mut n_completed, mut n_own) = (n, 0, 0);
        self.n_bytes -= n;
        while let Some(first) = self.pieces.front_mut() {
            let n_of_own = n_left.min(first.n_own as usize);
            first.n_own -= small(n_of_own);
            n_own += n_of_own;
            n_left -= n_of_own;
            if let Some(shared) = &mut first.shared {
                let n_of_shared = n_left.min(shared.n_bytes());
                shared.start += small(n_of_shared);
                n_left -= n_of_shared;
            }
            if first.n_bytes() > 0 {
                break;
            }
            n_completed += u64::from(first.is_chunk);
            self.pieces.pop_front();
        }
        self.own.drain(..n_own);
        if self.is_empty() {
            // Its memory goes now: a backlog's room, kept for every reader that was slow once,
            // would add up to what the limit is there to prevent.
            (self.own, self.pieces) = (VecDeque::new(), VecDeque::new());
            self.count();
        }
        n_completed
    }

    /// Tells the meter what is held now.
    fn count(&mut self) {
        let n_held = if self.pieces.capacity() == 0 {
            0
        } else {
            OVERHEAD_BYTES + self.own.capacity() + self.pieces.capacity() * size_of::<Piece>()
        };
        self.meter.replace(self.n_held, n_held);
        self.n_held = n_held;
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.meter.replace(self.n_held, 0);
    }
}

/// Makes room for `n_more` items, and a quarter of what is there for those to come. Doubling, as
/// collections do by themselves, would hold up to twice of what waits.
fn make_room<T>(items: &mut VecDeque<T>, n_more: usize) {
    if items.capacity() - items.len() < n_more {
        items.reserve_exact(n_more + items.len() / 4);
    }
}

/// A number of bytes of one chunk.
fn small(n_bytes: usize) -> u32 {
    u32::try_from(n_bytes).expect("a message is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Arc<Meter> {
        Arc::new(Meter::new(1_000))
    }

    #[test]
    fn a_chunk_counts_as_written_with_its_last_byte() {
        let mut backlog = Backlog::new(&meter());
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
        let mut backlog = Backlog::new(&meter());
        backlog.push_uncounted(b"ping");
        backlog.push_chunk(b"abc");
        assert_eq!((backlog.n_bytes(), backlog.n_chunks()), (7, 1));
        assert_eq!(backlog.written(5), 0);
        assert_eq!(backlog.written(2), 1);
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_is_shared_comes_out_in_its_place_and_is_held_once() {
        let meter = meter();
        let tail = SharedTail::new(b"-tail!".to_vec(), &meter);
        // Whatever was taken of the first chunk before it came here, and however it is read.
        for n_taken in 0..b"2:-tail".len() {
            for step in 1..8 {
                let mut backlog = Backlog::new(&meter);
                backlog.push_uncounted(b"<");
                backlog.push_shared(&b"2:-tail"[n_taken..], Arc::clone(&tail), 5);
                backlog.push_chunk(b"3:x");
                backlog.push_shared(b"4:-tail!", Arc::clone(&tail), 6);
                let (mut read, mut n_completed) = (Vec::new(), 0);
                while !backlog.is_empty() {
                    let front = backlog.front();
                    let n = front.len().min(step);
                    read.extend_from_slice(&front[..n]);
                    n_completed += backlog.written(n);
                }
                let expected = [b"<", &b"2:-tail"[n_taken..], b"3:x4:-tail!"].concat();
                assert_eq!(String::from_utf8(read), String::from_utf8(expected));
                assert_eq!((n_completed, backlog.n_chunks()), (3, 0));
            }
        }
        let n_tail = tail.bytes().len();
        assert_eq!(meter.held(), n_tail, "an empty backlog holds nothing");
        let fill = || {
            let mut backlog = Backlog::new(&meter);
            backlog.push_shared(b"1:-tail!", Arc::clone(&tail), n_tail);
            backlog
        };
        let first = fill();
        let n_first = meter.held() - n_tail;
        let second = fill();
        assert_eq!(meter.held(), n_tail + 2 * n_first, "the tail is counted once");
        drop(tail);
        drop(first);
        assert_eq!(meter.held(), n_tail + n_first);
        drop(second);
        assert_eq!(meter.held(), 0);
    }
}
