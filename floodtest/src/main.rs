//! The command `floodtest`: flags in, lines and an exit code out.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use floodtest::args::{Cli, Command, HoldArgs, UrlsArgs};
use floodtest::text::{FinalText, StatsLine};
use floodtest::{Observer, Progress, generate};
use reports::books::FloodReport;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The run did what was asked.
const DONE: u8 = 0;
/// The run was made and fell short.
const FELL_SHORT: u8 = 1;
/// The run could not be made.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match (cli.command, cli.hold) {
        (Some(Command::Urls(args)), _) => write_urls(&args),
        (None, Some(args)) => hold(&args),
        (None, None) => Err(anyhow::anyhow!("--urls is missing; see --help")),
    };
    let code = result.unwrap_or_else(|error| {
        // Whoever read our output has seen enough of it.
        if is_broken_pipe(&error) {
            return DONE;
        }
        say(&format!("{error:#}"));
        COULD_NOT_RUN
    });
    code.into()
}

/// `floodtest --urls …`: makes one run.
fn hold(args: &HoldArgs) -> anyhow::Result<u8> {
    let (stop, signalled) = UnixStream::pair().context("cannot make a signal pipe")?;
    let is_second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal asks to stop, a second one ends the process at once.
        let signalled = signalled.try_clone().context("cannot make a signal pipe")?;
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_second))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&is_second)))
            .and_then(|_| signal_hook::low_level::pipe::register(signal, signalled))
            .context("cannot handle signals")?;
    }
    let config = args.config(io::stderr().is_terminal());
    let mut printer = Printer { json: args.json, has_progress: false, result: Ok(()) };
    let outcome = floodtest::run(&config, stop, &mut printer)?;
    printer.result?;
    if !args.json {
        write!(io::stdout(), "{}", FinalText(&outcome.report))?;
    }
    let shortfalls = outcome.shortfalls();
    for shortfall in &shortfalls {
        say(shortfall);
    }
    Ok(match outcome.report.established {
        0 => COULD_NOT_RUN,
        _ if shortfalls.is_empty() => DONE,
        _ => FELL_SHORT,
    })
}

/// `floodtest urls …`: writes a URL file.
fn write_urls(args: &UrlsArgs) -> anyhow::Result<u8> {
    let UrlsArgs { count, pattern, first, out } = args;
    let result = match out {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            generate::write_urls(&mut out, pattern, *first, *count)
        }
        Some(path) => File::create(path).and_then(|file| {
            generate::write_urls(&mut BufWriter::new(file), pattern, *first, *count)
        }),
    };
    let name = out.as_ref().map_or("stdout".into(), |path| path.display().to_string());
    result.with_context(|| format!("cannot write {name}"))?;
    Ok(DONE)
}

/// Prints a run's reports to stdout and its progress to stderr.
struct Printer {
    /// Whether reports are JSON.
    json: bool,
    /// Whether a progress line stands on the terminal.
    has_progress: bool,
    /// The first error of stdout, which ends the run.
    result: anyhow::Result<()>,
}

impl Printer {
    /// Prints one report.
    fn print(&mut self, report: &FloodReport) -> anyhow::Result<()> {
        if std::mem::take(&mut self.has_progress) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        if self.json {
            writeln!(io::stdout(), "{}", serde_json::to_string(report)?)?;
        } else {
            writeln!(io::stdout(), "{}", StatsLine(report))?;
        }
        Ok(())
    }
}

impl Observer for Printer {
    fn report(&mut self, report: &FloodReport) -> ControlFlow<()> {
        self.result = self.print(report);
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn progress(&mut self, progress: &Progress) {
        // A terminal that is gone is no reason to end the run.
        let _ = write!(io::stderr(), "\r{progress}\x1b[K");
        self.has_progress = true;
    }

    fn trouble(&mut self, what: &str) {
        say(what);
    }
}

/// Whether `error` is that nobody reads our output any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

/// Says one line to people.
fn say(line: &str) {
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "floodtest: {line}");
}
