//! What is kept of every place.

use std::os::fd::OwnedFd;

use crate::decode::body::Framer;
use crate::items::Items;
use crate::judge::window::Window;

/// One place, which has a connection, and may have one after the other. Its size times a million is
/// the product.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Which of its messages have come.
    pub(super) window: Window,
    /// The response as far as it was read. With a head, the connection counts as established.
    pub(super) framer: Framer,
    /// When the head came, in milliseconds after the clock's start: that of the first connection on
    /// which the numbers of the present window came.
    pub(super) head_ms: u32,
    /// The socket; `None` once the connection failed or closed.
    pub(super) socket: Option<OwnedFd>,
    /// Its messages lost, duplicated and reordered so far; no more than 65,535 are counted.
    pub(super) faults: u16,
    /// What its body consists of.
    pub(super) items: Items,
}

impl Row {
    /// Forgets the connection that the place has had. What is known of its messages stays: they go
    /// on over the next one.
    pub(super) fn forget_connection(&mut self) {
        let Self { window, head_ms, faults, .. } = *self;
        *self = Self { window, head_ms, faults, ..Self::default() };
    }
}

/// The number of a row, of which there are fewer than 2³²: as many as descriptors.
pub(super) fn row_number(index: usize) -> u32 {
    u32::try_from(index).expect("a process has fewer descriptors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_56_bytes() {
        assert_eq!(size_of::<Row>(), 56);
    }
}
