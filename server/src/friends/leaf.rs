//! How neighbours are written down: many sorted pairs in one value of the store. No store, no disk.
//!
//! A *pair* is a user and one of its neighbours. All pairs of a direction stand in one sorted
//! sequence, which is cut into *leaves*. The key of a leaf is a pair that is not greater than its
//! first one, and greater than all of the leaf before it. A leaf is groups, one for each user with
//! pairs in it:
//!
//! ```text
//! user − key's user · number of neighbours · bytes of them · first neighbour · gap − 1 · gap − 1 …
//! ```
//!
//! each a variable-length number (LEB128). Groups do not depend on one another, so that a change
//! copies all of them but one as they are. A user with few neighbours shares its leaf with others,
//! and one with 100,000 has a hundred of them: so a row costs little for the one, and a change
//! rewrites 4 KB for the other.

use super::number::{Damaged, MAX_NUMBER_BYTES, put_number, take_number};
use crate::router::Id;

/// A user and one of its neighbours.
pub(super) type Pair = (Id, Id);

/// Bytes in a leaf: what a page of 4 KiB of the store has room for, beside its key and the page's
/// own head. One more byte would take two pages.
pub(super) const MAX_BYTES: usize = 4_064;

/// Bytes in a leaf that is written in sorted order: room is left for some changes, so that the
/// first ones after loading do not cut every leaf in two.
pub(super) const FILL_BYTES: usize = MAX_BYTES / 10 * 9;

/// Bytes of the longest head of a group and a neighbour: by so much a leaf that is written may be
/// shorter than it could be.
pub(super) const SLACK_BYTES: usize = 4 * MAX_NUMBER_BYTES;

/// The neighbours that one user has in a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group<'leaf> {
    /// The user.
    pub(super) user: Id,
    /// How many neighbours.
    pub(super) n: u64,
    /// The neighbours.
    neighbours: &'leaf [u8],
}

impl<'leaf> Group<'leaf> {
    /// The neighbours, in ascending order.
    pub(super) fn neighbours(&self) -> Neighbours<'leaf> {
        Neighbours { rest: self.neighbours, last: None }
    }
}

/// The groups of a leaf whose key has this user.
pub(super) fn groups(key_user: Id, leaf: &[u8]) -> Groups<'_> {
    Groups { key_user, rest: leaf }
}

/// Reads the groups of a leaf.
#[derive(Debug, Clone)]
pub(super) struct Groups<'leaf> {
    /// The user of the leaf's key.
    key_user: Id,
    /// What is not read yet.
    rest: &'leaf [u8],
}

impl<'leaf> Groups<'leaf> {
    /// Reads the group at the front, which is there.
    fn read(&mut self) -> Result<Group<'leaf>, Damaged> {
        let user = self.key_user.checked_add(take_number(&mut self.rest)?).ok_or(Damaged)?;
        let n = take_number(&mut self.rest)?;
        let n_bytes = usize::try_from(take_number(&mut self.rest)?).map_err(|_| Damaged)?;
        let (neighbours, rest) = self.rest.split_at_checked(n_bytes).ok_or(Damaged)?;
        self.rest = rest;
        Ok(Group { user, n, neighbours })
    }
}

impl<'leaf> Iterator for Groups<'leaf> {
    type Item = Result<Group<'leaf>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let group = self.read();
        if group.is_err() {
            self.rest = &[];
        }
        Some(group)
    }
}

/// Reads the neighbours of a group.
#[derive(Debug, Clone)]
pub(super) struct Neighbours<'leaf> {
    /// What is not read yet.
    rest: &'leaf [u8],
    /// The one that was read last.
    last: Option<Id>,
}

impl Iterator for Neighbours<'_> {
    type Item = Result<Id, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let next = take_number(&mut self.rest).and_then(|number| match self.last {
            None => Ok(number),
            Some(last) => last.checked_add(number).and_then(|id| id.checked_add(1)).ok_or(Damaged),
        });
        match next {
            Ok(id) => self.last = Some(id),
            Err(Damaged) => self.rest = &[],
        }
        Some(next)
    }
}

/// A pair that is to be there, or not to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// Which one.
    pub(super) pair: Pair,
    /// Whether it is to be there.
    pub(super) is_there: bool,
}

/// Carries out `edits`, which are sorted and of one leaf each pair once, on a leaf. Appends the new
/// leaf, which may be longer than a leaf may be, to `out`. Returns how many edits changed anything.
pub(super) fn edit(
    key_user: Id,
    leaf: &[u8],
    edits: &[Edit],
    out: &mut Vec<u8>,
) -> Result<u64, Damaged> {
    let mut n_changed = 0;
    let mut edits = edits.chunk_by(|left, right| left.pair.0 == right.pair.0).peekable();
    let mut rest = groups(key_user, leaf);
    loop {
        let before = rest.rest;
        let Some(group) = rest.next() else { break };
        let group = group?;
        // Users of whom there is nothing yet.
        while let Some(of_user) = edits.next_if(|of_user| of_user[0].pair.0 < group.user) {
            n_changed += edit_group(key_user, None, of_user, out)?;
        }
        match edits.next_if(|of_user| of_user[0].pair.0 == group.user) {
            Some(of_user) => n_changed += edit_group(key_user, Some(group), of_user, out)?,
            None => out.extend_from_slice(&before[..before.len() - rest.rest.len()]),
        }
    }
    for of_user in edits {
        n_changed += edit_group(key_user, None, of_user, out)?;
    }
    Ok(n_changed)
}

