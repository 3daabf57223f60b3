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
