//! Connections to one control door, kept between requests.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OwnedSemaphorePermit;

use crate::gate::Gate;
use crate::link::Link;
use crate::receipt::Reason;

/// The connections to one control door, shared by all sources.
#[derive(Debug)]
pub struct Pool {
    /// How new ones are made.
    gate: Gate,
    /// Those that nobody uses, the one used last at the end. It is taken first, so that no more are
    /// in use than are needed.
    idle: Mutex<Vec<Link>>,
}

/// A connection that somebody uses.
#[derive(Debug)]
pub struct Held {
    /// The connection.
    pub link: Link,
    /// Its room among those of the server.
    _room: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool without connections.
    pub fn new(gate: Gate) -> Self {
        Self { gate, idle: Mutex::default() }
    }

    /// Takes a connection that nobody uses, if there is one and nobody waits for it.
    pub fn try_take(&self) -> Option<Held> {
        let room = self.gate.try_room()?;
        Some(Held { link: self.take_idle()?, _room: room })
    }

    /// Takes a connection, or makes one.
    pub async fn take(self: Arc<Self>) -> Result<Held, Reason> {
        let room = self.gate.room().await;
        let link = match self.take_idle() {
            Some(link) => link,
            None => Link::new(self.gate.connect().await?),
        };
        Ok(Held { link, _room: room })
    }

    /// Gives back a connection that has been answered everything.
    pub fn put(&self, held: Held) {
        self.idle().push(held.link);
    }

    /// A connection that nobody uses and that is still there.
    fn take_idle(&self) -> Option<Link> {
        let mut idle = self.idle();
        loop {
            let link = idle.pop()?;
            if link.is_quiet() {
                return Some(link);
            }
        }
    }

    /// The connections that nobody uses, for one change.
    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().expect("nothing panics with it")
    }
}
