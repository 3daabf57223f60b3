//! Frames of WebSockets that are to be sent, in one buffer that all connections share.

use std::hash::{BuildHasher, RandomState};

/// The first bytes of frames, which are never fragments.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// What says that a frame is masked, as a client's are.
const MASKED: u8 = 0x80;

/// What stands in place of a length of two bytes, and of one of eight.
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;

/// Frames that are to be sent on the connection that is looked at, and on no other.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The frames.
    frames: Vec<u8>,
    /// What the next pong has in it, if there is to be one.
    pong: Option<Vec<u8>>,
    /// Where masks come from.
    masks: Masks,
}

impl Outbox {
    /// Forgets all frames.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.pong = None;
    }

    /// Adds a message.
    pub(crate) fn message(&mut self, is_binary: bool, payload: &[u8]) {
        self.frame(if is_binary { BINARY } else { TEXT }, payload);
    }

    /// Adds the answer to a ping. Of several pings that came together the last one is answered, as
    /// RFC 6455 (5.5.3) allows: a flood of them costs one frame.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        let pong = self.pong.get_or_insert_default();
        pong.clear();
        pong.extend_from_slice(payload);
    }

    /// Adds the frame that closes the connection, after which there is none.
    pub(crate) fn close(&mut self, code: Option<u16>) {
        self.add_pong();
        match code {
            Some(code) => self.frame(CLOSE, &code.to_be_bytes()),
            None => self.frame(CLOSE, &[]),
        }
    }

    /// All frames, as they are sent.
    pub(crate) fn frames(&mut self) -> &[u8] {
        self.add_pong();
        &self.frames
    }

    /// Adds the pong that is due.
    fn add_pong(&mut self) {
        if let Some(payload) = self.pong.take() {
            self.frame(PONG, &payload);
        }
    }

    /// Adds a frame, masked with a mask of its own.
    fn frame(&mut self, first: u8, payload: &[u8]) {
        self.frames.push(first);
        match payload.len() {
            length @ 0..=125 => {
                self.frames.push(MASKED | u8::try_from(length).expect("125 at most"));
            }
            length => {
                if let Ok(length) = u16::try_from(length) {
                    self.frames.push(MASKED | LENGTH_16);
                    self.frames.extend_from_slice(&length.to_be_bytes());
                } else {
                    self.frames.push(MASKED | LENGTH_64);
                    self.frames.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
        }
        let mask = self.masks.next();
        self.frames.extend_from_slice(&mask);
        self.frames.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

/// Masks that nobody outside can foretell, so that no text can be made into bytes that something
/// on the way takes for a request (RFC 6455, 10.3). The generator is `SplitMix64`; it is seeded
/// from the operating system.
#[derive(Debug)]
struct Masks(u64);

impl Default for Masks {
    fn default() -> Self {
        Self(random_seed())
    }
}

impl Masks {
    /// The next mask.
    fn next(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(STEP);
        let [a, b, c, d, ..] = mix(self.0).to_le_bytes();
        [a, b, c, d]
    }
}

/// What the state of `SplitMix64` grows by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that is another one in each process.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(STEP)
}

/// The output of `SplitMix64` for a state.
///
/// Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
pub(crate) fn mix(state: u64) -> u64 {
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames in `bytes`: their first byte and what is in them.
    fn read(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let [first, second, rest @ ..] = bytes {
            assert_eq!(second & MASKED, MASKED);
            let (length, rest) = match second & !MASKED {
                126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()), &rest[8..]),
                length => (length.into(), rest),
            };
            let (mask, rest) = rest.split_at(4);
            let (masked, rest) = rest.split_at(length.try_into().unwrap());
            let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            frames.push((*first, payload.collect()));
            bytes = rest;
        }
        frames
    }

    #[test]
    fn frames_of_every_length_are_masked() {
        let mut outbox = Outbox::default();
        let payloads: Vec<_> =
            [0, 1, 125, 126, 65_535, 65_536].map(|n| vec![b'x'; n]).into_iter().collect();
        for payload in &payloads {
            outbox.message(payload.len() == 1, payload);
        }
        let expected: Vec<_> = payloads
            .into_iter()
            .map(|payload| (if payload.len() == 1 { BINARY } else { TEXT }, payload))
            .collect();
        assert_eq!(read(outbox.frames()), expected);
        outbox.clear();
        assert!(outbox.frames().is_empty());
    }

    #[test]
    fn no_two_masks_are_alike() {
        let mut masks = Masks::default();
        let mut all: Vec<_> = (0..1_000).map(|_| masks.next()).collect();
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 990 && !all.contains(&[0; 4]));
        assert_ne!(random_seed(), random_seed());
    }

    #[test]
    fn a_flood_of_pings_is_one_pong_and_a_close_is_the_last() {
        let mut outbox = Outbox::default();
        outbox.pong(b"one");
        outbox.pong(b"two");
        outbox.close(Some(1_000));
        let expected = [(PONG, b"two".to_vec()), (CLOSE, vec![3, 232])];
        assert_eq!(read(outbox.frames()), expected);
        outbox.clear();
        outbox.close(None);
        assert_eq!(read(outbox.frames()), [(CLOSE, Vec::new())]);
    }
}
