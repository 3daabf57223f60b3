//! Scripted control doors, and the program under test with its whole story when it fails.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
pub(crate) use testing::wait_until;

/// How long anything may take before its test fails. On a machine that does nothing else
/// nothing that works takes a tenth of it.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A request as a server received it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its number among all requests of the server, from 0 on, in order of arrival.
    pub(crate) number: usize,
    /// The head with the empty line that ends it.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Request {
    /// The id in the request's path.
    pub(crate) fn id(&self) -> u64 {
        let path = self.head.split(' ').nth(1).unwrap();
        path.rsplit('/').next().unwrap().parse().unwrap()
    }

    /// The lines of a batch as (id, message).
    pub(crate) fn lines(&self) -> Vec<(u64, String)> {
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["id"].as_u64().unwrap(), line["msg"].as_str().unwrap().to_owned())
        };
        self.body.lines().map(line).collect()
    }
}

/// What a server does with a request.
pub(crate) enum Reply {
    /// Answers with this status and body, and keeps the connection.
    Answer(u16, String),
    /// Keeps this answer back until the next one on the connection is written.
    Later(u16, String),
    /// Answers as above and closes the connection without having said so.
    AnswerAndClose(u16, String),
    /// Writes these bytes as they are, and keeps the connection.
    Bytes(&'static str),
    /// Writes these bytes as they are, and closes the connection.
    BytesAndClose(&'static str),
    /// Resets the connection.
    Reset,
    /// Never answers, and keeps the connection as long as the server lives.
    Silence,
    /// Closes every connection and the server.
    Die,
}

/// What the control door answers to a message that reached `connections`.
pub(crate) fn reached(connections: u64) -> Reply {
    Reply::Answer(200, format!("{{\"connections\":{connections}}}"))
}

/// What the control door answers to a batch of which every message reached one connection.
pub(crate) fn all_reached(request: &Request) -> Reply {
    let n = request.body.lines().count();
    Reply::Answer(200, format!("{{\"messages\":{n},\"connections\":{n},\"void\":0}}"))
}

/// A control door on a free port that does what its script says.
pub(crate) struct FakeServer {
    /// Where it listens.
    address: SocketAddr,
    /// What its threads share.
    shared: Arc<Shared>,
    /// Every request, as it arrives.
    requests: Receiver<Request>,
    /// Waits for connections.
    acceptor: Option<JoinHandle<()>>,
}

/// A server's script.
type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// What the threads of a server share.
struct Shared {
    /// What to do with each request.
    script: Box<Script>,
    /// Requests received so far.
    n_requests: AtomicUsize,
    /// Whether the server has died.
    is_dead: AtomicBool,
    /// Every connection ever taken.
    connections: Mutex<Vec<TcpStream>>,
    /// Where requests are reported.
    requests: Mutex<Sender<Request>>,
}

impl FakeServer {
    /// A server that does with each request what `script` says.
    pub(crate) fn new(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// The same at an address that an earlier server had.
    pub(crate) fn at(
        address: SocketAddr,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            n_requests: AtomicUsize::new(0),
            is_dead: AtomicBool::new(false),
            connections: Mutex::default(),
            requests: Mutex::new(sender),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { address, shared, requests, acceptor: Some(acceptor) }
    }

    /// A server behind which every id has one connection.
    pub(crate) fn open() -> Self {
        Self::new(|request| {
            if request.head.starts_with("POST /send ") { all_reached(request) } else { reached(1) }
        })
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that it has taken, and not reset.
    pub(crate) fn n_connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Waits for the next request.
    pub(crate) fn next_request(&self) -> Request {
        self.requests.recv_timeout(DEADLINE).expect("a request in time")
    }

    /// Every request that has arrived and that nobody has looked at.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut requests: Vec<Request> = self.requests.try_iter().collect();
        requests.sort_by_key(|request| request.number);
        requests
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.die();
        // Wakes the acceptor; when it has gone already there is nobody to wake.
        let _ = TcpStream::connect(self.address);
        self.acceptor.take().unwrap().join().unwrap();
    }
}

impl Shared {
    /// Takes connections until the server dies.
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.is_dead.load(Ordering::SeqCst) {
                return;
            }
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            self.connections.lock().unwrap().push(stream.try_clone().unwrap());
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.serve(stream));
        }
    }

