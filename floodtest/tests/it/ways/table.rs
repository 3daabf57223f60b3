//! The ways to answer.
//!
//! Twelve messages are sent on each connection, or with `Lossy` nine of them. With `Mixed` one is
//! lost, one comes twice and one late: eleven different ones.

use reports::books::{ItemKind, JudgedBy};

use super::way::{Content, Cut, Faults, Framing, Number, Text, Values, Verdict, Way, Writes};

use Framing::{Chunked, Close, Http10, Length};

/// Of `Mixed`: lost, duplicated, reordered.
const MIXED: [u64; 3] = [1, 1, 1];

/// Of `Lossy`.
const LOSSY: [u64; 3] = [3, 0, 0];

/// Nothing.
const RIGHT: [u64; 3] = [0, 0, 0];

/// The flags for numbers in an event's `id`.
const EVENT_ID: &[&str] = &["--sequence", "event-id"];

/// The same where what is left out is lost, though most connections leave something out.
const LOST_EVENT_ID: &[&str] = &["--sequence", "event-id", "--numbers", "consecutive"];

/// The flags for numbers as comet-server writes them, where its head does not say that it is it.
const COMET: &[&str] = &["--sequence", "comet"];

/// The flags for numbers behind `seq=`.
const SEQ: &[&str] = &["--sequence", "seq=([0-9]+)"];

/// The same where what is left out is lost.
const LOST_SEQ: &[&str] = &["--sequence", "seq=([0-9]+)", "--numbers", "consecutive"];

/// All of them.
pub(super) fn ways() -> Vec<Way> {
    [
        comet(),
        comet_behind_proxies(),
        comet_events(),
        events_by_stamps(),
        events_by_ids(),
        lines(),
        without_borders(),
        not_looked_into(),
        said_otherwise(),
        that_end(),
    ]
    .concat()
}

/// comet-server's own words, known by its head and judged by its numbers.
fn comet() -> Vec<Way> {
    let way = |name, framing| {
        let way = Way::new(name, framing, Content::Comet).numbered(Number::Comet);
        way.judged(JudgedBy::Numbers, 12, RIGHT)
    };
    let mixed =
        |name, framing| way(name, framing).with(Faults::Mixed).judged(JudgedBy::Numbers, 11, MIXED);
    let chunks = ItemKind::Chunks;
    vec![
        way("a message a chunk", Chunked).items(chunks, 12),
        mixed("a message a chunk, with faults", Chunked).items(chunks, 12),
        mixed("three messages a chunk", Chunked).cut(Cut::Three).items(chunks, 4),
        mixed("a message over three chunks", Chunked).cut(Cut::Thirds).items(chunks, 36),
        mixed("borders within numbers", Chunked).cut(Cut::Number).items(chunks, 13),
        mixed("a byte a chunk", Chunked).cut(Cut::Byte).items(chunks, 12 * 26 + 3),
        mixed("one chunk", Chunked).cut(Cut::Whole).items(chunks, 1),
        mixed("all in one write", Chunked).writes(Writes::Together).items(chunks, 12),
        mixed("split over reads", Chunked).writes(Writes::Sevens).items(chunks, 12),
        mixed("with a length", Length).items(ItemKind::Bytes, 12),
        mixed("until the close", Close).items(ItemKind::Bytes, 12),
        mixed("until the close, a byte at a time", Close).cut(Cut::Byte).items(ItemKind::Bytes, 12),
        mixed("until the close, all in one write", Close)
            .writes(Writes::Together)
            .items(ItemKind::Bytes, 12),
        mixed("in HTTP/1.0", Http10).cut(Cut::Number).items(ItemKind::Bytes, 12),
        // Its numbers begin with 1, and so they tell more than stamps without the sender's file.
        mixed("with stamps", Chunked).says(Text::Stamped).timed(12).items(chunks, 12),
        way("with stamps of the older form", Chunked).says(Text::Old).timed(12).items(chunks, 12),
    ]
}

