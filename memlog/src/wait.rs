//! Waiting for the next due time, for marks, and for the end.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
    /// The run is told to end.
    Stop,
}

/// Signals and marks.
#[derive(Debug)]
pub struct Waiter {
    /// Readable after a signal.
    woken: UnixStream,
    /// Set by SIGINT and SIGTERM.
    is_stopped: Arc<AtomicBool>,
    /// Set by SIGUSR1.
    is_signalled: Arc<AtomicBool>,
    /// Marks set by a signal so far: they have no other name.
    n_signalled: u64,
    /// Where marks arrive.
    marks: UnixDatagram,
}

impl Waiter {
    /// Takes over the signals, and takes marks under `mark_name`. A second SIGINT or SIGTERM ends
    /// the process at once, with the exit code `at_once`.
    pub fn new(mark_name: &str, at_once: u8) -> io::Result<Self> {
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
        let marks = bind(mark_name)?;
        Ok(Self { woken, is_stopped, is_signalled, n_signalled: 0, marks })
    }

    /// Waits until it is `due` by the uptime of `clock`, or for what comes before it.
    pub fn until(&mut self, due: Duration, clock: &mut dyn FnMut() -> Now) -> io::Result<Wake> {
        loop {
            drain(&self.woken);
            if self.is_signalled.swap(false, Ordering::SeqCst) {
                self.n_signalled += 1;
                return Ok(Wake::Mark(format!("mark {}", self.n_signalled)));
            }
            if let Some(text) = self.take_mark() {
                return Ok(Wake::Mark(text));
            }
            if self.is_stopped.load(Ordering::SeqCst) {
                return Ok(Wake::Stop);
            }
            let left = due.saturating_sub(clock().uptime);
            if left.is_zero() {
                return Ok(Wake::Due);
            }
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let mut ready =
                [PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&self.marks, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A mark that has arrived.
    fn take_mark(&self) -> Option<String> {
        let mut bytes = [0; LONGEST_MARK_BYTES];
        let n_bytes = self.marks.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..n_bytes]).into_owned())
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
