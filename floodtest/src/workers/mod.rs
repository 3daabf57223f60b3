//! More connections than one process may open: worker processes, and one report of them all.
//!
//! A worker is this program with a share of the run, every n-th connection, and the same engine.
//! The parent holds no connection. When a report is due it asks all workers for their counts and
//! adds them up, histograms whole, so that the report is of one moment.
//!
//! - this file: the run as the parent sees it
//! - `handle`: one worker process, as the parent sees it
//! - `child`: the worker itself
//! - `agent`: the workers of a host that the parent is not on
//! - `orders`: what a worker is told while it works
//! - `wire`: what they say to each other
//! - `monotonic`: the clock that all processes of a machine share

pub(crate) mod agent;
pub(crate) mod child;
mod handle;
pub(crate) mod monotonic;
mod orders;
mod wire;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use reports::stamp::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

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
use handle::{Handle, State};

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

/// Makes a run with worker processes.
pub(crate) fn run(
    config: &Config,
    mut prepared: Prepared,
    stop: BorrowedFd<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let n_workers = prepared.dry_run.workers;
    let mut job = Job::whole(config, &mut prepared);
    let mut workers = Workers::spawn(config, &mut job, n_workers)?;
    let (start_us, clock) = (monotonic::now_us(), Clock::start());
    let pids = workers.handles.iter().map(Handle::pid).collect();
    let mut reporter = Reporter::new(config, &prepared, pids, &clock, observer)?;
    workers.begin(start_us)?;
    let end = workers.follow(&mut reporter, stop)?;
    workers.end(&mut reporter)?;
    let named = Named { worst: workers.worst(), slow: workers.slow() };
    Ok(reporter.finish(end, &workers.merged(), named, &mut prepared.urls))
}

/// All workers of a run.
struct Workers {
    /// The workers, in the order of their shares.
    handles: Vec<Handle>,
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
    /// Starts the workers and waits until all know their share of `job`.
    fn spawn(config: &Config, job: &mut Job, n_workers: u64) -> Result<Self, Error> {
        let mut handles = Vec::new();
        for index in 0..n_workers {
            job.share = Share::local(index, n_workers);
            handles.push(Handle::start(config, job)?);
        }
        for handle in &mut handles {
            handle.wait_until_ready()?;
        }
        // They read on for a while when they are told to end, and read what was sent.
        let has_sent = !job.accounting.sent.is_empty();
        let settle = job.accounting.settle.min(FOREVER);
        let more = if has_sent { settle + READ_TIME } else { Duration::ZERO };
        let end_time = END_TIME + more;
        Ok(Self { handles, n_asked: 0, peak: 0, has_news: false, end_time })
    }

    /// Tells all of them when the run begins, by the monotonic clock.
    fn begin(&mut self, start_us: i64) -> Result<(), Error> {
        self.handles.iter_mut().try_for_each(|handle| handle.begin(start_us))
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
                let merged = self.merged();
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
            self.report_deaths(reporter);
        }
    }

    /// Ends all workers, so that their last counts are there.
    fn end(&mut self, reporter: &mut Reporter<'_>) -> Result<(), Error> {
        self.handles.iter_mut().for_each(Handle::stop);
        let n_open: u64 = self.handles.iter().map(|handle| handle.tally.connected).sum();
        let deadline =
            Instant::now() + self.end_time + Duration::from_secs(n_open / CLOSED_PER_SECOND);
        while self.handles.iter().any(Handle::is_running) && Instant::now() < deadline {
            self.wait(None, deadline)?;
        }
        self.handles.iter_mut().filter(|handle| handle.is_running()).for_each(Handle::kill);
        self.report_deaths(reporter);
        Ok(())
    }

    /// Waits until a worker says something, or `until`; whether `stop` became readable.
    fn wait(&mut self, stop: Option<BorrowedFd<'_>>, until: Instant) -> Result<bool, Error> {
        let running: Vec<usize> =
            (0..self.handles.len()).filter(|index| self.handles[*index].is_running()).collect();
        let fds = running.iter().map(|index| self.handles[*index].as_fd()).chain(stop);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let mut is_ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
        let is_stopped = stop.is_some() && is_ready.pop().is_some_and(|is_ready| is_ready);
        drop(fds);
        for (index, _) in running.into_iter().zip(is_ready).filter(|(_, is_ready)| *is_ready) {
            self.has_news |= self.handles[index].listen()?;
        }
        Ok(is_stopped)
    }

    /// Asks all workers for their counts.
    fn ask(&mut self) {
        self.n_asked += 1;
        self.handles.iter_mut().for_each(Handle::ask);
    }

    /// Whether all that can have answered what they were asked.
    fn have_answered(&self) -> bool {
        let mut running = self.handles.iter().filter(|handle| handle.is_running());
        running.all(|handle| handle.n_answered == self.n_asked)
    }

    /// Whether no connection will be opened any more.
    fn is_settled(&self) -> bool {
        self.handles.iter().all(Handle::is_settled)
    }

    /// What ended the last of them, if all have ended by themselves because nobody listens.
    fn end_of_all(&self) -> Option<End> {
        let mut nobody = None;
        for handle in &self.handles {
            match &handle.state {
                State::Done(end @ End::NobodyListens { .. }) => nobody = Some(end.clone()),
                _ => return None,
            }
        }
        nobody
    }

    /// Reports the workers that have died since the last time.
    fn report_deaths(&mut self, reporter: &mut Reporter<'_>) {
        self.handles
            .iter_mut()
            .filter_map(Handle::death_notice)
            .for_each(|it| reporter.trouble(&it));
    }

    /// The counts of all.
    fn merged(&mut self) -> Tally {
        let mut merged = Tally::default();
        self.handles.iter().for_each(|handle| merged.merge(&handle.tally));
        self.peak = self.peak.max(merged.connected);
        merged.peak = self.peak;
        merged
    }

    /// The connections with the most faults.
    fn worst(&mut self) -> Vec<Worst> {
        self.handles.iter_mut().flat_map(|handle| std::mem::take(&mut handle.worst)).collect()
    }

    /// What became of the slow readers.
    fn slow(&mut self) -> Vec<SlowEnd> {
        self.handles.iter_mut().flat_map(|handle| std::mem::take(&mut handle.slow)).collect()
    }
}
