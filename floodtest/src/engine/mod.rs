//! The loop that opens, holds and listens: one thread, one epoll, a row per connection.
//!
//! An idle connection is its row and nothing else: no task, no buffer, no timer. All sockets are
//! received into one buffer. Sockets are registered once, edge-triggered, and never again.
//!
//! - this file: the loop, its wake-ups and its end
//! - `open`: from a URL that falls due to a request that is sent
//! - `flight`: how many of these at once
//! - `row`, `opening`, `following`: what is kept of every connection, of one without a head, and
//!   for a redirect
//! - `lives`, `places`, `column`, `queue`: one connection of a place after the other, and what is
//!   kept for that beside the rows, where it is asked for
//! - `settle`: storms, and servers that are away
//! - `slow`: readers that read slowly, or never
//! - `receive`, `transport`: from a readable socket, plain or TLS, to counted chunks, and to the
//!   close
//! - `closing`: the ends of WebSockets
//! - `follow`: responses that refuse, and redirects
//! - `finish`: what is counted when the run is over
//! - `meter`: how long turns take, and what the thread uses
//! - `listener`: who gets the counts and says when the run is over
//! - `alarm`: the timer

mod alarm;
mod closing;
mod column;
mod finish;
mod flight;
mod follow;
mod following;
pub(crate) mod listener;
mod lives;
mod meter;
mod open;
mod opening;
mod places;
mod queue;
mod receive;
mod row;
mod settle;
mod slow;
mod transport;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::clocks::receipts::ReceiptClock;
use crate::config::Rate;
use crate::end::End;
use crate::error::Error;
use crate::forever::FOREVER;
use crate::items::Scratch;
use crate::job::Job;
use crate::judge::Judge;
use crate::outbox::Outbox;
use crate::streams::pacing::Pacing;
use crate::tally::Tally;
use crate::tls::Tls;
use crate::tls::trust::Trust;
use crate::urls::UrlFile;
use alarm::Alarm;
use closing::Closing;
use flight::Flight;
use listener::{Finished, Listener};
use meter::Meter;
use opening::{Opening, Unsent};
use places::Places;
use row::Row;
use slow::SlowReaders;

/// Bytes received at once: as much as a socket usually has, so that one `recv` empties it.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Events taken from the kernel at once. All of them are handled before the next connect, so that
/// this bounds how late it can be: each takes some 5 µs.
const MAX_EVENTS: usize = 128;

/// The event data of the descriptor that tells it what to do; rows count up from 0.
const CONTROL: u64 = u64::MAX;

/// The event data of the timer.
const ALARM: u64 = u64::MAX - 1;

/// Rows that memory is set aside for at once. It costs nothing before it is used.
const MAX_ROWS_AT_ONCE: usize = 1 << 20;

