//! Room for what a connection of the control door has sent and is to be answered. A connection has
//! it while there is something in it; in between it is in a pool.

use crate::sync::{Mutex, MutexGuard};

use bytes::BufMut as _;
use bytes::buf::Limit;

use super::body::Body;
use crate::framing::MAX_MESSAGE_BYTES;
use crate::request::MAX_HEAD_BYTES;

/// Bytes that have come in and are not used yet: a message with its head fits, so that it is sent
/// from where it was read to.
pub(crate) const INPUT_BYTES: usize = MAX_HEAD_BYTES + MAX_MESSAGE_BYTES;

/// Bytes of answers that are gathered before they are written. One answer more may come on top,
/// whole; the largest one is `/metrics`, about 8 KiB.
pub(crate) const OUTPUT_BYTES: usize = 32 * 1024;

/// Capacity for answers that is kept for the next connection.
const OUTPUT_KEPT_BYTES: usize = 2 * OUTPUT_BYTES;

/// Bytes of an unfinished request that are kept apart, so that a slow sender does not hold room for
/// a large one.
const KEPT_BYTES: usize = 4 * 1024;

/// What has come in and is not used yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// What has come in, of which the beginning may have been used. Either as large as it may get,
    /// or just large enough. Memory that nothing was read to is not touched.
    bytes: Vec<u8>,
    /// Where the window begins: what is not used yet.
    start: usize,
}

impl Input {
    /// What has come in and is not used yet.
    pub(crate) fn window(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Drops `n` bytes from the front of the window.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.bytes.len(), "only what is there is used");
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Takes what the window has of a body behind the first `n_before` bytes, which are of it
    /// already, and puts it there. Returns how much that was.
    pub(crate) fn take(&mut self, body: &mut Body, n_before: usize) -> Result<usize, &'static str> {
        let at = self.start + n_before;
        let found = body.take(&mut self.bytes[at..])?;
        if found.n_used > found.n_data {
            self.bytes.drain(at + found.n_data..at + found.n_used);
        }
        Ok(found.n_data)
    }

    /// Whether it is as large as it may get.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.capacity() >= INPUT_BYTES
    }

    /// Where more bytes may be read to. Not full: whoever waits for more has used what was too much
    /// to keep.
    pub(crate) fn tail(&mut self, pool: &Pool) -> Limit<&mut Vec<u8>> {
        if !self.has_room() {
            let mut bytes = pool.take_input();
            bytes.extend_from_slice(self.window());
            *self = Self { bytes, start: 0 };
        } else if self.start > 0 && INPUT_BYTES - self.bytes.len() < INPUT_BYTES / 4 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let n_free = INPUT_BYTES - self.bytes.len();
        debug_assert!(n_free > 0, "limits are looked at before");
        (&mut self.bytes).limit(n_free)
    }

    /// Gives its room to the pool, unless much is in it.
    pub(crate) fn rest(&mut self, pool: &Pool) {
        if self.has_room() && self.window().len() <= KEPT_BYTES {
            let kept = Self { bytes: self.window().to_vec(), start: 0 };
            pool.put_input(std::mem::replace(self, kept).bytes);
        }
    }
}

/// Room that nobody uses. Of each kind the one used last is at the end: it is taken first, and its
/// memory is in the caches.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Free>);

/// What is in a pool.
#[derive(Debug, Default)]
struct Free {
    /// Room for what comes in.
    inputs: Vec<Vec<u8>>,
    /// The fewest of these that were here since the last trim.
    n_least_inputs: usize,
    /// Room for answers.
    outputs: Vec<Vec<u8>>,
    /// The fewest of these that were here since the last trim.
    n_least_outputs: usize,
}

impl Pool {
    /// Takes room for what comes in.
    fn take_input(&self) -> Vec<u8> {
        let mut free = self.lock();
        let input = free.inputs.pop();
        free.n_least_inputs = free.n_least_inputs.min(free.inputs.len());
        drop(free);
        input.unwrap_or_else(|| Vec::with_capacity(INPUT_BYTES))
    }

    /// Gives it back; what is in it is forgotten.
    fn put_input(&self, mut input: Vec<u8>) {
        input.clear();
        self.lock().inputs.push(input);
    }

    /// Takes room for answers.
    pub(crate) fn take_output(&self) -> Vec<u8> {
        let mut free = self.lock();
        let output = free.outputs.pop().unwrap_or_default();
        free.n_least_outputs = free.n_least_outputs.min(free.outputs.len());
        output
    }

    /// Gives it back; what is in it is forgotten.
    pub(crate) fn put_output(&self, mut output: Vec<u8>) {
        output.clear();
        output.shrink_to(OUTPUT_KEPT_BYTES);
        self.lock().outputs.push(output);
    }

    /// Frees what was not needed since the last trim.
    pub(crate) fn trim(&self) {
        let mut free = self.lock();
        let n_inputs = std::mem::take(&mut free.n_least_inputs);
        let n_outputs = std::mem::take(&mut free.n_least_outputs);
        let inputs: Vec<_> = free.inputs.drain(..n_inputs).collect();
        let outputs: Vec<_> = free.outputs.drain(..n_outputs).collect();
        (free.n_least_inputs, free.n_least_outputs) = (free.inputs.len(), free.outputs.len());
        drop(free);
        // They are freed without the lock.
        drop((inputs, outputs));
    }

    /// What is in it.
    fn lock(&self) -> MutexGuard<'_, Free> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::body::Chunks;

    #[test]
    fn a_message_in_chunks_is_whole_where_it_was_read_to() {
        let (pool, mut input) = (Pool::default(), Input::default());
        input.tail(&pool).put_slice(b"head3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nPOST");
        input.consume(4);
        let mut body = Body::Chunked(Chunks::Size);
        assert_eq!(input.take(&mut body, 0), Ok(5));
        assert!(body.is_at_end());
        assert_eq!(input.window(), b"abcdePOST");
        input.consume(5);
        input.rest(&pool);
        assert_eq!((input.window(), input.has_room()), (&b"POST"[..], false));
        input.tail(&pool).put_slice(b" /");
        assert_eq!(input.window(), b"POST /");
    }

    #[test]
    fn a_tail_is_never_full_while_less_than_a_message_and_a_head_is_kept() {
        let (pool, mut input) = (Pool::default(), Input::default());
        for _ in 0..10 {
            let n = input.tail(&pool).remaining_mut();
            input.tail(&pool).put_slice(&vec![b'x'; n]);
            assert_eq!(input.window().len(), INPUT_BYTES);
            input.consume(1_000);
        }
    }

    #[test]
    fn a_pool_keeps_as_much_room_as_is_needed_at_a_time() {
        let pool = Pool::default();
        let rooms: Vec<_> = (0..5).map(|_| pool.take_input()).collect();
        for room in rooms {
            pool.put_input(room);
        }
        pool.trim();
        assert_eq!(pool.lock().inputs.len(), 5, "they were needed a moment ago");
        let (one, other) = (pool.take_input(), pool.take_input());
        pool.put_input(one);
        pool.put_input(other);
        pool.trim();
        assert_eq!(pool.lock().inputs.len(), 2);
        pool.trim();
        assert_eq!(pool.lock().inputs.len(), 0, "nobody came");
    }
}
