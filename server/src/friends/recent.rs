//! Changes that are durable in the log of the store and not yet in its leaves.
//!
//! A leaf holds a thousand pairs, and a change of one rewrites it in either direction: 8 KB to the
//! disk. So changes go into a log first, of which a batch is one row, and are kept here; lookups
//! see them over what the leaves say. When they are many, a sweep brings them into the leaves in
//! sorted order, several a leaf.

use std::collections::BTreeMap;

use super::leaf::{Edit, Pair};
use super::number::{Damaged, put_number, take_number};
use crate::router::Id;

/// From how many changes on they are brought into the leaves. A million users with 15 friends each
/// are 12,000 leaves in either direction: with 131,072 changes a leaf that is rewritten takes ten.
/// They take about 48 bytes of memory each, 6 MB.
pub(super) const SWEEP_FROM: usize = 1 << 17;

/// What is known of users by the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Whom they follow.
    Follows,
    /// Who follows them.
    Followers,
}

impl Direction {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Follows, Self::Followers];
}

/// Somebody who begins or ceases to follow somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    /// Who follows.
    pub(crate) follower: Id,
    /// Whom.
    pub(crate) friend: Id,
    /// Whether it begins, or ceases.
    pub(crate) begins: bool,
}

impl Change {
    /// What it does to the pairs of a direction.
    pub(super) fn edit(&self, direction: Direction) -> Edit {
        let pair = match direction {
            Direction::Follows => (self.follower, self.friend),
            Direction::Followers => (self.friend, self.follower),
        };
        Edit { pair, is_there: self.begins }
    }
}

/// A row of the log.
pub(super) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut row = Vec::new();
    for change in changes {
        put_number(change.follower, &mut row);
        // An id has 63 bits.
        put_number(change.friend << 1 | u64::from(change.begins), &mut row);
    }
    row
}

/// Reads a row of the log.
pub(super) fn decode(mut row: &[u8]) -> Result<Vec<Change>, Damaged> {
    let mut changes = Vec::new();
    while !row.is_empty() {
        let follower = take_number(&mut row)?;
        let number = take_number(&mut row)?;
        changes.push(Change { follower, friend: number >> 1, begins: number & 1 == 1 });
    }
    Ok(changes)
}

/// The changes, by the pairs of both directions.
#[derive(Debug, Default)]
pub(super) struct Recent([BTreeMap<Pair, bool>; 2]);

impl Recent {
    /// The changes that stand in a log, the oldest first.
    pub(super) fn of_log(changes: &[Change]) -> Self {
        // A map of sorted entries is built at once; of equal ones the last stays.
        Self(Direction::ALL.map(|direction| {
            let edits = changes.iter().map(|change| change.edit(direction));
            edits.map(|edit| (edit.pair, edit.is_there)).collect()
        }))
    }

    /// How many changes there are, of which the leaves of some direction do not know yet.
    pub(super) fn len(&self) -> usize {
        self.0[0].len().max(self.0[1].len())
    }

    /// Takes note of a change.
    pub(super) fn add(&mut self, change: &Change) {
        for direction in Direction::ALL {
            let edit = change.edit(direction);
            self.0[direction as usize].insert(edit.pair, edit.is_there);
        }
    }

    /// Forgets what the leaves know by now, unless it has changed again.
    pub(super) fn forget(&mut self, direction: Direction, edit: &Edit) {
        let map = &mut self.0[direction as usize];
        if map.get(&edit.pair) == Some(&edit.is_there) {
            map.remove(&edit.pair);
        }
    }

    /// Whether a pair is there, if a change says so.
    pub(super) fn get(&self, direction: Direction, pair: Pair) -> Option<bool> {
        self.0[direction as usize].get(&pair).copied()
    }

    /// Up to `limit` edits from a pair on.
    pub(super) fn edits(&self, direction: Direction, from: Pair, limit: usize) -> Vec<Edit> {
        let edits = self.0[direction as usize].range(from..).take(limit);
        edits.map(|(&pair, &is_there)| Edit { pair, is_there }).collect()
    }

    /// Up to `limit` edits of one user's neighbours behind `after`.
    pub(super) fn of_user(
        &self,
        direction: Direction,
        user: Id,
        after: Id,
        limit: usize,
    ) -> Vec<Edit> {
        let range = (user, after.saturating_add(1))..=(user, Id::MAX);
        let edits = self.0[direction as usize].range(range).take(limit);
        edits.map(|(&pair, &is_there)| Edit { pair, is_there }).collect()
    }
}
