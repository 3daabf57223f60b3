//! Reports for people.

use std::fmt;

use reports::books::FloodReport;

use crate::outcome::{Progress, listed};

/// The line that the article's load generator printed: open now, closed so far, chunks so far.
#[derive(Debug, Clone, Copy)]
pub struct StatsLine<'a>(pub &'a FloodReport);

impl fmt::Display for StatsLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FloodReport { connected, closed, chunks, .. } = self.0;
        write!(f, "Stats: {{{connected},{closed},{chunks}}}")
    }
}

/// The final report, several lines.
#[derive(Debug, Clone, Copy)]
pub struct FinalText<'a>(pub &'a FloodReport);

impl fmt::Display for FinalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let FloodReport { asked, established, opening_s, .. } = report;
        write!(f, "connections   {asked} asked, {established} established")?;
        if *opening_s > 0.0 {
            // From the first to the last connect there is one interval fewer than connects.
            let n_begun = (report.established + report.failed).saturating_sub(1);
            let per_s = n_begun as f64 / opening_s;
            write!(f, "; begun within {opening_s:.3} s ({per_s:.1}/s)")?;
        }
        writeln!(f)?;
        writeln!(f, "failed        {}{}", report.failed, why(&report.failures))?;
        writeln!(f, "closed        {}{}", report.closed, why(&report.closures))?;
        writeln!(f, "open at end   {}", report.connected)?;
        writeln!(f, "chunks        {} ({} bytes received)", report.chunks, report.bytes)?;
        writeln!(
            f,
            "messages      {} lost, {} duplicated, {} reordered, {} chunks without a number",
            report.lost, report.duplicated, report.reordered, report.unnumbered
        )?;
        writeln!(f, "delivery      {} [due to receipt]", report.delivery)?;
        writeln!(f, "raw delivery  {} [send to receipt]", report.raw_delivery)?;
        writeln!(f, "connect late  {}", report.connect_late)
    }
}

/// `: 2 cut, 1 reset`, or nothing.
fn why(by_reason: &reports::books::ByReason) -> String {
    if by_reason.is_empty() { String::new() } else { format!(": {}", listed(by_reason)) }
}

/// One line while a run goes on, short enough not to be wrapped, which could not be redrawn.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, dialed, connected, closed, failed, chunks, elapsed } = self;
        write!(
            f,
            "{dialed}/{asked} begun, {connected} open, {closed} closed, {failed} failed, \
             {chunks} chunks, {} s",
            elapsed.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stats_line_is_the_article_s() {
        let report = FloodReport { connected: 10_000, chunks: 5_912, ..FloodReport::default() };
        assert_eq!(StatsLine(&report).to_string(), "Stats: {10000,0,5912}");
    }

    #[test]
    fn the_final_report_has_every_figure() {
        let report = FloodReport {
            asked: 1_000,
            connected: 999,
            established: 999,
            failed: 1,
            failures: [("reset".to_owned(), 1)].into(),
            opening_s: 9.99,
            ..FloodReport::default()
        };
        let text = FinalText(&report).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "connections   1000 asked, 999 established; begun within 9.990 s (100.0/s)"
        );
        assert_eq!(lines[1], "failed        1: 1 reset");
        assert_eq!(lines[2], "closed        0");
        assert_eq!(lines.len(), 9);
    }
}
