//! Targets with real sockets, and the program under test with its whole story when it fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use reports::memory_log::{self, Sample};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use testing::{DEADLINE, skip};

/// The program under test.
pub(crate) const MEMLOG: &str = env!("CARGO_BIN_EXE_memlog");

/// The interval of memlogs that are tested, which is the shortest.
pub(crate) const INTERVAL_MS: u64 = 100;

/// Set in the environment of this test program when it is to be a target instead of testing: on
/// how many ports.
const TARGET: &str = "MEMLOG_TEST_TARGET";

/// Set in the environment of this test program when it runs a test that is to be alone.
const ALONE: &str = "MEMLOG_TEST_ALONE";

/// Set beside it: the port that the target listens on first. 0, or not set: any.
const TARGET_PORT: &str = "MEMLOG_TEST_TARGET_PORT";

/// The test that a child runs to become a target.
const TARGET_TEST: &str = "support::be_a_target";

/// In a child of its own: listens, says on which ports, and accepts until its stdin ends.
#[test]
fn be_a_target() {
    let Ok(n_ports) = std::env::var(TARGET) else { return };
    // The harness prints before this, without ending its line.
    println!();
    let mut port = std::env::var(TARGET_PORT).map_or(0, |port| port.parse().unwrap());
    for _ in 0..n_ports.parse().unwrap() {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        port = 0;
        println!("port={}", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            let connections: Vec<_> = listener.incoming().collect();
            drop(connections);
        });
    }
    let _ = std::io::stdin().read(&mut [0; 1]);
    std::process::exit(0);
}

/// A process that listens.
pub(crate) struct Target {
    /// The process.
    pub(crate) child: Child,
    /// Its end is the process' end.
    _stdin: ChildStdin,
    /// Where the harness says after a minute that the test goes on, and fails if nobody listens.
    _stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) ports: Vec<u16>,
}

impl Target {
    /// Starts a target that listens on one port.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        Self::start_on(1, dir, name)
    }

    /// Starts a target on several ports: this test program, run from a link called `name` in `dir`.
    pub(crate) fn start_on(n_ports: usize, dir: &Path, name: &str) -> Self {
        Self::start_with(n_ports, 0, dir, name)
    }

    /// Starts a target on this port.
    pub(crate) fn start_at(port: u16, dir: &Path, name: &str) -> Self {
        Self::start_with(1, port, dir, name)
    }

    /// Starts a target on several ports, the first of which is `port`, if that is not 0.
    fn start_with(n_ports: usize, port: u16, dir: &Path, name: &str) -> Self {
        let program = dir.join(name);
        if !program.exists() {
            // A link, not a copy: the name it is started as is what counts, and a test program has
            // many megabytes.
            std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
        }
        Self::start_by(Command::new(program), n_ports, port)
    }

    /// Starts a target by a command that runs this test program, on some host.
    pub(crate) fn start_by(mut command: Command, n_ports: usize, port: u16) -> Self {
        let mut child = command
            .args([TARGET_TEST, "--exact", "--nocapture"])
            .env(TARGET, n_ports.to_string())
            .env(TARGET_PORT, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = stdout.by_ref().lines();
        let port = |line: String| line.strip_prefix("port=")?.parse().ok();
        let ports: Vec<u16> = lines.map(Result::unwrap).filter_map(port).take(n_ports).collect();
        assert_eq!(ports.len(), n_ports, "the target's ports");
        Self { child, _stdin: stdin, _stdout: stdout, ports }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connects to its first port.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.ports[0])
    }

    /// Ends it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to a port of a target.
pub(crate) fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

/// Runs the test called `name` again where it may do what would disturb others: with mounts, pids
/// and a user of its own. True there; false here, where it has passed, or cannot be run.
pub(crate) fn is_alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let run = |user: &[&str], words: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        unshare.args(user).args(words).env(ALONE, "").output()
    };
    let is_possible =
        |user: &&[&str]| run(user, &["true"]).is_ok_and(|output| output.status.success());
    // Anyone may where users can have namespaces; elsewhere root may.
    let Some(user) = [&["--map-root-user"][..], &[]].into_iter().find(is_possible) else {
        skip("unshare");
        return false;
    };
    let program = std::env::current_exe().unwrap();
    let output = run(user, &[program.to_str().unwrap(), name, "--exact", "--nocapture"]).unwrap();
    let Done { code, stdout, stderr } = Done::of(&output);
    assert!(code == Some(0) && stdout.contains("1 passed"), "{code:?}: {stdout}{stderr}");
    false
}

/// A running memlog.
pub(crate) struct Memlog {
    /// The process, until its end is waited for.
    child: Option<Child>,
    /// Its log.
    pub(crate) log: PathBuf,
}

