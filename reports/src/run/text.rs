//! A summary for the terminal.

use std::fmt;

use super::Summary;
use super::references::article;
use super::words::{grouped, kb, of_one_core, with_unit};

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nBooks")?;
        write!(f, "{}", self.books)?;
        let rows = article(self);
        if rows.is_empty() {
            self.fmt_cost(f)?;
        } else {
            writeln!(f, "\n{:<38} {:<30} here", "", "article, 2008")?;
        }
        for row in rows {
            writeln!(f, "{:<38} {:<30} {}", row.what, row.article, row.here)?;
        }
        writeln!(f)?;
        for [what, figure, from] in self.machine.rows() {
            writeln!(f, "{what:<41} {figure:>15}   {from}")?;
        }
        writeln!(f)?;
        for (what, latency) in self.delays() {
            writeln!(f, "{what:<28} {latency}")?;
        }
        if self.limited_by().next().is_some() || !self.caveats.is_empty() {
            writeln!(f)?;
        }
        for limit in self.limited_by() {
            writeln!(f, "limited by {}: {}", limit.what, limit.seen)?;
        }
        self.caveats.iter().try_for_each(|caveat| writeln!(f, "note: {caveat}"))?;
        writeln!(f, "\nverdict: {}", if self.held() { "held" } else { "fell short" })
    }
}

impl Summary {
    /// What it cost the server, for the terminal.
    fn fmt_cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cost, received) = (&self.cost, &self.received);
        writeln!(f, "\n{:<48} here", self.server_name)?;
        let bytes = |value| with_unit(value, "bytes");
        for (what, here) in [
            ("connections", grouped(received.connected)),
            ("messages received", grouped(received.messages)),
            ("memory for an idle connection (RSS)", bytes(cost.idle_bytes_per_connection)),
            ("memory for a connection, after the messages", bytes(cost.after_bytes_per_connection)),
            ("kernel memory for an idle one, both ends", {
                bytes(cost.idle_kernel_bytes_per_connection)
            }),
            ("highest RSS", kb(cost.highest_rss_kb)),
            ("CPU while sending", of_one_core(cost.cpu_share)),
            ("CPU for a message", with_unit(cost.cpu_us_per_message, "µs")),
        ] {
            writeln!(f, "{what:<48} {here}")?;
        }
        Ok(())
    }
}
