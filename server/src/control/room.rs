//! Room for what a connection of the control door has sent and is to be answered. A connection has
//! it while there is something in it; in between it is in a pool.

use std::sync::{Mutex, MutexGuard};

use bytes::BufMut as _;
use bytes::buf::Limit;

use super::body::Body;
use crate::request::MAX_HEAD_BYTES;
use crate::send::MAX_MESSAGE_BYTES;

/// Bytes that have come in and are not used yet: a message with its head fits, so that it is sent
/// from where it was read to.
pub(crate) const INPUT_BYTES: usize = MAX_HEAD_BYTES + MAX_MESSAGE_BYTES;

/// Bytes of answers that are gathered before they are written. One answer more may come on top,
/// whole; the largest one is `/metrics`, about 8 KiB.
pub(crate) const OUTPUT_BYTES: usize = 32 * 1024;

/// Capacity for answers that is kept for the next connection.
const OUTPUT_KEPT_BYTES: usize = 2 * OUTPUT_BYTES;

/// Room for one connection.
#[derive(Debug)]
pub(crate) struct Room {
    /// What has come in, of which the beginning may have been used. It never grows: memory that
    /// nothing was read to is not touched.
    input: Vec<u8>,
    /// Where the window begins: what is not used yet.
    start: usize,
    /// Answers, the first to be written at the front.
    pub(crate) output: Vec<u8>,
    /// How much of them has been written.
    pub(crate) n_written: usize,
}

impl Room {
    /// Empty room.
    fn new() -> Self {
        let input = Vec::with_capacity(INPUT_BYTES);
        Self { input, start: 0, output: Vec::new(), n_written: 0 }
    }

    /// What has come in and is not used yet.
    pub(crate) fn window(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Drops `n` bytes from the front of the window.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.input.len(), "only what is there is used");
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
    }

    /// Takes what the window has of a body behind the first `n_before` bytes, which are of it
    /// already, and puts it there. Returns how much that was.
    pub(crate) fn take(&mut self, body: &mut Body, n_before: usize) -> Result<usize, &'static str> {
        let at = self.start + n_before;
        let found = body.take(&mut self.input[at..])?;
        if found.n_used > found.n_data {
            self.input.drain(at + found.n_data..at + found.n_used);
        }
        Ok(found.n_data)
    }

    /// Puts bytes into an empty window.
    pub(crate) fn restore(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Where more bytes may be read to. Not full: whoever waits for more has used what was too much
    /// to keep.
    pub(crate) fn tail(&mut self) -> Limit<&mut Vec<u8>> {
        if self.start > 0 && INPUT_BYTES - self.input.len() < INPUT_BYTES / 4 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        let n_free = INPUT_BYTES - self.input.len();
        debug_assert!(n_free > 0, "limits are looked at before");
        (&mut self.input).limit(n_free)
    }
}

/// Room that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Free>);

/// The rooms of a pool.
#[derive(Debug, Default)]
struct Free {
    /// The one used last at the end: it is taken first, and its memory is in the caches.
    #[expect(
        clippy::vec_box,
        reason = "connections hold a room by its address, not 64 bytes of it"
    )]
    rooms: Vec<Box<Room>>,
    /// The fewest that were here since the last trim.
    n_least: usize,
}

impl Pool {
    /// Takes empty room.
    pub(crate) fn take(&self) -> Box<Room> {
        let mut free = self.lock();
        let room = free.rooms.pop();
        free.n_least = free.n_least.min(free.rooms.len());
        drop(free);
        room.unwrap_or_else(|| Box::new(Room::new()))
    }

    /// Gives room back; what is in it is forgotten.
    pub(crate) fn put(&self, mut room: Box<Room>) {
        (room.start, room.n_written) = (0, 0);
        room.input.clear();
        room.output.clear();
        room.output.shrink_to(OUTPUT_KEPT_BYTES);
        self.lock().rooms.push(room);
    }

    /// Frees the rooms that were not needed since the last trim.
    pub(crate) fn trim(&self) {
        let mut free = self.lock();
        let n_unneeded = std::mem::take(&mut free.n_least);
        let unneeded: Vec<_> = free.rooms.drain(..n_unneeded).collect();
        free.n_least = free.rooms.len();
        drop(free);
        // Freed without the lock.
        drop(unneeded);
    }

    /// The rooms.
    fn lock(&self) -> MutexGuard<'_, Free> {
        self.0.lock().expect("nothing panics while it holds the rooms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::body::Chunks;

    #[test]
    fn a_message_in_chunks_is_whole_where_it_was_read_to() {
        let pool = Pool::default();
        let mut room = pool.take();
        room.restore(b"head3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nPOST");
        room.consume(4);
        let mut body = Body::Chunked(Chunks::Size);
        assert_eq!(room.take(&mut body, 0), Ok(5));
        assert!(body.is_at_end());
        assert_eq!(room.window(), b"abcdePOST");
        room.consume(5);
        assert_eq!(room.window(), b"POST");
    }

    #[test]
    fn a_pool_keeps_the_rooms_that_are_needed_at_a_time() {
        let pool = Pool::default();
        let rooms: Vec<_> = (0..5).map(|_| pool.take()).collect();
        rooms.into_iter().for_each(|room| pool.put(room));
        pool.trim();
        assert_eq!(pool.lock().rooms.len(), 5, "they were needed a moment ago");
        let (one, other) = (pool.take(), pool.take());
        pool.put(one);
        pool.put(other);
        pool.trim();
        assert_eq!(pool.lock().rooms.len(), 2);
        pool.trim();
        assert_eq!(pool.lock().rooms.len(), 0, "nobody came");
    }
}
