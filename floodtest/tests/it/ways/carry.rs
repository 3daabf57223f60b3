//! How a body gets to the client: cut by borders, framed, and written in pieces.

use super::body::Part;
use super::stage::{Ending, Pieces};
use super::way::{Content, Cut, Framing, Way, Writes};

/// How many messages are cut at every byte. What comes after them finds nothing else than they do.
const N_FIRST: usize = 4;

/// An id with as many digits as those at the end of a long body have.
const LONGEST_ID: u64 = 999;

/// What is written to a connection for these parts of a body, and how many chunks it has.
pub(super) fn pieces(way: &Way, parts: &[Part]) -> (Pieces, u64) {
    let segments = segments(way.cut, parts);
    let n_chunks = if way.framing == Framing::Chunked { segments.len() as u64 } else { 0 };
    let head = head(way, segments.iter().map(Vec::len).sum());
    let mut framed = framed(way, segments);
    let pieces = match way.writes {
        Writes::AsCut => {
            framed.insert(0, head);
            framed
        }
        Writes::Together => vec![[head, framed.concat()].concat()],
        Writes::Sevens => {
            let body = framed.concat();
            let sevens = body.chunks(7).map(<[u8]>::to_vec);
            std::iter::once(head).chain(sevens).collect()
        }
    };
    (pieces, n_chunks)
}

/// The same in many ways, for connections 1, 2, …: each in two pieces, with the border behind
/// another byte of the framed body. Of a long body, that is each byte of the first messages and of
/// the last.
pub(super) fn cut_anywhere(way: &Way, parts: impl Fn(u64) -> Vec<Part>) -> Vec<Pieces> {
    let framed_for = |id| framed(way, segments(way.cut, &parts(id)));
    let cut = |(id, at): (u64, usize)| {
        let segments = segments(way.cut, &parts(id));
        let head = head(way, segments.iter().map(Vec::len).sum());
        let n_before = head.len() + at;
        let mut first = [head, framed(way, segments).concat()].concat();
        let second = first.split_off(n_before.min(first.len()));
        vec![first, second]
    };
    let lengths: Vec<_> = framed_for(LONGEST_ID).iter().map(Vec::len).collect();
    (1..).zip(positions(&lengths)).map(cut).collect()
}

/// The same with the body in two chunks.
pub(super) fn chunked_anywhere(way: &Way, parts: impl Fn(u64) -> Vec<Part>) -> Vec<Pieces> {
    let cut = |(id, at): (u64, usize)| {
        let mut first = segments(Cut::Whole, &parts(id)).concat();
        let second = first.split_off(at.min(first.len() - 1));
        let mut framed = framed(way, vec![first, second]);
        framed[0].splice(0..0, head(way, 0));
        framed
    };
    let lengths: Vec<_> = parts(LONGEST_ID).iter().map(|part| part.bytes.len()).collect();
    (1..).zip(positions(&lengths)).map(cut).collect()
}

/// The places between two bytes of messages with these lengths: in the first ones, in which all
/// that can be wrong with messages is, and in the last one.
fn positions(lengths: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let n_bytes: usize = lengths.iter().sum();
    let first: usize = lengths.iter().take(N_FIRST).sum();
    let last = n_bytes - lengths.last().unwrap();
    (1..n_bytes).filter(move |at| *at <= first || *at >= last)
}

/// The bytes between two borders each.
fn segments(cut: Cut, parts: &[Part]) -> Vec<Vec<u8>> {
    let all = || parts.iter().flat_map(|part| part.bytes.iter().copied()).collect::<Vec<u8>>();
    let at = |middle: fn(&Part) -> Option<usize>| {
        let mut borders = Vec::new();
        let mut start = 0;
        for part in parts {
            borders.extend(middle(part).map(|at| start + at));
            start += part.bytes.len();
        }
        borders.push(start);
        let (all, mut from) = (all(), 0);
        let mut segments = Vec::new();
        for border in borders {
            segments.push(all[std::mem::replace(&mut from, border)..border].to_vec());
        }
        segments
    };
    let segments: Vec<Vec<u8>> = match cut {
        Cut::Message => parts.iter().map(|part| part.bytes.clone()).collect(),
        Cut::Three => {
            let three = |parts: &[Part]| parts.iter().flat_map(|it| it.bytes.clone()).collect();
            parts.chunks(3).map(three).collect()
        }
        Cut::Thirds => parts
            .iter()
            .flat_map(|part| {
                let third = part.bytes.len().div_ceil(3);
                part.bytes.chunks(third).map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .collect(),
        Cut::Number => at(|part| part.number_at),
        Cut::Stamp => at(|part| part.stamp_at),
        Cut::Byte => all().into_iter().map(|byte| vec![byte]).collect(),
        Cut::Whole => vec![all()],
    };
    // A chunk of no bytes would be the last one.
    segments.into_iter().filter(|segment| !segment.is_empty()).collect()
}

/// The segments as they are written, and the end of the body if it has one.
fn framed(way: &Way, segments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if way.framing != Framing::Chunked {
        return segments;
    }
    let chunk = |segment: Vec<u8>| {
        let size = format!("{:x}\r\n", segment.len()).into_bytes();
        [size, segment, b"\r\n".to_vec()].concat()
    };
    let mut chunks: Vec<_> = segments.into_iter().map(chunk).collect();
    if way.ending == Ending::Closed {
        chunks.push(b"0\r\n\r\n".to_vec());
    }
    chunks
}

/// The head of a response whose body has so many bytes.
fn head(way: &Way, n_bytes: usize) -> Vec<u8> {
    let version = if way.framing == Framing::Http10 { "1.0" } else { "1.1" };
    let is_ours = matches!(way.content, Content::Comet | Content::CometEvents);
    let server = match (is_ours, way.is_behind_proxy) {
        (true, false) => "comet-server/0.1.0",
        (_, true) => "nginx",
        (false, false) => "other/1",
    };
    let media_type = match way.content {
        Content::Comet => "text/html; charset=utf-8",
        Content::Lines | Content::LinesCrLf => "application/x-ndjson",
        Content::Objects => "application/json",
        Content::Bytes => "text/plain",
        _ => "text/event-stream; charset=utf-8",
    };
    let framing = match way.framing {
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        // One that is held has a byte to come.
        Framing::Length => {
            let n_missing = usize::from(way.ending == Ending::Held);
            format!("Content-Length: {}\r\n", n_bytes + n_missing)
        }
        Framing::Close | Framing::Http10 => "Connection: close\r\n".to_owned(),
    };
    let encoding = way.encoding.map(|name| format!("Content-Encoding: {name}\r\n"));
    format!(
        "HTTP/{version} 200 OK\r\nServer: {server}\r\nContent-Type: {media_type}\r\n\
         {framing}{}\r\n",
        encoding.unwrap_or_default()
    )
    .into_bytes()
}
