//! Responses of a server that wants to harm: no panic, and no difference by how they are split.

#![no_main]

use floodtest::decode::{Chunk, DecodeError, FIRST_BYTES, Head, LAST_BYTES, Progress, Response, Sink};
use floodtest::number::number;
use floodtest::window::{Sequence, Window};
use libfuzzer_sys::fuzz_target;

/// What was heard of a response.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    heads: Vec<Head>,
    chunks: Vec<(Vec<u8>, Vec<u8>, u64, Option<u64>)>,
    window: Window,
    sequence: Sequence,
}

impl Sink for Heard {
    fn head(&mut self, head: &Head) {
        self.heads.push(head.clone());
    }

    fn chunk(&mut self, chunk: Chunk<'_>) {
        assert!(chunk.first.len() <= FIRST_BYTES && chunk.last.len() <= LAST_BYTES);
        assert_eq!(chunk.first.len() as u64, chunk.len.min(FIRST_BYTES as u64));
        let number = number(&chunk, None).filter(|number| *number < u64::MAX);
        if let Some(number) = number {
            self.sequence.add(self.window.record(number));
        }
        self.chunks.push((chunk.first.to_vec(), chunk.last.to_vec(), chunk.len, number));
    }
}

/// Feeds `pieces` until the response ends or fails.
fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Heard, Result<Progress, DecodeError>) {
    let (mut response, mut heard) = (Response::default(), Heard::default());
    let mut result = Ok(Progress::More);
    for piece in pieces {
        result = response.feed(piece, &mut heard);
        if result != Ok(Progress::More) {
            break;
        }
    }
    assert!(heard.heads.len() <= 1);
    (heard, result)
}

fuzz_target!(|input: (&[u8], bool, usize)| {
    let (bytes, has_head, piece_len) = input;
    let mut text = Vec::new();
    if has_head {
        // Most inputs would not get past a head of their own.
        text.extend_from_slice(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    }
    text.extend_from_slice(bytes);
    let whole = feed([text.as_slice()].into_iter());
    assert_eq!(feed(text.chunks(1)), whole);
    assert_eq!(feed(text.chunks(piece_len % 64 + 1)), whole);
});
