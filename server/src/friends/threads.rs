//! The threads that wait for the disk, and what is handed to them.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::recent::{Change, Direction};
use super::store::{self, Page, Store, StoreError};
use crate::router::{Id, Presence};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Batches of changes that may wait for a commit. One more is answered 503. As many as the control
/// door has places, with an eye on tests of many askers: none of them fails for want of room.
const MAX_WAITING_CHANGES: usize = 256;

/// Questions that may wait for a thread that reads. One more is answered 503.
const MAX_WAITING_QUESTIONS: usize = 256;

/// Changes of one commit, if those who wait have as many. A commit of 8,192 takes about 50 ms.
const CHANGES_AT_ONCE: usize = 8_192;

/// Threads that read: one that waits for the disk does not keep another from what is in memory.
const READERS: usize = 2;

/// Ids in one part of a list, for whoever asks at the control door and for threads that read.
pub(crate) const PAGE_IDS: usize = 4_096;

/// Followers that are looked through for one question before others have their turn: about a tenth
/// of a millisecond, and 128 KiB if they are all logged in.
const FOLLOWERS_AT_ONCE: u64 = 16_384;

/// A store that is open and will be used by a server.
#[derive(Debug, Clone)]
pub struct Opened(Arc<Store>);

impl Opened {
    /// Opens the store of a folder, which is made if it is not there. The store keeps up to
    /// `cache_bytes` of its file in memory.
    pub fn open(folder: &Path, cache_bytes: usize) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(store::open_in(folder, cache_bytes)?)))
    }
}

/// Why the store was not asked, or has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FriendsError {
    /// Too many wait.
    #[error("the store of friends is busy: {0} requests wait for it; try again")]
    Busy(usize),
    /// It failed, as the sentence says.
    #[error("{0}")]
    Failed(Arc<str>),
}

impl FriendsError {
    /// The error of a server at its end.
    fn at_the_end() -> Self {
        Self::Failed("the server is shutting down".into())
    }
}

impl From<&StoreError> for FriendsError {
    fn from(error: &StoreError) -> Self {
        Self::Failed(error.to_string().into())
    }
}

/// What happened to the store, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FriendsStats {
    /// Followers of users whom messages to followers were about, logged in or not.
    pub followers: u64,
    /// Changes that were made durable.
    pub follow_changes: u64,
    /// Changes that changed nothing: a pair that follows already, one that does not, and users that
    /// would follow themselves.
    pub follow_changes_unchanged: u64,
    /// Requests that the store did not take because too many waited, or that failed on the disk.
    pub friends_failed: u64,
}

/// The counts of [`FriendsStats`].
#[derive(Debug, Default)]
struct Counts {
    /// Followers.
    followers: AtomicU64,
    /// Changes.
    changed: AtomicU64,
    /// Changes of nothing.
    unchanged: AtomicU64,
    /// Refused and failed.
    failed: AtomicU64,
}

/// Followers of a user, as far as they may be logged in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    /// How many followers were looked through.
    pub(crate) n_followers: u64,
    /// Those who may be logged in.
    pub(crate) ids: Vec<Id>,
    /// Behind which follower the next part begins, unless this is the last one.
    pub(crate) next: Option<Id>,
}

/// A batch of changes, and who waits for what they changed: how many.
type Batch = (Vec<Change>, oneshot::Sender<Result<u64, FriendsError>>);

/// What is asked of a thread that reads.
type Question = Box<dyn FnOnce(&Store) + Send>;

/// The store of friends of a running server.
#[derive(Debug)]
pub(crate) struct Friends {
    /// Where changes are handed in.
    changes: mpsc::Sender<Batch>,
    /// Where questions are.
    questions: mpsc::Sender<Question>,
    /// Who may be logged in.
    presence: Arc<Presence>,
    /// What happened.
    counts: Counts,
    /// Those who wait for the disk, until the end.
    #[expect(dead_code, reason = "they end when it is dropped")]
    threads: Threads,
}

