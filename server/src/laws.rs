//! What must hold for any bytes that come in, however they are cut. The tests try it with the seeds
//! of the fuzzers and with a list of malformed requests, the fuzzers with whatever they find.

use crate::cluster::replies_in;
use crate::lines::Lines;
use crate::request::{self, Parsed, Request};

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
        Parsed::Incomplete => assert!(bytes.len() < request::MAX_HEAD_BYTES, "it would grow"),
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
    let whole = messages(&[bytes]);
    for cut in cuts {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(messages(&[before, after]), whole, "cut at {cut}");
    }
}

/// What a broker says: the same replies and the same error come out, however the bytes were cut, and
/// little is kept of what is not complete.
pub fn replies(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let whole = replies_in(&[bytes]);
    for cut in cuts {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(replies_in(&[before, after]), whole, "cut at {cut}");
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
