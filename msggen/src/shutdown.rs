//! How a run is told to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{SignalKind, signal};

/// Completes with the first SIGINT or SIGTERM. A second one ends the process where it is, with
/// exit code `at_once`, whatever the process is waiting for.
pub fn on_signal(at_once: u8) -> io::Result<impl Future<Output = ()>> {
    let is_told = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and then sets it.
        let told = Arc::clone(&is_told);
        signal_hook::flag::register_conditional_shutdown(number, i32::from(at_once), told)?;
        signal_hook::flag::register(number, Arc::clone(&is_told))?;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
