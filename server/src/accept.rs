//! From `accept` to a parked row: the only part of a connection's life that is not a row.
//!
//! One task accepts, and holds every connection whose request is not complete in a table of its
//! own: no task and no buffer for each. A request is read into one shared buffer; only an
//! unfinished one is copied out of it.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use slab::Slab;
use tokio::sync::watch;

use crate::close::{ByReason, CloseReason};
use crate::framing::short_response;
use crate::overload::{Complaint, PAUSE};
use crate::request::{self, MAX_HEAD_BYTES, Parsed, Refusal, Request};
use crate::router::Router;
use crate::wire::{self, Poller};

/// Connections accepted before other work is looked at.
const ACCEPT_BATCH: usize = 64;

/// Keys from here on are listeners, those below are slots of the table.
const FIRST_LISTENER_KEY: u64 = 1 << 32;

/// How long it may wait for an event when there is nothing else to do.
const FOREVER: Duration = Duration::from_hours(24);

/// How long a refused connection may take to read its answer and close.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Bytes that are read from a refused connection, so that its answer is not destroyed by a reset.
const DRAIN_BYTES: usize = 64 * 1024;

/// Room for one read.
const READ_BYTES: usize = 16 * 1024;

/// What was counted before connections were parked.
#[derive(Debug, Clone, Default)]
pub(crate) struct AcceptStats {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections whose request is not complete, or whose refusal is not read.
    pub(crate) heads: u64,
    /// Connections closed without having been parked.
    pub(crate) closed: ByReason,
}

/// Limits on accepting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptLimits {
    /// Connections open at a time; one more is answered 503.
    pub(crate) max_connections: u64,
    /// Refused connections that may linger at a time; one more is closed without ado.
    pub(crate) max_lingering: usize,
    /// How long a request may take from accept to its last byte.
    pub(crate) head_timeout: Duration,
}

/// A connection that is not parked.
#[derive(Debug)]
struct Head {
    /// Its descriptor.
    socket: OwnedFd,
    /// When it is given up.
    deadline: Instant,
    /// What it is doing.
    state: HeadState,
}

/// What a connection that is not parked is doing.
#[derive(Debug)]
enum HeadState {
    /// Sending its request. The bytes that came, if they were not yet a whole one.
    Reading(Vec<u8>),
    /// Reading its refusal, after which it should close.
    Draining {
        /// Under which its close is counted.
        reason: CloseReason,
        /// How many bytes it may still send.
        n_bytes_left: usize,
    },
}

/// The task that accepts.
pub(crate) struct Acceptor {
    /// Where to accept, and whether there may be something.
    listeners: Vec<(TcpListener, bool)>,
    /// Watches the listeners and the table.
    poller: Poller,
    /// The connections that are not parked, by the slot that is their key. A slot is used again
    /// only after a batch of events has been handled, so no event meets a stranger there.
    heads: Slab<Head>,
    /// How many of them are draining.
    n_draining: usize,
    /// Where the others go.
    router: Arc<Router<Poller>>,
    /// Limits.
    limits: AcceptLimits,
    /// What is counted.
    stats: Arc<Mutex<AcceptStats>>,
    /// When deadlines are looked at again.
    next_sweep_at: Instant,
    /// Until when accepting pauses.
    paused_until: Option<Instant>,
    /// Keeps the log short while descriptors or memory have run out.
    complaint: Complaint,
    /// Where requests are read to.
    scratch: Box<[u8]>,
}

