//! Much at once, and every message accounted for.
//!
//! Each scenario knows exactly what must come out. What is random comes from a seed, which a
//! failing test prints; `STRESS_SEED=n` repeats it.

mod backlogs;
mod drain;
mod exhausted;
mod half_open;
mod leaving;
mod logins;
mod slow;
mod websockets;

use crate::support::{Client, Server};

/// A generator of numbers (splitmix64: small, and good enough to pick ids).
pub(crate) struct Random(u64);

impl Random {
    /// Numbers from the seed in `STRESS_SEED`, or always the same ones.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("STRESS_SEED").map_or(1, |seed| seed.parse().unwrap());
        println!("STRESS_SEED={seed}");
        Self(seed)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What was sent to one connection that reads it all in the end.
pub(crate) struct Follower {
    pub(crate) client: Client,
    /// Messages sent to it, the oldest first.
    pub(crate) sent: Vec<String>,
    /// Whether they come by WebSocket.
    by_frames: bool,
}

impl Follower {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, sent: Vec::new(), by_frames: false }
    }

    /// One that follows an id by chunks, or by WebSocket: every other id.
    pub(crate) fn of_either_kind(server: &Server, id: u64) -> Self {
        Self::follow(server, &id.to_string(), id.is_multiple_of(2))
    }

    /// One that follows ids by WebSocket, or by chunks.
    pub(crate) fn follow(server: &Server, path: &str, by_frames: bool) -> Self {
        let client = if by_frames { server.web_socket(path) } else { server.follow(path) };
        Self { by_frames, ..Self::new(client) }
    }

    /// The next message; `None` at the end, which a WebSocket is told with this code.
    pub(crate) fn next(&mut self, code: u16) -> Option<String> {
        if self.by_frames { self.client.next_frame(code) } else { self.client.next_chunk() }
    }

    /// Reads all that was sent, in order and numbered without a gap.
    pub(crate) fn expect_all(&mut self) {
        for (n_before, message) in self.sent.iter().enumerate() {
            let n = n_before as u64 + 1;
            if self.by_frames {
                self.client.expect_frame(n, message);
            } else {
                self.client.expect_message(n, message);
            }
        }
    }
}

/// The count under a name, 0 if it is not there.
pub(crate) fn count(counts: &serde_json::Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap_or(0)
}
