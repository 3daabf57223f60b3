//! More connections than one process may open: worker processes, and one report of them all.
//!
//! A worker is this program with a share of the run, every n-th connection, and the same engine.
//! The parent holds no connection. When a report is due it asks all workers for their counts and
//! adds them up, histograms whole, so that the report is of one moment.
//!
//! - this file: the run as the parent sees it
//! - `link`: workers, wherever they are; `listen`: waits until one of them says something
//! - `handle`: one worker process of this machine; `host`: those of another one, behind ssh
//! - `counted`: what is known of a worker by what it has said
//! - `child`: the worker itself
//! - `agent`: the workers of a host that the parent is not on
//! - `orders`: what a worker is told while it works
//! - `wire`: what they say to each other; `lines`: in pieces
//! - `monotonic`: the clock that all processes of a machine share

pub(crate) mod agent;
pub(crate) mod child;
mod counted;
mod handle;
mod host;
mod lines;
mod link;
mod listen;
pub(crate) mod monotonic;
mod orders;
mod wire;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use reports::books::HostReport;
use reports::stamp::Clock;

use crate::clocks::origin::Origin;
use crate::clocks::senders::{self, Senders};
use crate::clocks::timing::Timing;
use crate::config::Config;
use crate::end::End;
use crate::engine::listener::Listener as _;
use crate::error::Error;
use crate::forever::FOREVER;
use crate::job::Job;
use crate::outcome::{Observer, Outcome};
use crate::prepare::Prepared;
use crate::reporter::{Named, Reporter};
use crate::share::Share;
use crate::slow_end::SlowEnd;
use crate::tally::Tally;
use crate::worst::Worst;
use counted::{Counted, State};
use handle::Handle;
use host::Host;
use link::Link;
use listen::{Heard, listen};

/// How long a report waits for the counts of a worker. One that is later than this, because it was
/// stopped or the machine is overloaded, is reported with the counts that it sent before.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How long the workers may take to end when they are told to, without any connection. Those that
/// need longer are killed.
const END_TIME: Duration = Duration::from_secs(10);

/// How long all of them may take to read the senders' files (`--sent`): some 50 bytes for each id
/// that was sent to, in every worker.
const READ_TIME: Duration = Duration::from_mins(2);

/// Connections that they close in a second at the least, before they say their last counts: on two
/// cores, which the other ends shared, 40,000 took less than two seconds.
const CLOSED_PER_SECOND: u64 = 10_000;

/// How long after all hosts are ready the run begins: enough for the word to come to all of them.
const START_AHEAD: Duration = Duration::from_millis(500);

/// How often it is looked for senders: each that lives so long is seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes a run with worker processes.
pub(crate) fn run(
    config: &Config,
    mut prepared: Prepared,
    stop: BorrowedFd<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let n_workers = prepared.dry_run.workers;
    let mut job = Job::whole(config, &mut prepared);
    let handles = spawn(config, &mut job, n_workers)?;
    let pids = handles.iter().map(Handle::pid).collect();
    let links = handles.into_iter().map(|handle| Box::new(handle) as Box<dyn Link>).collect();
    let mut workers = Workers::new(config, links);
    let (start_us, clock) = (monotonic::now_us(), Clock::start());
    let mut reporter = Reporter::new(config, &prepared, (pids, Vec::new()), &clock, observer)?;
    workers.begin(start_us)?;
    let (end, tally, named) = workers.run(&mut reporter, stop)?;
    Ok(reporter.finish(end, &tally, named, &mut prepared.urls))
}

/// Makes a run on the hosts of `config`.
pub(crate) fn run_on_hosts(
    config: &Config,
    mut prepared: Prepared,
    stop: BorrowedFd<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut hosts = host::preflight::hosts(config, &mut prepared, stop)?;
    prepared.dry_run.warnings.iter().for_each(|warning| observer.trouble(warning));
    let mut n_before = 0;
    for host in &mut hosts {
        n_before += host.spawn(n_before);
    }
    host::preflight::until_ready(&mut hosts, stop)?;
    let sender = hosts.pop_if(|host| host.is_sender());
    let links = hosts.into_iter().map(|host| Box::new(host) as Box<dyn Link>).collect();
    let mut workers = Workers::new(config, links);
    let there = sender.as_ref().and_then(Host::origin);
    workers.origin = Some(there.unwrap_or_else(Origin::here));
    workers.sender = sender;
    let start_us = monotonic::now_us() + i64::try_from(START_AHEAD.as_micros()).unwrap_or(0);
    let clock = Clock::start_at(monotonic::instant_of(start_us));
    let there = (Vec::new(), workers.host_reports());
    let mut reporter = Reporter::new(config, &prepared, there, &clock, observer)?;
    workers.correct();
    workers.begin(start_us)?;
    let (end, tally, named) = workers.run(&mut reporter, stop)?;
    Ok(reporter.finish(end, &tally, named, &mut prepared.urls))
}

