//! `cargo rig`: starts the server and the tools, lets them meet, and balances their books.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the rig is a command")]

mod abuse;
mod child;
mod compare;
mod expected;
mod experiment;
mod footprint;
mod friends;
mod host;
mod ids;
mod init;
mod interrupts;
mod job;
mod keeper;
mod peers;
mod place;
mod preflight;
mod process;
mod programs;
mod progress;
mod ready;
mod scenario;
mod servers;
mod stage;
mod sweep;
mod tools;
mod watched;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use about::About;
use abuse::AbuseArgs;
use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};
use compare::CompareArgs;
use init::InitArgs;
use interrupts::{Handling, Interrupts};
use job::{
    AttachArgs, C1mArgs, C10kArgs, ClusterArgs, FriendsArgs, Job, LlmArgs, RunArgs, StormArgs,
};
use peers::PeersArgs;
use preflight::Preflight;
use programs::Programs;
use reports::causes::with_causes;
use reports::run::files;
use scenario::{Nodes, ProcessOf, Started};

/// The run was made and fell short.
const FELL_SHORT: u8 = 1;

/// The run could not be made or read.
const COULD_NOT_RUN: u8 = 2;

/// Runs an experiment with comet-server and the tools, and keeps it in a folder.
///
/// Exit code: 0 when the run held; 1 when it fell short, such as when its books do not balance; 2
/// when it could not be made or read.
#[derive(Debug, clap::Parser)]
#[command(name = "rig", version, long_version = about::version())]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What the rig does.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The experiment that a scenario file describes, with any server
    Run(RunArgs),
    /// The same without a file, beside a server that runs already: five minutes
    Attach(Box<AttachArgs>),
    /// Try a URL, and write a first scenario file for its server
    Init(InitArgs),
    /// The same experiment with several servers in turn, and a page that compares them
    Peers(PeersArgs),
    /// The article's experiment: 10,000 connections, 1,000 messages a second to random ones of them
    C10k(C10kArgs),
    /// The same with several servers that Redis joins: each message goes to a server that does not
    /// have its id
    Cluster(ClusterArgs),
    /// The article's title: a million connections to as many servers as the open-file limit demands
    C1m(C1mArgs),
    /// Part 3 of the article: a million users who follow 15 others each, and messages about random
    /// ones of them to all who follow them and are logged in
    Friends(FriendsArgs),
    /// Reconnect storms: half of 10,000 connections are closed at once, then the server is killed
    /// and started again; how fast all are back, and what it costs those who stayed
    Storm(Box<StormArgs>),
    /// Streams of tokens that end, from a stand-in for a server of language models: time to the
    /// first item, gaps, goodput
    Llm(LlmArgs),
    /// What the server does under bad clients: figures, each beside the bar that it must hold
    Abuse(AbuseArgs),
    /// Make the report of a run again, from its raw files
    Report {
        /// The run's folder
        folder: PathBuf,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set runs side by side, one a side or several, and judge the change
    Compare(CompareArgs),
    /// What it tells about itself
    #[command(flatten)]
    About(About),
}

