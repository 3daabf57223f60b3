//! `msggen`: reads its flags, runs, prints the reports, and chooses the exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Parser as _;
use msggen::args::Args;
use msggen::tally::Counts;
use msggen::{Observer, Outcome, Verdict, shutdown};

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
    let (config, demands) = (args.check()?, args.demands()?);
    if args.seed.is_none() {
        say(&format!("the seed is {}; --seed {0} repeats the ids of this run", config.seed));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let has_watcher = io::stderr().is_terminal();
    let mut printer = Printer { is_json: args.json, has_watcher, written: Ok(()) };
    let outcome = runtime.block_on(async {
        let shutdown = shutdown::on_signal(FELL_SHORT)?;
        Ok::<_, Box<dyn std::error::Error>>(msggen::run(config, &mut printer, shutdown).await?)
    })?;
    let verdict = Verdict::of(&outcome, &demands);
    for shortfall in verdict.shortfalls() {
        say(shortfall);
    }
    let code = match verdict {
        Verdict::Held => 0,
        Verdict::FellShort(_) => FELL_SHORT,
        Verdict::NothingAnswered(_) => COULD_NOT_RUN,
    };
    Ok(match printer.written {
        Ok(()) => ExitCode::from(code),
        Err(_) => written(printer.written),
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
    /// Shows `text` in the place of the progress that was shown before.
    fn show(&self, text: &str) {
        if self.has_watcher {
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Observer for Printer {
    fn progress(&mut self, counts: &Counts, asked: u64) {
        self.show(&counts.progress(asked));
    }

    fn report(&mut self, outcome: &Outcome) -> ControlFlow<()> {
        self.show("");
        if self.written.is_ok() {
            self.written = io::stdout().write_all(outcome.text(self.is_json).as_bytes());
        }
        if self.written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn trouble(&mut self, what: &str) {
        self.show("");
        say(what);
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
