//! Says on stderr how far a run is.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reports::output::{self, Form, Patience, Stream};

/// How often progress is said where it cannot be redrawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Tells people on stderr how far it is: redrawn on a terminal, else every ten seconds. Whoever
/// does not read it does not hold up the run.
pub(crate) struct Progress {
    /// Where they read it.
    stderr: Stream,
    /// When something was last said.
    said_at: Option<Instant>,
}

impl Progress {
    /// Takes over stderr.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let streams = output::start(&io::stdout(), Form::Text, &io::stderr(), || ());
        let (_stdout, stderr) = streams.context("cannot start a thread for the output")?;
        Ok(Self { stderr, said_at: None })
    }

    /// Says what is done now.
    pub(crate) fn begin(&mut self, text: &str) {
        self.said_at = None;
        self.show(text);
        self.said_at = None;
    }

    /// Says how far it is, if it is time.
    pub(crate) fn show(&mut self, text: &str) {
        let line = format!("rig: {text}");
        if io::stderr().is_terminal() {
            // A line that is wrapped could not be replaced.
            let shown: String = line.chars().take(columns() - 1).collect();
            self.stderr.show(shown + "\n");
            return;
        }
        if self.said_at.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.said_at = Some(Instant::now());
            self.stderr.live(line + "\n");
        }
    }
}

/// Characters of a line of the terminal, which is as wide as a punched card if it does not say.
fn columns() -> usize {
    let n = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if n == 0 { 80 } else { n.into() }
}

/// What comes after is printed in the place of the progress, and not before it.
impl Drop for Progress {
    fn drop(&mut self) {
        self.stderr.show(String::new());
        // Whoever does not read it now is not waited for.
        let _ = self.stderr.finish(&mut Patience::new(&|| true));
    }
}
