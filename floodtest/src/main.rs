//! The command `floodtest`: flags in, lines and an exit code out.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use about::About;
use anyhow::Context;
use clap::Parser;
use floodtest::args::{AccountingArgs, Cli, Command, HoldArgs, ShapeArgs, UrlsArgs};
use floodtest::live::{self, Style};
use floodtest::streams::args::StreamArgs;
use floodtest::text::{FinalText, StatsLine};
use floodtest::{Config, Observer, generate};
use metrics::Publisher;
use reports::books::FloodReport;
use reports::causes::with_causes;
use reports::output::{self, Form, Patience, Stream};
use signal_hook::consts::{SIGINT, SIGTERM};

/// The run did what was asked.
const DONE: u8 = 0;
/// The run was made and fell short.
const FELL_SHORT: u8 = 1;
/// The run could not be made.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            say(text.trim_start_matches("error: ").trim_end());
            return COULD_NOT_RUN.into();
        }
        Err(help) => {
            // Whoever closed stdout has read enough.
            let _ = write!(io::stdout(), "{help}");
            return DONE.into();
        }
    };
    let result = match (cli.command, cli.hold) {
        (Some(Command::Urls(args)), _) => write_urls(&args),
        (Some(Command::About(about)), _) => tell(&about),
        (Some(Command::Worker { urls: Some(urls), .. }), _) => run_worker(&urls),
        (Some(Command::Worker { urls: None, .. }), _) => run_agent(),
        (None, Some(args)) if args.plan => {
            show_dry_run(&args, &cli.accounting, &cli.streams, &cli.shape)
        }
        (None, Some(args)) => hold(&args, &cli.accounting, &cli.streams, &cli.shape),
        (None, None) => Err(anyhow::anyhow!("--urls is missing; see --help")),
    };
    let code = result.unwrap_or_else(|error| {
        // Whoever read our output has seen enough of it.
        if is_broken_pipe(&error) {
            return DONE;
        }
        say(&with_causes(error.as_ref()));
        COULD_NOT_RUN
    });
    code.into()
}

/// `floodtest --urls …`: makes one run, and waits until what it said is read.
fn hold(
    args: &HoldArgs,
    accounting: &AccountingArgs,
    about_streams: &StreamArgs,
    shape: &ShapeArgs,
) -> anyhow::Result<u8> {
    let (stop, signalled) = UnixStream::pair().context("cannot make a signal pipe")?;
    let is_told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal asks to stop, a second one ends the process at once,
        // whatever it is waiting for.
        let signalled = signalled.try_clone().context("cannot make a signal pipe")?;
        let told = Arc::clone(&is_told);
        signal_hook::flag::register_conditional_shutdown(signal, FELL_SHORT.into(), told)
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&is_told)))
            .and_then(|_| signal_hook::low_level::pipe::register(signal, signalled))
            .context("cannot handle signals")?;
    }
    let form = if args.json { Form::Json } else { Form::Text };
    // A reader of stdout that is gone ends the run like a signal.
    let when_broken = move || {
        let _ = (&signalled).write(&[0]);
    };
    let streams = output::start(&io::stdout(), form, &io::stderr(), when_broken);
    let (stdout, stderr) = streams.context("cannot start a thread for the output")?;
    let mut storms: Vec<_> = shape.storm.iter().map(|storm| storm.at).collect();
    storms.sort_unstable();
    let json = args.json;
    let mut printer = Printer { json, stdout, stderr, storms, metrics: None };
    if let Some(profile) = about_streams.profile {
        printer.say(&format!("--profile stands for {profile}; flags that are given win"));
    }
    let config = args.config(accounting, about_streams, shape, has_live_view());
    let code = run(args, &config, &stop, &mut printer).unwrap_or_else(|error| {
        printer.say(&with_causes(error.as_ref()));
        COULD_NOT_RUN
    });
    Ok(printer.finish(code, &|| is_told.load(Ordering::SeqCst)))
}

/// Makes one run, until `stop` is readable.
fn run(
    args: &HoldArgs,
    config: &Config,
    stop: &UnixStream,
    printer: &mut Printer,
) -> anyhow::Result<u8> {
    if let Some(address) = args.metrics {
        let publisher = Publisher::start(address, floodtest::metrics::text);
        let publisher = publisher.with_context(|| format!("cannot listen on {address}"))?;
        printer.say(&format!("metrics on http://{}/metrics", publisher.address()));
        printer.metrics = Some(publisher);
    }
    let outcome = floodtest::run(config, stop, printer)?;
    printer.stderr.show(String::new());
    let shortfalls = outcome.shortfalls(args.expect.as_ref());
    if !args.json {
        let mut text = FinalText(&outcome).to_string();
        if shortfalls.is_empty() {
            text = format!("{text}verdict       {}\n", outcome.verdict());
        }
        printer.stdout.last(text);
    }
    if printer.stdout.error().is_some() {
        return Ok(DONE);
    }
    for shortfall in &shortfalls {
        printer.say(shortfall);
    }
    if args.json && shortfalls.is_empty() && outcome.report.lost.is_none() {
        // A pipeline that only looks at the exit code is told that nobody looked at the messages.
        printer.say(&outcome.verdict());
    }
    Ok(match outcome.report.established {
        _ if shortfalls.is_empty() => DONE,
        0 => COULD_NOT_RUN,
        _ => FELL_SHORT,
    })
}

