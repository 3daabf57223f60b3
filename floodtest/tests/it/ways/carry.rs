//! How a body gets to the client: cut by borders, framed, and written in pieces.

use super::body::Part;
use super::stage::{Ending, Pieces};
use super::way::{Content, Cut, Framing, Way, Writes};

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

/// The same in as many ways as the framed body has bytes: way k in two pieces, of which the first
/// ends behind byte k of it.
pub(super) fn cut_anywhere(way: &Way, parts: impl Fn(u64) -> Vec<Part>) -> Vec<Pieces> {
    let cut = |id: u64, at: usize| {
        let segments = segments(way.cut, &parts(id));
        let head = head(way, segments.iter().map(Vec::len).sum());
        let mut first = [head.clone(), framed(way, segments).concat()].concat();
        let at = (head.len() + at).min(first.len());
        let second = first.split_off(at);
        vec![first, second]
    };
    let n_bytes = framed(way, segments(way.cut, &parts(LONGEST_ID))).concat().len();
    (1..n_bytes).map(|at| cut(at as u64, at)).collect()
}

/// The same with the body in two chunks, the border behind byte k of it.
pub(super) fn chunked_anywhere(way: &Way, parts: impl Fn(u64) -> Vec<Part>) -> Vec<Pieces> {
    let whole = |id: u64| segments(Cut::Whole, &parts(id)).concat();
    let cut = |id: u64, at: usize| {
        let mut first = whole(id);
        let second = first.split_off(at.min(first.len() - 1));
        let head = head(way, 0);
        let mut framed = framed(way, vec![first, second]);
        framed[0].splice(0..0, head);
        framed
    };
    (1..whole(LONGEST_ID).len()).map(|at| cut(at as u64, at)).collect()
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
        "HTTP/{version} 200 OK\r\nServer: {server}\r\nContent-Type: {media_type}\r\n{framing}{}\r\n",
        encoding.unwrap_or_default()
    )
    .into_bytes()
}
