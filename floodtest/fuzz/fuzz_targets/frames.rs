//! WebSockets of a server that wants to harm: no panic, no difference by how they are split, and
//! nothing kept that need not be.

#![no_main]

use floodtest::decode::{Beginning, DecodeError, Framer, Head, Progress, Sink, UpgradeFault};
use floodtest::items::{ItemSink, Items, Scratch, Sequence, Stream};
use libfuzzer_sys::fuzz_target;
use reports::stamp::Stamp;

/// What was heard.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    text: Vec<u8>,
    ends: Vec<usize>,
    pings: Vec<Vec<u8>>,
    n_pongs: u64,
    close: Vec<Option<u16>>,
    marks: Marks,
}

/// The items and marks in it.
#[derive(Debug, Default, PartialEq)]
struct Marks {
    stamps: Vec<Stamp>,
    numbers: Vec<u64>,
    items: Vec<bool>,
    starts: Vec<Vec<u8>>,
}

/// How many bytes of a message are wanted for its answer.
const N_TO_ANSWER: usize = 5;

impl ItemSink for Marks {
    fn stamp(&mut self, stamp: Stamp) {
        self.stamps.push(stamp);
    }
    fn number(&mut self, number: u64) {
        self.numbers.push(number);
    }
    fn wants_numbers(&self) -> bool {
        true
    }
    fn item(&mut self, is_marked: bool) {
        self.items.push(is_marked);
    }
    fn comment(&mut self) {}
    fn too_long(&mut self) {}
    fn encoded(&mut self, _: u64) {}
    fn n_to_answer(&self) -> usize {
        N_TO_ANSWER
    }
    fn answer(&mut self, start: &[u8]) {
        assert!(start.len() <= N_TO_ANSWER);
        self.starts.push(start.to_vec());
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
    fn accepts(&self, status: u16) -> bool {
        status == 101
    }
    fn upgrade(&self, _: &Head) -> Option<Result<(), UpgradeFault>> {
        Some(Ok(()))
    }
    fn head(&mut self, head: &Head) {
        self.items = Items::new(head, Stream::Auto);
    }
    fn data(&mut self, bytes: &[u8]) {
        self.heard.text.extend_from_slice(bytes);
        self.items.data(bytes, &mut self.scratch, self.sequence, &mut self.heard.marks);
    }
    fn chunk_end(&mut self) {
        panic!("there are no chunks");
    }
    fn message(&mut self, bytes: &[u8]) {
        self.heard.text.extend_from_slice(bytes);
        self.heard.ends.push(self.heard.text.len());
        self.items.message(bytes, &mut self.scratch, self.sequence, &mut self.heard.marks);
    }
    fn message_end(&mut self) {
        self.heard.ends.push(self.heard.text.len());
        self.items.message_end(&mut self.scratch, self.sequence, &mut self.heard.marks);
    }
    fn ping(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= 125);
        self.heard.pings.push(bytes.to_vec());
    }
    fn pong(&mut self) {
        self.heard.n_pongs += 1;
    }
    fn close(&mut self, code: Option<u16>) {
        self.heard.close.push(code);
    }
}

/// Feeds `pieces` until the WebSocket fails.
fn feed<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    sequence: Option<&Sequence>,
) -> (Heard, Result<Progress, DecodeError>) {
    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nServer: comet-server/1\r\n\r\n";
    let (mut framer, mut beginning) = (Framer::default(), Beginning::default());
    let (heard, items, scratch) = Default::default();
    let mut ear = Ear { heard, items, scratch, sequence };
    let mut result = framer.feed(&mut beginning, HEAD, &mut ear);
    assert_eq!(result, Ok(Progress::More));
    for piece in pieces {
        result = framer.feed(&mut beginning, piece, &mut ear);
        if result != Ok(Progress::More) {
            break;
        }
        if !framer.is_in_control() {
            assert_eq!(beginning.control.capacity(), 0);
        }
        if !ear.items.settle(&mut ear.scratch) {
            // What is not kept is as good as lost.
            ear.scratch = Scratch::default();
        }
    }
    assert!(ear.heard.close.len() <= 1);
    // A fault in text is seen with the byte that makes it so: what came before it in the same
    // frame was shown, or was not, as it was cut.
    if result.is_err() {
        let end = ear.heard.ends.last().copied().unwrap_or(0);
        ear.heard.text.truncate(end);
        let n = ear.heard.ends.len();
        ear.heard.marks.stamps.clear();
        ear.heard.marks.numbers.truncate(n);
    }
    (ear.heard, result)
}

fuzz_target!(|input: (&[u8], u8, usize)| {
    let (bytes, sequence, piece_len) = input;
    let sequence: Option<Sequence> = match sequence % 3 {
        0 => None,
        1 => Some("comet".parse().expect("a word")),
        _ => Some("n=([0-9]+)".parse().expect("a pattern")),
    };
    let sequence = sequence.as_ref();
    let whole = feed([bytes].into_iter(), sequence);
    assert_eq!(feed(bytes.chunks(1), sequence), whole);
    assert_eq!(feed(bytes.chunks(piece_len % 64 + 1), sequence), whole);
});
