//! What is asked of a WebSocket: its opening handshake, and what is said on it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use super::args::SocketArgs;
use super::error::{LineError, RequestError};
use super::header::{is_token, read_file};
use super::template::{Filling, Template};
use crate::decode::{Upgrade, UpgradeFault};
use crate::outbox::{Outbox, mix, random_seed};

/// Bytes that a text of `--on-open` or `--answer` may have: the limit of a body.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;

/// Bytes that the beginning of a message may have by which `--answer` knows it. Of a message that
/// has not come whole as many are kept.
const MAX_PREFIX_BYTES: usize = 1024;

/// What a server appends to the key before it hashes it (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What is asked of WebSockets, and said on them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sockets {
    /// The subprotocols, the first the best.
    protocols: Vec<String>,
    /// What is sent when one has opened, in order.
    on_open: Vec<Template>,
    /// What some messages are answered with.
    answers: Vec<Answer>,
    /// Whether binary frames are sent.
    is_binary: bool,
    /// How many bytes of a message say whether it is answered.
    n_to_answer: usize,
    /// What keys are made from.
    seed: u64,
}

/// What messages are answered with that begin with something.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// What they begin with.
    prefix: Vec<u8>,
    /// What they are answered with.
    text: Template,
}

/// One handshake, of which there is one for each connection and each redirect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handshake {
    /// The connection's number in the run.
    pub(crate) place: u64,
    /// How many redirects have led there.
    pub(crate) n_redirects: u8,
    /// Which try of its place it is.
    pub(crate) attempt: u32,
}

