//! From a URL that falls due to a request that is sent.

use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::{Engine, Row};
use crate::Error;
use crate::decode::PartialHead;
use crate::dial::{dial, send_some};
use crate::reason::Reason;
use crate::tls::Tls;

/// Connects that may wait for their response head when they are made as fast as possible, shared
/// by all processes of a run. The smallest listen backlog in use is 128 (Rust's and old Linux' default); a connect that overruns
/// it is tried again by the kernel after a whole second.
const MAX_IN_FLIGHT: usize = 100;

/// Connects that are begun before the sockets are looked at again.
const MAX_DIALS_AT_ONCE: usize = 64;

/// Refused connects after which a run without any established one gives up, where refusals take a
/// while to come back. Where they come at once, the first is enough.
const MAX_REFUSED: u64 = 20;

/// How often connections without a head are looked through for late ones, unless the timeout
/// itself is shorter than four times this.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// What is known of a connection only until its head is complete.
#[derive(Debug)]
pub(super) struct Opening {
    /// Which target it goes to.
    target: usize,
    /// Which of the target's addresses is being tried.
    endpoint: usize,
    /// When that address was dialed.
    dialed_at: Instant,
    /// The request, if it could not be sent whole at once.
    request: Box<[u8]>,
    /// How much of it was sent.
    n_sent: usize,
    /// What there is of the response head.
    pub(super) head: PartialHead,
}

impl Opening {
    /// Goes on with other bytes to send, of which some are sent.
    pub(super) fn go_on_with(&mut self, bytes: &[u8], n_sent: usize) {
        self.request = if n_sent < bytes.len() { bytes.into() } else { Box::default() };
        self.n_sent = n_sent;
    }

    /// Whether the connection exists and only the head is missing.
    fn is_connected(&self) -> bool {
        self.request.is_empty() || self.n_sent > 0
    }
}

