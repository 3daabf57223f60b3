//! A server that writes its answers in steps: the pieces of all connections in turn, each only when
//! floodtest has read all that was written before. So it is certain which bytes come in one read.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Ended, UrlFile, start, wait_until};

/// How long it may take until all connections have come. Reached only when a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often it is looked whether floodtest is still there while its connections are waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is written to one connection, a piece at a time; the first one right after the request.
pub(super) type Pieces = Vec<Vec<u8>>;

/// How a connection goes on when all of its pieces are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It stays open until floodtest closes it.
    Held,
    /// The server closes it.
    Closed,
}

/// Runs floodtest with `flags` against a server that writes `scripts[k - 1]` to the connection of
/// `/test/{k}`, and ends it when everything was read.
///
/// `settled` runs when all connections have their first piece.
pub(super) fn play(
    scripts: &[Pieces],
    ending: Ending,
    flags: &[&str],
    settled: impl FnOnce(),
) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = (1..=scripts.len()).map(|id| format!("http://127.0.0.1:{port}/test/{id}"));
    let urls = UrlFile::of(&lines.collect::<Vec<_>>().join("\n"));
    let (arrived, arrivals) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let id = read_id(&mut stream);
            if arrived.send((id, stream)).is_err() {
                return;
            }
        }
    });
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "1s"];
    let mut floodtest = start(&[&args, flags].concat());

    let mut streams: Vec<Option<TcpStream>> = scripts.iter().map(|_| None).collect();
    let deadline = Instant::now() + DEADLINE;
    let mut n_arrived = 0;
    while n_arrived < scripts.len() {
        let Ok((id, mut stream)) = arrivals.recv_timeout(LOOK_EVERY) else {
            if floodtest.is_over() || Instant::now() >= deadline {
                return floodtest.end();
            }
            continue;
        };
        n_arrived += 1;
        // At once: floodtest waits for some heads before it begins further connections.
        let _ = stream.write_all(&scripts[id - 1][0]);
        streams[id - 1] = Some(stream);
    }
    let pid = floodtest.pid();
    wait_until_read(pid, port);
    settled();
    let n_steps = scripts.iter().map(Vec::len).max().unwrap_or(0);
    for step in 1..n_steps {
        for (pieces, stream) in scripts.iter().zip(&mut streams) {
            if let (Some(piece), Some(stream)) = (pieces.get(step), stream) {
                // A client that has gone is seen in the figures.
                let _ = stream.write_all(piece);
            }
        }
        // What is not read by then, on a busy machine, is read together with what follows.
        wait_until("a piece is read", || is_idle(pid));
    }
    wait_until_read(pid, port);
    if ending == Ending::Closed {
        for stream in streams.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    } else {
        floodtest.signal(Signal::INT);
    }
    floodtest.end()
}

/// Reads a request, and whose it is: 17 of `GET /test/17`.
fn read_id(stream: &mut TcpStream) -> usize {
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => head.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let id = head.strip_prefix("GET /test/").and_then(|rest| rest.split(' ').next());
    id.unwrap().parse().unwrap()
}

/// Whether all threads of a process wait for something: it has read what came to it.
fn is_idle(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which may contain anything.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| !rest.starts_with(['R', 'D']))
    })
}

/// Waits until the clients of `port` have read all that was written to them, as the kernel says.
fn wait_until_read(pid: u32, port: u16) {
    wait_until("all that was written is read", || is_read(port) && is_idle(pid));
}

/// Whether no client of `port` has bytes in its queue, and no server any that were not
/// acknowledged.
fn is_read(port: u16) -> bool {
    let here = format!("{port:04X}");
    let mut table = BufReader::new(File::open("/proc/net/tcp").unwrap());
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line).unwrap() > 0 {
        // `   3: 0100007F:1F90 0100007F:ABCD 01 00000000:00000000`, the state being that of a
        // listener or of a connection, and then what is unsent and unread.
        let start = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let field = |from, to| line.get(start + from..start + to).unwrap_or_default();
        let is_ours = |from, to| field(from, to) == here.as_bytes() && field(30, 32) != b"0A";
        if is_ours(11, 15) && field(33, 41) != b"00000000"
            || is_ours(25, 29) && field(42, 50) != b"00000000"
        {
            return false;
        }
        line.clear();
    }
    true
}
