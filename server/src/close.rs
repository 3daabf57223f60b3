//! Why a connection ended. Every connection that was accepted ends for exactly one of these.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Why a connection was closed, or a chunk dropped with it.
///
/// [`VARIANTS`](strum::VariantArray::VARIANTS) has all of them, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum CloseReason {
    /// The peer closed its side, or half of it: a peer that is silent and one that is dead cannot
    /// be told apart otherwise. A WebSocket's with a close frame before that, or without one.
    Peer,
    /// The peer reset the connection.
    Reset,
    /// Data was not acknowledged for too long, by the kernel's judgement; or a WebSocket had not
    /// answered two pings when the next one was due.
    TimedOut,
    /// Its backlog was full.
    SlowReader,
    /// It sent more after its request than anybody needs to.
    Chatty,
    /// It was logged out through the control door.
    Logout,
    /// The server was shut down. 503 if the request was not complete.
    Shutdown,
    /// The socket did not take the response head whole, though nothing was written before.
    ShortHead,
    /// An error of the operating system that has no name here.
    Error,
    /// The peer left before its request was complete.
    Abandoned,
    /// A HEAD request or one for the page was answered.
    Answered,
    /// 400: the request was malformed, or its ids were not ids.
    BadRequest,
    /// 404: no such path.
    NotFound,
    /// 408: the request head was not complete in time.
    HeadTimeout,
    /// 431: the request head was too long.
    HeadTooLarge,
    /// 501: a method that the server does not know.
    NotImplemented,
    /// 503: more connections than `--max-connections`.
    Full,
    /// 429: more connections from one address than `--max-connections-per-ip`.
    FullForAddress,
    /// 503: its ids were not subscribed in the cluster in time.
    Unsubscribed,
    /// All backlogs together were over `--backlog-total`, and it was one of those furthest behind.
    BacklogTotal,
    /// 503: its ids were more than `--max-ids` leaves.
    IdsFull,
    /// 429: its ids were more than its address has left under `--max-connections-per-ip`.
    IdsFullForAddress,
    /// 408 before its time: no request was unfinished for longer when others needed the room.
    CrowdedOut,
    /// 426: it asked for a WebSocket of another version than 13.
    UnknownVersion,
    /// 1002: a WebSocket sent frames that break RFC 6455.
    BadFrame,
    /// 1007: a WebSocket sent text that is not UTF-8.
    BadText,
    /// 1009: a WebSocket announced a frame over the limit.
    FrameTooLarge,
}

impl CloseReason {
    /// The reason's name in `/stats`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The reason behind an error of a socket.
    pub fn of_error(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
            // What the kernel heard last while it waited, if it heard anything.
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::TimedOut
            }
            _ => Self::Error,
        }
    }
}

/// A count for every reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByReason([u64; CloseReason::COUNT]);

impl ByReason {
    /// Counts `n` more for `reason`.
    pub fn add(&mut self, reason: CloseReason, n: u64) {
        self.0[reason as usize] += n;
    }

    /// Takes in the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, n)| *count += n);
    }

    /// The reasons that were counted at all, with their counts.
    pub fn nonzero(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        CloseReason::VARIANTS.iter().copied().zip(self.0).filter(|&(_, n)| n > 0)
    }

    /// The count for one reason.
    pub fn get(&self, reason: CloseReason) -> u64 {
        self.0[reason as usize]
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The reasons that were counted, under their names.
impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.nonzero().map(|(reason, n)| (reason.name(), n)))
    }
}

/// The codes of WebSockets that are counted by themselves: those that RFC 6455 and its registry
/// define, but 1015, which is about TLS.
const CODES: [u16; 14] =
    [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];

/// A count for every code with which peers may end a WebSocket. All that applications make up
/// (3000 to 4999) are one: a peer does not choose how many counts there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByCode([u64; CODES.len() + 1]);

impl ByCode {
    /// A close frame without a code. No frame has this one.
    pub const WITHOUT_CODE: u16 = 1005;
    /// An end without a close frame. No frame has this one.
    pub const WITHOUT_FRAME: u16 = 1006;

    /// Counts one.
    pub fn add(&mut self, code: u16) {
        self.0[CODES.iter().position(|&known| known == code).unwrap_or(CODES.len())] += 1;
    }

    /// Takes in the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, n)| *count += n);
    }

    /// All codes with their counts; the last is `other`.
    pub fn all(&self) -> impl Iterator<Item = (Cow<'static, str>, u64)> {
        let codes = CODES.iter().map(|code| Cow::Owned(code.to_string()));
        codes.chain([Cow::Borrowed("other")]).zip(self.0)
    }
}

/// The codes that were counted, as keys.
impl Serialize for ByCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.all().filter(|&(_, n)| n > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_by_themselves_or_together() {
        let mut counts = ByCode::default();
        for code in [1000, 1014, 1015, 3000, 4999, 1000, ByCode::WITHOUT_FRAME] {
            counts.add(code);
        }
        let mut sum = counts;
        sum.merge(&counts);
        let expected = serde_json::json!({ "1000": 4, "1006": 2, "1014": 2, "other": 6 });
        assert_eq!(serde_json::to_value(sum).unwrap(), expected);
        assert_eq!(sum.all().count(), CODES.len() + 1);
    }

    #[test]
    fn all_is_in_the_order_of_the_numbers_and_names_differ() {
        let mut names = std::collections::BTreeSet::new();
        for (number, reason) in CloseReason::VARIANTS.iter().copied().enumerate() {
            assert_eq!(reason as usize, number);
            assert!(names.insert(reason.name()), "{} twice", reason.name());
        }
    }
}
