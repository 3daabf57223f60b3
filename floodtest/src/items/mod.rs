//! From the bytes of a body to its items, and to the marks by which messages are known. Pure.
//!
//! An *item* is what a stream consists of: an event, a line, a message of a WebSocket, or, where it
//! has no borders of its own, a chunk or a message. A *mark* is a stamp of the sender or a number
//! of the server. Marks are found in the bytes of the body, wherever these are cut: how they were
//! framed is no property of a message, and every proxy frames them anew.
//!
//! A connection between two items is its two bytes of [`Items`]. What an item or a mark that has
//! not come whole leaves behind is in its [`Scratch`].
//!
//! - `events`: lines of an event stream
//! - `comet`: the numbers of this project's server
//! - `pattern`: numbers that a regular expression finds
//! - `text`: the text of an item, where items are looked into

mod comet;
mod events;
mod pattern;
mod text;

use std::str::FromStr;

use reports::books::ItemKind;
use reports::stamp::{Mark, Stamp, StampFinder};
use serde::{Deserialize, Serialize};

use crate::decode::{Content, Framing, Head};
use comet::CometFinder;
use events::{Line, PartialLine};
use pattern::{Found, Tail};
pub use pattern::{MAX_TAIL_BYTES, Pattern, PatternError};
use text::ItemText;

/// Stamps that are remembered of one item, so that one that stands in it twice counts once. A
/// server writes a message once or twice into an item; beyond this number each counts.
const MAX_STAMPS_OF_AN_ITEM: usize = 64;

/// What items are to be: the value of `--stream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stream {
    /// What the response says they are.
    #[default]
    Auto,
    /// Chunks, where the response is chunked.
    Chunks,
    /// Events.
    Events,
    /// Lines.
    Lines,
    /// Messages of a WebSocket.
    Frames,
    /// Messages, whatever is around them.
    Bytes,
}

impl Stream {
    /// All values of `--stream`.
    const ALL: [(&str, Self); 6] = [
        ("auto", Self::Auto),
        ("chunks", Self::Chunks),
        ("events", Self::Events),
        ("lines", Self::Lines),
        ("frames", Self::Frames),
        ("bytes", Self::Bytes),
    ];

    /// Whether these can be the items of a WebSocket, or of a response where `is_ws` is not so.
    pub(crate) fn suits(self, is_ws: bool) -> bool {
        self == Self::Auto || is_ws == (self == Self::Frames)
    }

    /// How the command line writes it.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, stream)| *stream == self).map_or("auto", |(word, _)| word)
    }
}

/// Why a text is no [`Stream`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of stream: \"{0}\"; write auto, chunks, events, lines, frames or bytes")]
pub struct StreamError(String);

impl FromStr for Stream {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        let known = Self::ALL.iter().find(|(word, _)| *word == text);
        known.map(|(_, stream)| *stream).ok_or_else(|| StreamError(text.to_owned()))
    }
}

/// Where the server's numbers are: the value of `--sequence`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Sequence {
    /// Where this project's server writes them.
    Comet,
    /// In the `id` of an event.
    EventId,
    /// In the group of a pattern.
    Pattern(Pattern),
}

impl FromStr for Sequence {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        match text {
            "comet" => Ok(Self::Comet),
            "event-id" => Ok(Self::EventId),
            _ => text.parse().map(Self::Pattern),
        }
    }
}

