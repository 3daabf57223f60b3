//! Reports on a run while it goes on, keeps its logs, and ends it when it was held long enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::time::{Duration, Instant};

use reports::books::{Example, FloodReport, HostReport, Recent, SlowReader, WorstConnection};
use reports::latency::{Latency, LatencyCounts};
use reports::out::Out;
use reports::stamp::Clock;

use crate::clocks::timing::Timing;
use crate::config::Config;
use crate::end::End;
use crate::engine::listener::Listener;
use crate::error::Error;
use crate::forever::FOREVER;
use crate::hosts::HostSpec;
use crate::limits::rss_kb;
use crate::outcome::{Observer, Outcome};
use crate::prepare::Prepared;
use crate::report::Judging;
use crate::shape::Reopen;
use crate::slow_end::SlowEnd;
use crate::streams::counts::StreamCounts;
use crate::streams::summary;
use crate::tally::{self, Tally};
use crate::urls::UrlFile;
use crate::worst::Worst;

/// What was counted when a report was made, to tell the next one from.
#[derive(Debug, Default)]
struct Before {
    /// When that was, after the start.
    elapsed: Duration,
    /// Connections begun.
    begun: u64,
    /// Chunks received.
    chunks: u64,
    /// Items received.
    items: u64,
    /// Bytes received.
    bytes: u64,
    /// The delays from due to receipt.
    delivery_from_due: LatencyCounts,
}

impl Before {
    /// What came since then; from now on, since now.
    fn recent(&mut self, elapsed: Duration, tally: &Tally) -> Recent {
        let delivery = &tally.delivery_from_due;
        let recent = Recent {
            seconds: elapsed.saturating_sub(self.elapsed).as_secs_f64(),
            begun: tally.begun - self.begun,
            chunks: tally.chunks - self.chunks,
            items: tally.items - self.items,
            bytes: tally.bytes - self.bytes,
            delivery_from_due: delivery.since(&self.delivery_from_due).summary(),
        };
        let Tally { begun, chunks, items, bytes, .. } = *tally;
        *self = Self { elapsed, begun, chunks, items, bytes, delivery_from_due: delivery.counts() };
        recent
    }
}

/// Connections that the final report names.
#[derive(Debug)]
pub(crate) struct Named {
    /// Those with the most faults in the numbers of their messages.
    pub(crate) worst: Vec<Worst>,
    /// What became of slow readers.
    pub(crate) slow: Vec<SlowEnd>,
    /// The delays from due to receipt on each host, where others hold the connections.
    pub(crate) delays: Vec<(String, Latency)>,
}

/// Slow readers that a report names: some 100 KB of it. The log of `--out` has all.
const MAX_SLOW_READERS: usize = 1_000;

/// The log of slow readers in the folder of `--out`.
const SLOW_LOG: &str = "slow.ndjson";

/// How a slow reader is said to have ended that is open at the end.
const OPEN: &str = "open";

/// Reports to an observer on a run.
pub(crate) struct Reporter<'a> {
    /// What was asked for.
    config: &'a Config,
    /// Who gets the reports.
    observer: &'a mut dyn Observer,
    /// Connections asked for.
    n_asked: u64,
    /// Whether a destination is on another machine.
    is_remote: bool,
    /// When the first connection was due.
    started_at: Instant,
    /// The logs to keep.
    out: Option<Out>,
    /// The processes that hold connections: this one, or the workers.
    pids: Vec<u32>,
    /// What each host holds, where others do; kept by whoever speaks with them.
    pub(crate) hosts: Vec<HostReport>,
    /// What latencies are worth, where others hold the connections; kept likewise.
    pub(crate) timing: Option<Timing>,
    /// Their RSS before the first connect.
    rss_start_kb: u64,
    /// Their RSS when it was last looked at.
    rss_kb: u64,
    /// When the last attempt to open a connection came to its end.
    settled_at: Option<Instant>,
    /// When the next report is due.
    next_report_at: Instant,
    /// When progress is due.
    next_progress_at: Instant,
    /// The report before, the progress before, and the log's entry before.
    before: [Before; 3],
}

