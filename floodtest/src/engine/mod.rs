//! The loop that opens, holds and listens: one thread, one epoll, a row per connection.
//!
//! An idle connection is its row and nothing else: no task, no buffer, no timer. All sockets are
//! received into one buffer. Sockets are registered once, edge-triggered, and never again.
//!
//! - this file: the loop, its wake-ups and its end
//! - `open`: from a URL that falls due to a request that is sent
//! - `receive`: from a readable socket to counted chunks, and to the close
//! - `alarm`: the timer

mod alarm;
mod open;
mod receive;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use reports::books::FloodReport;
use reports::out::Out;
use reports::plan::Plan;
use reports::stamp::Clock;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::Error;
use crate::config::{Config, Rate};
use crate::decode::Response;
use crate::outcome::{End, Observer, Outcome, Progress};
use crate::tally::{self, Tally};
use crate::targets::Targets;
use crate::urls::UrlFile;
use crate::window::Window;
use alarm::Alarm;
use open::Opening;

/// Bytes received at once: as much as a socket usually has, so that one `recv` empties it.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Events taken from the kernel at once. All of them are handled before the next connect, so that
/// this bounds how late it can be: each takes some 5 µs.
const MAX_EVENTS: usize = 128;

/// The event data of the signal pipe; rows count up from 0.
const STOP: u64 = u64::MAX;

/// The event data of the timer.
const ALARM: u64 = u64::MAX - 1;

/// Rows that memory is set aside for at once. It costs nothing before it is used.
const MAX_ROWS_AT_ONCE: usize = 1 << 20;

/// "Never", in a form that can be added to an instant: ten years.
const FOREVER: Duration = Duration::from_hours(24 * 3_650);

/// One connection. Its size times a million is the product.
#[derive(Debug, Default)]
struct Row {
    /// The socket; `None` once the connection failed or closed.
    socket: Option<OwnedFd>,
    /// The response as far as it was read. With a head, the connection counts as established.
    response: Response,
    /// The numbers of its messages.
    window: Window,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Engine<'a> {
    /// What was asked for.
    config: &'a Config,
    /// Connections that were asked for.
    n_asked: usize,
    /// Where the URLs come from.
    urls: UrlFile,
    /// Where they lead.
    targets: Targets,
    /// When connections are due.
    plan: Plan,
    /// The clock that stamps are compared with. Its start is the start of the plan.
    clock: Clock,
    /// What is waited for: all sockets, the timer, the signal pipe.
    epoll: OwnedFd,
    /// The timer.
    alarm: Alarm,
    /// All connections begun so far, in the order of the plan.
    rows: Vec<Row>,
    /// What is known only of those without a head, by row.
    opening: BTreeMap<usize, Opening>,
    /// What has been counted.
    tally: Tally,
    /// The logs to keep of it.
    out: Option<Out>,
    /// Where all sockets are received into.
    buffer: Vec<u8>,
    /// Where requests are written before they are sent.
    request: Vec<u8>,
    /// When the last attempt to open a connection came to its end.
    settled_at: Option<Instant>,
    /// When the next report is due.
    next_report_at: Instant,
    /// When the observer's progress line is due.
    next_progress_at: Instant,
    /// When the connections without a head are looked through for late ones.
    next_check_at: Instant,
}

impl<'a> Engine<'a> {
    /// Makes everything ready; the plan starts now.
    pub(crate) fn new(
        config: &'a Config,
        mut urls: UrlFile,
        targets: Targets,
        n_asked: usize,
        stop: BorrowedFd<'_>,
    ) -> Result<Self, Error> {
        urls.rewind()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let alarm = Alarm::new()?;
        for (fd, data, flags) in [
            (stop, STOP, epoll::EventFlags::IN),
            (alarm.as_fd(), ALARM, epoll::EventFlags::IN | epoll::EventFlags::ET),
        ] {
            let data = epoll::EventData::new_u64(data);
            epoll::add(&epoll, fd, data, flags).map_err(io::Error::from)?;
        }
        let clock = Clock::start();
        let start = clock.started_at();
        let create = |folder| Out::create(folder, "floodtest", &tally::SERIES, &clock);
        let out = config.out.as_ref().map(create).transpose()?;
        Ok(Self {
            config,
            n_asked,
            urls,
            targets,
            plan: match config.rate {
                Rate::PerSecond(rate) => Plan::per_second(rate),
                Rate::Max => Plan::at_once(),
            },
            clock,
            epoll,
            alarm,
            rows: Vec::with_capacity(n_asked.min(MAX_ROWS_AT_ONCE)),
            opening: BTreeMap::new(),
            tally: Tally::default(),
            out,
            buffer: vec![0; RECEIVE_BYTES],
            request: Vec::new(),
            settled_at: None,
            next_report_at: start + config.report_every.min(FOREVER),
            next_progress_at: start + config.progress_every.unwrap_or(FOREVER).min(FOREVER),
            next_check_at: start,
        })
    }

