//! `memlog`: reads its flags, records or marks, and chooses the exit code.

use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;
use memlog::args::{Args, Command, RecordArgs};
use memlog::clock::Now;
use memlog::error::Error;
use memlog::host::{here, there};
use memlog::observer::Observer;
use memlog::record::record;
use memlog::{log, plot, wait};
use reports::causes::with_causes;
use reports::memory_log::Sample;
use reports::output::{self, Form, Patience, Stream};
use signal_hook::consts::{SIGINT, SIGTERM};

/// It ran and fell short.
const FELL_SHORT: u8 = 1;

/// It could not run.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            say(text.trim_start_matches("error: ").trim_end());
            return ExitCode::from(COULD_NOT_RUN);
        }
        Err(help) => {
            let _ = write!(io::stdout(), "{help}");
            return ExitCode::SUCCESS;
        }
    };
    execute(&args).unwrap_or_else(|error| {
        say(&with_causes(error.as_ref()));
        ExitCode::from(COULD_NOT_RUN)
    })
}

/// Does what `args` ask for, and says what it fell short of. An error means that nothing was done.
fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => run(&args.record),
        Some(Command::Mark { text, log }) => {
            let no_memlog = |source| Error::NoMemlog { path: log.clone(), source };
            let name = log::mark_name(log).map_err(no_memlog)?;
            wait::send_mark(&name, text).map_err(no_memlog)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::About(about)) => match about.write::<Args>(&mut io::stdout()) {
            // Whoever closed stdout has read enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(ExitCode::SUCCESS),
        },
        Some(Command::Worker { .. }) => {
            let orders = io::stdin().as_fd().try_clone_to_owned()?;
            let answers = io::stdout().as_fd().try_clone_to_owned()?;
            there::serve(orders, answers.into())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Plot { logs, out, look }) => {
            let shortfalls = plot::draw_logs(logs, &look.plot(out.clone()))?;
            Ok(ended(&shortfalls, say))
        }
    }
}

/// Records, and waits until what it said is read.
fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let config = args.check().map_err(anyhow::Error::msg)?;
    let is_told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_told))?;
    }
    // The log is what counts; whoever closed stdout has read enough.
    let (stdout, stderr) = output::start(&io::stdout(), Form::Text, &io::stderr(), || ())?;
    let mut printer = Printer { is_quiet: args.quiet, stdout, stderr };
    let recorded = match &config.there {
        None => record(&config, &mut printer),
        Some(there) => here::record(&config, there, &mut printer),
    };
    let code = match recorded {
        Ok(outcome) => ended(&outcome.shortfalls, |text| printer.say(text)),
        Err(error) => {
            printer.say(&with_causes(&error));
            ExitCode::from(COULD_NOT_RUN)
        }
    };
    // Whoever does not read finds all in the log.
    let is_told = || is_told.load(Ordering::SeqCst);
    let mut patience = Patience::new(&is_told);
    let _ = printer.stdout.finish(&mut patience);
    let _ = printer.stderr.finish(&mut patience);
    Ok(code)
}

/// Says what was done less than asked for; the exit code for that.
fn ended(shortfalls: &[String], mut say: impl FnMut(&str)) -> ExitCode {
    for shortfall in shortfalls {
        say(shortfall);
    }
    if shortfalls.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FELL_SHORT) }
}

/// Prints each line as it goes to the log, as the article's `tee` does. Neither stream's reader
/// holds up the samples.
struct Printer {
    /// Whether nobody reads stdout.
    is_quiet: bool,
    /// Where lines go.
    stdout: Stream,
    /// Where people are told.
    stderr: Stream,
}

impl Observer for Printer {
    fn sample(&mut self, _: Now, sample: &Sample) {
        if !self.is_quiet {
            self.stdout.live(format!("{sample}\n"));
        }
    }

    fn say(&mut self, text: &str) {
        self.stderr.last(format!("memlog: {text}\n"));
    }
}

/// Says something on stderr. Where nobody listens there is nobody to tell that either.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "memlog: {text}");
}
