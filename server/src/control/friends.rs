//! What the control door has of friends: changes, counts and lists.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::connection::Connection;
use super::end::End;
use super::followers::{self, NO_FRIENDS};
use super::head::{Ask, List};
use super::rest::Sent;
use crate::answer::{OK, UNAVAILABLE};
use crate::friends::{Change, Friends, FriendsError};
use crate::lines::{Lines, read_change};
use crate::router::Id;
use crate::shared::Shared;

/// Changes of one body that are made durable together: 96 KiB of them.
const CHANGES_IN_BATCH: usize = 4_096;

/// What came of changes so far, and the answer to the request.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Changes that were made, and are durable.
    changed: u64,
    /// Changes of nothing: it was so before, or a user would follow itself.
    unchanged: u64,
}

/// `POST /friends`: carries out changes in their order, and answers when they are durable. A bad
/// line ends it; what was before it is done. Returns status and body of the answer.
pub(super) async fn post_changes(
    connection: &mut Connection,
    ask: &mut Ask,
) -> (&'static str, String) {
    let shared = Arc::clone(connection.shared());
    let mut outcome = Outcome::default();
    let ended = match &shared.friends {
        None => Err(End::NotDone(NO_FRIENDS.to_owned())),
        Some(friends) => read_changes(connection, ask, friends, &mut outcome).await,
    };
    let status = match ended {
        Ok(()) => OK,
        Err(end) => {
            let (status, why) = end.answer(ask);
            outcome.error = Some(why);
            status
        }
    };
    (status, serde_json::to_string(&outcome).expect("counts are plain JSON"))
}

/// Cuts the body into lines, and has batches of them made durable. No more of the body is read
/// meanwhile.
async fn read_changes(
    connection: &mut Connection,
    ask: &mut Ask,
    friends: &Friends,
    outcome: &mut Outcome,
) -> Result<(), End> {
    let mut lines = Lines::default();
    let mut batch = Vec::new();
    loop {
        let piece = match connection.piece(ask).await {
            Ok(piece) => piece,
            Err(fault) => {
                // Whole lines were asked for as much as those of a body that ends well.
                commit(friends, &mut batch, outcome).await?;
                return Err(End::BrokenOff(fault.denial()));
            }
        };
        let Some(n_bytes) = piece else { break };
        let mut piece = &connection.window()[..n_bytes];
        let mut bad = None;
        while let Some(line) = lines.next_with(&mut piece, read_change) {
            match line {
                Ok(change) => batch.push(change),
                Err(why) => {
                    bad = Some(why);
                    break;
                }
            }
            if batch.len() == CHANGES_IN_BATCH {
                commit(friends, &mut batch, outcome).await?;
            }
        }
        connection.consume(n_bytes);
        if let Some(why) = bad {
            commit(friends, &mut batch, outcome).await?;
            return Err(End::Bad(why));
        }
    }
    let last = lines.last_with(read_change).transpose();
    let last = last.map(|change| batch.extend(change));
    commit(friends, &mut batch, outcome).await?;
    last.map_err(End::Bad)
}

/// Has a batch made durable.
async fn commit(
    friends: &Friends,
    batch: &mut Vec<Change>,
    outcome: &mut Outcome,
) -> Result<(), End> {
    let changes = std::mem::take(batch);
    let n_asked = changes.len() as u64;
    if n_asked == 0 {
        return Ok(());
    }
    let done = friends.change(changes).await;
    let n_changed = done.map_err(|error| End::NotDone(error.to_string()))?;
    outcome.changed += n_changed;
    outcome.unchanged += n_asked - n_changed;
    Ok(())
}

/// `GET /friends/{id}`: how many the user follows, and how many follow it.
pub(super) async fn count(shared: Arc<Shared>, user: Id) -> Sent {
    let Some(friends) = &shared.friends else { return unavailable(NO_FRIENDS) };
    answer(friends.count(user).await.map(|(n_follows, n_followers)| {
        json!({ "follows": n_follows, "followers": n_followers }).to_string()
    }))
}

/// `GET /friends/{id}?list=…`: part of a list.
pub(super) async fn list(shared: Arc<Shared>, asked: List) -> Sent {
    let Some(friends) = &shared.friends else { return unavailable(NO_FRIENDS) };
    let List { user, direction, after, limit } = asked;
    answer(friends.page(direction, user, after, limit).await.map(|page| {
        let mut answer = json!({ "ids": page.ids });
        if let Some(next) = page.next {
            answer["next"] = next.into();
        }
        answer.to_string()
    }))
}

/// `POST /send/{id}?to=followers`.
pub(super) async fn send_to_followers(shared: Arc<Shared>, about: Id, text: String) -> Sent {
    match followers::send(&shared, about, &text).await {
        Ok(reached) => {
            let answer = serde_json::to_string(&reached).expect("counts are plain JSON");
            Sent::ToAll(OK, answer)
        }
        Err(not_sent) => {
            let answer = serde_json::to_string(&not_sent).expect("counts are plain JSON");
            Sent::ToAll(UNAVAILABLE, answer)
        }
    }
}

/// What the store said, or why it did not.
fn answer(said: Result<String, FriendsError>) -> Sent {
    said.map_or_else(|error| unavailable(&error.to_string()), |answer| Sent::ToAll(OK, answer))
}

/// Says why not.
fn unavailable(why: &str) -> Sent {
    Sent::ToAll(UNAVAILABLE, json!({ "error": why }).to_string())
}
