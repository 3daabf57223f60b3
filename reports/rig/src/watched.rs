//! floodtest and memlog as long as they run beside a run: what they said last, and whether they are
//! still there.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reports::books::FloodReport;
use reports::memory_log::{self, Sample};
use rustix::process::Signal;
use serde::de::DeserializeOwned;

use crate::process::Process;

/// How long memlog may take to end once it takes no marks any more: it draws its chart, and waits
/// for those who read what it says.
const MEMLOG_END_TIME: Duration = Duration::from_secs(5);

/// floodtest, as long as it runs. It ends by itself when no connection is left, as when the server
/// has died.
pub(crate) struct Flood {
    /// The program.
    pub(crate) process: Process,
    /// Its last report.
    pub(crate) last: FloodReport,
    /// Whether it has ended.
    pub(crate) is_over: bool,
}

impl Flood {
    /// The next report; `None` once it has ended. That it never reported is an error.
    pub(crate) async fn report(&mut self) -> anyhow::Result<Option<&FloodReport>> {
        match self.process.line().await? {
            Some(line) => {
                self.last = read_report(&line)?;
                Ok(Some(&self.last))
            }
            None if self.last.asked == 0 => Err(self.process.died().await),
            None => {
                self.is_over = true;
                Ok(None)
            }
        }
    }

    /// What it received, for people.
    pub(crate) fn received(&self) -> String {
        let FloodReport { items, chunks, item_kind, connected, .. } = &self.last;
        format!("{} {item_kind} received by {connected} connections", items.max(chunks))
    }
}

/// The log of the server's memory, as long as there is one.
pub(crate) struct Memory {
    /// Who writes it; `None` if the server is elsewhere, or once its processes are gone.
    pub(crate) memlog: Option<Process>,
}

impl Memory {
    /// The next sample; waits forever where there is none.
    pub(crate) async fn sample(&mut self) -> anyhow::Result<Option<Sample>> {
        let Some(memlog) = &mut self.memlog else { return std::future::pending().await };
        match memlog.line().await? {
            Some(line) => sample(&line).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the log has come to its end, as when its host is lost, or is about to.
    pub(crate) async fn has_ended(&mut self) -> bool {
        match &mut self.memlog {
            Some(memlog) => memlog.ends_within(MEMLOG_END_TIME).await,
            None => false,
        }
    }

    /// Waits until memory was sampled in a phase that has begun: once in the line that carries the
    /// mark, and once more. The log ends before if the server does.
    pub(crate) async fn sampled(&mut self, phase: &str) -> anyhow::Result<()> {
        let Some(memlog) = &mut self.memlog else { return Ok(()) };
        while let Some(line) = memlog.line().await? {
            if sample(&line)?.marks.iter().any(|mark| mark.text == phase) {
                memlog.line().await?;
                break;
            }
        }
        Ok(())
    }
}

/// The error of a run in which no connection was established, with floodtest's reasons.
pub(crate) async fn nothing_established(flood: Flood) -> anyhow::Error {
    let Flood { process: mut flood, last: mut report, .. } = flood;
    _ = flood.signal(Signal::INT);
    while let Ok(Some(line)) = flood.line().await {
        report = read_report(&line).unwrap_or(report);
    }
    let reasons = report.failures.iter().map(|(reason, n)| format!("{n} × {reason}"));
    let mut reasons = reasons.collect::<Vec<_>>().join(", ");
    for example in &report.examples {
        let detail = example.detail.as_deref().unwrap_or_default();
        reasons = format!("{reasons}; {} {}: {detail}", example.url, example.reason);
    }
    // It says what else there is to say, such as that they all wait for a response head.
    let said = flood.exit().await.map(|exit| exit.said).unwrap_or_default();
    if !said.is_empty() {
        reasons = format!("{reasons}; {}", said.trim_start_matches("floodtest: "));
    }
    let reasons = reasons.trim_start_matches("; ");
    anyhow!("no connection was established: {reasons}")
}

/// Reads one report of a tool.
pub(crate) fn read_report<R: DeserializeOwned>(line: &str) -> anyhow::Result<R> {
    serde_json::from_str(line).with_context(|| format!("not a report: {line}"))
}

/// Reads one sample of memory.
fn sample(line: &str) -> anyhow::Result<Sample> {
    memory_log::parse_line(line).map_err(|why| anyhow!("not a sample: {line}: {why}"))
}
