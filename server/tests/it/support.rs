//! A running `comet-server`, a client that reads bytes, and a sender.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The response head of a stream, to the byte.
pub(crate) const HEAD: &str = concat!(
    "HTTP/1.1 200 OK\r\nServer: comet-server/",
    env!("CARGO_PKG_VERSION"),
    "\r\nContent-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked\r\n",
    "Cache-Control: no-store\r\n\r\n"
);

/// The response head of a WebSocket whose key is that of the RFC's example, to the byte.
pub(crate) const UPGRADED: &str = concat!(
    "HTTP/1.1 101 Switching Protocols\r\nServer: comet-server/",
    env!("CARGO_PKG_VERSION"),
    "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
);

/// The fields of a request for it.
pub(crate) const UPGRADE: &str = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A server process, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) control: SocketAddr,
}

impl Server {
    /// Starts the binary on free ports.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comet-server"));
        Self::start_command(command.args(flags))
    }

    /// Starts it through a command that ends in the binary and its flags.
    pub(crate) fn start_command(command: &mut Command) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |before: &str, after: &str| {
            let line = lines.next().expect("it says where it is").unwrap();
            let line = line.strip_prefix(before).unwrap_or_else(|| panic!("{line}"));
            line.strip_suffix(after).unwrap_or_else(|| panic!("{line}")).parse().unwrap()
        };
        let public = address("listening on http://", "/test/{id}");
        let n_further = command.get_args().filter(|&flag| flag == "--listen").count() - 1;
        for _ in 0..n_further {
            address("listening on http://", "/test/{id}");
        }
        let control = address("control on http://", "");
        Self { child, public, control }
    }

    /// A connection that has sent `request` and reads nothing yet.
    pub(crate) fn connect(&self, request: &str) -> Client {
        let mut client = Client::connect(self.public);
        client.stream.write_all(request.as_bytes()).unwrap();
        client
    }

    /// A connection logged in at `/test/{path}`, its response head read.
    pub(crate) fn follow(&self, path: &str) -> Client {
        let mut client = self.connect(&format!("GET /test/{path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.expect(HEAD);
        client
    }

    /// A WebSocket logged in at `/test/{path}`, its response head read.
    pub(crate) fn web_socket(&self, path: &str) -> Client {
        let mut client = self.connect(&format!("GET /test/{path} HTTP/1.1\r\n{UPGRADE}\r\n"));
        client.stream.set_nodelay(true).unwrap();
        client.expect(UPGRADED);
        client
    }

    /// One request to the control door: status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> (u16, Value) {
        let mut client = Client::connect(self.control);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}");
        write!(request, "Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .unwrap();
        client.stream.write_all(request.as_bytes()).unwrap();
        let answer = client.read_to_end();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        let status = head[9..12].parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
    }

    /// Sends a message; returns the number of connections reached.
    pub(crate) fn send(&self, id: u64, message: &str) -> u64 {
        let (status, answer) = self.ask("POST", &format!("/send/{id}"), "", message);
        assert_eq!(status, 200, "{answer}");
        answer["connections"].as_u64().unwrap()
    }

    pub(crate) fn stats(&self) -> Value {
        let (status, answer) = self.ask("GET", "/stats", "", "");
        assert_eq!(status, 200);
        answer
    }

    /// Asks for the counts until they are as wanted and the books balance, which they do at every
    /// quiet moment.
    pub(crate) fn wait_for_stats(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let stats = self.stats();
            if wanted(&stats) && imbalance(&stats).is_none() {
                return stats;
            }
            assert!(Instant::now() < deadline, "still {stats}: {:?}", imbalance(&stats));
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Its stderr, if that was asked to be a pipe.
    pub(crate) fn take_stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().expect("it is piped, and taken once")
    }

    /// Waits for the process to end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        testing::wait_for("the server ends", || self.child.try_wait().unwrap())
    }

    /// A kept connection to the control door.
    pub(crate) fn door(&self) -> Door {
        Door::open(self.control)
    }

    /// Resident memory.
    pub(crate) fn rss_kb(&self) -> u64 {
        self.status_kb("VmRSS:")
    }

    /// Resident memory without what is mapped from files, such as the program: of that, more is
    /// resident whenever code runs that never ran before.
    pub(crate) fn anon_kb(&self) -> u64 {
        self.status_kb("RssAnon:")
    }

    /// A figure of the kernel's, in KB.
    fn status_kb(&self, key: &str) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// A file that the kernel keeps about the process.
    pub(crate) fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    /// The numbers of its open descriptors.
    fn descriptors(&self) -> Vec<usize> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// How many descriptors are open.
    pub(crate) fn n_descriptors(&self) -> usize {
        self.descriptors().len()
    }

    /// Waits until so many descriptors are open: closing takes a moment.
    pub(crate) fn wait_for_descriptors(&self, n: usize) {
        testing::wait_until(&format!("{n} descriptors"), || self.n_descriptors() == n);
    }

    /// Leaves the server no descriptor beyond those that it has, behind its back.
    pub(crate) fn exhaust_descriptors(&self) {
        // It may have inherited some with high numbers from whoever started the test.
        let open = self.descriptors();
        self.limit_descriptors((0..=open.len()).find(|number| !open.contains(number)).unwrap());
    }

    /// Sets the limit on its descriptors, behind its back.
    pub(crate) fn limit_descriptors(&self, n: usize) {
        let (pid, limit) = (self.child.id().to_string(), format!("--nofile={n}:"));
        let lowered = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(lowered.success());
    }

    /// CPU time used so far, in clock ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A client that asserts what it reads.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream }
    }

    /// Reads exactly `text`.
    pub(crate) fn expect(&mut self, text: &str) {
        let mut bytes = vec![0; text.len()];
        let mut n = 0;
        while n < bytes.len() {
            match self.stream.read(&mut bytes[n..]) {
                Ok(0) => break,
                Ok(n_read) => n += n_read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes[..n])),
            }
        }
        assert_eq!(String::from_utf8_lossy(&bytes[..n]), text);
    }

    /// Reads message number `n` as one chunk.
    pub(crate) fn expect_message(&mut self, n: u64, message: &str) {
        let body = format!("Recvd msg #{n}: '{message}'<br/>");
        self.expect(&format!("{:x}\r\n{body}\r\n", body.len()));
    }

    /// Reads the next chunk; `None` is the last one.
    pub(crate) fn next_chunk(&mut self) -> Option<String> {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("a chunk");
            size.push(byte[0]);
        }
        let size = std::str::from_utf8(&size).unwrap().trim_end();
        let mut chunk = vec![0; usize::from_str_radix(size, 16).unwrap() + 2];
        self.stream.read_exact(&mut chunk).expect("the rest of a chunk");
        chunk.truncate(chunk.len() - 2);
        (!chunk.is_empty()).then(|| String::from_utf8(chunk).unwrap())
    }

    /// Sends a frame of a WebSocket, masked: its first byte and up to 125 bytes.
    pub(crate) fn say(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&frame(first, payload)).unwrap();
    }

    /// Reads exactly these bytes.
    pub(crate) fn expect_bytes(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        self.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }

    /// Reads message number `n` as one frame.
    pub(crate) fn expect_frame(&mut self, n: u64, message: &str) {
        let payload = format!("Recvd msg #{n}: {message}");
        let n_bytes = payload.len();
        let header = match n_bytes {
            0..=125 => vec![0x81, u8::try_from(n_bytes).unwrap()],
            126..=65_535 => {
                [&[0x81, 126][..], &u16::try_from(n_bytes).unwrap().to_be_bytes()].concat()
            }
            _ => [&[0x81, 127][..], &(n_bytes as u64).to_be_bytes()].concat(),
        };
        self.expect_bytes(&header);
        self.expect(&payload);
    }

    /// Reads the next message of a WebSocket; `None` if a close frame with this code comes instead.
    pub(crate) fn next_frame(&mut self, close: u16) -> Option<String> {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).expect("a frame");
        let mut n_bytes = usize::from(header[1]);
        if n_bytes == 126 {
            let mut length = [0; 2];
            self.stream.read_exact(&mut length).unwrap();
            n_bytes = u16::from_be_bytes(length).into();
        }
        let mut payload = vec![0; n_bytes];
        self.stream.read_exact(&mut payload).expect("the rest of a frame");
        if header[0] == 0x88 {
            assert_eq!(payload, close.to_be_bytes());
            return None;
        }
        assert_eq!(header[0], 0x81);
        Some(String::from_utf8(payload).unwrap())
    }

    /// Reads a close frame with this code, and the end behind it.
    pub(crate) fn expect_close(&mut self, code: u16) {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).unwrap();
        let [first, n_bytes, high, low] = header;
        assert_eq!((first, u16::from_be_bytes([high, low])), (0x88, code));
        let mut why = vec![0; usize::from(n_bytes - 2)];
        self.stream.read_exact(&mut why).unwrap();
        assert!(why.is_ascii() && n_bytes <= 125, "{why:?}");
        assert!(self.is_cut(), "something comes behind the close frame");
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads until the server closes.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("a close, not a reset");
        String::from_utf8(bytes).unwrap()
    }

    /// Whether the server has reset or closed the connection without another byte.
    pub(crate) fn is_cut(&mut self) -> bool {
        loop {
            match self.stream.read(&mut [0; 1]) {
                Ok(n) => return n == 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }
}

/// A frame of a WebSocket client: its first byte and up to 125 bytes, masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let header = [&[first, 0x80 | u8::try_from(payload.len()).unwrap()], &MASK[..]].concat();
    header.into_iter().chain(masked).collect()
}

