//! A message about a user, for the user and all that follow it: who they are, and the sending.

use std::sync::Arc;

use serde::Serialize;

use crate::cluster::node::Cluster;
use crate::framing::MAX_MESSAGE_BYTES;
use crate::friends::{Audience, Direction, Friends, FriendsError, PAGE_IDS};
use crate::router::Id;
use crate::send::Parts;
use crate::shared::Shared;

/// Followers whose messages are published together.
const PUBLISHED_AT_ONCE: usize = 256;

/// Why nothing can be said of friends here.
pub(super) const NO_FRIENDS: &str = "this server has no store of friends: start it with --friends \
    DIR, or ask the node of the cluster that has one";

/// Whom a message to followers reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Reached {
    /// Connections of this server, each once.
    pub(super) connections: u64,
    /// Followers that the user has, logged in or not.
    pub(super) followers: u64,
    /// In a cluster, subscribers at the brokers, over all followers and the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscribers: Option<u64>,
}

/// Why a message did not go to all.
#[derive(Debug, Serialize)]
pub(super) struct NotSent {
    /// A sentence.
    #[serde(rename = "error")]
    pub(super) why: String,
    /// What it reached all the same, if a broker of the cluster failed on the way.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) partly: Option<Partly>,
}

/// Whom a message reached that did not go to all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Partly {
    /// What came of those that it was published for.
    #[serde(flatten)]
    pub(super) reached: Reached,
    /// Ids that it was published for: followers, and the user.
    pub(super) sent: u64,
    /// Ids that it was not published for.
    pub(super) failed: u64,
    /// Of these, ids that it may have been published for.
    pub(super) unconfirmed: u64,
}

impl From<FriendsError> for NotSent {
    fn from(error: FriendsError) -> Self {
        Self { why: error.to_string(), partly: None }
    }
}

/// Sends one message.
pub(super) async fn send(shared: &Arc<Shared>, about: Id, text: &str) -> Result<Reached, NotSent> {
    let friends = friends(shared)?;
    if let Some(cluster) = &shared.cluster {
        return send_to_nodes(shared, cluster, friends, about, text).await;
    }
    let first = friends.audiences(vec![(about, 0)]).await?.pop().unwrap_or_default();
    send_to(shared, about, text, first).await
}

/// The store.
pub(super) fn friends(shared: &Shared) -> Result<&Arc<Friends>, NotSent> {
    let none = || NotSent { why: NO_FRIENDS.to_owned(), partly: None };
    shared.friends.as_ref().ok_or_else(none)
}

/// Sends a message to the connections of this server, when the first part of the followers has been
/// looked up.
pub(super) async fn send_to(
    shared: &Arc<Shared>,
    about: Id,
    text: &str,
    mut first: Audience,
) -> Result<Reached, NotSent> {
    first.ids.push(about);
    let friends = friends(shared)?;
    let listeners = |first: Audience| Listeners {
        friends: Arc::clone(friends),
        about,
        next: first.next,
        n_followers: first.n_followers,
        ids: Some(first.ids),
    };
    let message = if first.next.is_none() {
        match shared.sender.try_send_about(about, &first.ids, text) {
            Ok(connections) => {
                let followers = first.n_followers;
                return Ok(Reached { connections, followers, subscribers: None });
            }
            Err(message) => message,
        }
    } else {
        crate::framing::Message::new(text)
    };
    let sending = shared.sender.clone().send_about(about, message, listeners(first));
    let (connections, listeners) = sending.await?;
    Ok(Reached { connections, followers: listeners.n_followers, subscribers: None })
}

/// Those who may be logged in of all that follow a user.
struct Listeners {
    /// The store.
    friends: Arc<Friends>,
    /// The user.
    about: Id,
    /// The next part, if it has been looked up.
    ids: Option<Vec<Id>>,
    /// Behind which follower the part after that begins.
    next: Option<Id>,
    /// Followers looked through.
    n_followers: u64,
}

impl Parts for Listeners {
    type Error = FriendsError;