/// The same where a proxy has put its own name into the head.
fn comet_behind_proxies() -> Vec<Way> {
    let way = |name, framing| {
        let way = Way::new(name, framing, Content::Comet).numbered(Number::Comet);
        way.behind_proxy().with(Faults::Mixed)
    };
    let chunks = ItemKind::Chunks;
    vec![
        way("without stamps", Chunked).items(chunks, 12),
        way("without stamps, named", Chunked)
            .flags(COMET)
            .judged(JudgedBy::Numbers, 11, MIXED)
            .items(chunks, 12),
        way("named, borders within numbers", Chunked)
            .cut(Cut::Number)
            .flags(COMET)
            .judged(JudgedBy::Numbers, 11, MIXED)
            .items(chunks, 13),
        way("named, until the close", Close)
            .with(Faults::Lossy)
            .flags(COMET)
            .judged(JudgedBy::Numbers, 9, LOSSY)
            .items(ItemKind::Bytes, 9),
        way("stamps, three a chunk", Chunked)
            .cut(Cut::Three)
            .says(Text::Stamped)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(chunks, 4),
        way("stamps, borders within them", Chunked)
            .cut(Cut::Stamp)
            .says(Text::Stamped)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(chunks, 13),
        way("stamps, split over reads", Chunked)
            .writes(Writes::Sevens)
            .says(Text::Stamped)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(chunks, 12),
        way("stamps with much behind them", Chunked)
            .says(Text::Followed)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(chunks, 12),
        way("stamps, until the close", Close)
            .cut(Cut::Stamp)
            .says(Text::Stamped)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(ItemKind::Bytes, 12),
    ]
}

/// comet-server's events.
fn comet_events() -> Vec<Way> {
    let way = |name, framing| {
        Way::new(name, framing, Content::CometEvents)
            .numbered(Number::Comet)
            .with(Faults::Mixed)
            .judged(JudgedBy::Numbers, 11, MIXED)
            .items(ItemKind::Events, 12)
    };
    vec![
        way("an event a chunk", Chunked),
        way("an event over three chunks", Chunked).cut(Cut::Thirds),
        way("until the close", Close),
        way("behind a proxy", Chunked).behind_proxy().flags(LOST_EVENT_ID),
        way("behind a proxy, with stamps", Chunked)
            .behind_proxy()
            .cut(Cut::Three)
            .says(Text::Stamped)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12),
    ]
}

/// Event streams of other servers, known by the stamps in their data.
fn events_by_stamps() -> Vec<Way> {
    let way = |name, framing, content| {
        Way::new(name, framing, content)
            .says(Text::Stamped)
            .with(Faults::Mixed)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(ItemKind::Events, 12)
    };
    vec![
        way("LF", Chunked, Content::Events),
        way("CR LF", Chunked, Content::EventsCrLf),
        way("CR", Chunked, Content::EventsCr),
        way("CR, a byte a chunk", Chunked, Content::EventsCr).cut(Cut::Byte),
        way("CR LF, a byte a chunk", Chunked, Content::EventsCrLf).cut(Cut::Byte),
        way("a byte order mark", Chunked, Content::EventsAfterBom),
        way("a byte order mark, until the close", Close, Content::EventsAfterBom),
        way("comments", Chunked, Content::EventsAndComments).comments(36),
        way("comments, in thirds", Chunked, Content::EventsAndComments)
            .cut(Cut::Thirds)
            .comments(36),
        way("data of three lines", Chunked, Content::EventsOfLines),
        way("retry and empty events", Chunked, Content::EventsAndFields),
        way("three events a chunk", Chunked, Content::Events).cut(Cut::Three),
        way("an event over three chunks", Chunked, Content::Events).cut(Cut::Thirds),
        way("borders within stamps", Chunked, Content::Events).cut(Cut::Stamp),
        way("until the close", Close, Content::Events),
        way("until the close, lossy", Close, Content::Events)
            .with(Faults::Lossy)
            .judged(JudgedBy::Stamps, 9, LOSSY)
            .timed(9)
            .items(ItemKind::Events, 9),
        way("with a length", Length, Content::EventsCrLf),
        way("in HTTP/1.0, split over reads", Http10, Content::Events).writes(Writes::Sevens),
        way("all in one write", Close, Content::Events).writes(Writes::Together),
        way("much behind the stamps", Chunked, Content::Events).says(Text::Followed),
        // One message: the same stamp again within an item says nothing new.
        way("each stamp twice in its event", Chunked, Content::Events)
            .says(Text::Twice)
            .cut(Cut::Thirds),
        way("stamps, and ids of a counter for all", Chunked, Content::Events)
            .numbered(Number::EventId(Values::Global)),
        way("stamps, and ids that begin again", Chunked, Content::Events)
            .numbered(Number::EventId(Values::BeginsAgain)),
    ]
}

