//! What servers send: messages with their marks, and what stands around them.

use memchr::memmem;
use reports::stamp::{Clock, Mark, Sender, Stamp};
use std::time::Instant;

use super::way::{Content, Faults, Number, Text, Values, Way};

/// Messages of a connection, before any are lost.
pub(super) const N_MESSAGES: u64 = 12;

/// Who sends them, in their stamps.
pub(super) const SENDER: Sender = Sender(0x0bad_cafe);

/// Message n was due n times ten minutes before it was written; so each delay is another one, and
/// no load on the machine makes one look like another.
pub(super) const DUE_STEP_US: u64 = 600_000_000;

/// Message n was sent n times four minutes after it was due.
pub(super) const LATE_STEP_US: u64 = 240_000_000;

/// One message of a body, with what stands before and after it.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Where the middle of its number is.
    pub(super) number_at: Option<usize>,
    /// Where the middle of its stamp is.
    pub(super) stamp_at: Option<usize>,
}

impl Faults {
    /// The numbers that are sent, in this order. The first and the last are always honest.
    pub(super) fn numbers(self) -> Vec<u64> {
        match self {
            Self::None => (1..=N_MESSAGES).collect(),
            // 5 is lost, 6 comes twice, 3 comes after 4.
            Self::Mixed => vec![1, 2, 4, 3, 6, 6, 7, 8, 9, 10, 11, 12],
            // 5, 8 and 9 are lost.
            Self::Lossy => vec![1, 2, 3, 4, 6, 7, 10, 11, 12],
        }
    }
}

impl Values {
    /// What is written for message `n`.
    fn of(self, n: u64) -> u64 {
        match self {
            // From two digits to three.
            Self::Consecutive => 95 + n,
            Self::Global => 1_000 + 7 * n,
            Self::Times => 1_764_022_500_000 + 137 * n,
            Self::BeginsAgain => (n - 1) % 6 + 1,
        }
    }
}

/// The parts of the body for the connection of `id`.
pub(super) fn parts(way: &Way, id: u64, clock: &Clock) -> Vec<Part> {
    parts_of(way, id, &way.faults.numbers(), clock)
}

/// The parts with these messages.
pub(super) fn parts_of(way: &Way, id: u64, numbers: &[u64], clock: &Clock) -> Vec<Part> {
    let now_unix_us = clock.unix_us(Instant::now());
    let mut parts: Vec<_> = numbers.iter().map(|n| part(way, id, *n, now_unix_us)).collect();
    if way.content == Content::EventsAfterBom {
        let first = &mut parts[0];
        first.bytes.splice(0..0, *b"\xef\xbb\xbf");
        first.number_at = first.number_at.map(|at| at + 3);
        first.stamp_at = first.stamp_at.map(|at| at + 3);
    }
    parts
}

/// Message `n` to `id`.
fn part(way: &Way, id: u64, n: u64, now_unix_us: u64) -> Part {
    let stamp = Stamp {
        due_unix_us: now_unix_us - n * DUE_STEP_US,
        late_us: n * LATE_STEP_US,
        mark: Some(Mark { id, n, sender: SENDER }),
    };
    let old = Stamp { mark: None, ..stamp };
    let number = way.number.values().map(|values| values.of(n));
    let seq = match (way.number, number) {
        (Number::Seq(_), Some(number)) => format!(" seq={number}"),
        _ => String::new(),
    };
    let text = match way.text {
        Text::Plain => format!("hello{seq}"),
        Text::Stamped => format!("hello{seq}{stamp}"),
        Text::Old => format!("hello{seq}{old} "),
        // What follows the stamp holds an @ and more than 128 bytes.
        Text::Followed => format!("a{seq}{stamp} to me@example.org: {}", "x".repeat(150)),
        Text::Twice => format!("a{seq}{stamp} and again{stamp}"),
        Text::Tickets => format!("ticket #{}, colour #336699{seq}", 919 + n / 2),
    };
    let event_id = match (way.number, number) {
        (Number::EventId(_), Some(number)) => format!("id: {number}\n"),
        _ => String::new(),
    };
    let bytes = render(way.content, n, &text, &event_id).into_bytes();
    let written = match way.number {
        Number::Comet => Some(format!("#{n}: ")),
        Number::EventId(_) | Number::Seq(_) => number.map(|number| number.to_string()),
        Number::Nowhere => None,
    };
    let middle = |of: &str| memmem::find(&bytes, of.as_bytes()).map(|at| at + of.len() / 2);
    let number_at = written.and_then(|written| middle(&written));
    let stamp_at = match way.text {
        Text::Old => middle(&old.to_string()),
        _ => middle(&stamp.to_string()),
    };
    Part { bytes, number_at, stamp_at }
}

/// A message as the content has it.
fn render(content: Content, n: u64, text: &str, event_id: &str) -> String {
    let event = format!("{event_id}data: {text}\n\n");
    match content {
        Content::Comet => format!("Recvd msg #{n}: '{text}'<br/>"),
        Content::CometEvents => format!("id: {n}\ndata: {text}\n\n"),
        Content::Events | Content::EventsAfterBom => event,
        Content::EventsCrLf => event.replace('\n', "\r\n"),
        Content::EventsCr => event.replace('\n', "\r"),
        Content::EventsAndComments => format!(": ping\n\n{event}:\n:another\n"),
        Content::EventsOfLines => {
            format!("event: message\n{event_id}data: first\ndata: {text}\ndata:\n\n")
        }
        // Two fields that are no message: one without a colon, and one with nothing to dispatch.
        Content::EventsAndFields => format!("retry: 3000\n\ndata\n{event}event: empty\n\n"),
        Content::EventsLateId => format!("data: {}{text}\n{event_id}\n", "x".repeat(300)),
        Content::Lines => format!("{{\"text\":\"{text}\",\"n\":\"#4\"}}\n"),
        Content::LinesCrLf => format!("{{\"text\":\"{text}\"}}\r\n\r\n"),
        Content::Objects => format!("{{\"text\":\"{text}\"}}"),
        Content::Bytes => format!("{text}|"),
    }
}