/// Finds out what a run on the hosts of `config` takes; nothing is connected.
pub(crate) fn plan_hosts(
    config: &Config,
    prepared: &mut Prepared,
    stop: BorrowedFd<'_>,
) -> Result<(), Error> {
    host::preflight::hosts(config, prepared, stop).map(|_| ())
}

/// Starts `n_workers` processes here and waits until all know their share of `job`.
fn spawn(config: &Config, job: &mut Job, n_workers: u64) -> Result<Vec<Handle>, Error> {
    let mut handles = Vec::new();
    for index in 0..n_workers {
        job.share = Share::local(index, n_workers);
        handles.push(Handle::start(config, job)?);
    }
    for handle in &mut handles {
        handle.wait_until_ready()?;
    }
    Ok(handles)
}

/// All workers of a run.
struct Workers {
    /// The ways to them, in the order of their shares.
    links: Vec<Box<dyn Link>>,
    /// The clock that messages are stamped by, where it may be another than that of receipts.
    origin: Option<Origin>,
    /// The host where messages are sent, if it is another one.
    sender: Option<Host>,
    /// Who sends by that clock.
    senders: Senders,
    /// When that is looked for again.
    look_at: Instant,
    /// How often they were asked for their counts.
    n_asked: u64,
    /// The most connections that were open at once in all of them, at the moments that are known.
    peak: u64,
    /// Whether something was said since the last report that was not asked for.
    has_news: bool,
    /// How long the workers may take to end, without any connection.
    end_time: Duration,
}

impl Workers {
    /// Those behind `links`, all of which know their share of the job.
    fn new(config: &Config, links: Vec<Box<dyn Link>>) -> Self {
        // They read on for a while when they are told to end, and read what was sent.
        let has_sent = !config.accounting.sent.is_empty();
        let settle = config.accounting.settle.min(FOREVER);
        let more = if has_sent { settle + READ_TIME } else { Duration::ZERO };
        let end_time = END_TIME + more;
        Self {
            links,
            origin: None,
            sender: None,
            senders: Senders::default(),
            look_at: Instant::now(),
            n_asked: 0,
            peak: 0,
            has_news: false,
            end_time,
        }
    }

    /// Tells all of them when the run begins, by the monotonic clock.
    fn begin(&mut self, start_us: i64) -> Result<(), Error> {
        self.links.iter_mut().try_for_each(|link| link.begin(start_us))
    }

    /// Makes the run: what ended it, all that was counted, and what is to be named.
    fn run(
        &mut self,
        reporter: &mut Reporter<'_>,
        stop: BorrowedFd<'_>,
    ) -> Result<(End, Tally, Named), Error> {
        let end = self.follow(reporter, stop)?;
        self.end(reporter)?;
        let merged = self.merged_for(reporter);
        let delays = self.links.iter().filter_map(|link| link.delays()).collect();
        let named = Named { worst: self.worst(), slow: self.slow(), delays };
        Ok((end, merged, named))
    }

    /// Follows the workers until the run is over, and reports on it.
    fn follow(&mut self, reporter: &mut Reporter<'_>, stop: BorrowedFd<'_>) -> Result<End, Error> {
        let mut asked_at = None;
        loop {
            let now = Instant::now();
            let is_over = |asked_at: Instant| now - asked_at >= ANSWER_TIME || self.have_answered();
            let is_answered = asked_at.is_some_and(is_over);
            if is_answered || asked_at.is_none() && self.has_news {
                (asked_at, self.has_news) = (None, false);
                let merged = self.merged_for(reporter);
                let end = self.end_of_all();
                if let Some(end) = end.or_else(|| reporter.tick(now, &merged, self.is_settled())) {
                    return Ok(end);
                }
            } else if asked_at.is_none() && now >= reporter.next_at() {
                self.ask();
                asked_at = Some(now);
            }
            let wake_at = asked_at.map_or(reporter.next_at(), |asked_at| asked_at + ANSWER_TIME);
            if self.wait(Some(stop), wake_at)? {
                return Ok(End::Stopped);
            }
            self.report_troubles(reporter);
        }
    }

    /// Ends all workers, so that their last counts are there.
    fn end(&mut self, reporter: &mut Reporter<'_>) -> Result<(), Error> {
        self.links.iter_mut().for_each(|link| link.stop());
        let n_open: u64 = self.counted().map(|worker| worker.tally.connected).sum();
        let deadline =
            Instant::now() + self.end_time + Duration::from_secs(n_open / CLOSED_PER_SECOND);
        let is_ending =
            |workers: &Self| workers.links.iter().any(|link| link.is_running() || link.is_ending());
        while is_ending(self) && Instant::now() < deadline {
            self.wait(None, deadline)?;
        }
        self.sender.iter_mut().for_each(Host::finish);
        while self.sender.as_ref().is_some_and(Host::is_ending) && Instant::now() < deadline {
            self.wait(None, deadline)?;
        }
        self.links.iter_mut().for_each(|link| link.kill());
        self.report_troubles(reporter);
        Ok(())
    }

