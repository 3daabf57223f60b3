//! Accepting: the one task that takes in connections, and looks after them until they are parked.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::watch;

use crate::addresses::Addresses;
use crate::close::CloseReason;
use crate::limits::{LISTEN_BACKLOG, spread_keepalive};
use crate::overload::{Complaint, PAUSE};
use crate::pending::Pending;
use crate::refusal::Refusal;
use crate::shutdown::went_down;

/// Connections accepted before other work is looked at.
const ACCEPT_BATCH: usize = 64;

/// Keys from here on are listeners, those below are slots of the table of pending connections.
const FIRST_LISTENER_KEY: u64 = 1 << 32;

/// How long it may wait for an event when there is nothing else to do.
const FOREVER: Duration = Duration::from_hours(24);

/// The task that accepts.
pub(crate) struct Acceptor {
    /// Where to accept, and whether there may be something.
    listeners: Vec<(TcpListener, bool)>,
    /// Where new connections go, and what watches the listeners.
    pending: Pending,
    /// Knows how many connections an address has, if there is a limit on them.
    addresses: Option<Arc<Addresses>>,
    /// Until when accepting pauses.
    paused_until: Option<Instant>,
    /// Keeps the log short while descriptors or memory have run out.
    complaint: Complaint,
}

impl Acceptor {
    /// An acceptor on non-blocking `listeners`.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        pending: Pending,
        addresses: Option<Arc<Addresses>>,
    ) -> io::Result<Self> {
        for (key, listener) in (FIRST_LISTENER_KEY..).zip(&listeners) {
            pending.poller.add(listener, key)?;
        }
        Ok(Self {
            listeners: listeners.into_iter().map(|listener| (listener, true)).collect(),
            pending,
            addresses,
            paused_until: None,
            complaint: Complaint::default(),
        })
    }

    /// Accepts until `shutdown` changes; then closes the listeners and what is not parked.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
        let readable = self.pending.poller.waiter()?;
        let mut events = Vec::new();
        loop {
            let may_accept = self.accept_batch();
            let is_busy = may_accept || self.pending.is_behind(Instant::now());
            tokio::select! {
                biased;
                () = went_down(&mut shutdown) => break,
                guard = readable.readable() => {
                    self.pending.poller.poll(&mut events)?;
                    if events.is_empty() {
                        guard?.clear_ready();
                    }
                    for &(key, _) in &events {
                        self.on_event(key);
                    }
                }
                () = self.pending.acknowledgements() => self.pending.log_in_acknowledged(),
                () = tokio::task::yield_now(), if is_busy => {}
                () = tokio::time::sleep(self.idle_time()), if !is_busy => {}
            }
            self.pending.sweep(Instant::now());
        }
        self.end();
        Ok(())
    }

    /// Tells everybody who is not served yet that it is over.
    fn end(mut self) {
        let refusal = Refusal::new(CloseReason::Shutdown, "the server is shutting down");
        for (listener, _) in self.listeners {
            // Closing the listener would reset those that wait to be accepted. There are no more
            // of them than fit its queue; who comes later is late.
            for socket in (0..LISTEN_BACKLOG).map_while(|_| accept(&listener).ok()) {
                count_accepted(&self.pending);
                self.pending.refuse(socket, &refusal);
            }
        }
        self.pending.end(&refusal);
    }

    /// How long there is nothing to do unless something happens.
    fn idle_time(&self) -> Duration {
        let until_sweep = self.pending.idle_time().unwrap_or(FOREVER);
        if self.paused_until.is_some() { until_sweep.min(PAUSE) } else { until_sweep }
    }

    /// Accepts some connections from every listener that may have some. Returns whether one may
    /// have more.
    fn accept_batch(&mut self) -> bool {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let mut may_accept = false;
        for number in 0..self.listeners.len() {
            for _ in 0..ACCEPT_BATCH {
                let (listener, may_have_some) = &mut self.listeners[number];
                if !*may_have_some {
                    break;
                }
                let accepted = match self.addresses {
                    Some(_) => accept_from(listener),
                    None => accept(listener).map(|socket| (socket, None)),
                };
                match accepted {
                    Ok((socket, from)) => self.on_accepted(socket, from),
                    Err(Errno::AGAIN) => *may_have_some = false,
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
        if self.paused_until.take().is_some() {
            self.pending.stats().is_paused = false;
        }
        may_accept
    }

    /// Stops accepting for a moment: descriptors or memory have run out, most likely, and to try at
    /// once would spin.
    fn pause(&mut self, error: Errno) {
        self.paused_until = Some(Instant::now() + PAUSE);
        self.pending.stats().is_paused = true;
        if self.complaint.is_due() {
            tracing::warn!("cannot accept: {error}; accepting pauses until it can");
        }
    }

    /// Handles an event.
    fn on_event(&mut self, key: u64) {
        if let Some(number) = key.checked_sub(FIRST_LISTENER_KEY) {
            let number = usize::try_from(number).expect("it is a listener's number");
            self.listeners[number].1 = true;
        } else {
            self.pending.on_event(usize::try_from(key).expect("it is a slot of the table"));
        }
    }

    /// Counts a new connection and takes it in, if there is room for it.
    fn on_accepted(&mut self, socket: OwnedFd, from: Option<IpAddr>) {
        let number = count_accepted(&self.pending);
        let refusal = if !self.pending.make_room() {
            let sentence = "the server holds as many connections as it may";
            Refusal::new(CloseReason::Full, sentence)
        } else if let (Some(addresses), Some(from)) = (&self.addresses, from)
            && !addresses.enter(&socket, from)
        {
            let sentence = "this address has as many connections as it may";
            Refusal::new(CloseReason::FullForAddress, sentence)
        } else {
            spread_keepalive(&socket, number);
            return self.pending.take_in(socket);
        };
        self.pending.refuse(socket, &refusal);
    }
}

/// Counts a connection that was accepted; returns which one it is.
fn count_accepted(pending: &Pending) -> u64 {
    let mut stats = pending.stats();
    stats.accepted += 1;
    stats.pending += 1;
    stats.accepted
}

/// What an accepted socket is: closed by our children, and never waiting.
const FLAGS: rustix::net::SocketFlags =
    rustix::net::SocketFlags::CLOEXEC.union(rustix::net::SocketFlags::NONBLOCK);

/// Accepts one connection.
fn accept(listener: &TcpListener) -> Result<OwnedFd, Errno> {
    rustix::net::accept_with(listener, FLAGS)
}

/// The same, with the address that it comes from.
fn accept_from(listener: &TcpListener) -> Result<(OwnedFd, Option<IpAddr>), Errno> {
    let (socket, from) = rustix::net::acceptfrom_with(listener, FLAGS)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Ok((socket, from.map(|from| from.ip())))
}
