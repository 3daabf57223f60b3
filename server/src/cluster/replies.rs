//! What a broker says, read from its bytes. No sockets.
//!
//! A broker, or whoever sits on the path to it, may send anything. A node asks for few things, and
//! so it knows every shape that an answer can have: a line, a number, and arrays of two or three
//! strings and numbers. Whatever has another shape is an error, found before anything is allocated
//! for it, and nothing is read by recursion. The one thing that may be long is what somebody
//! published; when it is longer than any message, it is skipped as it comes in.

use std::fmt::Write as _;

use bytes::{Buf as _, BytesMut};

use super::publication::MAX_PAYLOAD_BYTES;

/// Bytes of a line: the longest are errors, which repeat a part of the command that they are about.
const MAX_LINE_BYTES: usize = 4 * 1024;

/// Bytes of a string that is no payload: the name of a channel or of a kind of push. Ours have at
/// most 27.
const MAX_WORD_BYTES: usize = 512;

/// Bytes of a payload that are skipped: the longest string that Redis and Valkey take by themselves
/// (`proto-max-bulk-len`). A longer one cannot be.
const MAX_SKIPPED_BYTES: usize = 512 * 1024 * 1024;

/// The highest count that is believed, of subscribers or of channels: more than any broker can have
/// connections, and so low that sums of them stay far from what a `u64` holds.
const MAX_COUNT: u64 = u32::MAX as u64;

/// Characters of an error that are repeated in logs and answers.
const MAX_SAID_CHARS: usize = 256;

/// Bytes that are kept at most while a reply is incomplete.
#[cfg(any(test, fuzzing))]
const MAX_KEPT_BYTES: usize = 2 * MAX_WORD_BYTES + MAX_PAYLOAD_BYTES + MAX_LINE_BYTES;

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
    /// Something of this many bytes was published, which is longer than any message, and is not
    /// kept.
    TooLarge(usize),
    /// A channel is subscribed, and with it so many on this connection.
    Subscribed(&'bytes [u8], u64),
    /// A channel is no longer subscribed; so many still are.
    Unsubscribed(u64),
    /// To `PUBSUB NUMSUB` of one channel: how many connections subscribe that very channel.
    Followers(u64),
    /// A number: to `PUBLISH`, how many connections are subscribed.
    Number(u64),
    /// It refuses, and says why.
    Error(&'bytes [u8]),
    /// It is well, and has nothing to report.
    Fine,
}

/// The replies on one connection, as their bytes come in.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// What was read and not parsed.
    bytes: BytesMut,
    /// How many of these bytes are the reply that was returned last.
    n_seen: usize,
    /// Bytes of a payload that are still to be skipped.
    n_to_skip: usize,
    /// Whether the end of a line must follow them.
    is_skipping: bool,
}

impl Replies {
    /// Where bytes that come in are appended.
    pub(super) fn incoming(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Whether the next bytes belong to something that is skipped.
    pub(super) fn is_skipping(&self) -> bool {
        self.is_skipping
    }

    /// The next reply that was read whole, or what is wrong with it.
    pub(super) fn next(&mut self) -> Result<Option<Reply<'_>>, String> {
        self.bytes.advance(std::mem::take(&mut self.n_seen));
        if self.is_skipping && !self.skip()? {
            return Ok(None);
        }
        match parse(&self.bytes) {
            Ok((reply, n_bytes)) => {
                if let Reply::TooLarge(n_payload) = reply {
                    (self.n_to_skip, self.is_skipping) = (n_payload, true);
                }
                self.n_seen = n_bytes;
                Ok(Some(reply))
            }
            Err(Stop::Incomplete) => Ok(None),
            Err(Stop::Nonsense(why)) => Err(format!("it speaks no RESP2: {why}")),
        }
    }

