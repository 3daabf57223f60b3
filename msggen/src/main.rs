//! `msggen`: reads its flags, runs, prints the reports, and chooses the exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use msggen::args::Args;
use msggen::tally::Counts;
use msggen::{Observer, Outcome, Verdict};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{SignalKind, signal};

/// It ran and fell short.
const FELL_SHORT: u8 = 1;

/// It could not run.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            return could_not_run(text.trim_start_matches("error: ").trim_end());
        }
        Err(help) => return written(write!(io::stdout(), "{help}")),
    };
    match execute(&args) {
        Ok(code) => code,
        Err(error) => could_not_run(&error.to_string()),
    }
}

/// Runs what `args` ask for. An error means that there was no run.
fn execute(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config = args.check()?;
    if args.seed.is_none() {
        say(&format!("the seed is {}; --seed {0} repeats the ids of this run", config.seed));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut printer = Printer::new(args.json);
    let outcome = runtime.block_on(async {
        let shutdown = shutdown()?;
        Ok::<_, Box<dyn std::error::Error>>(msggen::run(config, &mut printer, shutdown).await?)
    })?;
    printer.clear_progress();
    let (code, shortfalls) = match Verdict::of(&outcome) {
        Verdict::Held => (0, Vec::new()),
        Verdict::FellShort(shortfalls) => (FELL_SHORT, shortfalls),
        Verdict::NothingAnswered(mut shortfalls) => {
            let cure = "is this a control door, and is its token the right one?";
            shortfalls.push(format!("{} answered nothing; {cure}", args.server));
            (COULD_NOT_RUN, shortfalls)
        }
    };
    for shortfall in shortfalls {
        say(&shortfall);
    }
    Ok(match printer.written {
        Ok(()) => ExitCode::from(code),
        Err(_) => written(printer.written),
    })
}

/// Completes with the first SIGINT or SIGTERM. A second one ends the process where it is.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let is_told = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and then sets it.
        let (status, told) = (i32::from(FELL_SHORT), Arc::clone(&is_told));
        signal_hook::flag::register_conditional_shutdown(number, status, told)?;
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

/// Prints reports on stdout and, on a terminal, the progress on stderr.
struct Printer {
    /// Whether reports are for programs.
    is_json: bool,
    /// Whether somebody watches stderr.
    has_watcher: bool,
    /// Whether stdout took everything so far.
    written: io::Result<()>,
}

impl Printer {
    /// A printer of reports, as JSON or for people.
    fn new(is_json: bool) -> Self {
        Self { is_json, has_watcher: io::stderr().is_terminal(), written: Ok(()) }
    }

    /// Clears the line that progress is shown on.
    fn clear_progress(&self) {
        if self.has_watcher {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Observer for Printer {
    fn progress(&mut self, counts: &Counts, asked: u64) {
        if self.has_watcher {
            let Counts { sent, answered, failed, unanswered, late, .. } = counts;
            let _ = write!(
                io::stderr(),
                "\r\x1b[Ksent {sent} of {asked}, answered {answered}, failed {failed}, \
                 unanswered {unanswered}, late {late}"
            );
        }
    }

    fn report(&mut self, outcome: &Outcome) -> ControlFlow<()> {
        self.clear_progress();
        let text = match (self.is_json, outcome.figures.is_final) {
            (true, _) => outcome.json() + "\n",
            (false, false) => outcome.line() + "\n",
            (false, true) => outcome.to_string(),
        };
        if self.written.is_ok() {
            self.written = io::stdout().write_all(text.as_bytes());
        }
        if self.written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The exit code of having written to stdout: whoever closed it has read enough.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("cannot write to stdout: {error}"));
            ExitCode::from(FELL_SHORT)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says why there was no run.
fn could_not_run(why: &str) -> ExitCode {
    say(why);
    ExitCode::from(COULD_NOT_RUN)
}

/// Says something on stderr. Where nobody listens there is nobody to tell that either.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "msggen: {text}");
}
