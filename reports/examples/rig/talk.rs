//! Says on stderr how far a run is.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often progress is said where it cannot be redrawn.
const TALK_EVERY: Duration = Duration::from_secs(10);

/// Tells people on stderr how far it is: redrawn on a terminal, else every ten seconds.
#[derive(Default)]
pub(crate) struct Talk {
    /// When something was last said.
    said_at: Option<Instant>,
}

impl Talk {
    /// Says what is done now.
    pub(crate) fn say(&mut self, text: &str) {
        self.said_at = None;
        self.progress(text);
        self.said_at = None;
    }

    /// Says how far it is, if it is time.
    pub(crate) fn progress(&mut self, text: &str) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[Krig: {text}");
            return;
        }
        if self.said_at.is_none_or(|at| at.elapsed() >= TALK_EVERY) {
            self.said_at = Some(Instant::now());
            eprintln!("rig: {text}");
        }
    }
}

/// The line that progress was drawn on is left to what comes after.
impl Drop for Talk {
    fn drop(&mut self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
