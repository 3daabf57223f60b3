//! The programs of a run: built once, started, listened to, and ended.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reports::run::Exit;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::child;

/// Lines of a program's stderr that are shown when it fails.
const LAST_WORDS: usize = 10;

/// How long a program may take to end after it was told to. Closing a million sockets is a minute's
/// work for the kernel.
const END_TIME: Duration = Duration::from_mins(3);

/// The paths of the built programs, by name.
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// Builds the programs named like their packages.
    pub(crate) async fn build(names: &[&str], profile: &str) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = child::command(Path::new(&cargo));
        command.args(["build", "--locked", "--bins", "--profile", profile]);
        command.args(["--message-format", "json-render-diagnostics"]);
        command.args(names.iter().flat_map(|name| ["--package", name]));
        let built = command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let built = built.output().await.context("cannot run cargo")?;
        ensure!(built.status.success(), "the programs cannot be built");
        let mut paths = BTreeMap::new();
        for line in built.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let message: serde_json::Value =
                serde_json::from_slice(line).context("cargo speaks no JSON")?;
            let name = message["target"]["name"].as_str();
            if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
                paths.insert(name.to_owned(), path.into());
            }
        }
        match names.iter().find(|&&name| !paths.contains_key(name)) {
            Some(missing) => bail!("cargo built no program named {missing}"),
            None => Ok(Self(paths)),
        }
    }

    /// A command that runs the program `name`, a built one or else one of the system. It is out of
    /// reach of the terminal's Ctrl-C: in which order programs end is for the rig to say.
    fn command(&self, name: &str) -> Command {
        let mut command =
            child::command(self.0.get(name).map_or(Path::new(name), PathBuf::as_path));
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs a program to its end; it must succeed.
    pub(crate) async fn run<A: AsRef<OsStr>>(&self, name: &str, args: &[A]) -> anyhow::Result<()> {
        let output = self.command(name).args(args).output().await;
        let output = output.with_context(|| format!("cannot start {name}"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} failed: {}", stderr.trim());
        Ok(())
    }

    /// Starts a program.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, name: &str, args: &[A]) -> anyhow::Result<Process> {
        let mut command = self.command(name);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let last_words = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&last_words);
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
        Ok(Process { name: name.to_owned(), child, pid, lines, last_words, listening })
    }
}

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
