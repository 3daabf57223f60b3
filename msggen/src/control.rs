//! Requests to a Comet server's control door, and what its answers say.

use std::io::Write as _;

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::http1::Answer;
use crate::receipt::{HIGHEST_CONNECTIONS, Miss, Reason, Receipt};
use crate::template::push_number;

/// To whom a message to an id goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// To the connections of the id.
    Id,
    /// To those of all who follow the id, and of the id itself: the message is *about* it.
    Followers,
}

/// The control door of one server, as its requests name it.
#[derive(Debug)]
pub struct ControlClient {
    /// To whom messages go.
    whom: Whom,
    /// `POST {path}/send`: what every request begins with.
    start: String,
    /// What follows the path, up to the length of the body.
    head: Vec<u8>,
}

impl ControlClient {
    /// The control door at `server`, which may want a `token`.
    pub fn new(server: &Url, token: Option<&HeaderValue>, whom: Whom) -> Self {
        let start = format!("POST {}/send", server.path().trim_end_matches('/'));
        let host = server.host_str().expect("a checked server URL has a host");
        let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut head = format!(" HTTP/1.1\r\nhost: {host}{port}\r\n").into_bytes();
        if let Some(token) = token {
            head.extend_from_slice(b"authorization: ");
            head.extend_from_slice(token.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        Self { whom, start, head }
    }

    /// Writes the request that sends `message` to `id`.
    pub fn write_one(&self, id: u64, message: &str, to: &mut Vec<u8>) {
        let query = if self.whom == Whom::Followers { "?to=followers" } else { "" };
        write!(to, "{}/{id}{query}", self.start).expect("memory takes everything");
        self.write_rest("", message, to);
    }

    /// Begins the line that sends a message to `id`, up to the message.
    pub fn begin_line(&self, id: u64, line: &mut String) {
        line.push_str("{\"id\":");
        push_number(id, line);
        if self.whom == Whom::Followers {
            line.push_str(",\"to\":\"followers\"");
        }
        line.push_str(",\"msg\":\"");
    }

    /// What the answer to a request with `n` messages says of them, which were one or lines.
    pub fn receipt(&self, answer: &Answer, n: u64, are_lines: bool) -> Receipt {
        if are_lines {
            receipt_of_batch(answer, n, self.whom)
        } else {
            receipt_of_one(answer, self.whom)
        }
    }

    /// Writes the request that sends what `lines` say.
    pub fn write_batch(&self, lines: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(self.start.as_bytes());
        self.write_rest("content-type: application/x-ndjson\r\n", lines, to);
    }

    /// Writes what follows the path.
    fn write_rest(&self, fields: &str, body: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.head);
        write!(to, "{fields}content-length: {}\r\n\r\n{body}", body.len())
            .expect("memory takes everything");
    }
}

/// What the door answers to a single message.
#[derive(Debug, Default, Deserialize)]
struct SingleAnswer {
    /// Connections that the message reached. In a cluster: those of this server.
    connections: Option<u64>,
    /// In a cluster: subscribers of the id at its broker. They may be servers that have it, or
    /// anybody else who listens there. Older servers call them nodes.
    #[serde(alias = "nodes")]
    subscribers: Option<u64>,
    /// Followers that the id has, if the message went to them.
    followers: Option<u64>,
}

/// What the door answers to a batch, be it to the whole one or up to a line that it refused.
#[derive(Debug, Default, Deserialize)]
struct BatchAnswer {
    /// Messages taken.
    messages: Option<u64>,
    /// Connections that they reached.
    connections: Option<u64>,
    /// Followers that their ids have, if they went to these.
    followers: Option<u64>,
    /// Of the messages, those to an id that nobody was logged in as. Older servers say `void`.
    #[serde(rename = "messages_void", alias = "void")]
    void: Option<u64>,
    /// In a cluster: of the messages, those that reached no connection of this server and had
    /// subscribers at a broker.
    #[serde(default)]
    unknown: u64,
}

/// What the answer to a single message says of it.
fn receipt_of_one(answer: &Answer, whom: Whom) -> Receipt {
    match parsed(answer) {
        SingleAnswer { connections: Some(connections), subscribers, followers }
            if answer.is_success()
                && connections <= HIGHEST_CONNECTIONS
                && are_told(followers, 1, whom) =>
        {
            // Whether subscribers have connections is not known here.
            let is_known = connections > 0 || subscribers.unwrap_or_default() == 0;
            let receipt = Receipt::taken(is_known.then_some(connections));
            Receipt { followers: told_of(followers, whom), ..receipt }
        }
        _ => Receipt::nothing(Miss::Failed(refusal(answer))),
    }
}

/// What the answer to a batch says of its `n` messages.
fn receipt_of_batch(answer: &Answer, n: u64, whom: Whom) -> Receipt {
    match parsed(answer) {
        // More than was sent, or more void than taken: not an answer to this request.
        BatchAnswer {
            messages: Some(answered),
            connections: Some(connections),
            followers,
            void: Some(void),
            unknown,
        } if answered <= n
            && void.checked_add(unknown).is_some_and(|sum| sum <= answered)
            && connections <= answered.saturating_mul(HIGHEST_CONNECTIONS)
            && are_told(followers, answered, whom) =>
        {
            let miss = (answered < n).then_some(Miss::Failed(refusal(answer)));
            let reached = answered - void - unknown;
            let followers = told_of(followers, whom);
            Receipt { answered, reached, void, connections, followers, miss, ..Receipt::default() }
        }
        _ => Receipt::nothing(Miss::Failed(refusal(answer))),
    }
}

/// Whether an answer tells of followers what it is to tell of `n` messages. A server that knows
/// nothing of followers sends to the id alone, and says nothing of them.
fn are_told(followers: Option<u64>, n: u64, whom: Whom) -> bool {
    match (followers, whom) {
        (_, Whom::Id) => true,
        (Some(followers), Whom::Followers) => followers <= n.saturating_mul(HIGHEST_CONNECTIONS),
        // Lines that were refused before any was sent reached nobody.
        (None, Whom::Followers) => n == 0,
    }
}

/// The followers that are told of, where they are of interest.
fn told_of(followers: Option<u64>, whom: Whom) -> u64 {
    if whom == Whom::Followers { followers.unwrap_or_default() } else { 0 }
}

/// Why messages were not taken that an answer was given to.
fn refusal(answer: &Answer) -> Reason {
    if answer.is_success() { Reason::BadAnswer } else { Reason::Status(answer.status) }
}

/// The figures in an answer. One of another kind has none: its status says all.
fn parsed<A: for<'de> Deserialize<'de> + Default>(answer: &Answer) -> A {
    // An array is of another kind too, though serde would take it for the fields in their order.
    let is_object = answer.body.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(&answer.body).ok()).flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into(), is_last: false }
    }

    #[test]
    fn a_message_that_reached_nobody_went_into_the_void() {
        let receipt =
            |n| receipt_of_one(&answer(200, &format!("{{\"connections\": {n}}}")), Whom::Id);
        let void = Receipt { answered: 1, void: 1, ..Receipt::default() };
        assert_eq!(receipt(0), void);
        assert_eq!(receipt(3), Receipt { reached: 1, void: 0, connections: 3, ..void });
    }

    #[test]
    fn whom_a_message_reached_in_a_cluster_is_said_only_where_it_is_known() {
        for name in ["subscribers", "nodes"] {
            let one = |connections, subscribers| {
                let body = json!({ "connections": connections, name: subscribers });
                let receipt = receipt_of_one(&answer(200, &body.to_string()), Whom::Id);
                (receipt.answered, receipt.reached, receipt.void)
            };
            // A subscriber may be another server with its connections, or a monitor without any.
            assert_eq!([one(0, 0), one(0, 1), one(1, 2)], [(1, 0, 1), (1, 0, 0), (1, 1, 0)]);
        }
        let body = concat!(
            r#"{"messages":50,"connections":2,"messages_void":10,"#,
            r#""unknown":38,"subscribers":99}"#
        );
        let told = Receipt { answered: 50, ..Receipt::default() };
        let receipt = Receipt { reached: 2, void: 10, connections: 2, ..told };
        assert_eq!(receipt_of_batch(&answer(200, body), 50, Whom::Id), receipt);
    }

    #[test]
    fn more_connections_than_any_server_has_are_a_bad_answer() {
        let bad = Receipt::nothing(Miss::Failed(Reason::BadAnswer));
        let one = |n: u64| {
            receipt_of_one(&answer(200, &json!({ "connections": n }).to_string()), Whom::Id)
        };
        assert_eq!(one(HIGHEST_CONNECTIONS).connections, HIGHEST_CONNECTIONS);
        assert_eq!([one(HIGHEST_CONNECTIONS + 1), one(u64::MAX)], [bad; 2]);
    }

    #[test]
    fn what_was_sent_before_a_bad_line_counts_and_the_rest_failed() {
        let body = r#"{"error":"line 3: no id","messages":2,"connections":5,"void":1}"#;
        let miss = Some(Miss::Failed(Reason::Status(400)));
        let told = Receipt { answered: 2, miss, ..Receipt::default() };
        let receipt = Receipt { reached: 1, void: 1, connections: 5, ..told };
        assert_eq!(receipt_of_batch(&answer(400, body), 10, Whom::Id), receipt);
    }

    #[test]
    fn an_answer_that_cannot_be_one_to_this_batch_is_a_bad_answer() {
        let bad = Receipt::nothing(Miss::Failed(Reason::BadAnswer));
        for body in [
            "",
            "[]",
            "[1,1,1]",
            "ok",
            "{}",
            r#"{"messages":10,"connections":1}"#,
            r#"{"messages":11,"connections":1,"void":0}"#,
            r#"{"messages":3,"connections":1,"void":4}"#,
            r#"{"messages":3,"connections":1,"void":2,"unknown":2}"#,
            r#"{"messages":3,"connections":1,"void":1,"unknown":18446744073709551615}"#,
            r#"{"messages":3,"connections":18446744073709551615,"void":0}"#,
        ] {
            assert_eq!(receipt_of_batch(&answer(200, body), 10, Whom::Id), bad, "{body}");
        }
    }

    #[test]
    fn a_refusal_without_figures_failed_as_a_whole() {
        let refused = Receipt::nothing(Miss::Failed(Reason::Status(503)));
        assert_eq!(receipt_of_batch(&answer(503, "come back later"), 10, Whom::Id), refused);
        assert_eq!(receipt_of_one(&answer(503, "{\"connections\": 1}"), Whom::Id), refused);
    }

    #[test]
    fn answers_about_users_tell_how_many_follow_them_and_other_answers_do_not() {
        let bad = Receipt::nothing(Miss::Failed(Reason::BadAnswer));
        let one = |body, whom| receipt_of_one(&answer(200, body), whom);
        let told = r#"{"connections":3,"followers":15}"#;
        let receipt = Receipt { followers: 15, ..Receipt::taken(Some(3)) };
        assert_eq!(one(told, Whom::Followers), receipt);
        // One that sent to the id alone.
        assert_eq!(one(r#"{"connections":3}"#, Whom::Followers), bad);
        let impossible = format!(r#"{{"connections":3,"followers":{}}}"#, 1_u64 << 32);
        assert_eq!(one(&impossible, Whom::Followers), bad);

        let lines = |body| receipt_of_batch(&answer(200, body), 2, Whom::Followers);
        let body = r#"{"messages":2,"connections":4,"messages_void":1,"followers":30}"#;
        let taken = Receipt { answered: 2, reached: 1, void: 1, connections: 4, ..receipt };
        assert_eq!(lines(body), Receipt { followers: 30, ..taken });
        assert_eq!(lines(r#"{"messages":2,"connections":4,"messages_void":1}"#), bad);
        let body = r#"{"error":"line 1: no id","messages":0,"connections":0,"messages_void":0}"#;
        let refused = receipt_of_batch(&answer(400, body), 2, Whom::Followers);
        assert_eq!(refused, Receipt::nothing(Miss::Failed(Reason::Status(400))));
    }

    #[test]
    fn messages_about_users_say_so_in_the_path_and_in_lines() {
        let url = Url::parse("http://h:1").unwrap();
        for (whom, path, line) in [
            (Whom::Id, "POST /send/7 HTTP/1.1\r\n", r#"{"id":7,"msg":""#),
            (
                Whom::Followers,
                "POST /send/7?to=followers HTTP/1.1\r\n",
                r#"{"id":7,"to":"followers","msg":""#,
            ),
        ] {
            let client = ControlClient::new(&url, None, whom);
            let (mut written, mut begun) = (Vec::new(), String::new());
            client.write_one(7, "hi", &mut written);
            assert!(written.starts_with(path.as_bytes()), "{}", written.escape_ascii());
            client.begin_line(7, &mut begun);
            assert_eq!(begun, line);
        }
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets_and_a_default_port_is_left_out() {
        let mut written = Vec::new();
        let url = |text| Url::parse(text).unwrap();
        ControlClient::new(&url("http://[::1]/x"), None, Whom::Id).write_one(7, "hi", &mut written);
        assert_eq!(
            written,
            b"POST /x/send/7 HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 2\r\n\r\nhi"
        );
    }
}
