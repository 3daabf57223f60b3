//! A server of one text, at `GET /metrics`, in a thread of its own.
//!
//! Whoever measures hands over what it has found, under a lock that nobody holds for longer than
//! it takes to copy a pointer. The thread makes a text of it when somebody asks, once for each that
//! was handed over.
//!
//! Whoever reaches the port may read the figures and can cost no more than the limits here: eight
//! connections at a time, each with a head of 4 KiB and one copy of the text, for five seconds at
//! most. When all places are taken the oldest connection goes, so that silent ones keep nobody out.
//! What requests cost in time is the thread's. (The library `tiny_http` 0.12 has no limit for the
//! time of a request and none for its threads.)

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::text::CONTENT_TYPE;

/// Connections at a time. Prometheus has one; beside it there is room for a few people with curl.
const MAX_CONNECTIONS: usize = 8;

/// Bytes that a request may have before its empty line. Prometheus sends some 300.
const MAX_HEAD_BYTES: usize = 4 * 1024;

/// How long a connection may last, its closing included. Prometheus itself waits for ten seconds.
const CONNECTION_TIME: Duration = Duration::from_secs(5);

/// Bytes that are read and dropped after the answer, until the other side closes: closed at once,
/// with something unread, the answer could be thrown away on its way.
const MAX_DRAINED_BYTES: usize = 64 * 1024;

/// How long nobody is accepted after the kernel could not: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(100);

/// Where what was found is handed over. The server ends with it.
#[derive(Debug)]
pub struct Publisher<T> {
    /// What was handed over last.
    latest: Arc<Mutex<Option<Arc<T>>>>,
    /// Where the server listens.
    address: SocketAddr,
    /// Its other end is readable once this one is gone.
    _alive: UnixStream,
}

impl<T: Send + Sync + 'static> Publisher<T> {
    /// Listens on `address`, whose port may be 0, and answers with what `render` makes of what was
    /// published last; with 503 as long as there is nothing.
    pub fn start(address: SocketAddr, render: fn(&T) -> String) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (alive, its_end) = UnixStream::pair()?;
        let latest = Arc::new(Mutex::new(None));
        let server = Server {
            listener,
            its_end,
            latest: Arc::clone(&latest),
            render,
            rendered: None,
            connections: VecDeque::new(),
            paused_until: None,
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(move || server.run())?;
        Ok(Self { latest, address, _alive: alive })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands over what is answered from now on.
    pub fn publish(&self, found: T) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(found));
    }
}

/// What the thread has.
struct Server<T> {
    /// Where connections come from.
    listener: TcpListener,
    /// Readable when the publisher is gone.
    its_end: UnixStream,
    /// What was handed over last.
    latest: Arc<Mutex<Option<Arc<T>>>>,
    /// Makes a text of it.
    render: fn(&T) -> String,
    /// The text of what was handed over last when somebody asked.
    rendered: Option<(Arc<T>, String)>,
    /// Those that are connected, the oldest first.
    connections: VecDeque<Connection>,
    /// Until when nobody is accepted.
    paused_until: Option<Instant>,
}

/// One connection.
struct Connection {
    /// Its socket.
    stream: TcpStream,
    /// When it is closed, whatever it does.
    until: Instant,
    /// How far it is.
    step: Step,
}

/// How far a connection is.
enum Step {
    /// Its request is read.
    Reading(Vec<u8>),
    /// Its answer is written, from this byte on.
    Writing(Vec<u8>, usize),
    /// It is answered, and its close is waited for; bytes read meanwhile.
    Draining(usize),
}

impl<T> Server<T> {
    /// Serves until the publisher is gone.
    fn run(mut self) {
        loop {
            let now = Instant::now();
            self.connections.retain(|connection| connection.until > now);
            if self.paused_until.is_some_and(|until| until <= now) {
                self.paused_until = None;
            }
            // Nobody is to be told of an error of poll, and without poll nothing can be served.
            let Ok((is_over, accepts, ready)) = self.wait(now) else { return };
            if is_over {
                return;
            }
            // From the end, so that those before keep their places.
            for index in ready.into_iter().rev() {
                if self.go_on(index).is_err() {
                    self.connections.remove(index);
                }
            }
            if accepts {
                self.accept(now);
            }
        }
    }

    /// Waits for something to do: whether it is the end, whether somebody connects, and which
    /// connections are ready.
    fn wait(&self, now: Instant) -> io::Result<(bool, bool, Vec<usize>)> {
        let mut fds = vec![PollFd::new(&self.its_end, PollFlags::IN)];
        fds.extend(self.connections.iter().map(|connection| {
            let is_writing = matches!(connection.step, Step::Writing(..));
            let flags = if is_writing { PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&connection.stream, flags)
        }));
        if self.paused_until.is_none() {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let deadlines = self.connections.iter().map(|connection| connection.until);
        let next = deadlines.chain(self.paused_until).min();
        let timeout = next.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((false, false, Vec::new())),
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let n = self.connections.len();
        let ready = (0..n).filter(|index| is_ready(&fds[index + 1])).collect();
        Ok((is_ready(&fds[0]), fds.get(n + 1).is_some_and(is_ready), ready))
    }

    /// Takes those who connect.
    fn accept(&mut self, now: Instant) {
        // Those who are connected have their turn in between.
        for _ in 0..MAX_CONNECTIONS {
            match self.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    if self.connections.len() == MAX_CONNECTIONS {
                        self.connections.pop_front();
                    }
                    let (until, step) = (now + CONNECTION_TIME, Step::Reading(Vec::new()));
                    self.connections.push_back(Connection { stream, until, step });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_theirs(&error) => {}
                Err(_) => {
                    self.paused_until = Some(now + PAUSE);
                    return;
                }
            }
        }
    }

