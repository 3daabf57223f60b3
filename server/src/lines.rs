//! Lines of JSON, a message each: bytes in, messages out. No sockets.

use std::borrow::Cow;

use serde::Deserialize;

use crate::framing::MAX_MESSAGE_BYTES;
use crate::friends::Change;
use crate::request::check_id;
use crate::router::Id;

/// Bytes in a line: a message and its frame.
const MAX_LINE_BYTES: usize = MAX_MESSAGE_BYTES + 256;

/// A line as it comes in: an object with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<'line> {
    /// Whom the message is for.
    pub(crate) id: Id,
    /// The message.
    #[serde(borrow)]
    pub(crate) msg: Cow<'line, str>,
    /// Whether it is about the id and for all that follow it, and not for the id alone.
    #[serde(default)]
    pub(crate) to: Option<To>,
}

/// Whom a message is for that is not for an id alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum To {
    /// The id, and all that follow it.
    Followers,
}

/// Cuts what comes in into lines. It holds the part of a line that ended a piece, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of the line that the next piece goes on with; empty most of the time.
    begun: Vec<u8>,
    /// Whether `begun` was completed and handed out, or given up.
    is_done: bool,
    /// Lines seen, for the number of a bad one.
    n_seen: u64,
}

impl Lines {
    /// The message of the next whole line in `piece`, which is taken off its front. `None` when
    /// there is none: what is left then was kept. An error names the line; nothing comes after it.
    pub(crate) fn next<'a, 'piece>(
        &'a mut self,
        piece: &mut &'piece [u8],
    ) -> Option<Result<Line<'a>, String>>
    where
        'piece: 'a,
    {
        self.next_with(piece, read)
    }

    /// The same for lines that are no messages, and are read by `read`: it gets a line and its
    /// number.
    pub(crate) fn next_with<'a, 'piece, T>(
        &'a mut self,
        piece: &mut &'piece [u8],
        read: impl FnOnce(&'a [u8], u64) -> Result<T, String>,
    ) -> Option<Result<T, String>>
    where
        'piece: 'a,
    {
        loop {
            self.forget_done();
            let Some(end) = memchr::memchr(b'\n', piece) else {
                let is_kept = self.keep(piece);
                *piece = &[];
                if is_kept {
                    return None;
                }
                self.is_done = true;
                return Some(Err(too_long(self.n_seen + 1)));
            };
            let all = *piece;
            let line = &all[..end];
            *piece = &all[end + 1..];
            self.n_seen += 1;
            if self.begun.is_empty() && line.len() > MAX_LINE_BYTES {
                return Some(Err(too_long(self.n_seen)));
            }
            if !self.begun.is_empty() {
                let is_kept = self.keep(line);
                self.is_done = true;
                if !is_kept {
                    return Some(Err(too_long(self.n_seen)));
                }
            }
            let is_blank = if self.is_done { is_blank(&self.begun) } else { is_blank(line) };
            if !is_blank {
                return Some(read(if self.is_done { &self.begun } else { line }, self.n_seen));
            }
        }
    }

    /// The message of the last line, which may come without its line feed: the end is as good.
    pub(crate) fn last(&mut self) -> Option<Result<Line<'_>, String>> {
        self.last_with(read)
    }

    /// The same for lines that are no messages.
    pub(crate) fn last_with<'a, T>(
        &'a mut self,
        read: impl FnOnce(&'a [u8], u64) -> Result<T, String>,
    ) -> Option<Result<T, String>> {
        self.forget_done();
        self.n_seen += 1;
        self.is_done = true;
        (!is_blank(&self.begun)).then(|| read(&self.begun, self.n_seen))
    }

    /// Whether a line has begun and not ended.
    pub(crate) fn is_in_line(&self) -> bool {
        !self.is_done && !self.begun.is_empty()
    }

    /// Keeps a part of a line, unless the line gets too long by it. What is held has room for the
    /// longest line and no more: a vector that grows by itself would take twice that.
    fn keep(&mut self, part: &[u8]) -> bool {
        let n_bytes = self.begun.len() + part.len();
        if n_bytes > MAX_LINE_BYTES {
            return false;
        }
        if n_bytes > self.begun.capacity() && n_bytes > MAX_LINE_BYTES / 8 {
            self.begun.reserve_exact(MAX_LINE_BYTES - self.begun.len());
        }
        self.begun.extend_from_slice(part);
        true
    }

    /// Makes room for the next line.
    fn forget_done(&mut self) {
        if self.is_done {
            self.begun.clear();
            self.is_done = false;
        }
    }
}

/// Whether a line has nothing in it.
fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// Reads a whole line.
fn read(line: &[u8], number: u64) -> Result<Line<'_>, String> {
    let wrong = |why: String| format!("line {number}: {why}");
    // serde would take an array of the two values as well.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(wrong("not an object: write {\"id\":7,\"msg\":\"…\"}".to_owned()));
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    check_id(line.id).map_err(wrong)?;
    if line.msg.len() > MAX_MESSAGE_BYTES {
        return Err(wrong(format!("a message is at most {MAX_MESSAGE_BYTES} bytes")));
    }
    Ok(line)
}

/// A line that changes who follows whom: an object with one of these fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum ChangeLine {
    /// The first begins to follow the second.
    Follow([Id; 2]),
    /// The first no longer follows the second.
    Unfollow([Id; 2]),
}

/// Reads a line that changes who follows whom.
pub(crate) fn read_change(line: &[u8], number: u64) -> Result<Change, String> {
    let wrong = |why: String| format!("line {number}: {why}");
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(wrong("not an object: write {\"follow\":[7,9]} where 7 follows 9".to_owned()));
    }
    let line = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    let ([follower, friend], begins) = match line {
        ChangeLine::Follow(pair) => (pair, true),
        ChangeLine::Unfollow(pair) => (pair, false),
    };
    let (follower, friend) = (check_id(follower).map_err(wrong)?, check_id(friend).map_err(wrong)?);
    Ok(Change { follower, friend, begins })
}

/// The error of a line that is too long.
fn too_long(number: u64) -> String {
    format!("line {number}: longer than {MAX_LINE_BYTES} bytes")
}
