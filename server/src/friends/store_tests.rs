//! The store against a model, and on a disk that forgets.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

use super::leaf::Pair;
use super::recent::{Change, Direction};
use super::store::{Store, StoreError};
use crate::router::Id;
use crate::sync::Mutex;

/// A disk: what is safe on it, and what was written since it was last asked to make that safe.
#[derive(Debug, Default)]
struct Platters {
    /// What is safe.
    safe: Vec<u8>,
    /// What is read.
    present: Vec<u8>,
    /// What was done since, the oldest first.
    unsynced: Vec<Write>,
    /// How many more writes and syncs it lives for.
    n_left: u64,
}

/// What is done to a disk.
#[derive(Debug, Clone)]
enum Write {
    /// Bytes at a place.
    Bytes(u64, Vec<u8>),
    /// Another length.
    Length(u64),
}

impl Write {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(n) => bytes.resize(usize::try_from(*n).unwrap(), 0),
            Self::Bytes(at, written) => {
                let at = usize::try_from(*at).unwrap();
                let end = at + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(written);
            }
        }
    }
}

impl Platters {
    /// Lives a step longer, if it does.
    fn step(&mut self) -> io::Result<()> {
        self.n_left = self.n_left.checked_sub(1).ok_or_else(Self::off)?;
        Ok(())
    }

    fn off() -> io::Error {
        io::Error::other("the power is off")
    }

    fn write(&mut self, write: Write) -> io::Result<()> {
        self.step()?;
        write.apply(&mut self.present);
        self.unsynced.push(write);
        Ok(())
    }

    /// The power has gone: what is safe stays, and of the rest what `keeps` says, whole sectors of
    /// it. Then it lives for `n_left` steps more.
    fn restart(&mut self, mut keeps: impl FnMut() -> bool, n_left: u64) {
        const SECTOR: usize = 512;
        for write in std::mem::take(&mut self.unsynced) {
            match &write {
                Write::Length(_) if keeps() => write.apply(&mut self.safe),
                Write::Length(_) => {}
                Write::Bytes(at, bytes) => {
                    let sectors = bytes.chunks(SECTOR).zip((*at..).step_by(SECTOR));
                    for (sector, at) in sectors.filter(|_| keeps()) {
                        let at_end = usize::try_from(at).unwrap() >= self.safe.len();
                        // What lies behind the end of a file that was not made longer is lost.
                        if !at_end {
                            Write::Bytes(at, sector.to_vec()).apply(&mut self.safe);
                        }
                    }
                }
            }
        }
        self.present = self.safe.clone();
        self.n_left = n_left;
    }
}

/// A disk that several databases are opened on, one after the other.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platters>>);

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().present.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.0.lock();
        let at = usize::try_from(offset).unwrap();
        let bytes = platters.present.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().write(Write::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.0.lock();
        platters.step()?;
        platters.unsynced.clear();
        platters.safe = platters.present.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().write(Write::Bytes(offset, data.to_vec()))
    }
}

/// A store on a backend.
fn open<B: StorageBackend>(
    backend: impl Fn() -> B + Send + Sync + 'static,
    sweep_from: usize,
) -> Result<Store, StoreError> {
    let opener = move || {
        let mut builder = Builder::new();
        builder.set_cache_size(1024 * 1024);
        let opened = builder.create_with_backend(backend());
        opened.map_err(|error| StoreError::Unusable(error.to_string()))
    };
    Store::open(Box::new(opener), sweep_from)
}

/// All pairs of a direction.
fn all(store: &Store, direction: Direction) -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    store
        .for_each::<StoreError>(direction, |pair| {
            assert!(pairs.last() < Some(&pair), "{pair:?} out of order");
            pairs.insert(pair);
            Ok(())
        })
        .unwrap();
    pairs
}

/// A user's list, in parts of `limit`.
fn list(store: &Store, direction: Direction, user: Id, limit: usize) -> Vec<Id> {
    let mut ids = Vec::new();
    let mut next = Some(0);
    while let Some(after) = next {
        let page = store.page(direction, user, after, limit).unwrap();
        assert!(page.ids.len() <= limit);
        assert!(page.next.is_none_or(|next| next > after), "{page:?} behind {after}");
        ids.extend(page.ids);
        next = page.next;
    }
    ids
}

/// Who follows whom, in the simplest way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model(BTreeSet<Pair>);

impl Model {
    fn change(&mut self, changes: &[Change]) -> Vec<bool> {
        let change = |change: &Change| {
            let pair = (change.follower, change.friend);
            if change.begins { self.0.insert(pair) } else { self.0.remove(&pair) }
        };
        changes.iter().map(change).collect()
    }

    fn of(&self, direction: Direction) -> BTreeSet<Pair> {
        match direction {
            Direction::Follows => self.0.clone(),
            Direction::Followers => self.0.iter().map(|&(a, b)| (b, a)).collect(),
        }
    }

    /// Everything that a store can be asked says the same.
    fn compare(&self, store: &Store, limit: usize) {
        for direction in Direction::ALL {
            let expected = self.of(direction);
            assert_eq!(all(store, direction), expected);
            let mut users: BTreeSet<Id> = expected.iter().map(|pair| pair.0).collect();
            users.insert(12_345);
            for user in users {
                let of_user = expected.range((user, 0)..=(user, Id::MAX)).map(|pair| pair.1);
                let of_user: Vec<Id> = of_user.collect();
                assert_eq!(list(store, direction, user, limit), of_user, "of {user}");
                assert_eq!(store.count(direction, user).unwrap(), of_user.len() as u64);
            }
        }
    }
}

