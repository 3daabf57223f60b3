//! A summary for the terminal.

use std::fmt;

use super::Summary;
use super::references::article;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nBooks")?;
        write!(f, "{}", self.books)?;
        writeln!(f, "\n{:<38} {:<30} here", "", "article, 2008")?;
        for row in article(self) {
            writeln!(f, "{:<38} {:<30} {}", row.what, row.article, row.here)?;
        }
        writeln!(f)?;
        for [what, figure, from] in self.machine.rows() {
            writeln!(f, "{what:<41} {figure:>15}   {from}")?;
        }
        let (received, sent) = (&self.received, &self.sent);
        writeln!(f)?;
        for (what, latency) in [
            ("delivery_from_due", &received.delivery_from_due),
            ("delivery_from_send", &received.delivery_from_send),
            ("send_from_due", &sent.send_from_due),
            ("send_from_send", &sent.send_from_send),
            ("lateness", &sent.lateness),
            ("connect_lateness", &received.connect_lateness),
        ] {
            writeln!(f, "{what:<28} {latency}")?;
        }
        if !self.caveats.is_empty() {
            writeln!(f)?;
        }
        self.caveats.iter().try_for_each(|caveat| writeln!(f, "note: {caveat}"))?;
        writeln!(f, "\nverdict: {}", if self.held() { "held" } else { "fell short" })
    }
}
