//! A running `comet-server` and a client that reads bytes.

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

    /// One request to the control door: status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> (u16, Value) {
        let mut client = Client::connect(self.control);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}");
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

    /// Asks for the counts until they are as wanted, and checks that the books balance then.
    pub(crate) fn wait_for_stats(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let stats = self.stats();
            if wanted(&stats) {
                assert_balanced(&stats);
                return stats;
            }
            assert!(Instant::now() < deadline, "still {stats}");
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::yield_now();
        }
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

    /// Posts to the control door and keeps the connection; expects 200.
    pub(crate) fn post(&mut self, path: &str, body: &str) {
        let n_bytes = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {n_bytes}\r\n\r\n{body}");
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 1024];
        let n = self.stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    /// Reads until the server closes.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("a close, not a reset");
        String::from_utf8(bytes).unwrap()
    }

    /// Whether the server has reset or closed the connection without another byte.
    pub(crate) fn is_cut(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// Runs the binary to its end.
pub(crate) fn run(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_comet-server")).args(flags).output().unwrap()
}

/// The three identities.
pub(crate) fn assert_balanced(stats: &Value) {
    let count = |name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"));
    let sum = |name: &str| -> u64 {
        stats[name].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
    };
    assert_eq!(count("accepted"), count("open") + sum("closed"), "{stats}");
    assert_eq!(count("messages"), count("void") + count("reached"), "{stats}");
    let accounted = count("written") + count("queued") + sum("dropped");
    assert_eq!(count("deliveries"), accounted, "{stats}");
}
