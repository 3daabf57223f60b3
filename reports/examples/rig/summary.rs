//! What came of a run, beside what the article reported.

use std::fmt;

use reports::books::{Books, FloodReport, SendReport, ServerStats};
use serde::Serialize;

/// What the experiment cost the server.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ServerCost {
    /// RSS with nobody connected, in KB of 1,024 bytes.
    pub(crate) rss_empty_kb: u64,
    /// RSS with everybody connected and nothing sent yet.
    pub(crate) rss_idle_kb: u64,
    /// Connections at that moment.
    pub(crate) connections_idle: u64,
    /// The highest RSS seen while messages were sent; looked at once a second.
    pub(crate) rss_peak_kb: u64,
    /// RSS after the last message.
    pub(crate) rss_loaded_kb: u64,
    /// CPU time over elapsed time while messages were sent; 1 is one core.
    pub(crate) cpu_share: f64,
}

impl ServerCost {
    /// (RSS − RSS with nobody connected) ÷ connections.
    fn bytes_per_connection(&self, rss_kb: u64) -> f64 {
        let bytes = rss_kb.saturating_sub(self.rss_empty_kb) * 1024;
        bytes as f64 / self.connections_idle.max(1) as f64
    }
}

/// Everything about a run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// For how long messages were sent, in seconds.
    pub(crate) duration_s: f64,
    /// What it cost the server.
    pub(crate) cost: ServerCost,
    /// The identities between the figures.
    #[serde(skip)]
    pub(crate) books: Books,
    /// The server's counts, everybody still connected and everything arrived.
    pub(crate) stats: ServerStats,
    /// floodtest's final report.
    pub(crate) received: FloodReport,
    /// msggen's final report.
    pub(crate) sent: SendReport,
    /// In what respects the run fell short; empty if it held.
    pub(crate) shortfalls: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nBooks")?;
        write!(f, "{}", self.books)?;
        let (cost, received, sent) = (&self.cost, &self.received, &self.sent);
        writeln!(f, "\n{:<38} {:<30} here", "", "article, 2008")?;
        let mut row = |what: &str, article: &str, here: String| {
            writeln!(f, "{what:<38} {article:<30} {here}")
        };
        let kb = |kb: u64| format!("{kb} KB");
        row("connections", "10000", received.connected.to_string())?;
        row("messages a second", "about 960 (1000 asked)", format!("{:.1}", sent.achieved_per_s))?;
        row("sending for", "10 min, 24 h", minutes(self.duration_s))?;
        row("server RSS, nobody connected", "40156 KB", kb(cost.rss_empty_kb))?;
        row("server RSS, all idle", "90964 KB", kb(cost.rss_idle_kb))?;
        let bytes = |kb| format!("{:.0}", cost.bytes_per_connection(kb));
        row("  bytes per connection", "5203", bytes(cost.rss_idle_kb))?;
        row(
            "server RSS, after the messages",
            "125360 KB; hibernated 78 MB",
            kb(cost.rss_loaded_kb),
        )?;
        row("  bytes per connection", "8725; hibernated 8 KB in all", bytes(cost.rss_loaded_kb))?;
        row("server RSS, highest (once a second)", "about 250 MB", kb(cost.rss_peak_kb))?;
        let cpu = format!("{:.1} % of one core", cost.cpu_share * 100.0);
        row("server CPU while sending", "under 1 %", cpu)?;
        let wrong = [received.lost, received.duplicated, received.reordered];
        let wrong = wrong.map(|n| n.to_string()).join(", ");
        row("lost, duplicated, reordered", "not counted", wrong)?;
        writeln!(f, "\ndelivery latency, from due   {}", received.delivery)?;
        writeln!(f, "delivery latency, from send  {}", received.raw_delivery)?;
        writeln!(f, "send latency, from due       {}", sent.send_from_due)?;
        writeln!(f, "send latency, from send      {}", sent.send_from_send)?;
        writeln!(f, "lateness of sends            {}", sent.lateness)?;
        writeln!(f, "lateness of connects         {}", received.connect_late)?;
        let verdict = if self.shortfalls.is_empty() { "held" } else { "fell short" };
        writeln!(f, "\nverdict: {verdict}")
    }
}

/// A time in minutes, or hours when it is long.
fn minutes(seconds: f64) -> String {
    if seconds >= 7_200.0 {
        format!("{:.1} h", seconds / 3_600.0)
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}
