//! Programs that are started: ours, and the servers and proxies that floodtest is to understand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testing::installed;

/// How long anything may take. Reached only when a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// How often it is looked again for what cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How many ports are tried for a server that cannot choose one itself.
const TRIES: u32 = 5;

/// Where this target's servers are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/servers")
}

/// Python with the packages of the servers.
pub(crate) fn python() -> Command {
    let mut command = Command::new(installed().join("py/bin/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder());
    command
}

/// node with the packages of the servers.
pub(crate) fn node() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PACKAGES", installed().join("node")).current_dir(folder());
    command
}

/// One of our programs, built like this test and into the same folder.
pub(crate) fn ours(name: &str) -> Command {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let names = ["comet-server", "floodtest", "msggen"];
        testing::build(env!("CARGO_BIN_EXE_floodtest"), &names)
    });
    Command::new(FOLDER.join(name))
}

/// A program that runs until this is dropped.
pub(crate) struct Program {
    /// The process.
    child: Child,
    /// Its stdin, which says when to end.
    stdin: Option<ChildStdin>,
    /// Its stdout, line by line.
    lines: Receiver<String>,
}

impl Program {
    /// Starts a program.
    pub(crate) fn start(mut command: Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stdin = child.stdin.take();
        let (said, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        Self { child, stdin, lines }
    }

    /// Waits for the next line that it prints; `None` at the end of its output.
    pub(crate) fn next_line(&self) -> Option<String> {
        self.lines.recv_timeout(DEADLINE).ok()
    }

    /// Waits for a line that begins so, and returns what follows.
    #[track_caller]
    pub(crate) fn said(&self, start: &str) -> String {
        let lines = std::iter::from_fn(|| self.next_line());
        let mut others = Vec::new();
        for line in lines {
            match line.strip_prefix(start) {
                Some(rest) => return rest.to_owned(),
                None => others.push(line),
            }
        }
        panic!("it never said {start:?}, but {others:#?}");
    }

    /// Ends its stdin.
    pub(crate) fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        let _ = kill_process(pid, signal);
    }

    /// Waits for its end; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        while self.next_line().is_some() {}
        self.child.wait().unwrap().code()
    }

    /// Whether it has ended.
    fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A proxy has workers, which its own end takes with it; what does not obey is killed.
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.is_over() && Instant::now() < deadline {
            pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits a moment.
fn pause() {
    let (_open, never) = channel::<()>();
    let _ = never.recv_timeout(LOOK_AGAIN);
}

/// Starts a program that listens on the port that `command` is given, once it takes connections.
pub(crate) fn listen(command: impl Fn(u16) -> Command) -> (Program, u16) {
    for _ in 0..TRIES {
        let port = free_port();
        let mut program = Program::start(command(port));
        let deadline = Instant::now() + DEADLINE;
        while !program.is_over() && Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (program, port);
            }
            pause();
        }
    }
    panic!("{:?} does not listen", command(0));
}

/// A port that nobody listens on. It is not one of those that the kernel chooses for others.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other runs of this target begin elsewhere.
    let start = u16::try_from(std::process::id() % 100).unwrap() * 50;
    (0..5_000)
        .map(|_| 20_000 + start + NEXT.fetch_add(1, Ordering::Relaxed) % 5_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of 5,000 ports is free")
}

/// What `GET path` answers there.
pub(crate) fn get(base: &str, path: &str) -> Value {
    let address: SocketAddr = base.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}