    /// Goes on with a connection as far as it can; an error if it has come to its end.
    fn go_on(&mut self, index: usize) -> io::Result<()> {
        loop {
            let Connection { stream, step, .. } = &mut self.connections[index];
            match step {
                Step::Reading(head) => {
                    let Some(n) = read(stream, head)? else { return Ok(()) };
                    let is_whole = head.windows(4).any(|it| it == b"\r\n\r\n");
                    if !is_whole && head.len() < MAX_HEAD_BYTES && n > 0 {
                        continue;
                    }
                    let head = std::mem::take(head);
                    let answer = if is_whole {
                        self.answer(&head)
                    } else if n == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    } else {
                        refusal("431 Request Header Fields Too Large", "The head is too long.\n")
                    };
                    self.connections[index].step = Step::Writing(answer, 0);
                }
                Step::Writing(answer, n_written) => {
                    match stream.write(&answer[*n_written..]) {
                        Ok(n) => *n_written += n,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                    if *n_written == answer.len() {
                        stream.shutdown(Shutdown::Write)?;
                        *step = Step::Draining(0);
                    }
                }
                Step::Draining(n_drained) => {
                    let Some(n) = read(stream, &mut Vec::new())? else { return Ok(()) };
                    *n_drained += n;
                    if n == 0 || *n_drained > MAX_DRAINED_BYTES {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    /// The answer to a request.
    fn answer(&mut self, head: &[u8]) -> Vec<u8> {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [method, target, b"HTTP/1.0" | b"HTTP/1.1"] = words.as_slice() else {
            return refusal("400 Bad Request", "This is no request of HTTP/1.\n");
        };
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        if !matches!(*method, b"GET" | b"HEAD") {
            return refusal("405 Method Not Allowed", "Only GET is understood.\n");
        }
        if path != b"/metrics" {
            return refusal("404 Not Found", "The figures are at /metrics.\n");
        }
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(latest) = latest else {
            return refusal("503 Service Unavailable", "There are no figures yet.\n");
        };
        let known = self.rendered.take().filter(|(known, _)| Arc::ptr_eq(known, &latest));
        let (_, text) = self.rendered.insert(known.unwrap_or_else(|| {
            let text = (self.render)(&latest);
            (latest, text)
        }));
        let body = if *method == b"HEAD" { "" } else { text.as_str() };
        response("200 OK", CONTENT_TYPE, text.len(), body)
    }
}

/// Reads what has come and appends it; how much that was, or `None` if nothing has come.
fn read(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut bytes = [0; MAX_HEAD_BYTES];
    loop {
        match stream.read(&mut bytes) {
            Ok(n) => {
                into.extend_from_slice(&bytes[..n]);
                return Ok(Some(n));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a connection has failed before it was accepted, which is no matter of this side.
fn is_theirs(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

/// An answer that refuses.
fn refusal(status: &str, why: &str) -> Vec<u8> {
    response(status, "text/plain; charset=utf-8", why.len(), why)
}

/// An answer, after which the connection is closed.
fn response(status: &str, content_type: &str, length: usize, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::wait_until;

    /// A server of numbers.
    fn server() -> Publisher<u64> {
        let render = |n: &u64| format!("x {n}\n");
        Publisher::start("127.0.0.1:0".parse().unwrap(), render).unwrap()
    }

    /// What a server answers to these bytes.
    fn ask(server: &Publisher<u64>, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_was_published_last_is_answered() {
        let server = server();
        let get = b"GET /metrics?x HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!(ask(&server, get).starts_with("HTTP/1.1 503 "));
        for n in [1, 2] {
            server.publish(n);
            let expected = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: 4\r\n\
                 Cache-Control: no-store\r\nConnection: close\r\n\r\nx {n}\n"
            );
            // The second time it is the text that was made the first time.
            assert_eq!([ask(&server, get), ask(&server, get)], [expected.clone(), expected]);
        }
        let head = ask(&server, b"HEAD /metrics HTTP/1.0\r\n\r\n");
        assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let server = server();
        server.publish(1);
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics HTTP/2\r\n\r\n", "400"),
            ("\r\n\r\n", "400"),
            (&long, "431"),
        ] {
            let answer = ask(&server, request.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        }
    }

    #[test]
    fn silent_connections_keep_nobody_out_and_are_closed() {
        let server = server();
        server.publish(1);
        let connect = |_| TcpStream::connect(server.address()).unwrap();
        let mut silent: Vec<_> = (0..3 * MAX_CONNECTIONS).map(connect).collect();
        let answer = ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nx 1\n"), "{answer}");
        // The oldest had to go at once, the others when their time is up.
        for stream in &mut silent {
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        }
    }

    #[test]
    fn the_server_ends_with_its_publisher() {
        let server = server();
        let address = server.address();
        drop(server);
        wait_until("nobody listens", || TcpStream::connect(address).is_err());
    }
}
