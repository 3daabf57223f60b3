//! The locks of the server, and what happens when one is poisoned.
//!
//! A test compiles the router with another version of this file, which tries out orders of locking.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

/// Rings when a poisoned lock was met. It is one for the process: whoever meets such a lock is deep
/// in code that knows nothing of servers, and no server of this process is of use afterwards.
static POISONED: Notify = Notify::const_new();

/// A lock whose data no panic can leave half changed unnoticed.
///
/// A panic while it is held poisons it. From then on the tables behind it cannot be trusted, and a
/// server that went on with the others would lose messages in silence: so the first who meets it
/// ends the server, through [`poisoned`].
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|_| ring())
    }
}

/// The same for a lock that many may hold who only read.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }

    /// Waits until nobody writes.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|_| ring())
    }

    /// Waits until nobody else has it.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|_| ring())
    }
}

/// Ends whoever met a poisoned lock, and the server.
fn ring() -> ! {
    // Kept until somebody waits for it, so it is never missed.
    POISONED.notify_one();
    panic!("a panic has left a table of the server half changed")
}

/// Waits until a poisoned lock is met.
pub(crate) async fn poisoned() {
    POISONED.notified().await;
}
