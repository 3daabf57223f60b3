//! A worker: holds a share of a run's connections, and tells its parent what it counts.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use reports::causes::with_causes;
use reports::stamp::Clock;
use serde::Serialize;

use super::monotonic;
use super::orders::{Order, Orders};
use super::wire::Said;
use crate::clocks::correction::Correction;
use crate::clocks::receipts::ReceiptClock;
use crate::end::End;
use crate::engine::Engine;
use crate::engine::listener::{Finished, Listener};
use crate::error::Error;
use crate::forever::FOREVER;
use crate::job::Job;
use crate::limits;
use crate::tally::Tally;
use crate::urls::UrlFile;

/// Works for the process at the other end of `parent` on the URL file `urls`, until that process
/// ends the run or its own life.
///
/// An error of the run is told to the parent; the errors returned here are those of talking to it.
pub fn run_worker(urls: &Path, parent: &UnixStream) -> io::Result<()> {
    work(urls, parent, false)
}

/// The same in a process that may have other threads.
pub(super) fn work(urls: &Path, parent: &UnixStream, has_threads: bool) -> io::Result<()> {
    match carry_out(urls, parent, has_threads) {
        Ok(Finished { end, tally, worst, slow }) => {
            say(parent, &Said::Done { end, tally, worst, slow })
        }
        Err(Error::Os(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(error),
        Err(error) => say(parent, &Said::<Tally>::Failed(with_causes(&error))),
    }
}

/// Takes a job and does it.
fn carry_out(urls: &Path, parent: &UnixStream, has_threads: bool) -> Result<Finished, Error> {
    // Nothing follows the line before it is answered, so that the reader takes no more than it.
    let mut line = String::new();
    BufReader::new(parent).read_line(&mut line)?;
    let mut job: Job = serde_json::from_str(&line).map_err(io::Error::from)?;
    job.targets.begin_at(job.share);
    limits::raise_open_files();
    if has_threads {
        limits::make_room(parent.as_fd(), job.share.n_of(job.n_asked));
    }
    let mut urls = UrlFile::open(urls)?;
    let trust = job.trust()?;
    say(parent, &Said::<Tally>::Ready)?;

    let mut orders = Orders::new(parent);
    let mut correction = None;
    let start_us = loop {
        match orders.next()? {
            None => orders.fill()?,
            Some(Order::Start(start_us)) => break start_us,
            Some(Order::Correct(new)) => correction = Some(new),
            // There is nothing to count yet.
            Some(Order::Count) => {}
        }
    };
    let mut clock = ReceiptClock::new(Clock::start());
    if let Some(correction) = correction {
        clock.correct(correction);
    }
    let started_at = monotonic::instant_of(start_us);
    let never = started_at + FOREVER;
    let mut listener =
        Parent { stream: parent, orders, correction: None, n_asked: 0, has_reported: false, never };
    let control = parent.as_fd();
    Engine::new(&mut job, &mut urls, trust, control, clock, started_at)?.run(&mut listener)
}

/// The parent as a listener: it gets the counts when it asks for them, and once unasked.
struct Parent<'a> {
    /// The way to it.
    stream: &'a UnixStream,
    /// What it says.
    orders: Orders<'a>,
    /// How it wants receipts to be corrected, if that is news.
    correction: Option<Correction>,
    /// How often it has asked.
    n_asked: u64,
    /// Whether it knows that all connections are opened.
    has_reported: bool,
    /// When it wants the counts without asking.
    never: Instant,
}

impl Parent<'_> {
    /// Takes in all orders that have come.
    fn obey(&mut self) -> io::Result<()> {
        while let Some(order) = self.orders.next()? {
            match order {
                Order::Count => self.n_asked += 1,
                Order::Correct(correction) => self.correction = Some(correction),
                Order::Start(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }

    /// Sends the counts; the end if nobody listens any more.
    fn send_counts(&self, tally: &Tally) -> Option<End> {
        let (n_asked, is_settled) = (self.n_asked, self.has_reported);
        let said = Said::Counts { n_asked, is_settled, tally };
        say(self.stream, &said).is_err().then_some(End::Stopped)
    }
}

impl Listener for Parent<'_> {
    fn next_at(&self) -> Instant {
        self.never
    }

    fn tick(&mut self, _: Instant, tally: &Tally, is_settled: bool) -> Option<End> {
        if is_settled && tally.n_alive() == 0 {
            return Some(End::NothingOpen);
        }
        if !is_settled || std::mem::replace(&mut self.has_reported, true) {
            return None;
        }
        self.send_counts(tally)
    }

    fn on_control(&mut self, tally: &Tally) -> Option<End> {
        let n_before = self.n_asked;
        if self.orders.fill().and_then(|()| self.obey()).is_err() {
            return Some(End::Stopped);
        }
        if self.n_asked > n_before { self.send_counts(tally) } else { None }
    }

    fn correction(&mut self) -> Option<Correction> {
        self.correction.take()
    }
}

/// Says something as one line.
fn say(mut parent: &UnixStream, said: &Said<impl Serialize>) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    parent.write_all(&line)
}
