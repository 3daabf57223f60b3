//! Scripted servers, URL files, and the binary.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reports::books::FloodReport;
use rustix::process::{Pid, Signal, kill_process};
pub(crate) use testing::wait_until;

/// How long anything may take. Reached only when a test fails.
const DEADLINE: Duration = Duration::from_mins(1);

/// The head that our server sends.
pub(crate) const OUR_HEAD: &str = "HTTP/1.1 200 OK\r\nServer: comet-server/0.1.0\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

/// One request as a server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its bytes, to the empty line.
    pub(crate) text: String,
    /// Where it came from.
    pub(crate) peer: SocketAddr,
}

/// A server that does to connection k = 0, 1, … what its script says, once it has the request.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The requests, in the order of their arrival.
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server. A connection is closed when its script returns.
    pub(crate) fn start(script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same behind a listener that is there already.
    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(listener, move |k, _, stream| script(k, stream))
    }

    /// A server that does to the connection of id 1, 2, … what its script says, in whichever order
    /// they come.
    pub(crate) fn start_by_id(
        script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, move |_, request, stream| {
            let id = request.strip_prefix("GET /test/").unwrap().split(' ').next().unwrap();
            script(id.parse().unwrap(), stream);
        })
    }

    /// A server behind `listener` that does what its script says to each request.
    pub(crate) fn start_on_requests(
        listener: TcpListener,
        script: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(listener, move |_, request, stream| script(request, stream))
    }

    /// Serves with a script that gets the number of the connection and its request.
    fn serve(
        listener: TcpListener,
        script: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, seen) = (Arc::new(script), Arc::clone(&requests));
        std::thread::spawn(move || {
            for (k, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let peer = stream.peer_addr().unwrap();
                    stream.set_nodelay(true).unwrap();
                    let text = read_head(&mut stream);
                    seen.lock().unwrap().push(Request { text: text.clone(), peer });
                    script(k, &text, &mut stream);
                });
            }
        });
        Self { address, requests }
    }

    /// A server that sends `text` and closes.
    pub(crate) fn saying(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::start(move |_, stream| send(stream, &text))
    }

    /// A server that sends `text` and then waits for the client to close.
    pub(crate) fn holding(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::start(move |_, stream| {
            send(stream, &text);
            hold(stream);
        })
    }

    /// The URLs of ids 1 to `n` on this server.
    pub(crate) fn urls(&self, n: u64) -> UrlFile {
        let address = self.address;
        let lines: Vec<String> = (1..=n).map(|id| format!("http://{address}/test/{id}")).collect();
        UrlFile::of(&lines.join("\n"))
    }

    /// The requests so far, in the order of their text.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut requests = self.requests.lock().unwrap().clone();
        requests.sort_by(|left, right| left.text.cmp(&right.text));
        requests
    }
}

/// Reads a request to its empty line.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Sends `text`, if the client is still there.
pub(crate) fn send(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
}

/// Waits until the client closes.
pub(crate) fn hold(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 16]);
}

/// `text` as a chunk.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The chunks of messages with these numbers, as our server frames them.
pub(crate) fn messages(numbers: &[u64]) -> String {
    numbers.iter().map(|n| chunk(&format!("Recvd msg #{n}: 'hello'<br/>"))).collect()
}

/// An address where nobody listens: somebody did a moment ago.
pub(crate) fn deserted_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A URL file that is there as long as this is.
pub(crate) struct UrlFile(tempfile::NamedTempFile);

impl UrlFile {
    /// A file with `text` in it.
    pub(crate) fn of(text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Self(file)
    }

    /// Its name.
    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// A `floodtest` that runs.
pub(crate) struct Running {
    /// The command line.
    command: String,
    /// The process.
    child: Child,
    /// Its stdout, line by line, as they come.
    lines: Receiver<String>,
    /// The lines taken so far.
    stdout: String,
    /// What came on its stderr so far.
    said: Arc<Mutex<String>>,
    /// All of its stderr, at its end.
    stderr: Receiver<String>,
}

/// A `floodtest` that has ended.
pub(crate) struct Ended {
    /// The command line.
    command: String,
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All of its stdout.
    pub(crate) stdout: String,
    /// All of its stderr.
    pub(crate) stderr: String,
}

/// Starts `floodtest` with these arguments.
pub(crate) fn start(args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(args);
    start_command(command)
}

/// Runs `floodtest` with these arguments to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    start(args).end()
}

/// Starts `floodtest` with these arguments where a process may open `n_files` files.
pub(crate) fn start_limited(n_files: u32, args: &[&str]) -> Running {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {n_files}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_floodtest")]).args(args);
    start_command(command)
}

/// The processes that `pid` has started and that still run.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Sends `signal` to a process that was started here.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits until none of these processes runs any more.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    // Where nobody waits for orphans they stay as zombies.
    let is_gone = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    wait_until("they are gone", || pids.iter().all(is_gone));
}

