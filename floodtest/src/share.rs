//! Which connections of a run a process has.

use serde::{Deserialize, Serialize};

/// What one host has of a run: of every `period` connections those from `from` on, `weight` of
/// them.
///
/// So every host has its part of the load at any time of the plan, however the rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostShare {
    /// The first of its connections in each period.
    pub(crate) from: u64,
    /// How many of each period are the host's; more than zero.
    pub(crate) weight: u64,
    /// The weights of all hosts together.
    pub(crate) period: u64,
}

impl HostShare {
    /// All of a run: there are no other hosts.
    pub(crate) const WHOLE: Self = Self { from: 0, weight: 1, period: 1 };

    /// The number in the run of the host's connection `j`.
    fn number(self, j: u64) -> u64 {
        if self.weight == self.period {
            // It is asked for with every receipt, and a run without hosts pays for no division.
            return j;
        }
        j / self.weight * self.period + self.from + j % self.weight
    }

    /// How many of the first `n` connections of the run are the host's.
    fn n_of(self, n: u64) -> u64 {
        let in_last = (n % self.period).saturating_sub(self.from).min(self.weight);
        n / self.period * self.weight + in_last
    }
}

/// One process's share of a run: of its host's connections every `of`-th one, the first of which is
/// `index`.
///
/// So every process has the same load and the same destinations, and none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// What its host has of the run.
    pub(crate) host: HostShare,
    /// Which share of its host's it is, from 0 on.
    pub(crate) index: u64,
    /// How many shares its host has.
    pub(crate) of: u64,
}

impl Share {
    /// All of a run.
    pub(crate) const WHOLE: Self = Self::local(0, 1);

    /// Share `index` of `of` where this host makes the run alone.
    pub(crate) const fn local(index: u64, of: u64) -> Self {
        Self { host: HostShare::WHOLE, index, of }
    }

    /// The number in the run of this share's connection `row`.
    pub(crate) fn number(self, row: usize) -> u64 {
        self.host.number(self.index + row as u64 * self.of)
    }

    /// How many connections of the run, which are other shares', come right before this one's
    /// connection `row`.
    pub(crate) fn n_skipped(self, row: usize) -> u64 {
        match row.checked_sub(1) {
            None => self.number(0),
            Some(before) => self.number(row) - self.number(before) - 1,
        }
    }

    /// How many of `n_asked` connections are in this share.
    pub(crate) fn n_of(self, n_asked: u64) -> u64 {
        self.host.n_of(n_asked).saturating_sub(self.index).div_ceil(self.of)
    }

    /// How many of `n_asked` connections its host has.
    pub(crate) fn host_n_of(self, n_asked: u64) -> u64 {
        self.host.n_of(n_asked)
    }

    /// About how many processes the whole run has, rounded up: as many as there would be if all
    /// were as busy as this one.
    pub(crate) fn n_processes(self) -> u64 {
        (self.of * self.host.period).div_ceil(self.host.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The shares of all processes of hosts with these weights and numbers of processes.
    fn shares_of(hosts: &[(u64, u64)]) -> Vec<Share> {
        let period = hosts.iter().map(|(weight, _)| weight).sum();
        let mut from = 0;
        let mut shares = Vec::new();
        for &(weight, of) in hosts {
            let host = HostShare { from, weight, period };
            shares.extend((0..of).map(|index| Share { host, index, of }));
            from += weight;
        }
        shares
    }

    /// The numbers of a share's connections, in its order.
    fn numbers(share: Share, n_asked: u64) -> Vec<u64> {
        (0..share.n_of(n_asked)).map(|row| share.number(row.try_into().unwrap())).collect()
    }

    #[test]
    fn without_hosts_a_share_is_every_nth_connection() {
        let share = Share::local(1, 3);
        assert_eq!(numbers(share, 9), [1, 4, 7]);
        assert_eq!((share.n_skipped(0), share.n_skipped(1), share.n_processes()), (1, 2, 3));
        assert_eq!(Share::WHOLE.n_of(7), 7);
    }

    #[test]
    fn a_host_of_twice_the_weight_has_twice_as_many() {
        let shares = shares_of(&[(2, 1), (1, 1)]);
        assert_eq!(numbers(shares[0], 8), [0, 1, 3, 4, 6, 7]);
        assert_eq!(numbers(shares[1], 8), [2, 5]);
        assert_eq!((shares[0].n_processes(), shares[1].n_processes()), (2, 3));
    }

    proptest! {
        #[test]
        fn the_shares_of_a_run_are_all_of_it_and_each_connection_once(
            hosts in prop::collection::vec((1..6_u64, 1..5_u64), 1..5),
            n_asked in 0..300_u64,
        ) {
            let mut all = Vec::new();
            for share in shares_of(&hosts) {
                let own = numbers(share, n_asked);
                prop_assert!(own.is_sorted());
                let mut at = 0;
                for (row, number) in own.iter().enumerate() {
                    // As the URL file is gone through.
                    at += share.n_skipped(row);
                    prop_assert_eq!(at, *number);
                    at += 1;
                }
                all.extend(own);
            }
            all.sort_unstable();
            prop_assert_eq!(all, (0..n_asked).collect::<Vec<_>>());
        }
    }
}
