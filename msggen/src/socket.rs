//! Messages over WebSockets.
//!
//! Each of the sockets to a server is a task, and all messages to an id go through the same one, so
//! that nothing overtakes them: the order in which they are written is that of their numbers. A
//! socket writes what is in line when the kernel has taken all before it.
//!
//! What comes back is an answer where the user has said which messages are (`--ack`): the first one
//! answers the first message that has none on that socket. Otherwise a message has come to its end
//! when the kernel has taken its last byte. Whether anybody read it is not known then, unless the
//! server closes the WebSocket with us at the end of the run: what comes before our close frame was
//! read before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use regex::bytes::Regex;
use reports::share::share_of;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::connector::{CONNECT_TIMEOUT, Connector, Pauses};
use crate::form::SocketForm;
use crate::link::{End, Event, Link};
use crate::message::Draft;
use crate::order::PipeKey;
use crate::receipt::{Miss, Reason, Receipt};
use crate::shared::Shared;
use crate::template::Filling;
use crate::upgrade::{Refusal, Upgrade};

/// Messages that a socket writes at a time, at most: what is in line behind them has a time of its
/// own at which it was sent.
const WRITE_MESSAGES: usize = 64;

/// Bytes behind which it begins no other.
const WRITE_BYTES: usize = 64 * 1024;

/// Sockets that are being opened at a time, so that a server is not asked for all at once.
const OPENING: usize = 32;

/// How long nothing has come from a server that has nothing more to say. It is the time of a slow
/// answer on the other side of the world.
const QUIET: Duration = Duration::from_millis(250);

/// How long a WebSocket without answers is listened to at its end. Some servers are never quiet.
const LINGER: Duration = Duration::from_secs(1);

/// How often in the time of an answer a socket looks whether the oldest one is overdue.
const LOOKS: u32 = 10;

/// A server's WebSockets.
#[derive(Debug)]
pub struct SocketTarget {
    /// The way to it.
    connector: Connector,
    /// How a connection becomes a WebSocket.
    upgrade: Upgrade,
    /// What goes over it.
    form: Arc<SocketForm>,
    /// Where each socket takes its orders.
    sockets: Box<[Sender<Order>]>,
    /// How many servers share the ids.
    n_targets: usize,
    /// How often an answer came that no message was sent for.
    n_strays: AtomicU64,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Sockets to a server.
    pub n_sockets: usize,
    /// Servers that share the ids.
    pub n_targets: usize,
    /// Messages that all sources may have on their way at a time.
    pub n_messages: usize,
}

/// What a socket is to do.
#[derive(Debug)]
enum Order {
    /// Send a message.
    Send(Parcel),
    /// Close: nothing more is to be sent.
    Close,
}

/// A message with its sender.
#[derive(Debug)]
struct Parcel {
    /// The message.
    draft: Draft,
    /// Who sends it.
    key: PipeKey,
    /// How many messages its pipe has on their way, this one included.
    n_on_their_way: Arc<AtomicUsize>,
}

/// A socket that is open and has nobody yet to serve it.
#[derive(Debug)]
pub struct Unserved {
    /// Where it leads.
    target: Arc<SocketTarget>,
    /// Where its orders come from.
    orders: Receiver<Order>,
    /// The WebSocket.
    link: Link,
}

