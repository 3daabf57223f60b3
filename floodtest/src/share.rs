//! Which connections of a run a process has.

use serde::{Deserialize, Serialize};

/// One process's share of a run: every `of`-th connection, the first of which is `index`.
///
/// So every process has the same load and the same destinations, and none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Which share it is, from 0 on.
    pub(crate) index: u64,
    /// How many shares there are.
    pub(crate) of: u64,
}

impl Share {
    /// All of a run.
    pub(crate) const WHOLE: Self = Self { index: 0, of: 1 };

    /// The number in the run of this share's connection `row`.
    pub(crate) fn number(self, row: usize) -> u64 {
        self.index + row as u64 * self.of
    }

    /// How many of `n_asked` connections are in this share.
    pub(crate) fn n_of(self, n_asked: u64) -> u64 {
        n_asked.saturating_sub(self.index).div_ceil(self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_run_are_all_of_it_and_each_connection_once() {
        for (n_asked, of) in [(10, 1), (10, 3), (2, 4), (9, 3), (0, 2)] {
            let shares = (0..of).map(|index| Share { index, of });
            let mut numbers: Vec<u64> = shares
                .flat_map(|share| {
                    (0..share.n_of(n_asked)).map(move |row| share.number(row.try_into().unwrap()))
                })
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..n_asked).collect::<Vec<_>>(), "{n_asked} of {of}");
        }
    }
}