impl Engine<'_> {
    /// Begins the connections that are due; whether more are due already.
    pub(super) fn dial_due(&mut self) -> Result<bool, Error> {
        for _ in 0..MAX_DIALS_AT_ONCE {
            let k = self.rows.len();
            if k >= self.n_asked || self.nobody_listens() {
                return Ok(false);
            }
            let now = Instant::now();
            if self.plan.is_at_once() {
                if self.opening.len() >= self.max_in_flight() {
                    return Ok(false);
                }
            } else {
                let due_at = self.due_at(k);
                if due_at > now {
                    return Ok(false);
                }
                self.tally.connect_lateness.record(now - due_at);
            }
            self.dial_next(now)?;
        }
        Ok(true)
    }

    /// Whether all that was dialed was refused, so that it makes no sense to go on.
    pub(super) fn nobody_listens(&self) -> bool {
        let n_refused = self.tally.failures.of(Reason::Refused);
        n_refused > 0
            && n_refused == self.tally.failed
            && self.tally.connected + self.tally.closed == 0
            && (self.opening.is_empty() || n_refused >= MAX_REFUSED)
            && self.job.targets.all_refused()
    }

    /// Connects that may wait for their response head in this process.
    fn max_in_flight(&self) -> usize {
        let n_processes = usize::try_from(self.job.share.of).unwrap_or(usize::MAX);
        (MAX_IN_FLIGHT / n_processes).max(1)
    }

    /// Gives up on connections that have waited too long, or tries their next address.
    pub(super) fn check_deadlines(&mut self, now: Instant) {
        if self.opening.is_empty() || now < self.next_check_at {
            return;
        }
        let timeout = self.job.connect_timeout;
        self.next_check_at = now + (timeout / 4).clamp(Duration::from_millis(1), CHECK_EVERY);
        let late = |opening: &Opening| now.saturating_duration_since(opening.dialed_at) >= timeout;
        let late_rows: Vec<usize> =
            self.opening.iter().filter(|(_, opening)| late(opening)).map(|(row, _)| *row).collect();
        for row in late_rows {
            self.give_up(row, Reason::TimedOut);
        }
    }

    /// Sends what is left of a request. Whether the connection may now have something to receive.
    pub(super) fn go_on_sending(&mut self, row: usize) -> bool {
        let (Some(opening), Some(socket)) =
            (self.opening.get_mut(&row), self.rows[row].socket.as_ref())
        else {
            return false;
        };
        if opening.request.is_empty() {
            return true;
        }
        match send_some(socket, &opening.request[opening.n_sent..]) {
            Ok(n_sent) => {
                opening.n_sent += n_sent;
                if opening.is_connected() {
                    self.job.targets.at(opening.target).kept.get_or_insert(opening.endpoint);
                }
                if opening.n_sent == opening.request.len() {
                    opening.request = Box::default();
                }
                true
            }
            Err(reason) => {
                self.give_up(row, reason);
                false
            }
        }
    }

    /// Begins the next connection.
    fn dial_next(&mut self, now: Instant) -> Result<(), Error> {
        if !self.rows.is_empty() {
            self.urls.skip(self.job.share.of - 1)?;
        }
        self.urls.advance_round()?;
        let (line, url) = self.urls.url()?;
        let Some(target) = self.job.targets.find(&url) else {
            return Err(Error::FileChanged { path: self.urls.name(), line });
        };
        let mut request = std::mem::take(&mut self.request);
        url.write_request(self.job.is_sse, &mut request);
        let row = self.rows.len();
        self.rows.push(Row::default());
        self.tally.dialed(now.saturating_duration_since(self.started_at));
        if url.is_tls {
            let trust = self.trust.as_ref().expect("there is one where a target is https");
            self.outgoing.clear();
            match Tls::new(trust, url.host, &request, &mut self.outgoing) {
                Ok(tls) => self.tls.insert(row, Box::new(tls)),
                Err(fault) => {
                    self.request = request;
                    self.fail(row, target, fault.into());
                    return Ok(());
                }
            };
            // What is sent first is the hello; the request follows when it can be encrypted.
            std::mem::swap(&mut request, &mut self.outgoing);
        }
        let endpoint = self.job.targets.at(target).first_endpoint();
        self.dial_from(row, target, endpoint, &request);
        self.request = request;
        Ok(())
    }

    /// Dials the target's addresses from `endpoint` on, until one does not fail at once.
    fn dial_from(&mut self, row: usize, target: usize, mut endpoint: usize, request: &[u8]) {
        loop {
            let reason = match self.dial_one(row, target, endpoint, request) {
                Ok(()) => return,
                Err(reason) => reason,
            };
            let next = self.job.targets.at(target).endpoint_after(endpoint);
            let Some(next) = next else { return self.fail(row, target, reason) };
            endpoint = next;
        }
    }

    /// Dials one address and waits for what comes of it.
    fn dial_one(
        &mut self,
        row: usize,
        target: usize,
        endpoint: usize,
        request: &[u8],
    ) -> Result<(), Reason> {
        let dialed = self.job.targets.at(target);
        let (socket, n_sent) = dial(&mut dialed.endpoints[endpoint], request)?;
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if n_sent < request.len() {
            // Edge-triggered, this need not be taken back when the request is sent: a socket
            // that takes all that it is given never becomes writable again.
            flags |= EventFlags::OUT;
        }
        if n_sent > 0 {
            dialed.kept.get_or_insert(endpoint);
        }
        epoll::add(&self.epoll, &socket, EventData::new_u64(row as u64), flags)?;
        self.rows[row].socket = Some(socket);
        let is_sent = n_sent == request.len();
        let opening = Opening {
            target,
            endpoint,
            dialed_at: Instant::now(),
            request: if is_sent { Box::default() } else { request.into() },
            n_sent,
            head: PartialHead::default(),
        };
        self.opening.insert(row, opening);
        Ok(())
    }

    /// Tries the next address of a connection that failed for `reason`. If it was connected, or
    /// there is none, the connection has failed.
    fn give_up(&mut self, row: usize, reason: Reason) {
        self.rows[row] = Row::default();
        let opening = self.opening.remove(&row).expect("only an opening connection is given up");
        let next = self.job.targets.at(opening.target).endpoint_after(opening.endpoint);
        match next {
            Some(next) if !opening.is_connected() => {
                self.dial_from(row, opening.target, next, &opening.request);
            }
            _ => self.fail(row, opening.target, reason),
        }
    }

    /// Counts a connection to `target` that was never established.
    fn fail(&mut self, row: usize, target: usize, reason: Reason) {
        self.job.targets.at(target).was_refused |= reason == Reason::Refused;
        self.tls.remove(&row);
        self.tally.failed(reason, self.job.share.number(row));
    }
}