    /// Skips what is there of a payload that is too large; whether that was all.
    fn skip(&mut self) -> Result<bool, String> {
        let n_bytes = self.n_to_skip.min(self.bytes.len());
        self.bytes.advance(n_bytes);
        self.n_to_skip -= n_bytes;
        if self.n_to_skip > 0 || self.bytes.len() < LINE_END.len() {
            return Ok(false);
        }
        if !self.bytes.starts_with(LINE_END) {
            return Err(format!("it speaks no RESP2: {NO_LINE_END}"));
        }
        self.bytes.advance(LINE_END.len());
        self.is_skipping = false;
        Ok(true)
    }
}

/// What a port for TLS says to whoever does not speak it begins with this byte.
const TLS_ALERT: u8 = 0x15;

/// What ends every line, and every string.
const LINE_END: &[u8] = b"\r\n";

/// What is wrong with a string that goes on behind its end.
const NO_LINE_END: &str = "a string that is longer than it says";

/// What is wrong with a line that goes on and on.
const NO_END: Stop = Stop::Nonsense("a line without end");

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// Not all of it is there.
    Incomplete,
    /// It is none.
    Nonsense(&'static str),
}

/// Reads the first reply in `bytes`, and says how long it is; of one that is too large, how long it
/// is up to the payload.
fn parse(bytes: &[u8]) -> Result<(Reply<'_>, usize), Stop> {
    let mut scan = Scan { bytes, n_read: 0 };
    let reply = match scan.byte()? {
        b'+' => {
            scan.line()?;
            Reply::Fine
        }
        b'-' => Reply::Error(scan.line()?),
        b':' => Reply::Number(scan.count()?),
        b'*' => match scan.line()? {
            b"2" => scan.pair()?,
            b"3" => scan.push()?,
            _ => return Err(Stop::Nonsense("an array of another length than 2 or 3")),
        },
        b'$' => return Err(Stop::Nonsense("a string that nobody asked for")),
        TLS_ALERT => return Err(Stop::Nonsense("an alert of TLS; write rediss:// in --cluster")),
        _ => return Err(Stop::Nonsense("a reply of an unknown type")),
    };
    Ok((reply, scan.n_read))
}

/// Reads a reply from its beginning on.
struct Scan<'bytes> {
    /// All that is there.
    bytes: &'bytes [u8],
    /// How much of it was read.
    n_read: usize,
}

