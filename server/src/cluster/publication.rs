//! What nodes tell each other: channels, and what is published in them.
//!
//! A publication is the version of this format (`1`), its kind (a letter), the nonce of the node
//! that it comes from (8 bytes), and what the kind has to say. Numbers are little-endian.

use crate::framing::MAX_MESSAGE_BYTES;
use crate::router::Id;

/// Bytes of the longest publication: a message, a request's number before it, and what all have.
pub(super) const MAX_PAYLOAD_BYTES: usize = 2 + 8 + 8 + MAX_MESSAGE_BYTES;

/// The version of the format. A node that reads another one drops the publication and counts it.
const VERSION: u8 = b'1';

/// What the channels of ids and nodes begin with.
const PREFIX: &[u8] = b"comet:";

/// What the channel of a node begins with, behind the prefix.
const NODE: &str = "node:";

/// A number that nobody else drew: it tells the nodes of a cluster apart.
pub(super) type Nonce = u64;

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication<'text> {
    /// `m`, in the channel of an id: a message.
    Message(&'text str),
    /// `a`, in the channel of an id: a message, and a request of this number for the count of the
    /// connections that it reached.
    Asking(u64, &'text str),
    /// `c`, in the channel of the node that asked: its request's number, and the count.
    Count(u64, u64),
    /// `p`: the node is there. In its own channel it finds out whether publications come back; in
    /// that of all nodes it tells the others, who answer with the same in its own.
    Probe,
}

impl Publication<'_> {
    /// Appends the publication of the node `origin`, as an argument of a command.
    pub(super) fn encode(&self, origin: Nonce, out: &mut Vec<u8>) {
        let head = |kind| {
            let mut head = [VERSION, kind, 0, 0, 0, 0, 0, 0, 0, 0];
            head[2..].copy_from_slice(&origin.to_le_bytes());
            head
        };
        match self {
            Self::Message(text) => super::resp::argument(out, &[&head(b'm'), text.as_bytes()]),
            Self::Asking(request, text) => {
                let pieces: [&[u8]; 3] = [&head(b'a'), &request.to_le_bytes(), text.as_bytes()];
                super::resp::argument(out, &pieces);
            }
            Self::Count(request, n) => {
                let pieces: [&[u8]; 3] = [&head(b'c'), &request.to_le_bytes(), &n.to_le_bytes()];
                super::resp::argument(out, &pieces);
            }
            Self::Probe => super::resp::argument(out, &[&head(b'p')]),
        }
    }

    /// Reads a publication and the node that it is from; `None` if no node of this version wrote
    /// it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Nonce, Publication<'_>)> {
        let (&[VERSION, kind], bytes) = bytes.split_first_chunk()? else { return None };
        let (origin, rest) = number(bytes)?;
        let publication = match kind {
            b'm' => Publication::Message(std::str::from_utf8(rest).ok()?),
            b'a' => {
                let (request, text) = number(rest)?;
                Publication::Asking(request, std::str::from_utf8(text).ok()?)
            }
            b'c' => {
                let (request, rest) = number(rest)?;
                let (n_connections, b"") = number(rest)? else { return None };
                Publication::Count(request, n_connections)
            }
            b'p' if rest.is_empty() => Publication::Probe,
            _ => return None,
        };
        Some((origin, publication))
    }

    /// Whether its message is longer than any that a node takes from a sender.
    pub(super) fn is_too_large(&self) -> bool {
        match self {
            Self::Message(text) | Self::Asking(_, text) => text.len() > MAX_MESSAGE_BYTES,
            Self::Count(..) | Self::Probe => false,
        }
    }
}

/// Takes a number off the front.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// The channel of an id.
pub(super) fn channel_of(id: Id) -> String {
    format!("comet:{id}")
}

/// The channel of a node.
pub(super) fn channel_of_node(nonce: Nonce) -> String {
    format!("comet:{NODE}{nonce:016x}")
}

/// The channel that all nodes subscribe.
pub(super) const CHANNEL_OF_ALL: &str = "comet:nodes";

/// The id whose channel it is, if it is an id's.
pub(super) fn id_of(channel: &[u8]) -> Option<Id> {
    let digits = channel.strip_prefix(PREFIX)?;
    // As nodes write it: without a sign, and without a zero before it.
    let (b'1'..=b'9', _) = digits.split_first()? else { return None };
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_come_out_as_they_went_in() {
        for publication in [
            Publication::Message(""),
            Publication::Message("ä\r\n"),
            Publication::Asking(u64::MAX, "text"),
            Publication::Count(1, 2),
            Publication::Probe,
        ] {
            let mut out = Vec::new();
            publication.encode(0x0102_0304_0506_0708, &mut out);
            let length = out.iter().position(|&byte| byte == b'\n').unwrap() + 1;
            let bytes = &out[length..out.len() - 2];
            assert_eq!(Publication::decode(bytes), Some((0x0102_0304_0506_0708, publication)));
        }
    }

    #[test]
    fn what_no_node_wrote_is_nothing() {
        let foreign: [&[u8]; 9] = [
            b"",
            b"hello",
            b"2m12345678text",
            b"1x12345678",
            b"1m1234",
            b"1m12345678\xff",
            b"1c123456781234567812345678.",
            b"1c12345678123456781234567",
            b"1p12345678.",
        ];
        for bytes in foreign {
            assert_eq!(Publication::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_is_too_large_from_the_first_byte_on_that_no_sender_may_send() {
        let text = "x".repeat(MAX_MESSAGE_BYTES + 1);
        for (n, is_too_large) in [(MAX_MESSAGE_BYTES, false), (MAX_MESSAGE_BYTES + 1, true)] {
            assert_eq!(Publication::Message(&text[..n]).is_too_large(), is_too_large);
            assert_eq!(Publication::Asking(1, &text[..n]).is_too_large(), is_too_large);
        }
        let mut longest = Vec::new();
        Publication::Asking(1, &text[1..]).encode(1, &mut longest);
        let head = format!("${MAX_PAYLOAD_BYTES}\r\n");
        assert!(longest.starts_with(head.as_bytes()));
    }

    #[test]
    fn channels_of_ids_are_known_from_those_of_nodes() {
        assert_eq!(id_of(channel_of(7).as_bytes()), Some(7));
        assert_eq!(id_of(channel_of_node(7).as_bytes()), None);
        let foreign = ["other:7", CHANNEL_OF_ALL, "comet:", "comet:+7", "comet:07", "comet:7x"];
        for channel in foreign {
            assert_eq!(id_of(channel.as_bytes()), None, "{channel}");
        }
    }
}