/// A change among few users, or of one with very many followers.
fn change() -> impl Strategy<Value = Change> {
    let ids = prop_oneof![
        3 => (1_u64..12, 1_u64..12),
        3 => (1_u64..1 << 40, Just(5_u64)),
        1 => (1_u64..1 << 63, 1_u64..1 << 63),
    ];
    (ids, prop::bool::weighted(0.7)).prop_map(|((follower, friend), begins)| Change {
        follower,
        friend,
        begins,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_store_says_what_a_set_says_whatever_is_swept_when(
        batches in prop::collection::vec(prop::collection::vec(change(), 1..60), 1..30),
        sweep_from in 1_usize..300,
        limit in 1_usize..70,
    ) {
        let store = open(InMemoryBackend::new, sweep_from).unwrap();
        let mut model = Model::default();
        for batch in &batches {
            prop_assert_eq!(store.change(batch).unwrap(), model.change(batch));
        }
        model.compare(&store, limit);
    }
}

/// Changes to leaves of thousands of pairs: they are cut, and put together again.
#[test]
fn a_user_of_very_many_followers_comes_and_goes() {
    let store = open(InMemoryBackend::new, 500).unwrap();
    let mut model = Model::default();
    let ids: Vec<Id> = (1..=20_000).map(|n| n * 7_919 % 1_000_003).collect();
    for begins in [true, false] {
        for some in ids.chunks(500) {
            let change = |&follower: &Id| Change { follower, friend: 9, begins };
            let changes: Vec<_> = some.iter().map(change).collect();
            assert_eq!(store.change(&changes).unwrap(), model.change(&changes));
        }
        assert!(store.n_recent() < 2_000, "{} changes were never swept", store.n_recent());
        for direction in Direction::ALL {
            assert_eq!(all(&store, direction), model.of(direction));
        }
        assert_eq!(store.count(Direction::Followers, 9).unwrap(), model.0.len() as u64);
        assert_eq!(list(&store, Direction::Followers, 9, 4_096).len(), model.0.len());
    }
    assert!(model.0.is_empty());
    let n_leaves = store.n_leaves(Direction::Followers);
    assert!(n_leaves < 10, "{n_leaves} leaves are left of nothing");
}

/// What a disk that loses its power keeps of a store: everything acknowledged, and nothing half.
/// Returns how many batches were acknowledged before it did.
fn lose_power(seed: u64) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = Disk::default();
    disk.0.lock().n_left = u64::MAX;
    let sweep_from = rng.random_range(1..200);
    let of_disk = disk.clone();
    let open = move || {
        open(
            {
                let disk = of_disk.clone();
                move || disk.clone()
            },
            sweep_from,
        )
    };
    drop(open().unwrap());
    let mut model = Model::default();
    let mut n_acknowledged = 0;
    for _ in 0..3 {
        disk.0.lock().n_left = rng.random_range(1..400);
        let mut in_doubt = None;
        // The power may go while it opens.
        if let Ok(store) = open() {
            loop {
                let n = rng.random_range(1..40);
                let mut id = || rng.random_range(1..60);
                let changes: Vec<_> = (0..n)
                    .map(|n| Change { follower: id(), friend: id(), begins: n % 4 != 0 })
                    .collect();
                let mut after = model.clone();
                let expected = after.change(&changes);
                let Ok(outcomes) = store.change(&changes) else {
                    in_doubt = Some(after);
                    break;
                };
                assert_eq!(outcomes, expected, "seed {seed}");
                n_acknowledged += 1;
                model = after;
            }
        }
        let kept = rng.random_range(0..=2);
        disk.0.lock().restart(|| rng.random_range(0..2) < kept, u64::MAX);
        let store = open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let there = Model(all(&store, Direction::Follows));
        // What was not acknowledged is there as a whole or not at all.
        let is_known = there == model || Some(&there) == in_doubt.as_ref();
        assert!(is_known, "seed {seed}: {there:?} is neither {model:?} nor {in_doubt:?}");
        assert_eq!(all(&store, Direction::Followers), there.of(Direction::Followers));
        model = there;
    }
    n_acknowledged
}

#[test]
fn a_disk_that_forgets_at_any_moment_has_all_that_was_acknowledged() {
    let n_acknowledged: usize = (0..200).map(lose_power).sum();
    assert!(n_acknowledged > 1_000, "only {n_acknowledged} batches were made durable");
}

#[test]
fn a_disk_that_fails_and_recovers_loses_nothing_and_goes_on() {
    let disk = Disk::default();
    disk.0.lock().n_left = u64::MAX;
    let of_disk = disk.clone();
    let store = open(move || of_disk.clone(), 10).unwrap();
    let change = |follower| Change { follower, friend: 7, begins: true };
    let mut model = Model::default();
    for (round, follower) in (1..40).enumerate() {
        let changes = [change(follower), change(follower + 1_000)];
        // Full after some steps, another number each time.
        disk.0.lock().n_left = round as u64 % 9;
        let failed = store.change(&changes).is_err();
        disk.0.lock().n_left = u64::MAX;
        if failed {
            // Not acknowledged: asked again it is done now, or was done.
            store.change(&changes).unwrap();
        }
        model.change(&changes);
        model.compare(&store, 10);
    }
}