/// Event streams of other servers, known by their ids.
fn events_by_ids() -> Vec<Way> {
    let way = |name, framing, content, values| {
        Way::new(name, framing, content)
            .numbered(Number::EventId(values))
            .flags(LOST_EVENT_ID)
            .with(Faults::Mixed)
            .judged(JudgedBy::Numbers, 11, MIXED)
            .items(ItemKind::Events, 12)
    };
    let (events, consecutive) = (Content::Events, Values::Consecutive);
    vec![
        way("ids", Chunked, events, consecutive),
        way("ids, borders within them", Chunked, events, consecutive).cut(Cut::Number),
        way("ids, until the close", Close, Content::EventsCrLf, consecutive),
        way("ids behind byte 256", Chunked, Content::EventsLateId, consecutive),
        way("ids behind byte 256, in thirds", Chunked, Content::EventsLateId, consecutive)
            .cut(Cut::Thirds),
        way("ids among comments", Chunked, Content::EventsAndComments, consecutive).comments(36),
        way("ids of a counter for all", Chunked, events, Values::Global)
            .flags(EVENT_ID)
            .losses_unknown(Verdict::Unable),
        way("ids of which most connections miss one", Chunked, events, consecutive)
            .flags(EVENT_ID)
            .losses_unknown(Verdict::Unable),
        way("ids, none missing", Chunked, events, consecutive)
            .flags(EVENT_ID)
            .with(Faults::None)
            .judged(JudgedBy::Numbers, 12, RIGHT),
        // What comes late by 137 is older than the window of 64 numbers: not known to be late.
        way("ids that are times", Close, events, Values::Times)
            .flags(EVENT_ID)
            .judged(JudgedBy::Numbers, 10, [0, 1, 0])
            .losses_unknown(Verdict::Unable),
        way("times, said to rise", Close, events, Values::Times)
            .flags(&["--sequence", "event-id", "--numbers", "rising"])
            .judged(JudgedBy::Numbers, 10, [0, 1, 0])
            .losses_unknown(Verdict::Wrong),
        way("times, said to rise, right", Close, events, Values::Times)
            .flags(&["--sequence", "event-id", "--numbers", "rising"])
            .with(Faults::None)
            .judged(JudgedBy::Numbers, 12, RIGHT)
            .losses_unknown(Verdict::Right),
        // With the flag nothing is suppressed: between 1,007 and 1,084 there are 66 other numbers.
        way("a counter for all, said to be consecutive", Chunked, events, Values::Global)
            .flags(&["--sequence", "event-id", "--numbers", "consecutive"])
            .with(Faults::None)
            .judged(JudgedBy::Numbers, 12, [66, 0, 0]),
    ]
}

