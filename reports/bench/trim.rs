//! Makes the raw logs of a run that is to be published smaller, without a delay or a total less:
//!
//! ```text
//! trim FOLDER BYTES
//! ```
//!
//! Where a log is larger than `BYTES`, neighbouring intervals of a latency log become one, and of
//! reports every other one goes, until it fits or nothing is left to join. The last report stays.
//! What follows from them is computed anew by `rig report FOLDER`.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use reports::latency::Latency;
use reports::latency_log::{self, Interval};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, limit] = arguments.as_slice() else { return Err("trim FOLDER BYTES".into()) };
    let limit: usize = limit.parse()?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let trimmed = match path.extension().and_then(|ending| ending.to_str()) {
            Some("hlog") => trimmed_delays(&fs::read_to_string(&path)?, limit)?,
            Some("ndjson") => trimmed_reports(&fs::read_to_string(&path)?, limit),
            _ => continue,
        };
        if let Some(text) = trimmed {
            replace(&path, &text)?;
        }
    }
    Ok(())
}

/// Puts `text` in the place of a file, all of it or nothing.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("trimmed");
    fs::write(&beside, text)?;
    fs::rename(beside, path)
}

/// A latency log of at most `limit` bytes; `None` if it is one already.
fn trimmed_delays(log: &str, limit: usize) -> Result<Option<String>, Box<dyn Error>> {
    if log.len() <= limit {
        return Ok(None);
    }
    // Comments and the names of the columns.
    let head: String =
        log.split_inclusive('\n').take_while(|it| it.starts_with(['#', '"'])).collect();
    let mut intervals = latency_log::read(log.as_bytes())?;
    loop {
        intervals = intervals.chunks(2).map(joined).collect();
        let lines = intervals.iter().map(line).collect::<String>();
        if head.len() + lines.len() <= limit || intervals.len() <= 1 {
            return Ok(Some(head + &lines));
        }
    }
}

/// Neighbouring intervals as one.
fn joined(intervals: &[Interval]) -> Interval {
    let (first, last) = (&intervals[0], &intervals[intervals.len() - 1]);
    let mut latency = Latency::default();
    for interval in intervals {
        latency.merge(&interval.latency);
    }
    let duration_s = last.start_s + last.duration_s - first.start_s;
    Interval { start_s: first.start_s, duration_s, latency, tag: None }
}

/// The line of an interval.
fn line(interval: &Interval) -> String {
    let start = Duration::from_secs_f64(interval.start_s);
    let end = start + Duration::from_secs_f64(interval.duration_s);
    latency_log::line(start, end, &interval.latency, &Latency::default())
}

/// Reports of at most `limit` bytes, or the last one alone; `None` if they are so already.
fn trimmed_reports(text: &str, limit: usize) -> Option<String> {
    if text.len() <= limit {
        return None;
    }
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    while lines.iter().map(|line| line.len()).sum::<usize>() > limit && lines.len() > 1 {
        let last = lines.pop();
        lines = lines.into_iter().skip(1).step_by(2).chain(last).collect();
    }
    Some(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of a hundred seconds, with a thousand delays in each.
    fn log() -> String {
        let mut log = latency_log::head("from here to there", Duration::from_secs(1_700_000_000));
        for second in 0..100 {
            let mut latency = Latency::default();
            (0..1_000).for_each(|k| latency.record_us(1 + second * 37 + k * 11));
            let start = Duration::from_secs(second);
            let end = start + Duration::from_secs(1);
            log += &latency_log::line(start, end, &latency, &Latency::default());
        }
        log
    }

    fn total(log: &str) -> Latency {
        let mut total = Latency::default();
        let intervals = latency_log::read(log.as_bytes()).unwrap_or_default();
        for interval in &intervals {
            total.merge(&interval.latency);
        }
        total
    }

    #[test]
    fn a_log_becomes_smaller_and_every_delay_is_in_it() -> Result<(), Box<dyn Error>> {
        let log = log();
        assert_eq!(trimmed_delays(&log, log.len())?, None);
        let small = trimmed_delays(&log, log.len() / 3)?.unwrap_or_default();
        assert!(small.len() <= log.len() / 3, "{} of {}", small.len(), log.len());
        assert_eq!(total(&small).summary(), total(&log).summary());
        assert_eq!(total(&small).summary().count, 100_000);
        let intervals = latency_log::read(small.as_bytes())?;
        let last = &intervals[intervals.len() - 1];
        let whole = (intervals[0].start_s, last.start_s + last.duration_s);
        assert_eq!(format!("{whole:?}"), "(0.0, 100.0)", "no second is left out");
        let started = |log: &str| latency_log::started_unix_s(log.as_bytes());
        assert_eq!(started(&small), started(&log));
        Ok(())
    }

    #[test]
    fn of_reports_the_last_one_stays() {
        let lines: Vec<String> = (0..100).map(|k| format!("{{\"k\":{k}}}\n")).collect();
        let text = lines.concat();
        assert_eq!(trimmed_reports(&text, text.len()), None);
        let small = trimmed_reports(&text, 300).unwrap_or_default();
        assert!(small.len() <= 300 && small.lines().count() > 10, "{small}");
        assert!(small.ends_with("{\"k\":99}\n"), "{small}");
    }
}