/// What takes the items and marks of a body, in their order.
pub trait ItemSink {
    /// A stamp came.
    fn stamp(&mut self, stamp: Stamp);
    /// A number came; with items that have borders of their own, right before [`ItemSink::item`].
    fn number(&mut self, number: u64);
    /// Whether numbers matter, which are not looked for otherwise.
    fn wants_numbers(&self) -> bool;
    /// An item is complete; whether a stamp or a number was in it.
    fn item(&mut self, is_marked: bool);
    /// A comment of an event stream is complete.
    fn comment(&mut self);
    /// What may be a number is longer than can be kept.
    fn too_long(&mut self);
    /// Bytes of an encoded body, which are not looked into.
    fn encoded(&mut self, n: u64);
    /// Whether items are looked into, whose text is not kept otherwise.
    fn wants_text(&self) -> bool {
        false
    }
    /// The text of an item, right before [`ItemSink::item`]: of an event its data, of anything else
    /// all of it. `None` if it is too long to be kept.
    fn text(&mut self, text: Option<&[u8]>) {
        let _ = text;
    }
    /// Whether the ids of events matter, because their stream may be opened again.
    fn wants_ids(&self) -> bool {
        false
    }
    /// An event is complete that has this id; an empty one takes back those before.
    fn event_id(&mut self, id: &[u8]) {
        let _ = id;
    }
    /// The server asks for so many milliseconds until its stream is opened again.
    fn retry(&mut self, ms: u64) {
        let _ = ms;
    }
    /// How many bytes [`ItemSink::answer`] wants of a message.
    fn n_to_answer(&self) -> usize {
        0
    }
    /// A message of a WebSocket is complete that begins with these bytes.
    fn answer(&mut self, start: &[u8]) {
        let _ = start;
    }
}

/// What a body consists of, and where in an item it is: what a connection keeps of it always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Items {
    /// What items are.
    kind: Kind,
    /// What is so now.
    bits: u8,
}

/// What items of a connection are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// Unknown: there is no head yet.
    #[default]
    None,
    /// Chunks.
    Chunks,
    /// Events.
    Events,
    /// Lines.
    Lines,
    /// Messages of a WebSocket.
    Frames,
    /// Messages.
    Bytes,
    /// What cannot be looked into.
    Encoded,
}

/// The last byte was a carriage return, whose line feed may follow.
const AFTER_CR: u8 = 1;
/// The first line of an event stream is complete.
const STARTED: u8 = 2;
/// A message of this project's server may begin here.
const AT_MESSAGE: u8 = 4;
/// The event has data, or the line has something in it.
const HAS_CONTENT: u8 = 8;
/// The item has a mark.
const MARKED: u8 = 16;
/// The server is this project's, as it says.
const OURS: u8 = 32;
/// Something is kept in the connection's [`Scratch`].
const KEPT: u8 = 64;

/// What is kept of an item or a mark that has not come whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// A stamp.
    stamps: StampFinder,
    /// A number of this project's server.
    comet: CometFinder,
    /// A line of an event stream.
    line: PartialLine,
    /// The number of the item, which counts when the item is complete.
    number: ItemNumber,
    /// The id of the event likewise, where that matters.
    id: Option<Box<[u8]>>,
    /// What may become a match of the pattern.
    tail: Tail,
    /// The byte before the next one of the item, if the pattern looks at it.
    previous: Option<u8>,
    /// Whether a chunk has ended behind all that is kept.
    is_at_chunk_end: bool,
    /// The stamps of the item.
    seen: Vec<Mark>,
    /// The first bytes of a message of a WebSocket, where some messages are answered.
    start: Vec<u8>,
    /// The text of the item, where items are looked into.
    text: ItemText,
}

impl Scratch {
    /// Whether nothing is kept.
    fn is_idle(&self) -> bool {
        !self.stamps.is_inside()
            && self.comet == CometFinder::default()
            && self.line.is_empty()
            && self.number == ItemNumber::None
            && self.id.is_none()
            && self.tail.is_empty()
            && self.previous.is_none()
            && self.seen.is_empty()
            && self.start.is_empty()
            && self.text.is_empty()
    }

    /// Forgets what need not be kept.
    fn clear(&mut self) {
        let (mut seen, mut text) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.text));
        seen.clear();
        text.clear();
        *self = Self { seen, text, ..Self::default() };
    }
}

/// The number of an item with borders of its own, as far as it has come. The first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ItemNumber {
    /// None has come.
    #[default]
    None,
    /// This one.
    Is(u64),
    /// What came first may be one and is longer than can be kept. Whatever comes behind it may be
    /// the rest of its digits, so the item has none.
    TooLong,
}