/// NDJSON.
fn lines() -> Vec<Way> {
    let way = |name, framing, content| {
        Way::new(name, framing, content).with(Faults::Mixed).items(ItemKind::Lines, 12)
    };
    let stamped = |name, framing, content| {
        let way = way(name, framing, content).says(Text::Stamped).timed(12);
        way.judged(JudgedBy::Stamps, 11, MIXED)
    };
    let seq = |name, framing, content| {
        let way = way(name, framing, content).numbered(Number::Seq(Values::Consecutive));
        way.flags(LOST_SEQ).judged(JudgedBy::Numbers, 11, MIXED)
    };
    vec![
        stamped("a line a chunk", Chunked, Content::Lines),
        stamped("three lines a chunk", Chunked, Content::Lines).cut(Cut::Three),
        stamped("a line over three chunks", Chunked, Content::Lines).cut(Cut::Thirds),
        stamped("CR LF and empty lines", Chunked, Content::LinesCrLf),
        stamped("until the close", Close, Content::Lines),
        stamped("with a length", Length, Content::Lines).cut(Cut::Whole),
        seq("numbers by an expression", Chunked, Content::Lines),
        seq("numbers by an expression, in thirds", Chunked, Content::LinesCrLf).cut(Cut::Thirds),
        seq("numbers by an expression, borders within", Close, Content::Lines).cut(Cut::Number),
        way("no marks", Close, Content::Lines),
        way("a typing error in the expression", Chunked, Content::Lines)
            .numbered(Number::Seq(Values::Consecutive))
            .flags(&["--sequence", "sequ=([0-9]+)"])
            .unable(),
    ]
}

/// Bodies whose messages have no borders that anybody could know.
fn without_borders() -> Vec<Way> {
    let chunks = ItemKind::Chunks;
    let stamped = |name, framing, content| {
        Way::new(name, framing, content)
            .says(Text::Stamped)
            .with(Faults::Mixed)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
            .items(ItemKind::Bytes, 12)
    };
    let seq = |name, framing, content| {
        Way::new(name, framing, content)
            .numbered(Number::Seq(Values::Consecutive))
            .flags(LOST_SEQ)
            .with(Faults::Mixed)
            .judged(JudgedBy::Numbers, 11, MIXED)
            .items(ItemKind::Bytes, 12)
    };
    vec![
        stamped("stamps in objects", Close, Content::Objects),
        stamped("stamps in objects, chunks of three", Chunked, Content::Objects)
            .cut(Cut::Three)
            .items(chunks, 4),
        stamped("stamps in text, borders within", Close, Content::Bytes).cut(Cut::Stamp),
        stamped("stamps in text, a byte a chunk", Chunked, Content::Bytes)
            .cut(Cut::Byte)
            // As many as there are bytes, which the clock decides.
            .items_unknown(chunks),
        seq("numbers in objects", Close, Content::Objects).cut(Cut::Number),
        seq("numbers in objects, in thirds", Chunked, Content::Objects)
            .cut(Cut::Thirds)
            .items(chunks, 36),
        seq("numbers in text, borders within", Chunked, Content::Bytes)
            .cut(Cut::Number)
            .items(chunks, 13),
        seq("numbers in text, a byte at a time", Close, Content::Bytes).cut(Cut::Byte),
        seq("numbers in text, with a length", Length, Content::Bytes).writes(Writes::Sevens),
        seq("numbers in text, lossy", Http10, Content::Bytes)
            .with(Faults::Lossy)
            .judged(JudgedBy::Numbers, 9, LOSSY)
            .items(ItemKind::Bytes, 9),
    ]
}

