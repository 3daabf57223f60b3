//! The `comet-server` command: flags in, two printed addresses, an exit code out.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use about::About;
use anyhow::Context as _;
use clap::Parser as _;
use comet_server::args::{Args, Command, Log as Level};
use comet_server::friends::command::FriendsCommand;
use comet_server::logging::Log;
use comet_server::{allocator, cluster, limits, runtime, serve};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How long the end waits for what is still to be logged, if nobody reads it.
const LOG_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let started_again = allocator::give_memory_back();
    let args = Args::parse();
    // Everything that is said goes the same way, errors and panics as well: an unread stderr must
    // not keep the process from going on, nor from ending.
    let Ok(log) = Log::start(io::stderr()) else {
        return ExitCode::from(2);
    };
    log_panics(&log);
    start_log(args.log, &log);
    if let Err(error) = started_again {
        tracing::info!("memory of a crowd that left may not go back to the system: {error}");
    }
    let code = run(&args).unwrap_or_else(|error| {
        log.say(format!("comet-server: {error:#}\n").as_bytes());
        ExitCode::from(2)
    });
    log.flush(LOG_TIME);
    code
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Friends(command)) => return run_friends(command),
        Some(Command::About(about)) => return tell(about),
        None => {}
    }
    let config = args.config(limits::raise_open_files())?;
    let listeners = args.listen.iter().map(|&at| bind(at)).collect::<anyhow::Result<Vec<_>>>()?;
    let control = bind(args.control)?;

    let runtime = runtime(&config).context("cannot start the runtime")?;
    let code = runtime.block_on(async {
        let mut signals = Signals::new().context("cannot watch for signals")?;
        if let Some(config) = &config.cluster {
            tokio::select! {
                checked = cluster::check(config) => checked.map_err(anyhow::Error::msg)?,
                () = signals.next() => return Ok(ExitCode::SUCCESS),
            }
        }
        announce(&listeners, &control)?;
        let (first_signal, on_first_signal) = tokio::sync::oneshot::channel();
        let served = serve(config, listeners, control, async {
            _ = on_first_signal.await;
        });
        let ended_at_once = async {
            signals.next().await;
            _ = first_signal.send(());
            signals.next().await;
        };
        tokio::select! {
            stats = served => {
                let stats = stats.context("serving failed")?;
                tracing::info!(?stats, "stopped");
                Ok(ExitCode::SUCCESS)
            }
            () = ended_at_once => {
                tracing::warn!("stopped at once by a second signal");
                Ok::<_, anyhow::Error>(ExitCode::from(1))
            }
        }
    });
    runtime.shutdown_background();
    code
}

/// Does something with a whole store of friends.
fn run_friends(command: &FriendsCommand) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut stderr = io::stderr();
    let is_watched = stderr.is_terminal();
    let mut progress = |line: &str| {
        if is_watched {
            _ = write!(stderr, "\r{line:<20}");
        }
    };
    let done = command.run(&mut out, &mut progress);
    if is_watched && matches!(command, FriendsCommand::Load { .. }) {
        _ = writeln!(io::stderr());
    }
    let done = done.and_then(|is_well| Ok(out.flush().map(|()| is_well)?));
    let is_well = match done {
        // Who reads a dump may have read enough.
        Err(error) if is_broken_pipe(&error) => true,
        done => done?,
    };
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Tells about this program, on stdout.
fn tell(about: &About) -> anyhow::Result<ExitCode> {
    match about.write::<Args>(&mut io::stdout()).map_err(anyhow::Error::from) {
        // Whoever closed stdout has read enough.
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Whether nobody reads stdout any longer.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// SIGINT and SIGTERM.
struct Signals(Signal, Signal);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.0.recv() => {} _ = self.1.recv() => {} }
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    limits::listen(address).with_context(|| {
        format!("cannot listen on {address}; choose another port, or 0 for a free one")
    })
}

/// Says where the server is, once it can be reached there: for people, and for programs that
/// started it on port 0.
fn announce(listeners: &[TcpListener], control: &TcpListener) -> anyhow::Result<()> {
    let mut text = String::new();
    for listener in listeners {
        writeln!(text, "listening on http://{}/test/{{id}}", listener.local_addr()?)?;
    }
    writeln!(text, "control on http://{}", control.local_addr()?)?;
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Nobody has to read it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn start_log(level: Level, log: &Log) {
    let logins = if level == Level::Logins { LevelFilter::DEBUG } else { LevelFilter::OFF };
    let level = if level == Level::Warn { LevelFilter::WARN } else { LevelFilter::INFO };
    let filter = Targets::new().with_default(level).with_target("logins", logins);
    let log = log.clone();
    let to_log = tracing_subscriber::fmt::layer().with_writer(move || log.clone());
    tracing_subscriber::registry().with(filter).with(to_log).init();
}

/// Says what a panic said, through the log.
fn log_panics(log: &Log) {
    let log = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("{trace}\n"),
            _ => String::new(),
        };
        log.say(format!("comet-server: {panic}\n{trace}").as_bytes());
    }));
}
