//! A program that runs: listened to, told to end, and waited for.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use reports::run::Exit;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

/// Lines of a program's stderr that are shown when it fails.
const LAST_WORDS: usize = 10;

/// How long the last words of a server that has ended are waited for.
const LAST_WORDS_TIME: Duration = Duration::from_millis(500);

/// How long a program may take to end after it was told to. Closing a million sockets is a minute's
/// work for the kernel.
const END_TIME: Duration = Duration::from_mins(3);

/// A running program. Dropping it kills it, and what it has started.
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
    last_words: LastWords,
    /// Reads its stderr.
    listening: JoinHandle<()>,
}

/// The last lines that a program has said.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    /// Keeps a line, in the place of the oldest.
    pub(crate) fn keep(&self, line: String) {
        let mut kept = self.0.lock().expect("nobody panics with it");
        if kept.len() == LAST_WORDS {
            kept.pop_front();
        }
        kept.push_back(line);
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().expect("nobody panics with it");
        kept.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

impl Process {
    /// Starts the program `name` by `command`.
    pub(crate) fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let last_words = LastWords::default();
        let kept = last_words.clone();
        // Read to its end, whoever wants to know it: a full pipe would hold up the program.
        let listening = tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                kept.keep(line);
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

    /// Its processes: itself, those that it has started, and so on.
    pub(crate) fn pids(&self) -> Vec<u32> {
        tree_of(self.pid())
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
        Ok(self.exit_of(status, said))
    }

    /// How it ended.
    fn exit_of(&self, status: ExitStatus, said: String) -> Exit {
        let program = self.name.clone();
        Exit { program, code: status.code(), signal: status.signal(), said, ..Exit::default() }
    }

    /// Keeps what a server says on stdout with its last words.
    pub(crate) fn keep(&self, line: String) {
        self.last_words.keep(line);
    }

    /// Its last words, to be asked when it is in other hands.
    pub(crate) fn said(&self) -> LastWords {
        self.last_words.clone()
    }

    /// Follows a server to its end, whoever brings it about. What it says on stdout is read all the
    /// while: a full pipe would hold it up. Nothing is lost where this is given up and begun anew.
    pub(crate) async fn followed(&mut self) -> anyhow::Result<Exit> {
        loop {
            tokio::select! {
                line = self.lines.next_line() => match line {
                    Ok(Some(line)) => self.keep(line),
                    // It may close its stdout and live on.
                    _ => break,
                },
                status = self.child.wait() => return self.has_ended(status?).await,
            }
        }
        let status = self.child.wait().await?;
        self.has_ended(status).await
    }

    /// How a server ended. Processes that it has left behind go with it.
    async fn has_ended(&mut self, status: ExitStatus) -> anyhow::Result<Exit> {
        self.kill_group();
        // What it said last may still be on its way, and others may hold its stderr open.
        _ = tokio::time::timeout(LAST_WORDS_TIME, &mut self.listening).await;
        // A line that is given up is not lost.
        while let Ok(Ok(Some(line))) =
            tokio::time::timeout(LAST_WORDS_TIME, self.lines.next_line()).await
        {
            self.keep(line);
        }
        Ok(self.exit_of(status, self.last_words()))
    }

    /// Sends a signal to it and to all that it has started, wherever they are.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for pid in self.pids() {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // One may have ended just now.
            pid.map(|pid| kill_process(pid, signal));
        }
    }

    /// Kills whatever is left of its process group, which every program has for itself.
    fn kill_group(&self) {
        // There may be nobody left in it.
        _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// Whether the program has ended, or does within `time`.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.child.wait()).await.is_ok()
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
        self.last_words.text()
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

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended may have left its number to somebody else.
        if self.child.id().is_some() {
            self.kill_group();
        }
    }
}

/// The most processes of a tree that are looked for: more are no server.
const MOST_PROCESSES: usize = 10_000;

/// The process `root`, those that it has started, those that they have started, and so on.
pub(crate) fn tree_of(root: u32) -> Vec<u32> {
    let (mut pids, mut at) = (vec![root], 0);
    while at < pids.len() && pids.len() < MOST_PROCESSES {
        let pid = pids[at];
        // Any of its threads may have started them.
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    pids
}
