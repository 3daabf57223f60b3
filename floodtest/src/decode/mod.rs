//! A strict decoder of HTTP responses and WebSockets: bytes in, the bytes of the body out.
//!
//! It shares no code with the server it judges, and knows no socket. Chunks are counted by their
//! framing, never by reads: a chunk is one chunk whether it arrives byte by byte or together with
//! fifty others. What does not follow RFC 9112 or RFC 6455 to the letter is an error of that
//! connection.
//!
//! An idle response costs its 12 bytes here. The body is shown in place, in as many pieces as it
//! came in.

pub(crate) mod body;
pub(crate) mod error;
mod extension;
mod frames;
pub(crate) mod head;
mod refusal;
pub(crate) mod sink;
mod utf8;

pub use body::Framer;
pub use error::{ChunkFault, DecodeError, FrameFault, HeadFault, UpgradeFault};
pub use head::{
    Content, Framing, Head, MAX_HEAD_BYTES, MAX_HEAD_LINES, MediaType, PartialHead, Upgrade,
};
pub use refusal::Refusal;
pub use sink::{Progress, Sink};

/// What is kept of a response until its head is complete, of one that refuses, and of a control
/// frame that has not come whole.
#[derive(Debug, Default)]
pub struct Beginning {
    /// What there is of the head.
    partial: PartialHead,
    /// What it says if its status was not accepted.
    refusal: Option<Box<Refusal>>,
    /// What there is of the payload of a control frame of a WebSocket.
    pub control: Vec<u8>,
}

impl Beginning {
    /// What the response says if its status was not accepted.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_deref()
    }
}