    /// Waits until a worker says something, or `until`; whether `stop` became readable.
    fn wait(&mut self, stop: Option<BorrowedFd<'_>>, until: Instant) -> Result<bool, Error> {
        let links = self.links.iter_mut().map(|link| &mut **link as &mut dyn Link);
        let sender = self.sender.iter_mut().map(|host| host as &mut dyn Link);
        let mut links: Vec<_> = links.chain(sender).collect();
        let Heard { is_stopped, has_news } = listen(&mut links, stop, Some(until))?;
        self.has_news |= has_news;
        self.correct();
        self.look_for_senders();
        Ok(is_stopped)
    }

    /// Looks who sends on this machine, once a second, where hosts have to know.
    fn look_for_senders(&mut self) {
        if self.origin.is_none() || Instant::now() < self.look_at {
            return;
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        match &self.sender {
            Some(host) => self.senders.add(host.announced()),
            // Where there is no list, nobody is known, which is said.
            None => self.senders.add(senders::announced().unwrap_or_default()),
        }
    }

    /// What latencies are worth, where connections are on other hosts.
    fn timing(&self, merged: &Tally) -> Option<Timing> {
        let host_bound_us = match &self.sender {
            None => Some(0),
            Some(host) if host.lost_why.is_some() => None,
            Some(host) => host.clock().map(|clock| clock.bound_us),
        };
        let origin = self.origin.as_ref()?;
        Some(Timing::of(&merged.stamped_by, &self.senders, origin, host_bound_us))
    }

    /// Tells hosts how their clocks are to be read, where there is news of that.
    fn correct(&mut self) {
        let Some(origin) = &mut self.origin else { return };
        let news = self.sender.as_mut().and_then(Host::news_of_clock);
        if let Some(there) = news {
            origin.correct(there);
        }
        self.links.iter_mut().for_each(|link| link.correct(origin, news.is_some()));
    }

    /// All that is known of single workers.
    fn counted(&self) -> impl Iterator<Item = &Counted> {
        self.links.iter().flat_map(|link| link.counted())
    }

    /// The same, to take from.
    fn counted_mut(&mut self) -> impl Iterator<Item = &mut Counted> {
        self.links.iter_mut().flat_map(|link| link.counted_mut())
    }

    /// Asks all workers for their counts.
    fn ask(&mut self) {
        self.n_asked += 1;
        self.links.iter_mut().for_each(|link| link.ask());
    }

    /// Whether all that can have answered what they were asked.
    fn have_answered(&self) -> bool {
        let mut running = self.counted().filter(|worker| worker.is_running());
        running.all(|worker| worker.n_answered == self.n_asked)
    }

    /// Whether no connection will be opened any more.
    fn is_settled(&self) -> bool {
        self.counted().all(Counted::is_settled)
    }

    /// What ended the last of them, if all have ended by themselves because nobody listens.
    fn end_of_all(&self) -> Option<End> {
        let mut nobody = None;
        for worker in self.counted() {
            match &worker.state {
                State::Done(end @ End::NobodyListens { .. }) => nobody = Some(end.clone()),
                _ => return None,
            }
        }
        nobody
    }

    /// Reports what has gone wrong with workers since the last time.
    fn report_troubles(&mut self, reporter: &mut Reporter<'_>) {
        let of_sender = self.sender.iter_mut().flat_map(Host::notices);
        let troubles = self.links.iter_mut().flat_map(|link| link.notices());
        troubles.chain(of_sender).for_each(|it| reporter.trouble(&it));
    }

    /// The counts of all, of which the reporter is told whose they are and what they are worth.
    fn merged_for(&mut self, reporter: &mut Reporter<'_>) -> Tally {
        let merged = self.merged();
        reporter.hosts = self.host_reports();
        reporter.timing = self.timing(&merged);
        merged
    }

    /// The counts of all.
    fn merged(&mut self) -> Tally {
        let mut merged = Tally::default();
        self.counted().for_each(|worker| merged.merge(&worker.tally));
        self.peak = self.peak.max(merged.connected);
        merged.peak = self.peak;
        merged
    }

    /// What is reported of each host.
    fn host_reports(&self) -> Vec<HostReport> {
        self.links.iter().filter_map(|link| link.report()).collect()
    }

    /// The connections with the most faults.
    fn worst(&mut self) -> Vec<Worst> {
        self.counted_mut().flat_map(|worker| std::mem::take(&mut worker.worst)).collect()
    }

    /// What became of the slow readers.
    fn slow(&mut self) -> Vec<SlowEnd> {
        self.counted_mut().flat_map(|worker| std::mem::take(&mut worker.slow)).collect()
    }
}
