//! One experiment: a neutral receiver and floodtest follow the same ids, msggen sends, and all
//! three say what they know.

use std::fs;
use std::path::Path;
use std::time::Instant;

use reports::books::{FloodReport, SendReport};
use rustix::process::Signal;
use serde::Deserialize;

use crate::programs::{DEADLINE, Program, folder, ours, python};
use crate::recipe::Recipe;

/// What the neutral receiver has counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Neutral {
    /// Connections that were answered with 200.
    pub(crate) established: u64,
    /// Messages by their stamps, each once on its connection.
    pub(crate) messages: u64,
    /// Those that came again.
    pub(crate) duplicated: u64,
    /// Those that came after a later one.
    pub(crate) reordered: u64,
    /// Connections on which one came.
    pub(crate) heard: u64,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    /// Events, if these are event streams.
    pub(crate) events: u64,
    /// Comments of event streams.
    pub(crate) comments: u64,
}

/// What everybody says at the end.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// floodtest.
    pub(crate) flood: FloodReport,
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// msggen.
    pub(crate) sent: SendReport,
    /// The receiver.
    pub(crate) neutral: Neutral,
}

/// How the clients of an experiment get ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    /// All have their heads before anything is sent.
    First,
    /// None has, until something is sent.
    Late,
}

/// Carries out what a recipe says; `extra` are fields of the receiver's requests, and `expected`
/// says from msggen's report how many messages are to come on floodtest's connections.
pub(crate) fn run(
    recipe: &Recipe,
    heads: Heads,
    extra: &[&str],
    expected: impl Fn(&SendReport) -> u64,
) -> Outcome {
    run_when(recipe, heads, extra, || {}, expected)
}

/// The same for clients that have something to say before the server knows what they follow: `wait`
/// returns when it does.
pub(crate) fn run_when(
    recipe: &Recipe,
    heads: Heads,
    extra: &[&str],
    wait: impl Fn(),
    expected: impl Fn(&SendReport) -> u64,
) -> Outcome {
    let folder_of_run = tempfile::tempdir().unwrap();
    let here = folder_of_run.path();
    let n = Recipe::value(&recipe.urls, "--count").unwrap();
    let pattern = Recipe::value(&recipe.urls, "--pattern").unwrap();
    let mut receiver = start_receiver(n, pattern, extra, &recipe.flood);
    receiver.said("ready");
    if heads == Heads::First {
        receiver.said("heads");
    }

    let urls = ours("floodtest").args(&recipe.urls).output().unwrap();
    fs::write(here.join("urls.txt"), urls.stdout).unwrap();
    let mut flood = Flood::start(recipe, here);
    let n: u64 = n.parse().unwrap();
    match heads {
        Heads::First => flood.wait_for(|report| report.connected == n),
        Heads::Late => flood.wait_for(|report| report.waiting == n),
    }

    wait();
    let sent = send(recipe, here);
    let n_expected = expected(&sent);
    // What comes after the sender's last answer is waited for by floodtest itself.
    flood.wait_for(|report| report.is_final || report.messages >= n_expected);
    let (flood, code) = flood.end();

    receiver.end_stdin();
    let neutral = std::iter::from_fn(|| receiver.next_line()).last().unwrap();
    Outcome { flood, code, sent, neutral: serde_json::from_str(&neutral).unwrap() }
}

/// Starts the neutral receiver.
fn start_receiver(n: &str, pattern: &str, extra: &[&str], flood: &[String]) -> Program {
    let mut command = python();
    command.arg(folder().join("receiver.py"));
    // What it has to say, and to trust, is the same.
    for (at, flag) in flood.iter().enumerate() {
        match flag.as_str() {
            "--ca" | "--protocol" | "--on-open" | "--answer" => command.args(&flood[at..at + 2]),
            "--binary" => command.arg(flag),
            _ => &mut command,
        };
    }
    command.args(extra.iter().flat_map(|field| ["--header", field]));
    command.args([n, pattern]);
    Program::start(command)
}

/// Sends what the recipe says.
fn send(recipe: &Recipe, here: &Path) -> SendReport {
    let mut command = ours("msggen");
    // The same ids every time; and how late a busy machine makes it is not the question here.
    command.args(&recipe.send).args(["--json", "--seed", "7", "--allow-late"]).current_dir(here);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    report.unwrap_or_else(|| panic!("{command:?}\n{output:?}"))
}

/// A floodtest that runs.
pub(crate) struct Flood {
    /// The program.
    program: Program,
    /// Its latest report.
    latest: Option<FloodReport>,
}

impl Flood {
    /// Starts floodtest as the recipe says, in a folder with the URLs.
    pub(crate) fn start(recipe: &Recipe, here: &Path) -> Self {
        let mut command = ours("floodtest");
        command.args(&recipe.flood).args(["--rate", "max", "--json", "--report", "100ms"]);
        command.current_dir(here);
        Self { program: Program::start(command), latest: None }
    }

    /// Waits for a report that is as it should be, or for as long as a test may take: what is wrong
    /// then is seen in the figures.
    pub(crate) fn wait_for(&mut self, what: impl Fn(&FloodReport) -> bool) {
        let deadline = Instant::now() + DEADLINE / 2;
        while Instant::now() < deadline {
            let Some(line) = self.program.next_line() else { return };
            let report: FloodReport = serde_json::from_str(&line).unwrap();
            let is_it = what(&report);
            self.latest = Some(report);
            if is_it {
                return;
            }
        }
    }

    /// Interrupts it; its final report and its exit code.
    pub(crate) fn end(mut self) -> (FloodReport, Option<i32>) {
        if !self.latest.as_ref().is_some_and(|report| report.is_final) {
            self.program.signal(Signal::INT);
            self.wait_for(|report| report.is_final);
        }
        let code = self.program.wait();
        (self.latest.expect("there is a report"), code)
    }
}

impl Outcome {
    /// Requires that floodtest has counted exactly what the receiver has.
    #[track_caller]
    pub(crate) fn agrees(&self) {
        let (flood, neutral) = (&self.flood, &self.neutral);
        let counted = (flood.messages, flood.duplicated, flood.reordered, flood.heard);
        let known =
            (neutral.messages, Some(neutral.duplicated), Some(neutral.reordered), neutral.heard);
        assert_eq!(counted, known, "{self:#?}");
        let n_stamps = neutral.messages + neutral.duplicated;
        let delays = [&flood.delivery_from_due, &flood.delivery_from_send];
        for delay in delays {
            assert_eq!((delay.count, delay.negative), (n_stamps, 0), "{self:#?}");
        }
    }

    /// Requires that `n` messages are lost and no others, and that it was looked for them from the
    /// beginning to the end.
    #[track_caller]
    pub(crate) fn has_lost(&self, n: u64) {
        use reports::books::Extent::All;
        let flood = &self.flood;
        assert_eq!(flood.lost, Some(n), "{self:#?}");
        let judged = (flood.judged.beginning, flood.judged.middle, flood.judged.end);
        assert_eq!(judged, (All, All, All), "{self:#?}");
        assert_eq!(self.code, Some(i32::from(n > 0)), "{self:#?}");
    }

    /// Requires that every message that was sent was answered, and has come.
    #[track_caller]
    pub(crate) fn is_complete(&self) {
        self.agrees();
        assert_eq!(self.sent.answered, self.sent.asked, "{self:#?}");
        assert_eq!(self.flood.messages, self.sent.answered, "{self:#?}");
        self.has_lost(0);
    }
}
