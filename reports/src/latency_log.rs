//! Delays interval by interval, in the log format of HdrHistogram's own tools.
//!
//! A line is the interval's start in seconds after the log's `BaseTime`, its length in seconds, its
//! longest delay, and its whole histogram (format 1.3, V2 compressed), delays in microseconds.
//! `HistogramLogProcessor -i FILE -outputValueUnitRatio 1000` prints them in milliseconds.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, IntervalLogWriterBuilder, LogEntry,
    LogIteratorError, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::latency::Latency;

/// The names of the columns, as HdrHistogram's own writer puts them.
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
                      \"Interval_Compressed_Histogram\"\n";

/// Why lines can always be made.
const NEVER_FAILS: &str = "a vector takes everything, and a histogram of counts can be encoded";

/// The head of a log. `what` says what is recorded; the time of the intervals begins at
/// `started_unix` after the Unix epoch.
pub fn head(what: &str, started_unix: Duration) -> String {
    let started = UNIX_EPOCH + started_unix;
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]");
    builder.add_comment(&format!("[{what}, in microseconds]"));
    builder.with_start_time(started).with_base_time(started);
    let mut head = Vec::new();
    builder.begin_log_with(&mut head, &mut V2DeflateSerializer::new()).expect(NEVER_FAILS);
    String::from_utf8(head).expect("the format is text") + LEGEND
}

/// The line of the interval from `start` to `end` after the log's start: what was recorded in
/// `total` since it was `before`. Empty if nothing was.
///
/// Panics if `total` does not go on from `before`.
pub fn line(start: Duration, end: Duration, total: &Latency, before: &Latency) -> String {
    let mut interval = total.histogram().clone();
    interval.subtract(before.histogram()).expect("a total only grows");
    if interval.is_empty() {
        return String::new();
    }
    written(&interval, (start, end), None)
}

/// The line of all that was recorded until `end` after the log's start, under a tag: one of several
/// series in one log. A tag that has no letters that it may have is left out.
pub fn tagged_line(tag: &str, end: Duration, total: &Latency) -> String {
    written(total.histogram(), (Duration::ZERO, end), Tag::new(tag))
}

/// The line of a histogram.
fn written(
    interval: &Histogram<u64>,
    (start, end): (Duration, Duration),
    tag: Option<Tag<'_>>,
) -> String {
    let (mut line, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    IntervalLogWriterBuilder::new()
        .begin_log_with(&mut line, &mut serializer)
        .expect(NEVER_FAILS)
        .write_histogram(interval, start, end.saturating_sub(start), tag)
        .expect(NEVER_FAILS);
    String::from_utf8(line).expect("the format is text")
}

/// What was recorded in one interval.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Its start, in seconds after the log's start.
    pub start_s: f64,
    /// Its length in seconds.
    pub duration_s: f64,
    /// The delays.
    pub latency: Latency,
    /// Whose they are, in a log of several series.
    pub tag: Option<String>,
}