/// How the numbers of one connection are found.
#[derive(Debug, Clone, Copy)]
enum Numbers<'a> {
    /// There are none.
    None,
    /// As this project's server writes them.
    Comet,
    /// In the ids of events.
    EventId,
    /// By a pattern.
    Pattern(&'a Pattern),
}

impl Items {
    /// The items of a response with this head.
    pub fn new(head: &Head, stream: Stream) -> Self {
        let unframed = if head.framing == Framing::Chunked { Kind::Chunks } else { Kind::Bytes };
        let kind = match (stream, head.content) {
            _ if head.upgrade.is_some() => Kind::Frames,
            _ if head.is_encoded => Kind::Encoded,
            (Stream::Auto, Content::Events) | (Stream::Events, _) => Kind::Events,
            (Stream::Auto, Content::Lines) | (Stream::Lines, _) => Kind::Lines,
            (Stream::Auto, Content::Other) | (Stream::Chunks | Stream::Frames, _) => unframed,
            (Stream::Bytes, _) => Kind::Bytes,
        };
        let ours = if head.is_ours { OURS } else { 0 };
        Self { kind, bits: AT_MESSAGE | ours }
    }

    /// What they are, for the report; `None` for an encoded body.
    pub fn kind(self) -> Option<ItemKind> {
        match self.kind {
            Kind::None | Kind::Encoded => None,
            Kind::Chunks => Some(ItemKind::Chunks),
            Kind::Events => Some(ItemKind::Events),
            Kind::Lines => Some(ItemKind::Lines),
            Kind::Frames => Some(ItemKind::Frames),
            Kind::Bytes => Some(ItemKind::Bytes),
        }
    }

    /// Whether the items are the messages themselves, as there are no borders.
    pub fn are_messages(self) -> bool {
        self.kind == Kind::Bytes
    }

    /// Whether numbers are those of this project's server, which begin at 1 on each connection.
    pub fn is_comet(self, sequence: Option<&Sequence>) -> bool {
        match sequence {
            None => self.has(OURS),
            Some(sequence) => matches!(sequence, Sequence::Comet),
        }
    }

    /// Whether something is kept of this connection in its scratch.
    pub fn has_scratch(self) -> bool {
        self.has(KEPT)
    }

    /// Makes `scratch` ready to be put away after some bytes; whether it must be, because something
    /// is kept in it. If not it is as good as new.
    pub fn settle(&mut self, scratch: &mut Scratch) -> bool {
        let is_kept = !scratch.is_idle();
        if !is_kept {
            scratch.clear();
        }
        self.set(KEPT, is_kept);
        is_kept
    }

    /// Takes in some bytes of the body.
    pub fn data(
        &mut self,
        bytes: &[u8],
        scratch: &mut Scratch,
        sequence: Option<&Sequence>,
        sink: &mut impl ItemSink,
    ) {
        let numbers = self.numbers(sequence);
        scratch.is_at_chunk_end = false;
        match self.kind {
            Kind::Chunks => {
                if sink.wants_text() {
                    scratch.text.push(bytes);
                }
                self.text(bytes, scratch, numbers, sink);
            }
            Kind::Bytes => self.text(bytes, scratch, numbers, sink),
            Kind::Lines => self.lines(bytes, scratch, numbers, sink),
            Kind::Events => self.events(bytes, scratch, numbers, sink),
            Kind::Frames => self.message_part(bytes, false, scratch, numbers, sink),
            Kind::Encoded => sink.encoded(bytes.len() as u64),
            Kind::None => {}
        }
    }

    /// Takes in a whole message of a WebSocket.
    pub fn message(
        &mut self,
        bytes: &[u8],
        scratch: &mut Scratch,
        sequence: Option<&Sequence>,
        sink: &mut impl ItemSink,
    ) {
        let n_to_answer = sink.n_to_answer();
        if n_to_answer > 0 {
            sink.answer(&bytes[..bytes.len().min(n_to_answer)]);
        }
        self.message_part(bytes, true, scratch, self.numbers(sequence), sink);
        self.end_message(scratch, sink);
    }

