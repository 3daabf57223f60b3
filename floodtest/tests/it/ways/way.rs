//! A way to answer, and what is true of it.

use reports::books::{ItemKind, JudgedBy};

use super::stage::Ending;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// `Content-Length`.
    Length,
    /// By the close of the connection, in HTTP/1.1.
    Close,
    /// The same in HTTP/1.0.
    Http10,
}

/// What a body consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// `Recvd msg #1: 'text'<br/>`.
    Comet,
    /// The same server's events.
    CometEvents,
    /// Events with LF.
    Events,
    /// With CR LF.
    EventsCrLf,
    /// With CR.
    EventsCr,
    /// With a byte order mark before the first.
    EventsAfterBom,
    /// Three comments beside each event.
    EventsAndComments,
    /// Three `data` lines an event.
    EventsOfLines,
    /// `retry`, fields without a colon, and events without data, which are none.
    EventsAndFields,
    /// The `id` after 300 bytes of data.
    EventsLateId,
    /// NDJSON.
    Lines,
    /// With CR LF and empty lines in between.
    LinesCrLf,
    /// JSON objects with nothing between them.
    Objects,
    /// Text with a bar behind each message.
    Bytes,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// Nothing by which it could be known, but for its number.
    Plain,
    /// A stamp at its end.
    Stamped,
    /// A stamp of the older form, which has times only.
    Old,
    /// A stamp with an `@` and 150 bytes behind it.
    Followed,
    /// The same stamp twice.
    Twice,
    /// Numbers behind a `#` that are not the message's.
    Tickets,
}

/// Where a server writes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// Nowhere.
    Nowhere,
    /// As comet-server does.
    Comet,
    /// In the `id` field of an event.
    EventId(Values),
    /// In the text, behind `seq=`.
    Seq(Values),
}

impl Number {
    /// What numbers it writes.
    pub(super) fn values(self) -> Option<Values> {
        match self {
            Self::EventId(values) | Self::Seq(values) => Some(values),
            Self::Nowhere | Self::Comet => None,
        }
    }
}

/// What numbers a server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// 96, 97, 98, …
    Consecutive,
    /// Of a counter for all connections.
    Global,
    /// Times in milliseconds.
    Times,
    /// 1 to 6, and again from 1.
    BeginsAgain,
}

/// What is wrong with the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Faults {
    /// Nothing.
    None,
    /// One is lost, one comes twice, one comes late.
    Mixed,
    /// Three are lost.
    Lossy,
}

/// Where the borders are: of chunks in a chunked body, of writes in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Around each message.
    Message,
    /// Around each three messages.
    Three,
    /// Around each third of a message.
    Thirds,
    /// In the middle of every number, and nowhere else.
    Number,
    /// In the middle of every stamp, and nowhere else.
    Stamp,
    /// Around every byte.
    Byte,
    /// None.
    Whole,
}

/// What is written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// The head, and then what lies between two borders.
    AsCut,
    /// Head and body all together.
    Together,
    /// Seven bytes, wherever the borders are.
    Sevens,
}

/// How floodtest judges a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Code 0, everything was judged.
    Right,
    /// Code 0, and it says that messages were not judged.
    NotJudged,
    /// Code 1: messages are missing, or not as they should be.
    Wrong,
    /// Code 1: it was asked to judge, and could not.
    Unable,
}

/// What is true of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truth {
    /// What items are.
    pub(super) kind: ItemKind,
    /// How many there are; `None` where nobody can say.
    pub(super) items: Option<u64>,
    /// Messages that can be told apart, each once.
    pub(super) messages: u64,
    /// Comments of event streams.
    pub(super) comments: u64,
    /// Lost, duplicated, reordered; `None` where nothing tells.
    pub(super) faults: [Option<u64>; 3],
    /// What they are judged by.
    pub(super) by: JudgedBy,
    /// Stamps that are received.
    pub(super) timed: u64,
    /// How the run is judged.
    pub(super) verdict: Verdict,
}