impl Memlog {
    /// Starts it in `dir` with `mem.log` as its log and a sample every [`INTERVAL_MS`].
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        Self::start_by(Command::new(MEMLOG), dir, args)
    }

    /// Starts it by a command that runs it.
    pub(crate) fn start_by(mut command: Command, dir: &Path, args: &[&str]) -> Self {
        let log = dir.join("mem.log");
        let interval = format!("{INTERVAL_MS}ms");
        command.current_dir(dir).args(["--log", "mem.log", "--interval", &interval]);
        command.stdin(Stdio::null());
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: Some(command.spawn().unwrap()), log }
    }

    /// The process.
    pub(crate) fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("nothing is asked of it after its end")
    }

    /// Waits until the samples in the log are as `is_so` says, and returns them.
    pub(crate) fn wait(&self, is_so: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
        testing::wait_for("the log is as the test waits for", || {
            let samples = samples(&self.log);
            is_so(&samples).then_some(samples)
        })
    }

    /// Reads what it says until `words` are in it.
    pub(crate) fn said_until(&mut self, words: &str) -> String {
        let stderr = self.child().stderr.as_mut().unwrap();
        let (mut said, mut byte) = (String::new(), [0; 1]);
        while !said.contains(words) {
            let deadline = Timespec::try_from(DEADLINE).unwrap();
            let n_ready = poll(&mut [PollFd::new(stderr, PollFlags::IN)], Some(&deadline));
            assert_eq!(n_ready, Ok(1), "it said only {said:?}");
            stderr.read_exact(&mut byte).unwrap_or_else(|_| panic!("it said only {said:?}"));
            said.push(char::from(byte[0]));
        }
        said
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it is signalled before its end").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Done {
        let child = self.child.take().expect("it ends once");
        Done::of(&child.wait_with_output().unwrap())
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn interrupt(self) -> Done {
        self.signal("INT");
        self.end()
    }
}

impl Drop for Memlog {
    fn drop(&mut self) {
        // Its test has failed; nobody else would end it.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a memlog left behind.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// What it said.
    pub(crate) stderr: String,
    /// What it printed.
    pub(crate) stdout: String,
}

impl Done {
    /// From a finished process.
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// Checks exit code and a part of what was said.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, said: &str) {
        assert!(
            self.code == Some(code) && self.stderr.contains(said),
            "not {code} {said:?}: {self:?}"
        );
    }
}

/// Runs memlog in `dir` to its end.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Done {
    Done::of(&command(dir, args).output().unwrap())
}

/// Draws in `dir`, and checks that it went well.
#[track_caller]
pub(crate) fn draw(dir: &Path, args: &[&str]) {
    let done = run(dir, &[&["plot"], args].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// A memlog in `dir`.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MEMLOG);
    command.current_dir(dir).args(args).stdin(Stdio::null());
    command
}

/// The samples in a log, whose every line must be one.
pub(crate) fn samples(log: &Path) -> Vec<Sample> {
    let Ok(text) = fs::read_to_string(log) else { return Vec::new() };
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            memory_log::parse_line(line.trim_end()).unwrap_or_else(|why| panic!("{why}: {line:?}"))
        })
        .collect()
}

/// Checks that no sample was made up and that every gap is marked: that times go on, and that as
/// many samples are missed between two lines as there is room for. A sample may be late by almost
/// an interval, and both clocks are read within a millisecond.
#[track_caller]
pub(crate) fn check_gaps(samples: &[Sample]) {
    for pair in samples.windows(2) {
        let (before, after) = (pair[0].unix_ms(), pair[1].unix_ms());
        assert!(before < after, "times go on: {} and {}", pair[0], pair[1]);
        let n_missed = pair[1].n_missed;
        let is_marked = n_missed > 0 || after - before <= 2 * INTERVAL_MS + 1;
        let is_room = n_missed * INTERVAL_MS <= after - before + 1;
        assert!(is_marked && is_room, "between {} and {}", pair[0], pair[1]);
    }
}

/// The texts of all marks.
pub(crate) fn marks(samples: &[Sample]) -> Vec<&str> {
    samples.iter().flat_map(|it| &it.marks).map(|mark| mark.text.as_str()).collect()
}

/// Width and height of a PNG file.
pub(crate) fn png_size(path: &Path) -> Option<(u32, u32)> {
    let bytes = fs::read(path).ok()?;
    let is_whole = bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82");
    let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    is_whole.then_some(())?;
    Some((number(16)?, number(20)?))
}

/// Runs `program` with `input`, and returns what it prints. `None` when it is not installed, which
/// is said, and fails where everything must be there.
pub(crate) fn tool(program: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let spawned = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        skip(program);
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}
