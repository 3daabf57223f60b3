//! A server as a process, its counts, and a sender.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::child;

/// Addresses that a server listens on: each has its own 28,000 ports for clients.
const N_LISTENERS: usize = 4;

/// The count of connections whose request head has not come whole.
pub(crate) const PENDING: &str = "connections_pending";

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// No process is looked at for more descriptors.
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// Why the kernel says nothing of the server.
const GONE: &str = "the server has ended";

/// What a client is told its messages by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The chunks of an endless response.
    Chunks,
    /// The frames of a WebSocket.
    WebSocket,
}

impl Transport {
    /// Both, with the words that figures have for connections of that kind.
    pub(crate) const BOTH: [(Self, &'static str); 2] =
        [(Self::Chunks, "chunked"), (Self::WebSocket, "WebSockets")];

    /// The fields that ask for it. The key is of 16 zeros: nobody here looks at what is made of it.
    fn fields(self) -> &'static str {
        match self {
            Self::Chunks => "",
            Self::WebSocket => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            }
        }
    }
}

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

    /// Starts a server, perhaps with so many descriptors. It ends with the rig.
    pub(crate) fn start(&self, flags: &[&str], n_descriptors: Option<u64>) -> Result<Server> {
        let mut command = match n_descriptors {
            None => child::command(&self.server),
            Some(n) => {
                let mut command = child::command(Path::new("prlimit"));
                command.arg(format!("--nofile={n}:{n}")).arg(&self.server);
                command
            }
        };
        (0..N_LISTENERS).for_each(|_| _ = command.args(["--listen", "127.0.0.1:0"]));
        command.args(["--control", "127.0.0.1:0"]).args(flags).stdout(Stdio::piped());
        let mut child = command.into_std().spawn().context("cannot start the server")?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        // From here on it is killed if something goes wrong.
        let mut server = Server { child, public: Vec::new(), control: ([0; 4], 0).into() };
        let mut address = || {
            let line = lines.next().context("it ended before it said where it is")??;
            let after = line.split("http://").nth(1).and_then(|it| it.split('/').next());
            let address = after.and_then(|address| address.parse::<SocketAddr>().ok());
            address.with_context(|| format!("it says \"{line}\" instead of where it is"))
        };
        let mut said = || {
            let public = (0..N_LISTENERS).map(|_| address()).collect::<Result<_>>()?;
            Ok::<_, Error>((public, address()?))
        };
        let why = || format!("{} does not start as a comet-server", self.server.display());
        (server.public, server.control) = said().with_context(why)?;
        Ok(server)
    }
}

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    public: Vec<SocketAddr>,
    pub(crate) control: SocketAddr,
}

impl Server {
    /// A connection that has sent a request for `path`, from among those to all listeners.
    pub(crate) fn follow(&self, number: u64, path: impl Display) -> Result<TcpStream> {
        self.follow_by(Transport::Chunks, number, path)
    }

    /// The same by a transport.
    pub(crate) fn follow_by(
        &self,
        transport: Transport,
        number: u64,
        path: impl Display,
    ) -> Result<TcpStream> {
        let mut stream = self.connect(number)?;
        ask_for(&mut stream, transport, path)?;
        Ok(stream)
    }

