//! What a tool leaves in the folder of `--out`: a report for every interval, and the delays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::latency::Latency;
use crate::latency_log;
use crate::stamp::Clock;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// There is a log of an earlier run, which would be lost.
    #[error("{} exists already; name another folder with --out, or move it away", .0.display())]
    Exists(PathBuf),
    /// The file cannot be made or written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Where a tool keeps logs while it runs, and how often it writes to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// From one entry to the next; more than zero.
    pub every: Duration,
}

/// A series of delays that a tool records.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// What the file is called: `delivery_from_due` of floodtest becomes
    /// `floodtest-delivery_from_due.hlog`.
    pub name: &'static str,
    /// What is recorded, in words.
    pub what: &'static str,
}

/// The logs of one tool in one folder: `TOOL.ndjson` and a `TOOL-SERIES.hlog` for each series.
///
/// Lines are whole, on a full disk too. What could not be written of the delays is a part of what
/// is written next; reports hold totals, so that one that is missing is only a gap.
#[derive(Debug)]
pub struct Out {
    /// When the run started.
    started_at: Instant,
    /// The same, after the Unix epoch.
    started_unix: Duration,
    /// From one entry to the next.
    every: Duration,
    /// When the next entry is due.
    next_at: Instant,
    /// The reports, one JSON object a line.
    reports: Log,
    /// The delays.
    series: Vec<SeriesLog>,
    /// Whether the last entry could not be written.
    is_failing: bool,
    /// Entries that could not be written, and why the first one could not.
    failures: Option<(u64, OutError)>,
}

/// The log of a series of delays.
#[derive(Debug)]
struct SeriesLog {
    /// Its file.
    log: Log,
    /// The delays that are in it.
    logged: Latency,
    /// When they were all there were, counted from the start.
    logged_at: Duration,
}

impl Out {
    /// Makes the folder if it is not there, and begins the logs of a run that starts with `clock`.
    pub fn create(
        folder: &Folder,
        tool: &str,
        series: &[Series],
        clock: &Clock,
    ) -> Result<Self, OutError> {
        let path = &folder.path;
        fs::create_dir_all(path)
            .map_err(|source| OutError::Write { path: path.clone(), source })?;
        let started_at = clock.started_at();
        let started_unix = Duration::from_micros(clock.unix_us(started_at));
        let reports = Log::create(path.join(format!("{tool}.ndjson")))?;
        let mut logs = Vec::new();
        for Series { name, what } in series {
            let mut log = Log::create(path.join(format!("{tool}-{name}.hlog")))?;
            log.append(&latency_log::head(what, started_unix))?;
            logs.push(SeriesLog { log, logged: Latency::default(), logged_at: Duration::ZERO });
        }
        Ok(Self {
            started_at,
            started_unix,
            every: folder.every,
            next_at: started_at + folder.every,
            reports,
            series: logs,
            is_failing: false,
            failures: None,
        })
    }

    /// When the next entry is due.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Appends a report made `now`, and the delays since the last entry. `totals` are all delays
    /// so far, a total for each series. Returns an error that nobody was told yet: that of the
    /// first entry of several that cannot be written.
    pub fn log(
        &mut self,
        now: Instant,
        report: &impl Serialize,
        totals: &[&Latency],
    ) -> Option<String> {
        // From the due time on, so that the entries do not drift.
        while self.next_at <= now {
            self.next_at += self.every;
        }
        let written = self.append(now.saturating_duration_since(self.started_at), report, totals);
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        let error = written.err()?;
        let news = (!was_failing).then(|| error.to_string());
        self.failures.get_or_insert((0, error)).0 += 1;
        news
    }

    /// Leaves what several parts of the run have recorded of the first series, each under its name,
    /// all of it in one line: `TOOL-PARTS-SERIES.hlog`, where `parts` are `hosts`.
    pub fn log_parts(
        &self,
        now: Instant,
        parts: &str,
        of_each: &[(String, Latency)],
    ) -> Result<(), OutError> {
        let Some(series) = self.series.first() else { return Ok(()) };
        let whole = series.log.path.file_name().unwrap_or_default().to_string_lossy();
        let (tool, name) = whole.split_once('-').unwrap_or(("", &whole));
        let path = series.log.path.with_file_name(format!("{tool}-{parts}-{name}"));
        let mut log = Log::create(path)?;
        let elapsed = now.saturating_duration_since(self.started_at);
        log.append(&latency_log::head("the same, one line for each of them", self.started_unix))?;
        of_each.iter().try_for_each(|(part, total)| {
            log.append(&latency_log::tagged_line(part, elapsed, total))
        })
    }

