//! Many connections that are read by one thread, which checks the numbers of the messages.

use std::io::{ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::event::{Timespec, epoll};

use super::server::{Server, Transport, count};

/// What a crowd has received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Messages.
    pub(crate) n_messages: u64,
    /// Messages whose number was not the next one.
    pub(crate) n_out_of_order: u64,
    /// Connections that ended with their last chunk, or close 1001.
    pub(crate) n_ended: u64,
    /// Connections that were reset, or closed without that.
    pub(crate) n_cut: u64,
    /// From a message's stamp to its receipt, in µs.
    latencies_us: Vec<u32>,
}

impl Received {
    /// The same of two crowds.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.n_messages += other.n_messages;
        self.n_out_of_order += other.n_out_of_order;
        self.n_ended += other.n_ended;
        self.n_cut += other.n_cut;
        self.latencies_us.extend(other.latencies_us);
        self
    }

    /// A quantile of the latencies, in ms; 0 if there are none.
    pub(crate) fn latency_ms(&mut self, quantile: f64) -> f64 {
        self.latencies_us.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (self.latencies_us.len() as f64 * quantile) as usize;
        self.latencies_us.get(at).map_or(0.0, |&us| f64::from(us) / 1_000.0)
    }
}

/// Many connections.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    reader: JoinHandle<Result<Received>>,
}

impl Crowd {
    /// Connects `n` clients, number k following id k, and waits until all are logged in.
    pub(crate) fn follow(server: &Server, n: u64, clock: Instant) -> Result<Self> {
        Self::follow_by(server, Transport::Chunks, n, clock)
    }

    /// The same by a transport. WebSockets answer pings.
    pub(crate) fn follow_by(
        server: &Server,
        transport: Transport,
        n: u64,
        clock: Instant,
    ) -> Result<Self> {
        let parked = count(&server.stats()?, "connections_parked");
        let follow = |id| server.follow_by(transport, id, id);
        let streams = (1..=n).map(follow).collect::<Result<Vec<_>>>()?;
        server.wait_for(|stats| stats["connections_parked"] == parked + n)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || Reader::new(transport, streams, clock)?.run(&is_over))
        };
        Ok(Self { is_over, reader })
    }

    /// Reads on until nothing comes any more.
    pub(crate) fn finish(self) -> Result<Received> {
        self.is_over.store(true, Ordering::Relaxed);
        self.reader.join().expect("the reader does not panic")
    }
}

/// The text that stamps a message with the time.
pub(crate) fn stamp(clock: Instant) -> String {
    format!("{}.", clock.elapsed().as_micros())
}

/// The thread that reads.
struct Reader {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    received: Received,
    /// What stamps are relative to.
    clock: Instant,
}

/// A connection.
struct Connection {
    transport: Transport,
    /// Until it is closed.
    stream: Option<TcpStream>,
    /// Bytes that are no whole head, chunk or frame yet.
    rest: Vec<u8>,
    is_past_head: bool,
    n_messages: u64,
    /// Whether the last chunk has come, or close 1001.
    has_ended: bool,
}

impl Reader {
    fn new(transport: Transport, streams: Vec<TcpStream>, clock: Instant) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (key, stream) in (0..).zip(&streams) {
            stream.set_nonblocking(true)?;
            let key = epoll::EventData::new_u64(key);
            epoll::add(&epoll, stream, key, epoll::EventFlags::IN)?;
        }
        let connection = |stream| Connection {
            transport,
            stream: Some(stream),
            rest: Vec::new(),
            is_past_head: false,
            n_messages: 0,
            has_ended: false,
        };
        let connections = streams.into_iter().map(connection).collect();
        Ok(Self { epoll, connections, received: Received::default(), clock })
    }

    fn run(mut self, is_over: &AtomicBool) -> Result<Received> {
        let mut events = [const { MaybeUninit::uninit() }; 512];
        let mut scratch = vec![0; 1 << 16];
        let moment = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        loop {
            let was_over = is_over.load(Ordering::Relaxed);
            let found = match epoll::wait(&self.epoll, &mut events, Some(&moment)) {
                Ok((found, _)) => found,
                // The end of a child, like prlimit, interrupts it.
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if found.is_empty() && was_over {
                return Ok(self.received);
            }
            for event in found {
                let key = usize::try_from(event.data.u64()).expect("an index");
                self.connections[key].read(&mut scratch, &mut self.received, self.clock)?;
            }
        }
    }
}

