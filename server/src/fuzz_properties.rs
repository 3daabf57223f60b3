//! What must hold for any bytes that come in, however they are cut. The tests try it with the seeds
//! of the fuzzers and with a list of malformed requests, the fuzzers with whatever they find.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use crate::cluster::replies_in;
use crate::control::guard::Guard;
use crate::control::head::{self, Call};
use crate::control::room::{INPUT_BYTES, Input, Pool};
use crate::framing::MAX_MESSAGE_BYTES;
use crate::limits::CHATTY_BYTES;
use crate::lines::Lines;
use crate::request::{self, MAX_HEAD_BYTES, Parsed, Request};
use crate::router::{Allowance, Heard};
use crate::websocket::{self, frames::Frames};

/// A request head: what was decided on some bytes stays decided when more come, and makes sense.
pub fn head(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let whole = request::parse(bytes);
    for cut in cuts {
        let part = request::parse(&bytes[..cut]);
        assert!(
            part == Parsed::Incomplete || part == whole,
            "{part:?} at {cut}, {whole:?} at the end of {:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    match whole {
        Parsed::Incomplete => assert!(bytes.len() < MAX_HEAD_BYTES, "it would grow"),
        Parsed::Complete(request, n_bytes) => {
            assert!(bytes[..n_bytes].ends_with(b"\r\n\r\n"));
            if let Request::Follow { ids, .. } = request {
                assert!(!ids.is_empty() && ids.iter().all(|&id| request::check_id(id).is_ok()));
            }
        }
        Parsed::Refused(refusal) => {
            assert!(refusal.status().starts_with(['4', '5']));
            let is_control = |char: char| char.is_control();
            assert!(!refusal.sentence.contains(is_control), "{:?} in an answer", refusal.sentence);
        }
    }
}

/// Lines of JSON: the same messages and the same error come out, however the bytes were cut.
pub fn lines(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    alike(messages, bytes, cuts);
}

/// What a broker says: the same replies and the same error come out, however the bytes were cut,
/// and little is kept of what is not complete.
pub fn replies(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    alike(replies_in, bytes, cuts);
}

/// What a connection of the control door sends: the same requests with the same bodies and the same
/// refusal come out, however the bytes were cut, and nothing needs more room than there is.
pub fn control(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let open = Guard::new(None, Vec::new(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let token = Some("secret".to_owned());
    let locked = Guard::new(token, Vec::new(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let cuts: Vec<_> = cuts.into_iter().collect();
    for guard in [open, locked] {
        alike(|pieces| requests(pieces, &guard), bytes, cuts.iter().copied());
    }
}

/// What a WebSocket client sends: the same answers and the same end come out, however the bytes
/// were cut.
pub fn frames(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    alike(frames_in, bytes, cuts);
}

/// What is read is the same whether the bytes come whole, cut at one of these places, or cut at all
/// of them.
fn alike<T: PartialEq + Debug>(
    read: impl Fn(&[&[u8]]) -> T,
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) {
    let whole = read(&[bytes]);
    let mut cuts: Vec<_> = cuts.into_iter().collect();
    for &cut in &cuts {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(read(&[before, after]), whole, "cut at {cut}");
    }
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let begins = [0].into_iter().chain(cuts.iter().copied());
    let pieces: Vec<_> = begins.zip(&cuts).map(|(begin, &end)| &bytes[begin..end]).collect();
    assert_eq!(read(&pieces), whole, "cut at all of {cuts:?}");
}

/// What frames that come in such pieces are answered, and how it ends; or what is left of what is
/// allowed.
fn frames_in(pieces: &[&[u8]]) -> (Vec<u8>, Result<Allowance, Heard>) {
    let (mut frames, mut answers) = (Frames::default(), Vec::new());
    // An answer is awaited in the beginning.
    let mut allowance = Allowance { n_bytes: CHATTY_BYTES, n_answers: 1 };
    for piece in pieces {
        let n_before = answers.len();
        let heard =
            websocket::take_in(&mut frames, &mut piece.to_vec(), &mut allowance, &mut answers);
        assert!(heard.last_answer == 0 || heard.last_answer >= n_before);
        // A pong to a ping of which some came before, and a close frame.
        let n_most = piece.len() + 127 + 127;
        assert!(answers.len() - n_before <= n_most, "it answers more than it hears");
        if heard.end.is_some() {
            let end = Heard { has_answered: false, ..heard };
            return (answers, Err(end));
        }
    }
    (answers, Ok(allowance))
}

/// Requests that come in such pieces, and how it ends: as text, to be compared.
fn requests(pieces: &[&[u8]], guard: &Guard) -> Vec<String> {
    let (pool, mut input) = (Pool::default(), Input::default());
    let mut reader = RequestReader::default();
    for piece in pieces {
        let mut rest = *piece;
        // As from a socket: no more at a time than there is room for.
        while !rest.is_empty() && !reader.is_over {
            let mut tail = input.tail(&pool);
            let n = rest.len().min(bytes::BufMut::remaining_mut(&tail));
            assert!(n > 0, "it waits for more and has no room for it");
            bytes::BufMut::put_slice(&mut tail, &rest[..n]);
            rest = &rest[n..];
            while !reader.is_over && reader.step(&mut input, guard) {}
            assert!(input.window().len() < INPUT_BYTES);
            input.rest(&pool);
        }
    }
    reader.seen
}

/// Reads requests as a connection does, and carries out none.
#[derive(Default)]
struct RequestReader {
    /// What came of them.
    seen: Vec<String>,
    /// The request whose body is being read, and what came of the body.
    begun: Option<(head::Ask, Vec<u8>)>,
    /// Whether nothing more is read.
    is_over: bool,
}

impl RequestReader {
    /// Goes on by a head or a piece of a body. Returns whether there was one.
    fn step(&mut self, input: &mut Input, guard: &Guard) -> bool {
        let Some((mut ask, mut body)) = self.begun.take() else {
            match head::parse(input.window(), guard) {
                head::Parsed::Incomplete => {
                    assert!(input.window().len() < MAX_HEAD_BYTES, "it would grow");
                    return false;
                }
                head::Parsed::Refused(refusal) => {
                    assert!(refusal.status().starts_with(['4', '5']));
                    self.end(format!("{} {}", refusal.status(), refusal.sentence));
                }
                head::Parsed::Complete(ask, n_bytes) => {
                    input.consume(n_bytes);
                    self.begun = Some((ask, Vec::new()));
                }
            }
            return true;
        };
        // A message is gathered in front, lines and what nobody wants is used as it comes.
        let is_message = matches!(ask.call, Ok(Call::Send { .. }));
        match input.take(&mut ask.body, ask.n_taken) {
            Err(why) => self.end(format!("{:?} {why}", ask.call)),
            Ok(n_bytes) => {
                if is_message {
                    ask.n_taken += n_bytes;
                } else {
                    body.extend_from_slice(&input.window()[..n_bytes]);
                    input.consume(n_bytes);
                }
                if ask.n_taken > MAX_MESSAGE_BYTES {
                    self.end("a message is too long".to_owned());
                } else if ask.body.is_at_end() {
                    body.extend_from_slice(&input.window()[..ask.n_taken]);
                    input.consume(ask.n_taken);
                    let body = String::from_utf8_lossy(&body);
                    self.seen.push(format!("{:?} {:?} {body:?}", ask.call, ask.frame));
                    self.is_over = !ask.frame.keeps;
                } else {
                    self.begun = Some((ask, body));
                    return n_bytes > 0;
                }
            }
        }
        true
    }

    /// Nothing more is read.
    fn end(&mut self, why: String) {
        self.seen.push(why);
        self.is_over = true;
    }
}

/// A few places to cut at, which any change of the bytes moves: for the fuzzers, which have no time
/// for all of them.
pub fn a_few_cuts(bytes: &[u8]) -> [usize; 3] {
    let mix = |sum: usize, &byte: &u8| sum.wrapping_mul(31).wrapping_add(byte.into());
    let sum = bytes.iter().fold(0, mix);
    [1, 7, 131].map(|step| sum.wrapping_mul(step) % (bytes.len() + 1))
}

/// The messages in a body that comes in these pieces, and the error that ended it.
fn messages(pieces: &[&[u8]]) -> (Vec<(u64, String)>, Option<String>) {
    let mut lines = Lines::default();
    let mut messages = Vec::new();
    for &piece in pieces {
        let mut piece = piece;
        while let Some(line) = lines.next(&mut piece) {
            match line {
                Ok(line) => messages.push((line.id, line.msg.into_owned())),
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    match lines.last() {
        Some(Ok(line)) => messages.push((line.id, line.msg.into_owned())),
        Some(Err(error)) => return (messages, Some(error)),
        None => {}
    }
    (messages, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::malformed;

    /// Inputs up to this long are cut at every byte, longer ones at some.
    const CUT_EVERYWHERE_BYTES: usize = 10_000;

    fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let step = if bytes.len() <= CUT_EVERYWHERE_BYTES { 1 } else { 4_001 };
        (0..=bytes.len()).step_by(step)
    }

    /// The seeds of a fuzzer.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let files = std::fs::read_dir(folder.join(target)).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn the_seeds_of_heads_are_decided_alike_wherever_they_are_cut() {
        let seeds = seeds("head");
        assert!(seeds.len() > 30);
        for seed in seeds {
            head(&seed, cuts(&seed));
            head(&seed, a_few_cuts(&seed));
        }
    }

    #[test]
    fn the_seeds_of_lines_are_read_alike_wherever_they_are_cut() {
        let seeds = seeds("lines");
        assert!(seeds.len() > 30);
        for seed in seeds {
            lines(&seed, cuts(&seed));
            lines(&seed, a_few_cuts(&seed));
        }
    }

    #[test]
    fn the_seeds_of_replies_are_read_alike_wherever_they_are_cut() {
        let seeds = seeds("replies");
        assert!(seeds.len() > 30);
        for seed in seeds {
            replies(&seed, cuts(&seed));
            replies(&seed, a_few_cuts(&seed));
        }
    }

    #[test]
    fn the_seeds_of_frames_are_read_alike_wherever_they_are_cut() {
        let seeds = seeds("frames");
        assert!(seeds.len() > 30);
        for seed in seeds {
            frames(&seed, cuts(&seed));
            frames(&seed, a_few_cuts(&seed));
        }
    }

    #[test]
    fn the_seeds_of_the_control_door_are_read_alike_wherever_they_are_cut() {
        let seeds = seeds("control");
        assert!(seeds.len() > 30);
        for seed in seeds {
            control(&seed, cuts(&seed));
            control(&seed, a_few_cuts(&seed));
        }
        // What is refused at the public door for its form is refused here as well.
        for (bytes, _) in malformed::cases() {
            control(&bytes, cuts(&bytes).step_by(23));
        }
    }

    #[test]
    fn malformed_requests_are_refused_alike_wherever_they_are_cut() {
        for (bytes, status) in malformed::cases() {
            head(&bytes, cuts(&bytes));
            let Parsed::Refused(refusal) = request::parse(&bytes) else {
                panic!("{:?} is not refused", String::from_utf8_lossy(&bytes))
            };
            let given = refusal.status();
            assert!(given.starts_with(&status.to_string()), "{given}: {bytes:?}");
        }
    }
}
