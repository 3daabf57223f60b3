//! Ctrl-C ends the sending of messages, and the run with its report; twice, everything at once.

use std::cell::Cell;
use std::fs;

use anyhow::Context as _;
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

/// Whether whoever started this wants it to go on without a terminal.
fn is_hang_up_ignored() -> bool {
    /// The bit of SIGHUP, which is signal 1.
    const HANG_UP: u64 = 1;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANG_UP != 0)
}
