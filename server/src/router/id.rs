//! What connections log in as, and how it is hashed.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

/// What connections log in as: 1..=2⁶³−1.
pub type Id = u64;

/// Hashes ids, under a seed that peers cannot know: they choose the ids.
#[derive(Debug, Clone)]
pub(super) struct IdHasher(FixedState);

impl IdHasher {
    /// A hasher whose seed is random except in tests.
    pub(super) fn new(seed: u64) -> Self {
        Self(FixedState::with_seed(seed))
    }

    /// The hash of an id.
    pub(super) fn hash(&self, id: Id) -> u64 {
        self.0.hash_one(id)
    }
}