    /// A WebSocket that has read the answer to its request, and has room in the kernel for so many
    /// bytes of what it does not read. `None`: as much as the kernel likes.
    pub(crate) fn websocket(
        &self,
        number: u64,
        id: u64,
        room_bytes: Option<usize>,
    ) -> Result<TcpStream> {
        let address = self.address(number);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(n_bytes) = room_bytes {
            // Before it connects: room that the server was told of is not taken back.
            socket.set_recv_buffer_size(n_bytes)?;
        }
        socket.connect(&address.into()).context("cannot connect to the server")?;
        // What is written is sent: otherwise it waits for the peer to acknowledge what was before.
        socket.set_tcp_nodelay(true)?;
        let mut stream = TcpStream::from(socket);
        ask_for(&mut stream, Transport::WebSocket, id)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 512];
            let n = stream.read(&mut bytes).context("a handshake is not answered")?;
            head.extend_from_slice(&bytes[..n]);
            ensure!(n > 0 && head.starts_with(b"HTTP/1.1 101"), "a WebSocket is not opened");
        }
        Ok(stream)
    }

    /// A connection.
    pub(crate) fn connect(&self, number: u64) -> Result<TcpStream> {
        TcpStream::connect(self.address(number)).context("cannot connect to the server")
    }

    /// Where connection `number` goes.
    fn address(&self, number: u64) -> SocketAddr {
        let at = number % self.public.len() as u64;
        self.public[usize::try_from(at).expect("there are few listeners")]
    }

    /// Its counts.
    pub(crate) fn stats(&self) -> Result<Value> {
        let body = ControlClient::connect(self.control)?.ask("GET", "/stats", "")?;
        let stats = serde_json::from_str(&body).context("the server's counts are no JSON")?;
        Ok(with_names_of_today(stats))
    }

    /// Waits for counts; returns them, and how long it took.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Result<(Value, Duration)> {
        let begun_at = Instant::now();
        loop {
            let stats = self.stats()?;
            if wanted(&stats) {
                return Ok((stats, begun_at.elapsed()));
            }
            ensure!(
                begun_at.elapsed() < DEADLINE,
                "waited {} s in vain; the server's counts are {stats}",
                DEADLINE.as_secs()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A line of its `/proc/PID/status`, a number.
    pub(crate) fn status(&self, name: &str) -> Result<f64> {
        let status = std::fs::read_to_string(self.proc("status")).context(GONE)?;
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.with_context(|| format!("the kernel says no {name} of the server"))
    }

    /// CPU seconds used so far by its threads, to the nanosecond: the ticks of `stat` are 10 ms.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let mut sum_ns = 0.0;
        for thread in std::fs::read_dir(self.proc("task")).context(GONE)? {
            let path = thread?.path().join("schedstat");
            let text = std::fs::read_to_string(&path).context(GONE)?;
            let ns = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
            sum_ns += ns.with_context(|| format!("{} has no number", path.display()))?;
        }
        Ok(sum_ns / 1e9)
    }

    /// Open descriptors.
    pub(crate) fn n_descriptors(&self) -> Result<f64> {
        Ok(std::fs::read_dir(self.proc("fd")).context(GONE)?.count() as f64)
    }

    /// Leaves it no descriptor beyond those that it has, behind its back.
    pub(crate) fn exhaust_descriptors(&self) -> Result<()> {
        for n in 0..MOST_DESCRIPTORS {
            // The limit is on the number of a descriptor, and the lowest free one is given next.
            if !std::fs::exists(self.proc(&format!("fd/{n}"))).context(GONE)? {
                return self.limit_descriptors(n);
            }
        }
        bail!("the server has no free descriptor below {MOST_DESCRIPTORS}")
    }

    /// Sets the limit on its descriptors, behind its back.
    pub(crate) fn limit_descriptors(&self, n: u64) -> Result<()> {
        let (pid, limit) = (self.child.id().to_string(), format!("--nofile={n}:"));
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        let status = status.context("cannot run prlimit (Debian: util-linux)")?;
        ensure!(status.success(), "prlimit cannot limit the server's descriptors");
        Ok(())
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context(GONE)
    }

    /// Waits until it has ended; returns how, and how long that took.
    pub(crate) fn wait(&mut self) -> Result<(ExitStatus, Duration)> {
        let begun_at = Instant::now();
        Ok((self.child.wait()?, begun_at.elapsed()))
    }

    /// The path of a file of its `/proc/PID`.
    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }
}

/// Sends the request for `path` by a transport.
fn ask_for(stream: &mut TcpStream, transport: Transport, path: impl Display) -> Result<()> {
    let fields = transport.fields();
    let request = format!("GET /test/{path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).context("a new connection takes no request")
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A sender: a connection to the server's control API.
pub(crate) struct ControlClient(BufReader<TcpStream>);

impl ControlClient {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect to the control API")?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// One request; returns the answer's body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<String> {
        let n_bytes = body.len();
        let fields = format!("Host: localhost\r\nContent-Length: {n_bytes}");
        let fields = match path {
            "/send" => format!("{fields}\r\nContent-Type: application/x-ndjson"),
            _ => fields,
        };
        let request = format!("{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n{body}");
        let answer = self.exchange(&request);
        answer.with_context(|| format!("no answer to {method} {path}"))
    }

    /// Writes a request, and reads an answer with its length.
    fn exchange(&mut self, request: &str) -> Result<String> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut n_bytes = 0;
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the server has closed the connection");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length: ") {
                n_bytes = length.parse().context("the answer has a length that is no number")?;
            }
        }
        let mut body = vec![0; n_bytes];
        self.0.read_exact(&mut body)?;
        String::from_utf8(body).context("the answer is no text")
    }

    /// Sends a message; returns the number of connections reached.
    pub(crate) fn send(&mut self, id: u64, message: &str) -> Result<u64> {
        let answer = self.ask("POST", &format!("/send/{id}"), message)?;
        let parsed = serde_json::from_str::<Value>(&answer).ok();
        let n_reached = parsed.and_then(|answer| answer["connections"].as_u64());
        n_reached.with_context(|| format!("a message was answered with {answer}"))
    }
}

/// The count under a name, 0 if there is none.
pub(crate) fn count(counts: &Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap_or(0)
}

/// The counts of a server that may be an older build, for `--base`: until November 2026 they had
/// other names.
fn with_names_of_today(mut stats: Value) -> Value {
    const RENAMED: [(&str, &str); 8] = [
        ("accepted", "connections_accepted"),
        ("open", "connections_open"),
        ("heads", PENDING),
        ("parked", "connections_parked"),
        ("closed", "connections_closed"),
        ("written", "chunks_written"),
        ("queued", "chunks_queued"),
        ("dropped", "chunks_dropped"),
    ];
    for (old, new) in RENAMED {
        if let Some(value) = stats.as_object_mut().and_then(|it| it.remove(old)) {
            stats[new] = value;
        }
    }
    stats
}