/// A sender that keeps its connection to the control door.
pub(crate) struct Door(BufReader<TcpStream>);

impl Door {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let client = Client::connect(address);
        client.stream.set_nodelay(true).unwrap();
        Self(BufReader::new(client.stream))
    }

    /// One request: status and body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_ask(method, path, body).expect("an answer")
    }

    /// The same; `None` if there is no whole answer.
    pub(crate) fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        let n_bytes = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let (mut status, mut n_bytes) = (0, 0);
        for number in 0.. {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.strip_prefix("content-length: ") {
                Some(length) => n_bytes = length.parse().unwrap(),
                None if number == 0 => status = line[9..12].parse().unwrap(),
                None if line.is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; n_bytes];
        self.0.read_exact(&mut body).ok()?;
        Some((status, String::from_utf8(body).unwrap()))
    }

    /// Waits until the server has seen everything that was sent before: on its one thread, the
    /// answer to a request that comes later comes later.
    pub(crate) fn catch_up(&mut self) {
        assert_eq!(self.ask("GET", "/healthz", "").0, 200);
    }

    /// Sends a message; returns the number of connections reached.
    pub(crate) fn send(&mut self, id: u64, message: &str) -> u64 {
        let (status, answer) = self.ask("POST", &format!("/send/{id}"), message);
        assert_eq!(status, 200, "{answer}");
        connections(&answer)
    }
}

/// The number in `{"connections": N}`.
pub(crate) fn connections(answer: &str) -> u64 {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["connections"].as_u64().unwrap()
}

/// Runs the binary to its end.
pub(crate) fn run(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_comet-server")).args(flags).output().unwrap()
}

/// The identity that does not hold, if one does not: three numbers, of which the first is not the
/// sum of the others.
pub(crate) fn imbalance(stats: &Value) -> Option<[u64; 3]> {
    let count = |name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"));
    let sum = |name: &str| -> u64 {
        stats[name].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
    };
    let identities = [
        [count("connections_accepted"), count("connections_open"), sum("connections_closed")],
        [count("messages"), count("messages_void"), count("messages_reached")],
        [count("chunks"), count("chunks_written"), count("chunks_queued") + sum("chunks_dropped")],
    ];
    identities.into_iter().find(|[all, some, others]| *all != some + others)
}