/// Places in [`Reporter::before`].
const REPORT: usize = 0;
const PROGRESS: usize = 1;
const LOG: usize = 2;
/// The last report of all, which comes after a report like any other.
const FINAL: usize = 3;

impl<'a> Reporter<'a> {
    /// Begins to report on the run of `prepared` that starts with `clock`, in the processes
    /// `pids` and on `hosts`.
    pub(crate) fn new(
        config: &'a Config,
        prepared: &Prepared,
        (pids, hosts): (Vec<u32>, Vec<HostReport>),
        clock: &Clock,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, Error> {
        let has_streams = config.streams.is_measured;
        let series = tally::series(has_streams);
        let create = |folder| Out::create(folder, "floodtest", &series, clock);
        let started_at = clock.started_at();
        let mut reporter = Self {
            config,
            observer,
            n_asked: prepared.dry_run.asked,
            is_remote: prepared.is_remote(),
            started_at,
            out: config.out.as_ref().map(create).transpose()?,
            rss_start_kb: 0,
            rss_kb: 0,
            hosts,
            timing: None,
            pids,
            settled_at: None,
            next_report_at: started_at + config.report_every.min(FOREVER),
            next_progress_at: started_at + config.progress_every.unwrap_or(FOREVER).min(FOREVER),
            before: Default::default(),
        };
        reporter.look_at_memory();
        reporter.rss_start_kb = std::mem::take(&mut reporter.rss_kb);
        let report = reporter.report(started_at, &Tally::default(), REPORT);
        reporter.observer.begun(report);
        Ok(reporter)
    }

    /// Makes the final report, with the URLs of what went wrong.
    pub(crate) fn finish(
        mut self,
        end: End,
        tally: &Tally,
        named: Named,
        urls: &mut UrlFile,
    ) -> Outcome {
        let Named { worst, slow, delays } = named;
        let now = Instant::now();
        let mut report = self.report(now, tally, FINAL);
        name_connections(&mut report, tally, worst, urls, &self.config.hosts);
        let problem = self.name_slow(&mut report, slow, urls).err();
        self.log(now, tally, &report);
        if end != End::ObserverLeft {
            // Whether the observer still listens makes no difference any more.
            let _ = self.observer.report(&report);
        }
        let out = self.out.as_ref().filter(|_| !delays.is_empty());
        let unwritten = out.and_then(|out| out.log_parts(now, "hosts", &delays).err());
        let log_shortfall = self.out.as_ref().and_then(Out::shortfall);
        let log_shortfall = log_shortfall.or_else(|| unwritten.map(|error| error.to_string()));
        let log_shortfall = log_shortfall
            .or_else(|| problem.map(|error| format!("{SLOW_LOG} could not be written: {error}")));
        let (is_remote, ends) = (self.is_remote, self.config.ends);
        let must_judge = self.config.accounting.is_asked_for();
        let has_reopen = self.config.shape.reopen != Reopen::Never;
        let away_in_order = tally.away_in_order;
        Outcome {
            end,
            report,
            log_shortfall,
            is_remote,
            must_judge,
            ends,
            has_reopen,
            away_in_order,
            reopening: tally.reopening,
        }
    }

    /// The report of this moment, the next of those that `which` says.
    fn report(&mut self, now: Instant, tally: &Tally, which: usize) -> FloodReport {
        let elapsed = now.saturating_duration_since(self.started_at);
        let is_final = which == FINAL;
        let before = if is_final { REPORT } else { which };
        let recent = self.before[before].recent(elapsed, tally);
        let (rss_start_kb, rss_kb) = (self.rss_start_kb, self.rss_kb);
        let mut counted = self.judging().report(tally, self.n_asked, elapsed);
        counted.is_final = is_final;
        let asked_per_s = self.config.asked_per_s(counted.opening_s);
        tally.own.write(&mut counted, &tally.connect_lateness, asked_per_s);
        if self.config.streams.is_measured {
            let no_streams;
            let counts = if let Some(counts) = &tally.streams {
                counts
            } else {
                // Workers have said nothing yet.
                no_streams = Box::default();
                &no_streams
            };
            let start_us = tally.dialed_us.map_or(0, |(first_us, _)| first_us);
            summary::write(&mut counted, &self.config.streams, counts, start_us, elapsed);
        }
        let notes = [counted.notes.clone(), self.config.cautions(), tally.notes()].concat();
        let hosts = self.hosts.clone();
        let mut report = FloodReport { recent, rss_start_kb, rss_kb, hosts, notes, ..counted };
        self.timing.iter().for_each(|timing| timing.write(&mut report));
        report
    }

    /// Looks at the memory of all processes. Hosts look at theirs by themselves.
    fn look_at_memory(&mut self) {
        let there_kb: u64 = self.hosts.iter().map(|host| host.rss_kb).sum();
        self.rss_kb = rss_kb(&self.pids) + there_kb;
    }

    /// Names the slow readers: the first of them in the report, and all of them in a log.
    fn name_slow(
        &self,
        report: &mut FloodReport,
        mut slow: Vec<SlowEnd>,
        urls: &mut UrlFile,
    ) -> io::Result<()> {
        let Some(readers) = &mut report.slow_readers else { return Ok(()) };
        slow.sort_by_key(|it| it.number);
        if (slow.len() as u64) < readers.connections {
            let n_more = readers.connections - slow.len() as u64;
            report.notes.push(format!("{n_more} slow readers are counted and not named"));
        }
        let numbers: BTreeSet<u64> = slow.iter().map(|it| it.number).collect();
        // A file that cannot be read any more leaves them without URLs.
        let by_number = urls.pick(&numbers).unwrap_or_default();
        let all = slow.iter().map(|it| SlowReader {
            url: by_number.get(&it.number).cloned().unwrap_or_default(),
            bytes_per_s: it.bytes_per_s,
            bytes: it.bytes,
            end: it.reason.map_or_else(|| OPEN.to_owned(), |reason| reason.to_string()),
            after_s: it.reason.map(|_| f64::from(it.after_ms) / 1e3),
        });
        readers.readers = all.clone().take(MAX_SLOW_READERS).collect();
        let Some(folder) = &self.config.out else { return Ok(()) };
        let mut log = BufWriter::new(File::create(folder.path.join(SLOW_LOG))?);
        for reader in all {
            serde_json::to_writer(&mut log, &reader)?;
            log.write_all(b"\n")?;
        }
        log.flush()
    }

    /// What the figures depend on beside the counts.
    fn judging(&self) -> Judging {
        let has_slow = !self.config.shape.slow.is_empty();
        Judging { numbers_are: self.config.accounting.numbers, has_slow }
    }

    /// Reports something that went wrong and does not end the run.
    pub(crate) fn trouble(&mut self, what: &str) {
        self.observer.trouble(what);
    }

    /// Writes a report to the logs, if there are any.
    fn log(&mut self, now: Instant, tally: &Tally, report: &FloodReport) {
        let out = self.out.as_mut();
        let is_missing = self.config.streams.is_measured && tally.streams.is_none();
        let no_streams = is_missing.then(Box::<StreamCounts>::default);
        let totals = tally.totals(no_streams.as_deref());
        if let Some(news) = out.and_then(|out| out.log(now, report, &totals)) {
            self.observer.trouble(&news);
        }
    }
}

/// In a run of one process the only thing that control can say is that it is to end.
impl Listener for Reporter<'_> {
    /// When there is something to report, or to end.
    fn next_at(&self) -> Instant {
        let mut at = self.next_report_at.min(self.next_progress_at);
        at = self.out.as_ref().map_or(at, |out| at.min(out.next_at()));
        match (self.settled_at, self.config.hold) {
            (Some(settled_at), Some(hold)) => at.min(settled_at + hold.min(FOREVER)),
            _ => at,
        }
    }

