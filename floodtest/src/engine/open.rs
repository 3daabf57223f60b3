//! From a URL that falls due to a request that is sent.

use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::Engine;
use super::column::Column;
use super::flight::max_in_flight;
use super::following::Following;
use super::opening::{Attempt, Carried, Opening, Stage, Unsent};
use super::row::{Row, row_number};
use crate::config::Rate;
use crate::decode::Beginning;
use crate::dial::dial;
use crate::error::Error;
use crate::job::Job;
use crate::reason::Reason;
use crate::request::Redirected;
use crate::request::sockets::Handshake;
use crate::shape::Reopen;
use crate::tls::{Tls, TlsFault, Trust};
use crate::url::Url;
use crate::urls::{Entry, UrlFile};

/// Connects that are begun before the sockets are looked at again.
pub(super) const MAX_DIALS_AT_ONCE: usize = 64;

/// Refused connects after which a run without any established one gives up, where refusals take a
/// while to come back. Where they come at once, the first is enough.
const MAX_REFUSED: u64 = 20;

/// How often connections without a head are looked through for late ones, unless the timeout
/// itself is shorter than four times this.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// How long a response that refuses is waited for, for the first line of its body. Most have it in
/// the same packet as their head, and the others directly behind.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Where a connection goes, what is kept for later, and its TLS.
type Composed = (usize, Carried, Result<Option<Box<Tls>>, TlsFault>);