impl<'bytes> Scan<'bytes> {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.n_read).ok_or(Stop::Incomplete)?;
        self.n_read += 1;
        Ok(byte)
    }

    /// The rest of a line, without its end.
    fn line(&mut self) -> Result<&'bytes [u8], Stop> {
        let rest = &self.bytes[self.n_read..];
        // Its end is looked for no further than it may be, so that what is wrong with a line does
        // not depend on how much of it has come.
        let head = &rest[..rest.len().min(MAX_LINE_BYTES + 1)];
        let Some(end) = memchr::memchr2(b'\r', b'\n', head) else {
            let is_endless = head.len() > MAX_LINE_BYTES;
            return Err(if is_endless { NO_END } else { Stop::Incomplete });
        };
        match (rest[end], rest.get(end + 1)) {
            (b'\r', Some(b'\n')) => {
                self.n_read += end + LINE_END.len();
                Ok(&rest[..end])
            }
            (b'\r', None) => Err(Stop::Incomplete),
            _ => Err(Stop::Nonsense("a line with a lone CR or LF")),
        }
    }

    /// The rest of a line that is a count.
    fn count(&mut self) -> Result<u64, Stop> {
        let count = digits(self.line()?).ok_or(Stop::Nonsense("a count that is no number"))?;
        if count > MAX_COUNT {
            return Err(Stop::Nonsense("a count that nothing can have"));
        }
        Ok(count)
    }

    /// The length of the string whose first byte is next.
    fn length(&mut self, max: usize) -> Result<usize, Stop> {
        if self.byte()? != b'$' {
            return Err(Stop::Nonsense("something else where a string belongs"));
        }
        let length = digits(self.line()?).ok_or(Stop::Nonsense("a string without a length"))?;
        let length = usize::try_from(length).ok().filter(|&length| length <= max);
        length.ok_or(Stop::Nonsense("a string that is too long"))
    }

    /// As many bytes as a string says that it has.
    fn bytes(&mut self, length: usize) -> Result<&'bytes [u8], Stop> {
        let rest = &self.bytes[self.n_read..];
        let (Some(bytes), Some(end)) = (rest.get(..length), rest.get(length..length + 2)) else {
            return Err(Stop::Incomplete);
        };
        if end != LINE_END {
            return Err(Stop::Nonsense(NO_LINE_END));
        }
        self.n_read += length + LINE_END.len();
        Ok(bytes)
    }

    /// A short string.
    fn word(&mut self) -> Result<&'bytes [u8], Stop> {
        let length = self.length(MAX_WORD_BYTES)?;
        self.bytes(length)
    }

    /// A number in an array.
    fn number(&mut self) -> Result<u64, Stop> {
        if self.byte()? != b':' {
            return Err(Stop::Nonsense("something else where a count belongs"));
        }
        self.count()
    }

    /// Two things: the answer to a `PING` among subscriptions, or to `PUBSUB NUMSUB`.
    fn pair(&mut self) -> Result<Reply<'bytes>, Stop> {
        let word = self.word()?;
        match self.bytes.get(self.n_read) {
            None => Err(Stop::Incomplete),
            Some(b'$') if word == b"pong" => {
                self.word()?;
                Ok(Reply::Fine)
            }
            Some(_) => Ok(Reply::Followers(self.number()?)),
        }
    }

    /// Three things: what comes on a connection with subscriptions.
    fn push(&mut self) -> Result<Reply<'bytes>, Stop> {
        let kind = self.word()?;
        if !matches!(kind, b"message" | b"subscribe" | b"unsubscribe") {
            return Err(Stop::Nonsense("an array that nobody asked for"));
        }
        let channel = self.word()?;
        Ok(match kind {
            b"subscribe" => Reply::Subscribed(channel, self.number()?),
            b"unsubscribe" => Reply::Unsubscribed(self.number()?),
            _ => {
                let length = self.length(MAX_SKIPPED_BYTES)?;
                if length > MAX_PAYLOAD_BYTES {
                    return Ok(Reply::TooLarge(length));
                }
                Reply::Message { channel, payload: self.bytes(length)? }
            }
        })
    }
}

/// The number that these digits are, if they are digits and it is not too large to be one.
fn digits(bytes: &[u8]) -> Option<u64> {
    // `parse` would take a sign.
    let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(bytes).ok()?.parse().ok() } else { None }
}

/// What a broker said, made fit for logs and answers: one short line, without control characters.
pub(super) fn said(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, char) in String::from_utf8_lossy(bytes).chars().enumerate() {
        if number == MAX_SAID_CHARS {
            text.push('…');
            break;
        }
        if char.is_control() {
            write!(text, "{}", char.escape_default()).expect("a string takes all");
        } else {
            text.push(char);
        }
    }
    text
}