    /// Makes the reports on `tally` that are due. `is_settled` says that no connection will be
    /// opened any more. The end of the run if it is over.
    fn tick(&mut self, now: Instant, tally: &Tally, is_settled: bool) -> Option<End> {
        if is_settled {
            if self.settled_at.is_none() {
                // Short runs have no other report than the final one, when it is too late.
                self.look_at_memory();
            }
            let settled_at = *self.settled_at.get_or_insert(now);
            if tally.n_alive() == 0 {
                return Some(End::NothingOpen);
            }
            if self.config.hold.is_some_and(|hold| now - settled_at >= hold) {
                return Some(End::Held);
            }
        }
        if now >= self.next_at() {
            self.look_at_memory();
        }
        if now >= self.next_progress_at {
            self.next_progress_at = now + self.config.progress_every.unwrap_or(FOREVER);
            let report = self.report(now, tally, PROGRESS);
            self.observer.progress(&report);
        }
        if self.out.as_ref().is_some_and(|out| now >= out.next_at()) {
            let report = self.report(now, tally, LOG);
            self.log(now, tally, &report);
        }
        if now >= self.next_report_at {
            // From the due time on, so that the reports do not drift; one that is a whole
            // interval late is left out.
            let every = self.config.report_every.min(FOREVER);
            while self.next_report_at <= now {
                self.next_report_at += every;
            }
            let report = self.report(now, tally, REPORT);
            if self.observer.report(&report).is_break() {
                return Some(End::ObserverLeft);
            }
        }
        None
    }

