//! The article's experiment, in order: server, connections, messages, books.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reports::books::{Books, FloodReport, SendReport, ServerStats};
use rustix::process::Signal;
use serde::de::DeserializeOwned;

use crate::C10kArgs;
use crate::memory::{cpu_s, rss_kb};
use crate::part::{Part, Programs};
use crate::summary::{ServerCost, Summary};

/// How long the last messages may take to arrive once the last one is answered.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// How often progress is said where it cannot be redrawn.
const TALK_EVERY: Duration = Duration::from_secs(10);

/// The seed of the ids, so that runs can be compared.
const SEED: &str = "1";

/// Runs the experiment.
pub(crate) async fn run(args: &C10kArgs) -> anyhow::Result<Summary> {
    let duration = args.duration()?;
    let mut talk = Talk::default();
    talk.say("building");
    let programs = Programs::build(&["comet-server", "floodtest", "msggen"], &args.profile).await?;
    let folder = tempfile::tempdir().context("cannot make a folder for the URL file")?;

    talk.say("connecting");
    let (mut server, door) = start_server(&programs, args).await?;
    let mut cost = ServerCost { rss_empty_kb: rss_kb(server.pid())?, ..ServerCost::default() };

    let mut flood = start_flood(&programs, args, &door, folder.path()).await?;
    let opened = loop {
        let report: FloodReport = read_report(&flood.next_line().await?)?;
        talk.progress(&format!("{} of {} connected", report.connected, report.asked));
        if report.established + report.failed >= report.asked || report.is_final {
            break report;
        }
    };
    ensure!(opened.connected > 0, "no connection was established: {}", flood.last_words());
    cost.connections_idle = opened.connected;
    cost.rss_idle_kb = rss_kb(server.pid())?;

    talk.say("sending");
    let mut sender = start_sender(&programs, args, &door, duration)?;
    let cpu_before = cpu_s(server.pid())?;
    let began = Instant::now();
    let watched = Watched { server: &server, cost: &mut cost, talk: &mut talk };
    let sent = send_all(&mut sender, &mut flood, watched).await?;
    cost.cpu_share = (cpu_s(server.pid())? - cpu_before) / began.elapsed().as_secs_f64();
    let sender_status = sender.ended().await?;
    let send_shortfall = (!sender_status.success()).then(|| sender.last_words());

    talk.say("waiting for the last messages");
    let stats = settle(&door, &mut flood).await?;
    cost.rss_loaded_kb = rss_kb(server.pid())?;

    flood.signal(Signal::INT)?;
    let received = last_report(&mut flood).await?;
    let flood_status = flood.ended().await?;
    let flood_shortfall = (!flood_status.success()).then(|| flood.last_words());
    server.signal(Signal::TERM)?;
    let server_status = server.ended().await?;

    let books = Books::of_run(&stats, &received, &sent);
    let mut shortfalls: Vec<_> = [flood_shortfall, send_shortfall].into_iter().flatten().collect();
    shortfalls.extend(books.shortfalls());
    if !server_status.success() {
        shortfalls.push(format!("the server ended with {server_status}: {}", server.last_words()));
    }
    Ok(Summary {
        duration_s: duration.as_secs_f64(),
        cost,
        books,
        stats,
        received,
        sent,
        shortfalls,
    })
}

/// Where a server is.
struct Door {
    /// The pattern of its URLs.
    urls: String,
    /// The URL of its control door.
    control: String,
}

/// Starts the server on free ports and reads where it is.
async fn start_server(programs: &Programs, args: &C10kArgs) -> anyhow::Result<(Part, Door)> {
    let mut flags: Vec<String> =
        ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"].map(Into::into).into();
    if let Some(threads) = args.server_threads {
        flags.extend(["--threads".to_owned(), threads.to_string()]);
    }
    let mut server = programs.start("comet-server", &flags)?;
    let mut said = async |before: &str| {
        let line = server.next_line().await?;
        let said = line.strip_prefix(before).map(str::to_owned);
        said.with_context(|| format!("the server says \"{line}\" instead of where it is"))
    };
    let urls = said("listening on ").await?;
    let control = said("control on ").await?;
    Ok((server, Door { urls, control }))
}

/// Writes the URL file and starts floodtest on it.
async fn start_flood(
    programs: &Programs,
    args: &C10kArgs,
    door: &Door,
    folder: &Path,
) -> anyhow::Result<Part> {
    let file = folder.join("urls.txt");
    let file = file.to_str().context("the folder for temporary files has a strange name")?;
    let count = args.connections.to_string();
    programs
        .run("floodtest", &["urls", "--count", &count, "--pattern", &door.urls, "--out", file])
        .await?;
    let rate = args.rate.to_string();
    programs.start("floodtest", &["--urls", file, "--rate", &rate, "--report", "1s", "--json"])
}

