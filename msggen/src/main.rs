//! `msggen`: reads its flags, runs, prints the reports, and chooses the exit code.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use about::About;
use anyhow::Context as _;
use clap::Parser as _;
use metrics::Publisher;
use msggen::args::{Args, Cli, Command, FriendsArgs};
use msggen::graph::Graph;
use msggen::tally::Counts;
use msggen::whole_file::{self, Temporary};
use msggen::{Observer, Outcome, Verdict, shutdown};
use reports::causes::with_causes;
use reports::output::{self, Form, Patience, Stream};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::Notify;

/// It did what was asked.
const DONE: u8 = 0;

/// It ran and fell short.
const FELL_SHORT: u8 = 1;

/// It could not run.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            return could_not_run(text.trim_start_matches("error: ").trim_end());
        }
        Err(help) => {
            // Whoever closed stdout has read enough.
            let _ = write!(io::stdout(), "{help}");
            return ExitCode::SUCCESS;
        }
    };
    let result = match (cli.command, cli.send) {
        (Some(Command::Friends(args)), _) => write_friends(&args),
        (Some(Command::About(about)), _) => tell(&about),
        (None, Some(args)) => execute(&args),
        (None, None) => Err(anyhow::anyhow!("--num, --interval and --max are missing; see --help")),
    };
    result.unwrap_or_else(|error| could_not_run(&with_causes(error.as_ref())))
}

/// `msggen friends …`: writes a graph.
fn write_friends(args: &FriendsArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed_or_random();
    let graph = Graph::new(args.shape, args.users, args.follows, seed)?;
    if args.seed.is_none() {
        let _ =
            writeln!(io::stderr(), "msggen: the seed is {seed}; --seed {seed} repeats this graph");
    }
    let Some(path) = &args.out else {
        return match graph.write(&mut io::stdout().lock()) {
            // Whoever closed stdout has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            result => Ok(result.map(|()| ExitCode::SUCCESS).context("cannot write to stdout")?),
        };
    };
    whole_file::check(path)?;
    let temporary = Temporary::create(path)?;
    let written = graph.write(&mut temporary.file());
    written.with_context(|| format!("cannot write {}", path.display()))?;
    temporary.complete()?;
    Ok(ExitCode::SUCCESS)
}

/// `msggen completions …`, `msggen man …`: tells about this program.
fn tell(about: &About) -> anyhow::Result<ExitCode> {
    match about.write::<Cli>(&mut io::stdout()) {
        // Whoever closed stdout has read enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Runs what `args` ask for, and waits until what it said is read. An error means that there is
/// nothing to run with.
fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let is_told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_told))
            .context("cannot handle signals")?;
    }
    let is_left = Arc::new(Notify::new());
    let left = Arc::clone(&is_left);
    let form = if args.json { Form::Json } else { Form::Text };
    let (stdout, stderr) =
        output::start(&io::stdout(), form, &io::stderr(), move || left.notify_one())
            .context("cannot start a thread for the output")?;
    let has_watcher = io::stderr().is_terminal();
    let mut printer = Printer { is_json: args.json, has_watcher, stdout, stderr, metrics: None };
    let code = run(args, &mut printer, &is_left).unwrap_or_else(|error| {
        printer.say(&with_causes(error.as_ref()));
        COULD_NOT_RUN
    });
    Ok(ExitCode::from(printer.finish(code, &|| is_told.load(Ordering::SeqCst))))
}

