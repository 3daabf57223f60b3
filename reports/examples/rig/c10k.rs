//! The article's experiment, in order: server, connections, messages, books.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context as _, anyhow, ensure};
use reports::books::{FloodReport, SendReport, ServerStats};
use reports::memory_log::{self, Sample};
use reports::run::files::{self, marks};
use reports::run::{Exit, Exits, Host, Plan};
use reports::stamp;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::C10kArgs;
use crate::interrupts::Interrupts;
use crate::part::{Part, Programs};
use crate::place;

/// How long the last messages may take to arrive once the last one is answered.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// How often progress is said where it cannot be redrawn.
const TALK_EVERY: Duration = Duration::from_secs(10);

/// From one sample of memory to the next.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Entries of the logs of floodtest and msggen in a long run: enough for a chart as wide as a
/// page, and few enough for logs of a megabyte. A short run has one a second.
const LOG_ENTRIES: u64 = 600;

/// The seed of the ids, so that runs can be compared.
const SEED: u64 = 1;

/// Runs the experiment and returns the folder that holds it. `is_sending` is set while messages
/// are sent: whoever unsets it should know that one signal to end then ends only the sending.
pub(crate) async fn run(args: &C10kArgs, is_sending: &Cell<bool>) -> anyhow::Result<PathBuf> {
    let duration = args.duration()?;
    let folder = place::make(args.out.as_deref(), "c10k")?;
    let mut talk = Talk::default();
    talk.say("building");
    let names = ["comet-server", "floodtest", "msggen", "memlog"];
    let programs = Programs::build(&names, &args.profile).await?;
    Host::of_this_machine(place::rustc().await).write(&folder)?;
    let plan = plan(args, duration).await;
    let temporary = tempfile::tempdir().context("cannot make a folder for the URL file")?;
    let mut stage = Stage { args, programs, folder, temporary, plan, talk };
    let repeated: Vec<String> = ["rig".to_owned()].into_iter().chain(env::args().skip(1)).collect();
    place::note(&mut stage.plan, &stage.folder, "cargo", &repeated)?;

    let (mut server, door) = stage.start_server().await?;
    let mut memory = stage.start_memlog(&server, &door).await?;
    stage.begins(marks::NOBODY, &mut memory).await?;

    stage.begins(marks::CONNECTING, &mut memory).await?;
    let mut flood = stage.start_flood(&door).await?;
    let opened = stage.all_opened(&mut flood, &mut memory).await?;
    ensure!(opened.connected > 0, "no connection was established: {}", flood.last_words());
    stage.begins(marks::CONNECTED, &mut memory).await?;

    stage.mark(marks::SENDING).await?;
    let mut sender = stage.start_sender(&door, duration)?;
    is_sending.set(true);
    stage.send_all(&mut sender, &mut flood, &mut memory).await?;
    is_sending.set(false);
    let sender_exit = sender.exit().await?;
    stage.mark(marks::SENT).await?;
    stage.settle(&door, &mut flood).await?;
    stage.sampled(marks::SENT, &mut memory).await?;

    stage.begins(marks::DISCONNECTING, &mut memory).await?;
    let flood_exit = end(&mut flood, Signal::INT).await?;
    let memory_exit = end(&mut memory, Signal::INT).await?;
    let server_exit = end(&mut server, Signal::TERM).await?;
    let exits = Exits { exits: vec![server_exit, memory_exit, flood_exit, sender_exit] };
    exits.write(&stage.folder)?;
    Ok(stage.folder)
}

/// What is asked for, before the first command.
async fn plan(args: &C10kArgs, duration: Duration) -> Plan {
    let (commit, is_modified) = place::commit().await;
    let log_interval_s = duration.as_secs().div_ceil(LOG_ENTRIES).max(1) as f64;
    Plan {
        experiment: "c10k".to_owned(),
        toolkit: env!("CARGO_PKG_VERSION").to_owned(),
        commit,
        is_modified,
        profile: args.profile.clone(),
        started_unix_s: stamp::wall_now().as_secs(),
        connections: args.connections,
        rate: args.rate,
        messages_per_second: args.messages_per_second,
        sources: args.sources,
        duration_s: duration.as_secs_f64(),
        server_threads: args.server_threads,
        seed: SEED,
        log_interval_s,
        memory_interval_s: SAMPLE_EVERY.as_secs_f64(),
        ..Plan::default()
    }
}