impl Engine<'_> {
    /// Begins the connections that are due; whether more are due already.
    pub(super) fn dial_due(&mut self) -> Result<bool, Error> {
        for _ in 0..MAX_DIALS_AT_ONCE {
            let k = self.rows.len();
            if k >= self.n_asked || self.nobody_listens() {
                return Ok(false);
            }
            let now = Instant::now();
            if self.job.rate == Rate::Max {
                if now < self.started_at {
                    return Ok(false);
                }
                let (max, n_rows) = (max_in_flight(self.job.share.n_processes()), self.rows.len());
                if !self.flight.has_room(now, max, &mut self.opening, n_rows) {
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

    /// Whether all that was dialed was refused, so that it makes no sense to go on. Where it is to
    /// be tried again, it does.
    pub(super) fn nobody_listens(&self) -> bool {
        let n_refused = self.tally.failures.of(Reason::Refused);
        n_refused > 0
            && self.job.shape.reopen == Reopen::Never
            && n_refused == self.tally.failed
            && self.tally.connected + self.tally.closed == 0
            && (self.opening.is_empty() || n_refused >= MAX_REFUSED)
            && self.job.targets.all_refused()
    }

    /// Whether a connection without a head has a limit of time.
    pub(super) fn has_deadlines(&self) -> bool {
        self.job.head_timeout.is_some() && !self.opening.is_empty()
            || self.opening.len() as u64 > self.tally.waiting
    }

    /// Gives up on connections that have waited too long, or tries their next address.
    pub(super) fn check_deadlines(&mut self, now: Instant) {
        if now < self.next_check_at || !self.has_deadlines() {
            return;
        }
        let (to_connect, to_head) = (self.job.connect_timeout, self.job.head_timeout);
        let shortest = to_connect.min(to_head.unwrap_or(to_connect));
        self.next_check_at = now + (shortest / 4).clamp(Duration::from_millis(1), CHECK_EVERY);
        let limit = |stage| match stage {
            Stage::Connecting => Some(to_connect),
            Stage::Waiting => to_head,
            Stage::Refused => Some(REFUSAL_TIME),
        };
        let is_late = |opening: &Opening| {
            let waited = now.saturating_duration_since(opening.since);
            limit(opening.stage).is_some_and(|limit| waited >= limit)
        };
        let late = self.opening.iter().filter(|(_, opening)| is_late(opening));
        let late: Vec<_> = late.map(|(row, opening)| (*row, opening.stage)).collect();
        for (row, stage) in late {
            match stage {
                Stage::Connecting => self.give_up(row, Reason::TimedOut),
                Stage::Waiting => self.give_up(row, Reason::NoHead),
                Stage::Refused => self.end(row, Reason::NoHead),
            }
        }
    }

    /// Notes that a connection is one whose request was sent, if all of it was.
    pub(super) fn note_sent(&mut self, row: usize) {
        let tls = if self.tls.is_empty() { None } else { self.tls.get(&row) };
        let has_gone = tls.is_none_or(|tls| tls.has_request_gone());
        if let Some(opening) = self.opening.get_mut(&row)
            && opening.stage == Stage::Connecting
            && opening.unsent.is_empty()
            && has_gone
        {
            (opening.stage, opening.since) = (Stage::Waiting, Instant::now());
            self.tally.waiting += 1;
            if let Some(streams) = &mut self.streams {
                streams.sent(row, opening.since);
            }
            // A server that has agreed upon TLS has accepted the connection.
            if tls.is_some() && std::mem::take(&mut opening.is_in_flight) {
                self.flight.n -= 1;
            }
        }
    }

    /// Forgets what was known of a connection without a head.
    pub(super) fn forget(&mut self, row: usize) -> Option<Opening> {
        let opening = self.opening.remove(&row)?;
        self.tally.waiting -= u64::from(opening.stage == Stage::Waiting);
        self.flight.n -= usize::from(opening.is_in_flight);
        Some(opening)
    }

    /// Sends what is left of a request. Whether the connection may now have something to receive.
    pub(super) fn go_on_sending(&mut self, row: usize) -> bool {
        let (Some(opening), Some(socket)) =
            (self.opening.get_mut(&row), self.rows[row].socket.as_ref())
        else {
            return false;
        };
        if opening.unsent.is_empty() {
            return true;
        }
        if let Err(reason) = opening.unsent.send(socket) {
            self.give_up(row, reason);
            return false;
        }
        if opening.unsent.is_connected() {
            let Attempt { target, endpoint, .. } = opening.attempt;
            self.job.targets.at(target).kept.get_or_insert(endpoint);
        }
        self.note_sent(row);
        true
    }

    /// Sends what is left of the request of a connection that has its head already.
    pub(super) fn send_rest(&mut self, row: usize) -> Result<(), Reason> {
        let (Some(unsent), Some(socket)) =
            (self.unsent.get_mut(&row), self.rows[row].socket.as_ref())
        else {
            return Ok(());
        };
        unsent.send(socket)?;
        if unsent.is_empty() {
            self.unsent.remove(&row);
        }
        Ok(())
    }

    /// Begins the first connection of the next place.
    fn dial_next(&mut self, now: Instant) -> Result<(), Error> {
        let row = self.rows.len();
        self.urls.skip(self.job.share.n_skipped(row))?;
        self.urls.advance_round()?;
        let number = self.job.share.number(row);
        let mut request = std::mem::take(&mut self.request);
        let (target, carried, tls) = Self::compose(
            self.job,
            self.urls,
            (number, 0),
            None,
            self.trust.as_ref(),
            (&mut request, &mut self.outgoing),
        )?;
        self.rows.push(Row::default());
        let due_at = if self.job.rate == Rate::Max { now } else { self.due_at(row) };
        if let Some(streams) = &mut self.streams {
            streams.begin(row, due_at);
        }
        if let Some(places) = &mut self.places {
            places.columns.push(Column::default());
        }
        let (n_asked, shape) = (self.job.n_asked, &self.job.shape);
        self.slow.add(row_number(row), number, n_asked, &shape.slow, shape.seed);
        self.tally.dialed(now.saturating_duration_since(self.started_at));
        self.dial(row, target, tls, &request, carried);
        self.request = request;
        Ok(())
    }

    /// Puts together what a place of this number in the plan asks for, by the present line of
    /// `urls`; the request, or the hello of its TLS, is written into `request`. It is this try of
    /// the place, and `last_event` is what came last on the connection before.
    pub(super) fn compose(
        job: &mut Job,
        urls: &mut UrlFile,
        (number, attempt): (u64, u32),
        last_event: Option<&[u8]>,
        trust: Option<&Trust>,
        (request, outgoing): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Result<Composed, Error> {
        let Entry { line, url, filling } = urls.entry(number)?;
        let target = job.targets.find(&url);
        let is_good = job.requests.check(&url, filling).is_ok();
        let Some(target) = target.filter(|_| is_good) else {
            return Err(Error::FileChanged { path: urls.name(), line });
        };
        let redirected = Redirected { attempt, ..Redirected::default() };
        job.requests.write(&url, filling, redirected, request);
        if let Some(id) = last_event {
            job.requests.add_last_event(id, request);
        }
        let follows = job.requests.max_redirects > 0;
        let following = follows.then(|| Box::new(Following::new(&url, filling)));
        let handshake = Handshake { place: number, n_redirects: 0, attempt };
        let handshake = url.is_ws.then_some(handshake);
        let needs_fields = url.is_ws && job.requests.sockets.needs_fields();
        let fields = filling.fields.filter(|_| needs_fields).map(Into::into);
        let carried = Carried { following, handshake, fields };
        Ok((target, carried, begin_tls(trust, &url, request, outgoing)))
    }

    /// Dials a target. With TLS `request` is its hello; the request follows when it can be
    /// encrypted.
    pub(super) fn dial(
        &mut self,
        row: usize,
        target: usize,
        tls: Result<Option<Box<Tls>>, TlsFault>,
        request: &[u8],
        carried: Carried,
    ) {
        match tls {
            Ok(None) => {}
            Ok(Some(tls)) => {
                self.tls.insert(row, tls);
            }
            Err(fault) => return self.fail(row, target, fault.into()),
        }
        let endpoint = self.job.targets.at(target).first_endpoint();
        self.dial_from(row, Attempt { target, endpoint, carried }, request);
    }

    /// Dials the target's addresses from the attempt's on, until one does not fail at once.
    fn dial_from(&mut self, row: usize, mut attempt: Attempt, request: &[u8]) {
        loop {
            let reason = match self.dial_one(row, attempt, request) {
                Ok(()) => return,
                Err((reason, failed)) => {
                    attempt = failed;
                    reason
                }
            };
            let next = self.job.targets.at(attempt.target).endpoint_after(attempt.endpoint);
            let Some(next) = next else { return self.fail(row, attempt.target, reason) };
            attempt.endpoint = next;
        }
    }

    /// Dials one address and waits for what comes of it.
    fn dial_one(
        &mut self,
        row: usize,
        attempt: Attempt,
        request: &[u8],
    ) -> Result<(), (Reason, Attempt)> {
        let receive_bytes = self.slow.receive_bytes(row);
        let dialed = self.job.targets.at(attempt.target);
        let endpoint = &mut dialed.endpoints[attempt.endpoint];
        let (socket, n_sent) = match dial(endpoint, request, receive_bytes) {
            Ok(dialed) => dialed,
            Err(reason) => return Err((reason, attempt)),
        };
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if n_sent < request.len() {
            // Edge-triggered, this need not be taken back when the request is sent: a socket
            // that takes all that it is given never becomes writable again.
            flags |= EventFlags::OUT;
        }
        if n_sent > 0 {
            dialed.kept.get_or_insert(attempt.endpoint);
        }
        if let Err(errno) = epoll::add(&self.epoll, &socket, EventData::new_u64(row as u64), flags)
        {
            return Err((errno.into(), attempt));
        }
        self.rows[row].socket = Some(socket);
        let opening = Opening {
            attempt,
            stage: Stage::Connecting,
            since: Instant::now(),
            is_in_flight: true,
            unsent: Unsent::of(request, n_sent),
            beginning: Beginning::default(),
        };
        self.opening.insert(row, opening);
        self.flight.n += 1;
        self.flight.first_row = self.flight.first_row.min(row);
        self.note_sent(row);
        Ok(())
    }

    /// Tries the next address of a connection that failed for `reason`. If it was connected, or
    /// there is none, the connection has failed.
    fn give_up(&mut self, row: usize, reason: Reason) {
        self.rows[row].forget_connection();
        let opening = self.forget(row).expect("only an opening connection is given up");
        let Opening { mut attempt, unsent, .. } = opening;
        let next = self.job.targets.at(attempt.target).endpoint_after(attempt.endpoint);
        match next {
            Some(next) if !unsent.is_connected() => {
                attempt.endpoint = next;
                self.dial_from(row, attempt, &unsent.bytes);
            }
            _ => self.fail(row, attempt.target, reason),
        }
    }

    /// Counts a connection to `target` that was never established.
    fn fail(&mut self, row: usize, target: usize, reason: Reason) {
        self.job.targets.at(target).was_refused |= reason == Reason::Refused;
        self.tls.remove(&row);
        self.tally.failed(reason, self.job.share.number(row), || None);
        self.note_end(row, reason, false, None);
    }
}

/// Begins TLS to `url`, if that is https. What is sent first is then the hello: it takes the
/// request's place, and the request waits until it can be encrypted.
pub(super) fn begin_tls(
    trust: Option<&Trust>,
    url: &Url<'_>,
    request: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
) -> Result<Option<Box<Tls>>, TlsFault> {
    if !url.is_tls {
        return Ok(None);
    }
    let trust = trust.expect("there is one where a target is https");
    outgoing.clear();
    let tls = Tls::new(trust, url.host, request, outgoing)?;
    std::mem::swap(request, outgoing);
    Ok(Some(Box::new(tls)))
}
