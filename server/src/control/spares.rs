//! Descriptors that are kept for the control door, so that it can still be reached when all others
//! are gone.

use crate::sync::Mutex;
use std::fs::File;

/// How many. Each is one connection at a time.
const N_SPARES: usize = 8;

/// Descriptors that stand for control connections to come.
#[derive(Debug)]
pub(crate) struct Spares(Mutex<Vec<File>>);

impl Spares {
    /// Opens them. To be done before the first client comes.
    pub(crate) fn open() -> Self {
        let spares = Self(Mutex::new(Vec::with_capacity(N_SPARES)));
        spares.refill();
        spares
    }

    /// Frees one, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.0.lock().pop().is_some()
    }

    /// Opens what is missing, as far as it can.
    pub(crate) fn refill(&self) {
        let mut spares = self.0.lock();
        while spares.len() < N_SPARES {
            let Ok(spare) = File::open("/dev/null") else { return };
            spares.push(spare);
        }
    }
}