/// Starts a command that becomes `floodtest`.
pub(crate) fn start_command(mut command: Command) -> Running {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (line_sender, lines) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.try_for_each(|line| line_sender.send(line))
    });
    let (text_sender, text) = channel();
    let said = Arc::new(Mutex::new(String::new()));
    let saying = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = stderr.read(&mut bytes) {
            text.extend_from_slice(&bytes[..n]);
            *saying.lock().unwrap() = String::from_utf8_lossy(&text).into_owned();
        }
        text_sender.send(String::from_utf8_lossy(&text).into_owned())
    });
    let command = format!("{command:?}");
    Running { command, child, lines, stdout: String::new(), said, stderr: text }
}

impl Running {
    /// Waits for a report of a `--json` run that is as it should be.
    pub(crate) fn wait_for(&mut self, what: impl Fn(&FloodReport) -> bool) -> FloodReport {
        let deadline = Instant::now() + DEADLINE;
        while let Some(line) = self.next_line(deadline) {
            let report: FloodReport = serde_json::from_str(&line).unwrap();
            if what(&report) {
                return report;
            }
        }
        self.kill();
        panic!("the report that was waited for never came\n{}", self.ended_now());
    }

    /// Waits for the next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        match self.next_line(Instant::now() + DEADLINE) {
            Some(line) => line,
            None => panic!("there is no line on stdout\n{}", self.ended_now()),
        }
    }

    /// Waits for a line on its stderr that begins with `start`, behind the program's name; what
    /// follows.
    pub(crate) fn stderr_line(&self, start: &str) -> String {
        let start = format!("floodtest: {start}");
        testing::wait_for(&start, || {
            let said = self.said.lock().unwrap();
            let whole = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            whole.into_iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
        })
    }

    /// Whether it has come to its end already.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it `signal`.
    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        while self.next_line(deadline).is_some() {}
        if Instant::now() >= deadline {
            self.kill();
            panic!("it did not end\n{}", self.ended_now());
        }
        self.ended_now()
    }

    /// The next line of stdout; `None` at its end or at the deadline.
    fn next_line(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left).ok()?;
        self.stdout.push_str(&line);
        self.stdout.push('\n');
        Some(line)
    }

    /// Ends it by force.
    fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// All about it, now that it has ended.
    fn ended_now(&mut self) -> Ended {
        Ended {
            command: self.command.clone(),
            code: self.child.wait().unwrap().code(),
            stdout: std::mem::take(&mut self.stdout),
            stderr: self.stderr.recv_timeout(DEADLINE).unwrap_or_default(),
        }
    }
}

impl Ended {
    /// Requires this exit code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Requires a line on stderr, which begins with the program's name as all do.
    #[track_caller]
    pub(crate) fn saying(self, line: &str) -> Self {
        let line = format!("floodtest: {line}");
        assert!(self.stderr.lines().any(|said| said == line), "missing: {line}\n{self}");
        self
    }

    /// Requires words on stderr.
    #[track_caller]
    pub(crate) fn mentioning(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "missing: {words}\n{self}");
        self
    }

    /// The final report of a `--json` run, if there is one.
    pub(crate) fn last_report(&self) -> Option<FloodReport> {
        let report: FloodReport = serde_json::from_str(self.stdout.lines().last()?).ok()?;
        report.is_final.then_some(report)
    }

    /// The last report of a `--json` run.
    #[track_caller]
    pub(crate) fn report(&self) -> FloodReport {
        let Some(line) = self.stdout.lines().last() else { panic!("there is no report\n{self}") };
        let report: FloodReport = serde_json::from_str(line).unwrap();
        assert!(report.is_final, "{self}");
        report
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "{command}\nexit code {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}

/// What the library is asked for, on `urls` and flat out.
pub(crate) fn library_config(urls: impl Into<PathBuf>) -> floodtest::config::Config {
    floodtest::config::Config {
        urls: urls.into(),
        rate: floodtest::config::Rate::Max,
        connections: None,
        hold: None,
        report_every: Duration::from_millis(10),
        connect_timeout: Duration::from_secs(10),
        head_timeout: Some(Duration::from_secs(10)),
        source_ips: None,
        accounting: floodtest::accounting::Accounting::default(),
        is_sse: false,
        request: floodtest::request::RequestArgs { method: "GET".to_owned(), ..Default::default() },
        tls: floodtest::tls::TlsArgs::default(),
        ends: floodtest::end::Ends::default(),
        streams: floodtest::streams::plan::StreamPlan::default(),
        shape: floodtest::shape::Shape::default(),
        progress_every: None,
        out: None,
        worker: env!("CARGO_BIN_EXE_floodtest").into(),
        hosts: Vec::new(),
        sender_host: None,
        remote_program: "floodtest".to_owned(),
    }
}
