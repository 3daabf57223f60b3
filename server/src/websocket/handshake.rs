//! How a WebSocket begins (RFC 6455, section 4.2): what a request for one must say, and what it is
//! answered. No sockets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::Header;
use sha1::{Digest as _, Sha1};

use crate::close::CloseReason;
use crate::framing::Style;
use crate::refusal::Refusal;

/// The only version that there is (RFC 6455, 4.1).
const VERSION: &[u8] = b"13";

/// What is hashed behind the client's key, to show that the answer is to this very request.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes in a key.
const KEY_BYTES: usize = 16;

/// The response head that opens a WebSocket for a GET request of HTTP/1.1 with these fields; `None`
/// if they do not ask for one, a refusal if they ask for it wrongly.
///
/// What else may be offered is passed over: extensions, subprotocols and the page that a browser
/// runs (`Origin`), as anybody may follow an id here.
pub(crate) fn answer(fields: &[Header<'_>]) -> Result<Option<String>, Refusal> {
    // Others are an upgrade to something that is not known here, which a server may ignore (RFC
    // 9110, 7.8): curl offers HTTP/2 like that.
    if !has_token(fields, "upgrade", b"websocket") {
        return Ok(None);
    }
    if !has_token(fields, "connection", b"upgrade") {
        return bad(
            "a request for a WebSocket says \"Connection: Upgrade\"; is there a proxy that does \
             not pass it on?",
        );
    }
    // Whatever came behind the head would be taken for frames.
    let has_body = |field: &Header<'_>| {
        let is_length = field.name.eq_ignore_ascii_case("content-length");
        let is_empty = field.value.iter().all(|&byte| byte == b'0');
        field.name.eq_ignore_ascii_case("transfer-encoding") || is_length && !is_empty
    };
    if fields.iter().any(has_body) {
        return bad("a request for a WebSocket has no body");
    }
    if only(fields, "sec-websocket-version")? != Some(VERSION) {
        let sentence = "the only Sec-WebSocket-Version here is 13";
        return Err(Refusal::new(CloseReason::UnknownVersion, sentence));
    }
    let Some(key) = only(fields, "sec-websocket-key")? else {
        return bad("a request for a WebSocket has a Sec-WebSocket-Key");
    };
    if !STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES) {
        return bad("the Sec-WebSocket-Key is not 16 bytes in base64");
    }
    Ok(Some(format!("{}{}\r\n\r\n", Style::WebSocket.head(), accept(key))))
}

/// What shows a client that its request for a WebSocket was understood (4.2.2).
fn accept(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(hash)
}

/// Whether a list that may stand in several fields has a token, in any case.
fn has_token(fields: &[Header<'_>], name: &str, token: &[u8]) -> bool {
    let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let mut tokens = named.flat_map(|field| field.value.split(|&byte| byte == b','));
    tokens.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token))
}

/// The value of a field that no request has twice (RFC 6455, 11.3).
fn only<'value>(fields: &[Header<'value>], name: &str) -> Result<Option<&'value [u8]>, Refusal> {
    let mut named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let value = named.next().map(|field| field.value.trim_ascii());
    if named.next().is_some() {
        return bad("a Sec-WebSocket field is there twice");
    }
    Ok(value)
}

