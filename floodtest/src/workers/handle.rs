//! One worker process of this machine, as its parent sees it.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::counted::{Counted, State, Word};
use super::lines::Lines;
use super::link::Link;
use super::orders::Order;
use super::wire::{ASK, SaidWhole};
use crate::config::Config;
use crate::error::Error;
use crate::job::Job;

/// How long a worker may take to start. It takes milliseconds; reached only when the machine is
/// so short of something that the run makes no sense.
const START_TIME: Duration = Duration::from_secs(30);

/// One worker process.
#[derive(Debug)]
pub(super) struct Handle {
    /// What it has said.
    counted: Counted,
    /// The process.
    child: Child,
    /// The way to it.
    stream: UnixStream,
    /// What it has said of a line that is not finished.
    received: Lines,
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
            counted: Counted::new(number, job.share.number(0)),
            child,
            stream,
            received: Lines::default(),
            death_notice: None,
        };
        let mut line = serde_json::to_vec(job).map_err(io::Error::from).map_err(cannot)?;
        line.push(b'\n');
        (&handle.stream).write_all(&line).map_err(cannot)?;
        Ok(handle)
    }

    /// Waits until it knows its job.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), Error> {
        let number = self.counted.number;
        let cannot = |source| Error::CannotStart { number, source };
        self.stream.set_read_timeout(Some(START_TIME)).map_err(cannot)?;
        let mut line = String::new();
        // It says nothing more before it is told to begin.
        BufReader::new(&self.stream).read_line(&mut line).map_err(cannot)?;
        self.stream.set_nonblocking(true).map_err(cannot)?;
        match serde_json::from_str(&line) {
            Ok(SaidWhole::Ready) => Ok(()),
            Ok(SaidWhole::Failed(why)) => Err(Error::Worker(why)),
            _ => {
                self.reap();
                let why = self.death_notice.take().unwrap_or_default();
                Err(cannot(io::Error::other(why)))
            }
        }
    }

    /// Its process number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is gone, and counts its connections as closed. Its stream has ended, which
    /// only its end does, or it was killed.
    fn reap(&mut self) {
        let (pid, number) = (self.child.id(), self.counted.number);
        let status = self.child.wait();
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let n_open = self.counted.tally.connected;
        self.death_notice = Some(format!(
            "worker {number} (pid {pid}) died: {how}; its {n_open} open connections count as closed"
        ));
        self.counted.has_died();
    }
}

impl Link for Handle {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn counted(&self) -> &[Counted] {
        std::slice::from_ref(&self.counted)
    }

    fn counted_mut(&mut self) -> &mut [Counted] {
        std::slice::from_mut(&mut self.counted)
    }

    fn is_open(&self) -> bool {
        self.counted.is_running()
    }

    fn begin(&mut self, start_us: i64) -> Result<(), Error> {
        let number = self.counted.number;
        let sent = (&self.stream).write_all(Order::start(start_us).as_bytes());
        sent.map_err(|source| Error::CannotStart { number, source })
    }

    fn ask(&mut self) {
        // One that does not read, or is gone, is found out about by what it does not say.
        let _ = (&self.stream).write(&[ASK]);
    }

    fn stop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn listen(&mut self) -> Result<bool, Error> {
        match self.received.fill(&self.stream) {
            Ok(true) => {}
            Ok(false) => self.reap(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.kill(),
        }
        let mut has_news = self.counted.state == State::Gone;
        while let Some(line) = self.received.next()? {
            match self.counted.take_in(&line)? {
                Word::Answer => {}
                Word::News => has_news = true,
                Word::Last => {
                    // It has nothing left to do but to go.
                    let _ = self.child.wait();
                    has_news = true;
                }
                Word::Ready | Word::Nonsense => {
                    self.kill();
                    has_news = true;
                }
            }
        }
        Ok(has_news)
    }

    fn kill(&mut self) {
        if self.counted.is_running() {
            // Until it is waited for, its process number belongs to nobody else.
            let _ = self.child.kill();
            self.reap();
        }
    }

    fn notices(&mut self) -> Vec<String> {
        self.death_notice.take().into_iter().collect()
    }
}

/// A run that is abandoned leaves no process behind.
impl Drop for Handle {
    fn drop(&mut self) {
        self.kill();
    }
}
