//! Connections that are not parked: those whose request is not complete, and those that were
//! answered and have not closed yet.
//!
//! They are a table, with no task and no buffer for each. A request is read into one shared buffer;
//! only an unfinished one is copied out of it.

mod connection;
mod crowding;
mod oldest;
mod waiting;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use self::connection::{Connection, Leave, State, Step, unsubscribed};
use self::oldest::Oldest;
use crate::addresses::Addresses;
use crate::close::{ByReason, CloseReason};
use crate::cluster::node::Cluster;
use crate::framing::{Style, short_response};
use crate::limits::deadline;
use crate::refusal::Refusal;
use crate::request::{self, Request};
use crate::router::{Id, Router};
use crate::sync::{Mutex, MutexGuard};
use crate::wire::{self, Poller};

/// How long an answered connection may take to read its answer and close.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Bytes that are read from an answered connection, so that its answer is not destroyed by a reset.
const DRAIN_BYTES: usize = 64 * 1024;

/// Room for one read.
const READ_BYTES: usize = 16 * 1024;

/// Connections given up before other work is looked at: at 20 µs each, about a millisecond.
const SWEEP_BATCH: usize = 64;

/// What was counted before connections were parked.
#[derive(Debug, Clone, Default)]
pub(crate) struct AcceptStats {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections whose request is not complete, or whose answer is not read.
    pub(crate) pending: u64,
    /// Connections closed without having been parked.
    pub(crate) closed: ByReason,
    /// Whether accepting pauses, because descriptors or memory have run out.
    pub(crate) is_paused: bool,
}

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingLimits {
    /// Connections open at a time, parked ones included.
    pub(crate) max_connections: u64,
    /// Answered connections that may linger beyond that; one more is closed at once.
    pub(crate) max_lingering: usize,
    /// How long a request may take from accept to its last byte.
    pub(crate) timeout: Duration,
}

/// The table of them.
pub(crate) struct Pending {
    /// Watches them, under their slots as keys.
    pub(crate) poller: Poller,
    /// The connections. A slot is used again only when its event, if it had one, was handled, so no
    /// event meets a stranger there.
    table: Slab<Connection>,
    /// How many of them are draining.
    n_draining: usize,
    /// Those that are reading, in the order in which they came.
    reading: Oldest,
    /// Those that are draining, in the order in which they were answered.
    draining: Oldest,
    /// The number of the last one that was kept.
    last_number: u32,
    /// Bytes of unfinished requests.
    n_kept_bytes: usize,
    /// Where the others go.
    router: Arc<Router<Poller>>,
    /// Limits.
    limits: PendingLimits,
    /// What is counted.
    stats: Arc<Mutex<AcceptStats>>,
    /// Counts the connections of each address, if there is a limit on them.
    addresses: Option<Arc<Addresses>>,
    /// Who subscribes ids before they are logged in, if this is a node of a cluster.
    cluster: Option<Arc<Cluster>>,
    /// When deadlines are looked at again.
    next_sweep_at: Instant,
    /// Where requests are read to.
    scratch: Box<[u8]>,
}

impl Pending {
    /// An empty table.
    pub(crate) fn new(
        router: Arc<Router<Poller>>,
        limits: PendingLimits,
        stats: Arc<Mutex<AcceptStats>>,
        addresses: Option<Arc<Addresses>>,
        cluster: Option<Arc<Cluster>>,
    ) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            table: Slab::new(),
            n_draining: 0,
            reading: Oldest::default(),
            draining: Oldest::default(),
            last_number: 0,
            n_kept_bytes: 0,
            router,
            limits,
            stats,
            addresses,
            cluster,
            next_sweep_at: Instant::now(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Whether as many connections are open as may be.
    fn is_full(&self) -> bool {
        self.n_open() >= self.limits.max_connections
    }

    /// Whether some are over their deadline and have not been given up for lack of time.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        !self.table.is_empty() && self.next_sweep_at <= now
    }

    /// How long nothing is due: none if there is nobody here.
    pub(crate) fn idle_time(&self) -> Option<Duration> {
        (!self.table.is_empty()).then(|| self.sweep_every())
    }

