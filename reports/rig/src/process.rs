//! A program that runs: listened to, told to end, and waited for.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use reports::run::Exit;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

/// Lines of a program's stderr that are shown when it fails.
const LAST_WORDS: usize = 10;

/// How long a program may take to end after it was told to. Closing a million sockets is a minute's
/// work for the kernel.
const END_TIME: Duration = Duration::from_mins(3);

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    /// Its name.
    name: String,
    /// Its process.
    child: Child,
    /// Its process number.
    pid: Pid,
    /// What it says on stdout.
    lines: Lines<BufReader<ChildStdout>>,
    /// The end of what it said on stderr.
    last_words: Arc<Mutex<VecDeque<String>>>,
    /// Reads its stderr.
    listening: JoinHandle<()>,
}

impl Process {
    /// Starts the program `name` by `command`.
    pub(crate) fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let last_words = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&last_words);
        // Read to its end, whoever wants to know it: a full pipe would hold up the program.
        let listening = tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                let mut kept = kept.lock().expect("nobody panics with it");
                if kept.len() == LAST_WORDS {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.expect("a process that was just started has a pid");
        Ok(Self { name: name.to_owned(), child, pid, lines, last_words, listening })
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Names it otherwise: one of several that run the same program.
    pub(crate) fn called(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// Its processes: itself, and those that it has started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let own = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(own).chain(children).collect()
    }

    /// The next line of its stdout, or none when it has ended. Notes on lines that were not read in
    /// time, because the rig itself was stopped, are passed over.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            let line = self.lines.next_line().await;
            let line = line.with_context(|| format!("cannot read from {}", self.name))?;
            if line.as_ref().is_none_or(|line| !line.starts_with('#')) {
                return Ok(line);
            }
        }
    }

    /// The next line of its stdout; an error with its last words when it has ended instead.
    pub(crate) async fn next_line(&mut self) -> anyhow::Result<String> {
        match self.line().await? {
            Some(line) => Ok(line),
            None => Err(self.died().await),
        }
    }

    /// Waits until the program has ended, and says how it did.
    pub(crate) async fn exit(&mut self) -> anyhow::Result<Exit> {
        let status = self.ended().await?;
        let said = if status.success() { String::new() } else { self.last_words() };
        Ok(Exit { program: self.name.clone(), code: status.code(), signal: status.signal(), said })
    }

    /// Waits until the program has ended by itself.
    async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let status = tokio::time::timeout(END_TIME, self.child.wait()).await;
        let status = status.with_context(|| format!("{} does not end", self.name))??;
        // All that it said is there once its stderr is closed, which its end has done.
        _ = (&mut self.listening).await;
        Ok(status)
    }

    /// The last that it said on stderr.
    pub(crate) fn last_words(&self) -> String {
        let kept = self.last_words.lock().expect("nobody panics with it");
        kept.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// The error of a program that ended when it should not have.
    pub(crate) async fn died(&mut self) -> anyhow::Error {
        match self.ended().await {
            Ok(status) => {
                anyhow::anyhow!("{} ended early ({status}): {}", self.name, self.last_words())
            }
            Err(error) => error,
        }
    }
}

/// Waits until one of `processes` has ended though nobody told it to; its last words as an error.
pub(crate) async fn first_death(processes: &mut [Process]) -> anyhow::Error {
    let ended = poll_fn(|context| {
        for (at, process) in processes.iter_mut().enumerate() {
            loop {
                match pin!(process.line()).poll(context) {
                    Poll::Ready(Ok(Some(_said))) => {}
                    Poll::Ready(_) => return Poll::Ready(at),
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    });
    let ended = ended.await;
    processes[ended].died().await
}
