//! Sending from tasks: small sends at once, fan-outs in slices and in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::framing::Message;
use crate::router::{Id, Router, SLICE, Sent};
use crate::sync::Mutex;
use crate::wire::Poller;

/// Messages sent before other tasks are let in: at 7 µs a write, half a millisecond.
pub(crate) const MESSAGES_AT_A_TIME: u64 = 64;

/// Sends messages, one fan-out of an id after the other.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    /// The tables.
    router: Arc<Router<Poller>>,
    /// Whose turn it is, for every id with a fan-out on its way.
    turns: Arc<Turns>,
    /// How long messages took, in seconds.
    durations: Histogram,
}

impl Sender {
    /// A sender into `router`.
    pub(crate) fn new(router: Arc<Router<Poller>>) -> Self {
        // From 2 µs, which finds nobody, in steps of 4 to half a second, which is a fan-out to
        // 50,000 connections.
        let durations = Histogram::new(exponential_buckets(2e-6, 4.0, 10));
        Self { router, turns: Arc::default(), durations }
    }

    /// How long messages took, in seconds, waiting for a turn not counted.
    pub(crate) fn durations(&self) -> &Histogram {
        &self.durations
    }

    /// Sends `text` to whoever is logged in as `id`. Returns the number of connections reached.
    pub(crate) async fn send_to(&self, id: Id, text: &str) -> u64 {
        match self.try_send_to(id, text) {
            Ok(n_reached) => n_reached,
            Err(message) => self.clone().send_to_many(id, message).await,
        }
    }

    /// The same, without waiting. What is for several connections comes back, for
    /// [`send_to_many`](Self::send_to_many).
    pub(crate) fn try_send_to(&self, id: Id, text: &str) -> Result<u64, Message> {
        let begun_at = Instant::now();
        let message = Message::new(text);
        match self.router.send(id, &message) {
            Sent::Done(n_reached) => {
                self.durations.observe(begun_at.elapsed().as_secs_f64());
                Ok(n_reached)
            }
            Sent::Many => Err(message),
        }
    }

    /// Sends to several connections. Returns how many were reached.
    ///
    /// Such a send waits its turn, so that all of them see the messages of an id in the same order.
    /// It is a task of its own: whoever asked for it may leave, and the message still goes to all.
    pub(crate) async fn send_to_many(self, id: Id, message: Message) -> u64 {
        let fan_out = tokio::spawn(self.fan_out(id, message));
        fan_out.await.expect("a fan-out neither panics nor is it cancelled")
    }

    /// Sends what is about `about` to whoever is logged in as one of `ids`, without waiting.
    /// Returns how many connections were reached. If they are too many for that, or others are
    /// sending what is about the same id, the message comes back, for
    /// [`send_about`](Self::send_about).
    pub(crate) fn try_send_about(&self, about: Id, ids: &[Id], text: &str) -> Result<u64, Message> {
        let begun_at = Instant::now();
        let message = Message::new(text);
        if ids.len() > SLICE {
            return Err(message);
        }
        let mut targets = Vec::new();
        self.router.add_targets(ids, &mut targets);
        let mut fan_out = self.router.fan_out_to(about, targets);
        if fan_out.n_targets() > SLICE {
            return Err(message);
        }
        // Connections that several see must all see in the same order.
        let Some(_turn) = Turns::try_take(&self.turns, about) else { return Err(message) };
        let n_reached = fan_out.step(&self.router, &message).expect("it is one slice");
        self.durations.observe(begun_at.elapsed().as_secs_f64());
        Ok(n_reached)
    }

    /// Sends what is about `about` to whoever is logged in as one of the ids that `parts` gives, a
    /// part after the other, each connection once. An error of it means that nothing was sent.
    /// Returns how many connections were reached, and what gave the parts.
    ///
    /// It is a task of its own, as [`send_to_many`](Self::send_to_many) is.
    pub(crate) async fn send_about<P>(
        self,
        about: Id,
        message: Message,
        parts: P,
    ) -> Result<(u64, P), P::Error>
    where
        P: Parts + Send + 'static,
        P::Error: Send + 'static,
    {
        let sending = tokio::spawn(self.fan_out_about(about, message, parts));
        sending.await.expect("a fan-out neither panics nor is it cancelled")
    }