    /// Runs until the end, whichever it is.
    pub(crate) fn run(mut self, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let mut events = Vec::with_capacity(MAX_EVENTS);
        let end = loop {
            let is_behind = self.dial_due()?;
            let now = Instant::now();
            self.check_deadlines(now);
            if let Some(end) = self.end(now) {
                break end;
            }
            if self.tell(now, observer).is_break() {
                break End::ObserverLeft;
            }
            self.alarm.set(self.next_wake())?;
            if self.wait(&mut events, is_behind)? {
                break End::Stopped;
            }
        };
        for row in self.rows.iter().filter(|row| row.socket.is_some()) {
            self.tally.lose_missing(&row.window);
        }
        let now = Instant::now();
        let report = self.tally.report(self.n_asked as u64, self.elapsed(now), true);
        self.log(now, &report, observer);
        if end != End::ObserverLeft {
            // Whether the observer still listens makes no difference any more.
            let _ = observer.report(&report);
        }
        let log_shortfall = self.out.as_ref().and_then(Out::shortfall);
        Ok(Outcome { end, report, n_dialed: self.rows.len() as u64, log_shortfall })
    }

    /// Waits for events, unless there is more to dial at once, and handles them; whether the
    /// signal to stop was among them.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, is_behind: bool) -> Result<bool, Error> {
        const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        events.clear();
        let timeout = is_behind.then_some(&NOT_AT_ALL);
        match epoll::wait(&self.epoll, spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let mut is_stopped = false;
        for event in &*events {
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                STOP => is_stopped = true,
                ALARM => {}
                row => self.ready(usize::try_from(row).expect("rows are counted so"), flags),
            }
        }
        Ok(is_stopped)
    }

    /// Whether the run is over.
    fn end(&mut self, now: Instant) -> Option<End> {
        if self.nobody_listens() {
            return Some(End::NobodyListens { authority: self.targets.first_authority().into() });
        }
        if self.rows.len() < self.n_asked || !self.opening.is_empty() {
            return None;
        }
        let settled_at = *self.settled_at.get_or_insert(now);
        if self.tally.connected == 0 {
            return Some(End::NothingOpen);
        }
        let hold = self.config.hold?;
        (now - settled_at >= hold).then_some(End::Held)
    }

    /// Tells the observer what is due to be told.
    fn tell(&mut self, now: Instant, observer: &mut dyn Observer) -> ControlFlow<()> {
        if now >= self.next_progress_at {
            self.next_progress_at = now + self.config.progress_every.unwrap_or(FOREVER);
            observer.progress(&Progress {
                asked: self.n_asked as u64,
                dialed: self.rows.len() as u64,
                connected: self.tally.connected,
                closed: self.tally.closed,
                failed: self.tally.failed,
                chunks: self.tally.chunks,
                elapsed: self.elapsed(now),
            });
        }
        if self.out.as_ref().is_some_and(|out| now >= out.next_at()) {
            let report = self.tally.report(self.n_asked as u64, self.elapsed(now), false);
            self.log(now, &report, observer);
        }
        if now >= self.next_report_at {
            // From the due time on, so that the reports do not drift; one that is a whole
            // interval late is left out.
            let every = self.config.report_every.min(FOREVER);
            while self.next_report_at <= now {
                self.next_report_at += every;
            }
            let report = self.tally.report(self.n_asked as u64, self.elapsed(now), false);
            return observer.report(&report);
        }
        ControlFlow::Continue(())
    }

    /// Writes a report to the logs, if there are any.
    fn log(&mut self, now: Instant, report: &FloodReport, observer: &mut dyn Observer) {
        let out = self.out.as_mut();
        if let Some(news) = out.and_then(|out| out.log(now, report, &self.tally.totals())) {
            observer.trouble(&news);
        }
    }

    /// When there is something to do even if no socket is ready.
    fn next_wake(&self) -> Instant {
        let mut at = self.next_report_at.min(self.next_progress_at);
        at = self.out.as_ref().map_or(at, |out| at.min(out.next_at()));
        if self.rows.len() < self.n_asked && !self.plan.is_at_once() {
            at = at.min(self.due_at(self.rows.len()));
        }
        if !self.opening.is_empty() {
            at = at.min(self.next_check_at);
        }
        if let (Some(settled_at), Some(hold)) = (self.settled_at, self.config.hold) {
            at = at.min(settled_at + hold.min(FOREVER));
        }
        at
    }

    /// When connection `k` is due.
    fn due_at(&self, k: usize) -> Instant {
        self.clock.started_at() + self.plan.due(k as u64)
    }

    /// Time since the first connection was due.
    fn elapsed(&self, now: Instant) -> Duration {
        now - self.clock.started_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_48_bytes() {
        assert_eq!(size_of::<Row>(), 48);
    }
}