impl SocketTarget {
    /// Opens the sockets of the server that `connector` leads to. If one cannot be opened, returns
    /// how many there were, and why.
    pub async fn open(
        connector: Connector,
        upgrade: Upgrade,
        form: Arc<SocketForm>,
        extent: Extent,
    ) -> Result<(Arc<Self>, Vec<Unserved>), (usize, Refusal)> {
        let Extent { n_sockets, n_targets, n_messages } = extent;
        // Every message may be in the same line, and at the end there is the order to close.
        let n_orders = n_messages.saturating_add(1).min(Semaphore::MAX_PERMITS);
        let (sockets, orders): (Vec<_>, Vec<_>) = (0..n_sockets).map(|_| channel(n_orders)).unzip();
        let (sockets, n_strays) = (sockets.into(), AtomicU64::new(0));
        let target = Arc::new(Self { connector, upgrade, form, sockets, n_targets, n_strays });
        let room = Arc::new(Semaphore::new(OPENING));
        let mut opening = JoinSet::new();
        for _ in 0..n_sockets {
            let (target, room) = (Arc::clone(&target), Arc::clone(&room));
            opening.spawn(async move {
                let _room = room.acquire().await.expect("it is never closed");
                target.attempt().await
            });
        }
        let mut unserved = Vec::with_capacity(n_sockets);
        for orders in orders {
            let opened = opening.join_next().await.expect("there are as many of both");
            let link = opened.expect("an attempt ends by itself");
            let link = link.map_err(|refusal| (unserved.len(), refusal))?;
            unserved.push(Unserved { target: Arc::clone(&target), orders, link });
        }
        Ok((target, unserved))
    }

    /// Tells all sockets that nothing more is to be sent.
    pub fn close(&self) {
        for socket in &self.sockets {
            // One that has ended needs not be told.
            let _ = socket.try_send(Order::Close);
        }
    }

    /// How often an answer came that no message was sent for.
    pub fn n_strays(&self) -> u64 {
        self.n_strays.load(Ordering::Relaxed)
    }

    /// The socket of an id: always the same, and the ids of a server spread over all of its.
    fn socket_of(&self, id: u64) -> &Sender<Order> {
        // The server's number is the share modulo the servers, so that the rest is independent.
        let share = share_of(id, self.n_targets * self.sockets.len());
        &self.sockets[share / self.n_targets]
    }

    /// Opens a WebSocket, once.
    async fn attempt(&self) -> Result<Link, Refusal> {
        let mut stream = self.connector.attempt().await.map_err(Refusal::Broken)?;
        let asked = timeout(CONNECT_TIMEOUT, self.upgrade.ask(&mut stream)).await;
        let early = asked.unwrap_or(Err(Refusal::Broken(Reason::TimedOut)))?;
        let mut link = Link::new(stream, early);
        for payload in &self.form.on_open {
            let written = link.write(payload.clone(), self.form.is_binary);
            written.map_err(|end| Refusal::Broken(end.reason()))?;
        }
        if let Some(ready) = &self.form.ready {
            let said = timeout(CONNECT_TIMEOUT, self.wait_for(&mut link, ready)).await;
            said.unwrap_or(Err(Refusal::NotReady))?;
        }
        Ok(link)
    }