impl Framer {
    /// Reads on. Until the head is complete, what there is of it is kept in `beginning`. Bytes
    /// after the end of the response are not looked at.
    ///
    /// After an error the response must not be fed again, unless it is a status: then there may be
    /// more to say about why.
    pub fn feed(
        &mut self,
        beginning: &mut Beginning,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<Progress, DecodeError> {
        if self.is_websocket() {
            return self.frames(&mut beginning.control, bytes, sink);
        }
        if self.has_head() {
            return self.body(bytes, sink);
        }
        if let Some(refusal) = &mut beginning.refusal {
            refusal.feed(bytes);
            return Err(DecodeError::Status(refusal.status));
        }
        let Some((head, n_used)) = beginning.partial.feed(bytes)? else {
            return Ok(Progress::More);
        };
        let status = head.status;
        if !sink.accepts(status) {
            beginning.refusal = Some(Box::new(Refusal::new(head, &bytes[n_used..])));
            return Err(DecodeError::Status(status));
        }
        let Some(upgraded) = sink.upgrade(&head) else {
            sink.head(&head);
            self.begin_body(head.framing);
            return self.body(&bytes[n_used..], sink);
        };
        upgraded.map_err(DecodeError::BadUpgrade)?;
        sink.head(&head);
        self.begin_frames();
        self.frames(&mut beginning.control, &bytes[n_used..], sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything that a response had to say: its body, and where chunks end in it.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Heard {
        heads: Vec<Head>,
        body: Vec<u8>,
        chunks: Vec<usize>,
    }

    impl Sink for Heard {
        fn head(&mut self, head: &Head) {
            self.heads.push(head.clone());
        }
        fn data(&mut self, bytes: &[u8]) {
            self.body.extend_from_slice(bytes);
        }
        fn chunk_end(&mut self) {
            self.chunks.push(self.body.len());
        }
    }

    /// Feeds `pieces` until the response ends or fails.
    fn feed<'a, I: IntoIterator<Item = &'a [u8]>>(
        pieces: I,
    ) -> (Heard, Result<Progress, DecodeError>) {
        let (mut response, mut heard) = (Framer::default(), Heard::default());
        let mut beginning = Beginning::default();
        let mut result = Ok(Progress::More);
        for piece in pieces {
            result = response.feed(&mut beginning, piece, &mut heard);
            if result != Ok(Progress::More) {
                break;
            }
        }
        (heard, result)
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nServer: comet-server/0.1.0\r\n\
                           Transfer-Encoding: chunked\r\n\r\n";

    /// Responses of every kind, good and bad, and what becomes of them.
    fn responses() -> Vec<(Vec<u8>, usize, Result<Progress, DecodeError>)> {
        use ChunkFault::{Extension, NoCrlf, Overflow, Size, TooLong, Trailer};
        use DecodeError::{BadHead, Status};
        use Progress::{Ended, More};
        let bad = |fault| Err(DecodeError::BadChunk(fault));
        let long = "x".repeat(500);
        let chunked = |body: &str| format!("{CHUNKED}{body}").into_bytes();
        let headed = |head: &str| head.as_bytes().to_vec();
        vec![
            (chunked(""), 0, Ok(More)),
            (chunked("5\r\nhello\r\n"), 1, Ok(More)),
            (chunked("5\r\nhello\r\n6\r\nworld!\r\n"), 2, Ok(More)),
            (chunked("0005\r\nhello\r\n0\r\n\r\n"), 1, Ok(Ended)),
            (chunked("5;a=b;c=\"d\"\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"), 1, Ok(Ended)),
            (chunked(&format!("1F4\r\n{long}\r\n1f4\r\n{long}\r\n")), 2, Ok(More)),
            (chunked("2\r\n\r\n\r\n0\r\n\r\nleft over"), 1, Ok(Ended)),
            (chunked("5\r\nhell"), 0, Ok(More)),
            (chunked("5\r\nhello"), 0, Ok(More)),
            (chunked("5\r\nhello\n"), 0, bad(NoCrlf)),
            (chunked("5\r\nhello!\r\n"), 0, bad(NoCrlf)),
            (chunked("5\nhello\r\n"), 0, bad(Size)),
            (chunked("0x5\r\nhello\r\n"), 0, bad(Size)),
            (chunked("+5\r\nhello\r\n"), 0, bad(Size)),
            (chunked("5 \r\nhello\r\n"), 0, bad(Size)),
            (chunked(" 5\r\nhello\r\n"), 0, bad(Size)),
            (chunked("5 ;a\r\nhello\r\n"), 0, bad(Size)),
            (chunked("\r\nhello\r\n"), 0, bad(Size)),
            (chunked(";a\r\nhello\r\n"), 0, bad(Size)),
            (chunked("5;a\nb\r\nhello\r\n"), 0, bad(Extension)),
            (chunked("5;\r\nhello\r\n"), 0, bad(Extension)),
            (chunked("5;a=\r\nhello\r\n"), 0, bad(Extension)),
            (chunked("5;a=\"b\r\nhello\r\n"), 0, bad(Extension)),
            (chunked("5;a=\"b\\\"\r\nhello\r\n"), 0, bad(Extension)),
            (chunked("5;a=b\"c\"\r\nhello\r\n"), 0, bad(Extension)),
            (chunked("5; a = \"b\\\";\" ;c\r\nhello\r\n"), 1, Ok(More)),
            (chunked("5\rhello\r\n"), 0, bad(Size)),
            (chunked("10000000000000000\r\n"), 0, bad(Overflow)),
            (chunked("ffffffffffffffff\r\nh"), 0, Ok(More)),
            (chunked(&format!("5;{}\r\n", "a".repeat(5_000))), 0, bad(TooLong)),
            (chunked(&"0".repeat(5_000)), 0, bad(TooLong)),
            (chunked(&format!("0\r\nX: {}\r\n", "a".repeat(5_000))), 0, bad(TooLong)),
            (chunked("1\r\nx\r\n0\r\n X: 1\r\n\r\n"), 1, bad(Trailer)),
            (chunked("1\r\nx\r\n0\r\nX: 1\n\r\n"), 1, bad(Trailer)),
            (chunked("1\r\nx\r\n0\r\nX\r\n\r\n"), 1, bad(Trailer)),
            (chunked("1\r\nx\r\n0\r\nX : 1\r\n\r\n"), 1, bad(Trailer)),
            (chunked("1\r\nx\r\n0\r\n: 1\r\n\r\n"), 1, bad(Trailer)),
            (chunked("1\r\nx\r\n0\r\n\n"), 1, bad(Trailer)),
            (headed("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), 0, Ok(Ended)),
            (headed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"), 0, Ok(More)),
            (headed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 0, Ok(Ended)),
            (headed("HTTP/1.0 200 OK\r\n\r\nuntil the end"), 0, Ok(More)),
            (headed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\n\r\n"), 0, Ok(More)),
            (headed("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), 0, Err(Status(503))),
            (headed("HTTP/1.1 101 Switching\r\n\r\n"), 0, Err(Status(101))),
            (headed("HTTP/1.1 200 OK\nX: 1\n\n"), 0, Err(BadHead(HeadFault::StatusLine))),
            (headed("SSH-2.0-OpenSSH_9.2\r\n"), 0, Err(BadHead(HeadFault::StatusLine))),
        ]
    }

    #[test]
    fn responses_come_to_what_they_should() {
        for (bytes, n_chunks, result) in responses() {
            let (heard, got) = feed([bytes.as_slice()]);
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!((heard.chunks.len(), got), (n_chunks, result), "{text:?}");
        }
    }

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        for (bytes, _, _) in responses() {
            let whole = feed([bytes.as_slice()]);
            for at in 0..=bytes.len() {
                let (left, right) = bytes.split_at(at);
                let text = String::from_utf8_lossy(&bytes);
                assert_eq!(feed([left, right]), whole, "{text:?} split at {at}");
            }
        }
    }

    #[test]
    fn byte_by_byte_changes_nothing() {
        for (bytes, _, _) in responses() {
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(feed(bytes.chunks(1)), feed([bytes.as_slice()]), "{text:?}");
        }
    }

    #[test]
    fn a_body_is_shown_whatever_its_framing() {
        for head in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        ] {
            let bytes = format!("{head}hello").into_bytes();
            let (heard, _) = feed(bytes.chunks(1));
            assert_eq!((heard.body, heard.chunks.len()), (b"hello".to_vec(), 0), "{head:?}");
        }
    }

    #[test]
    fn only_a_body_without_length_ends_at_the_close() {
        for (head, ends_at_close) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            let mut response = Framer::default();
            let beginning = &mut Beginning::default();
            response.feed(beginning, head.as_bytes(), &mut Heard::default()).unwrap();
            assert_eq!(response.ends_at_close(), ends_at_close, "{head:?}");
        }
    }

    #[test]
    fn an_idle_response_is_12_bytes() {
        assert_eq!((size_of::<Framer>(), align_of::<Framer>()), (12, 4));
    }

    proptest! {
        #[test]
        fn any_split_of_any_chunks_gives_the_same_chunks(
            texts in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 1..400), 0..12),
            cuts in proptest::collection::vec(1_usize..120, 1..60),
        ) {
            let mut bytes = CHUNKED.as_bytes().to_vec();
            for text in &texts {
                bytes.extend_from_slice(format!("{:x}\r\n", text.len()).as_bytes());
                bytes.extend_from_slice(text);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() { break; }
            }
            let (heard, result) = feed(pieces);
            prop_assert_eq!(result, Ok(Progress::Ended));
            let ends = texts.iter().scan(0, |end, text| {
                *end += text.len();
                Some(*end)
            });
            prop_assert_eq!(heard.chunks, ends.collect::<Vec<_>>());
            prop_assert_eq!(heard.body, texts.concat());
        }

        #[test]
        fn garbage_is_an_error_or_nothing_yet(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = feed([bytes.as_slice()]);
            let mut body = CHUNKED.as_bytes().to_vec();
            body.extend_from_slice(&bytes);
            prop_assert_eq!(feed([body.as_slice()]), feed(body.chunks(1)));
        }
    }
}