/// Starts msggen for the whole time of sending.
fn start_sender(
    programs: &Programs,
    args: &C10kArgs,
    door: &Door,
    duration: Duration,
) -> anyhow::Result<Part> {
    let interval = Duration::from_secs_f64(args.sources as f64 / args.messages_per_second as f64);
    let n_messages = (duration.as_secs_f64() / interval.as_secs_f64()).ceil().max(1.0);
    let flags = [
        ("--num", format!("{n_messages}")),
        ("--interval", format!("{}ns", interval.as_nanos())),
        ("--max", args.connections.to_string()),
        ("--sources", args.sources.to_string()),
        ("--server", door.control.clone()),
        ("--seed", SEED.to_owned()),
        ("--report", "1s".to_owned()),
    ];
    let mut flags: Vec<String> =
        flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    flags.extend(["--stamp".to_owned(), "--json".to_owned()]);
    programs.start("msggen", &flags)
}

/// What is looked at while messages are sent.
struct Watched<'run> {
    /// Whose memory is sampled.
    server: &'run Part,
    /// Where it is kept.
    cost: &'run mut ServerCost,
    /// Tells how far it is.
    talk: &'run mut Talk,
}

/// Follows msggen to its last report, and floodtest beside it.
async fn send_all(
    sender: &mut Part,
    flood: &mut Part,
    watched: Watched<'_>,
) -> anyhow::Result<SendReport> {
    let Watched { server, cost, talk } = watched;
    let mut received = FloodReport::default();
    loop {
        tokio::select! {
            line = flood.next_line() => received = read_report(&line?)?,
            line = sender.next_line() => {
                let sent: SendReport = read_report(&line?)?;
                if sent.is_final {
                    return Ok(sent);
                }
                let rss_kb = rss_kb(server.pid())?;
                cost.rss_peak_kb = cost.rss_peak_kb.max(rss_kb);
                talk.progress(&format!(
                    "{} of {} sent, {} chunks received by {} connections, server RSS {rss_kb} KB",
                    sent.sent, sent.asked, received.chunks, received.connected,
                ));
            }
        }
    }
}

/// Waits until what the server wrote has arrived, or until it will not any more. Returns the
/// server's counts of that moment.
async fn settle(door: &Door, flood: &mut Part) -> anyhow::Result<ServerStats> {
    let deadline = Instant::now() + SETTLE_TIME;
    loop {
        let received: FloodReport = read_report(&flood.next_line().await?)?;
        let stats = read_stats(door).await?;
        let is_quiet = stats.queued == 0 && received.chunks >= stats.written;
        if is_quiet || received.is_final || Instant::now() > deadline {
            return Ok(stats);
        }
    }
}

/// Asks the server for its counts.
async fn read_stats(door: &Door) -> anyhow::Result<ServerStats> {
    let url = format!("{}/stats", door.control);
    let client = reqwest::Client::builder().no_proxy().timeout(SETTLE_TIME).build()?;
    let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    let body = answer.context("the server does not give its counts")?.bytes().await?;
    serde_json::from_slice(&body).context("the server's counts are not those that are known here")
}

/// Reads to the last report of a tool that was told to end.
async fn last_report(part: &mut Part) -> anyhow::Result<FloodReport> {
    let mut last = None;
    while let Some(line) = part.line().await? {
        last = Some(read_report::<FloodReport>(&line)?);
    }
    last.filter(|report| report.is_final).context("floodtest left no final report")
}

/// Reads one report of a tool.
fn read_report<R: DeserializeOwned>(line: &str) -> anyhow::Result<R> {
    serde_json::from_str(line).with_context(|| format!("not a report: {line}"))
}

/// Tells people on stderr how far it is: redrawn on a terminal, else every ten seconds.
#[derive(Default)]
struct Talk {
    /// When something was last said.
    said_at: Option<Instant>,
}

impl Talk {
    /// Says what is done now.
    fn say(&mut self, text: &str) {
        self.said_at = None;
        self.progress(text);
        self.said_at = None;
    }

    /// Says how far it is, if it is time.
    fn progress(&mut self, text: &str) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[Krig: {text}");
            return;
        }
        if self.said_at.is_none_or(|at| at.elapsed() >= TALK_EVERY) {
            self.said_at = Some(Instant::now());
            eprintln!("rig: {text}");
        }
    }
}

/// The line that progress was drawn on is left to what comes after.
impl Drop for Talk {
    fn drop(&mut self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
