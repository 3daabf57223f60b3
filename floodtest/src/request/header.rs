//! Header fields, read and checked before anything is sent.

use std::fs;
use std::path::Path;

use super::error::RequestError;
use crate::url::shown;

/// Bytes that a file of header fields, or a token, may have. Servers take heads of 8 to 64 KiB.
pub(super) const MAX_HEAD_FILE_BYTES: u64 = 64 * 1024;

/// The flag that header fields are given with.
const FLAG: &str = "--header";

/// A header field.
#[derive(Debug)]
pub(super) struct Header {
    /// Its name.
    pub(super) name: String,
    /// Its value, in which placeholders are not filled in.
    pub(super) value: String,
    /// Where it was written, for messages: the flag, or file and line.
    pub(super) whence: String,
}

impl Header {
    /// Whether its name is `name`, which is in small letters.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether it says who asks, so that another server must not get it.
    pub(super) fn is_secret(&self) -> bool {
        ["authorization", "cookie", "proxy-authorization"].iter().any(|name| self.is(name))
    }
}

/// Reads the values of all `--header` flags.
pub(super) fn read_all(flags: &[String]) -> Result<Vec<Header>, RequestError> {
    let mut headers = Vec::new();
    for flag in flags {
        let Some(path) = flag.strip_prefix('@') else {
            headers.push(parse(flag, FLAG.to_owned())?);
            continue;
        };
        let text = read_file(Path::new(path), MAX_HEAD_FILE_BYTES)?;
        let text =
            String::from_utf8(text).map_err(|_| RequestError::NotText { path: path.to_owned() })?;
        for (line, number) in text.split('\n').zip(1_u64..) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.trim().is_empty() && !line.starts_with('#') {
                headers.push(parse(line, format!("{path}:{number}"))?);
            }
        }
    }
    for name in ["host", "authorization"] {
        if let Some(second) = headers.iter().filter(|header| header.is(name)).nth(1) {
            let Header { name, whence, .. } = second;
            return Err(RequestError::Twice { name: name.clone(), whence: whence.clone() });
        }
    }
    Ok(headers)
}

/// The bytes of a file that has at most `max` of them.
pub(super) fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, RequestError> {
    let name = || path.display().to_string();
    let cannot = |reason: std::io::Error| RequestError::Read { path: name(), reason };
    let metadata = path.metadata().map_err(cannot)?;
    // To open a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(RequestError::NotAFile { path: name() });
    }
    if metadata.len() > max {
        return Err(RequestError::TooLarge { path: name(), max_kib: max / 1024 });
    }
    fs::read(path).map_err(cannot)
}

/// Reads `name: value`.
fn parse(text: &str, whence: String) -> Result<Header, RequestError> {
    let malformed = |whence: String| {
        // What a file holds may be secret; what was typed has been seen.
        let is_typed = whence == FLAG;
        let text =
            if is_typed { format!(": \"{}\"", shown(text.as_bytes())) } else { String::new() };
        RequestError::NoHeader { whence, text }
    };
    let Some((name, value)) = text.split_once(':') else { return Err(malformed(whence)) };
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(malformed(whence));
    }
    // Not trim(), which would take line feeds away before they are seen.
    let value = value.trim_matches([' ', '\t']);
    if !value.bytes().all(is_text) {
        return Err(RequestError::Control { whence, name: name.to_owned() });
    }
    let header = Header { name: name.to_owned(), value: value.to_owned(), whence };
    match refusal(&header) {
        Some(why) => Err(RequestError::Refused { name: header.name, whence: header.whence, why }),
        None => Ok(header),
    }
}

/// Why a field cannot be sent, if it contradicts what floodtest does.
fn refusal(header: &Header) -> Option<&'static str> {
    let is_kept = || ["keep-alive", "close"].iter().any(|it| header.value.eq_ignore_ascii_case(it));
    Some(match header.name.to_ascii_lowercase().as_str() {
        "content-length" => "it is set to the length of --body",
        "transfer-encoding" => "a body is sent with its Content-Length",
        "expect" => "a body is sent without waiting to be asked for it",
        "upgrade" | "http2-settings" => {
            "responses are read as HTTP/1.1; ws:// URLs ask for WebSockets"
        }
        // Some servers (nchan) send chunks only to those who say so, though RFC 9112 (7.4) has it
        // that every client of HTTP/1.1 takes them.
        "sec-websocket-protocol" => "--protocol sets it",
        "sec-websocket-extensions" => "no extensions of WebSockets are understood",
        "sec-websocket-key" | "sec-websocket-version" | "sec-websocket-accept" => {
            "it is set for ws:// URLs"
        }
        "te" if header.value.eq_ignore_ascii_case("chunked") => return None,
        "te" | "trailer" => "no trailers are sent or asked for",
        "connection" if !is_kept() => "its value can be keep-alive or close",
        _ => return None,
    })
}

/// Whether `byte` may be in a field name (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `byte` may be in a field value: no control character but the tab.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
