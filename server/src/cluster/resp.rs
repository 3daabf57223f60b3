//! What is said on a connection to a broker: commands out, replies in. No sockets.

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

/// Appends a command.
pub(super) fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    begin(out, arguments.len());
    for argument in arguments {
        self::argument(out, &[argument]);
    }
}

/// Appends the beginning of a command of `n` arguments.
pub(super) fn begin(out: &mut Vec<u8>, n: usize) {
    out.push(b'*');
    number(out, n);
}

/// Appends an argument, given in pieces.
pub(super) fn argument(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.push(b'$');
    number(out, pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number and the end of its line.
fn number(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(n.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Something that a broker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply<'bytes> {
    /// What was published to a channel.
    Message {
        /// The channel.
        channel: &'bytes [u8],
        /// What was published.
        payload: &'bytes [u8],
    },
    /// A channel is subscribed, and with it so many on this connection.
    Subscribed(&'bytes [u8], u64),
    /// A channel is no longer subscribed; so many still are.
    Unsubscribed(u64),
    /// A number: to `PUBLISH`, how many connections are subscribed.
    Number(u64),
    /// It refuses, and says why.
    Error(&'bytes str),
    /// Anything else: it is well and has nothing to report.
    Fine,
}

/// Reads the first reply in `bytes`, and says how long it is; `None` if it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    let found = decode_range(bytes).map_err(|error| format!("it speaks no RESP: {error}"))?;
    let Some((frame, n_bytes)) = found else { return Ok(None) };
    let text = |(from, to): (usize, usize)| &bytes[from..to];
    let reply = match &frame {
        RangeFrame::Integer(number) => {
            Reply::Number(u64::try_from(*number).map_err(|_| "it counts below zero".to_owned())?)
        }
        RangeFrame::Error(range) => {
            Reply::Error(std::str::from_utf8(text(*range)).unwrap_or("an error that is not UTF-8"))
        }
        RangeFrame::Array(parts) => match &parts[..] {
            [
                RangeFrame::BulkString(kind),
                RangeFrame::BulkString(channel),
                RangeFrame::BulkString(payload),
            ] if text(*kind) == b"message" => {
                Reply::Message { channel: text(*channel), payload: text(*payload) }
            }
            [
                RangeFrame::BulkString(kind),
                RangeFrame::BulkString(channel),
                RangeFrame::Integer(n),
            ] => match (text(*kind), u64::try_from(*n)) {
                (b"subscribe", Ok(n)) => Reply::Subscribed(text(*channel), n),
                (b"unsubscribe", Ok(n)) => Reply::Unsubscribed(n),
                _ => Reply::Fine,
            },
            _ => Reply::Fine,
        },
        _ => Reply::Fine,
    };
    Ok(Some((reply, n_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"AUTH", b"", b"\r\n"]);
        assert_eq!(out, b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
    }

    #[test]
    fn replies_are_read_wherever_they_are_cut() {
        let replies: [(&[u8], Reply<'_>); 7] = [
            (b"+PONG\r\n", Reply::Fine),
            (b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Reply::Fine),
            (b":3\r\n", Reply::Number(3)),
            (b"-ERR no\r\n", Reply::Error("ERR no")),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", Reply::Subscribed(b"c", 1)),
            (b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n", Reply::Unsubscribed(0)),
            (
                b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\na\r\n\0b\r\n",
                Reply::Message { channel: b"c", payload: b"a\r\n\0b" },
            ),
        ];
        for (bytes, reply) in replies {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
            }
            let with_more = [bytes, b":1\r\n"].concat();
            assert_eq!(parse(&with_more), Ok(Some((reply, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        assert!(parse(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(parse(b":-1\r\n").is_err());
    }
}
