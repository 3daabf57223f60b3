//! Whether the two directions of a store agree: everybody who is followed by somebody is among the
//! friends of that one, and the other way round.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::leaf::Pair;
use super::recent::Direction;
use super::store::{Store, StoreError};

/// Pairs that are named which stand in one direction only.
const NAMED: usize = 10;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Edges in either direction, first of those who follow.
    pub(super) n_edges: [u64; 2],
    /// Edges that stand in one direction only, the first few: the direction, and who follows whom.
    pub(super) lone: Vec<(Direction, Pair)>,
    /// Whether both directions have the same edges.
    pub(super) do_agree: bool,
}

/// Checks a store.
///
/// Each direction is read through once, and the hashes of its edges are added up: sums do not
/// depend on the order, so nothing is kept. Two sums of 64 bits, under seeds that nobody knew when
/// the store was written, do not agree by chance. Only if they differ are edges looked up.
pub(super) fn check(store: &Store, seed: u64) -> Result<Checked, StoreError> {
    let hashers = [FixedState::with_seed(seed), FixedState::with_seed(!seed)];
    let mut checked = Checked::default();
    let mut sums = [[0_u64; 2]; 2];
    for direction in Direction::ALL {
        let (n, sums) = (&mut checked.n_edges[direction as usize], &mut sums[direction as usize]);
        store.for_each::<StoreError>(direction, |pair| {
            *n += 1;
            for (sum, hasher) in sums.iter_mut().zip(&hashers) {
                *sum = sum.wrapping_add(hasher.hash_one(edge(direction, pair)));
            }
            Ok(())
        })?;
    }
    checked.do_agree = sums[0] == sums[1] && checked.n_edges[0] == checked.n_edges[1];
    if !checked.do_agree {
        for (direction, other) in
            [(Direction::Follows, Direction::Followers), (Direction::Followers, Direction::Follows)]
        {
            store.for_each::<StoreError>(direction, |pair| {
                if checked.lone.len() < NAMED {
                    let page = store.page(other, pair.1, pair.0 - 1, 1)?;
                    if page.ids != [pair.0] {
                        checked.lone.push((direction, edge(direction, pair)));
                    }
                }
                Ok(())
            })?;
        }
    }
    Ok(checked)
}

/// Who follows whom, of a pair of a direction.
fn edge(direction: Direction, (user, neighbour): Pair) -> Pair {
    match direction {
        Direction::Follows => (user, neighbour),
        Direction::Followers => (neighbour, user),
    }
}

#[cfg(test)]
mod tests {
    use redb::Builder;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::friends::store;

    /// A store with these pairs in either direction.
    fn filled(pairs: [&[Pair]; 2]) -> Store {
        let database = Builder::new().create_with_backend(InMemoryBackend::new()).unwrap();
        store::fill::<StoreError>(&database, |direction, push| {
            pairs[direction as usize].iter().try_for_each(|&pair| push(pair))
        })
        .unwrap();
        let database = crate::sync::Mutex::new(Some(database));
        Store::open(Box::new(move || Ok(database.lock().take().unwrap())), 1).unwrap()
    }

    #[test]
    fn directions_that_agree_do_and_others_are_named() {
        let good = filled([&[(1, 2), (3, 2), (3, 4)], &[(2, 1), (2, 3), (4, 3)]]);
        let expected = Checked { n_edges: [3, 3], lone: vec![], do_agree: true };
        assert_eq!(check(&good, 1).unwrap(), expected);

        let bad = filled([&[(1, 2), (3, 4)], &[(2, 1), (5, 3)]]);
        let lone = vec![(Direction::Follows, (3, 4)), (Direction::Followers, (3, 5))];
        let expected = Checked { n_edges: [2, 2], lone, do_agree: false };
        assert_eq!(check(&bad, 1).unwrap(), expected);
    }
}