    /// Waits until the server says on a new WebSocket that it is `ready`.
    async fn wait_for(&self, link: &mut Link, ready: &Regex) -> Result<(), Refusal> {
        let ended = |end: End| Refusal::Broken(end.reason());
        loop {
            match link.event().await {
                Event::Flushed => {}
                Event::Ended(end) => return Err(ended(end)),
                Event::Message(said) => {
                    if let Some(answer) = self.form.answer_to(&said) {
                        link.answer(answer.clone(), self.form.is_binary).map_err(ended)?;
                    }
                    if ready.is_match(&said) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Opens a WebSocket in place of one that ended. While the server is gone, or makes no
    /// WebSockets, it is tried again, with pauses, for as long as messages wait.
    async fn open_again(&self) -> Result<Link, Reason> {
        let mut pauses = Pauses::default();
        loop {
            match self.attempt().await {
                Ok(link) => {
                    self.connector.found();
                    return Ok(link);
                }
                Err(refusal) => self.connector.wait(&mut pauses, refusal.reason()).await?,
            }
        }
    }
}

/// What one source sends to one server's WebSockets.
#[derive(Debug)]
pub struct SocketPipe {
    /// Whose it is and where it leads.
    key: PipeKey,
    /// Where it sends.
    target: Arc<SocketTarget>,
    /// How many messages are on their way or wait for it.
    n_on_their_way: Arc<AtomicUsize>,
}

impl SocketPipe {
    /// The pipe `key` to `target`.
    pub fn new(key: PipeKey, target: Arc<SocketTarget>) -> Self {
        Self { key, target, n_on_their_way: Arc::default() }
    }

    /// Takes a message to be sent.
    pub fn push(&self, draft: Draft) {
        self.n_on_their_way.fetch_add(1, Ordering::Relaxed);
        let n_on_their_way = Arc::clone(&self.n_on_their_way);
        let parcel = Parcel { draft, key: self.key, n_on_their_way };
        let sent = self.target.socket_of(draft.id).try_send(Order::Send(parcel));
        sent.expect("there is room for all, and sockets end after the sources");
    }

    /// Messages that are on their way or wait for it. The source is woken with every change.
    pub fn n_requests(&self) -> usize {
        self.n_on_their_way.load(Ordering::Relaxed)
    }
}

/// A message that was written.
#[derive(Debug)]
struct Sent {
    /// The message.
    parcel: Parcel,
    /// When it was written.
    at: Instant,
}

/// One of a server's WebSockets, or the place of one that ended. Its task ends when it was told to
/// close. Dropped before, it counts as unanswered what has no answer.
#[derive(Debug)]
pub struct Socket {
    /// Where it leads.
    target: Arc<SocketTarget>,
    /// What it shares with the others.
    shared: Arc<Shared>,
    /// What it is to do.
    orders: Receiver<Order>,
    /// The WebSocket; none from its end to the next message.
    link: Option<Link>,
    /// Messages of which it is not known what became, the oldest first.
    sent: VecDeque<Sent>,
    /// How many of these the kernel has taken.
    n_flushed: usize,
    /// Since when the WebSocket has been there and the kernel has taken all before.
    free_at: Instant,
    /// Whether any message was written since the WebSocket was opened.
    has_sent: bool,
    /// When to look whether the oldest one is overdue.
    looks: Interval,
    /// Whether nothing more is to be sent.
    is_closing: bool,
}

impl Socket {
    /// Serves a socket from now on. Within a runtime.
    pub fn new(unserved: Unserved, shared: Arc<Shared>) -> Self {
        let Unserved { target, orders, link } = unserved;
        let mut looks = interval((shared.timeout / LOOKS).max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            target,
            shared,
            orders,
            link: Some(link),
            sent: VecDeque::new(),
            n_flushed: 0,
            free_at: Instant::now(),
            has_sent: false,
            looks,
            is_closing: false,
        }
    }

    /// Sends what it is told to, and closes.
    pub async fn run(mut self) {
        // All messages have come to their end when there is an order to close, or the run does not
        // wait for them any more.
        while !self.is_closing {
            let is_free = self.link.as_ref().is_none_or(Link::is_flushed);
            // In no fixed order: a server that never stops speaking holds up no message.
            tokio::select! {
                event = event(self.link.as_mut()) => self.take(event),
                _ = self.looks.tick(), if !self.sent.is_empty() => self.look(),
                order = self.orders.recv(), if is_free => match order {
                    Some(Order::Send(parcel)) => self.send(parcel).await,
                    Some(Order::Close) | None => self.is_closing = true,
                }
            }
        }
        // Answers to these may still come, and count for nothing.
        let mut n_owed = self.sent.len();
        self.end_all(Receipt::nothing(Miss::Unanswered(Reason::Interrupted)));
        if self.target.form.ack.is_none() {
            let _ = timeout(LINGER, self.listen()).await;
        }
        if let Some(link) = &mut self.link {
            // That it ended without the server's close frame says nothing: with bytes of ours that
            // nobody read it would be a reset.
            let SocketTarget { form, n_strays, .. } = &*self.target;
            let hear = |said: &Bytes| {
                if form.ack.as_ref().is_some_and(|ack| ack.is_match(said)) {
                    n_strays.fetch_add(u64::from(n_owed == 0), Ordering::Relaxed);
                    n_owed = n_owed.saturating_sub(1);
                }
            };
            let end = link.close(hear).await;
            if !matches!(end, End::Closed(_) | End::Broken(Reason::Cut)) {
                self.shared.tally().closed(end.to_string());
            }
        }
        self.link = None;
    }

    /// Waits until the server says nothing more. It may have a word for each message, and one that
    /// cannot say it any more may not look at the messages behind it.
    async fn listen(&mut self) {
        while self.link.is_some()
            && let Ok(event) = timeout(QUIET, event(self.link.as_mut())).await
        {
            self.take(event);
        }
    }

    /// Goes on with what happened on the WebSocket.
    fn take(&mut self, event: Event) {
        match event {
            Event::Flushed => {
                self.free_at = Instant::now();
                if self.target.form.ack.is_some() {
                    self.n_flushed = self.sent.len();
                } else {
                    self.end_all(Receipt::written(1));
                }
            }
            Event::Message(payload) => self.hear(&payload),
            Event::Ended(end) => self.break_off(end),
        }
    }

    /// Takes a message of the server.
    fn hear(&mut self, payload: &Bytes) {
        let form = Arc::clone(&self.target.form);
        if let Some(answer) = form.answer_to(payload) {
            let link = self.link.as_mut().expect("it has just spoken");
            if let Err(end) = link.answer(answer.clone(), form.is_binary) {
                return self.break_off(end);
            }
        }
        if form.ack.as_ref().is_some_and(|ack| ack.is_match(payload)) {
            // Before the first message it is to what was sent first.
            if !self.has_sent && !form.on_open.is_empty() {
                return;
            }
            // An answer cannot be to a message that is not all out.
            if self.n_flushed == 0 {
                self.target.n_strays.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.n_flushed -= 1;
            let sent = self.sent.pop_front().expect("it was flushed");
            self.end(&sent, form.wants.receipt(payload));
        }
    }

    /// Gives up when the oldest message has waited too long: the answers to those behind it could
    /// not be told from its own.
    fn look(&mut self) {
        if self.sent.front().is_some_and(|oldest| oldest.at.elapsed() >= self.shared.timeout) {
            self.break_off(End::Broken(Reason::TimedOut));
        }
    }

    /// Sends a message, and those that are in line behind it.
    async fn send(&mut self, first: Parcel) {
        if self.link.is_none() {
            let opened = tokio::select! {
                biased;
                opened = self.target.open_again() => opened.map(Some),
                () = self.shared.timer.stopped() => Ok(None),
            };
            self.free_at = Instant::now();
            match opened {
                Ok(link) => self.link = link,
                Err(reason) => {
                    // All that wait have waited for the same server.
                    let mut next = Some(first);
                    while let Some(parcel) = next {
                        self.fail(&parcel, reason);
                        next = self.next_in_line();
                    }
                    return;
                }
            }
        }
        // One time for all that is written now: stamps say it, and the delays count from it. The
        // next ones wait until the kernel has taken these.
        let now = Instant::now();
        let (mut n_bytes, mut n_messages, mut next) = (0, 0, Some(first));
        while let Some(parcel) = next {
            match self.shared.timer.stopped_at() {
                Some(stopped_at) => self.forget(&parcel, stopped_at),
                None => n_bytes += self.write(parcel, now),
            }
            n_messages += 1;
            if n_messages == WRITE_MESSAGES || n_bytes >= WRITE_BYTES || self.link.is_none() {
                return;
            }
            next = self.next_in_line();
        }
    }

    /// The next message in line, if there is one.
    fn next_in_line(&mut self) -> Option<Parcel> {
        match self.orders.try_recv().ok()? {
            Order::Send(parcel) => Some(parcel),
            Order::Close => {
                self.is_closing = true;
                None
            }
        }
    }

    /// Writes a message. Returns its length.
    fn write(&mut self, mut parcel: Parcel, now: Instant) -> usize {
        parcel.draft = parcel.draft.free_at(self.free_at);
        if let Some(mut numbers) = self.shared.numbers() {
            let id = parcel.draft.id;
            if numbers.claim(id, parcel.key).is_err() {
                drop(numbers);
                self.fail(&parcel, Reason::NoNumber);
                return 0;
            }
            // It comes right before the writing: a number without a message would be a lost one to
            // whoever receives the others.
            parcel.draft.number = numbers.next(id);
        }
        let payload = self.payload(&parcel, now);
        let n_bytes = payload.len();
        self.shared.sent(&[parcel.draft], now);
        self.sent.push_back(Sent { parcel, at: now });
        self.has_sent = true;
        let link = self.link.as_mut().expect("it was opened");
        if let Err(end) = link.write(payload.into(), self.target.form.is_binary) {
            self.break_off(end);
        }
        n_bytes
    }

    /// What goes out for a message.
    fn payload(&self, parcel: &Parcel, now: Instant) -> String {
        let (draft, shared) = (&parcel.draft, &self.shared);
        let source = parcel.key.source as u64;
        let (scratch, mut message) = shared.take_scratch();
        message.clear();
        shared.text.write(draft, source, now, shared.stamps.as_ref(), &mut message);
        let Draft { countdown, id, number, .. } = *draft;
        let filling = Filling { countdown, id, source, number, message: &message };
        let mut payload = String::with_capacity(message.len());
        self.target.form.body.fill(filling, &mut payload);
        shared.put_scratch((scratch, message));
        payload
    }

    /// Counts what became of a message that was written.
    fn end(&self, sent: &Sent, receipt: Receipt) {
        self.shared.ended(std::iter::once(sent.parcel.draft), sent.at, receipt);
        self.done(&sent.parcel);
    }

    /// Counts that the same became of all messages that were written.
    fn end_all(&mut self, receipt: Receipt) {
        self.n_flushed = 0;
        for sent in std::mem::take(&mut self.sent) {
            self.end(&sent, receipt);
        }
    }

    /// Counts a message that there is no way for. It was never sent, so it gets no number: to
    /// whoever receives the others none is missing.
    fn fail(&self, parcel: &Parcel, reason: Reason) {
        let now = Instant::now();
        self.shared.sent(&[parcel.draft.free_at(self.free_at)], now);
        let receipt = Receipt::nothing(Miss::Failed(reason));
        self.shared.ended(std::iter::once(parcel.draft), now, receipt);
        self.done(parcel);
    }

    /// Gives up a message: nothing more is to be sent since `stopped_at`.
    fn forget(&self, parcel: &Parcel, stopped_at: Instant) {
        self.shared.forget(&parcel.draft, stopped_at);
        self.done(parcel);
    }

    /// Tells a source that a message has come to its end.
    fn done(&self, parcel: &Parcel) {
        parcel.n_on_their_way.fetch_sub(1, Ordering::Relaxed);
        self.shared.timer.nudge(parcel.key.source);
    }

    /// Ends the WebSocket; what has no answer will get none.
    fn break_off(&mut self, end: End) {
        self.link = None;
        self.has_sent = false;
        self.shared.tally().closed(end.to_string());
        self.end_all(Receipt::nothing(Miss::Unanswered(end.reason())));
    }
}

/// The end of a run that does not wait for it.
impl Drop for Socket {
    fn drop(&mut self) {
        self.end_all(Receipt::nothing(Miss::Unanswered(Reason::Interrupted)));
        while let Some(parcel) = self.next_in_line() {
            self.forget(&parcel, self.shared.timer.stopped_at().unwrap_or_else(Instant::now));
        }
        if self.link.is_some() {
            self.shared.tally().closed(End::Unconfirmed.to_string());
        }
    }
}

/// What happens next on a WebSocket, if there is one.
async fn event(link: Option<&mut Link>) -> Event {
    match link {
        Some(link) => link.event().await,
        None => std::future::pending().await,
    }
}
