//! The mark that a message carries, and the clock that it is read from.
//!
//! A stamped message ends in ` @{due_unix_µs}~{late_µs}#{id}:{n}.{sender};`: when it was due by the
//! sender's schedule, how much later than that it was sent, which id it is for, its number among
//! the messages to that id, and who sent it. The receiver needs no other word from the sender to
//! know two delays: from the due time, which includes what a stalled server did to its senders, and
//! from the actual send, which does not. And it can tell a message that is missing from one that
//! came twice, whatever server and proxies stand between.
//!
//! The characters are those that JSON encoders (.NET's default one included) and HTML escaping
//! leave alone. The older form ` @{due_unix_µs}+{late_µs}` is still read, for its times.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A clock that reads the wall time once and goes on with the monotonic one.
///
/// A step of the wall clock in mid-run (NTP, an operator) would otherwise show up as a delay.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The instant at which the wall clock was read.
    started_at: Instant,
    /// Wall time at that instant, in microseconds since the Unix epoch.
    started_unix_us: u64,
}

impl Clock {
    /// Reads the wall clock.
    pub fn start() -> Self {
        Self { started_at: Instant::now(), started_unix_us: as_us(wall_now()) }
    }

    /// The same of a run that starts at an instant to come, by the wall clock as it goes now.
    pub fn start_at(at: Instant) -> Self {
        let now = Self::start();
        let ahead_us = as_us(at.saturating_duration_since(now.started_at));
        Self { started_at: at, started_unix_us: now.started_unix_us.saturating_add(ahead_us) }
    }

    /// The instant at which this clock was started.
    pub fn started_at(&self) -> Instant {
        self.started_at
    }

    /// What this clock adds to the machine's [monotonic one](monotonic_us), in microseconds: two
    /// processes of a machine that have the same number here have the same clock.
    pub fn zero_us(&self) -> i64 {
        let started_us = monotonic_us_of(self.started_at);
        i64::try_from(self.started_unix_us).unwrap_or(i64::MAX).saturating_sub(started_us)
    }

    /// `at` in microseconds since the Unix epoch. An instant before the start counts as the start.
    pub fn unix_us(&self, at: Instant) -> u64 {
        self.started_unix_us + as_us(at.saturating_duration_since(self.started_at))
    }
}

/// The time by `CLOCK_MONOTONIC`, in microseconds. It is the same in all processes of a machine.
///
/// It asks the C library, as [`Instant`] does. rustix asks the kernel, and where something stands
/// between a process and its C library, as libfaketime does in tests, the two were different clocks
/// that looked like one.
pub fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000
}

/// What [`monotonic_us`] was, or will be, at an instant.
pub fn monotonic_us_of(at: Instant) -> i64 {
    // Both clocks are read one after the other, the fastest of some times.
    let readings = (0..N_READINGS).map(|_| {
        let (before_us, now, after_us) = (monotonic_us(), Instant::now(), monotonic_us());
        (after_us - before_us, now, before_us.midpoint(after_us))
    });
    let (_, now, now_us) = readings.min().expect("there are some");
    let us = |distance: Duration| i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
    match at.checked_duration_since(now) {
        Some(ahead) => now_us.saturating_add(us(ahead)),
        None => now_us.saturating_sub(us(now.saturating_duration_since(at))),
    }
}

/// How often two clocks are read to be told apart by as little as possible.
const N_READINGS: usize = 16;

/// The wall clock read afresh, as the time since the Unix epoch.
///
/// Only for a log that goes on for days: its dates must be those of every other log on the machine,
/// after a step of the clock too. Delays are never computed from it.
#[expect(clippy::disallowed_methods, reason = "this is the one reading of the wall clock")]
pub fn wall_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in whole milliseconds, as run folders have the times of what was done.
pub fn wall_now_ms() -> u64 {
    u64::try_from(wall_now().as_millis()).unwrap_or(u64::MAX)
}

