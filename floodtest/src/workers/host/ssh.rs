//! The ssh that leads to a host.
//!
//! What is said to it is written by a thread, so that a network that takes nothing never holds up
//! the run; what it complains about is kept by another one, to be quoted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use reports::remote::RemoteHost;

/// Things to say that may wait for a host to take them: those of some minutes, and a host that
/// takes nothing is lost within seconds.
const MAX_WAITING: usize = 4 * 1_024;

/// Bytes of what ssh complains about that are kept: its last lines.
const COMPLAINT_BYTES: usize = 4 * 1_024;

/// How long ssh may take to end by itself once nothing is said to it any more, and what it wrote
/// last to be read.
const END_TIME: Duration = Duration::from_secs(1);

/// Something to say.
#[derive(Debug)]
pub(super) enum ToSay {
    /// Bytes.
    Bytes(Vec<u8>),
    /// So many bytes of a file.
    File(File, u64),
}

/// A running ssh.
#[derive(Debug)]
pub(super) struct Ssh {
    /// The process.
    child: Child,
    /// What it says of the host.
    pub(super) answers: ChildStdout,
    /// What goes there; `None` once nothing will.
    say: Option<SyncSender<ToSay>>,
    /// The last that ssh, or a program of the host, complained about.
    complaint: Arc<Mutex<Vec<u8>>>,
    /// Tells that all was complained about that will be.
    has_complained: Receiver<()>,
}

impl Ssh {
    /// Starts ssh, which starts `program` on the host.
    ///
    /// All settings are the user's own. It does not ask anybody for passwords: several at a time
    /// would, and each is out of the terminal's reach, where Ctrl-C does not end it before the
    /// last counts have come.
    pub(super) fn start(host: &RemoteHost, program: &str) -> io::Result<Self> {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes"]);
        if let Some(port) = host.port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("--").arg(&host.destination);
        command.args([program, "worker", "--stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn()?;
        let is_piped = "it was asked for";
        let stdin = child.stdin.take().expect(is_piped);
        let answers = child.stdout.take().expect(is_piped);
        let stderr = child.stderr.take().expect(is_piped);
        let (say, to_say) = sync_channel(MAX_WAITING);
        thread::Builder::new().name("to a host".to_owned()).spawn(|| write_all(stdin, to_say))?;
        let complaint = Arc::default();
        let (tell, has_complained) = sync_channel(1);
        let kept = Arc::clone(&complaint);
        thread::Builder::new().name("complaints".to_owned()).spawn(move || {
            keep_last(stderr, &kept);
            let _ = tell.send(());
        })?;
        Ok(Self { child, answers, say: Some(say), complaint, has_complained })
    }

    /// Says something, in its turn. What is not taken is lost, and the host with it by its silence.
    pub(super) fn say(&self, what: ToSay) {
        let _ = self.say.as_ref().map(|say| say.try_send(what));
    }

    /// Says nothing more, which ends what runs on the host.
    pub(super) fn hang_up(&mut self) {
        self.say = None;
    }

    /// What becomes readable when the host says something.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.answers.as_fd()
    }

    /// Ends it, by force if it takes too long: how it ended, and what was complained about, each
    /// line without what a terminal would obey.
    pub(super) fn end(&mut self) -> (Option<ExitStatus>, Vec<String>) {
        self.hang_up();
        // With its end stderr ends as well, unless a master connection of the user's own goes on
        // and holds it.
        let _ = self.has_complained.recv_timeout(END_TIME);
        let mut status = self.child.try_wait().ok().flatten();
        if status.is_none() {
            let _ = self.child.kill();
            status = self.child.wait().ok();
        }
        let complaint = self.complaint.lock().map(|kept| kept.clone()).unwrap_or_default();
        (status, shown_lines(&complaint))
    }
}

/// Nothing is left behind.
impl Drop for Ssh {
    fn drop(&mut self) {
        self.hang_up();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes what there is to say, until there is nothing more or nobody takes it.
fn write_all(mut stdin: ChildStdin, to_say: Receiver<ToSay>) {
    for what in to_say {
        let written = match what {
            ToSay::Bytes(bytes) => stdin.write_all(&bytes),
            ToSay::File(file, bytes) => match io::copy(&mut file.take(bytes), &mut stdin) {
                Ok(n) if n == bytes => Ok(()),
                // It was cut in the middle; what came next would be taken for the rest of it.
                _ => return,
            },
        };
        if written.is_err() {
            return;
        }
    }
}

/// Keeps the last of what is complained about.
fn keep_last(mut stderr: ChildStderr, kept: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 1_024];
    while let Ok(n @ 1..) = stderr.read(&mut bytes) {
        let Ok(mut kept) = kept.lock() else { return };
        kept.extend_from_slice(&bytes[..n]);
        let n_over = kept.len().saturating_sub(COMPLAINT_BYTES);
        kept.drain(..n_over);
    }
}

/// Lines as they can be shown on a terminal, without empty ones.
fn shown_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let plain = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    let lines = text.lines().map(|line| plain(line).trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}