    /// Takes in the end of a message of a WebSocket, whose bytes came before.
    pub fn message_end(
        &mut self,
        scratch: &mut Scratch,
        sequence: Option<&Sequence>,
        sink: &mut impl ItemSink,
    ) {
        if sink.n_to_answer() > 0 {
            sink.answer(&scratch.start);
            scratch.start.clear();
        }
        self.message_part(&[], true, scratch, self.numbers(sequence), sink);
        self.end_message(scratch, sink);
    }

    /// Takes in the end of a chunk.
    pub fn chunk_end(&mut self, scratch: &mut Scratch, sink: &mut impl ItemSink) {
        scratch.is_at_chunk_end = true;
        if self.kind == Kind::Chunks {
            show_text(scratch, sink);
            // A chunk has no borders that are a message's, so whether it has a mark says nothing.
            sink.item(true);
        }
    }

    /// Takes in the end of the body, after which nothing comes. `is_proper` if it is the end that
    /// the server meant; if not, only what was complete counts.
    pub fn end(
        &mut self,
        scratch: &mut Scratch,
        sequence: Option<&Sequence>,
        is_proper: bool,
        sink: &mut impl ItemSink,
    ) {
        if self.kind == Kind::Frames {
            // A message that has not come whole is none, however its connection ends.
            return;
        }
        let is_complete = is_proper || scratch.is_at_chunk_end;
        if is_complete {
            // A stamp of the older form has no end of its own.
            self.stamps(b" ", scratch, sink);
        }
        if let Numbers::Pattern(pattern) = self.numbers(sequence)
            && is_complete
            && sink.wants_numbers()
        {
            self.pattern(pattern, &[], true, scratch, sink);
        }
        if self.kind == Kind::Lines && self.has(HAS_CONTENT) && is_complete {
            self.item(scratch, sink);
        }
    }

