//! Shuttle's lock, which also checks the router's rule: nobody holds two shards at once.

use std::ops::{Deref, DerefMut};

use shuttle::sync;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
// What is only counted up and down needs no orders tried, and unit tests count without shuttle.
pub(crate) use std::sync::atomic::{AtomicU8, AtomicUsize};

shuttle::thread_local! {
    /// Whether this thread holds a shard.
    static HOLDS_ONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[derive(Debug)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

pub(crate) struct MutexGuard<'lock, T>(sync::MutexGuard<'lock, T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let holds_one = HOLDS_ONE.with(|holds_one| holds_one.replace(true));
        assert!(!holds_one, "a second shard is locked while one is held");
        MutexGuard(self.0.lock().unwrap())
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        HOLDS_ONE.with(|holds_one| holds_one.set(false));
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
