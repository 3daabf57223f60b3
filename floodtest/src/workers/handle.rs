//! One worker process, as its parent sees it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::orders::Order;
use super::wire::{ASK, Said};
use crate::config::Config;
use crate::end::End;
use crate::error::Error;
use crate::job::Job;
use crate::reason::Reason;
use crate::slow_end::SlowEnd;
use crate::tally::Tally;
use crate::worst::Worst;

/// How long a worker may take to start. It takes milliseconds; reached only when the machine is
/// so short of something that the run makes no sense.
const START_TIME: Duration = Duration::from_secs(30);

/// Bytes taken at once from a worker.
const RECEIVE_BYTES: usize = 64 * 1024;

/// How a worker is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It works.
    Running,
    /// It has come to its end and said so.
    Done(End),
    /// It is gone without a word.
    Died,
}

/// One worker process.
#[derive(Debug)]
pub(super) struct Handle {
    /// How it is.
    pub(super) state: State,
    /// Its latest counts.
    pub(super) tally: Tally,
    /// How often it had been asked for them.
    pub(super) n_answered: u64,
    /// Its connections with the most faults, once it has ended.
    pub(super) worst: Vec<Worst>,
    /// What became of its slow readers, likewise.
    pub(super) slow: Vec<SlowEnd>,
    /// Which one it is, from 1 on.
    number: u16,
    /// The number in the run of its first connection.
    first: u64,
    /// Whether it has said that it will not open a connection of a new place any more.
    is_settled: bool,
    /// The process.
    child: Child,
    /// The way to it.
    stream: UnixStream,
    /// What it has said of a line that is not finished.
    received: Vec<u8>,
    /// What is to be said of its death.
    death_notice: Option<String>,
}

impl Handle {
    /// Starts a process and gives it its share of `job`.
    pub(super) fn start(config: &Config, job: &Job) -> Result<Self, Error> {
        let number = u16::try_from(job.share.index + 1).expect("there are at most 256");
        let cannot = |source| Error::CannotStart { number, source };
        let (stream, theirs) = UnixStream::pair().map_err(cannot)?;
        let mut command = Command::new(&config.worker);
        command.arg("worker").arg(&config.urls);
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        // Out of the terminal's reach: Ctrl-C is for the parent, which then asks for last counts.
        let child = command.process_group(0).spawn().map_err(cannot)?;
        let handle = Self {
            state: State::Running,
            tally: Tally::default(),
            n_answered: 0,
            worst: Vec::new(),
            slow: Vec::new(),
            number,
            first: job.share.number(0),
            is_settled: false,
            child,
            stream,
            received: Vec::new(),
            death_notice: None,
        };
        let mut line = serde_json::to_vec(job).map_err(io::Error::from).map_err(cannot)?;
        line.push(b'\n');
        (&handle.stream).write_all(&line).map_err(cannot)?;
        Ok(handle)
    }

    /// Waits until it knows its job.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), Error> {
        let number = self.number;
        let cannot = |source| Error::CannotStart { number, source };
        self.stream.set_read_timeout(Some(START_TIME)).map_err(cannot)?;
        let mut line = String::new();
        // It says nothing more before it is told to begin.
        BufReader::new(&self.stream).read_line(&mut line).map_err(cannot)?;
        self.stream.set_nonblocking(true).map_err(cannot)?;
        match serde_json::from_str(&line) {
            Ok(Said::<Tally>::Ready) => Ok(()),
            Ok(Said::Failed(why)) => Err(Error::Worker(why)),
            _ => {
                self.reap();
                let why = self.death_notice.take().unwrap_or_default();
                Err(cannot(io::Error::other(why)))
            }
        }
    }

    /// Tells it when the run begins, by the monotonic clock.
    pub(super) fn begin(&mut self, start_us: i64) -> Result<(), Error> {
        let number = self.number;
        let sent = (&self.stream).write_all(Order::start(start_us).as_bytes());
        sent.map_err(|source| Error::CannotStart { number, source })
    }

    /// Its process number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it works.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether it will not open any connection any more.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_running() || self.is_settled
    }

    /// Asks for its counts.
    pub(super) fn ask(&mut self) {
        // One that does not read, or is gone, is found out about by what it does not say.
        let _ = (&self.stream).write(&[ASK]);
    }

    /// Asks it to end.
    pub(super) fn stop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Takes in what it has said; whether that was more than an answer.
    pub(super) fn listen(&mut self) -> Result<bool, Error> {
        let start = self.received.len();
        self.received.resize(start + RECEIVE_BYTES, 0);
        let received = (&self.stream).read(&mut self.received[start..]);
        self.received.truncate(start + received.as_ref().copied().unwrap_or(0));
        match received {
            Ok(0) => self.reap(),
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.kill(),
        }
        let mut has_news = self.state == State::Died;
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let said = serde_json::from_slice(&self.received[..end]);
            self.received.drain(..=end);
            has_news |= self.take_in(said)?;
        }
        Ok(has_news)
    }

    /// Takes in one thing that it has said; whether that was more than an answer.
    fn take_in(&mut self, said: serde_json::Result<Said<Tally>>) -> Result<bool, Error> {
        match said {
            Ok(Said::Counts { n_asked, is_settled, tally }) => {
                let is_answer = n_asked > self.n_answered;
                (self.n_answered, self.is_settled, self.tally) = (n_asked, is_settled, tally);
                Ok(!is_answer)
            }
            Ok(Said::Done { end, tally, worst, slow }) => {
                self.slow = slow;
                (self.state, self.tally, self.worst) = (State::Done(end), tally, worst);
                // It has nothing left to do but to go.
                let _ = self.child.wait();
                Ok(true)
            }
            Ok(Said::Failed(why)) => Err(Error::Worker(why)),
            Ok(Said::Ready) | Err(_) => {
                self.kill();
                Ok(true)
            }
        }
    }

    /// Ends it by force.
    pub(super) fn kill(&mut self) {
        if self.is_running() {
            // Until it is waited for, its process number belongs to nobody else.
            let _ = self.child.kill();
            self.reap();
        }
    }

    /// Waits until it is gone, and counts its connections as closed. Its stream has ended, which
    /// only its end does, or it was killed.
    fn reap(&mut self) {
        let pid = self.child.id();
        let status = self.child.wait();
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let n_open = self.tally.connected;
        self.death_notice = Some(format!(
            "worker {} (pid {pid}) died: {how}; its {n_open} open connections count as closed",
            self.number
        ));
        self.state = State::Died;
        self.tally.abandon(Reason::WorkerDied(self.number), self.first);
    }

    /// What is to be said of its death, once.
    pub(super) fn death_notice(&mut self) -> Option<String> {
        self.death_notice.take()
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A run that is abandoned leaves no process behind.
impl Drop for Handle {
    fn drop(&mut self) {
        self.kill();
    }
}
