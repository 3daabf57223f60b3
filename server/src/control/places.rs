//! Who has a place at the control door, and who goes when all are taken or time is up. No sockets.
//!
//! A connection is *proven* once it has made a valid request, with the token if there is one. Some
//! places are never taken by proven connections: whoever comes gets one of them at once, if need be
//! that of the connection that has been unproven for longest. So strangers cannot keep a sender
//! from being heard.

use crate::sync::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::counts::ControlCounts;

/// How long a request body may bring nothing, and answers may not be taken: longer than a network
/// takes to recover from a lost packet or a sleeping phone.
pub(crate) const STALL_TIME: Duration = Duration::from_secs(30);

/// How long a connection that was told to leave may take to read why.
pub(crate) const LEAVE_TIME: Duration = Duration::from_secs(2);

/// How long a proven connection is idle before it may lose its place to another: one that sends
/// once a second or more often is in use, and to close it would leave its next message in doubt.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// One place in so many is for newcomers.
const NEWCOMERS_ONE_IN: usize = 10;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing: it may send a request.
    Idle,
    /// Sending the head of a request.
    Head,
    /// Sending the body of a request.
    Body,
    /// Taking answers.
    Answers,
    /// Reading the last answer, after which it should close.
    Leaving,
    /// Waiting for what it has asked for.
    Busy,
}

impl Phase {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] =
        [Self::Idle, Self::Head, Self::Body, Self::Answers, Self::Leaving, Self::Busy];

    /// Bits that hold a phase.
    const BITS: u32 = 3;
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Notice {
    /// The head of its request was not complete in time.
    HeadTimeout = 1,
    /// Its body brought nothing for too long, or it did not take its answers.
    Stalled,
    /// Another connection needs the place.
    Evicted,
    /// The server is at its end.
    Shutdown,
}

/// The place of one connection, as the connection sees it.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Which one it is.
    number: u64,
    /// Its phase, and since when, in milliseconds of [`Places`]' clock.
    pulse: AtomicU64,
    /// What it is told, as a number; 0 for nothing.
    notice: AtomicU8,
    /// Wakes it when it is told something.
    waker: Mutex<Option<Waker>>,
}

impl Seat {
    /// What it was told, if anything.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let all = [Notice::HeadTimeout, Notice::Stalled, Notice::Evicted, Notice::Shutdown];
        let number = self.notice.load(Ordering::Acquire);
        all.into_iter().find(|&notice| notice as u8 == number)
    }

    /// What it was told; if nothing, `waker` is woken when it is.
    pub(crate) fn listen(&self, waker: &Waker) -> Option<Notice> {
        let mut its = self.waker();
        if !its.as_ref().is_some_and(|its| its.will_wake(waker)) {
            *its = Some(waker.clone());
        }
        drop(its);
        self.notice()
    }

    /// Tells it something, and wakes it.
    fn notify(&self, notice: Notice) {
        self.notice.store(notice as u8, Ordering::Release);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    /// What it is doing, and since when.
    fn pulse(&self) -> (Phase, u64) {
        let pulse = self.pulse.load(Ordering::Relaxed);
        let number = pulse & ((1 << Phase::BITS) - 1);
        let phase = Phase::ALL.into_iter().find(|&phase| u64::from(phase as u8) == number);
        (phase.expect("only phases are stored"), pulse >> Phase::BITS)
    }

    /// The waker.
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock()
    }
}

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    /// Connections that may be there, but for one that waits for another to leave.
    n_at_a_time: usize,
    /// Proven ones among them.
    n_for_proven: usize,
    /// How long the head of a request may take, in milliseconds.
    head_ms: u64,
    /// When the clock began.
    started_at: Instant,
    /// The clock: milliseconds, set at every sweep. A request costs no look at a real one.
    now_ms: AtomicU64,
    /// Who is there.
    table: Mutex<Table>,
    /// Where ends are counted.
    counts: Arc<ControlCounts>,
}

/// Who is there.
#[derive(Debug, Default)]
struct Table {
    /// The connections, in the order in which they came.
    taken: BTreeMap<u64, Taken>,
    /// The number of the next one.
    next_number: u64,
    /// How many of them are proven.
    n_proven: usize,
}

/// A place that is taken.
#[derive(Debug)]
struct Taken {
    /// What its connection sees of it.
    seat: Arc<Seat>,
    /// When it was accepted, in milliseconds of the clock.
    since_ms: u64,
    /// Whether it has made a valid request, with the token if there is one.
    is_proven: bool,
}

