//! Ctrl-C ends the sending of messages, and the run with its report; twice, everything at once.
//! Once everything is being ended, and when the run is over, nobody waits for signals any more:
//! then one ends the process where it is, as it does in a program that handles none.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What people end a run with.
pub(crate) struct Interrupts {
    /// Ctrl-C.
    interrupted: Signal,
    /// `kill`.
    terminated: Signal,
    /// The terminal is gone; none if that is to be ignored, as under `nohup`.
    hung_up: Option<Signal>,
}

impl Interrupts {
    /// Takes over the signals. Every one of these hears of all signals after it was made.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot handle signals");
        let hung_up = (!is_hang_up_ignored()).then(|| listen(SignalKind::hangup()));
        Ok(Self {
            interrupted: listen(SignalKind::interrupt())?,
            terminated: listen(SignalKind::terminate())?,
            hung_up: hung_up.transpose()?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let Self { interrupted, terminated, hung_up } = self;
        let hang_up = async {
            match hung_up {
                Some(hung_up) => _ = hung_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            () = hang_up => {}
        }
    }

    /// Waits until everything is to end at once. While `is_polite`, one may be asked to end in
    /// good order first.
    pub(crate) async fn abort(mut self, is_polite: &Cell<bool>) {
        loop {
            self.next().await;
            if !is_polite.replace(false) {
                return;
            }
        }
    }
}

/// When signals are handled no more.
pub(crate) struct Handling(Arc<AtomicBool>);

impl Handling {
    /// Lets signals be handled until it is over. To be made before [`Interrupts`].
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let is_over = Arc::<AtomicBool>::default();
        let hang_up = (!is_hang_up_ignored()).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hang_up) {
            register_conditional_default(signal, Arc::clone(&is_over))
                .context("cannot handle signals")?;
        }
        Ok(Self(is_over))
    }

    /// From here on a signal ends the process.
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Whether whoever started this wants it to go on without a terminal.
fn is_hang_up_ignored() -> bool {
    /// The bit of SIGHUP, which is signal 1.
    const HANG_UP: u64 = 1;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANG_UP != 0)
}