/// A duration in whole microseconds.
pub fn as_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A process that sends: drawn afresh by every msggen, so that two senders, a second run and
/// replayed messages are told apart. Written as eight hexadecimal digits in lower case.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Sender(pub u32);

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why a text is not a [`Sender`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sender: \"{0}\"; a sender is eight hexadecimal digits, as in 89abcdef")]
pub struct SenderError(String);

impl FromStr for Sender {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<Self, SenderError> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_sender = text.len() == SENDER_DIGITS && text.bytes().all(is_hex);
        let sender = u32::from_str_radix(text, 16).ok().filter(|_| is_sender);
        sender.map(Self).ok_or_else(|| SenderError(text.to_owned()))
    }
}

impl TryFrom<String> for Sender {
    type Error = SenderError;

    fn try_from(text: String) -> Result<Self, SenderError> {
        text.parse()
    }
}

impl From<Sender> for String {
    fn from(sender: Sender) -> Self {
        sender.to_string()
    }
}

/// Which message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The id that it was sent to.
    pub id: u64,
    /// Its number among the sender's messages to that id, from 1.
    pub n: u64,
    /// Who sent it.
    pub sender: Sender,
}

/// When a message was due, how late it was sent, and which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When the message was due, in microseconds since the Unix epoch.
    pub due_unix_us: u64,
    /// How long after that it was sent, in microseconds.
    pub late_us: u64,
    /// Which message it is; `None` in a stamp of the older form.
    pub mark: Option<Mark>,
}

impl Stamp {
    /// The first stamp in a text that is there whole.
    pub fn first_in(text: &[u8]) -> Option<Self> {
        let mut finder = StampFinder::default();
        // What follows ends a stamp of the older form.
        finder.find(text).0.or_else(|| finder.find(b" ").0)
    }
}

/// As it is appended to a message.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due_unix_us, late_us, mark } = self;
        match mark {
            Some(Mark { id, n, sender }) => {
                write!(f, " @{due_unix_us}~{late_us}#{id}:{n}.{sender};")
            }
            None => write!(f, " @{due_unix_us}+{late_us}"),
        }
    }
}

/// Bytes of the longest stamp, the space before it included: four numbers of 20 digits, eight
/// digits of the sender, and the seven characters between and around them.
pub const MAX_STAMP_BYTES: usize = 4 * MAX_DIGITS + SENDER_DIGITS + 7;

/// Digits of the largest number that is read, 2⁶⁴−1. Zeros in front count, so that a stamp has an
/// end.
const MAX_DIGITS: usize = 20;

/// Digits of a sender.
const SENDER_DIGITS: usize = 8;

/// What a stamp that is being read has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Field {
    /// None is being read.
    #[default]
    Outside,
    /// Its due time.
    Due,
    /// Its lateness; whether it is in the older form, which has no end of its own.
    Late { is_old: bool },
    /// The id.
    Id,
    /// The number.
    N,
    /// The sender.
    Sender,
}

/// Finds every stamp in a stream of bytes, whatever cuts the stream.
///
/// It looks at each byte once and never goes back: an `@` stands at the beginning of a stamp and
/// nowhere else in it. So it can stop between any two bytes, and go on with what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StampFinder {
    /// The number that is being read.
    number: u64,
    /// What was read before it.
    due_unix_us: u64,
    /// The lateness.
    late_us: u64,
    /// The id.
    id: u64,
    /// The number for the id.
    n: u64,
    /// What is being read.
    field: Field,
    /// Digits of it so far.
    n_digits: u8,
}

impl StampFinder {
    /// Whether a stamp has begun and is not complete. If not, the finder is as good as a new one.
    pub fn is_inside(&self) -> bool {
        self.field != Field::Outside
    }

