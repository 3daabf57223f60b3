//! Waking up on time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer to wait for together with the sockets.
///
/// An epoll timeout is in whole milliseconds, which at 1,000 connects a second is a whole connect.
/// It is registered edge-triggered, so that it never has to be read.
#[derive(Debug)]
pub(super) struct Alarm {
    /// The timer.
    timer: OwnedFd,
    /// When it goes off, or went off.
    set_for: Option<Instant>,
}

impl Alarm {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer, set_for: None })
    }

    /// Sets the timer to go off at `at`, at once if that is past.
    pub(super) fn set(&mut self, at: Instant) -> io::Result<()> {
        if self.set_for == Some(at) {
            return Ok(());
        }
        // A delay of zero would switch the timer off.
        let delay = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(delay).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.set_for = Some(at);
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