/// Bodies in which nothing is found by which a message could be known.
fn not_looked_into() -> Vec<Way> {
    let chunks = ItemKind::Chunks;
    vec![
        Way::new("numbers behind # that are not its own", Chunked, Content::Bytes)
            .says(Text::Tickets)
            .items(chunks, 12),
        Way::new("the same in events", Chunked, Content::Events)
            .says(Text::Tickets)
            .with(Faults::Lossy)
            .items(ItemKind::Events, 9),
        Way::new("the same, with an expression", Chunked, Content::Events)
            .says(Text::Tickets)
            .numbered(Number::Seq(Values::Consecutive))
            .flags(SEQ)
            .judged(JudgedBy::Numbers, 12, RIGHT)
            .items(ItemKind::Events, 12),
        Way::new("a counter that begins again", Chunked, Content::Objects)
            .numbered(Number::Seq(Values::BeginsAgain))
            .items(chunks, 12),
        Way::new("text without marks, until the close", Close, Content::Bytes)
            .items(ItemKind::Bytes, 0),
        Way::new("stamps of the older form in events", Close, Content::Events)
            .says(Text::Old)
            .timed(12)
            .items(ItemKind::Events, 12),
        Way::new("gzip", Chunked, Content::Events)
            .says(Text::Stamped)
            .encoded("gzip")
            .with(Faults::Lossy)
            .items_unknown(ItemKind::None),
        Way::new("deflate, until the close", Close, Content::Lines)
            .says(Text::Stamped)
            .encoded("deflate")
            .with(Faults::Lossy)
            .items_unknown(ItemKind::None),
        Way::new("br, asked to judge", Chunked, Content::Lines)
            .says(Text::Stamped)
            .encoded("br")
            .flags(SEQ)
            .items_unknown(ItemKind::None)
            .unable(),
        Way::new("an encoding that is none", Chunked, Content::Events)
            .says(Text::Stamped)
            .encoded("identity")
            .judged(JudgedBy::Stamps, 12, RIGHT)
            .timed(12)
            .items(ItemKind::Events, 12),
    ]
}

/// Where flags say something else than the head does.
fn said_otherwise() -> Vec<Way> {
    let stamped = |name, framing, content| {
        Way::new(name, framing, content)
            .says(Text::Stamped)
            .with(Faults::Mixed)
            .judged(JudgedBy::Stamps, 11, MIXED)
            .timed(12)
    };
    vec![
        stamped("events taken for chunks", Chunked, Content::Events)
            .flags(&["--stream", "chunks"])
            .cut(Cut::Three)
            .items(ItemKind::Chunks, 4),
        stamped("objects taken for bytes", Chunked, Content::Objects)
            .flags(&["--stream", "bytes"])
            .cut(Cut::Three)
            .items(ItemKind::Bytes, 12),
        stamped("text taken for lines", Close, Content::Lines)
            .flags(&["--stream", "lines"])
            .items(ItemKind::Lines, 12),
        stamped("numbers and stamps, judged by numbers", Chunked, Content::Comet)
            .numbered(Number::Comet)
            .flags(&["--judge", "numbers"])
            .judged(JudgedBy::Numbers, 11, MIXED)
            .items(ItemKind::Chunks, 12),
        Way::new("numbers only, judged by stamps", Chunked, Content::Comet)
            .numbered(Number::Comet)
            .flags(&["--judge", "stamps"])
            .items(ItemKind::Chunks, 12)
            .unable(),
    ]
}

/// Bodies that come to an end.
fn that_end() -> Vec<Way> {
    let way = |name, framing, content| {
        Way::new(name, framing, content)
            .says(Text::Stamped)
            .closed()
            .flags(&["--ends", "ok"])
            .judged(JudgedBy::Stamps, 12, RIGHT)
            .timed(12)
    };
    let events = Content::Events;
    vec![
        way("with a last chunk", Chunked, events).items(ItemKind::Events, 12),
        way("when all of the length has come", Length, events).items(ItemKind::Events, 12),
        way("with the close", Close, Content::Lines).items(ItemKind::Lines, 12),
        way("with the close of HTTP/1.0", Http10, Content::Bytes).items(ItemKind::Bytes, 12),
        way("without --ends", Close, events)
            .flags(&[])
            .judged(JudgedBy::Stamps, 12, RIGHT)
            .items(ItemKind::Events, 12)
            .wrong(),
    ]
}
