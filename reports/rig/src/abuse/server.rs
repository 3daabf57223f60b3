//! A server as a process, its counts, and a sender.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Addresses that a server listens on: each has its own 28,000 ports for clients.
const N_LISTENERS: usize = 4;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// Starts servers of one binary.
pub(crate) struct Launcher {
    /// The binary.
    pub(crate) server: PathBuf,
    /// How many connections and how long, beside what the bars ask for.
    pub(crate) scale: f64,
}

impl Launcher {
    /// So many, scaled; at least one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small")]
    pub(crate) fn n(&self, n: u64) -> u64 {
        ((n as f64 * self.scale) as u64).max(1)
    }

    /// So long, scaled; at least two seconds.
    pub(crate) fn time(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds).mul_f64(self.scale).max(Duration::from_secs(2))
    }

    /// Starts a server, perhaps with so many descriptors.
    pub(crate) fn start(&self, flags: &[&str], n_descriptors: Option<u64>) -> Server {
        let mut command = match n_descriptors {
            None => Command::new(&self.server),
            Some(n) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={n}:{n}")).arg(&self.server);
                command
            }
        };
        (0..N_LISTENERS).for_each(|_| _ = command.args(["--listen", "127.0.0.1:0"]));
        command.args(["--control", "127.0.0.1:0"]).args(flags);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut address = || {
            let line = lines.next().expect("it says where it is").expect("it is text");
            let after = line.split("http://").nth(1).expect("an address").to_owned();
            after.split('/').next().expect("a first part").parse().expect("an address")
        };
        let public = (0..N_LISTENERS).map(|_| address()).collect();
        Server { public, control: address(), child }
    }
}

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) public: Vec<SocketAddr>,
    pub(crate) control: SocketAddr,
}

impl Server {
    /// A connection that has sent a request for `path`, from among those to all listeners.
    pub(crate) fn follow(&self, number: usize, path: impl Display) -> TcpStream {
        let mut stream = self.connect(number);
        let request = format!("GET /test/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a new connection takes a request");
        stream
    }

    /// A connection.
    pub(crate) fn connect(&self, number: usize) -> TcpStream {
        TcpStream::connect(self.public[number % self.public.len()]).expect("the server listens")
    }

    /// Its counts.
    pub(crate) fn stats(&self) -> Value {
        let body = Door::open(self.control).ask("GET", "/stats", "");
        serde_json::from_str(&body).expect("counts are JSON")
    }

    /// Waits for counts; returns them, and how long it took.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> (Value, Duration) {
        let begun_at = Instant::now();
        loop {
            let stats = self.stats();
            if wanted(&stats) {
                return (stats, begun_at.elapsed());
            }
            assert!(begun_at.elapsed() < DEADLINE, "still {stats}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A line of its `/proc/PID/status`, a number.
    pub(crate) fn status(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a known line");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }

    /// CPU seconds used so far by its threads, to the nanosecond: the ticks of `stat` are 10 ms.
    pub(crate) fn cpu_s(&self) -> f64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let ns = threads.expect("it is our child").map(|thread| {
            let path = thread.expect("it is a folder").path().join("schedstat");
            let text = std::fs::read_to_string(path).expect("Linux has this");
            text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number")
        });
        ns.sum::<f64>() / 1e9
    }

    /// Open descriptors.
    pub(crate) fn n_descriptors(&self) -> f64 {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("it is our child").count() as f64
    }

    /// Leaves it no descriptor beyond those that it has, behind its back.
    pub(crate) fn exhaust_descriptors(&self) {
        let is_open = |n: &u64| std::fs::exists(format!("/proc/{}/fd/{n}", self.child.id()));
        let free = (0..1 << 20).find(|n| !is_open(n).expect("it is our child"));
        self.limit_descriptors(free.expect("a process has fewer"));
    }

    /// Sets the limit on its descriptors, behind its back.
    pub(crate) fn limit_descriptors(&self, n: u64) {
        let (pid, limit) = (self.child.id().to_string(), format!("--nofile={n}:"));
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(status.expect("prlimit is installed").success());
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Waits until it has ended; returns how long that took.
    pub(crate) fn wait(&mut self) -> Duration {
        let begun_at = Instant::now();
        self.child.wait().expect("it is our child");
        begun_at.elapsed()
    }

    /// A file of its `/proc/PID`.
    fn proc(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(path).expect("it is our child")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A sender.
pub(crate) struct Door(BufReader<TcpStream>);

impl Door {
    /// Connects to a control door.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the control door answers");
        stream.set_nodelay(true).expect("a socket has this option");
        Self(BufReader::new(stream))
    }

    /// One request; returns the answer's body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> String {
        let n_bytes = body.len();
        let fields = format!("Host: localhost\r\nContent-Length: {n_bytes}");
        let fields = match path {
            "/send" => format!("{fields}\r\nContent-Type: application/x-ndjson"),
            _ => fields,
        };
        let request = format!("{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n{body}");
        self.0.get_mut().write_all(request.as_bytes()).expect("the door takes requests");
        let mut n_bytes = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("the door answers");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length: ") {
                n_bytes = length.parse().expect("a length");
            }
        }
        let mut body = vec![0; n_bytes];
        self.0.read_exact(&mut body).expect("the door answers whole");
        String::from_utf8(body).expect("answers are text")
    }

    /// Sends a message; returns the number of connections reached.
    pub(crate) fn send(&mut self, id: u64, message: &str) -> u64 {
        let answer = self.ask("POST", &format!("/send/{id}"), message);
        let answer: Value = serde_json::from_str(&answer).expect("answers are JSON");
        answer["connections"].as_u64().expect("an answer to a message")
    }
}

/// The count under a name, 0 if there is none.
pub(crate) fn count(counts: &Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap_or(0)
}
