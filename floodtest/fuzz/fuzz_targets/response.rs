//! Responses of a server that wants to harm: no panic, and no difference by how they are split.

#![no_main]

use floodtest::decode::{Beginning, DecodeError, Framer, Head, Progress, Sink};
use floodtest::items::{ItemSink, Items, Scratch, Sequence, Stream};
use floodtest::judge::{Found, Window};
use libfuzzer_sys::fuzz_target;
use reports::stamp::Stamp;

/// What was heard of a response.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    heads: Vec<Head>,
    chunks: u64,
    marks: Marks,
}

/// The items and marks in its body.
#[derive(Debug, Default, PartialEq)]
struct Marks {
    stamps: Vec<Stamp>,
    items: Vec<bool>,
    comments: u64,
    encoded: u64,
    window: Window,
    found: Found,
}

impl ItemSink for Marks {
    fn stamp(&mut self, stamp: Stamp) {
        self.stamps.push(stamp);
    }
    fn number(&mut self, number: u64) {
        if number < u64::MAX {
            self.found.add(self.window.record(number, |_| {}));
        }
    }
    fn wants_numbers(&self) -> bool {
        true
    }
    fn item(&mut self, is_marked: bool) {
        self.items.push(is_marked);
    }
    fn comment(&mut self) {
        self.comments += 1;
    }
    fn too_long(&mut self) {}
    fn encoded(&mut self, n: u64) {
        self.encoded += n;
    }
}

/// A connection that listens.
struct Ear<'a> {
    heard: Heard,
    items: Items,
    scratch: Scratch,
    sequence: Option<&'a Sequence>,
}

impl Sink for Ear<'_> {
    fn head(&mut self, head: &Head) {
        self.items = Items::new(head, Stream::Auto);
        self.heard.heads.push(head.clone());
    }
    fn data(&mut self, bytes: &[u8]) {
        self.items.data(bytes, &mut self.scratch, self.sequence, &mut self.heard.marks);
    }
    fn chunk_end(&mut self) {
        self.heard.chunks += 1;
        self.items.chunk_end(&mut self.scratch, &mut self.heard.marks);
    }
}

/// Feeds `pieces` until the response ends or fails.
fn feed<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    sequence: Option<&Sequence>,
) -> (Heard, Result<Progress, DecodeError>) {
    let (mut framer, mut beginning) = (Framer::default(), Beginning::default());
    let (heard, items, scratch) = Default::default();
    let mut ear = Ear { heard, items, scratch, sequence };
    let mut result = Ok(Progress::More);
    for piece in pieces {
        result = framer.feed(&mut beginning, piece, &mut ear);
        if !ear.items.settle(&mut ear.scratch) {
            // What is not kept is as good as lost.
            ear.scratch = Scratch::default();
        }
        if result != Ok(Progress::More) {
            break;
        }
    }
    if result.is_ok() {
        ear.items.end(&mut ear.scratch, sequence, true, &mut ear.heard.marks);
    }
    assert!(ear.heard.heads.len() <= 1);
    (ear.heard, result)
}

/// Heads that most inputs would not have of their own.
const HEADS: [&str; 5] = [
    "",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n",
    "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n",
];

fuzz_target!(|input: (&[u8], u8, u8, usize)| {
    let (bytes, head, sequence, piece_len) = input;
    let mut text = HEADS[usize::from(head) % HEADS.len()].as_bytes().to_vec();
    text.extend_from_slice(bytes);
    let sequence: Option<Sequence> = match sequence % 4 {
        0 => None,
        1 => Some("comet".parse().expect("a word")),
        2 => Some("event-id".parse().expect("a word")),
        _ => Some("n=([0-9]+)".parse().expect("a pattern")),
    };
    let sequence = sequence.as_ref();
    let whole = feed([text.as_slice()].into_iter(), sequence);
    assert_eq!(feed(text.chunks(1), sequence), whole);
    assert_eq!(feed(text.chunks(piece_len % 64 + 1), sequence), whole);
});
