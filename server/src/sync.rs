//! The locks of the server, and what happens when one is poisoned.
//!
//! A test compiles the router with another version of this file, which tries out orders of locking.

pub(crate) use std::sync::MutexGuard;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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
        self.0.lock().unwrap_or_else(|_| {
            // Kept until somebody waits for it, so it is never missed.
            POISONED.notify_one();
            panic!("a panic has left a table of the server half changed")
        })
    }
}

/// Waits until a poisoned lock is met.
pub(crate) async fn poisoned() {
    POISONED.notified().await;
}