/// A refusal as malformed.
fn bad<T>(sentence: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(CloseReason::BadRequest, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
    const CONNECTION: (&str, &str) = ("Connection", "Upgrade");
    const IS_13: (&str, &str) = ("Sec-WebSocket-Version", "13");
    const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");

    fn answered(fields: &[(&str, &str)]) -> Result<Option<String>, CloseReason> {
        let fields = fields.iter().map(|&(name, value)| Header { name, value: value.as_bytes() });
        let fields: Vec<_> = fields.collect();
        answer(&fields).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn the_answer_is_that_of_the_rfc_to_its_own_example() {
        let head = answered(&[UPGRADE, CONNECTION, KEY, IS_13]).unwrap().unwrap();
        assert_eq!(
            head,
            concat!(
                "HTTP/1.1 101 Switching Protocols\r\nServer: comet-server/",
                env!("CARGO_PKG_VERSION"),
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            )
        );
        // As the oracle has it, for another key.
        let key = "x3JJHMbDL1EzLkh9GBhXDw==";
        let derived = tungstenite::handshake::derive_accept_key(key.as_bytes());
        assert_eq!(accept(key.as_bytes()), derived);
    }

    #[test]
    fn lists_and_cases_are_taken_as_http_has_them() {
        for fields in [
            &[("upgrade", "WebSocket"), ("CONNECTION", "keep-alive, UPGRADE"), KEY, IS_13][..],
            &[("Upgrade", "h2c, websocket"), CONNECTION, KEY, IS_13],
            &[UPGRADE, ("Connection", "keep-alive"), CONNECTION, KEY, IS_13],
            &[UPGRADE, CONNECTION, KEY, IS_13, ("Content-Length", "0")],
            // Offers that are not taken.
            &[
                UPGRADE,
                CONNECTION,
                KEY,
                IS_13,
                ("Origin", "http://elsewhere.example"),
                ("Sec-WebSocket-Protocol", "mqtt"),
                ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
            ],
        ] {
            let head = answered(fields).unwrap().unwrap();
            assert!(!head.contains("Protocol:") && !head.contains("Extensions"), "{head}");
        }
    }

    #[test]
    fn other_upgrades_are_ignored() {
        for fields in [
            &[KEY, IS_13][..],
            &[CONNECTION, KEY, IS_13],
            &[("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings")],
            &[("Upgrade", "websocket/13"), CONNECTION, KEY, IS_13],
            &[("X-Upgrade", "websocket"), CONNECTION, KEY, IS_13],
        ] {
            assert_eq!(answered(fields), Ok(None), "{fields:?}");
        }
    }

    #[test]
    fn what_asks_wrongly_is_refused() {
        let key = |key| ("Sec-WebSocket-Key", key);
        for (fields, reason) in [
            (&[UPGRADE, KEY, IS_13][..], CloseReason::BadRequest),
            (&[UPGRADE, ("Connection", "keep-alive"), KEY, IS_13], CloseReason::BadRequest),
            (&[UPGRADE, ("Connection", "Upgrades"), KEY, IS_13], CloseReason::BadRequest),
            (&[UPGRADE, CONNECTION, KEY], CloseReason::UnknownVersion),
            (
                &[UPGRADE, CONNECTION, KEY, ("Sec-WebSocket-Version", "8")],
                CloseReason::UnknownVersion,
            ),
            (
                &[UPGRADE, CONNECTION, KEY, ("Sec-WebSocket-Version", "13, 8")],
                CloseReason::UnknownVersion,
            ),
            (&[UPGRADE, CONNECTION, KEY, IS_13, IS_13], CloseReason::BadRequest),
            (&[UPGRADE, CONNECTION, IS_13], CloseReason::BadRequest),
            (&[UPGRADE, CONNECTION, IS_13, KEY, KEY], CloseReason::BadRequest),
            (&[UPGRADE, CONNECTION, IS_13, key("")], CloseReason::BadRequest),
            // 13 bytes, 15, 17; no padding; another alphabet; bits behind the last byte.
            (&[UPGRADE, CONNECTION, IS_13, key("SGVsbG8sIHdvcmxkIQ==")], CloseReason::BadRequest),
            (&[UPGRADE, CONNECTION, IS_13, key("AAAAAAAAAAAAAAAAAAAA")], CloseReason::BadRequest),
            (
                &[UPGRADE, CONNECTION, IS_13, key("AAAAAAAAAAAAAAAAAAAAAAA=")],
                CloseReason::BadRequest,
            ),
            (&[UPGRADE, CONNECTION, IS_13, key("dGhlIHNhbXBsZSBub25jZQ")], CloseReason::BadRequest),
            (
                &[UPGRADE, CONNECTION, IS_13, key("_-hlIHNhbXBsZSBub25jZQ==")],
                CloseReason::BadRequest,
            ),
            (
                &[UPGRADE, CONNECTION, IS_13, key("dGhlIHNhbXBsZSBub25jZR==")],
                CloseReason::BadRequest,
            ),
            (&[UPGRADE, CONNECTION, KEY, IS_13, ("Content-Length", "5")], CloseReason::BadRequest),
            (
                &[UPGRADE, CONNECTION, KEY, IS_13, ("Transfer-Encoding", "chunked")],
                CloseReason::BadRequest,
            ),
        ] {
            assert_eq!(answered(fields), Err(reason), "{fields:?}");
        }
    }
}
