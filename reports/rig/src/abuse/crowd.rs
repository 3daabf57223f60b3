//! Many connections that are read by one thread, which checks the numbers of the messages.

use std::io::{ErrorKind, Read as _};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::event::{Timespec, epoll};

use super::server::{Server, count};

/// What a crowd has received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Messages.
    pub(crate) n_messages: u64,
    /// Messages whose number was not the next one.
    pub(crate) n_out_of_order: u64,
    /// Connections that ended with their last chunk.
    pub(crate) n_ended: u64,
    /// Connections that were reset, or closed without a last chunk.
    pub(crate) n_cut: u64,
    /// From a message's stamp to its receipt, in µs.
    latencies_us: Vec<u32>,
}

impl Received {
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
        let parked = count(&server.stats()?, "connections_parked");
        let streams = (1..=n).map(|id| server.follow(id, id)).collect::<Result<Vec<_>>>()?;
        server.wait_for(|stats| stats["connections_parked"] == parked + n)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || Reader::new(streams, clock)?.run(&is_over))
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
    /// Until it is closed.
    stream: Option<TcpStream>,
    /// Bytes that are no whole head or chunk yet.
    rest: Vec<u8>,
    is_past_head: bool,
    n_messages: u64,
    /// Whether the last chunk has come.
    has_ended: bool,
}

impl Reader {
    fn new(streams: Vec<TcpStream>, clock: Instant) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (key, stream) in (0..).zip(&streams) {
            stream.set_nonblocking(true)?;
            let key = epoll::EventData::new_u64(key);
            epoll::add(&epoll, stream, key, epoll::EventFlags::IN)?;
        }
        let connection = |stream| Connection {
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

    /// Takes a head or a chunk off the front of what came, if there is a whole one.
    fn take_one(&mut self, received: &mut Received, clock: Instant) -> Result<bool> {
        let text = String::from_utf8_lossy(&self.rest);
        if !self.is_past_head {
            let Some(end) = text.find("\r\n\r\n") else { return Ok(false) };
            self.rest.drain(..end + 4);
            self.is_past_head = true;
            return Ok(true);
        }
        let Some((size, _)) = text.split_once("\r\n") else { return Ok(false) };
        let n_bytes = usize::from_str_radix(size, 16)
            .with_context(|| format!("\"{size}\" is no size of a chunk"))?;
        let (begin, end) = (size.len() + 2, size.len() + 2 + n_bytes);
        if text.len() < end + 2 {
            return Ok(false);
        }
        if n_bytes == 0 {
            received.n_ended += 1;
            self.has_ended = true;
            return Ok(false);
        }
        let chunk = text.get(begin..end).and_then(|chunk| chunk.split_once(": '"));
        let (number, message) = chunk.context("a chunk holds no message of comet-server's")?;
        self.n_messages += 1;
        received.n_messages += 1;
        let is_next = number.rsplit('#').next() == Some(&self.n_messages.to_string());
        received.n_out_of_order += u64::from(!is_next);
        if let Some(sent_us) = message.split('.').next().and_then(|us| us.parse::<u128>().ok()) {
            let us = clock.elapsed().as_micros().saturating_sub(sent_us);
            received.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
        }
        self.rest.drain(..end + 2);
        Ok(true)
    }
}
