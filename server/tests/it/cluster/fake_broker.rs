//! A broker of the test's own: it does what nodes need of Redis, until it is told to be hostile.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::DEADLINE;

/// How it behaves.
#[derive(Clone)]
pub(crate) enum Mode {
    /// As it should.
    Good,
    /// As it should, every byte by itself.
    Dribbling,
    /// It answers everything with these bytes.
    Hostile(Vec<u8>),
    /// The same, after a proper greeting.
    HostileLater(Vec<u8>),
}

/// The broker.
pub(crate) struct FakeBroker {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// Where to write to a connection, and what is subscribed on it.
type Connection = (TcpStream, HashSet<Vec<u8>>);

/// What its connections share.
struct Shared {
    mode: Mutex<Mode>,
    /// By number.
    connections: Mutex<HashMap<u64, Connection>>,
    n_accepted: AtomicU64,
}

impl FakeBroker {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Good),
            connections: Mutex::default(),
            n_accepted: AtomicU64::new(0),
        });
        let for_connections = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&for_connections);
                let stream = stream.unwrap();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { shared, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Says these bytes on all connections that there are.
    pub(crate) fn say(&self, bytes: &[u8]) {
        for (stream, _) in self.shared.connections.lock().unwrap().values_mut() {
            // It may have been closed at the first byte.
            _ = stream.write_all(bytes);
        }
    }

    /// Publishes something, as somebody would who is no node.
    pub(crate) fn publish(&self, channel: &str, payload: &[u8]) {
        self.shared.publish(channel.as_bytes(), payload);
    }

    pub(crate) fn n_accepted(&self) -> u64 {
        self.shared.n_accepted.load(Ordering::Relaxed)
    }

    /// Waits until it has accepted so many connections.
    pub(crate) fn wait_for_accepted(&self, n: u64) {
        testing::wait_until(&format!("{n} connections"), || self.n_accepted() >= n);
    }
}

impl Shared {
    /// Serves a connection to its end.
    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let number = self.n_accepted.fetch_add(1, Ordering::Relaxed);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        self.connections.lock().unwrap().insert(number, (stream, HashSet::new()));
        while let Some(command) = read_command(&mut reader) {
            let mode = self.mode.lock().unwrap().clone();
            let is_greeting = command[0] == b"PING" || command[0] == b"AUTH";
            let answer = match mode {
                Mode::Hostile(bytes) => bytes,
                Mode::HostileLater(bytes) if !is_greeting => bytes,
                _ => self.answer(number, &command),
            };
            let mut connections = self.connections.lock().unwrap();
            let (stream, _) = connections.get_mut(&number).unwrap();
            if self.write(stream, &answer).is_err() {
                break;
            }
        }
        self.connections.lock().unwrap().remove(&number);
    }

    /// Writes as the mode demands.
    fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        if matches!(*self.mode.lock().unwrap(), Mode::Dribbling) {
            return bytes.iter().try_for_each(|&byte| stream.write_all(&[byte]));
        }
        stream.write_all(bytes)
    }

    /// What Redis would answer.
    fn answer(&self, number: u64, command: &[Vec<u8>]) -> Vec<u8> {
        let with_channels = |kind: &str, change: fn(&mut HashSet<Vec<u8>>, Vec<u8>)| {
            let mut connections = self.connections.lock().unwrap();
            let (_, channels) = connections.get_mut(&number).unwrap();
            let mut answer = Vec::new();
            for channel in &command[1..] {
                change(channels, channel.clone());
                answer.extend(array(&[kind.as_bytes(), channel]));
                answer.extend(format!(":{}\r\n", channels.len()).bytes());
            }
            answer
        };
        match &command[0][..] {
            b"PING" => {
                let connections = self.connections.lock().unwrap();
                let is_subscribed = !connections[&number].1.is_empty();
                let pong =
                    if is_subscribed { "*2\r\n$4\r\npong\r\n$0\r\n\r\n" } else { "+PONG\r\n" };
                pong.into()
            }
            b"AUTH" => b"+OK\r\n".to_vec(),
            b"SUBSCRIBE" => with_channels("subscribe", |channels, one| _ = channels.insert(one)),
            b"UNSUBSCRIBE" => {
                with_channels("unsubscribe", |channels, one| _ = channels.remove(&one))
            }
            b"PUBLISH" => format!(":{}\r\n", self.publish(&command[1], &command[2])).into(),
            b"PUBSUB" => {
                let connections = self.connections.lock().unwrap();
                let n = connections.values().filter(|one| one.1.contains(&command[2])).count();
                let mut answer = b"*2\r\n".to_vec();
                answer.extend(bulk(&command[2]));
                answer.extend(format!(":{n}\r\n").bytes());
                answer
            }
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }

    /// Publishes to whoever is subscribed; how many they are.
    fn publish(&self, channel: &[u8], payload: &[u8]) -> u64 {
        let mut push = array(&[b"message", channel]);
        push.extend(bulk(payload));
        let mut n = 0;
        let mut connections = self.connections.lock().unwrap();
        for (stream, _) in connections.values_mut().filter(|one| one.1.contains(channel)) {
            n += u64::from(self.write(stream, &push).is_ok());
        }
        n
    }
}

/// An array of three, up to its second string.
fn array(strings: &[&[u8]; 2]) -> Vec<u8> {
    [b"*3\r\n".to_vec(), bulk(strings[0]), bulk(strings[1])].concat()
}

/// A string.
pub(crate) fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The next command; `None` at the end.
fn read_command(reader: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let n = read_number(reader, '*')?;
    let mut command = Vec::new();
    for _ in 0..n {
        let mut argument = vec![0; read_number(reader, '$')? + 2];
        reader.read_exact(&mut argument).ok()?;
        argument.truncate(argument.len() - 2);
        command.push(argument);
    }
    Some(command)
}

/// The number in the next line, behind its sign.
fn read_number(reader: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.strip_prefix(sign)?.trim_end().parse().ok()
}