impl Acceptor {
    /// An acceptor on non-blocking `listeners`.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        router: Arc<Router<Poller>>,
        limits: AcceptLimits,
        stats: Arc<Mutex<AcceptStats>>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        for (key, listener) in (FIRST_LISTENER_KEY..).zip(&listeners) {
            poller.add(listener, key)?;
        }
        Ok(Self {
            listeners: listeners.into_iter().map(|listener| (listener, true)).collect(),
            poller,
            heads: Slab::new(),
            n_draining: 0,
            router,
            limits,
            stats,
            next_sweep_at: Instant::now(),
            paused_until: None,
            complaint: Complaint::default(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Accepts until `shutdown` changes; then closes the listeners and what is not parked.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
        let readable = self.poller.waiter()?;
        let mut events = Vec::new();
        loop {
            let may_accept = self.accept_batch();
            tokio::select! {
                biased;
                () = crate::went_down(&mut shutdown) => break,
                guard = readable.readable() => {
                    self.poller.poll(&mut events)?;
                    if events.is_empty() {
                        guard?.clear_ready();
                    }
                    for &(key, _) in &events {
                        self.on_event(key);
                    }
                }
                () = tokio::task::yield_now(), if may_accept => {}
                () = tokio::time::sleep(self.idle_time()), if !may_accept => {}
            }
            self.sweep(Instant::now());
        }
        let heads = std::mem::take(&mut self.heads);
        for (_, head) in heads {
            self.count_close(head.close_reason(CloseReason::Shutdown));
        }
        Ok(())
    }

    /// How long there is nothing to do unless something happens.
    fn idle_time(&self) -> Duration {
        match self.paused_until {
            Some(_) => PAUSE,
            None if self.heads.is_empty() => FOREVER,
            None => self.sweep_every(),
        }
    }

    /// How often deadlines are looked at: a twentieth of the timeout is late enough.
    fn sweep_every(&self) -> Duration {
        let every = self.limits.head_timeout / 20;
        every.clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    /// Accepts some connections from every listener that may have some. Returns whether one may
    /// have more.
    fn accept_batch(&mut self) -> bool {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        self.paused_until = None;
        let mut may_accept = false;
        for number in 0..self.listeners.len() {
            for _ in 0..ACCEPT_BATCH {
                if !self.listeners[number].1 {
                    break;
                }
                match accept(&self.listeners[number].0) {
                    Ok(socket) => self.on_accepted(socket),
                    Err(Errno::AGAIN) => self.listeners[number].1 = false,
                    // These concern one connection, which is gone.
                    Err(Errno::CONNABORTED | Errno::PROTO | Errno::PERM | Errno::INTR) => {}
                    Err(error) => {
                        self.pause(error);
                        return false;
                    }
                }
            }
            may_accept |= self.listeners[number].1;
        }
        may_accept
    }

    /// Stops accepting for a moment: descriptors or memory have run out, most likely, and to try at
    /// once would spin.
    fn pause(&mut self, error: Errno) {
        self.paused_until = Some(Instant::now() + PAUSE);
        if self.complaint.is_due() {
            tracing::warn!("cannot accept: {error}; accepting pauses until it can");
        }
    }

    /// Handles an event.
    fn on_event(&mut self, key: u64) {
        if let Some(number) = key.checked_sub(FIRST_LISTENER_KEY) {
            let number = usize::try_from(number).expect("it is a listener's number");
            self.listeners[number].1 = true;
            return;
        }
        let slot = usize::try_from(key).expect("it is a slot of the table");
        if self.heads.contains(slot) {
            self.read(slot);
        }
    }

    /// Takes in a new connection: its request is often there already.
    fn on_accepted(&mut self, socket: OwnedFd) {
        {
            let mut stats = self.stats();
            stats.accepted += 1;
            stats.heads += 1;
        }
        if self.heads.len() as u64 + self.router.n_parked() >= self.limits.max_connections {
            let sentence = "the server holds as many connections as it may";
            self.refuse(socket, &Refusal::new(CloseReason::Full, sentence));
            return;
        }
        match wire::recv(&socket, &mut self.scratch) {
            Ok(0) => self.count_close(CloseReason::Abandoned),
            Ok(n) => match request::parse(&self.scratch[..n]) {
                Parsed::Incomplete => {
                    let bytes = self.scratch[..n].to_vec();
                    self.keep(socket, self.limits.head_timeout, HeadState::Reading(bytes));
                }
                Parsed::Complete(request, n_head) => self.serve(socket, &request, n - n_head),
                Parsed::Refused(refusal) => self.refuse(socket, &refusal),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.keep(socket, self.limits.head_timeout, HeadState::Reading(Vec::new()));
            }
            Err(error) => self.count_close(CloseReason::of_error(&error)),
        }
    }

    /// Puts a connection into the table and watches it.
    fn keep(&mut self, socket: OwnedFd, time: Duration, state: HeadState) {
        let entry = self.heads.vacant_entry();
        if self.poller.add(&socket, entry.key() as u64).is_err() {
            drop(socket);
            self.count_close(CloseReason::Error);
            return;
        }
        self.n_draining += usize::from(matches!(state, HeadState::Draining { .. }));
        entry.insert(Head { socket, deadline: Instant::now() + time, state });
    }

    /// Takes a connection out of the table, to close it: that ends its watch.
    fn remove(&mut self, slot: usize) -> Head {
        let head = self.heads.remove(slot);
        self.n_draining -= usize::from(matches!(head.state, HeadState::Draining { .. }));
        head
    }

    /// Takes a connection out of the table, to go on with it elsewhere.
    fn release(&mut self, slot: usize) -> Head {
        let head = self.remove(slot);
        // Fails only for a descriptor that is not watched.
        _ = self.poller.delete(&head.socket);
        head
    }

    /// Reads what a connection of the table has sent.
    fn read(&mut self, slot: usize) {
        loop {
            let head = &mut self.heads[slot];
            let n = match wire::recv(&head.socket, &mut self.scratch) {
                Ok(0) => return self.close(slot, CloseReason::Abandoned),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.close(slot, CloseReason::of_error(&error)),
            };
            match &mut head.state {
                HeadState::Draining { reason, n_bytes_left } => {
                    let reason = *reason;
                    match n_bytes_left.checked_sub(n) {
                        Some(n_left) => *n_bytes_left = n_left,
                        None => return self.close(slot, reason),
                    }
                }
                HeadState::Reading(bytes) => {
                    let parsed = if bytes.is_empty() {
                        (request::parse(&self.scratch[..n]), n)
                    } else {
                        bytes.extend_from_slice(&self.scratch[..n]);
                        (request::parse(bytes), bytes.len())
                    };
                    match parsed {
                        (Parsed::Incomplete, n_all) => {
                            debug_assert!(n_all <= MAX_HEAD_BYTES, "more is refused");
                            if bytes.is_empty() {
                                bytes.extend_from_slice(&self.scratch[..n]);
                            }
                        }
                        (Parsed::Complete(request, n_head), n_all) => {
                            let head = self.release(slot);
                            return self.serve(head.socket, &request, n_all - n_head);
                        }
                        (Parsed::Refused(refusal), _) => {
                            let head = self.release(slot);
                            return self.refuse(head.socket, &refusal);
                        }
                    }
                }
            }
        }
    }

    /// Does what a complete request asks for. `n_extra_bytes` came behind it.
    fn serve(&mut self, socket: OwnedFd, request: &Request, n_extra_bytes: usize) {
        match request {
            Request::Follow { ids, style } => {
                let head = style.head().as_bytes();
                // An error is counted by the router, to which the connection belongs now.
                let row = self.router.login(socket, *style, ids, head, n_extra_bytes);
                tracing::debug!(target: "logins", ?ids, ?row, "login");
                self.stats().heads -= 1;
            }
            Request::HeadOnly(style) => {
                self.answer(socket, style.head().as_bytes(), CloseReason::Answered);
            }
        }
    }

    /// Answers a request that is not served.
    fn refuse(&mut self, socket: OwnedFd, refusal: &Refusal) {
        let response = short_response(refusal.status(), &refusal.sentence, refusal.with_body);
        self.answer(socket, response.as_bytes(), refusal.reason);
    }

    /// Sends a whole response and closes: our half at once, the rest when the peer has read it.
    fn answer(&mut self, socket: OwnedFd, response: &[u8], reason: CloseReason) {
        let is_sent = wire::send(&socket, response).is_ok_and(|n| n == response.len());
        let is_shut = rustix::net::shutdown(&socket, rustix::net::Shutdown::Write).is_ok();
        if is_sent && is_shut && self.n_draining < self.limits.max_lingering {
            let state = HeadState::Draining { reason, n_bytes_left: DRAIN_BYTES };
            self.keep(socket, DRAIN_TIME, state);
        } else {
            self.count_close(reason);
        }
    }

    /// Closes a connection of the table.
    fn close(&mut self, slot: usize, reason: CloseReason) {
        let head = self.remove(slot);
        self.count_close(head.close_reason(reason));
    }

    /// The counts, for one update.
    fn stats(&self) -> MutexGuard<'_, AcceptStats> {
        self.stats.lock().expect("nothing panics while it holds the counts")
    }

    /// Counts the close of a connection that was not parked.
    fn count_close(&self, reason: CloseReason) {
        let mut stats = self.stats();
        stats.heads -= 1;
        stats.closed.add(reason, 1);
    }

    /// Gives up what is over its deadline.
    fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep_at || self.heads.is_empty() {
            return;
        }
        self.next_sweep_at = now + self.sweep_every();
        let is_over = |&(_, head): &(usize, &Head)| head.deadline <= now;
        let over: Vec<usize> = self.heads.iter().filter(is_over).map(|(slot, _)| slot).collect();
        for slot in over {
            let head = self.release(slot);
            match head.state {
                HeadState::Draining { reason, .. } => self.count_close(reason),
                HeadState::Reading(_) => {
                    let sentence = "the request was not complete in time";
                    self.refuse(head.socket, &Refusal::new(CloseReason::HeadTimeout, sentence));
                }
            }
        }
    }
}

impl Head {
    /// What its close counts as, when `otherwise` is what happened: one that was refused counts as
    /// refused, however it left.
    fn close_reason(&self, otherwise: CloseReason) -> CloseReason {
        match self.state {
            HeadState::Draining { reason, .. } => reason,
            HeadState::Reading(_) => otherwise,
        }
    }
}

/// Accepts one connection, non-blocking.
fn accept(listener: &TcpListener) -> Result<OwnedFd, Errno> {
    use rustix::net::SocketFlags;
    rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}