    /// Finds the connections, and sends to them, letting others in after every slice.
    async fn fan_out_about<P: Parts>(
        self,
        about: Id,
        message: Message,
        mut parts: P,
    ) -> Result<(u64, P), P::Error> {
        let _turn = Turns::take(self.turns, about).await;
        let begun_at = Instant::now();
        // All of them before the first gets it: one that has several of the ids gets it once. They
        // are no more than logins.
        let mut targets = Vec::new();
        while let Some(ids) = parts.next().await? {
            for some in ids.chunks(SLICE) {
                self.router.add_targets(some, &mut targets);
                tokio::task::yield_now().await;
            }
        }
        let mut fan_out = self.router.fan_out_to(about, targets);
        loop {
            if let Some(n_reached) = fan_out.step(&self.router, &message) {
                self.durations.observe(begun_at.elapsed().as_secs_f64());
                return Ok((n_reached, parts));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends to many connections, letting others in after every slice.
    async fn fan_out(self, id: Id, message: Message) -> u64 {
        let _turn = Turns::take(self.turns, id).await;
        let begun_at = Instant::now();
        let mut fan_out = self.router.fan_out(id);
        loop {
            if let Some(n_reached) = fan_out.step(&self.router, &message) {
                self.durations.observe(begun_at.elapsed().as_secs_f64());
                return n_reached;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Ids that come in parts.
pub(crate) trait Parts {
    /// Why no more come.
    type Error;

    /// The next part; `None` behind the last one.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<Id>>, Self::Error>> + Send;
}

/// The ids that have a fan-out on its way or waiting, each with a fair lock.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<Id, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until it is the caller's turn to send to `id`: first come, first served.
    async fn take(turns: Arc<Self>, id: Id) -> Turn {
        let lock = turns.of(id);
        let guard = lock.lock_owned().await;
        Turn { turns, id, guard: Some(guard) }
    }

    /// The turn to send to `id`, if nobody has it or waits for it.
    fn try_take(turns: &Arc<Self>, id: Id) -> Option<Turn> {
        let mut locks = turns.0.lock();
        let Entry::Vacant(vacant) = locks.entry(id) else { return None };
        let lock = Arc::clone(vacant.insert(Arc::default()));
        let guard = lock.try_lock_owned().expect("nobody else has a new lock");
        Some(Turn { turns: Arc::clone(turns), id, guard: Some(guard) })
    }

    /// The lock of an id.
    fn of(&self, id: Id) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock();
        Arc::clone(locks.entry(id).or_default())
    }
}

/// The right to fan out to an id, until it is dropped.
struct Turn {
    /// Where it is from.
    turns: Arc<Turns>,
    /// Whose it is.
    id: Id,
    /// The held lock.
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = self.turns.0.lock();
        // Locks are handed out under `locks` only, so one that nobody else has stays so.
        if locks.get(&self.id).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_taken_at_once_only_if_nobody_has_it() {
        let turns = Arc::new(Turns::default());
        let first = Turns::try_take(&turns, 7).unwrap();
        assert!(Turns::try_take(&turns, 7).is_none());
        assert!(Turns::try_take(&turns, 8).is_some());
        drop(first);
        let waited_for = Turns::take(Arc::clone(&turns), 7).await;
        assert!(Turns::try_take(&turns, 7).is_none());
        drop(waited_for);
        assert!(turns.0.lock().is_empty());
    }

    #[tokio::test]
    async fn turns_are_first_come_first_served_and_leave_nothing_behind() {
        let turns = Arc::new(Turns::default());
        let first = Turns::take(Arc::clone(&turns), 7).await;
        let other = Turns::take(Arc::clone(&turns), 8).await;
        let (report, mut reported) = tokio::sync::mpsc::channel(4);
        for number in 1..=3 {
            let (turns, report) = (Arc::clone(&turns), report.clone());
            tokio::spawn(async move {
                let _turn = Turns::take(turns, 7).await;
                report.send(number).await.unwrap();
            });
            tokio::task::yield_now().await;
        }
        assert!(reported.try_recv().is_err(), "nobody goes before the first is done");
        drop(first);
        for number in 1..=3 {
            assert_eq!(reported.recv().await, Some(number));
        }
        drop(other);
        while !turns.0.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
