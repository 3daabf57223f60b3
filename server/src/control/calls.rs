//! What a request to the control door has done, and its answer.

use std::sync::Arc;

use serde_json::json;

use super::connection::{Connection, Fault};
use super::head::{Ask, Call, Denial};
use crate::Shared;
use crate::answer::{self, OK};
use crate::cluster::Cluster;
use crate::metrics;
use crate::ndjson;
use crate::router::Id;

/// Why there is no 200.
const UNAVAILABLE: &str = "503 Service Unavailable";

impl Connection {
    /// Does what a request asks for, and appends the answer.
    pub(super) async fn carry_out(&mut self, ask: &mut Ask) {
        let call = match &ask.call {
            Ok(call) => *call,
            Err(denial) => return self.deny(self.frame(ask), denial),
        };
        match call {
            Call::Send { id, is_counted } => self.send(id, is_counted, ask).await,
            Call::SendLines => {
                // In memory of their own: what they need is more than an idle connection may take.
                let (status, outcome) = Box::pin(ndjson::send(self, ask)).await;
                self.answer_json(ask, status, &outcome);
            }
            Call::CountLogins(id) => {
                let n_connections = self.shared.router.n_logins(id) as u64;
                self.answer_connections(ask, n_connections);
            }
            Call::LogOut(id) => {
                let n_connections = self.shared.router.logout(id) as u64;
                self.answer_connections(ask, n_connections);
            }
            Call::Stats => {
                let stats = serde_json::to_string(&self.shared.stats());
                self.answer_json(ask, OK, &stats.expect("counts are plain JSON"));
            }
            Call::Metrics => {
                let text = metrics::text(self.shared.stats(), self.shared.sender.cost());
                let frame = self.frame(ask);
                answer::write(self.output(), frame, OK, metrics::CONTENT_TYPE, &text);
            }
            Call::Health => match complaint(&self.shared) {
                None => self.answer_json(ask, OK, "{\"status\":\"ok\"}"),
                Some(why) => self.deny(self.frame(ask), &Denial::new(UNAVAILABLE, why)),
            },
        }
    }

    /// `POST /send/{id}`: the body is the message.
    async fn send(&mut self, id: Id, is_counted: bool, ask: &mut Ask) {
        let n_bytes = match self.message(ask).await {
            Ok(n_bytes) => n_bytes,
            Err(fault) => {
                if fault != Fault::TooLarge {
                    self.shared.count_aborted();
                }
                ask.frame.keeps = false;
                return self.deny(ask.frame, &fault.denial());
            }
        };
        let text = match std::str::from_utf8(&self.window()[..n_bytes]) {
            Ok(text) => text,
            Err(error) => {
                let why = format!("the message is not UTF-8: {error}");
                self.room().consume(n_bytes);
                return self.deny(self.frame(ask), &Denial::new("400 Bad Request", why));
            }
        };
        if let Some(cluster) = &self.shared.cluster {
            let sent = Box::pin(send_to_all(Arc::clone(cluster), id, text.to_owned(), is_counted));
            let (status, answer) = sent.await;
            self.room().consume(n_bytes);
            return self.answer_json(ask, status, &answer);
        }
        let n_reached = match self.shared.sender.try_send(id, text) {
            Ok(n_reached) => n_reached,
            Err(message) => Box::pin(self.shared.sender.send_to_many(id, message)).await,
        };
        self.note_sent();
        self.room().consume(n_bytes);
        self.answer_connections(ask, n_reached);
    }

    /// Appends a JSON answer.
    fn answer_json(&mut self, ask: &Ask, status: &'static str, body: &str) {
        if status != OK {
            self.shared.door.counts.count_refused(status);
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

/// Sends a message to all nodes of a cluster. Returns status and body of the answer.
async fn send_to_all(
    cluster: Arc<Cluster>,
    id: Id,
    text: String,
    is_counted: bool,
) -> (&'static str, String) {
    let sent = if is_counted {
        cluster.send_counted(id, text).await
    } else {
        cluster.send(vec![(id, text)]).await.pop().expect("there is one for each message")
    };
    match sent {
        Ok(reach) => (OK, serde_json::to_string(&reach).expect("counts are plain JSON")),
        Err(failure) => {
            let why = json!({ "error": &*failure.why, "unconfirmed": failure.is_unconfirmed });
            (UNAVAILABLE, why.to_string())
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
