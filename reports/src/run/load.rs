//! A whole run, read from its raw files.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::folder::{LAST_UNIX_S, RunError, open, read, too_great};
use super::{Exits, Expected, Faults, Footprints, Host, Phases, Plan, files};
use crate::books::{FloodReport, ItemKind, SendReport, ServerStats};
use crate::latency::{Latency, LatencySummary};
use crate::latency_log;
use crate::memory_log::{self, Damage, Sample};
use crate::units::MOST;

/// What the raw files of a run hold.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder that it was read from.
    pub folder: PathBuf,
    /// What was asked for.
    pub plan: Plan,
    /// On what machine.
    pub host: Host,
    /// How the programs ended.
    pub exits: Exits,
    /// When its phases began; empty in runs whose memory log alone says so.
    pub phases: Phases,
    /// The server's memory and connections; empty if it is not on this machine.
    pub memory: Vec<Sample>,
    /// floodtest's reports; at least one.
    pub flood: Vec<FloodReport>,
    /// msggen's reports; none if no messages were to be sent.
    pub send: Vec<SendReport>,
    /// What it took of the whole machine.
    pub footprints: Footprints,
    /// The counts of all servers after the last message, in all; `None` of a server that gives
    /// none, or that was gone by then.
    pub server: Option<ServerStats>,
    /// How many messages were to come; `None` in runs that have not said it.
    pub expected: Option<Expected>,
    /// From a message's due time to its receipt.
    pub delivery_due: Option<Delays>,
    /// From a message's actual send to its receipt.
    pub delivery_actual: Option<Delays>,
    /// From a message's due time to its answer.
    pub send_due: Option<Delays>,
    /// From a message's actual send to its answer.
    pub send_actual: Option<Delays>,
    /// From a message's due time to its actual send.
    pub lateness: Option<Delays>,
    /// What was done to the server.
    pub faults: Faults,
    /// From when a connection was due to its first item. This and the next three are there where
    /// floodtest was to look at streams that end.
    pub first_item_from_due: Option<Delays>,
    /// From when its request was sent to its first item.
    pub first_item_from_send: Option<Delays>,
    /// From each item of a stream to the next.
    pub gap: Option<Delays>,
    /// From when a stream's request was sent to its orderly end.
    pub stream_time: Option<Delays>,
}

/// A latency log. The histograms of its intervals are summarised as they are read: those of an hour
/// would take a gigabyte.
#[derive(Debug, Clone)]
pub struct Delays {
    /// When the time of the intervals begins, in seconds after the Unix epoch.
    pub started_unix_s: Option<f64>,
    /// All delays.
    pub total: Latency,
    /// Those of each interval in which there were any.
    pub intervals: Vec<DelayInterval>,
}

/// The delays of an interval.
#[derive(Debug, Clone, PartialEq)]
pub struct DelayInterval {
    /// Its start, in seconds after the log's start.
    pub start_s: f64,
    /// Its length in seconds.
    pub duration_s: f64,
    /// What was recorded in it.
    pub summary: LatencySummary,
}

impl Run {
    /// Reads the run in `folder`. A latency log may be missing, for there may have been no
    /// messages; every other raw file that the plan promises must be there and whole.
    pub fn load(folder: &Path) -> Result<Self, RunError> {
        let delays = |name| read_delays(&folder.join(files::name_in(folder, name)));
        let plan = Plan::read(folder)?;
        let exits = Exits::read(folder)?;
        let is_sending = plan.messages_per_second > 0;
        // One that died has said nothing, and its exit is the shortfall. Nor was anything sent if
        // it died before, or if it was lost sight of with the host that it is on.
        let is_dead = exits.has_fallen(&plan.server.name) || exits.has_fallen("memlog");
        let is_there = |name| folder.join(name).exists();
        let has_send = is_sending && (!is_dead || is_there(files::MSGGEN));
        let has_stats = plan.server.is_counted && (!is_dead || is_there(files::SERVER_STATS));
        let (memory, stats) = (folder.join(files::MEMORY), folder.join(files::SERVER_STATS));
        Ok(Self {
            folder: folder.to_owned(),
            host: Host::read(folder)?,
            exits,
            phases: Phases::read(folder)?,
            memory: if plan.server.is_watched { read_memory(&memory)? } else { Vec::new() },
            flood: read_reports(&folder.join(files::FLOODTEST))?,
            send: if has_send { read_reports(&folder.join(files::MSGGEN))? } else { Vec::new() },
            footprints: Footprints::read(folder)?,
            server: if has_stats { Some(read_stats(&stats)?) } else { None },
            expected: Expected::read(folder)?,
            delivery_due: delays(files::DELIVERY_FROM_DUE)?,
            delivery_actual: delays(files::DELIVERY_FROM_SEND)?,
            send_due: delays(files::SEND_FROM_DUE)?,
            send_actual: delays(files::SEND_FROM_SEND)?,
            lateness: delays(files::LATENESS)?,
            faults: Faults::read(folder)?,
            first_item_from_due: delays(files::FIRST_ITEM_FROM_DUE)?,
            first_item_from_send: delays(files::FIRST_ITEM_FROM_SEND)?,
            gap: delays(files::GAP)?,
            stream_time: delays(files::STREAM_TIME)?,
            plan,
        })
    }

    /// floodtest's last report.
    pub fn received(&self) -> &FloodReport {
        self.flood.last().expect("a run without reports is not loaded")
    }

