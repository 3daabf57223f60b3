//! Which broker an id belongs to.

use crate::router::Id;

/// Spreads ids over brokers so that every node comes to the same answer, and so that one broker
/// more or less moves only the ids that it gets or had.
///
/// It is rendezvous hashing: the broker with the highest hash of its name and the id has the id.
/// Unlike a ring of points it is even without tuning, and brokers are few.
#[derive(Debug, Clone)]
pub(super) struct Rendezvous(Box<[u64]>);

impl Rendezvous {
    /// For brokers, by the names under which all nodes know them, in any order.
    pub(super) fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(names.into_iter().map(|name| hash_name(name.as_ref())).collect())
    }

    /// The number of the broker that an id belongs to.
    pub(super) fn home(&self, id: Id) -> usize {
        if self.0.len() == 1 {
            return 0;
        }
        let best = self.0.iter().enumerate().max_by_key(|&(_, &name)| mix(name ^ mix(id)));
        best.expect("a cluster has at least one broker").0
    }
}

/// FNV-1a, which will be the same in every version.
fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finish of splitmix64: every bit of `x` changes half of the bits of the result.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["a:6379", "b:6379", "10.0.0.1:6379", "10.0.0.1:6380"];

    #[test]
    fn ids_are_spread_evenly_and_by_name_only() {
        let (rendezvous, back) = (Rendezvous::new(NAMES), Rendezvous::new(NAMES.into_iter().rev()));
        let mut n_ids = [0; NAMES.len()];
        for id in 1..=40_000 {
            n_ids[rendezvous.home(id)] += 1;
            assert_eq!(rendezvous.home(id), NAMES.len() - 1 - back.home(id));
        }
        assert!(n_ids.iter().all(|n| (9_500..=10_500).contains(n)), "{n_ids:?}");
    }

    #[test]
    fn a_broker_less_moves_its_own_ids_only() {
        let (rendezvous, less) =
            (Rendezvous::new(NAMES), Rendezvous::new(NAMES[..3].iter().copied()));
        for id in (1..=10_000).filter(|&id| rendezvous.home(id) != 3) {
            assert_eq!(rendezvous.home(id), less.home(id));
        }
    }

    #[test]
    fn the_answer_is_the_same_in_every_version() {
        let rendezvous = Rendezvous::new(NAMES);
        let homes: Vec<_> = (1..=12).map(|id| rendezvous.home(id)).collect();
        assert_eq!(homes, [2, 3, 0, 2, 1, 2, 0, 0, 1, 0, 0, 3]);
    }
}
