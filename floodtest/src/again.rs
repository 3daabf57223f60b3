//! What servers have said about how to come back: tables beside the rows, of those places where
//! something is known.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The longest time that a server may ask for: a day. Longer ones are cut.
const MAX_WAIT_MS: u64 = 24 * 60 * 60 * 1_000;

/// What servers have said about how to come back.
///
/// For each event stream with ids there is its last one, 128 bytes at most, and some 40 bytes of the
/// table; likewise 8 bytes for each whose server has said `retry:`. Only event streams that may be
/// opened again are here.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// The last id of each stream.
    last_ids: HashMap<u32, Box<[u8]>>,
    /// The milliseconds that servers ask for.
    waits_ms: HashMap<u32, u32>,
    /// Streams whose present connection was asked for with `Last-Event-ID`.
    resuming: HashSet<u32>,
}

impl Again {
    /// Takes in the id of an event.
    pub(crate) fn event_id(&mut self, row: u32, id: &[u8]) {
        // By HTTP a field value has no control characters.
        if id.is_empty() || id.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
            self.last_ids.remove(&row);
        } else {
            self.last_ids.insert(row, id.into());
        }
    }

    /// Takes in how many milliseconds a server asks for.
    pub(crate) fn retry(&mut self, row: u32, ms: u64) {
        let ms = u32::try_from(ms.min(MAX_WAIT_MS)).expect("a day is less than that");
        self.waits_ms.insert(row, ms);
    }

    /// What a server asks for.
    pub(crate) fn wait(&self, row: u32) -> Option<Duration> {
        self.waits_ms.get(&row).map(|ms| Duration::from_millis((*ms).into()))
    }

    /// The last id of a stream, with which it is opened again now.
    pub(crate) fn resume(&mut self, row: u32) -> Option<&[u8]> {
        let id = self.last_ids.get(&row);
        if id.is_some() {
            self.resuming.insert(row);
        }
        id.map(|id| &**id)
    }

    /// Whether there is a last id of a stream.
    pub(crate) fn has_id(&self, row: u32) -> bool {
        self.last_ids.contains_key(&row)
    }

    /// Whether the present connection of a place was asked for with an id.
    pub(crate) fn is_resumed(&self, row: u32) -> bool {
        !self.resuming.is_empty() && self.resuming.contains(&row)
    }

    /// Notes that the present connection of a place has ended.
    pub(crate) fn ended(&mut self, row: u32) {
        self.resuming.remove(&row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_id_is_what_a_stream_goes_on_from() {
        let mut again = Again::default();
        assert_eq!(again.resume(7), None);
        again.event_id(7, b"a");
        again.event_id(7, b"b c");
        assert!(!again.is_resumed(7));
        assert_eq!(again.resume(7), Some(b"b c".as_slice()));
        assert!(again.is_resumed(7) && !again.is_resumed(8));
        again.ended(7);
        assert!(!again.is_resumed(7) && again.has_id(7));
        again.event_id(7, b"\x01");
        assert!(!again.has_id(7));
    }

    #[test]
    fn a_server_may_not_ask_for_more_than_a_day() {
        let mut again = Again::default();
        again.retry(7, u64::MAX);
        assert_eq!((again.wait(7), again.wait(8)), (Some(Duration::from_hours(24)), None));
    }
}
