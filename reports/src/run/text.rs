//! A summary for the terminal.

use std::fmt;

use super::Summary;
use super::references::article;
use super::words::{figure, grouped, kb, of_one_core, with_unit};

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
        self.fmt_settles(f)?;
        self.fmt_streams(f)?;
        if self.limited_by().next().is_some() || !self.caveats.is_empty() {
            writeln!(f)?;
        }
        for limit in self.limited_by() {
            writeln!(f, "limited by {}: {}", limit.what, limit.seen)?;
        }
        self.caveats.iter().try_for_each(|caveat| writeln!(f, "note: {caveat}"))?;
        writeln!(f, "\nverdict: {}", self.verdict.words())
    }
}

impl Summary {
    /// How connections came back, for the terminal, a line each.
    fn fmt_settles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for settle in &self.received.settles {
            let time = |time_s: Option<f64>| {
                time_s.map_or_else(|| "never".to_owned(), |time_s| format!("{time_s:.2} s"))
            };
            writeln!(
                f,
                "{} at {:.1} s: {} closed, 50 % back after {}, 95 % after {}, all after {}; at \
                 most {} connects a second, {} failed",
                settle.cause,
                settle.at_s,
                grouped(settle.closed),
                time(settle.t50_s),
                time(settle.t95_s),
                time(settle.t100_s),
                grouped(settle.peak_connects_per_s),
                grouped(settle.failed.values().fold(0, |sum, n| sum.saturating_add(*n)))
            )?;
        }
        let Some(slow) = &self.received.slow_readers else { return Ok(()) };
        let ends = slow.ends.iter().map(|(reason, n)| format!(", {} {reason}", grouped(*n)));
        writeln!(
            f,
            "slow readers: {}, of which {} open at the end{}",
            grouped(slow.connections),
            grouped(slow.open),
            ends.collect::<String>()
        )
    }

    /// What is known of streams that end, for the terminal, a line each.
    fn fmt_streams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(streams) = &self.received.streams else { return Ok(()) };
        if let (Some(done), Some(not_done)) = (streams.done, streams.not_done) {
            let (done, not_done) = (grouped(done), grouped(not_done));
            writeln!(f, "streams: {done} ended behind their last item, {not_done} without it")?;
        }
        if let Some(counted) = &streams.counted {
            writeln!(
                f,
                "{}: {}{}, in {} streams; {} ended without it",
                counted.field,
                counted.total.map_or_else(|| "never came".to_owned(), grouped),
                counted.per_s.map_or_else(String::new, |n| format!(", {} a second", figure(n))),
                grouped(counted.streams),
                grouped(counted.streams_without)
            )?;
        }
        if let Some(goodput) = &streams.goodput {
            writeln!(
                f,
                "goodput: {} of {} streams met {}: {} a second",
                grouped(goodput.met),
                grouped(goodput.of),
                goodput.asked,
                figure(goodput.per_s)
            )?;
        }
        Ok(())
    }

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