    /// Reads on; the first stamp that is complete within `bytes`, and how many of them were read.
    /// After the last stamp all of them are read.
    pub fn find(&mut self, bytes: &[u8]) -> (Option<Stamp>, usize) {
        let mut at = 0;
        while at < bytes.len() {
            if self.field == Field::Outside {
                // Most bytes are no part of a stamp; they are passed over many at a time.
                let Some(n_before) = memchr::memchr(b'@', &bytes[at..]) else { break };
                at += n_before + 1;
                *self = Self { field: Field::Due, ..Self::default() };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match self.step(byte) {
                Step::On => {}
                Step::Complete(stamp) => {
                    *self = Self::default();
                    // A stamp of the older form ends before this byte, which may begin another.
                    let n_read = if stamp.mark.is_none() { at - 1 } else { at };
                    return (Some(stamp), n_read);
                }
                Step::No => {
                    let field = if byte == b'@' { Field::Due } else { Field::Outside };
                    *self = Self { field, ..Self::default() };
                }
            }
        }
        (None, bytes.len())
    }

    /// Takes one byte of what may be a stamp.
    fn step(&mut self, byte: u8) -> Step {
        if let Some(digit) = self.digit(byte) {
            return self.push(digit);
        }
        if self.n_digits == 0 {
            return Step::No;
        }
        let number = std::mem::take(&mut self.number);
        let n_digits = std::mem::take(&mut self.n_digits);
        match (self.field, byte) {
            (Field::Due, b'~' | b'+') => {
                self.due_unix_us = number;
                self.field = Field::Late { is_old: byte == b'+' };
            }
            (Field::Late { is_old: false }, b'#') => {
                (self.late_us, self.field) = (number, Field::Id);
            }
            (Field::Late { is_old: true }, _) => {
                let Self { due_unix_us, .. } = *self;
                return Step::Complete(Stamp { due_unix_us, late_us: number, mark: None });
            }
            (Field::Id, b':') => (self.id, self.field) = (number, Field::N),
            (Field::N, b'.') => (self.n, self.field) = (number, Field::Sender),
            (Field::Sender, b';') if usize::from(n_digits) == SENDER_DIGITS => {
                let sender = Sender(u32::try_from(number).expect("eight hexadecimal digits"));
                let Self { due_unix_us, late_us, id, n, .. } = *self;
                let mark = Some(Mark { id, n, sender });
                return Step::Complete(Stamp { due_unix_us, late_us, mark });
            }
            _ => return Step::No,
        }
        Step::On
    }

    /// The value of a digit of the present field.
    fn digit(&self, byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' if self.field == Field::Sender => Some(byte - b'a' + 10),
            _ => None,
        }
    }

    /// Takes one more digit of a number. One that is too large makes it no stamp.
    fn push(&mut self, digit: u8) -> Step {
        let (base, most) = match self.field {
            Field::Sender => (16, SENDER_DIGITS),
            _ => (10, MAX_DIGITS),
        };
        self.n_digits += 1;
        let number = self.number.checked_mul(base).and_then(|n| n.checked_add(digit.into()));
        match number {
            Some(number) if usize::from(self.n_digits) <= most => {
                self.number = number;
                Step::On
            }
            _ => Step::No,
        }
    }
}

/// What one byte makes of what may be a stamp.
enum Step {
    /// It may still be one.
    On,
    /// It is one.
    Complete(Stamp),
    /// It is none.
    No,
}