/// Why a log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is damaged: {why}")]
pub struct LatencyLogError {
    /// The line's number, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Reads a whole log, this module's or that of another HdrHistogram whose delays are microseconds.
///
/// An interval takes about 230 KB: for the log of hours there is [`each`].
pub fn read(log: &[u8]) -> Result<Vec<Interval>, LatencyLogError> {
    let mut intervals = Vec::new();
    each(log, |interval| intervals.push(interval))?;
    Ok(intervals)
}

/// Calls `take` with every interval of a log.
pub fn each(log: &[u8], mut take: impl FnMut(Interval)) -> Result<(), LatencyLogError> {
    // The crate's iterator ends with an offset; people look for lines.
    let line_at = |offset: usize| memchr::memchr_iter(b'\n', &log[..offset]).count() + 1;
    for entry in IntervalLogIterator::new(log) {
        match entry {
            Ok(LogEntry::Interval(entry)) => {
                let offset = entry.encoded_histogram().as_ptr().addr() - log.as_ptr().addr();
                let interval = decode(&entry);
                take(interval.map_err(|why| LatencyLogError { line: line_at(offset), why })?);
            }
            Ok(LogEntry::StartTime(_) | LogEntry::BaseTime(_)) => {}
            Err(LogIteratorError::ParseError { offset }) => {
                let why = "it is neither a comment nor an interval that is finished";
                return Err(LatencyLogError { line: line_at(offset), why });
            }
        }
    }
    Ok(())
}

/// When the time of a log's intervals begins, in seconds after the Unix epoch. `None` if it does
/// not say.
pub fn started_unix_s(log: &[u8]) -> Option<f64> {
    IntervalLogIterator::new(log).map_while(Result::ok).find_map(|entry| match entry {
        LogEntry::BaseTime(base) => Some(base.as_secs_f64()),
        LogEntry::StartTime(_) | LogEntry::Interval(_) => None,
    })
}

/// The interval of a line.
fn decode(entry: &IntervalLogHistogram<'_>) -> Result<Interval, &'static str> {
    let bytes = BASE64.decode(entry.encoded_histogram()).map_err(|_| "its end is not base64")?;
    let histogram = Deserializer::new().deserialize(&mut bytes.as_slice());
    Ok(Interval {
        start_s: entry.start_timestamp().as_secs_f64(),
        duration_s: entry.duration().as_secs_f64(),
        latency: Latency::from_histogram(histogram.map_err(|_| "it holds no histogram")?)
            .ok_or("it holds delays of more than a day")?,
        tag: entry.tag().map(|tag| tag.as_str().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(delays_us: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        delays_us.into_iter().for_each(|delay_us| latency.record_us(delay_us));
        latency
    }

    fn log() -> String {
        let (empty, early, late) = (Latency::default(), total(1..=1_000), total(1..=3_000));
        let second = Duration::from_secs(1);
        head("from here to there", Duration::from_millis(1_700_000_000_500))
            + &line(Duration::ZERO, second, &early, &empty)
            + &line(second, 2 * second, &early, &early)
            + &line(2 * second, 3 * second, &late, &early)
    }

    #[test]
    fn intervals_hold_what_came_since_the_one_before_and_quiet_ones_are_left_out() {
        let log = log();
        assert!(log.contains("#[BaseTime: 1700000000.500 (seconds since epoch)]\n"), "{log}");
        assert_eq!(started_unix_s(log.as_bytes()), Some(1_700_000_000.5));
        let intervals = read(log.as_bytes()).unwrap();
        let figures = |interval: &Interval| {
            let summary = interval.latency.summary();
            (interval.start_s, interval.duration_s, summary.count, summary.p50_us)
        };
        let figures: Vec<_> = intervals.iter().map(figures).collect();
        assert_eq!(figures, [(0.0, 1.0, 1_000, 500), (2.0, 1.0, 2_000, 2_000)]);
    }

    #[test]
    fn a_total_is_the_sum_of_its_intervals() {
        let mut sum = Latency::default();
        read(log().as_bytes()).unwrap().iter().for_each(|it| sum.merge(&it.latency));
        let (sum, whole) = (sum.summary(), total(1..=3_000).summary());
        assert_eq!(
            (sum.count, sum.p99_us, sum.mean_us),
            (whole.count, whole.p99_us, whole.mean_us)
        );
    }

    #[test]
    fn damage_is_named_by_line() {
        let whole = log();
        let cut = &whole[..whole.len() - 9];
        assert_eq!(read(cut.as_bytes()).unwrap_err().line, 7);
        let bent = whole.replacen("HISTFAAA", "HISTFA*A", 1);
        assert_eq!(
            read(bent.as_bytes()).unwrap_err().to_string(),
            "line 6 is damaged: its end is not base64"
        );
        let other = whole.replacen("HISTFAAA", "SISTFAAA", 1);
        assert_eq!(
            read(other.as_bytes()).unwrap_err().to_string(),
            "line 6 is damaged: it holds no histogram"
        );
    }
}