    /// What the logs lack, if anything.
    pub fn shortfall(&self) -> Option<String> {
        let (n, error) = self.failures.as_ref()?;
        Some(format!("the logs lack {n} entries: {error}"))
    }

    /// Appends an entry made at `elapsed` after the start.
    fn append(
        &mut self,
        elapsed: Duration,
        report: &impl Serialize,
        totals: &[&Latency],
    ) -> Result<(), OutError> {
        assert_eq!(totals.len(), self.series.len(), "every series has a total");
        let report = serde_json::to_string(report).expect("numbers under names are JSON");
        self.reports.append(&(report + "\n"))?;
        for (series, &total) in self.series.iter_mut().zip(totals) {
            let line = latency_log::line(series.logged_at, elapsed, total, &series.logged);
            series.log.append(&line)?;
            series.logged.clone_from(total);
            series.logged_at = elapsed;
        }
        Ok(())
    }
}

/// A file that only grows by whole lines.
#[derive(Debug)]
struct Log {
    /// Where it is.
    path: PathBuf,
    /// The file, which nobody else has.
    file: File,
    /// Bytes that are in it.
    n_bytes: u64,
}

impl Log {
    /// A new file.
    fn create(path: PathBuf) -> Result<Self, OutError> {
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self { path, file, n_bytes: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OutError::Exists(path))
            }
            Err(source) => Err(OutError::Write { path, source }),
        }
    }

    /// Appends lines, or leaves the file as it was.
    fn append(&mut self, lines: &str) -> Result<(), OutError> {
        self.file.write_all(lines.as_bytes()).map_err(|source| {
            // If even that fails the reader finds an unfinished line, and says so.
            let _ = self.file.set_len(self.n_bytes);
            OutError::Write { path: self.path.clone(), source }
        })?;
        self.n_bytes += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_is_said_once_and_comes_with_the_next_entry() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let at = |seconds| clock.started_at() + Duration::from_secs(seconds);
        let every = Duration::from_secs(1);
        let place = Folder { path: folder.path().join("run/1"), every };
        let series = Series { name: "wait", what: "waiting" };
        let mut out = Out::create(&place, "tool", &[series], &clock).unwrap();
        let mut total = Latency::default();
        let mut entry = |out: &mut Out, second| {
            total.record_us(second);
            out.log(at(second), &second, &[&total])
        };
        assert_eq!(entry(&mut out, 1), None);
        let path = out.series[0].log.path.clone();
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let file = std::mem::replace(&mut out.series[0].log.file, full);
        let said = entry(&mut out, 2).expect("the disk is full");
        assert!(said.contains("tool-wait.hlog: No space left"), "{said}");
        assert_eq!(entry(&mut out, 3), None, "it was said");
        out.series[0].log.file = file;
        assert_eq!(entry(&mut out, 4), None);
        assert!(out.shortfall().unwrap().starts_with("the logs lack 2 entries: cannot write"));
        assert_eq!(out.next_at(), at(5));
        let log = latency_log::read(&fs::read(path).unwrap()).unwrap();
        let counts = log.iter().map(|it| (it.start_s, it.duration_s, it.latency.count()));
        assert_eq!(counts.collect::<Vec<_>>(), [(0.0, 1.0, 1), (1.0, 3.0, 3)]);
        let reports = fs::read_to_string(place.path.join("tool.ndjson")).unwrap();
        assert_eq!(reports, "1\n2\n3\n4\n");
        let again = Out::create(&place, "tool", &[series], &clock).unwrap_err().to_string();
        assert!(again.ends_with(
            "tool.ndjson exists already; name another folder with --out, or move it away"
        ));
    }
}