fn main() -> ExitCode {
    if let Err(error) = child::become_program() {
        eprintln!("rig: {}", with_causes(error.as_ref()));
        return ExitCode::from(COULD_NOT_RUN);
    }
    // The rig speaks plain HTTP to the servers' control APIs. Where msggen is built with it,
    // though, reqwest has TLS, and makes no client without a provider of cryptography.
    let _ = rustls_graviola::default_provider().install_default();
    let held = match args().command {
        Command::Run(args) => run(args.print, args.job()),
        Command::Attach(args) => run(args.print, args.job()),
        Command::Init(args) => init(&args),
        Command::Peers(args) => peers(&args),
        Command::C10k(args) => args.job().and_then(|job| experiment(&job)),
        Command::Cluster(args) => args.job().and_then(|job| experiment(&job)),
        Command::C1m(args) => c1m(args),
        Command::Friends(args) => run(args.print, args.job()),
        Command::Storm(args) => storm(*args),
        Command::Llm(args) => run(args.print, args.job()),
        Command::Abuse(args) => abuse(args),
        Command::Report { folder, json } => report(&folder, json),
        Command::About(about) => tell(&about),
        Command::Compare(args) => compare::run(&args, &mut io::stdout(), &mut io::stderr()),
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FELL_SHORT),
        Err(error) => {
            eprintln!("rig: {}", with_causes(error.as_ref()));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Tells about this program, on stdout.
fn tell(about: &About) -> anyhow::Result<bool> {
    match about.write::<Args>(&mut io::stdout()) {
        // Whoever closed stdout has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(true),
    }
}

/// What is asked for. The help, and what is wrong with it, name the command as it was typed.
fn args() -> Args {
    let name = if programs::is_through_cargo() { "cargo rig" } else { "rig" };
    let mut command = Args::command().bin_name(name);
    let matches = command.get_matches_mut();
    // The command has answered what it does not know, and does not return then.
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// Runs what a scenario says, or prints it. Returns whether the run held.
fn run(is_print: bool, job: anyhow::Result<Job>) -> anyhow::Result<bool> {
    let job = job?;
    if is_print {
        print!("{}", job.scenario.text);
        return Ok(true);
    }
    experiment(&job)
}

/// Runs the scenarios of several servers in turn. Returns whether all runs held.
fn peers(args: &PeersArgs) -> anyhow::Result<bool> {
    let turns = args.turns()?;
    let n_runs = turns.jobs.len();
    let mut is_whole = true;
    for (at, job) in turns.jobs.iter().enumerate() {
        let folder = job.out.as_deref().expect("each of them has its folder");
        if place::is_made(folder) {
            continue;
        }
        eprintln!("rig: run {} of {n_runs}: {}", at + 1, folder.display());
        // What is left of one that was broken off is none.
        if folder.join(files::PLAN).exists() {
            fs::remove_dir_all(folder)
                .with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        match make(job).and_then(|folder| Ok(charts::report(&folder)?)) {
            Ok(summary) => {
                for shortfall in &summary.shortfalls {
                    eprintln!("rig: {shortfall}");
                }
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                eprintln!("rig: {}: {}", job.scenario.name, with_causes(error.as_ref()));
                is_whole = false;
            }
        }
    }
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let peers = peers::write(&turns, &command)?;
    if args.json {
        println!("{}", serde_json::to_string(&peers).expect("figures are plain JSON"));
    } else {
        print!("{peers}");
    }
    eprintln!("rig: the page is {}", peers::page(&turns).display());
    Ok(is_whole && peers.held())
}

/// Everything was stopped because somebody wanted that.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; everything is stopped")]
struct Interrupted;

/// Writes a first scenario for a server.
fn init(args: &InitArgs) -> anyhow::Result<bool> {
    let (scenario, out) = (init::scenario(args)?, args.out());
    match out {
        None => print!("{scenario}"),
        Some(path) => {
            let mut file = File::create_new(path)
                .with_context(|| format!("cannot make {}, which must be new", path.display()))?;
            file.write_all(scenario.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("rig: the scenario is {0}; `rig run {0}` runs it", path.display());
        }
    }
    Ok(true)
}

/// A million connections, or what that takes. Returns whether the run held.
fn c1m(args: C1mArgs) -> anyhow::Result<bool> {
    let (is_plan, job) = (args.plan, args.job()?);
    let per_node = match &job.scenario.server.process {
        ProcessOf::Started(Started { nodes: Nodes::Auto { per_node }, .. }) => *per_node,
        _ => None,
    };
    let preflight = Preflight::with_enough_nodes(&job.scenario, per_node)?;
    if is_plan && job.json {
        println!("{}", serde_json::to_string(&preflight).expect("a plan is plain JSON"));
    } else if is_plan {
        print!("{preflight}");
    } else {
        eprint!("{preflight}");
    }
    preflight.check()?;
    if is_plan { Ok(true) } else { experiment(&job) }
}

/// Reconnect storms, once or with several back-off windows. Returns whether all runs held.
fn storm(args: StormArgs) -> anyhow::Result<bool> {
    let (Some(windows), false) = (&args.sweep, args.print) else {
        return run(args.print, args.job());
    };
    let turns = sweep::turns(&args, windows)?;
    let n_runs = turns.runs.len();
    let mut is_whole = true;
    for (at, (window, job)) in turns.runs.iter().enumerate() {
        eprintln!("rig: run {} of {n_runs}: a back-off window of {window}", at + 1);
        match make(job).and_then(|folder| Ok(charts::report(&folder)?)) {
            Ok(summary) => {
                summary.shortfalls.iter().for_each(|shortfall| eprintln!("rig: {shortfall}"));
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                eprintln!("rig: {window}: {}", with_causes(error.as_ref()));
                is_whole = false;
            }
        }
    }
    let sweep = sweep::write(&turns, &std::env::args().collect::<Vec<_>>().join(" "))?;
    if args.kept().json {
        println!("{}", serde_json::to_string(&sweep).expect("figures are plain JSON"));
    } else {
        print!("{sweep}");
    }
    eprintln!("rig: the page is {}", sweep::page(&turns).display());
    Ok(is_whole && sweep.held())
}

/// Measures the server under bad clients. Returns whether it held every bar.
fn abuse(args: AbuseArgs) -> anyhow::Result<bool> {
    let server = match &args.server {
        Some(server) => server.clone(),
        None => server(args.profile.as_deref())?,
    };
    abuse::run(args, server, &mut io::stdout())
}

/// The server's program.
#[tokio::main(flavor = "current_thread")]
async fn server(profile: Option<&str>) -> anyhow::Result<PathBuf> {
    Ok(Programs::get(&["comet-server"], profile).await?.path("comet-server").to_owned())
}

/// Makes a run, and everything that follows from it. Returns whether the run held.
fn experiment(job: &Job) -> anyhow::Result<bool> {
    report(&make(job)?, job.json)
}

/// Makes a run and returns its folder.
#[tokio::main(flavor = "current_thread")]
async fn make(job: &Job) -> anyhow::Result<PathBuf> {
    let is_sending = Cell::new(false);
    let handling = Handling::begin()?;
    let interrupts = Interrupts::new()?;
    let folder = tokio::select! {
        folder = experiment::run(job, &is_sending) => folder,
        // Dropping the run ends every process that it has started.
        () = interrupts.abort(&is_sending) => {
            handling.end();
            return Err(Interrupted.into());
        }
    };
    handling.end();
    folder
}

/// Makes everything that follows from the raw files of a run, and says what came of it. Returns
/// whether the run held.
fn report(folder: &Path, is_json: bool) -> anyhow::Result<bool> {
    let summary = charts::report(folder)?;
    if is_json {
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain JSON"));
    } else {
        print!("{summary}");
    }
    for shortfall in &summary.shortfalls {
        eprintln!("rig: {shortfall}");
    }
    eprintln!("rig: the report is {}", folder.join(files::REPORT).display());
    Ok(summary.held())
}