impl Connection {
    fn read(&mut self, scratch: &mut [u8], received: &mut Received, clock: Instant) -> Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match stream.read(scratch) {
            Ok(n @ 1..) => {
                self.rest.extend_from_slice(&scratch[..n]);
                while self.take_one(received, clock)? {}
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            end => {
                received.n_cut += u64::from(end.is_err() || !self.has_ended);
                self.stream = None;
            }
        }
        Ok(())
    }

    /// Takes a head, a chunk or a frame off the front of what came, if there is a whole one.
    fn take_one(&mut self, received: &mut Received, clock: Instant) -> Result<bool> {
        if !self.is_past_head {
            let end = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else { return Ok(false) };
            self.rest.drain(..end + 4);
            self.is_past_head = true;
            return Ok(true);
        }
        let first = match self.transport {
            Transport::Chunks => chunk(&self.rest)?,
            Transport::WebSocket => frame(&self.rest)?,
        };
        let Some((n_bytes, item)) = first else { return Ok(false) };
        match item {
            Item::Message(text) => {
                let (number, message) =
                    text.split_once(": ").context("this is no message of comet-server's")?;
                self.n_messages += 1;
                received.n_messages += 1;
                let is_next = number.rsplit('#').next() == Some(&self.n_messages.to_string());
                received.n_out_of_order += u64::from(!is_next);
                let sent_us = message.trim_start_matches('\'').split('.').next();
                if let Some(sent_us) = sent_us.and_then(|us| us.parse::<u128>().ok()) {
                    let us = clock.elapsed().as_micros().saturating_sub(sent_us);
                    received.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
                }
            }
            Item::Ping => {
                let stream = self.stream.as_mut();
                // Who is closed meanwhile is counted when its end is read.
                _ = stream.map(|stream| stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]));
            }
            Item::Last => {
                received.n_ended += 1;
                self.has_ended = true;
            }
            Item::Other => {}
        }
        self.rest.drain(..n_bytes);
        Ok(true)
    }
}

/// What can come after the head.
enum Item<'text> {
    Message(&'text str),
    Ping,
    /// The last chunk, or close 1001.
    Last,
    /// Another frame, such as a close with another code.
    Other,
}

/// The chunk at the front of some bytes, and how many it takes.
fn chunk(bytes: &[u8]) -> Result<Option<(usize, Item<'_>)>> {
    let Some(begin) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let size = str::from_utf8(&bytes[..begin]).context("the size of a chunk is no text")?;
    let n_bytes = usize::from_str_radix(size, 16)
        .with_context(|| format!("\"{size}\" is no size of a chunk"))?;
    let end = begin + 2 + n_bytes;
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    let text = str::from_utf8(&bytes[begin + 2..end]).context("a chunk is no text")?;
    Ok(Some((end + 2, if n_bytes == 0 { Item::Last } else { Item::Message(text) })))
}

/// The frame at the front of some bytes, and how many it takes.
fn frame(bytes: &[u8]) -> Result<Option<(usize, Item<'_>)>> {
    let (n_bytes, begin) = match *bytes {
        [_, 126, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
        [_, n_bytes @ ..=125, ..] => (usize::from(n_bytes), 2),
        [_, 127..=255, ..] => bail!("no message here is as long as a frame says"),
        _ => return Ok(None),
    };
    let Some(payload) = bytes.get(begin..begin + n_bytes) else { return Ok(None) };
    let item = match bytes[0] {
        0x81 => Item::Message(str::from_utf8(payload).context("a text is no text")?),
        0x88 if payload.starts_with(&1_001_u16.to_be_bytes()) => Item::Last,
        0x89 => Item::Ping,
        _ => Item::Other,
    };
    Ok(Some((begin + n_bytes, item)))
}