    /// msggen's last report; `None` if it sent nothing.
    pub fn sent(&self) -> Option<&SendReport> {
        self.send.last()
    }

    /// Whether the server ended in the middle of the run, so that the first shortfall is its end.
    pub fn server_fell_early(&self) -> bool {
        let first = self.exits.exits.iter().find(|exit| exit.shortfall().is_some());
        first.is_some_and(|exit| exit.is_early && exit.is_of(&self.plan.server.name))
    }

    /// What is counted of what was received: of comet-server chunks or the frames of WebSockets,
    /// which its own counts are compared with; chunks as well in runs whose floodtest counted
    /// nothing else.
    pub fn item_kind(&self) -> ItemKind {
        let received = self.received();
        let has_chunks_only = received.items == 0 && received.chunks > 0;
        match received.item_kind {
            ItemKind::Frames => ItemKind::Frames,
            _ if self.server.is_some() || has_chunks_only => ItemKind::Chunks,
            kind => kind,
        }
    }

    /// How many of these were received.
    pub fn n_items(&self) -> u64 {
        self.received().n_of(self.item_kind())
    }

    /// What people call it: the name of its folder.
    pub fn name(&self) -> String {
        let absolute = fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        let name = absolute.file_name().unwrap_or(absolute.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// The error of a file that cannot be read.
fn unreadable(path: &Path) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::Read { path: path.to_owned(), source }
}

/// Reads a memory log, every line of which must be whole.
fn read_memory(path: &Path) -> Result<Vec<Sample>, RunError> {
    let file = open(path).map_err(unreadable(path))?;
    let (mut samples, mut first_damage) = (Vec::new(), None);
    let take = |sample| samples.push(sample);
    let damaged = |damage| _ = first_damage.get_or_insert(damage);
    memory_log::read(BufReader::new(file), take, damaged).map_err(unreadable(path))?;
    let strange = || {
        let at = samples.iter().position(is_strange)?;
        let why = "it has a time or a count that no run has".to_owned();
        Some(Damage { line: at as u64 + 1, why })
    };
    match first_damage.or_else(strange) {
        None => Ok(samples),
        Some(Damage { line, why }) => Err(RunError::Damaged { path: path.to_owned(), line, why }),
    }
}

/// Whether a sample has figures that sums would not hold, or a time that has no date.
fn is_strange(sample: &Sample) -> bool {
    let known = [
        sample.anon_kb,
        sample.kernel_tcp_kb,
        sample.slab_kb,
        sample.n_threads,
        sample.cpu_ms,
        sample.n_fds,
    ];
    let counts =
        [sample.rss_kb, sample.n_connections, sample.n_missed, sample.step_ms.unsigned_abs()];
    let mut counts = known.into_iter().flatten().chain(counts);
    let mut times = sample.marks.iter().filter_map(|mark| mark.unix_s).chain([sample.unix_s]);
    counts.any(|count| count > MOST) || times.any(|unix_s| unix_s > LAST_UNIX_S)
}

/// Reads the reports of a tool, one a line.
fn read_reports<R: DeserializeOwned + Serialize>(path: &Path) -> Result<Vec<R>, RunError> {
    let damaged = |line, why| RunError::Damaged { path: path.to_owned(), line, why };
    let file = BufReader::new(open(path).map_err(unreadable(path))?);
    let mut reports = Vec::new();
    for (line, text) in (1..).zip(file.lines()) {
        let text = text.map_err(unreadable(path))?;
        let report = serde_json::from_str(&text);
        let report = report.map_err(|error| damaged(line, format!("not a report: {error}")))?;
        if let Some(why) = too_great(&report) {
            return Err(damaged(line, why));
        }
        reports.push(report);
    }
    if reports.is_empty() {
        return Err(damaged(1, "there is no report in it".to_owned()));
    }
    Ok(reports)
}

/// Reads the counts of every server, and sums them up.
fn read_stats(path: &Path) -> Result<ServerStats, RunError> {
    let bytes = read(path).map_err(unreadable(path))?;
    ServerStats::sum(&bytes).map_err(|error| RunError::Damaged {
        path: path.to_owned(),
        line: error.line() as u64,
        why: format!("not the server's counts: {error}"),
    })
}

/// Reads a latency log. `None` if it is not there.
fn read_delays(path: &Path) -> Result<Option<Delays>, RunError> {
    let log = match read(path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path)(error)),
    };
    let (mut total, mut intervals) = (Latency::default(), Vec::new());
    let mut last_s = 0.0;
    let take = |interval: latency_log::Interval| {
        last_s = f64::max(last_s, interval.start_s.max(interval.duration_s));
        total.merge(&interval.latency);
        intervals.push(DelayInterval {
            start_s: interval.start_s,
            duration_s: interval.duration_s,
            summary: interval.latency.summary(),
        });
    };
    latency_log::each(&log, take).map_err(|error| RunError::Damaged {
        path: path.to_owned(),
        line: error.line as u64,
        why: error.why.to_owned(),
    })?;
    let started_unix_s = latency_log::started_unix_s(&log);
    let latest_s = started_unix_s.unwrap_or_default().max(last_s);
    if latest_s > LAST_UNIX_S as f64 || total.count() > MOST {
        let why = "it has a time or a count that no run has".to_owned();
        return Err(RunError::Damaged { path: path.to_owned(), line: 1, why });
    }
    Ok(Some(Delays { started_unix_s, total, intervals }))
}
