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

use crate::support::Client;

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
}

impl Follower {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, sent: Vec::new() }
    }

    /// Reads all that was sent, in order and numbered without a gap.
    pub(crate) fn expect_all(&mut self) {
        for (n_before, message) in self.sent.iter().enumerate() {
            self.client.expect_message(n_before as u64 + 1, message);
        }
    }
}

/// The count under a name, 0 if it is not there.
pub(crate) fn count(counts: &serde_json::Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap_or(0)
}
