//! Connections to one control door, kept between requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OwnedSemaphorePermit;

use crate::connector::Connector;
use crate::http1::{Http1Connection, State};
use crate::receipt::Reason;

/// The connections to one control door, shared by all sources.
#[derive(Debug)]
pub struct Pool {
    /// How new ones are made.
    connector: Connector,
    /// Those that nobody uses, the one used last at the end. It is taken first, so that no more are
    /// in use than are needed.
    idle: Mutex<Vec<Http1Connection>>,
    /// How often bytes came on a connection that owed no answer.
    n_strays: AtomicU64,
}

/// A connection that somebody uses.
#[derive(Debug)]
pub struct Held {
    /// The connection.
    pub http1: Http1Connection,
    /// Its room among those of the server.
    _room: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool without connections.
    pub fn new(connector: Connector) -> Self {
        Self { connector, idle: Mutex::default(), n_strays: AtomicU64::new(0) }
    }

    /// Takes a connection that nobody uses, if there is one and nobody waits for it.
    pub fn try_take(&self) -> Option<Held> {
        let room = self.connector.try_room()?;
        Some(Held { http1: self.take_idle()?, _room: room })
    }

    /// Takes a connection, or makes one.
    pub async fn take(self: Arc<Self>) -> Result<Held, Reason> {
        let room = self.connector.room().await;
        if let Some(http1) = self.take_idle() {
            return Ok(Held { http1, _room: room });
        }
        let mut http1 = Http1Connection::new(self.connector.connect().await?);
        // A server that speaks first speaks something else.
        if http1.state() == State::Stray {
            self.note_stray();
            return Err(Reason::BadAnswer);
        }
        Ok(Held { http1, _room: room })
    }

    /// Gives back a connection that has been answered everything.
    pub fn put(&self, held: Held) {
        self.idle().push(held.http1);
    }

    /// A connection that nobody uses and that is still there.
    fn take_idle(&self) -> Option<Http1Connection> {
        let mut idle = self.idle();
        loop {
            let mut http1 = idle.pop()?;
            match http1.state() {
                State::Quiet => return Some(http1),
                State::Stray => self.note_stray(),
                State::Ended => {}
            }
        }
    }

    /// Notes that bytes came on a connection that owed no answer.
    pub fn note_stray(&self) {
        self.n_strays.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    pub fn n_strays(&self) -> u64 {
        self.n_strays.load(Ordering::Relaxed)
    }

    /// Looks at all connections that nobody uses, and closes them.
    pub fn look_for_strays(&self) {
        let connections = std::mem::take(&mut *self.idle());
        for mut http1 in connections {
            if http1.state() == State::Stray {
                self.note_stray();
            }
        }
    }

    /// The connections that nobody uses, for one change.
    fn idle(&self) -> MutexGuard<'_, Vec<Http1Connection>> {
        self.idle.lock().expect("nothing panics with it")
    }
}
