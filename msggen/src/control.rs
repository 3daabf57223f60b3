//! Requests to a Comet server's control door, and what its answers say.

use std::io::Write as _;

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::http1::Answer;
use crate::receipt::{HIGHEST_CONNECTIONS, Miss, Reason, Receipt};

/// The control door of one server, as its requests name it.
#[derive(Debug)]
pub struct ControlClient {
    /// `POST {path}/send`: what every request begins with.
    start: String,
    /// What follows the path, up to the length of the body.
    head: Vec<u8>,
}

impl ControlClient {
    /// The control door at `server`, which may want a `token`.
    pub fn new(server: &Url, token: Option<&HeaderValue>) -> Self {
        let start = format!("POST {}/send", server.path().trim_end_matches('/'));
        let host = server.host_str().expect("a checked server URL has a host");
        let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut head = format!(" HTTP/1.1\r\nhost: {host}{port}\r\n").into_bytes();
        if let Some(token) = token {
            head.extend_from_slice(b"authorization: ");
            head.extend_from_slice(token.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        Self { start, head }
    }

    /// Writes the request that sends `message` to `id`.
    pub fn write_one(&self, id: u64, message: &str, to: &mut Vec<u8>) {
        write!(to, "{}/{id}", self.start).expect("memory takes everything");
        self.write_rest("", message, to);
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
}

/// What the door answers to a batch, be it to the whole one or up to a line that it refused.
#[derive(Debug, Default, Deserialize)]
struct BatchAnswer {
    /// Messages taken.
    messages: Option<u64>,
    /// Connections that they reached.
    connections: Option<u64>,
    /// Of the messages, those to an id that nobody was logged in as. Older servers say `void`.
    #[serde(rename = "messages_void", alias = "void")]
    void: Option<u64>,
    /// In a cluster: of the messages, those that reached no connection of this server and had
    /// subscribers at a broker.
    #[serde(default)]
    unknown: u64,
}

/// What the answer to a single message says of it.
pub fn receipt_of_one(answer: &Answer) -> Receipt {
    match parsed(answer) {
        SingleAnswer { connections: Some(connections), subscribers }
            if answer.is_success() && connections <= HIGHEST_CONNECTIONS =>
        {
            // Whether subscribers have connections is not known here.
            let is_known = connections > 0 || subscribers.unwrap_or_default() == 0;
            Receipt::taken(is_known.then_some(connections))
        }
        _ => Receipt::nothing(Miss::Failed(refusal(answer))),
    }
}

/// What the answer to a batch says of its `n` messages.
pub fn receipt_of_batch(answer: &Answer, n: u64) -> Receipt {
    match parsed(answer) {
        // More than was sent, or more void than taken: not an answer to this request.
        BatchAnswer {
            messages: Some(answered),
            connections: Some(connections),
            void: Some(void),
            unknown,
        } if answered <= n
            && void.checked_add(unknown).is_some_and(|sum| sum <= answered)
            && connections <= answered.saturating_mul(HIGHEST_CONNECTIONS) =>
        {
            let miss = (answered < n).then_some(Miss::Failed(refusal(answer)));
            let reached = answered - void - unknown;
            Receipt { answered, reached, void, connections, miss, ..Receipt::default() }
        }
        _ => Receipt::nothing(Miss::Failed(refusal(answer))),
    }
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
        let receipt = |n| receipt_of_one(&answer(200, &format!("{{\"connections\": {n}}}")));
        let void = Receipt { answered: 1, void: 1, ..Receipt::default() };
        assert_eq!(receipt(0), void);
        assert_eq!(receipt(3), Receipt { reached: 1, void: 0, connections: 3, ..void });
    }

    #[test]
    fn whom_a_message_reached_in_a_cluster_is_said_only_where_it_is_known() {
        for name in ["subscribers", "nodes"] {
            let one = |connections, subscribers| {
                let body = json!({ "connections": connections, name: subscribers });
                let receipt = receipt_of_one(&answer(200, &body.to_string()));
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
        assert_eq!(receipt_of_batch(&answer(200, body), 50), receipt);
    }

    #[test]
    fn more_connections_than_any_server_has_are_a_bad_answer() {
        let bad = Receipt::nothing(Miss::Failed(Reason::BadAnswer));
        let one = |n: u64| receipt_of_one(&answer(200, &json!({ "connections": n }).to_string()));
        assert_eq!(one(HIGHEST_CONNECTIONS).connections, HIGHEST_CONNECTIONS);
        assert_eq!([one(HIGHEST_CONNECTIONS + 1), one(u64::MAX)], [bad; 2]);
    }

    #[test]
    fn what_was_sent_before_a_bad_line_counts_and_the_rest_failed() {
        let body = r#"{"error":"line 3: no id","messages":2,"connections":5,"void":1}"#;
        let miss = Some(Miss::Failed(Reason::Status(400)));
        let told = Receipt { answered: 2, miss, ..Receipt::default() };
        let receipt = Receipt { reached: 1, void: 1, connections: 5, ..told };
        assert_eq!(receipt_of_batch(&answer(400, body), 10), receipt);
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
            assert_eq!(receipt_of_batch(&answer(200, body), 10), bad, "{body}");
        }
    }

    #[test]
    fn a_refusal_without_figures_failed_as_a_whole() {
        let refused = Receipt::nothing(Miss::Failed(Reason::Status(503)));
        assert_eq!(receipt_of_batch(&answer(503, "come back later"), 10), refused);
        assert_eq!(receipt_of_one(&answer(503, "{\"connections\": 1}")), refused);
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets_and_a_default_port_is_left_out() {
        let mut written = Vec::new();
        let url = |text| Url::parse(text).unwrap();
        ControlClient::new(&url("http://[::1]/x"), None).write_one(7, "hi", &mut written);
        assert_eq!(
            written,
            b"POST /x/send/7 HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 2\r\n\r\nhi"
        );
    }
}