/// `floodtest --plan …`: says what a run would do.
fn show_dry_run(
    args: &HoldArgs,
    accounting: &AccountingArgs,
    streams: &StreamArgs,
    shape: &ShapeArgs,
) -> anyhow::Result<u8> {
    let (_stop, signalled) = UnixStream::pair().context("cannot make a signal pipe")?;
    // Ctrl-C ends this process, and with it the ways to hosts.
    let config = args.config(accounting, streams, shape, false);
    let dry_run = floodtest::dry_run(&config, &signalled)?;
    if args.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&dry_run)?)?;
    } else {
        write!(io::stdout(), "{dry_run}")?;
    }
    Ok(DONE)
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

/// `floodtest completions …`, `floodtest man …`: tells about this program.
fn tell(about: &About) -> anyhow::Result<u8> {
    about.write::<Cli>(&mut io::stdout())?;
    Ok(DONE)
}

/// `floodtest worker …`: works for the process that started it, over its standard input.
fn run_worker(urls: &Path) -> anyhow::Result<u8> {
    let parent = io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    let parent = UnixStream::from(parent);
    parent.peer_addr().context("a worker is started by floodtest itself, never by hand")?;
    match floodtest::run_worker(urls, &parent) {
        // Whoever it worked for is gone, and has nothing more to hear.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(COULD_NOT_RUN),
        result => result.map(|()| DONE).context("cannot talk to the process that started it"),
    }
}

/// `floodtest worker --stdio`: answers for this host, over its standard input and output.
fn run_agent() -> anyhow::Result<u8> {
    let orders = io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    let answers = io::stdout().as_fd().try_clone_to_owned();
    let answers = answers.context("there is no standard output")?;
    // Itself, also when the file was replaced since it was started.
    let program = Path::new("/proc/self/exe");
    floodtest::run_agent(program, File::from(orders), File::from(answers))
        .map(|()| DONE)
        .context("cannot answer for this host")
}

/// Says a run's reports on stdout and its progress on stderr, and never waits for their readers
/// while it goes on.
struct Printer {
    /// Whether reports are JSON.
    json: bool,
    /// Where reports go.
    stdout: Stream,
    /// Where people are told.
    stderr: Stream,
    /// When the storms of the run are, in their order.
    storms: Vec<Duration>,
    /// Where Prometheus is told, if it is.
    metrics: Option<Publisher<FloodReport>>,
}

impl Printer {
    /// Hands a report over to who answers Prometheus.
    fn publish(&self, report: &FloodReport) {
        if let Some(metrics) = &self.metrics {
            metrics.publish(report.clone());
        }
    }

    /// Says one line to people.
    fn say(&self, line: &str) {
        self.stderr.last(format!("floodtest: {line}\n"));
    }

    /// Waits until all is read, or for 1.5 s once `is_told` says that the run is told to end. The
    /// exit code of a run that would have ended with `code`.
    fn finish(self, code: u8, is_told: &dyn Fn() -> bool) -> u8 {
        let mut patience = Patience::new(is_told);
        let read = self.stdout.finish(&mut patience);
        let code = match (read, self.stdout.error()) {
            // Whoever read our output has seen enough of it.
            (_, Some(error)) if error.kind() == ErrorKind::BrokenPipe => DONE,
            (_, Some(error)) => {
                self.say(&format!("cannot write to stdout: {error}"));
                COULD_NOT_RUN
            }
            (Err(unread), None) => {
                self.say(&unread.to_string());
                code.max(FELL_SHORT)
            }
            (Ok(()), None) => code,
        };
        let n_dropped = self.stdout.n_dropped();
        if n_dropped > 0 {
            self.say(&format!("{n_dropped} reports were dropped: nobody read stdout in time"));
        }
        // If stderr is not read there is nobody to tell.
        let _ = self.stderr.finish(&mut patience);
        code
    }
}

impl Observer for Printer {
    fn begun(&mut self, report: FloodReport) {
        self.publish(&report);
    }

    fn report(&mut self, report: &FloodReport) -> ControlFlow<()> {
        self.publish(report);
        let text = if self.json {
            serde_json::to_string(report).expect("numbers under names are JSON") + "\n"
        } else {
            format!("{}\n", StatsLine(report))
        };
        if report.is_final {
            self.stdout.last(text);
        } else {
            self.stdout.live(text);
        }
        let is_broken = self.stdout.error().is_some();
        if is_broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn progress(&mut self, report: &FloodReport) {
        self.publish(report);
        self.stderr.show(live::view(report, &self.storms, style()));
    }

    fn trouble(&mut self, what: &str) {
        self.stderr.live(format!("floodtest: {what}\n"));
    }
}

/// Whether stderr is a terminal that can be drawn on.
fn has_live_view() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How to draw on the terminal as it is now.
fn style() -> Style {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    Style {
        // A terminal that does not say how wide it is has the width of a punched card.
        columns: if columns == 0 { 80 } else { columns.into() },
        // https://no-color.org
        is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
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
