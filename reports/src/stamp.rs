//! The time that a message carries, and the clock that it is read from.
//!
//! A stamped message ends in ` @{due_unix_µs}+{late_µs}`: when it was due by the sender's plan, and
//! how much later than that it was sent. The receiver needs no other word from the sender to know
//! two delays: from the due time, which includes what a stalled server did to its senders, and from
//! the actual send, which does not.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    /// The instant at which this clock was started.
    pub fn started_at(&self) -> Instant {
        self.started_at
    }

    /// `at` in microseconds since the Unix epoch. An instant before the start counts as the start.
    pub fn unix_us(&self, at: Instant) -> u64 {
        self.started_unix_us + as_us(at.saturating_duration_since(self.started_at))
    }
}

/// The wall clock read afresh, as the time since the Unix epoch.
///
/// Only for a log that goes on for days: its dates must be those of every other log on the machine,
/// after a step of the clock too. Delays are never computed from it.
#[expect(clippy::disallowed_methods, reason = "this is the one reading of the wall clock")]
pub fn wall_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A duration in whole microseconds.
pub fn as_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// When a message was due, and how late it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When the message was due, in microseconds since the Unix epoch.
    pub due_unix_us: u64,
    /// How long after that it was sent, in microseconds.
    pub late_us: u64,
}

/// As it is appended to a message: ` @{due_unix_µs}+{late_µs}`.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " @{}+{}", self.due_unix_us, self.late_us)
    }
}

impl Stamp {
    /// The last stamp in `text`, if there is one. What follows it (the server's `'<br/>`) is not
    /// looked at.
    pub fn find(text: &[u8]) -> Option<Self> {
        let at = memchr::memrchr(b'@', text)?;
        if at == 0 || text[at - 1] != b' ' {
            return None;
        }
        let (due_unix_us, rest) = leading_number(&text[at + 1..])?;
        let (late_us, _) = leading_number(rest.strip_prefix(b"+")?)?;
        Some(Self { due_unix_us, late_us })
    }
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

    #[test]
    fn a_stamp_is_found_behind_the_message_that_carries_it() {
        let stamp = Stamp { due_unix_us: 1_224_518_244_000_123, late_us: 45 };
        let chunk = format!("Recvd msg #7: 'mail me @12 tomorrow{stamp}'<br/>");
        assert_eq!(Stamp::find(chunk.as_bytes()), Some(stamp));
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in ["", "@", " @", " @1", " @1+", " @+1", "x@1+1", " @1-1", "@1+1"] {
            assert_eq!(Stamp::find(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Stamp::find(b" @99999999999999999999+1"), None, "past 64 bits");
    }

    #[test]
    fn the_clock_goes_on_from_one_reading() {
        let clock = Clock::start();
        let start = clock.started_at();
        let later = clock.unix_us(start + Duration::from_millis(5)) - clock.unix_us(start);
        assert_eq!(later, 5_000);
    }
}