impl Places {
    /// For so many connections, each with so much time for a head.
    pub(crate) fn new(
        n_connections: usize,
        head_time: Duration,
        counts: Arc<ControlCounts>,
    ) -> Self {
        let n_at_a_time = n_connections.saturating_sub(1).max(1);
        let n_for_newcomers = (n_connections / NEWCOMERS_ONE_IN).max(1);
        Self {
            n_at_a_time,
            n_for_proven: n_at_a_time.saturating_sub(n_for_newcomers).max(1),
            head_ms: in_ms(head_time),
            started_at: Instant::now(),
            now_ms: AtomicU64::new(0),
            table: Mutex::default(),
            counts,
        }
    }

    /// How often to sweep: a twentieth of the time for a head is late enough.
    pub(crate) fn sweep_every(&self) -> Duration {
        Duration::from_millis((self.head_ms / 20).clamp(10, 250))
    }

    /// Whether one more may come.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().taken.len() <= self.n_at_a_time
    }

    /// How many are there.
    pub(crate) fn n_taken(&self) -> usize {
        self.lock().taken.len()
    }

    /// Gives a place to a new connection. If that makes too many, the one that has been unproven
    /// for longest is told to go.
    pub(crate) fn enter(&self) -> Arc<Seat> {
        let now_ms = self.tick();
        let mut table = self.lock();
        let number = table.next_number;
        table.next_number += 1;
        let pulse = AtomicU64::new(now_ms << Phase::BITS | Phase::Idle as u64);
        let (notice, waker) = (AtomicU8::new(0), Mutex::new(None));
        let seat = Arc::new(Seat { number, pulse, notice, waker });
        if table.taken.len() >= self.n_at_a_time {
            // Who is busy may have to wait for a broker, and leaves no room at once.
            let mut unproven = table.taken.values().filter(|taken| !taken.is_proven);
            let oldest = unproven
                .find(|taken| taken.seat.notice().is_none() && taken.seat.pulse().0 != Phase::Busy);
            if let Some(oldest) = oldest {
                self.counts.count_evicted();
                oldest.seat.notify(Notice::Evicted);
            }
        }
        let taken = Taken { seat: Arc::clone(&seat), since_ms: now_ms, is_proven: false };
        table.taken.insert(number, taken);
        seat
    }

    /// Takes note that a connection has made a valid request. Returns whether it may stay: where
    /// all places for such connections are taken, the one that has been idle for longest goes, if
    /// one has been for a while.
    pub(crate) fn prove(&self, seat: &Seat) -> bool {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let mut table = self.lock();
        if table.n_proven >= self.n_for_proven {
            let idle = table.taken.values_mut().filter_map(|taken| {
                let (phase, since_ms) = taken.seat.pulse();
                let is_old = now_ms.saturating_sub(since_ms) >= in_ms(IDLE_TIME);
                (taken.is_proven && phase == Phase::Idle && is_old).then_some((since_ms, taken))
            });
            let Some((_, taken)) = idle.min_by_key(|&(since_ms, _)| since_ms) else { return false };
            taken.is_proven = false;
            self.counts.count_evicted();
            taken.seat.notify(Notice::Evicted);
            table.n_proven -= 1;
        }
        table.n_proven += 1;
        let taken = table.taken.get_mut(&seat.number).expect("who proves itself has a place");
        taken.is_proven = true;
        true
    }

    /// Takes note of what a connection does from now on.
    pub(crate) fn note(&self, seat: &Seat, phase: Phase) {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        seat.pulse.store(now_ms << Phase::BITS | phase as u64, Ordering::Relaxed);
    }

    /// The same, if it does something else than before.
    pub(crate) fn note_change(&self, seat: &Seat, phase: Phase) {
        if seat.pulse().0 != phase {
            self.note(seat, phase);
        }
    }

    /// Takes note that a connection is closed.
    pub(crate) fn leave(&self, seat: &Seat) {
        let mut table = self.lock();
        let taken = table.taken.remove(&seat.number).expect("who leaves has a place");
        table.n_proven -= usize::from(taken.is_proven);
    }

    /// Tells those to go whose time is up.
    pub(crate) fn sweep(&self) {
        let now_ms = self.tick();
        for taken in self.lock().taken.values() {
            if let Some(notice) = self.is_over(taken, now_ms)
                && taken.seat.notice().is_none_or(|notice| notice == Notice::Shutdown)
            {
                self.counts.count_timed_out();
                taken.seat.notify(notice);
            }
        }
    }

    /// Why the time of a connection is up, if it is.
    fn is_over(&self, taken: &Taken, now_ms: u64) -> Option<Notice> {
        let (phase, phase_since_ms) = taken.seat.pulse();
        let (notice, since_ms, time_ms) = match phase {
            // No timeout on a silent sender: closing an idle connection just as it is used again
            // makes a message that nobody knows the fate of.
            Phase::Idle if taken.is_proven => return None,
            Phase::Busy => return None,
            Phase::Head if taken.is_proven => (Notice::HeadTimeout, phase_since_ms, self.head_ms),
            Phase::Idle | Phase::Head => (Notice::HeadTimeout, taken.since_ms, self.head_ms),
            Phase::Body | Phase::Answers => (Notice::Stalled, phase_since_ms, in_ms(STALL_TIME)),
            Phase::Leaving => (Notice::Stalled, phase_since_ms, in_ms(LEAVE_TIME)),
        };
        (now_ms.saturating_sub(since_ms) >= time_ms).then_some(notice)
    }

    /// Tells everybody that the server is at its end.
    pub(crate) fn shut_down(&self) {
        for taken in self.lock().taken.values() {
            if taken.seat.notice().is_none() {
                taken.seat.notify(Notice::Shutdown);
            }
        }
    }

    /// Ends everybody, at the next wait.
    pub(crate) fn end(&self) {
        for taken in self.lock().taken.values() {
            taken.seat.notify(Notice::Evicted);
        }
    }

    /// Sets the clock, and returns what it shows.
    fn tick(&self) -> u64 {
        let now_ms = in_ms(self.started_at.elapsed());
        self.now_ms.store(now_ms, Ordering::Relaxed);
        now_ms
    }

    /// The table.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