/// Threads that end when those who hand in are gone.
#[derive(Debug)]
struct Threads(Vec<JoinHandle<()>>);

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // One that panicked has said so, and whoever asked it was told.
            _ = thread.join();
        }
    }
}

impl Friends {
    /// Starts the threads.
    pub(crate) fn start(store: Opened, presence: Arc<Presence>) -> std::io::Result<Self> {
        let Opened(store) = store;
        let (changes, batches) = mpsc::channel(MAX_WAITING_CHANGES);
        let (questions, asked) = mpsc::channel::<Question>(MAX_WAITING_QUESTIONS);
        let mut threads = Threads(Vec::new());
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let writing = Arc::clone(&store);
        threads.0.push(spawn("friends-write", Box::new(move || write(&writing, batches)))?);
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..READERS {
            let (store, asked) = (Arc::clone(&store), Arc::clone(&asked));
            let read = move || {
                // One of the idle threads waits for a question, the others for the first.
                while let Some(question) = { asked.lock().blocking_recv() } {
                    question(&store);
                }
            };
            threads.0.push(spawn("friends-read", Box::new(read))?);
        }
        Ok(Self { changes, questions, presence, counts: Counts::default(), threads })
    }

    /// What happened.
    pub(crate) fn stats(&self) -> FriendsStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FriendsStats {
            followers: get(&self.counts.followers),
            follow_changes: get(&self.counts.changed),
            follow_changes_unchanged: get(&self.counts.unchanged),
            friends_failed: get(&self.counts.failed),
        }
    }

    /// Carries out changes, durably, all or none. Returns how many of them changed anything. A user
    /// that would follow itself changes nothing: it gets what is about itself anyway.
    pub(crate) async fn change(&self, mut changes: Vec<Change>) -> Result<u64, FriendsError> {
        let n_asked = changes.len() as u64;
        changes.retain(|change| change.follower != change.friend);
        let (done, outcome) = oneshot::channel();
        let n_changed = if changes.is_empty() {
            Ok(0)
        } else {
            match self.changes.try_send((changes, done)) {
                Err(_) => Err(FriendsError::Busy(MAX_WAITING_CHANGES)),
                Ok(()) => outcome.await.unwrap_or_else(|_| Err(FriendsError::at_the_end())),
            }
        };
        let n_changed = self.noting_failure(n_changed)?;
        self.counts.changed.fetch_add(n_changed, Ordering::Relaxed);
        self.counts.unchanged.fetch_add(n_asked - n_changed, Ordering::Relaxed);
        Ok(n_changed)
    }

    /// Part of a user's list: up to [`PAGE_IDS`] ids, and no more than `limit`, behind `after`.
    pub(crate) async fn page(
        &self,
        direction: Direction,
        user: Id,
        after: Id,
        limit: usize,
    ) -> Result<Page, FriendsError> {
        let limit = limit.clamp(1, PAGE_IDS);
        self.ask(move |store| store.page(direction, user, after, limit)).await
    }

    /// How many users one follows, and how many follow it.
    pub(crate) async fn count(&self, user: Id) -> Result<(u64, u64), FriendsError> {
        let count = move |store: &Store| {
            let n_follows = store.count(Direction::Follows, user)?;
            Ok((n_follows, store.count(Direction::Followers, user)?))
        };
        self.ask(count).await
    }

    /// Part of the followers of each user, behind the id beside it, of whom those come back who may
    /// be logged in. All that is not looked through yet has a next part.
    pub(crate) async fn audiences(
        &self,
        users: Vec<(Id, Id)>,
    ) -> Result<Vec<Audience>, FriendsError> {
        let presence = Arc::clone(&self.presence);
        let audiences = self.ask(move |store| look_through(store, &presence, &users)).await?;
        let n_followers = audiences.iter().map(|audience| audience.n_followers).sum();
        self.counts.followers.fetch_add(n_followers, Ordering::Relaxed);
        Ok(audiences)
    }

    /// Whether somebody may be logged in here as `id`.
    pub(crate) fn may_be_here(&self, id: Id) -> bool {
        self.presence.may_have(id)
    }

    /// Counts followers that were looked up for a message, in parts of a list.
    pub(crate) fn count_followers(&self, n: u64) {
        self.counts.followers.fetch_add(n, Ordering::Relaxed);
    }

    /// Has a thread ask the store.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, FriendsError> {
        let (done, outcome) = oneshot::channel();
        let question = Box::new(move |store: &Store| _ = done.send(question(store)));
        let answer = match self.questions.try_send(question) {
            Err(_) => Err(FriendsError::Busy(MAX_WAITING_QUESTIONS)),
            Ok(()) => match outcome.await {
                Ok(answer) => answer.map_err(|error| FriendsError::from(&error)),
                Err(_) => Err(FriendsError::at_the_end()),
            },
        };
        self.noting_failure(answer)
    }

    /// Counts an answer that is none.
    fn noting_failure<T>(&self, answer: Result<T, FriendsError>) -> Result<T, FriendsError> {
        if answer.is_err() {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// Looks through followers, for no longer than [`FOLLOWERS_AT_ONCE`] take.
fn look_through(
    store: &Store,
    presence: &Presence,
    users: &[(Id, Id)],
) -> Result<Vec<Audience>, StoreError> {
    let mut n_left = FOLLOWERS_AT_ONCE;
    let look = |&(user, after): &(Id, Id)| {
        let mut audience = Audience { next: Some(after), ..Audience::default() };
        while n_left > 0
            && let Some(after) = audience.next
        {
            let page = store.page(Direction::Followers, user, after, PAGE_IDS)?;
            let n = page.ids.len() as u64;
            audience.n_followers += n;
            // A part may be empty and cost something all the same.
            n_left = n_left.saturating_sub(n.max(1));
            audience.ids.extend(page.ids.into_iter().filter(|&id| presence.may_have(id)));
            audience.next = page.next;
        }
        Ok(audience)
    };
    users.iter().map(look).collect()
}

/// Carries out batches, all that wait in one commit.
fn write(store: &Store, mut batches: mpsc::Receiver<Batch>) {
    let mut kept = None;
    while let Some(first) = kept.take().or_else(|| batches.blocking_recv()) {
        let (mut changes, asker) = first;
        let mut askers = vec![(changes.len(), asker)];
        while changes.len() < CHANGES_AT_ONCE
            && let Ok((more, asker)) = batches.try_recv()
        {
            if changes.len() + more.len() > CHANGES_AT_ONCE {
                kept = Some((more, asker));
                break;
            }
            askers.push((more.len(), asker));
            changes.extend(more);
        }
        match store.change(&changes) {
            Ok(outcomes) => {
                let mut rest = &outcomes[..];
                for (n, asker) in askers {
                    let (own, others) = rest.split_at(n);
                    rest = others;
                    let n_changed = own.iter().filter(|&&changed| changed).count();
                    _ = asker.send(Ok(n_changed as u64));
                }
            }
            Err(error) => {
                tracing::warn!("changes of friends were refused: {error}");
                for (_, asker) in askers {
                    _ = asker.send(Err(FriendsError::from(&error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Barrier;

    use redb::backends::InMemoryBackend;
    use redb::{Builder, StorageBackend};

    use super::*;

    /// A disk that is slow when it is asked to make something safe: it waits for the test.
    #[derive(Debug)]
    struct SlowDisk(InMemoryBackend, Arc<Gate>);

    /// Where the disk waits.
    #[derive(Debug, Default)]
    struct Gate {
        is_shut: std::sync::Mutex<bool>,
        opened: std::sync::Condvar,
    }

    impl Gate {
        fn set(&self, is_shut: bool) {
            *self.is_shut.lock().unwrap() = is_shut;
            self.opened.notify_all();
        }

        fn pass(&self) {
            let is_shut = self.is_shut.lock().unwrap();
            drop(self.opened.wait_while(is_shut, |is_shut| *is_shut).unwrap());
        }
    }

    impl StorageBackend for SlowDisk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.1.pass();
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }
    }

    /// The store of a server on such a disk.
    fn started(gate: &Arc<Gate>) -> Arc<Friends> {
        let gate = Arc::clone(gate);
        let opener = move || {
            let disk = SlowDisk(InMemoryBackend::new(), Arc::clone(&gate));
            Ok(Builder::new().create_with_backend(disk).unwrap())
        };
        let store = Opened(Arc::new(Store::open(Box::new(opener), 100).unwrap()));
        Arc::new(Friends::start(store, Arc::new(Presence::new(1_000, 1))).unwrap())
    }

    fn follow(follower: Id) -> Vec<Change> {
        vec![Change { follower, friend: 1_000_000, begins: true }]
    }

    #[tokio::test]
    async fn more_changes_than_may_wait_are_refused_and_lookups_do_not_wait_for_them() {
        let gate = Arc::new(Gate::default());
        let friends = started(&gate);
        assert_eq!(friends.change(follow(1)).await, Ok(1));
        // A file that has room: while redb makes it longer, which is rare, lookups do wait.
        for begins in [true, false, true, false] {
            let changes = (1..8_000).map(|n| Change { follower: n, friend: n * 999_983, begins });
            friends.change(changes.skip(1).collect()).await.unwrap();
        }
        let before = friends.stats().follow_changes;
        gate.set(true);
        // One is being written; as many as may wait do, and the rest is refused.
        let n_more = 10;
        let mut asked = Vec::new();
        for n in 0..MAX_WAITING_CHANGES + 1 + n_more {
            let (friends, changes) = (Arc::clone(&friends), follow(2 + n as Id));
            asked.push(tokio::spawn(async move { friends.change(changes).await }));
            // The writing thread takes the first as soon as it runs, and all that wait by then.
            tokio::task::yield_now().await;
        }
        let looked = friends.page(Direction::Followers, 1_000_000, 0, 10).await.unwrap();
        assert_eq!(looked.ids, [1], "what is not durable is not seen");
        gate.set(false);
        let (mut n_changed, mut n_refused) = (0, 0);
        for one in asked {
            match one.await.unwrap() {
                Ok(n) => n_changed += n,
                Err(error) => {
                    assert_eq!(error, FriendsError::Busy(MAX_WAITING_CHANGES));
                    n_refused += 1;
                }
            }
        }
        let (_, n_followers) = friends.count(1_000_000).await.unwrap();
        assert_eq!(n_followers, 1 + n_changed, "all that was acknowledged, and nothing else");
        let stats = friends.stats();
        let n_counted = stats.follow_changes - before;
        assert_eq!((n_counted, stats.friends_failed), (n_changed, n_refused));
        assert!(n_refused <= n_more as u64 + 1);
    }

    #[tokio::test]
    async fn more_questions_than_may_wait_are_refused() {
        let friends = started(&Arc::default());
        let barrier = Arc::new(Barrier::new(READERS + 1));
        // All threads are busy with these, and know of nothing else until the test says so.
        let busy: Vec<_> = (0..READERS)
            .map(|_| {
                let (friends, barrier) = (Arc::clone(&friends), Arc::clone(&barrier));
                tokio::spawn(async move {
                    let wait = move |_: &Store| {
                        barrier.wait();
                        barrier.wait();
                        Ok(())
                    };
                    friends.ask(wait).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let waiting = Arc::clone(&barrier);
        tokio::task::spawn_blocking(move || waiting.wait()).await.unwrap();
        let mut asked = Vec::new();
        for _ in 0..MAX_WAITING_QUESTIONS {
            let friends = Arc::clone(&friends);
            asked.push(tokio::spawn(async move { friends.count(7).await }));
            tokio::task::yield_now().await;
        }
        let refused = friends.count(7).await;
        assert_eq!(refused, Err(FriendsError::Busy(MAX_WAITING_QUESTIONS)));
        tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
        for one in busy {
            one.await.unwrap().unwrap();
        }
        for one in asked {
            assert_eq!(one.await.unwrap(), Ok((0, 0)));
        }
        assert_eq!(friends.stats().friends_failed, 1);
    }
}