/// The connections of one process.
#[derive(Debug)]
pub(crate) struct Engine<'a> {
    /// What is to be done.
    job: &'a mut Job,
    /// How many connections are this process's.
    n_asked: usize,
    /// Where the URLs come from.
    urls: &'a mut UrlFile,
    /// The clock that stamps are compared with.
    clock: ReceiptClock,
    /// What tells it what to do.
    control: BorrowedFd<'a>,
    /// Who judges messages.
    judge: Judge,
    /// What is kept of items that have not come whole, by row: most connections have nothing here.
    scratches: HashMap<u32, Box<Scratch>>,
    /// An empty scratch for all other connections.
    scratch: Box<Scratch>,
    /// When the first connection of the run is due.
    started_at: Instant,
    /// What is waited for: all sockets, the timer, the control descriptor.
    epoll: OwnedFd,
    /// The timer.
    alarm: Alarm,
    /// All places begun so far, in the order of the schedule.
    rows: Vec<Row>,
    /// What is kept of them beside their rows, if they have more than one connection.
    places: Option<Box<Places>>,
    /// The slow readers among them.
    slow: SlowReaders,
    /// What is known only of those without a head, by row.
    opening: BTreeMap<usize, Opening>,
    /// What is left of the requests of those that have a head, by row: a server may answer a
    /// request before it has read all of its body.
    unsent: HashMap<usize, Unsent>,
    /// What there is of control frames of WebSockets that have not come whole, by row.
    controls: HashMap<usize, Box<[u8]>>,
    /// The further fields of the lines of open WebSockets, by row, where answers are filled in with
    /// them: the others pay nothing for it.
    fields: HashMap<usize, Box<[u8]>>,
    /// Those whose server has closed its WebSocket, the first one first: it is to close the
    /// connection as well.
    closing: VecDeque<Closing>,
    /// The frames to send on the WebSocket that is looked at.
    outbox: Outbox,
    /// How many connects are on their way, where they are begun as fast as possible.
    flight: Flight,
    /// How TLS is spoken, if it is.
    trust: Option<Trust>,
    /// The TLS of those connections that have it, by row: the others pay nothing for it.
    tls: HashMap<usize, Box<Tls>>,
    /// What is measured of streams, if it is.
    streams: Option<Box<Pacing>>,
    /// What the loop itself takes.
    meter: Meter,
    /// What has been counted.
    tally: Tally,
    /// Where all sockets are received into.
    buffer: Vec<u8>,
    /// Where requests are written before they are sent.
    request: Vec<u8>,
    /// Where TLS writes what it sends.
    outgoing: Vec<u8>,
    /// When the connections without a head are looked through for late ones.
    next_check_at: Instant,
}

impl<'a> Engine<'a> {
    /// Makes everything ready. The schedule starts at `started_at`. `trust` is there if a target of
    /// the job is https.
    pub(crate) fn new(
        job: &'a mut Job,
        urls: &'a mut UrlFile,
        trust: Option<Trust>,
        control: BorrowedFd<'a>,
        clock: ReceiptClock,
        started_at: Instant,
    ) -> Result<Self, Error> {
        let places = if job.shape.has_lives() { Some(urls.reopen()?) } else { None };
        urls.rewind()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let alarm = Alarm::new()?;
        for (fd, data, flags) in [
            (control, CONTROL, epoll::EventFlags::IN),
            (alarm.as_fd(), ALARM, epoll::EventFlags::IN | epoll::EventFlags::ET),
        ] {
            let data = epoll::EventData::new_u64(data);
            epoll::add(&epoll, fd, data, flags).map_err(io::Error::from)?;
        }
        let n_asked = job.share.n_of(job.n_asked);
        let n_asked = usize::try_from(n_asked).expect("as many descriptors are allowed");
        let places = places.map(|urls| Box::new(Places::new(urls, n_asked.min(MAX_ROWS_AT_ONCE))));
        let accounting = &job.accounting;
        let has_sent = !accounting.sent.is_empty();
        let judge = Judge::new(accounting.judge, has_sent, accounting.max_windows);
        let n_rows = n_asked.min(MAX_ROWS_AT_ONCE);
        let has_streams = job.streams.is_measured;
        Ok(Self {
            streams: Pacing::new(&job.streams, started_at, n_rows),
            meter: Meter::new(),
            job,
            n_asked,
            urls,
            clock,
            control,
            judge,
            scratches: HashMap::new(),
            scratch: Box::default(),
            started_at,
            epoll,
            alarm,
            rows: Vec::with_capacity(n_rows),
            places,
            slow: SlowReaders::default(),
            opening: BTreeMap::new(),
            unsent: HashMap::new(),
            controls: HashMap::new(),
            fields: HashMap::new(),
            closing: VecDeque::new(),
            outbox: Outbox::default(),
            flight: Flight::default(),
            trust,
            tls: HashMap::new(),
            // Made here and not with the first item: memory that was never used costs nothing until
            // something is counted in it, and later on it would be some that was.
            tally: Tally { streams: has_streams.then(Box::default), ..Tally::default() },
            buffer: vec![0; RECEIVE_BYTES],
            request: Vec::new(),
            outgoing: Vec::new(),
            next_check_at: started_at,
        })
    }

