//! Wakes every source when its next message is due.
//!
//! A runtime's own timers are too coarse for this: tokio's wheel turns once a millisecond, and a
//! load tool must not be later than what it measures. So there is one kernel timer, set to the
//! earliest due time on the monotonic clock, which the runtime watches like a socket: the wake-up
//! that it causes is the one in which the message is written.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// The alarms of all sources, and the stop of all of them.
#[derive(Debug)]
pub struct Timer {
    /// The kernel's timer.
    fd: AsyncFd<OwnedFd>,
    /// The sources that wait, the earliest first. A source is in here once for every time that it
    /// has set its alarm and that has not come.
    waiting: Mutex<BinaryHeap<Reverse<(Instant, usize)>>>,
    /// Wakes a source: at its time, and at the stop.
    alarms: Box<[Notify]>,
    /// Wakes everything else that waits for the stop.
    stopping: Notify,
    /// When nothing more was to be sent; not set before.
    stopped_at: OnceLock<Instant>,
}

impl Timer {
    /// Alarms for `n_sources`. Needs a runtime with its I/O driver on.
    #[expect(
        deprecated,
        reason = "the successor is an unsafe function, which asks that the descriptor be owned and \
                  stay the same: an OwnedFd's does"
    )]
    pub fn new(n_sources: usize) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            fd: AsyncFd::with_interest(fd, Interest::READABLE)?,
            waiting: Mutex::default(),
            alarms: (0..n_sources).map(|_| Notify::new()).collect(),
            stopping: Notify::new(),
            stopped_at: OnceLock::new(),
        })
    }

    /// Wakes sources when their times have come, for ever. One task is to run this.
    pub async fn run(&self) -> ! {
        loop {
            // Not read: setting it again forgets that it has expired, and the runtime is told of
            // every expiry by itself.
            self.fd.readable().await.expect("the runtime outlives its tasks").clear_ready();
            let mut waiting = self.waiting();
            let now = Instant::now();
            while let Some(Reverse((at, source))) = waiting.peek() {
                if *at > now {
                    self.set(*at - now);
                    break;
                }
                self.alarms[*source].notify_one();
                waiting.pop();
            }
        }
    }

    /// Sets an alarm for `source`.
    pub fn wake(&self, source: usize, at: Instant) {
        let mut waiting = self.waiting();
        let is_earliest = waiting.peek().is_none_or(|Reverse((earliest, _))| at < *earliest);
        waiting.push(Reverse((at, source)));
        if is_earliest {
            self.set(at.saturating_duration_since(Instant::now()));
        }
    }

    /// Wakes `source` now, for another reason than the time.
    pub fn nudge(&self, source: usize) {
        self.alarms[source].notify_one();
    }

    /// Waits until `source` is woken.
    pub async fn alarm(&self, source: usize) {
        self.alarms[source].notified().await;
    }

    /// Tells every source that nothing more is to be sent.
    pub fn stop(&self) {
        self.stopped_at.get_or_init(Instant::now);
        self.alarms.iter().for_each(Notify::notify_one);
        self.stopping.notify_waiters();
    }

    /// When nothing more was to be sent; none as long as something is.
    pub fn stopped_at(&self) -> Option<Instant> {
        self.stopped_at.get().copied()
    }

    /// Completes with the stop.
    pub async fn stopped(&self) {
        let stopping = self.stopping.notified();
        if self.stopped_at().is_none() {
            stopping.await;
        }
    }

    /// Sets the kernel's timer to go off in `time`.
    fn set(&self, time: Duration) {
        // A time of zero would switch it off.
        let time = time.max(Duration::from_nanos(1));
        let it_value =
            Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval, it_value };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &value)
            .expect("a timer takes any time");
    }

    /// Who waits, for one change.
    fn waiting(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(Instant, usize)>>> {
        self.waiting.lock().expect("nothing panics with it")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A timer for three sources that runs.
    fn running() -> Arc<Timer> {
        let timer = Arc::new(Timer::new(3).unwrap());
        let runner = Arc::clone(&timer);
        tokio::spawn(async move {
            runner.run().await;
        });
        timer
    }

    #[tokio::test]
    async fn alarms_go_off_in_their_order_and_not_before_their_time() {
        let timer = running();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        timer.wake(0, after(30));
        timer.wake(1, after(10));
        timer.wake(2, after(20));
        for (source, ms) in [(1, 10), (2, 20), (0, 30)] {
            timer.alarm(source).await;
            assert!(Instant::now() >= after(ms));
        }
        // A time that has passed comes at once, also when it is the only one.
        timer.wake(1, start);
        timer.alarm(1).await;
    }

    #[tokio::test]
    async fn a_stop_wakes_everybody_long_before_the_next_time() {
        let timer = running();
        timer.wake(1, Instant::now() + Duration::from_hours(1));
        assert_eq!(timer.stopped_at(), None);
        let stop = async { timer.stop() };
        tokio::join!(timer.stopped(), timer.alarm(0), timer.alarm(1), timer.alarm(2), stop);
        assert!(timer.stopped_at().is_some());
        timer.stopped().await;
    }
}