    /// How often deadlines are looked at: a twentieth of the timeout is late enough.
    fn sweep_every(&self) -> Duration {
        let every = self.limits.timeout / 20;
        every.clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    /// Takes in a new connection: its request is often there already.
    pub(crate) fn take_in(&mut self, socket: OwnedFd) {
        let mut state = State::Reading(Vec::new());
        match wire::recv(&socket, &mut self.scratch) {
            Ok(0) => return self.close(socket, CloseReason::Abandoned),
            Ok(n) => match state.on_bytes(&self.scratch[..n]) {
                Step::Stay => {}
                Step::Serve { request, n_extra_bytes } => {
                    return self.serve(socket, request, n_extra_bytes);
                }
                Step::Refuse(refusal) => return self.refuse(socket, &refusal),
                Step::Close(reason) => return self.close(socket, reason),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return self.close(socket, CloseReason::of_error(&error)),
        }
        self.keep(socket, self.limits.timeout, state);
        self.bound_kept_bytes();
    }

    /// Handles an event of the connection in a slot.
    pub(crate) fn on_event(&mut self, slot: usize) {
        if self.table.contains(slot) {
            self.read(slot);
        }
    }

    /// Puts a connection into the table and watches it.
    fn keep(&mut self, socket: OwnedFd, time: Duration, state: State) {
        let slot = self.table.vacant_key();
        if self.poller.add(&socket, slot as u64).is_err() {
            if let State::Waiting(waiting) = state {
                self.give_up(waiting.ticket);
            }
            self.close(socket, CloseReason::Error);
            return;
        }
        self.n_draining += usize::from(state.is_draining());
        self.n_kept_bytes += state.n_kept_bytes();
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        self.table.insert(Connection { socket, number, deadline: deadline(time), state });
        self.queue(slot, number);
    }

    /// Takes a connection out of the table. It is still watched until it is closed.
    fn remove(&mut self, slot: usize) -> Connection {
        let connection = self.table.remove(slot);
        self.n_draining -= usize::from(connection.state.is_draining());
        self.n_kept_bytes -= connection.state.n_kept_bytes();
        connection
    }

    /// Takes a connection out of the table, to go on with it elsewhere.
    fn release(&mut self, slot: usize) -> OwnedFd {
        let Connection { socket, .. } = self.remove(slot);
        self.unwatch(&socket);
        socket
    }

    /// Watches a connection no longer, so that it can be watched under another key.
    fn unwatch(&self, socket: &OwnedFd) {
        // Fails only for a descriptor that is not watched.
        _ = self.poller.delete(socket);
    }

    /// Reads what a connection of the table has sent.
    fn read(&mut self, slot: usize) {
        self.read_all(slot);
        self.bound_kept_bytes();
    }

    /// Reads until nothing is left, or the connection has left the table. Its events are
    /// edge-triggered: what is left now would not be told again.
    fn read_all(&mut self, slot: usize) {
        loop {
            let Connection { socket, state, .. } = &mut self.table[slot];
            let n = match wire::recv(socket, &mut self.scratch) {
                Ok(0) => return self.leave(slot, &Leave::Gone(CloseReason::Abandoned)),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    return self.leave(slot, &Leave::Gone(CloseReason::of_error(&error)));
                }
            };
            self.n_kept_bytes -= state.n_kept_bytes();
            let step = state.on_bytes(&self.scratch[..n]);
            // Before anything takes it out of the table, which subtracts what it keeps.
            self.n_kept_bytes += state.n_kept_bytes();
            match step {
                Step::Stay => {}
                Step::Serve { request, n_extra_bytes } => {
                    let socket = self.release(slot);
                    return self.serve(socket, request, n_extra_bytes);
                }
                Step::Refuse(refusal) => {
                    let socket = self.release(slot);
                    return self.refuse(socket, &refusal);
                }
                Step::Close(reason) => return self.leave(slot, &Leave::Gone(reason)),
            }
        }
    }

    /// Does what a complete request asks for. `n_extra_bytes` came behind it.
    fn serve(&mut self, socket: OwnedFd, request: Request, n_extra_bytes: usize) {
        match request {
            Request::Follow { style: Style::WebSocket, .. } if n_extra_bytes > 0 => {
                let sentence = "a client waits for the answer before it sends frames";
                self.refuse(socket, &Refusal::new(CloseReason::BadRequest, sentence));
            }
            Request::Follow { ids, style, head } if self.cluster.is_none() => {
                self.log_in(socket, style, &head, &ids, n_extra_bytes);
            }
            Request::Follow { ids, style, head } => {
                self.ask(socket, style, head, &ids, n_extra_bytes);
            }
            Request::Whole(response) => {
                self.answer(socket, response.as_bytes(), CloseReason::Answered);
            }
        }
    }

    /// Logs a connection in, if there is room for its ids.
    fn log_in(
        &mut self,
        socket: OwnedFd,
        style: Style,
        head: &str,
        ids: &[Id],
        n_extra_bytes: usize,
    ) {
        let Some(room) = self.router.room(ids.len()) else {
            let sentence = "the server follows as many ids as it may";
            return self.refuse(socket, &Refusal::new(CloseReason::IdsFull, sentence));
        };
        let addresses = self.addresses.as_ref();
        if !addresses.is_none_or(|addresses| addresses.log_in(&socket, ids.len())) {
            drop(room);
            let sentence = "this address follows as many ids as it may";
            return self.refuse(socket, &Refusal::new(CloseReason::IdsFullForAddress, sentence));
        }
        // From here on it is counted by the router, even if it cannot be logged in.
        self.stats().pending -= 1;
        let row = self.router.login(room, socket, style, ids, head.as_bytes(), n_extra_bytes);
        tracing::debug!(target: "logins", ?ids, ?row, "login");
    }

    /// Answers a request that is not served.
    pub(crate) fn refuse(&mut self, socket: OwnedFd, refusal: &Refusal) {
        let response = short_response(refusal);
        self.answer(socket, response.as_bytes(), refusal.reason);
    }

    /// Sends a whole response and closes: our half at once, the rest when the peer has read it.
    fn answer(&mut self, socket: OwnedFd, response: &[u8], reason: CloseReason) {
        let is_answered = send_last(&socket, response);
        let may_linger = self.n_draining < self.limits.max_lingering || !self.is_full();
        if is_answered && may_linger {
            let state = State::Draining { reason, n_bytes_left: DRAIN_BYTES };
            self.keep(socket, DRAIN_TIME, state);
        } else {
            wire::finish(&socket);
            self.close(socket, reason);
        }
    }

    /// Ends a connection of the table, with an answer if it is owed one and can get it.
    fn leave(&mut self, slot: usize, why: &Leave<'_>) {
        let Connection { socket, state, .. } = self.remove(slot);
        let refusal = match state {
            // It has its answer, and is counted under the reason of that, however it leaves.
            State::Draining { reason, .. } => return self.close(socket, reason),
            State::Reading(bytes) => match why {
                Leave::Gone(reason) => return self.close(socket, *reason),
                Leave::TooLate => request::too_late(&bytes),
                Leave::CrowdedOut => request::crowded_out(&bytes),
                Leave::Shutdown(refusal) => return self.refuse_and_close(socket, refusal),
            },
            State::Waiting(waiting) => {
                self.give_up(waiting.ticket);
                match why {
                    Leave::Gone(reason) => return self.close(socket, *reason),
                    Leave::TooLate | Leave::CrowdedOut => {
                        unsubscribed("the cluster does not answer in time")
                    }
                    Leave::Shutdown(refusal) => return self.refuse_and_close(socket, refusal),
                }
            }
        };
        // The answer may keep it in the table, under another slot.
        self.unwatch(&socket);
        self.refuse(socket, &refusal);
    }

    /// Answers a request that is not served and closes at once, as there is no time to linger.
    fn refuse_and_close(&self, socket: OwnedFd, refusal: &Refusal) {
        let response = short_response(refusal);
        send_last(&socket, response.as_bytes());
        wire::finish(&socket);
        self.close(socket, refusal.reason);
    }

    /// Closes a connection that is in no table.
    fn close(&self, socket: OwnedFd, reason: CloseReason) {
        if let Some(addresses) = &self.addresses {
            addresses.leave(&socket, 0);
        }
        drop(socket);
        let mut stats = self.stats();
        stats.pending -= 1;
        stats.closed.add(reason, 1);
    }

    /// The counts, for one update.
    pub(crate) fn stats(&self) -> MutexGuard<'_, AcceptStats> {
        self.stats.lock()
    }

