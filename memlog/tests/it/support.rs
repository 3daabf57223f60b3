//! Targets with real sockets, and the program under test with its whole story when it fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use reports::memory_log::{self, Sample};

/// How long anything may take before its test fails. Nothing that works takes a tenth of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Set in the environment of this test program when it is to be a target instead of testing.
const TARGET: &str = "MEMLOG_TEST_TARGET";

/// The test that a child runs to become a target.
const TARGET_TEST: &str = "support::be_a_target";

/// In a child of its own: listens, says on which port, and accepts until its stdin ends.
#[test]
fn be_a_target() {
    let Ok(address) = std::env::var(TARGET) else { return };
    let listener = TcpListener::bind(address).unwrap();
    // The harness prints before this, without ending its line.
    println!("\nport={}", listener.local_addr().unwrap().port());
    let _acceptor = std::thread::spawn(move || {
        let connections: Vec<_> = listener.incoming().collect();
        drop(connections);
    });
    let _ = std::io::stdin().read(&mut [0; 1]);
    std::process::exit(0);
}

/// A process that listens.
pub(crate) struct Target {
    /// The process.
    pub(crate) child: Child,
    /// Its end is the process' end.
    _stdin: ChildStdin,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Target {
    /// Starts a target: this test program, run from a copy called `name` in `dir`.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        let program = dir.join(name);
        if !program.exists() {
            // A link, not a copy: the name it is started as is what counts, and a test program has
            // many megabytes.
            std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
        }
        let mut child = Command::new(program)
            .args([TARGET_TEST, "--exact", "--nocapture"])
            .env(TARGET, "127.0.0.1:0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.map(Result::unwrap).find_map(|it| it.strip_prefix("port=")?.parse().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("the target's port")));
        Self { child, _stdin: stdin, address }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connects to it.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
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

/// A running memlog.
pub(crate) struct Memlog {
    /// The process.
    pub(crate) child: Child,
    /// Its log.
    pub(crate) log: PathBuf,
}

impl Memlog {
    /// Starts it in `dir` with `mem.log` as its log and a sample every 100 ms.
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let log = dir.join("mem.log");
        let mut command = command(dir, &["--log", "mem.log", "--interval", "100ms"]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), log }
    }

    /// Waits until the samples in the log are as `is_so` says, and returns them.
    pub(crate) fn wait(&self, is_so: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
        let begun_at = Instant::now();
        loop {
            let samples = samples(&self.log);
            if is_so(&samples) {
                return samples;
            }
            let log = fs::read_to_string(&self.log);
            assert!(begun_at.elapsed() < DEADLINE, "the log never came to be so: {log:?}");
            std::thread::yield_now();
        }
    }

    /// Reads what it says until `words` are in it.
    pub(crate) fn said_until(&mut self, words: &str) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let (mut said, mut byte) = (String::new(), [0; 1]);
        while !said.contains(words) {
            stderr.read_exact(&mut byte).unwrap_or_else(|_| panic!("it said only {said:?}"));
            said.push(char::from(byte[0]));
        }
        said
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Done {
        Done::of(&self.child.wait_with_output().unwrap())
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn interrupt(self) -> Done {
        self.signal("INT");
        self.end()
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_memlog"));
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
        assert!(std::env::var_os("REQUIRE_ALL").is_none(), "{program} is not installed");
        println!("SKIPPED {program}");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}