    fn on_control(&mut self, _: &Tally) -> Option<End> {
        Some(End::Stopped)
    }
}

/// What a place is called that has no connection at the end, because of an end or a failure.
const AWAY: &str = "away";

/// Puts the URLs of what went wrong into the final report. They are read from the file again: to
/// remember them would cost memory for each connection.
fn name_connections(
    report: &mut FloodReport,
    tally: &Tally,
    mut worst: Vec<Worst>,
    urls: &mut UrlFile,
    hosts: &[HostSpec],
) {
    Worst::sort(&mut worst);
    let reasons = || tally.failures.iter().chain(tally.closures.iter());
    let numbers = worst.iter().map(|worst| worst.number).chain(reasons().map(|it| it.first));
    let numbers: BTreeSet<u64> = numbers.chain(tally.first_away).collect();
    // A file that cannot be read any more leaves the report without URLs; its counts stand.
    let by_number: BTreeMap<u64, String> = urls.pick(&numbers).unwrap_or_default();
    if report.lost.is_none() {
        // What numbers leave out is counted among the faults of a connection, and is none here.
        worst.clear();
    }
    report.worst.extend(worst.iter().filter_map(|worst| {
        let url = by_number.get(&worst.number)?.clone();
        let host = host_of(worst.number, hosts);
        Some(WorstConnection { url, faults: worst.faults.into(), host })
    }));
    report.examples.extend(reasons().filter_map(|it| {
        let url = by_number.get(&it.first)?.clone();
        let detail = it.detail.clone().or_else(|| it.reason.detail());
        let host = host_of(it.first, hosts);
        Some(Example { reason: it.reason.to_string(), detail, url, host })
    }));
    let away = tally.first_away.and_then(|number| {
        let (url, host) = (by_number.get(&number)?.clone(), host_of(number, hosts));
        Some(Example { reason: AWAY.to_owned(), detail: None, url, host })
    });
    report.examples.extend(away);
}

/// The host that held the connection of this number, where others do.
fn host_of(number: u64, hosts: &[HostSpec]) -> Option<String> {
    let period = hosts.iter().map(|host| host.weight).sum::<u64>();
    let mut place = number.checked_rem(period)?;
    let host = hosts.iter().find(|host| {
        let is_it = place < host.weight;
        place = place.saturating_sub(host.weight);
        is_it
    });
    host.map(|it| it.host.to_string())
}
