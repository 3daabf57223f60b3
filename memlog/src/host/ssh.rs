//! The ssh between two memlogs, and why it ended.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::host::fault::Fault;
use crate::host::wire::{Order, clean};
use reports::remote::RemoteHost;

/// How long ssh may take to end, and to say why, once its pipes have ended. It is killed then.
const END_TIME: Duration = Duration::from_secs(1);

/// Bytes that are kept of what ssh says, from the beginning: more than it has to say of a failure.
const MOST_SAID_BYTES: usize = 16 * 1024;

/// What ssh exits with when it is ssh that failed.
const OF_SSH: i32 = 255;

/// What a shell exits with when there is no such program.
const NO_PROGRAM: i32 = 127;

/// A running ssh.
#[derive(Debug)]
pub(super) struct Ssh {
    /// The host.
    host: RemoteHost,
    /// The process.
    child: Child,
    /// Where orders go.
    stdin: ChildStdin,
    /// Where answers come from.
    stdout: ChildStdout,
    /// What it says for people.
    said: Arc<Mutex<Vec<u8>>>,
    /// Hears of the end of that.
    all_said: Receiver<()>,
}

/// How an ssh ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its status; `None`: it had to be killed.
    status: Option<ExitStatus>,
    /// What it said, in lines.
    said: Vec<String>,
}

impl Ssh {
    /// Starts memlog on `host`.
    pub(super) fn start(host: &RemoteHost) -> Result<Self, Fault> {
        let no_ssh = || Fault::NoSsh { host: host.clone() };
        // A shell would say it as it says that there is no memlog on the host.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let has_ssh = std::env::split_paths(&path).any(|folder| folder.join("ssh").is_file());
        if !has_ssh {
            return Err(no_ssh());
        }
        // Ctrl-C goes to all programs of a terminal. memlog ends the run then, and ssh has to bring
        // its last line; it leaves alone what it finds ignored. It stays in the same group, so that
        // it can ask for a password.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' INT; exec ssh \"$@\"", "ssh", "-T"]);
        command.args(host.port.map(|port| format!("-p{port}")));
        command.args(["--", &host.destination, "memlog", "worker", "--stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|_| no_ssh())?;
        let stdin = child.stdin.take().expect("it is a pipe");
        let stdout = child.stdout.take().expect("it is a pipe");
        let stderr = child.stderr.take().expect("it is a pipe");
        // An ssh that does not read must not hold up the log.
        let flags =
            fcntl_getfl(&stdin).and_then(|flags| fcntl_setfl(&stdin, flags | OFlags::NONBLOCK));
        debug_assert!(flags.is_ok(), "a pipe can be told not to wait");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (tell, all_said) = sync_channel(1);
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            listen(stderr, &heard);
            // Whoever waits for it does so for a while only.
            let _ = tell.try_send(());
        });
        Ok(Self { host: host.clone(), child, stdin, stdout, said, all_said })
    }

    /// Says something to the host. What ssh does not take is lost, as ssh is then.
    pub(super) fn say(&mut self, order: &Order) {
        let _ = self.stdin.write_all(format!("{}\n", order.line()).as_bytes());
    }

    /// Ends it, if it does not end by itself; how it did.
    pub(super) fn end(mut self) -> Ended {
        let timeout = Timespec::try_from(END_TIME).expect("a second is a time");
        // Until it is waited for its number is its own.
        if let Ok(pidfd) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
        }
        let status = self.child.try_wait().ok().flatten();
        if status.is_none() {
            let _ = self.child.kill();
        }
        // A connection that ssh shares with others may go on, with the same stderr.
        let _ = self.all_said.recv_timeout(END_TIME);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).into_owned();
        let said = said.lines().map(|line| clean(line).trim().to_owned());
        Ended { status, said: said.filter(|line| !line.is_empty()).collect() }
    }

    /// Why memlog there never spoke. `printed` is the first line of what came instead, if any did.
    pub(super) fn never_spoke(self, printed: &str) -> Fault {
        let host = self.host.clone();
        let ended = self.end();
        let code = ended.status.and_then(|status| status.code());
        let is_of_memlog = ended.said.iter().any(|line| line.starts_with("memlog: "));
        match code {
            Some(NO_PROGRAM) => Fault::NoProgram { copy: copy(&host), host },
            Some(OF_SSH) => {
                let said = ended.last_said().unwrap_or_else(|| "ssh does not say why".to_owned());
                Fault::Unreachable { host, said }
            }
            // One that does not know what it is to be.
            Some(2) if is_of_memlog => other_version(host, "another version".to_owned()),
            _ if printed.is_empty() => Fault::Silent { host, how: ended.how() },
            _ => {
                let how = format!("{}, and \"{printed}\" was printed", ended.how());
                Fault::Silent { host, how }
            }
        }
    }
}

/// Where answers come from.
impl AsFd for Ssh {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }
}

/// Nothing is left of one that nobody waited for.
impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// How it ended, in a few words.
    pub(super) fn how(&self) -> String {
        let said =
            self.last_said().map(|said| format!(", and said \"{said}\"")).unwrap_or_default();
        match self.status {
            None => format!("ssh did not end{said}"),
            Some(status) => match status.code() {
                // With a connection that is still there it means that memlog had no time to exit.
                Some(OF_SSH) if said.is_empty() => "memlog there was killed".to_owned(),
                Some(OF_SSH) => format!("ssh has ended{said}"),
                Some(code) => format!("memlog there ended with exit code {code}{said}"),
                None => format!("ssh was ended by a signal{said}"),
            },
        }
    }

    /// What it said last.
    fn last_said(&self) -> Option<String> {
        self.said.last().cloned()
    }
}

/// The fault that memlog on `host` is `theirs`, which is not the version here.
pub(super) fn other_version(host: RemoteHost, theirs: String) -> Fault {
    Fault::OtherVersion { copy: copy(&host), theirs, ours: about::version(), host }
}

/// The command that brings this memlog to a host.
fn copy(host: &RemoteHost) -> String {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().unwrap_or(Path::new("memlog")).display().to_string();
    host.copy(&own)
}

/// Keeps what comes from `stderr` until it ends.
fn listen(mut stderr: ChildStderr, said: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 1024];
    while let Ok(n @ 1..) = stderr.read(&mut bytes) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let n_kept = n.min(MOST_SAID_BYTES.saturating_sub(said.len()));
        said.extend_from_slice(&bytes[..n_kept]);
    }
}