/// Splits the decimal number off the front of `text`. `None` without a digit or past 2⁶⁴−1.
pub fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let n_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if n_digits == 0 {
        return None;
    }
    let (digits, rest) = text.split_at(n_digits);
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All stamps in these pieces of a stream.
    fn find_all<'a, P: IntoIterator<Item = &'a [u8]>>(pieces: P) -> Vec<Stamp> {
        let mut finder = StampFinder::default();
        let mut found = Vec::new();
        for mut piece in pieces {
            while !piece.is_empty() {
                let (stamp, n_read) = finder.find(piece);
                found.extend(stamp);
                piece = &piece[n_read..];
            }
        }
        found
    }

    fn stamp(n: u64) -> Stamp {
        let mark = Mark { id: 4_567, n, sender: Sender(0x0bad_cafe) };
        Stamp { due_unix_us: 1_764_022_500_123_456, late_us: 45, mark: Some(mark) }
    }

    #[test]
    fn a_stamp_is_written_as_the_design_says() {
        assert_eq!(stamp(12).to_string(), " @1764022500123456~45#4567:12.0badcafe;");
        let longest = Mark { id: u64::MAX, n: u64::MAX, sender: Sender(u32::MAX) };
        let longest = Stamp { due_unix_us: u64::MAX, late_us: u64::MAX, mark: Some(longest) };
        assert_eq!(longest.to_string().len(), MAX_STAMP_BYTES);
        assert_eq!(find_all([longest.to_string().as_bytes()]), [longest]);
    }

    #[test]
    fn every_stamp_is_found_wherever_the_stream_is_cut() {
        let old = Stamp { mark: None, ..stamp(0) };
        let text = format!(
            "Recvd msg #7: 'mail me @12 tomorrow{}'<br/>@@{}{}x{old}{old} @9",
            stamp(1),
            stamp(2),
            stamp(3)
        );
        let expected = [stamp(1), stamp(2), stamp(3), old, old];
        let text = text.as_bytes();
        assert_eq!(find_all([text]), expected);
        for cut in 0..=text.len() {
            assert_eq!(find_all([&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        assert_eq!(find_all(text.chunks(1)), expected);
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "@",
            "@1",
            "@1~",
            "@~1#",
            "@1-1#2:3.0badcafe;",
            "@1~2#3:4.badcafe;",
            "@1~2#3:4.0badcafe0;",
            "@1~2#3:4.0BADCAFE;",
            "@1~2#3:4.0badcafe",
            "@1~2#:4.0badcafe;",
            "@99999999999999999999~2#3:4.0badcafe;",
            "@000000000000000000001~2#3:4.0badcafe;",
            "@1+ ",
            "@+1 ",
            "@1+1",
        ] {
            assert_eq!(find_all([text.as_bytes()]), [], "{text:?}");
        }
    }

    #[test]
    fn a_finder_that_is_outside_keeps_nothing() {
        let mut finder = StampFinder::default();
        finder.find(b"x @1~2#3:4.0badcafe; y @z");
        assert_eq!(finder, StampFinder::default());
        finder.find(b"@12");
        assert!(finder.is_inside());
    }

    #[test]
    fn a_sender_is_eight_hexadecimal_digits() {
        assert_eq!("0badcafe".parse(), Ok(Sender(0x0bad_cafe)));
        for text in ["", "badcafe", "0BADCAFE", "+badcafe", "0badcafe0"] {
            assert!(text.parse::<Sender>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_clock_goes_on_from_one_reading() {
        let clock = Clock::start();
        let start = clock.started_at();
        let later = clock.unix_us(start + Duration::from_millis(5)) - clock.unix_us(start);
        assert_eq!(later, 5_000);
    }

    #[test]
    fn a_clock_is_the_monotonic_one_and_its_zero() {
        let clock = Clock::start();
        let at = clock.started_at() + Duration::from_secs(7);
        let by_zero = monotonic_us_of(at) + clock.zero_us();
        // Each number is found by two readings anew, and less than a microsecond of each is cut.
        let apart = clock.unix_us(at).abs_diff(u64::try_from(by_zero).unwrap());
        assert!(apart < 1_000, "{apart} µs");
        let (before_us, at, after_us) = (monotonic_us(), Instant::now(), monotonic_us());
        let at_us = monotonic_us_of(at);
        let readings = before_us - 1_000..=after_us + 1_000;
        assert!(readings.contains(&at_us), "{at_us} in {readings:?}");
    }

    proptest! {
        #[test]
        fn cutting_a_stream_changes_nothing(
            text in "([@~#:.;+0-9a-f x]|@1~2#3:4\\.0badcafe;){0,40}",
            cuts in proptest::collection::vec(0_usize..60, 0..6),
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
            prop_assert_eq!(find_all(pieces), find_all([text]));
        }
    }
}