    /// How numbers are found.
    fn numbers(self, sequence: Option<&Sequence>) -> Numbers<'_> {
        match (sequence, self.kind) {
            (None, _) if !self.has(OURS) => Numbers::None,
            (Some(Sequence::Pattern(pattern)), _) => Numbers::Pattern(pattern),
            // comet-server numbers events by their ids as well.
            (_, Kind::Events) => Numbers::EventId,
            (Some(Sequence::EventId), _) => Numbers::None,
            (None | Some(Sequence::Comet), _) => Numbers::Comet,
        }
    }

    /// Takes in bytes of a body without borders of its own.
    fn text(
        &mut self,
        mut bytes: &[u8],
        scratch: &mut Scratch,
        numbers: Numbers<'_>,
        sink: &mut impl ItemSink,
    ) {
        while !bytes.is_empty() {
            match numbers {
                // Stamps and numbers are shown in the order in which they stand in the body: which
                // of them comes first decides what the connection is judged by.
                Numbers::Comet if sink.wants_numbers() => {
                    if self.has(AT_MESSAGE) {
                        scratch.comet = CometFinder::at_message();
                    }
                    let (number, n_read) = scratch.comet.find(bytes);
                    let is_at_message = scratch.comet.is_at_message();
                    if is_at_message {
                        scratch.comet = CometFinder::default();
                    }
                    self.set(AT_MESSAGE, is_at_message);
                    self.stamps(&bytes[..n_read], scratch, sink);
                    if let Some(number) = number {
                        sink.number(number);
                    }
                    bytes = &bytes[n_read..];
                }
                Numbers::Pattern(pattern) if sink.wants_numbers() => {
                    self.stamps(bytes, scratch, sink);
                    self.pattern(pattern, bytes, false, scratch, sink);
                    return;
                }
                _ => {
                    scratch.comet = CometFinder::default();
                    self.stamps(bytes, scratch, sink);
                    return;
                }
            }
        }
    }

    /// Takes in bytes of a message of a WebSocket; its last ones if `is_end`.
    fn message_part(
        &mut self,
        bytes: &[u8],
        is_end: bool,
        scratch: &mut Scratch,
        numbers: Numbers<'_>,
        sink: &mut impl ItemSink,
    ) {
        if !is_end {
            let n_room = sink.n_to_answer().saturating_sub(scratch.start.len());
            scratch.start.extend_from_slice(&bytes[..bytes.len().min(n_room)]);
        }
        match numbers {
            Numbers::Comet if sink.wants_numbers() => {
                if self.has(AT_MESSAGE) {
                    scratch.comet = CometFinder::at_message();
                }
                if let Some(number) = scratch.comet.find_at_start(bytes) {
                    scratch.number = ItemNumber::Is(number);
                }
            }
            Numbers::Pattern(pattern) if sink.wants_numbers() => {
                self.pattern(pattern, bytes, is_end, scratch, sink);
            }
            _ => scratch.comet = CometFinder::default(),
        }
        self.set(AT_MESSAGE, false);
        if sink.wants_text() {
            scratch.text.push(bytes);
        }
        self.stamps(bytes, scratch, sink);
    }

    /// Takes in the end of a message of a WebSocket, of which no mark reaches into the next.
    fn end_message(&mut self, scratch: &mut Scratch, sink: &mut impl ItemSink) {
        if scratch.stamps.is_inside() {
            // A stamp of the older form has no end of its own.
            self.stamps(b" ", scratch, sink);
            scratch.stamps = StampFinder::default();
        }
        scratch.comet = CometFinder::default();
        self.item(scratch, sink);
        self.set(AT_MESSAGE, true);
    }

    /// Takes in bytes of a body of lines.
    fn lines(
        &mut self,
        mut bytes: &[u8],
        scratch: &mut Scratch,
        numbers: Numbers<'_>,
        sink: &mut impl ItemSink,
    ) {
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            // A line feed or a record separator alone is no item: servers keep connections with it.
            let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x1e;
            // What stands before the line's text is none of it, wherever it is cut.
            let n_blank = line.iter().take_while(|byte| is_blank(byte)).count();
            let start = if self.has(HAS_CONTENT) { 0 } else { n_blank };
            let has_content = start < line.len();
            self.set(HAS_CONTENT, has_content);
            if sink.wants_text() {
                scratch.text.push(&line[start..]);
            }
            self.stamps(line, scratch, sink);
            if let Numbers::Pattern(pattern) = numbers
                && sink.wants_numbers()
            {
                self.pattern(pattern, line, end.is_some(), scratch, sink);
            }
            if end.is_some() && has_content {
                self.item(scratch, sink);
            }
            bytes = rest;
        }
    }

    /// Takes in bytes of an event stream.
    fn events(
        &mut self,
        mut bytes: &[u8],
        scratch: &mut Scratch,
        numbers: Numbers<'_>,
        sink: &mut impl ItemSink,
    ) {
        while let [first, after @ ..] = bytes {
            if self.has(AFTER_CR) {
                self.set(AFTER_CR, false);
                if *first == b'\n' {
                    bytes = after;
                    continue;
                }
            }
            let piece = events::split(bytes);
            let n_read = bytes.len() - piece.rest.len();
            self.stamps(&bytes[..n_read], scratch, sink);
            self.set(AFTER_CR, piece.end == Some(b'\r'));
            let is_first = !self.has(STARTED);
            let (is_end, id) = (piece.end.is_some(), &mut scratch.id);
            if sink.wants_text() {
                scratch.text.push_line(piece.line, is_end, is_first);
            }
            let id = sink.wants_ids().then_some(id);
            let line = events::take(&mut scratch.line, piece.line, is_end, is_first, id);
            if let Numbers::Pattern(pattern) = numbers
                && sink.wants_numbers()
            {
                let is_end = line == Some(Line::Blank);
                self.pattern(pattern, &bytes[..n_read], is_end, scratch, sink);
            }
            if let Some(line) = line {
                self.set(STARTED, true);
                self.line(line, scratch, numbers, sink);
            }
            bytes = piece.rest;
        }
    }

    /// Takes in a line of an event stream.
    fn line(
        &mut self,
        line: Line,
        scratch: &mut Scratch,
        numbers: Numbers<'_>,
        sink: &mut impl ItemSink,
    ) {
        if line == Line::Blank
            && let Some(id) = scratch.id.take()
        {
            sink.event_id(&id);
        }
        match line {
            Line::Comment => sink.comment(),
            Line::Data => self.set(HAS_CONTENT, true),
            Line::Id(number) if matches!(numbers, Numbers::EventId) => {
                scratch.number = number.map_or(ItemNumber::None, ItemNumber::Is);
            }
            Line::Id(_) | Line::Other => {}
            Line::Retry(ms) => sink.retry(ms),
            // By the standard, what has no data is no event; its id counts all the same.
            Line::Blank if self.has(HAS_CONTENT) => self.item(scratch, sink),
            Line::Blank => self.begin_item(scratch),
        }
    }

    /// Takes in the end of an item that has borders of its own.
    fn item(&mut self, scratch: &mut Scratch, sink: &mut impl ItemSink) {
        if let ItemNumber::Is(number) = std::mem::take(&mut scratch.number) {
            self.set(MARKED, true);
            if sink.wants_numbers() {
                sink.number(number);
            }
        }
        show_text(scratch, sink);
        sink.item(self.has(MARKED));
        self.begin_item(scratch);
    }

    /// Forgets the item before.
    fn begin_item(&mut self, scratch: &mut Scratch) {
        self.bits &= !(HAS_CONTENT | MARKED);
        scratch.number = ItemNumber::None;
        scratch.seen.clear();
        scratch.previous = None;
        scratch.text.clear();
    }

    /// Looks for stamps.
    fn stamps(&mut self, mut bytes: &[u8], scratch: &mut Scratch, sink: &mut impl ItemSink) {
        while !bytes.is_empty() {
            let (stamp, n_read) = scratch.stamps.find(bytes);
            bytes = &bytes[n_read..];
            let Some(stamp) = stamp else { return };
            self.set(MARKED, true);
            if let Some(mark) = stamp.mark
                && matches!(self.kind, Kind::Events | Kind::Lines | Kind::Frames)
            {
                // A message may stand in an item twice, as text and as HTML. In a chunk or in bytes
                // it cannot be told whether that is one message twice or two of them.
                if scratch.seen.contains(&mark) {
                    continue;
                }
                if scratch.seen.len() < MAX_STAMPS_OF_AN_ITEM {
                    scratch.seen.push(mark);
                }
            }
            sink.stamp(stamp);
        }
    }

    /// Looks for numbers by a pattern. Of an item with borders the first counts, when it is
    /// complete; elsewhere all of them do, at once.
    fn pattern(
        &mut self,
        pattern: &Pattern,
        piece: &[u8],
        is_end: bool,
        scratch: &mut Scratch,
        sink: &mut impl ItemSink,
    ) {
        let has_borders = matches!(self.kind, Kind::Events | Kind::Lines | Kind::Frames);
        let Scratch { tail, number, previous, .. } = scratch;
        tail.feed(pattern, piece, *previous, is_end, |found| match found {
            _ if has_borders && *number != ItemNumber::None => {}
            Found::Number(n) if has_borders => *number = ItemNumber::Is(n),
            // The item is counted as one without a number when it is complete.
            Found::TooLong if has_borders => *number = ItemNumber::TooLong,
            Found::Number(n) => sink.number(n),
            Found::TooLong => sink.too_long(),
        });
        if pattern.looks_behind() {
            *previous = piece.last().copied().or(*previous);
        }
    }

    /// Whether something is so.
    fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    /// Makes something so, or not so.
    fn set(&mut self, bit: u8, is_so: bool) {
        if is_so {
            self.bits |= bit;
        } else {
            self.bits &= !bit;
        }
    }
}

/// Shows the text of an item that is complete, if somebody looks into it.
fn show_text(scratch: &mut Scratch, sink: &mut impl ItemSink) {
    if sink.wants_text() {
        sink.text(scratch.text.whole());
        scratch.text.clear();
    }
}

#[cfg(test)]
mod tests;