impl Sockets {
    /// What the flags ask for.
    pub(super) fn new(args: &SocketArgs) -> Result<Self, RequestError> {
        let mut protocols: Vec<String> = Vec::new();
        for protocol in &args.protocols {
            if protocol.is_empty() || !protocol.bytes().all(is_token) {
                return Err(RequestError::Protocol(protocol.clone()));
            }
            if protocols.contains(protocol) {
                return Err(RequestError::ProtocolTwice(protocol.clone()));
            }
            protocols.push(protocol.clone());
        }
        let text_of = |flag: &'static str, bytes: Vec<u8>| {
            if !args.binary && str::from_utf8(&bytes).is_err() {
                return Err(RequestError::NotTextFrame { flag });
            }
            if bytes.len() as u64 > MAX_TEXT_BYTES {
                return Err(RequestError::TextTooLong { flag });
            }
            Ok(bytes)
        };
        let mut on_open = Vec::new();
        for text in &args.on_open {
            let bytes = match text.strip_prefix('@') {
                Some(path) => read_file(Path::new(path), MAX_TEXT_BYTES)?,
                None => unescaped("--on-open", text)?,
            };
            on_open.push(Template::new(text_of("--on-open", bytes)?));
        }
        let mut answers = Vec::new();
        for text in &args.answers {
            const FLAG: &str = "--answer";
            let none = || RequestError::NoAnswer(text.clone());
            let (prefix, text) = text.split_once("=>").ok_or_else(none)?;
            let prefix = unescaped(FLAG, prefix)?;
            if prefix.is_empty() {
                return Err(none());
            }
            if prefix.len() > MAX_PREFIX_BYTES {
                return Err(RequestError::PrefixTooLong);
            }
            let text = Template::new(text_of(FLAG, unescaped(FLAG, text)?)?);
            answers.push(Answer { prefix, text });
        }
        let n_to_answer = answers.iter().map(|answer| answer.prefix.len()).max().unwrap_or(0);
        let is_binary = args.binary;
        Ok(Self { protocols, on_open, answers, is_binary, n_to_answer, seed: random_seed() })
    }

    /// Whether there is something to ask of WebSockets, or to say on them.
    pub(crate) fn is_asked_for(&self) -> bool {
        !(self.protocols.is_empty() && self.on_open.is_empty() && self.answers.is_empty())
            || self.is_binary
    }

    /// Whether a line has what is said on its connection.
    pub(super) fn check(&self, filling: Filling<'_>, max_bytes: usize) -> Result<(), LineError> {
        let on_open = self.on_open.iter().map(|text| ("--on-open", text));
        let answers = self.answers.iter().map(|answer| ("--answer", &answer.text));
        for (used_by, text) in on_open.chain(answers) {
            for number in text.fields() {
                let no_field = LineError::NoField { number, used_by };
                let field = filling.field(number).ok_or(no_field)?;
                if !self.is_binary && str::from_utf8(field).is_err() {
                    return Err(LineError::NotText { number });
                }
            }
            if text.len(filling) > max_bytes {
                return Err(LineError::TextTooLong { used_by });
            }
        }
        Ok(())
    }

    /// Whether what is said on one needs the fields of its line.
    pub(crate) fn needs_fields(&self) -> bool {
        self.answers_need_fields() || self.on_open.iter().any(Template::has_fields)
    }

    /// Whether its fields are needed for as long as it is open.
    pub(crate) fn answers_need_fields(&self) -> bool {
        self.answers.iter().any(|answer| answer.text.has_fields())
    }

    /// Appends the fields of a request that ask for a WebSocket.
    pub(super) fn write(&self, handshake: Handshake, request: &mut Vec<u8>) {
        let key = self.key(handshake);
        let mut fields = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n"
        );
        if !self.protocols.is_empty() {
            let protocols = self.protocols.join(", ");
            fields.extend(["Sec-WebSocket-Protocol: ", &protocols, "\r\n"]);
        }
        request.extend_from_slice(fields.as_bytes());
    }

    /// Whether a response of status 101 opens the WebSocket that was asked for.
    pub(crate) fn opens(
        &self,
        handshake: Handshake,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), UpgradeFault> {
        let upgrade = upgrade.ok_or(UpgradeFault::Upgrade)?;
        let is_asked_for =
            |protocol: &[u8]| self.protocols.iter().any(|asked| asked.as_bytes() == protocol);
        let accept = upgrade.accept.as_deref();
        Err(match upgrade {
            Upgrade { is_http_1_1: false, .. } => UpgradeFault::Version,
            Upgrade { is_websocket: false, .. } => UpgradeFault::Upgrade,
            Upgrade { is_connection: false, .. } => UpgradeFault::Connection,
            Upgrade { has_twice: true, .. } => UpgradeFault::Twice,
            Upgrade { has_extensions: true, .. } => UpgradeFault::Extension,
            Upgrade { protocol: Some(protocol), .. } if !is_asked_for(protocol) => {
                UpgradeFault::Protocol
            }
            Upgrade { protocol: None, .. } if !self.protocols.is_empty() => {
                UpgradeFault::NoProtocol
            }
            _ if accept.is_none() => UpgradeFault::NoAccept,
            _ if accept != Some(self.accept(handshake).as_bytes()) => UpgradeFault::WrongAccept,
            _ => return Ok(()),
        })
    }

    /// The key of a handshake: 16 bytes that are others for each, and are not kept anywhere.
    fn key(&self, handshake: Handshake) -> String {
        let Handshake { place, n_redirects, attempt } = handshake;
        let which = u64::from(attempt) << 8 | u64::from(n_redirects);
        let first = mix(mix(self.seed ^ place).wrapping_add(which));
        let second = mix(first ^ self.seed);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&first.to_le_bytes());
        key[8..].copy_from_slice(&second.to_le_bytes());
        BASE64.encode(key)
    }

    /// What the server must answer to the key of a handshake.
    fn accept(&self, handshake: Handshake) -> String {
        accept(&self.key(handshake))
    }

    /// Writes what is sent when a WebSocket has opened.
    pub(crate) fn say_on_open(&self, filling: Filling<'_>, outbox: &mut Outbox) {
        for text in &self.on_open {
            self.say(text, filling, outbox);
        }
    }

    /// Writes one text.
    fn say(&self, text: &Template, filling: Filling<'_>, outbox: &mut Outbox) {
        let mut filled = Vec::new();
        text.write(filling, &mut filled);
        outbox.message(self.is_binary, &filled);
    }

    /// How many bytes of a message say whether it is answered.
    pub(crate) fn n_to_answer(&self) -> usize {
        self.n_to_answer
    }

    /// Writes the answer to a message that begins with these bytes, if it has one: that of the
    /// first flag that fits.
    pub(crate) fn answer(&self, start: &[u8], filling: Filling<'_>, outbox: &mut Outbox) {
        if let Some(answer) = self.answers.iter().find(|it| start.starts_with(&it.prefix)) {
            self.say(&answer.text, filling, outbox);
        }
    }
}