    /// Runs until the end, whichever it is.
    pub(crate) fn run(mut self, listener: &mut dyn Listener) -> Result<Finished, Error> {
        let mut events = Vec::with_capacity(MAX_EVENTS);
        let end = loop {
            let is_behind = self.dial_due()? | self.turn_places()? | self.turn_slow();
            let now = Instant::now();
            self.check_deadlines(now);
            self.check_closing(now);
            if self.nobody_listens() {
                let authority = self.job.targets.first_authority().into();
                break End::NobodyListens { authority };
            }
            let is_reporting = now >= listener.next_at();
            let is_settled = self.is_settled();
            if let Some(end) = listener.tick(now, &self.tally, is_settled) {
                break end;
            }
            // A report takes time as well, which nobody but us takes.
            let done_at = if is_reporting { Instant::now() } else { now };
            self.note_turn(done_at);
            self.alarm.set(self.next_wake().min(listener.next_at()))?;
            if self.wait(&mut events, is_behind)? {
                if let Some(end) = listener.on_control(&self.tally) {
                    break end;
                }
                if let Some(correction) = listener.correction() {
                    self.clock.correct(correction);
                }
            }
        };
        self.note_turn(Instant::now());
        self.settle(&end, &mut events)?;
        Ok(self.finish(end))
    }

    /// Takes in that the loop has done `now` what there was to do.
    fn note_turn(&mut self, now: Instant) {
        self.meter.turned(now, &mut self.tally.own);
        let is_flat_out = self.job.rate == Rate::Max && self.rows.len() < self.n_asked;
        self.meter.look(now, self.tally.items, is_flat_out, &mut self.tally.own);
    }

    /// Whether no connection will be opened any more. Those that may wait for ever for their heads
    /// are as good as open: a long poll is answered when there is something to say. Where places
    /// get one connection after the other, whether each has had its first try.
    fn is_settled(&mut self) -> bool {
        if self.places.is_some() {
            return self.have_all_tried();
        }
        self.rows.len() == self.n_asked && !self.has_deadlines()
    }

    /// Waits for events, unless there is more to dial at once, and handles them; whether the
    /// control descriptor was among them.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, is_behind: bool) -> Result<bool, Error> {
        const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        events.clear();
        let timeout = is_behind.then_some(&NOT_AT_ALL);
        match epoll::wait(&self.epoll, spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        self.meter.woke();
        let mut is_controlled = false;
        for event in &*events {
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                CONTROL => is_controlled = true,
                ALARM => {}
                row => self.ready(usize::try_from(row).expect("rows are counted so"), flags),
            }
        }
        Ok(is_controlled)
    }

    /// When there is something to do even if no socket is ready.
    fn next_wake(&self) -> Instant {
        let mut at = self.started_at + FOREVER;
        if self.rows.len() < self.n_asked && (self.job.rate != Rate::Max || self.rows.is_empty()) {
            at = at.min(self.due_at(self.rows.len()));
        }
        for next_at in [self.next_place_at(), self.slow.next_at()].into_iter().flatten() {
            at = at.min(next_at);
        }
        if self.has_deadlines() {
            at = at.min(self.next_check_at);
        }
        if let Some(closing) = self.closing.front() {
            at = at.min(closing.until);
        }
        if self.rows.len() < self.n_asked
            && let Some(wake_at) = self.flight.wake_at
        {
            at = at.min(wake_at);
        }
        at
    }

    /// When the first connection in `row` is due.
    fn due_at(&self, row: usize) -> Instant {
        let due = self.job.rate.due(self.job.share.number(row));
        self.started_at + due.unwrap_or(FOREVER).min(FOREVER)
    }
}