    async fn next(&mut self) -> Result<Option<Vec<Id>>, FriendsError> {
        if let Some(ids) = self.ids.take() {
            return Ok(Some(ids));
        }
        let Some(after) = self.next else { return Ok(None) };
        let audience = self.friends.audiences(vec![(self.about, after)]).await?.pop();
        let audience = audience.unwrap_or_default();
        self.next = audience.next;
        self.n_followers += audience.n_followers;
        Ok(Some(audience.ids))
    }
}

/// Ids that are known.
struct Known(Option<Vec<Id>>);

impl Parts for Known {
    type Error = FriendsError;

    async fn next(&mut self) -> Result<Option<Vec<Id>>, FriendsError> {
        Ok(self.0.take())
    }
}

/// Publishes a message for every follower and the user, and sends it to the connections of this
/// node of those for whom that was confirmed.
async fn send_to_nodes(
    shared: &Arc<Shared>,
    cluster: &Arc<Cluster>,
    friends: &Arc<Friends>,
    about: Id,
    text: &str,
) -> Result<Reached, NotSent> {
    let (shared, cluster) = (Arc::clone(shared), Arc::clone(cluster));
    let (friends, text) = (Arc::clone(friends), text.to_owned());
    // Whoever asked may leave; what was begun is done to its end.
    let sending = async move {
        let mut published = Published::default();
        let mut stopped = published.publish(&cluster, &friends, &[about], &text).await;
        let (mut followers, mut next) = (0, Some(0));
        while stopped.is_none()
            && let Some(after) = next
        {
            match friends.page(Direction::Followers, about, after, PAGE_IDS).await {
                Ok(page) => {
                    followers += page.ids.len() as u64;
                    friends.count_followers(page.ids.len() as u64);
                    next = page.next;
                    stopped = published.publish(&cluster, &friends, &page.ids, &text).await;
                }
                Err(error) => stopped = Some(error.to_string()),
            }
        }
        if stopped.is_some()
            && let Ok((_, n)) = friends.count(about).await
        {
            followers = n;
        }
        let message = crate::framing::Message::new(&text);
        let here = Known(Some(published.here));
        let (connections, _) = shared.sender.clone().send_about(about, message, here).await?;
        let subscribers = Some(published.subscribers);
        let reached = Reached { connections, followers, subscribers };
        stopped.map_or(Ok(reached), |why| {
            let failed = (followers + 1).saturating_sub(published.n);
            let (sent, unconfirmed) = (published.n, published.unconfirmed);
            Err(NotSent { why, partly: Some(Partly { reached, sent, failed, unconfirmed }) })
        })
    };
    tokio::spawn(sending).await.expect("sending neither panics nor is it cancelled")
}

/// What has been published of a message to followers.
#[derive(Debug, Default)]
struct Published {
    /// For how many ids.
    n: u64,
    /// For how many ids it is not known whether.
    unconfirmed: u64,
    /// Subscribers of these ids.
    subscribers: u64,
    /// Those of the ids that may be logged in at this node.
    here: Vec<Id>,
}

impl Published {
    /// Publishes a message for some ids, until it fails; then it says why.
    async fn publish(
        &mut self,
        cluster: &Cluster,
        friends: &Friends,
        ids: &[Id],
        text: &str,
    ) -> Option<String> {
        // As many at a time as lines would be, by their bytes as well.
        let n_at_once = (MAX_MESSAGE_BYTES / text.len().max(1)).clamp(1, PUBLISHED_AT_ONCE);
        for some in ids.chunks(n_at_once) {
            let mut failed = None;
            for (&id, outcome) in some.iter().zip(cluster.publish_for(some, text).await) {
                match outcome {
                    Ok(subscribers) => {
                        self.n += 1;
                        self.subscribers = self.subscribers.saturating_add(subscribers);
                        if friends.may_be_here(id) {
                            self.here.push(id);
                        }
                    }
                    Err(failure) => {
                        self.unconfirmed += u64::from(failure.is_unconfirmed);
                        failed.get_or_insert(failure);
                    }
                }
            }
            if let Some(failure) = failed {
                return Some(failure.why.to_string());
            }
        }
        None
    }
}