/// What a server answers to a key.
fn accept(key: &str) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize())
}

/// `text` with its escapes `\r`, `\n`, `\t`, `\\` and `\xHH` replaced by what they mean.
fn unescaped(flag: &'static str, text: &str) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let hex = |escape: &str| u8::from_str_radix(escape.get(1..3)?, 16).ok();
        let (byte, length) = match escape.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') if escape.as_bytes().get(1) != Some(&b'+') && hex(escape).is_some() => {
                (hex(escape).unwrap_or_default(), 3)
            }
            _ => {
                let shown = escape.chars().take(3).collect();
                return Err(RequestError::Escape { flag, escape: shown });
            }
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What flags ask for that have these values.
    fn sockets(protocols: &[&str], on_open: &[&str], answers: &[&str]) -> SocketArgs {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        SocketArgs {
            protocols: owned(protocols),
            on_open: owned(on_open),
            answers: owned(answers),
            binary: false,
        }
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_handshake_has_a_key_of_16_bytes_of_its_own() {
        let sockets = Sockets::new(&SocketArgs::default()).unwrap();
        let key = |place, n_redirects| sockets.key(Handshake { place, n_redirects, attempt: 0 });
        let mut keys: Vec<_> = (0..100).flat_map(|place| [key(place, 0), key(place, 1)]).collect();
        assert!(keys.iter().all(|key| BASE64.decode(key).unwrap().len() == 16));
        assert_eq!(keys[0], key(0, 0), "it is known again when the response comes");
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 200);
        assert_ne!(Sockets::new(&SocketArgs::default()).unwrap().key(FIRST), key(0, 0));
    }

    /// The first handshake of a run.
    const FIRST: Handshake = Handshake { place: 0, n_redirects: 0, attempt: 0 };

    #[test]
    fn a_response_opens_a_websocket_or_says_why_not() {
        let sockets = Sockets::new(&sockets(&["chat", "mqtt"], &[], &[])).unwrap();
        let good = Upgrade {
            is_http_1_1: true,
            is_websocket: true,
            is_connection: true,
            accept: Some(sockets.accept(FIRST).into_bytes().into()),
            protocol: Some(Box::from(&b"mqtt"[..])),
            has_extensions: false,
            has_twice: false,
        };
        let text = |text: &str| Some(Box::from(text.as_bytes()));
        let of = |upgrade: &Upgrade| sockets.opens(FIRST, Some(upgrade));
        assert_eq!(of(&good), Ok(()));
        let lower = String::from_utf8(good.accept.clone().unwrap().into()).unwrap();
        for (bad, fault) in [
            (Upgrade { is_http_1_1: false, ..good.clone() }, UpgradeFault::Version),
            (Upgrade { is_websocket: false, ..good.clone() }, UpgradeFault::Upgrade),
            (Upgrade { is_connection: false, ..good.clone() }, UpgradeFault::Connection),
            (Upgrade { accept: None, ..good.clone() }, UpgradeFault::NoAccept),
            (
                Upgrade { accept: text(&lower.to_lowercase()), ..good.clone() },
                UpgradeFault::WrongAccept,
            ),
            (Upgrade { protocol: text("chat, mqtt"), ..good.clone() }, UpgradeFault::Protocol),
            (Upgrade { protocol: text("Chat"), ..good.clone() }, UpgradeFault::Protocol),
            (Upgrade { protocol: None, ..good.clone() }, UpgradeFault::NoProtocol),
            (Upgrade { has_extensions: true, ..good.clone() }, UpgradeFault::Extension),
            (Upgrade { has_twice: true, ..good.clone() }, UpgradeFault::Twice),
        ] {
            assert_eq!(of(&bad), Err(fault));
        }
        assert_eq!(sockets.opens(FIRST, None), Err(UpgradeFault::Upgrade));
        let other = Handshake { place: 1, ..FIRST };
        assert_eq!(sockets.opens(other, Some(&good)), Err(UpgradeFault::WrongAccept));
    }

    #[test]
    fn escapes_are_what_they_mean() {
        for (text, expected) in [
            ("", &b""[..]),
            (r"CONNECT {}\r\nSUB x 1\r\n", b"CONNECT {}\r\nSUB x 1\r\n"),
            (r"\\r\t\x00\xfF\x40é", b"\\r\t\0\xff@\xc3\xa9"),
        ] {
            assert_eq!(unescaped("--on-open", text).unwrap(), expected, "{text}");
        }
        for text in [r"\", r"\q", r"\x", r"\x1", r"\xg0", r"\x+1", "\\é", "\\xé"] {
            let error = unescaped("--on-open", text).unwrap_err().to_string();
            assert!(error.starts_with("--on-open: unknown escape \"\\"), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_said_says_why() {
        let binary = |args| SocketArgs { binary: true, ..args };
        for (args, words) in [
            (sockets(&["a b"], &[], &[]), "--protocol \"a b\" is no name"),
            (sockets(&[""], &[], &[]), "--protocol \"\" is no name"),
            (sockets(&["a", "a"], &[], &[]), "--protocol a is given twice"),
            (sockets(&[], &[r"\xff"], &[]), "--on-open is not UTF-8"),
            (sockets(&[], &["@/no/such/file"], &[]), "cannot read /no/such/file"),
            (sockets(&[], &["@/dev/null"], &[]), "not a regular file"),
            (sockets(&[], &[], &["ping"]), "write 'PREFIX=>TEXT'"),
            (sockets(&[], &[], &["=>x"]), "write 'PREFIX=>TEXT'"),
            (sockets(&[], &[], &[r"2=>\xff"]), "--answer is not UTF-8"),
            (sockets(&[], &[], &[&format!("{}=>x", "x".repeat(1_025))]), "longer than 1 KiB"),
        ] {
            let error = Sockets::new(&args).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(Sockets::new(&binary(sockets(&[], &[r"\xff"], &[r"\xff=>\xff"]))).is_ok());
    }

    #[test]
    fn fields_of_a_line_are_filled_in() {
        let args = sockets(&[], &["{1} of {place}"], &[]);
        let texts = Sockets::new(&args).unwrap();
        assert!(texts.needs_fields() && !texts.answers_need_fields());
        let check = |line: &[u8]| texts.check(Filling::of_line(line, 7).1, 20);
        assert_eq!(check(b"ws://a/\tone"), Ok(()));
        assert_eq!(check(b"ws://a/"), Err(LineError::NoField { number: 1, used_by: "--on-open" }));
        assert_eq!(check(b"ws://a/\t\xff"), Err(LineError::NotText { number: 1 }));
        let too_long = |used_by| Err(LineError::TextTooLong { used_by });
        assert_eq!(check(b"ws://a/\tmuch longer than that"), too_long("--on-open"));

        let texts = Sockets::new(&sockets(&[], &[], &["2=>{2}{1}{place}"])).unwrap();
        assert!(texts.needs_fields() && texts.answers_need_fields());
        let check = |line: &[u8]| texts.check(Filling::of_line(line, 7).1, 20);
        assert_eq!(check(b"ws://a/\t\t"), Ok(()));
        let no_field = LineError::NoField { number: 2, used_by: "--answer" };
        assert_eq!(check(b"ws://a/\tone"), Err(no_field));
        assert_eq!(check(b"ws://a/\tmuch longer than\tthat"), too_long("--answer"));
    }
}
