//! What a request to the control door has done, and its answer.

use std::sync::Arc;

use serde_json::json;

use super::connection::{Connection, Fault};
use super::head::{Ask, Call, Denial};
use super::rest::{Rest, Sending, Sent};
use super::{friends, ndjson};
use crate::answer::{self, BAD_REQUEST, OK, UNAVAILABLE};
use crate::cluster::node::Cluster;
use crate::logout;
use crate::metrics;
use crate::router::Id;
use crate::shared::Shared;

impl Connection {
    /// Does what a request asks for, and appends the answer; or returns what has to be waited for.
    pub(super) fn carry_out(&mut self, ask: &mut Ask) -> Option<Rest> {
        match ask.call {
            Ok(Call::Send { .. }) => match self.take_message(ask) {
                Ok(Some(n_bytes)) => self.post_message(n_bytes, ask).map(Rest::Sending),
                Ok(None) => Some(Rest::Message),
                Err(fault) => {
                    self.give_up(ask, &fault);
                    None
                }
            },
            Ok(Call::SendLines) => Some(Rest::Lines),
            Ok(Call::LogOut(id)) => Some(Rest::LogOut(id)),
            Ok(Call::ChangeFriends) => Some(Rest::Changes),
            Ok(Call::CountFriends(user)) => {
                Some(Rest::Sending(Box::pin(friends::count(Arc::clone(self.shared()), user))))
            }
            Ok(Call::ListFriends(asked)) => {
                Some(Rest::Sending(Box::pin(friends::list(Arc::clone(self.shared()), asked))))
            }
            _ => {
                self.answer_at_once(ask);
                None
            }
        }
    }

    /// Does the rest.
    pub(super) async fn carry_out_rest(&mut self, ask: &mut Ask, rest: Rest) {
        let sending = match (rest, &ask.call) {
            (Rest::Sending(sending), _) => sending,
            (Rest::LogOut(id), _) => {
                let n_connections = logout::log_out(&self.shared().router, id).await as u64;
                return self.answer_connections(ask, n_connections);
            }
            (Rest::Message, _) => match self.message(ask).await {
                Ok(n_bytes) => match self.post_message(n_bytes, ask) {
                    Some(sending) => sending,
                    None => return,
                },
                Err(fault) => return self.give_up(ask, &fault),
            },
            (Rest::Changes, _) => {
                let (status, outcome) = friends::post_changes(self, ask).await;
                return self.answer_json(ask, status, &outcome);
            }
            _ => {
                let (status, outcome) = ndjson::post_lines(self, ask).await;
                return self.answer_json(ask, status, &outcome);
            }
        };
        let sent = sending.await;
        self.note_sent();
        match sent {
            Sent::Here(n_reached) => self.answer_connections(ask, n_reached),
            Sent::ToAll(status, answer) => self.answer_json(ask, status, &answer),
        }
    }

    /// Answers a message that did not come whole.
    fn give_up(&mut self, ask: &mut Ask, fault: &Fault) {
        if *fault != Fault::TooLarge {
            self.shared().count_aborted();
        }
        ask.frame.keeps = false;
        self.deny(ask.frame, &fault.denial());
    }

    /// Answers what needs no body and no time.
    fn answer_at_once(&mut self, ask: &Ask) {
        let call = match &ask.call {
            Ok(call) => *call,
            Err(denial) => return self.deny(self.frame(ask), denial),
        };
        match call {
            Call::Send { .. }
            | Call::SendLines
            | Call::LogOut(_)
            | Call::ChangeFriends
            | Call::CountFriends(_)
            | Call::ListFriends(_) => {}
            Call::CountLogins(id) => {
                let n_connections = self.shared().router.n_logins(id) as u64;
                self.answer_connections(ask, n_connections);
            }
            Call::Stats => {
                let stats = serde_json::to_string(&self.api().stats());
                self.answer_json(ask, OK, &stats.expect("counts are plain JSON"));
            }
            Call::Metrics => {
                let text = metrics::text(self.api().stats(), self.shared().sender.durations());
                let frame = self.frame(ask);
                answer::write(self.output(), frame, OK, metrics::CONTENT_TYPE, &text);
            }
            Call::Health => match complaint(self.shared()) {
                None => self.answer_json(ask, OK, "{\"status\":\"ok\"}"),
                Some(why) => self.deny(self.frame(ask), &Denial::new(UNAVAILABLE, why)),
            },
        }
    }

    /// `POST /send/{id}`: sends the message of `n_bytes` at the front of the window, and appends
    /// the answer; or returns what is to be waited for first.
    fn post_message(&mut self, n_bytes: usize, ask: &Ask) -> Option<Sending> {
        let Ok(Call::Send { id, is_counted, to_followers }) = ask.call else {
            unreachable!("a message is posted for nothing else")
        };
        let shared = self.shared();
        let begun = match std::str::from_utf8(&self.window()[..n_bytes]) {
            Err(error) => Err(format!("the message is not UTF-8: {error}")),
            Ok(text) if to_followers => {
                let sending = friends::send_to_followers(Arc::clone(shared), id, text.to_owned());
                Ok(Err(Box::pin(sending) as Sending))
            }
            Ok(text) => Ok(match &shared.cluster {
                Some(cluster) => {
                    let (cluster, text) = (Arc::clone(cluster), text.to_owned());
                    let sending = send_to_nodes(cluster, id, text, is_counted);
                    Err(Box::pin(sending) as Sending)
                }
                None => shared.sender.try_send_to(id, text).map_err(|message| {
                    let sender = shared.sender.clone();
                    let sending = sender.send_to_many(id, message);
                    Box::pin(async move { Sent::Here(sending.await) }) as Sending
                }),
            }),
        };
        self.consume(n_bytes);
        match begun {
            Ok(Ok(n_reached)) => {
                self.note_sent();
                self.answer_connections(ask, n_reached);
                None
            }
            Ok(Err(sending)) => Some(sending),
            Err(why) => {
                self.deny(self.frame(ask), &Denial::new(BAD_REQUEST, why));
                None
            }
        }
    }

    /// Appends a JSON answer.
    fn answer_json(&mut self, ask: &Ask, status: &'static str, body: &str) {
        if status != OK {
            self.api().counts.count_refused(status);
        }
        let frame = self.frame(ask);
        answer::write_json(self.output(), frame, status, body);
    }

    /// Appends `{"connections": N}`.
    fn answer_connections(&mut self, ask: &Ask, n: u64) {
        let frame = self.frame(ask);
        answer::write_connections(self.output(), frame, n);
    }
}

/// Sends a message to all nodes of a cluster.
async fn send_to_nodes(cluster: Arc<Cluster>, id: Id, text: String, is_counted: bool) -> Sent {
    let sent = if is_counted {
        cluster.send_to_nodes_counted(id, text).await
    } else {
        cluster.send_to_nodes(vec![(id, text)]).await.pop().expect("there is one for each message")
    };
    match sent {
        Ok(reach) => {
            let answer = serde_json::to_string(&reach).expect("counts are plain JSON");
            Sent::ToAll(OK, answer)
        }
        Err(failure) => {
            let why = json!({ "error": &*failure.why, "unconfirmed": failure.is_unconfirmed });
            Sent::ToAll(UNAVAILABLE, why.to_string())
        }
    }
}

/// Why this server is not healthy, if it is not.
fn complaint(shared: &Shared) -> Option<String> {
    if !shared.is_accepting() {
        let why = "no connections are accepted: out of descriptors, or shutting down";
        return Some(why.to_owned());
    }
    shared.cluster.as_ref().and_then(|cluster| cluster.complaint())
}
