//! Numbers with units, as people write them on a command line.
//!
//! Counts take `10k`, times `100ms` or `24h`, sizes `64KiB`. A bare number is refused where a
//! unit is missing: `60` has been read as seconds by one person and as milliseconds by the next.

use std::time::Duration;

/// The greatest number that is taken from a file: greater ones are no whole numbers any more where
/// figures are computed, and in most readers of JSON. A day of 100 GB/s is less.
pub const MOST: u64 = 1 << 53;

/// Why a number on the command line was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnitError {
    /// The text is not a whole number with an optional suffix.
    #[error("not a count: \"{0}\"; write 10000, 10k or 1m")]
    Count(String),
    /// The text is not a time with a unit.
    #[error("not a time: \"{text}\"; write {suggestion}")]
    Time {
        /// What was given.
        text: String,
        /// What was probably meant.
        suggestion: String,
    },
    /// The text is not a size with a unit.
    #[error("not a size: \"{0}\"; write 64KiB or 1MiB")]
    Size(String),
}

/// Reads a count: `10000`, `10k`, `1.5M`, `2g`.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError::Count(text.to_owned());
    if text.ends_with(['b', 'B', 'i']) {
        return Err(error());
    }
    parse_number(text).ok_or_else(error)
}

/// Reads a time with its unit: `100ms`, `60s`, `24h`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text).map_err(|_| {
        let suggestion = match text.parse::<f64>() {
            Ok(_) => format!("{text}s or {text}ms"),
            Err(_) => "100ms, 60s or 24h".to_owned(),
        };
        UnitError::Time { text: text.to_owned(), suggestion }
    })
}

/// Reads an interval as the article's `msggen` takes it: a bare number is milliseconds.
pub fn parse_interval(text: &str) -> Result<Duration, UnitError> {
    match text.parse::<u64>() {
        Ok(interval_ms) => Ok(Duration::from_millis(interval_ms)),
        Err(_) => parse_duration(text),
    }
}

/// Reads a size in bytes with its unit: `64KiB`, `1MiB`, `512B`.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError::Size(text.to_owned());
    if !text.ends_with(['b', 'B']) {
        return Err(error());
    }
    parse_number(text).ok_or_else(error)
}

/// Digits of a number: as many as the largest `u64` has.
const MAX_DIGITS: usize = 20;

/// Reads a number with its suffix. More digits are refused first: parse-size 1.1 rounds by those
/// that do not fit, and overflows at 0.184467440737095516155.
fn parse_number(text: &str) -> Option<u64> {
    let n_digits = text.bytes().filter(u8::is_ascii_digit).count();
    (n_digits <= MAX_DIGITS).then(|| parse_size::parse_size(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_a_decimal_suffix() {
        assert_eq!(parse_count("10000"), Ok(10_000));
        assert_eq!(parse_count("10k"), Ok(10_000));
        assert_eq!(parse_count("1.5M"), Ok(1_500_000));
        for bad in ["", "k", "-1", "10KiB", "ten", "0x10", "0.184467440737095516155"] {
            assert_eq!(parse_count(bad), Err(UnitError::Count(bad.into())), "{bad:?}");
        }
    }

    #[test]
    fn times_need_a_unit_and_the_error_offers_one() {
        assert_eq!(parse_duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_hours(24)));
        let error = parse_duration("60").unwrap_err().to_string();
        assert_eq!(error, "not a time: \"60\"; write 60s or 60ms");
        assert!(parse_duration("soon").is_err());
    }

    #[test]
    fn a_bare_interval_is_milliseconds() {
        assert_eq!(parse_interval("100"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_interval("0"), Ok(Duration::ZERO));
        assert_eq!(parse_interval("60ms"), Ok(Duration::from_millis(60)));
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("512B"), Ok(512));
        assert!(parse_bytes("64").is_err());
        assert!(parse_bytes("64k").is_err());
    }
}