/// Makes one run, until it is told to end or stdout `is_left` by its reader. An error means that
/// there was no run.
fn run(args: &Args, printer: &mut Printer, is_left: &Notify) -> anyhow::Result<u8> {
    let (config, demands) = (args.check()?, args.demands()?);
    if let Some(address) = args.metrics {
        let publisher = Publisher::start(address, msggen::metrics::text);
        let publisher = publisher.with_context(|| format!("cannot listen on {address}"))?;
        printer.say(&format!("metrics on http://{}/metrics", publisher.address()));
        printer.metrics = Some(publisher);
    }
    if args.seed.is_none() {
        let seed = config.seed;
        printer.say(&format!("the seed is {seed}; --seed {seed} repeats the ids of this run"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let signal = shutdown::on_signal(FELL_SHORT).context("cannot handle signals")?;
        let shutdown = async {
            tokio::select! {
                () = signal => {}
                () = is_left.notified() => {}
            }
        };
        anyhow::Ok(msggen::run(config, printer, shutdown).await?)
    })?;
    let verdict = Verdict::of(&outcome, &demands);
    for shortfall in verdict.shortfalls() {
        printer.say(shortfall);
    }
    // Where latency was expected a shortfall has said it.
    if let Some(limit) = outcome.limit.as_ref().filter(|_| !demands.are_of_latency()) {
        printer.say(limit);
    }
    Ok(match verdict {
        Verdict::Held => DONE,
        Verdict::FellShort(_) => FELL_SHORT,
        Verdict::NothingAnswered(_) => COULD_NOT_RUN,
    })
}

/// Says reports on stdout and, on a terminal, the progress on stderr. Neither's reader holds up
/// the run.
struct Printer {
    /// Whether reports are for programs.
    is_json: bool,
    /// Whether somebody watches stderr.
    has_watcher: bool,
    /// Where reports go.
    stdout: Stream,
    /// Where people are told.
    stderr: Stream,
    /// Where Prometheus is told, if it is.
    metrics: Option<Publisher<Outcome>>,
}

impl Printer {
    /// Hands a report over to who answers Prometheus.
    fn publish(&self, outcome: &Outcome) {
        if let Some(metrics) = &self.metrics {
            metrics.publish(outcome.clone());
        }
    }

    /// Says one line to people.
    fn say(&self, text: &str) {
        self.stderr.last(format!("msggen: {text}\n"));
    }

    /// Waits until all is read, or for 1.5 s once `is_told` says that the run is told to end. The
    /// exit code of a run that would have ended with `code`.
    fn finish(self, code: u8, is_told: &dyn Fn() -> bool) -> u8 {
        let mut patience = Patience::new(is_told);
        let read = self.stdout.finish(&mut patience);
        let code = match (read, self.stdout.error()) {
            // Whoever closed stdout has read enough.
            (_, Some(error)) if error.kind() == ErrorKind::BrokenPipe => DONE,
            (_, Some(error)) => {
                self.say(&format!("cannot write to stdout: {error}"));
                FELL_SHORT
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
    fn begun(&mut self, outcome: &Outcome) {
        self.publish(outcome);
    }

    fn progress(&mut self, counts: &Counts, asked: u64) {
        if self.has_watcher {
            // A line that is wrapped could not be replaced.
            let shown = counts.progress(asked).chars().take(columns() - 1).collect::<String>();
            self.stderr.show(shown + "\n");
        }
    }

    fn report(&mut self, outcome: &Outcome) -> ControlFlow<()> {
        self.publish(outcome);
        let text = outcome.text(self.is_json);
        if outcome.figures.is_final {
            self.stderr.show(String::new());
            self.stdout.last(text);
        } else {
            self.stdout.live(text);
        }
        let is_broken = self.stdout.error().is_some();
        if is_broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn trouble(&mut self, what: &str) {
        self.stderr.live(format!("msggen: {what}\n"));
    }
}

/// Characters of a line of the terminal, which is as wide as a punched card if it does not say.
fn columns() -> usize {
    let n = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if n == 0 { 80 } else { n.into() }
}

/// Says why there was no run.
fn could_not_run(why: &str) -> ExitCode {
    // Where nobody listens there is nobody to tell that either.
    let _ = writeln!(io::stderr(), "msggen: {why}");
    ExitCode::from(COULD_NOT_RUN)
}
