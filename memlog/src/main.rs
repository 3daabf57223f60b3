//! `memlog`: reads its flags, records or marks, and chooses the exit code.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use memlog::args::{Args, Command, RecordArgs};
use memlog::record::{Observer, record};
use memlog::{Error, log, plot, wait};
use reports::memory_log::Sample;

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
    match execute(&args) {
        Ok(shortfalls) if shortfalls.is_empty() => ExitCode::SUCCESS,
        Ok(shortfalls) => {
            for shortfall in &shortfalls {
                say(shortfall);
            }
            ExitCode::from(FELL_SHORT)
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Does what `args` ask for, and says what it fell short of. An error means that nothing was done.
fn execute(args: &Args) -> Result<Vec<String>, Box<dyn StdError>> {
    match &args.command {
        None => run(&args.record),
        Some(Command::Mark { text, log }) => {
            let no_memlog = |source| Error::NoMemlog { path: log.clone(), source };
            let name = log::mark_name(log).map_err(no_memlog)?;
            wait::send_mark(&name, text).map_err(no_memlog)?;
            Ok(Vec::new())
        }
        Some(Command::Plot { logs, out, look }) => {
            Ok(plot::draw_logs(logs, &look.plot(out.clone()))?)
        }
    }
}

/// Records.
fn run(args: &RecordArgs) -> Result<Vec<String>, Box<dyn StdError>> {
    let config = args.check()?;
    let mut printer = Printer { is_quiet: args.quiet };
    Ok(record(&config, &mut printer)?.shortfalls)
}

/// Prints each line as it goes to the log, as the article's `tee` does.
struct Printer {
    /// Whether nobody reads stdout.
    is_quiet: bool,
}

impl Observer for Printer {
    fn sample(&mut self, sample: &Sample) {
        // The log is what counts; whoever closed stdout has read enough.
        self.is_quiet = self.is_quiet || writeln!(io::stdout(), "{sample}").is_err();
    }

    fn say(&mut self, text: &str) {
        say(text);
    }
}

/// Says something on stderr. Where nobody listens there is nobody to tell that either.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "memlog: {text}");
}
