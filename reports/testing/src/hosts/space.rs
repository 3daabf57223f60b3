//! A process in namespaces of its own, and the namespaces as long as it lives.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces, which end with what runs in them when this is dropped, or when the process that has
/// it is gone, however it went: the shell that keeps them waits for the end of a pipe.
#[derive(Debug)]
pub(super) struct Space {
    /// `unshare`, which is in the namespaces itself, but for that of processes.
    child: Child,
    /// Whose end is the end of the shell.
    stdin: Option<ChildStdin>,
    /// What the shell says.
    stdout: BufReader<ChildStdout>,
}

impl Space {
    /// Makes the namespaces that `kinds` name, as flags of unshare, and runs `script` in them,
    /// line by line as [`Space::next`] goes. `None`: the kernel does not allow it.
    pub(super) fn make(kinds: &[&str], script: &str) -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(kinds).args(["--kill-child", "--fork", "sh", "-euc", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut space = Self { child, stdin, stdout };
        space.is_as_far_as("made").then_some(space)
    }

    /// Lets the script go on from its `read`, until it says `word`. False: it has ended instead.
    pub(super) fn next(&mut self, word: &str) -> bool {
        let stdin = self.stdin.as_mut().expect("it is there until the end");
        // One that has ended says so by its silence.
        let _ = stdin.write_all(b"\n");
        self.is_as_far_as(word)
    }

    /// Whether the script says `word` next.
    fn is_as_far_as(&mut self, word: &str) -> bool {
        let mut line = String::new();
        self.stdout.read_line(&mut line).is_ok_and(|_| line.trim_end() == word)
    }

    /// The process that names the namespaces.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The shell, which is process 1 where processes have a namespace of their own.
    pub(super) fn shell(&self) -> u32 {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children.trim().parse().expect("unshare has one child")
    }

    /// A program in the network of this space, and in nothing else of it.
    pub(super) fn command_in_network(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("--");
        command
    }

    /// Runs a command line in the network of this space: whether it succeeded, and what it said of
    /// why not.
    pub(super) fn ip(&self, line: &str) -> Result<(), String> {
        let output = self.command_in_network().args(["sh", "-ec", line]).output();
        let output = output.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("{line}: {said}")) }
    }

    /// Moves the thread that calls this into the network of this space, and with it the threads and
    /// processes that it starts.
    pub(super) fn enter_network(&self) {
        let network = File::open(format!("/proc/{}/ns/net", self.pid()));
        let network = network.expect("a space has a network as long as it is there");
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("who made a network may enter it");
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Whatever the shell waits for, its end is the end of all.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
