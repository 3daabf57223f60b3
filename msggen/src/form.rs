//! What goes to servers other than comet-server, and what their answers are asked.

use bytes::Bytes;
use regex::bytes::Regex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};

use crate::receipt::{HIGHEST_CONNECTIONS, Miss, Reason, Receipt};
use crate::template::{Filling, Template};

/// What the body of an answer is asked.
#[derive(Debug, Clone, Default)]
pub struct Wants {
    /// What it must match to be an answer.
    pub ok: Option<Regex>,
    /// Where it says how many connections the message reached: in the one group.
    pub reached: Option<Regex>,
}

impl Wants {
    /// Whether the body of a 2xx is looked at.
    pub(crate) fn is_any(&self) -> bool {
        self.ok.is_some() || self.reached.is_some()
    }

    /// What a complete 2xx with this body, or an answer of a WebSocket, says of its message.
    pub(crate) fn receipt(&self, body: &[u8]) -> Receipt {
        if self.ok.as_ref().is_some_and(|ok| !ok.is_match(body)) {
            return Receipt::nothing(Miss::Failed(Reason::NotOk));
        }
        let number = self.reached.as_ref().and_then(|reached| {
            let digits = reached.captures(body)?.get(1)?.as_bytes();
            std::str::from_utf8(digits).ok()?.parse().ok()
        });
        // More than any server has is no number of connections.
        Receipt::taken(number.filter(|number| *number <= HIGHEST_CONNECTIONS))
    }
}

/// What goes over WebSockets, and what comes back.
#[derive(Debug, Clone)]
pub struct SocketForm {
    /// The subprotocols that are offered.
    pub protocols: Vec<String>,
    /// Further header fields of the handshake.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// What is sent first, in order.
    pub on_open: Vec<Bytes>,
    /// Whether binary frames are sent, not text frames.
    pub is_binary: bool,
    /// What is sent back to what begins so.
    pub answers: Vec<(Bytes, Bytes)>,
    /// What is sent for a message.
    pub body: Template,
    /// Which messages of the server are answers; none where it gives none.
    pub ack: Option<Regex>,
    /// What an answer is asked.
    pub wants: Wants,
}

/// What requests to a server that is no comet-server look like; checked, so that every message
/// makes one.
#[derive(Debug, Clone)]
pub struct Form {
    /// The method.
    pub method: Method,
    /// Header fields.
    pub fields: Vec<(HeaderName, Template)>,
    /// The body.
    pub body: Template,
    /// What the body of an answer is asked.
    pub wants: Wants,
}

impl Form {
    /// The request with its blanks filled in. Panics where a request that was checked would not.
    pub(crate) fn request(&self, url: &Template, filling: Filling<'_>) -> Request {
        let checked = "a request like it was checked";
        self.try_request(url, filling).expect(checked)
    }

    /// The request with its blanks filled in, or why it is none.
    pub fn try_request(&self, url: &Template, filling: Filling<'_>) -> Result<Request, String> {
        let url = url.filled(filling);
        let url = Url::parse(&url).map_err(|error| format!("not a URL: \"{url}\": {error}"))?;
        let mut fields = HeaderMap::new();
        for (name, value) in &self.fields {
            let value = HeaderValue::from_str(&value.filled(filling));
            let why = |_| format!("--header {name}: a header cannot carry this value");
            fields.append(name.clone(), value.map_err(why)?);
        }
        let mut request = Request::new(self.method.clone(), url);
        *request.headers_mut() = fields;
        let body = self.body.filled(filling);
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }
}