/// Appends a group with `edits`, all of its user, carried out; or nothing where no neighbour is
/// left. Returns how many changed anything.
fn edit_group(
    key_user: Id,
    group: Option<Group<'_>>,
    edits: &[Edit],
    out: &mut Vec<u8>,
) -> Result<u64, Damaged> {
    let user = edits[0].pair.0;
    let mut open = OpenGroup::default();
    let mut n_changed = 0;
    let mut edits = edits.iter().peekable();
    for neighbour in group.iter().flat_map(Group::neighbours) {
        let neighbour = neighbour?;
        while let Some(edit) = edits.next_if(|edit| edit.pair.1 < neighbour) {
            n_changed += open.add(edit);
        }
        let edit = edits.next_if(|edit| edit.pair.1 == neighbour);
        if edit.is_none_or(|edit| edit.is_there) {
            open.push(neighbour);
        } else {
            n_changed += 1;
        }
    }
    n_changed += edits.map(|edit| open.add(edit)).sum::<u64>();
    open.close(key_user, user, out);
    Ok(n_changed)
}

/// A group that is being written.
#[derive(Debug, Default)]
struct OpenGroup {
    /// Its neighbours so far.
    neighbours: Vec<u8>,
    /// How many they are.
    n: u64,
    /// The last one.
    last: Id,
}

impl OpenGroup {
    /// Adds a neighbour, which is greater than those before.
    fn push(&mut self, neighbour: Id) {
        let number = if self.n == 0 { neighbour } else { neighbour - self.last - 1 };
        put_number(number, &mut self.neighbours);
        self.last = neighbour;
        self.n += 1;
    }

    /// Adds the neighbour of an edit, which was not there, if it is to be there. Returns how much
    /// that changed.
    fn add(&mut self, edit: &Edit) -> u64 {
        if edit.is_there {
            self.push(edit.pair.1);
        }
        u64::from(edit.is_there)
    }

    /// Appends the group to a leaf, unless there is nothing in it, and begins a new one.
    fn close(&mut self, key_user: Id, user: Id, leaf: &mut Vec<u8>) {
        if self.n > 0 {
            put_number(user - key_user, leaf);
            put_number(self.n, leaf);
            put_number(self.neighbours.len() as u64, leaf);
            leaf.extend_from_slice(&self.neighbours);
        }
        self.neighbours.clear();
        self.n = 0;
    }
}

/// Writes sorted pairs into leaves.
#[derive(Debug)]
pub(super) struct Writer {
    /// Bytes in a leaf, if there is no more than that.
    fill_bytes: usize,
    /// The key of the leaf that is being written.
    key: Option<Pair>,
    /// Its groups, but for the last.
    leaf: Vec<u8>,
    /// The user of the last group.
    user: Id,
    /// The last group.
    open: OpenGroup,
}

impl Writer {
    /// Writes leaves of up to `fill_bytes`, the first of them with this key, even if there is
    /// nothing in it.
    pub(super) fn new(fill_bytes: usize, first_key: Pair) -> Self {
        debug_assert!((128..=MAX_BYTES).contains(&fill_bytes));
        let (leaf, open) = (Vec::new(), OpenGroup::default());
        Self { fill_bytes, key: Some(first_key), leaf, user: 0, open }
    }