    /// Gives up some of those that are over their deadline.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if !self.is_behind(now) {
            return;
        }
        let is_over = |&(_, connection): &(usize, &Connection)| connection.deadline <= now;
        let over = self.table.iter().filter(is_over).map(|(slot, _)| slot);
        let over: Vec<usize> = over.take(SWEEP_BATCH).collect();
        if over.len() < SWEEP_BATCH {
            self.next_sweep_at = now + self.sweep_every();
        }
        for slot in over {
            self.leave(slot, &Leave::TooLate);
        }
        if self.table.is_empty() {
            // The table of a flood is not kept for the next one.
            self.table = Slab::new();
            (self.reading, self.draining) = (Oldest::default(), Oldest::default());
        }
    }

    /// Answers all whose request is not complete with `refusal`, and closes everything.
    pub(crate) fn end(mut self, refusal: &Refusal) {
        for slot in 0..self.table.capacity() {
            if self.table.contains(slot) {
                self.leave(slot, &Leave::Shutdown(refusal));
            }
        }
    }
}

/// Sends a response and our end. Returns whether the peer can get all of it.
fn send_last(socket: &OwnedFd, response: &[u8]) -> bool {
    let is_sent = wire::try_write(socket, response).is_ok_and(|n| n == response.len());
    let is_shut = rustix::net::shutdown(socket, rustix::net::Shutdown::Write).is_ok();
    is_sent && is_shut
}