    /// Serves one connection until it ends.
    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut kept_back = String::new();
        while let Some((head, body)) = read_request(&mut reader) {
            let number = self.n_requests.fetch_add(1, Ordering::SeqCst);
            let request = Request { number, head, body };
            let reply = (self.script)(&request);
            // Reported before it is answered, so that what was answered is there to look at.
            let _ = self.requests.lock().unwrap().send(request);
            let is_kept = matches!(
                reply,
                Reply::Answer(..) | Reply::Later(..) | Reply::Bytes(_) | Reply::Silence
            );
            match reply {
                Reply::Later(status, body) => kept_back += &answer(status, &body),
                Reply::Answer(status, body) | Reply::AnswerAndClose(status, body) => {
                    let answers = std::mem::take(&mut kept_back) + &answer(status, &body);
                    let _ = stream.write_all(answers.as_bytes());
                }
                Reply::Bytes(bytes) | Reply::BytesAndClose(bytes) => {
                    let _ = stream.write_all(bytes.as_bytes());
                }
                Reply::Reset => {
                    let socket = socket2::SockRef::from(&stream);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                    self.forget(&stream);
                    return;
                }
                Reply::Silence => {}
                Reply::Die => self.die(),
            }
            if !is_kept {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// Drops the server's own hold on a connection, so that closing it closes it.
    fn forget(&self, stream: &TcpStream) {
        let peer = stream.peer_addr().unwrap();
        self.connections.lock().unwrap().retain(|kept| kept.peer_addr().ok() != Some(peer));
    }

    /// Closes every connection and takes no other.
    fn die(&self) {
        if !self.is_dead.swap(true, Ordering::SeqCst) {
            for connection in self.connections.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

/// An answer as it is written.
fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} S\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads a head and the body that it announces. `None` when the connection ends.
pub(crate) fn read_request(reader: &mut impl io::BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let length = match lower.split("content-length: ").nth(1) {
        Some(length) => length.split("\r\n").next()?.parse().ok()?,
        None => 0,
    };
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

/// A run of the program under test.
pub(crate) struct Running {
    /// What was run, for the story.
    command: String,
    /// The process.
    child: Child,
    /// Reads its stdout; none when the test does.
    stdout: Option<JoinHandle<String>>,
    /// Reads its stderr.
    stderr: JoinHandle<String>,
}

/// Starts `msggen` with `arguments`, split at blanks.
pub(crate) fn start(arguments: &str) -> Running {
    start_with(&arguments.split_whitespace().collect::<Vec<_>>())
}

/// Starts `msggen` with `arguments`, which may have blanks in them.
pub(crate) fn start_with(arguments: &[&str]) -> Running {
    let mut running = spawn(arguments);
    let stdout = running.child.stdout.take().unwrap();
    running.stdout = Some(read_to_end(stdout));
    running
}

/// Starts `msggen` with `flags` from a shell that has run `before`.
pub(crate) fn start_after(before: &str, flags: &str) -> Running {
    let command = format!("{before}; exec {} {flags}", env!("CARGO_BIN_EXE_msggen"));
    let mut running = spawn_program("sh", &["-c", &command]);
    let stdout = running.child.stdout.take().unwrap();
    running.stdout = Some(read_to_end(stdout));
    running
}

/// Starts `msggen` with `flags` on one core of the machine.
pub(crate) fn start_pinned(core: usize, flags: &str) -> Running {
    let core = core.to_string();
    let mut arguments = vec!["-c", &core, env!("CARGO_BIN_EXE_msggen")];
    arguments.extend(flags.split_whitespace());
    let mut running = spawn_program("taskset", &arguments);
    let stdout = running.child.stdout.take().unwrap();
    running.stdout = Some(read_to_end(stdout));
    running
}

/// Starts `msggen`, its stdout left for the test to read.
pub(crate) fn start_unread(arguments: &str) -> Running {
    spawn(&arguments.split_whitespace().collect::<Vec<_>>())
}

/// Starts `msggen`, its stdout not read by anybody.
fn spawn(arguments: &[&str]) -> Running {
    spawn_program(env!("CARGO_BIN_EXE_msggen"), arguments)
}

/// Starts a program, its stdout not read by anybody.
fn spawn_program(binary: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(binary);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = read_to_end(child.stderr.take().unwrap());
    Running { command: format!("{binary} {}", arguments.join(" ")), child, stdout: None, stderr }
}

/// Waits for a report that is as it `should_be`.
#[track_caller]
pub(crate) fn wait_for_report(
    reports: &mut impl Iterator<Item = String>,
    should_be: impl Fn(&Value) -> bool,
) {
    let mut reports = reports.map(|line| serde_json::from_str(&line).unwrap());
    assert!(reports.any(|report: Value| should_be(&report)), "the run ended before");
}

/// Runs `msggen` with `arguments` to its end.
pub(crate) fn msggen(arguments: &str) -> Finished {
    start(arguments).finish()
}

/// Runs `msggen` with `flags`, and `more` of them that may have blanks in them, to its end.
pub(crate) fn msggen_with(flags: &str, more: &[&str]) -> Finished {
    let mut arguments: Vec<&str> = flags.split_whitespace().collect();
    arguments.extend(more);
    start_with(&arguments).finish()
}

/// Reads a stream in a thread of its own.
fn read_to_end(mut stream: impl io::Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

impl Running {
    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The lines of its stdout, if it was started unread.
    pub(crate) fn stdout_lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.child.stdout.take().unwrap()).lines().map(Result::unwrap)
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        let pid = Pid::from_child(&self.child);
        let (sender, ended) = channel();
        let waiter = std::thread::spawn(move || {
            let status = self.child.wait().unwrap();
            sender.send(()).unwrap();
            status
        });
        let is_in_time = ended.recv_timeout(DEADLINE).is_ok();
        if !is_in_time {
            kill_process(pid, Signal::KILL).unwrap();
        }
        let finished = Finished {
            command: self.command,
            status: waiter.join().unwrap(),
            stdout: self.stdout.map_or_else(String::new, |stdout| stdout.join().unwrap()),
            stderr: self.stderr.join().unwrap(),
        };
        assert!(is_in_time, "it did not end by itself{}", finished.story());
        finished
    }
}

/// A run that has ended.
pub(crate) struct Finished {
    /// What was run.
    command: String,
    /// How it ended.
    status: ExitStatus,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
}

impl Finished {
    /// Command, exit code and both streams.
    pub(crate) fn story(&self) -> String {
        let mut story = format!("\n    $ {}\nended with {}", self.command, self.status);
        write!(story, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr).unwrap();
        story
    }

    /// Fails with the story unless `holds`.
    #[track_caller]
    pub(crate) fn assert(&self, holds: bool, what: &str) {
        assert!(holds, "{what}{}", self.story());
    }

    /// Fails unless it ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        self.assert(self.status.code() == Some(code), &format!("exit code {code} was expected"));
        self
    }

    /// Fails unless stderr holds `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        self.assert(self.stderr.contains(text), &format!("{text:?} was expected on stderr"));
        self
    }

    /// The last report, of a run with `--json`.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        let report: Value = serde_json::from_str(last).unwrap_or_default();
        self.assert(report["is_final"] == true, "a final report was expected");
        report
    }

    /// The last report, its totals checked.
    #[track_caller]
    pub(crate) fn balanced(&self) -> Value {
        let report = self.report();
        let figure = |name: &str| report[name].as_u64().unwrap();
        let sum = |name: &str| -> u64 {
            report[name].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
        };
        // A server other than comet-server does not say who was reached, and few WebSockets answer.
        let known = |name: &str| report[name].as_u64().unwrap_or(0);
        let taken = figure("answered") + known("written");
        let ended = taken + figure("failed") + figure("unanswered");
        self.assert(figure("sent") == ended, "sent = answered + written + failed + unanswered");
        let told = known("reached") + known("void") + figure("reach_unknown");
        self.assert(told == figure("answered"), "answered = reached + void + not known");
        self.assert(figure("failed") == sum("failures"), "every failure has a reason");
        self.assert(figure("unanswered") == sum("unanswered_by"), "every silence has a reason");
        report
    }
}

/// Fails unless all of `items` differ.
#[track_caller]
pub(crate) fn assert_distinct<T: std::hash::Hash + Eq + std::fmt::Debug>(items: &[T]) {
    let mut seen = HashSet::new();
    for item in items {
        assert!(seen.insert(item), "{item:?} twice");
    }
}

/// Whether a program that a test talks to is installed. A gate that wants all of them fails.
pub(crate) fn program_is_there(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
    let is_there = command.status().is_ok();
    if !is_there {
        testing::skip(name);
    }
    is_there
}
