//! Whom the users of our connections follow (`--follows`): a connection gets what is about its own
//! ids and about all whom these follow.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use reports::edges::{self, EdgeListError};

/// The most edges whose follower has a connection here, 8 bytes each, so that they take 512 MB at
/// most. The users of a million connections who follow 15 each have a quarter of them.
pub(crate) const MAX_EDGES: usize = 64_000_000;

/// Whom the users of our connections follow.
#[derive(Debug, Default)]
pub(crate) struct Follows {
    /// Where each user's list is.
    lists: HashMap<u64, Range<usize>>,
    /// All lists, one after the other.
    followed: Vec<u64>,
    /// All who are followed, each once, in rising order.
    all: Vec<u64>,
}

/// Why it is not known whom users follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowsError {
    /// The list cannot be used.
    #[error(transparent)]
    List(#[from] EdgeListError),
    /// Too many edges are about our connections.
    #[error(
        "{path}: the users of these connections follow more than {MAX_EDGES} others, which are not \
         held; open fewer connections, or let users follow fewer"
    )]
    TooMany {
        /// The list.
        path: String,
    },
    /// The list has changed between two readings.
    #[error("{path}: the file was changed while it was in use")]
    Changed {
        /// The list.
        path: String,
    },
}

impl Follows {
    /// Reads the list at `path` twice, keeping what `followers` follow: first how much that is, so
    /// that nothing is held but the lists.
    pub(crate) fn read(path: &Path, followers: &HashSet<u64>) -> Result<Self, FollowsError> {
        let mut counts = HashMap::<u64, usize>::new();
        edges::each(path, |follower, _| {
            if followers.contains(&follower) {
                *counts.entry(follower).or_default() += 1;
            }
        })?;
        let name = || path.display().to_string();
        let n_edges: usize = counts.values().sum();
        if n_edges > MAX_EDGES {
            return Err(FollowsError::TooMany { path: name() });
        }
        // A list is filled from its beginning; until it is full its range ends where the next edge
        // goes.
        let (mut lists, mut ends) = (HashMap::with_capacity(counts.len()), 0);
        let mut limits = HashMap::with_capacity(counts.len());
        for (follower, n) in counts {
            lists.insert(follower, ends..ends);
            ends += n;
            limits.insert(follower, ends);
        }
        let mut followed = vec![0; n_edges];
        let mut has_changed = false;
        edges::each(path, |follower, other| {
            let Some(list) = lists.get_mut(&follower) else { return };
            if limits[&follower] > list.end {
                followed[list.end] = other;
                list.end += 1;
            } else {
                has_changed = true;
            }
        })?;
        if has_changed || lists.iter().any(|(follower, list)| limits[follower] != list.end) {
            return Err(FollowsError::Changed { path: name() });
        }
        let mut all = followed.clone();
        all.sort_unstable();
        all.dedup();
        all.shrink_to_fit();
        Ok(Self { lists, followed, all })
    }

    /// Whom a user follows.
    pub(crate) fn of(&self, id: u64) -> &[u64] {
        self.lists.get(&id).map_or(&[], |list| &self.followed[list.clone()])
    }

    /// Whether anybody follows this user.
    pub(crate) fn has_followed(&self, id: u64) -> bool {
        self.all.binary_search(&id).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_about_is_kept_in_the_order_of_the_list() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "7 9\n1 7\n7 2\n8 3\n9 7\n7 9\n").unwrap();
        let follows = Follows::read(file.path(), &HashSet::from([7, 9, 11])).unwrap();
        let lists = [7, 9, 8, 1, 11].map(|id| follows.of(id));
        assert_eq!(lists, [&[9, 2, 9][..], &[7], &[], &[], &[]]);
        let followed: Vec<u64> = (0..12).filter(|id| follows.has_followed(*id)).collect();
        assert_eq!(followed, [2, 7, 9]);
        std::fs::write(file.path(), "7 9\n7").unwrap();
        let error = Follows::read(file.path(), &HashSet::new()).unwrap_err().to_string();
        assert!(error.contains(":2: not an edge: \"7\""), "{error}");
    }
}
