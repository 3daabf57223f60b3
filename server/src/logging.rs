//! A log that never blocks: lines are queued, and a thread of its own writes them.
//!
//! Whoever reads the log may stop reading: a terminal after Ctrl-S, a pipe to a pager. A server
//! that wrote its lines itself would stand still then. Here they wait, up to a bound; what is
//! beyond it is dropped, counted, and said as soon as lines are taken again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of lines that may wait: four times what a pipe holds, and some 3,000 lines.
const QUEUE_BYTES: usize = 256 * 1024;

/// A log. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Shared>);

/// What those who log and the thread that writes share.
#[derive(Debug, Default)]
struct Shared {
    /// What is to be written.
    queue: Mutex<Queue>,
    /// Rings when there is something to be written, and when all is written.
    changed: Condvar,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Queue {
    /// Whole lines.
    bytes: Vec<u8>,
    /// Lines dropped since that was last said.
    n_dropped: u64,
    /// Whether the thread is writing.
    is_writing: bool,
    /// Whether nothing can be written any longer.
    is_closed: bool,
}

impl Log {
    /// Starts a log that is written to `out`.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self::default();
        let shared = Arc::clone(&log.0);
        // It is never joined: it may be stuck in a write for ever, and ends with the process.
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(out))?;
        Ok(log)
    }

    /// Queues a text of whole lines, or drops it if too many wait.
    pub fn say(&self, text: &[u8]) {
        let mut queue = self.0.lock();
        if queue.is_closed {
            return;
        }
        // A queue that drops goes on until the drops can be said: then the gap is in one place.
        if queue.n_dropped > 0 || queue.bytes.len() + text.len() > QUEUE_BYTES {
            queue.n_dropped += 1;
            return;
        }
        queue.bytes.extend_from_slice(text);
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, for this time at most. Returns whether it is.
    pub fn flush(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut queue = self.0.lock();
        while !queue.is_written() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// What writes one line: `tracing` asks for one for each.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    /// Whether nothing is left to be written.
    fn is_written(&self) -> bool {
        self.is_closed || self.bytes.is_empty() && self.n_dropped == 0 && !self.is_writing
    }
}

impl Shared {
    /// The queue. It is whole after every statement, so a panic of who held it does no harm; and a
    /// panic is just what has to be logged.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is queued, for ever, or until that fails.
    fn write_to(&self, mut out: impl Write) {
        let mut queue = self.lock();
        loop {
            while queue.bytes.is_empty() && queue.n_dropped == 0 {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let mut bytes = std::mem::take(&mut queue.bytes);
            let n_dropped = std::mem::take(&mut queue.n_dropped);
            queue.is_writing = true;
            drop(queue);
            if n_dropped > 0 {
                // Behind the lines that were queued: so it stands where the dropped ones would.
                _ = writeln!(bytes, "{n_dropped} lines of this log were dropped: nobody read it");
            }
            let written = out.write_all(&bytes).and_then(|()| out.flush());
            queue = self.lock();
            queue.is_writing = false;
            queue.is_closed = written.is_err();
            self.changed.notify_all();
            if queue.is_closed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// An output that takes a write when the test allows it.
    struct Gate(Receiver<()>, SyncSender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_are_not_taken_are_dropped_counted_and_said() {
        let (allow, allowed) = sync_channel(100);
        let (written, writes) = sync_channel(100);
        let log = Log::start(Gate(allowed, written)).unwrap();
        log.say(b"first\n");
        // Until the thread has taken it, and is stuck.
        testing::wait_until("the line is taken", || log.0.lock().bytes.is_empty());
        let line = [&[b'x'; 1_023][..], b"\n"].concat();
        for _ in 0..1_000 {
            log.say(&line);
        }
        assert!(!log.flush(Duration::ZERO));
        (0..3).for_each(|_| allow.send(()).unwrap());
        assert_eq!(writes.recv().unwrap(), b"first\n");
        let rest = String::from_utf8(writes.recv().unwrap()).unwrap();
        let n_kept = rest.matches('x').count() / 1_023;
        assert_eq!(n_kept, QUEUE_BYTES / 1_024);
        let n_dropped = 1_000 - n_kept;
        let said = format!("x\n{n_dropped} lines of this log were dropped: nobody read it\n");
        assert!(rest.ends_with(&said), "{}", &rest[rest.len() - 100..]);
        log.say(b"last\n");
        assert_eq!(writes.recv().unwrap(), b"last\n");
        assert!(log.flush(Duration::from_secs(20)));
    }

    #[test]
    fn an_output_that_is_gone_takes_nothing_and_holds_up_nobody() {
        let (_, allowed) = sync_channel(1);
        let (written, _) = sync_channel(1);
        let log = Log::start(Gate(allowed, written)).unwrap();
        log.say(b"x\n");
        assert!(log.flush(Duration::from_secs(20)), "nothing is left to wait for");
        log.say(b"y\n");
        assert!(log.0.lock().bytes.is_empty());
    }
}
