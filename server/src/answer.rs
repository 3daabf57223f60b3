//! Answers of the control door: whole, with a status, JSON most of the time. They are written
//! behind one another into memory, without an allocation for each.

use std::io::Write as _;

use serde_json::json;

use crate::framing::SERVER;

/// 200.
pub(crate) const OK: &str = "200 OK";
/// 400.
pub(crate) const BAD_REQUEST: &str = "400 Bad Request";
/// 503.
pub(crate) const UNAVAILABLE: &str = "503 Service Unavailable";

/// The media type of most answers.
const JSON: &str = "application/json";

/// What asks for the body of a request that waits for it.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer depends on besides what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether the connection is kept.
    pub(crate) keeps: bool,
    /// Whether it is to a request of HTTP/1.0, which closes unless both sides say otherwise.
    pub(crate) is_http_1_0: bool,
    /// Whether there is a body; without one its length is given all the same.
    pub(crate) with_body: bool,
}

/// Appends an answer with a body of some type.
pub(crate) fn write(out: &mut Vec<u8>, frame: Frame, status: &str, content_type: &str, body: &str) {
    write_head(out, frame, status, content_type, body.len());
    out.extend_from_slice(b"\r\n");
    if frame.with_body {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Appends a JSON answer.
pub(crate) fn write_json(out: &mut Vec<u8>, frame: Frame, status: &str, body: &str) {
    write(out, frame, status, JSON, body);
}

/// Appends an answer that says why not, in JSON. `allow` names the methods that there are instead.
pub(crate) fn write_refusal(
    out: &mut Vec<u8>,
    frame: Frame,
    status: &str,
    why: &str,
    allow: Option<&str>,
) {
    let body = json!({ "error": why }).to_string();
    write_head(out, frame, status, JSON, body.len());
    if let Some(methods) = allow {
        write!(out, "Allow: {methods}\r\n").expect("memory takes all");
    }
    if status.starts_with("401") {
        out.extend_from_slice(b"WWW-Authenticate: Bearer\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if frame.with_body {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Appends `{"connections": N}`, the answer to nearly everything.
pub(crate) fn write_connections(out: &mut Vec<u8>, frame: Frame, n: u64) {
    const BEFORE: &str = "{\"connections\": ";
    let n_digits = n.checked_ilog10().unwrap_or(0) as usize + 1;
    write_head(out, frame, OK, JSON, BEFORE.len() + n_digits + 1);
    out.extend_from_slice(b"\r\n");
    if frame.with_body {
        write!(out, "{BEFORE}{n}}}").expect("memory takes all");
    }
}

/// Appends status line and fields, up to the blank line.
fn write_head(out: &mut Vec<u8>, frame: Frame, status: &str, content_type: &str, n_bytes: usize) {
    for text in
        ["HTTP/1.1 ", status, "\r\nServer: ", SERVER, "\r\nContent-Type: ", content_type, "\r\n"]
    {
        out.extend_from_slice(text.as_bytes());
    }
    write!(out, "Content-Length: {n_bytes}\r\n").expect("memory takes all");
    let connection: &[u8] = match (frame.keeps, frame.is_http_1_0) {
        (true, false) => b"",
        (true, true) => b"Connection: keep-alive\r\n",
        (false, _) => b"Connection: close\r\n",
    };
    out.extend_from_slice(connection);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Frame = Frame { keeps: true, is_http_1_0: false, with_body: true };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        for n in [0, 9, 10, u64::MAX] {
            let answer = written(|out| write_connections(out, KEPT, n));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, format!("{{\"connections\": {n}}}"));
            assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        }
        let refusal =
            written(|out| write_refusal(out, KEPT, "405 Method Not Allowed", "x", Some("GET")));
        assert!(refusal.ends_with("\r\nContent-Length: 13\r\nAllow: GET\r\n\r\n{\"error\":\"x\"}"));
    }

    #[test]
    fn a_connection_that_is_not_kept_is_told_so() {
        let connection = |keeps, is_http_1_0| {
            let frame = Frame { keeps, is_http_1_0, with_body: false };
            let answer = written(|out| write_connections(out, frame, 1));
            let line = answer.lines().find_map(|line| line.strip_prefix("Connection: "));
            line.map(str::to_owned)
        };
        assert_eq!(connection(true, false), None);
        assert_eq!(connection(true, true).as_deref(), Some("keep-alive"));
        assert_eq!(connection(false, false).as_deref(), Some("close"));
        assert_eq!(connection(false, true).as_deref(), Some("close"));
    }
}