/// A way to answer.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// What is special about it.
    pub(super) name: &'static str,
    /// How the end of the body is known.
    pub(super) framing: Framing,
    /// What it consists of.
    pub(super) content: Content,
    /// The value of `Content-Encoding`.
    pub(super) encoding: Option<&'static str>,
    /// Where the borders are.
    pub(super) cut: Cut,
    /// What is written at once.
    pub(super) writes: Writes,
    /// What messages say.
    pub(super) text: Text,
    /// Where they have a number.
    pub(super) number: Number,
    /// What is wrong with them.
    pub(super) faults: Faults,
    /// How the connection goes on after them.
    pub(super) ending: Ending,
    /// Whether the head names a proxy instead of comet-server.
    pub(super) is_behind_proxy: bool,
    /// Further flags of floodtest.
    pub(super) flags: &'static [&'static str],
    /// What is true.
    pub(super) truth: Truth,
}

impl Way {
    /// A body in this framing, a message between two borders, without faults.
    pub(super) fn new(name: &'static str, framing: Framing, content: Content) -> Self {
        let truth = Truth {
            kind: ItemKind::Bytes,
            items: None,
            messages: 0,
            comments: 0,
            faults: [None; 3],
            by: JudgedBy::Nothing,
            timed: 0,
            verdict: Verdict::NotJudged,
        };
        Self {
            name,
            framing,
            content,
            encoding: None,
            cut: Cut::Message,
            writes: Writes::AsCut,
            text: Text::Plain,
            number: Number::Nowhere,
            faults: Faults::None,
            ending: Ending::Held,
            is_behind_proxy: false,
            flags: &[],
            truth,
        }
    }

    /// With borders here.
    pub(super) fn cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// Written so.
    pub(super) fn writes(self, writes: Writes) -> Self {
        Self { writes, ..self }
    }

    /// With an encoding that is named.
    pub(super) fn encoded(self, encoding: &'static str) -> Self {
        Self { encoding: Some(encoding), ..self }
    }

    /// With such messages.
    pub(super) fn says(self, text: Text) -> Self {
        Self { text, ..self }
    }

    /// With numbers.
    pub(super) fn numbered(self, number: Number) -> Self {
        Self { number, ..self }
    }

    /// With faults.
    pub(super) fn with(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Closed by the server at its end.
    pub(super) fn closed(self) -> Self {
        Self { ending: Ending::Closed, ..self }
    }

    /// With the head of a proxy.
    pub(super) fn behind_proxy(self) -> Self {
        Self { is_behind_proxy: true, ..self }
    }

    /// With further flags.
    pub(super) fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    /// What is true of its items.
    pub(super) fn items(self, kind: ItemKind, items: u64) -> Self {
        Self { truth: Truth { kind, items: Some(items), ..self.truth }, ..self }
    }

    /// The same where their number is not known.
    pub(super) fn items_unknown(self, kind: ItemKind) -> Self {
        Self { truth: Truth { kind, items: None, ..self.truth }, ..self }
    }

    /// How many comments there are.
    pub(super) fn comments(self, comments: u64) -> Self {
        Self { truth: Truth { comments, ..self.truth }, ..self }
    }

    /// How many messages there are, and what is known to be lost, duplicated and reordered.
    pub(super) fn judged(self, by: JudgedBy, messages: u64, faults: [u64; 3]) -> Self {
        let verdict = if faults == [0; 3] { Verdict::Right } else { Verdict::Wrong };
        let faults = faults.map(Some);
        Self { truth: Truth { messages, faults, by, verdict, ..self.truth }, ..self }
    }

    /// That what is lost is not known, but for duplicates and order.
    pub(super) fn losses_unknown(self, verdict: Verdict) -> Self {
        let [_, duplicated, reordered] = self.truth.faults;
        let faults = [None, duplicated, reordered];
        Self { truth: Truth { faults, verdict, ..self.truth }, ..self }
    }

    /// That judging was asked for and cannot be done.
    pub(super) fn unable(self) -> Self {
        Self { truth: Truth { verdict: Verdict::Unable, ..self.truth }, ..self }
    }

    /// That the run is faulty all the same.
    pub(super) fn wrong(self) -> Self {
        Self { truth: Truth { verdict: Verdict::Wrong, ..self.truth }, ..self }
    }

    /// How many stamps are received.
    pub(super) fn timed(self, timed: u64) -> Self {
        Self { truth: Truth { timed, ..self.truth }, ..self }
    }
}