/// The replies in bytes that come in these pieces, and the error that ended them. Checks as well
/// that no more is kept of an incomplete reply than may be.
#[cfg(any(test, fuzzing))]
pub(crate) fn replies_in(pieces: &[&[u8]]) -> (Vec<String>, Option<String>) {
    let (mut replies, mut all) = (Replies::default(), Vec::new());
    for piece in pieces {
        replies.incoming().extend_from_slice(piece);
        loop {
            match replies.next() {
                Ok(Some(reply)) => all.push(format!("{reply:?}")),
                Ok(None) => break,
                Err(why) => return (all, Some(why)),
            }
        }
        assert!(replies.bytes.len() <= MAX_KEPT_BYTES, "it would grow: {}", replies.bytes.len());
    }
    (all, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_wherever_they_are_cut() {
        let replies: [(&[u8], Reply<'_>); 9] = [
            (b"+PONG\r\n", Reply::Fine),
            (b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Reply::Fine),
            (b":3\r\n", Reply::Number(3)),
            (b":4294967295\r\n", Reply::Number(MAX_COUNT)),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", Reply::Subscribed(b"c", 1)),
            (b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n", Reply::Unsubscribed(0)),
            (b"*2\r\n$4\r\npong\r\n:2\r\n", Reply::Followers(2)),
            (
                b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\na\r\n\0b\r\n",
                Reply::Message { channel: b"c", payload: b"a\r\n\0b" },
            ),
        ];
        for (bytes, reply) in replies {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Err(Stop::Incomplete), "{end} of {bytes:?}");
            }
            let with_more = [bytes, b":1\r\n"].concat();
            assert_eq!(parse(&with_more), Ok((reply, bytes.len())));
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for (bytes, part) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "unknown type"),
            (b"\x15\x03\x01\x00\x02\x02\x28", "write rediss://"),
            (b":-1\r\n", "no number"),
            (b":+1\r\n", "no number"),
            (b":\r\n", "no number"),
            (b":4294967296\r\n", "nothing can have"),
            (b":18446744073709551616\r\n", "no number"),
            (b"*-1\r\n", "another length"),
            (b"*4\r\n", "another length"),
            (b"*2147483648\r\n", "another length"),
            (b"*3\r\n*3\r\n", "where a string belongs"),
            (b"*3\r\n$9223372036854775807\r\n", "too long"),
            (b"*3\r\n$-1\r\n", "without a length"),
            (b"*3\r\n$1\r\nabc", "longer than it says"),
            (b"*3\r\n$8\r\npmessage\r\n", "nobody asked for"),
            (b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n", "where a string belongs"),
            (b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$536870913\r\n", "too long"),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\n1\r\n", "where a count belongs"),
            (b"$-1\r\n", "nobody asked for"),
            (b"+a\nb\r\n", "lone CR or LF"),
            (b"+a\rb\r\n", "lone CR or LF"),
        ] {
            let (replies, error) = replies_in(&[bytes]);
            let error = error.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(bytes)));
            assert!(replies.is_empty() && error.contains(part), "{error}: {part}");
        }
        let endless = [b"-".as_slice(), &[b'x'; MAX_LINE_BYTES + 1]].concat();
        assert!(replies_in(&[&endless]).1.unwrap().contains("without end"));
        assert_eq!(replies_in(&[&endless[..=MAX_LINE_BYTES], b"\r\n"]).1, None, "the longest");
    }

    #[test]
    fn what_is_too_large_is_skipped_and_what_follows_it_is_read() {
        let publication = |n: usize| {
            let head = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${n}\r\n");
            [head.as_bytes(), &vec![b'*'; n], b"\r\n"].concat()
        };
        let largest = replies_in(&[&publication(MAX_PAYLOAD_BYTES)]);
        assert!(largest.0[0].starts_with("Message") && largest.1.is_none());
        let n = MAX_PAYLOAD_BYTES + 1;
        let bytes = [&publication(n)[..], b":5\r\n"].concat();
        let expected = (vec![format!("TooLarge({n})"), "Number(5)".to_owned()], None);
        for cut in (0..100).chain(bytes.len() - 10..bytes.len()) {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(replies_in(&[before, after]), expected, "cut at {cut}");
        }
        let mut longer = publication(n);
        let end = longer.len() - 2;
        longer[end] = b'*';
        assert!(replies_in(&[&longer]).1.unwrap().contains("longer than it says"));
    }

    #[test]
    fn what_a_broker_said_is_one_short_line() {
        assert_eq!(said(b"ERR \x1b[2J\r\n\xff"), "ERR \\u{1b}[2J\\r\\n\u{fffd}");
        assert_eq!(said(&[b'x'; 1_000]).chars().count(), MAX_SAID_CHARS + 1);
    }
}
