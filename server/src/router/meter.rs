//! What all backlogs hold together, and bytes that several of them share.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Ordering};

/// Counts the memory that all backlogs of a router hold, against a limit.
#[derive(Debug)]
pub struct Meter {
    /// Bytes held: what backlogs have allocated, and what they share, once.
    held: AtomicUsize,
    /// Bytes that may be held.
    limit: usize,
}

impl Meter {
    /// Nothing is held yet.
    pub(crate) fn new(limit: usize) -> Self {
        Self { held: AtomicUsize::new(0), limit }
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more is held than may be.
    pub(super) fn is_over(&self) -> bool {
        self.held() > self.limit
    }

    /// Whether relief has gone far enough: an eighth of the limit is free, so that not every
    /// further chunk looks for readers to close.
    pub(super) fn is_relieved(&self) -> bool {
        self.held() <= self.limit - self.limit / 8
    }

    /// Something held `before` bytes and holds `after` now.
    pub(super) fn replace(&self, before: usize, after: usize) {
        if after > before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// The end of a message's chunks, which is the same for all connections that get it in one style.
/// However many backlogs have it, it is held once.
#[derive(Debug)]
pub struct SharedTail {
    /// The bytes.
    bytes: Box<[u8]>,
    /// Counts them for as long as they exist.
    meter: Arc<Meter>,
}

impl SharedTail {
    /// Bytes to be shared, counted by `meter`.
    pub fn new(bytes: Vec<u8>, meter: &Arc<Meter>) -> Arc<Self> {
        let bytes = bytes.into_boxed_slice();
        meter.replace(0, bytes.len());
        Arc::new(Self { bytes, meter: Arc::clone(meter) })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SharedTail {
    fn drop(&mut self) {
        self.meter.replace(self.bytes.len(), 0);
    }
}