    /// Adds a pair, which is greater than those before. If the leaf is full by that, `emit` gets
    /// its key and its bytes.
    pub(super) fn push<E>(
        &mut self,
        pair: Pair,
        emit: impl FnOnce(Pair, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (user, neighbour) = pair;
        if user != self.user {
            self.close_group();
            self.user = user;
        }
        let n_bytes = self.leaf.len() + self.open.neighbours.len();
        if n_bytes + SLACK_BYTES > self.fill_bytes {
            self.finish(emit)?;
        }
        self.key.get_or_insert(pair);
        self.open.push(neighbour);
        Ok(())
    }

    /// Hands out what is left.
    pub(super) fn finish<E>(
        &mut self,
        emit: impl FnOnce(Pair, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.close_group();
        let done = self.key.take().map_or(Ok(()), |key| emit(key, &self.leaf));
        self.leaf.clear();
        done
    }

    /// Ends the last group.
    fn close_group(&mut self) {
        if let Some((key_user, _)) = self.key {
            self.open.close(key_user, self.user, &mut self.leaf);
        }
    }
}

/// All pairs of a leaf.
pub(super) fn pairs(key_user: Id, leaf: &[u8]) -> impl Iterator<Item = Result<Pair, Damaged>> + '_ {
    groups(key_user, leaf).flat_map(|group| {
        let (user, neighbours, damaged) = match group {
            Ok(group) => (group.user, Some(group.neighbours()), None),
            Err(damaged) => (0, None, Some(Err(damaged))),
        };
        let pairs = neighbours.into_iter().flatten();
        pairs.map(move |neighbour| neighbour.map(|neighbour| (user, neighbour))).chain(damaged)
    })
}

/// The neighbours of `user` in a leaf, if there are any.
pub(super) fn find(key_user: Id, leaf: &[u8], user: Id) -> Result<Option<Group<'_>>, Damaged> {
    for group in groups(key_user, leaf) {
        let group = group?;
        if group.user >= user {
            return Ok((group.user == user).then_some(group));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The leaves of sorted pairs, with their keys.
    fn write(fill_bytes: usize, pairs: &BTreeSet<Pair>) -> Vec<(Pair, Vec<u8>)> {
        let mut leaves = Vec::new();
        let mut writer = Writer::new(fill_bytes, (0, 0));
        let mut keep = |key, leaf: &[u8]| {
            leaves.push((key, leaf.to_vec()));
            Ok::<_, ()>(())
        };
        for &pair in pairs {
            writer.push(pair, &mut keep).unwrap();
        }
        writer.finish(&mut keep).unwrap();
        leaves
    }

    fn read(key: Pair, leaf: &[u8]) -> BTreeSet<Pair> {
        pairs(key.0, leaf).collect::<Result<_, _>>().unwrap()
    }

    fn id() -> impl Strategy<Value = Id> {
        prop_oneof![1_u64..40, 1_u64..1_000_000, Just((1 << 63) - 1), 1_u64..1 << 63]
    }

    proptest! {
        #[test]
        fn pairs_come_out_as_they_went_in_and_no_leaf_is_too_long(
            pairs in prop::collection::btree_set((id(), id()), 0..800),
            fill_bytes in 128_usize..=MAX_BYTES,
        ) {
            let mut all = BTreeSet::new();
            let mut last = None;
            for (key, leaf) in write(fill_bytes, &pairs) {
                prop_assert!(leaf.len() <= fill_bytes, "{} bytes", leaf.len());
                let of_leaf = read(key, &leaf);
                prop_assert!(of_leaf.first().is_none_or(|first| *first >= key));
                prop_assert!(last < Some(key));
                last = of_leaf.last().copied();
                all.extend(of_leaf);
            }
            prop_assert_eq!(all, pairs);
        }

        #[test]
        fn edits_do_what_they_do_to_a_set(
            pairs in prop::collection::btree_set((id(), id()), 0..200),
            edits in prop::collection::btree_map((id(), id()), any::<bool>(), 0..200),
            n_known in 0_usize..100,
        ) {
            // Some of what is there, and what is not.
            let known = pairs.iter().take(n_known).map(|&pair| (pair, false));
            let edits: std::collections::BTreeMap<_, _> = edits.into_iter().chain(known).collect();
            let mut leaf = Vec::new();
            let there = |&pair: &Pair| Edit { pair, is_there: true };
            let made = edit(0, &[], &pairs.iter().map(there).collect::<Vec<_>>(), &mut leaf);
            prop_assert_eq!(made, Ok(pairs.len() as u64));
            prop_assert_eq!(&read((0, 0), &leaf), &pairs);

            let mut expected = pairs;
            let changes = |(&pair, &is_there): (&Pair, &bool)| {
                if is_there { expected.insert(pair) } else { expected.remove(&pair) }
            };
            let n_changed = edits.iter().map(changes).filter(|&changed| changed).count() as u64;
            let list: Vec<_> =
                edits.iter().map(|(&pair, &is_there)| Edit { pair, is_there }).collect();
            let mut edited = Vec::new();
            prop_assert_eq!(edit(0, &leaf, &list, &mut edited), Ok(n_changed));
            prop_assert_eq!(read((0, 0), &edited), expected);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let n = pairs(1, &bytes).count();
            prop_assert!(n <= bytes.len() + 1);
            _ = edit(1, &bytes, &[Edit { pair: (1, 1), is_there: true }], &mut Vec::new());
        }
    }

    #[test]
    fn fifteen_neighbours_of_a_million_take_little_more_than_three_bytes_each() {
        let pairs: BTreeSet<Pair> = (1..1_000)
            .flat_map(|user| (0..15).map(move |n| (user, (user * 7_919 + n * 66_000) % 1_000_000)))
            .collect();
        let n_bytes: usize = write(FILL_BYTES, &pairs).iter().map(|(_, leaf)| leaf.len()).sum();
        let n_each = n_bytes as f64 / pairs.len() as f64;
        assert!((2.9..3.6).contains(&n_each), "{n_each} bytes");
    }
}
