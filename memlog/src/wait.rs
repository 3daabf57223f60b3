//! Waiting for the next due time, for marks, and for the end.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::clock::Now;

/// The longest text of a mark that is taken, in bytes. A chart shows far less.
const LONGEST_MARK_BYTES: usize = 1024;

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Wake {
    /// A sample is due.
    Due,
    /// A phase begins.
    Mark(String),
    /// The run is told to end. This is said once.
    Stop,
    /// There is something to read where it was asked for.
    Input,
}

/// Who knows what comes next in a run.
pub trait Wait {
    /// Waits until it is `due` by the uptime of `clock`, or for what comes before it.
    fn until(&mut self, due: Duration, clock: &mut dyn FnMut() -> Now) -> io::Result<Wake>;
}

/// Signals and marks.
#[derive(Debug)]
pub struct Waiter {
    /// Readable after a signal.
    woken: UnixStream,
    /// Set by SIGINT and SIGTERM.
    is_stopped: Arc<AtomicBool>,
    /// Whether that was said.
    is_stop_said: bool,
    /// Set by SIGUSR1.
    is_signalled: Arc<AtomicBool>,
    /// Marks set by a signal so far: they have no other name.
    n_signalled: u64,
    /// Where marks arrive, if anybody may send some.
    marks: Option<UnixDatagram>,
}

impl Waiter {
    /// Takes over the signals, and takes marks under `mark_name`, if there is one. A second SIGINT or SIGTERM ends
    /// the process at once, with the exit code `at_once`.
    pub fn new(mark_name: Option<&str>, at_once: u8) -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let is_signalled = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, then sets it, then wakes.
            let told = Arc::clone(&is_stopped);
            signal_hook::flag::register_conditional_shutdown(number, i32::from(at_once), told)?;
            signal_hook::flag::register(number, Arc::clone(&is_stopped))?;
            signal_hook::low_level::pipe::register(number, waker.try_clone()?)?;
        }
        signal_hook::flag::register(SIGUSR1, Arc::clone(&is_signalled))?;
        signal_hook::low_level::pipe::register(SIGUSR1, waker)?;
        let marks = mark_name.map(bind).transpose()?;
        let (is_stop_said, n_signalled) = (false, 0);
        Ok(Self { woken, is_stopped, is_stop_said, is_signalled, n_signalled, marks })
    }

    /// Takes marks from now on, under `mark_name`.
    pub fn take_marks(&mut self, mark_name: &str) -> io::Result<()> {
        self.marks = Some(bind(mark_name)?);
        Ok(())
    }

    /// Waits until it is `due` by the uptime of `clock`, or for what comes before it, which may be
    /// something to read in `input`.
    pub fn until_input(
        &mut self,
        due: Duration,
        clock: &mut dyn FnMut() -> Now,
        input: Option<BorrowedFd<'_>>,
    ) -> io::Result<Wake> {
        loop {
            drain(&self.woken);
            if self.is_signalled.swap(false, Ordering::SeqCst) {
                self.n_signalled += 1;
                return Ok(Wake::Mark(format!("mark {}", self.n_signalled)));
            }
            if let Some(text) = self.take_mark() {
                return Ok(Wake::Mark(text));
            }
            if self.is_stopped.load(Ordering::SeqCst) && !self.is_stop_said {
                self.is_stop_said = true;
                return Ok(Wake::Stop);
            }
            let left = due.saturating_sub(clock().uptime);
            if left.is_zero() && input.is_none() {
                return Ok(Wake::Due);
            }
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let mut ready = vec![PollFd::new(&self.woken, PollFlags::IN)];
            ready.extend(input.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            ready.extend(self.marks.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            match poll(&mut ready, Some(&timeout)) {
                Ok(_) if input.is_some() && !ready[1].revents().is_empty() => {
                    return Ok(Wake::Input);
                }
                // Nothing that has come already is later than what is due.
                Ok(_) if left.is_zero() => return Ok(Wake::Due),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A mark that has arrived.
    fn take_mark(&self) -> Option<String> {
        let mut bytes = [0; LONGEST_MARK_BYTES];
        let n_bytes = self.marks.as_ref()?.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..n_bytes]).into_owned())
    }
}

impl Wait for Waiter {
    fn until(&mut self, due: Duration, clock: &mut dyn FnMut() -> Now) -> io::Result<Wake> {
        self.until_input(due, clock, None)
    }
}

/// Sends the mark `text` to the memlog that takes them under `mark_name`.
pub fn send_mark(mark_name: &str, text: &str) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(mark_name)?;
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

/// A socket that takes marks under `mark_name`.
fn bind(mark_name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(mark_name)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Reads what signals have written; their flags say which ones they were.
fn drain(mut woken: &UnixStream) {
    let mut bytes = [0; 64];
    while io::Read::read(&mut woken, &mut bytes).is_ok_and(|n_bytes| n_bytes > 0) {}
}