/// Milliseconds. What lasts longer than a clock of 61 bits runs lasts for ever.
fn in_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(u64::MAX >> Phase::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(n: usize) -> Places {
        Places::new(n, Duration::from_secs(10), Arc::default())
    }

    #[test]
    fn the_oldest_unproven_goes_when_somebody_comes() {
        let places = places(5);
        let seats: Vec<_> = (0..4).map(|_| places.enter()).collect();
        assert!(places.prove(&seats[0]));
        assert!(places.has_room());
        let newcomer = places.enter();
        assert!(!places.has_room(), "until somebody has left");
        let notice: Vec<_> = seats.iter().map(|seat| seat.notice()).collect();
        assert_eq!(notice, [None, Some(Notice::Evicted), None, None]);
        places.leave(&seats[1]);
        assert!(places.has_room());
        assert!(places.prove(&newcomer));
    }

    #[test]
    fn a_proven_connection_goes_only_for_another_and_only_if_it_is_idle() {
        let places = places(5);
        let old: Vec<_> = (0..3).map(|_| places.enter()).collect();
        assert!(old.iter().all(|seat| places.prove(seat)));
        places.now_ms.store(3_000, Ordering::Relaxed);
        places.note(&old[0], Phase::Busy);
        places.note(&old[2], Phase::Idle);
        let newcomers: Vec<_> = (0..3).map(|_| places.enter()).collect();
        assert!(old.iter().all(|seat| seat.notice().is_none()), "strangers are no reason");
        // `enter` has set the clock by the real time.
        places.now_ms.store(3_500, Ordering::Relaxed);
        places.note(&newcomers[2], Phase::Busy);
        assert!(places.prove(&newcomers[2]));
        assert_eq!(old[1].notice(), Some(Notice::Evicted), "idle for longest");
        assert!(!places.prove(&newcomers[1]), "two are busy, the other one was until just now");
        assert_eq!((old[0].notice(), old[2].notice()), (None, None));
    }

    #[test]
    fn time_is_up_for_what_stands_still() {
        let places = places(10);
        let phases = [Phase::Idle, Phase::Head, Phase::Body, Phase::Answers, Phase::Leaving];
        let over = |is_proven, now_ms| {
            let seat = places.enter();
            let taken = Taken { seat, since_ms: 0, is_proven };
            let all = phases.into_iter().chain([Phase::Busy]).map(|phase| {
                taken.seat.pulse.store(1_000 << Phase::BITS | phase as u64, Ordering::Relaxed);
                places.is_over(&taken, now_ms)
            });
            all.collect::<Vec<_>>()
        };
        let (head, stalled) = (Some(Notice::HeadTimeout), Some(Notice::Stalled));
        assert_eq!(over(false, 10_000), [head, head, None, None, stalled, None]);
        assert_eq!(over(true, 10_000), [None, None, None, None, stalled, None]);
        assert_eq!(over(true, 31_000), [None, head, stalled, stalled, stalled, None]);
    }

    #[test]
    fn who_is_told_something_is_woken() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (places, flag) = (places(5), Arc::new(Flag(false.into())));
        let seat = places.enter();
        assert_eq!(seat.listen(&Arc::clone(&flag).into()), None);
        places.shut_down();
        assert!(flag.0.load(Ordering::Relaxed));
        assert_eq!(seat.notice(), Some(Notice::Shutdown));
    }
}