/// Where a server is.
struct Door {
    /// The pattern of its URLs.
    urls: String,
    /// The URL of its control door.
    control: String,
}

impl Door {
    /// The port of its clients.
    fn port(&self) -> anyhow::Result<String> {
        let url = reqwest::Url::parse(&self.urls).ok();
        let port = url.and_then(|url| url.port_or_known_default());
        Ok(port.with_context(|| format!("{} names no port", self.urls))?.to_string())
    }
}

/// All that a run has at hand from its beginning on.
struct Stage<'a> {
    /// What was asked for.
    args: &'a C10kArgs,
    /// What is run.
    programs: Programs,
    /// Where the run is kept.
    folder: PathBuf,
    /// Where the URL file is, which is not kept: the plan says how it is written.
    temporary: TempDir,
    /// What is to be known of it.
    plan: Plan,
    /// Tells people how far it is.
    talk: Talk,
}

impl Stage<'_> {
    /// Starts a program, and writes its command line into the plan.
    fn start(&mut self, name: &str, flags: &[String]) -> anyhow::Result<Part> {
        place::note(&mut self.plan, &self.folder, name, flags)?;
        self.programs.start(name, flags)
    }

    /// The path of a file of the run.
    fn path(&self, name: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        path.into_os_string().into_string().ok().context("the folder's name is no text")
    }

    /// Starts the server on free ports and reads where it is.
    async fn start_server(&mut self) -> anyhow::Result<(Part, Door)> {
        let mut flags = words(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
        if let Some(threads) = self.args.server_threads {
            flags.extend(words(["--threads", &threads.to_string()]));
        }
        let mut server = self.start("comet-server", &flags)?;
        let mut said = async |before: &str| {
            let line = server.next_line().await?;
            let said = line.strip_prefix(before).map(str::to_owned);
            said.with_context(|| format!("the server says \"{line}\" instead of where it is"))
        };
        let urls = said("listening on ").await?;
        let control = said("control on ").await?;
        Ok((server, Door { urls, control }))
    }

    /// Starts the log of the server's memory.
    async fn start_memlog(&mut self, server: &Part, door: &Door) -> anyhow::Result<Part> {
        let (pid, port) = (server.pid().to_string(), door.port()?);
        let log = self.path(files::MEMORY)?;
        let interval = humantime::format_duration(SAMPLE_EVERY).to_string();
        let flags = ["--pid", &pid, "--port", &port, "--log", &log, "--interval", &interval];
        let mut memory = self.start("memlog", &words(flags))?;
        memory.next_line().await?;
        Ok(memory)
    }

    /// Writes the URL file and starts floodtest on it.
    async fn start_flood(&mut self, door: &Door) -> anyhow::Result<Part> {
        let file = self.temporary.path().join("urls.txt");
        let file = file.to_str().context("the folder for temporary files has a strange name")?;
        let count = self.args.connections.to_string();
        let flags = ["urls", "--count", &count, "--pattern", &door.urls, "--out", file];
        place::note(&mut self.plan, &self.folder, "floodtest", &words(flags))?;
        self.programs.run("floodtest", &flags).await?;
        let rate = self.args.rate.to_string();
        let mut flags = words(["--urls", file, "--rate", &rate]);
        flags.extend(self.log_flags()?);
        self.start("floodtest", &flags)
    }

    /// Starts msggen for the whole time of sending.
    fn start_sender(&mut self, door: &Door, duration: Duration) -> anyhow::Result<Part> {
        let args = self.args;
        let interval =
            Duration::from_secs_f64(args.sources as f64 / args.messages_per_second as f64);
        let n_messages = (duration.as_secs_f64() / interval.as_secs_f64()).ceil().max(1.0);
        let mut flags: Vec<String> = [
            ("--num", format!("{n_messages}")),
            ("--interval", humantime::format_duration(interval).to_string()),
            ("--max", args.connections.to_string()),
            ("--sources", args.sources.to_string()),
            ("--server", door.control.clone()),
            ("--seed", SEED.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        flags.push("--stamp".to_owned());
        flags.extend(self.log_flags()?);
        self.start("msggen", &flags)
    }

    /// The flags of floodtest and msggen for reports to the rig, and logs in the folder.
    fn log_flags(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.to_str().context("the folder's name is no text")?;
        let interval = format!("{}s", self.plan.log_interval_s);
        let flags = ["--report", "1s", "--json", "--out", folder, "--log-interval", &interval];
        Ok(words(flags))
    }

    /// Marks that a phase begins.
    async fn mark(&mut self, phase: &str) -> anyhow::Result<()> {
        self.talk.say(phase);
        let log = self.path(files::MEMORY)?;
        self.programs.run("memlog", &["mark", phase, "--log", &log]).await
    }

    /// Marks that a phase begins, and waits until its memory is known.
    async fn begins(&mut self, phase: &str, memory: &mut Part) -> anyhow::Result<()> {
        self.mark(phase).await?;
        self.sampled(phase, memory).await
    }

    /// Waits until memory was sampled in a phase that has begun: once in the line that carries the
    /// mark, and once more.
    async fn sampled(&mut self, phase: &str, memory: &mut Part) -> anyhow::Result<()> {
        while !sample(&memory.next_line().await?)?.marks.iter().any(|mark| mark.text == phase) {}
        memory.next_line().await?;
        Ok(())
    }

    /// Waits until every connection is established or has failed.
    async fn all_opened(
        &mut self,
        flood: &mut Part,
        memory: &mut Part,
    ) -> anyhow::Result<FloodReport> {
        loop {
            let line = tokio::select! {
                line = flood.next_line() => line?,
                line = memory.next_line() => {
                    line?;
                    continue;
                }
            };
            let report: FloodReport = read_report(&line)?;
            self.talk.progress(&format!("{} of {} connected", report.connected, report.asked));
            if report.established + report.failed >= report.asked || report.is_final {
                return Ok(report);
            }
        }
    }

    /// Follows msggen to its end, and the others beside it. The first signal to end ends msggen.
    /// How it ended is looked at with the rest of the run: hours of it are there to be seen, even
    /// if msggen was killed.
    async fn send_all(
        &mut self,
        sender: &mut Part,
        flood: &mut Part,
        memory: &mut Part,
    ) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let mut received = FloodReport::default();
        let (mut rss_kb, mut has_reported) = (0, false);
        loop {
            tokio::select! {
                line = flood.next_line() => received = read_report(&line?)?,
                line = memory.next_line() => rss_kb = sample(&line?)?.rss_kb,
                () = interrupts.next() => sender.signal(Signal::INT)?,
                line = sender.line() => {
                    let Some(line) = line? else {
                        return if has_reported { Ok(()) } else { Err(sender.died().await) };
                    };
                    has_reported = true;
                    let sent: SendReport = read_report(&line)?;
                    self.talk.progress(&format!(
                        "{} of {} sent, {} chunks received by {} connections, server RSS {rss_kb} KB",
                        sent.sent, sent.asked, received.chunks, received.connected,
                    ));
                }
            }
        }
    }

    /// Waits until what the server wrote has arrived, or until it will not any more. Keeps the
    /// server's counts of that moment.
    async fn settle(&self, door: &Door, flood: &mut Part) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLE_TIME;
        loop {
            let received: FloodReport = read_report(&flood.next_line().await?)?;
            let text = read_stats(door).await?;
            let stats: ServerStats = serde_json::from_slice(&text)
                .context("the server's counts are not those that are known here")?;
            let is_quiet = stats.queued == 0 && received.chunks >= stats.written;
            if is_quiet || received.is_final || Instant::now() > deadline {
                let path = self.folder.join(files::SERVER_STATS);
                return fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()));
            }
        }
    }
}

/// Words of a command line.
fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// Asks the server for its counts.
async fn read_stats(door: &Door) -> anyhow::Result<Vec<u8>> {
    let url = format!("{}/stats", door.control);
    let client = reqwest::Client::builder().no_proxy().timeout(SETTLE_TIME).build()?;
    let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    Ok(answer.context("the server does not give its counts")?.bytes().await?.into())
}

/// Tells a program to end, and waits until it has.
async fn end(part: &mut Part, signal: Signal) -> anyhow::Result<Exit> {
    part.signal(signal)?;
    while part.line().await?.is_some() {}
    part.exit().await
}

/// Reads one report of a tool.
fn read_report<R: DeserializeOwned>(line: &str) -> anyhow::Result<R> {
    serde_json::from_str(line).with_context(|| format!("not a report: {line}"))
}

/// Reads one sample of memory.
fn sample(line: &str) -> anyhow::Result<Sample> {
    memory_log::parse_line(line).map_err(|why| anyhow!("not a sample: {line}: {why}"))
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
