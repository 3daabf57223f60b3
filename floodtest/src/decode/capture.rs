//! What is kept of a chunk: its two ends.

/// How much of a chunk's beginning is looked at. `Recvd msg #` and an event's `id:` end well before;
/// the rest is for the messages of other servers, whose number may stand anywhere in a small object.
pub const FIRST_BYTES: usize = 256;

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
    /// Whether the response is a stream of server-sent events.
    pub is_event: bool,
}

impl<'a> Chunk<'a> {
    /// The chunk whose data is `data`, in a response that is no stream of events.
    pub fn of(data: &'a [u8]) -> Self {
        Self {
            first: &data[..data.len().min(FIRST_BYTES)],
            last: &data[data.len().saturating_sub(LAST_BYTES)..],
            len: data.len() as u64,
            is_event: false,
        }
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
            is_event: false,
        }
    }

    /// How many bytes are captured where `room` fit.
    fn n_captured(&self, room: usize) -> usize {
        usize::try_from(self.len).map_or(room, |len| len.min(room))
    }
}
