//! The way to a server: where it is, how many connections it gets, and what is done while it is
//! gone.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::receipt::Reason;
use crate::stream::{Stream, Tls};

/// How long a connection may take to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after the first failed attempt the second one follows. From then on twice as long each
/// time: a server that restarts in a moment is not waited for, one that is gone is left alone.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause between two attempts: a server that is back is found within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Finds a server: resolves its host once, and returns the first address that takes a connection.
/// All later ones go there.
pub async fn find(server: &Url, tls: Option<&Tls>) -> Result<SocketAddr, Error> {
    let host = server.host_str().expect("a checked URL has a host");
    let port = server.port_or_known_default().expect("http has a default port");
    // An IPv6 address stands in brackets in a URL and without them anywhere else.
    let bare_host = host.trim_start_matches('[').trim_end_matches(']');
    let unknown = |source| Error::UnknownHost { host: host.to_owned(), source };
    let addresses = tokio::net::lookup_host((bare_host, port)).await.map_err(unknown)?;
    let mut refusal = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(probe)) => {
                if let Some(tls) = tls {
                    handshake(server, tls, probe).await?;
                }
                return Ok(address);
            }
            Ok(Err(error)) => refusal = error,
            Err(_elapsed) => refusal = io::ErrorKind::TimedOut.into(),
        }
    }
    let server = server.origin().ascii_serialization();
    Err(Error::NobodyListening { server, source: refusal })
}

/// Tries whether a server speaks TLS and is trusted.
async fn handshake(server: &Url, tls: &Tls, probe: TcpStream) -> Result<(), Error> {
    let result = timeout(CONNECT_TIMEOUT, tls.connect(probe)).await;
    let result = result.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
    let server = server.origin().ascii_serialization();
    result.map(drop).map_err(|source| Error::Handshake { server, source })
}

/// The pauses between the attempts of one who wants a connection.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The next one.
    fn next(&mut self) -> Duration {
        let longer = LONGEST_PAUSE.min(self.0 * 2);
        std::mem::replace(&mut self.0, longer)
    }
}

/// The way to one server, shared by all sources.
#[derive(Debug)]
pub struct Connector {
    /// Where it is.
    address: SocketAddr,
    /// How connections are protected, if they are.
    tls: Option<Tls>,
    /// Connections that it may still get.
    room: Arc<Semaphore>,
    /// How long messages wait for a server that is gone before they fail.
    patience: Duration,
    /// Since when the server is gone; none while it is there.
    lost_at: Mutex<Option<Instant>>,
}

impl Connector {
    /// The way to `address`, with at most `n_connections` at a time.
    pub fn new(
        address: SocketAddr,
        tls: Option<Tls>,
        n_connections: usize,
        patience: Duration,
    ) -> Self {
        let room = Arc::new(Semaphore::new(n_connections));
        Self { address, tls, room, patience, lost_at: Mutex::default() }
    }

    /// Waits for room for a connection, in the order of asking. It is given back by dropping it.
    pub async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }

    /// Room for a connection, if there is some and nobody waits for it.
    pub fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Connects. While the server is gone it is tried again and again, with pauses, until it has
    /// been gone for as long as messages wait; after that, once.
    pub async fn connect(&self) -> Result<Stream, Reason> {
        let mut pauses = Pauses::default();
        loop {
            match self.attempt().await {
                Ok(stream) => {
                    self.found();
                    return Ok(stream);
                }
                Err(reason) => self.wait(&mut pauses, reason).await?,
            }
        }
    }

    /// Connects once.
    pub async fn attempt(&self) -> Result<Stream, Reason> {
        match timeout(CONNECT_TIMEOUT, self.try_connect()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Reason::of_connecting(&error)),
            Err(_elapsed) => Err(Reason::TimedOut),
        }
    }

    /// Waits after an attempt that failed for `reason` until the next one. Returns the reason if
    /// the server has been gone for as long as messages wait.
    pub async fn wait(&self, pauses: &mut Pauses, reason: Reason) -> Result<(), Reason> {
        // Counted from when anybody first found the server gone, not from this attempt: all
        // messages that wait for it fail at the same time.
        let patience_left = self.patience.saturating_sub(self.lose().elapsed());
        if patience_left.is_zero() {
            return Err(reason);
        }
        sleep(pauses.next().min(patience_left)).await;
        Ok(())
    }

    /// Notes that the server is there.
    pub fn found(&self) {
        *self.lost_at() = None;
    }

    /// Connects, however long it takes.
    async fn try_connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        // A request is written whole; a delay to fill a segment would be a source's delay. Where it
        // cannot be set, the measured delays show it.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => tls.connect(stream).await,
        }
    }

    /// Notes that the server is gone, and returns since when it is.
    pub fn lose(&self) -> Instant {
        *self.lost_at().get_or_insert_with(Instant::now)
    }

    /// Whether the server is gone, as far as anybody has noticed.
    pub fn is_lost(&self) -> bool {
        self.lost_at().is_some()
    }

    /// Since when the server is gone, for one look or one change.
    fn lost_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost_at.lock().expect("nothing panics with it")
    }
}
