//! Runs side by side, for the terminal.

use std::fmt;

use super::comparison::Comparison;
use reports::compare::difference::{Finding, method};
use reports::run::words::NOT_MEASURED;

/// The longest name of a side that keeps the columns apart.
const LONGEST_NAME: usize = 24;

/// The width of the first column.
const FIRST: usize = 40;

/// The end of a text that is too long for a column, which tells folders apart better than the
/// beginning.
fn short(text: &str) -> String {
    let n_chars = text.chars().count();
    text.chars().skip(n_chars.saturating_sub(LONGEST_NAME)).collect()
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_runs = self.n_runs();
        for side in self.sides.iter().filter(|_| self.sides.iter().any(|it| it.runs.len() > 1)) {
            writeln!(f, "{}: {}", side.name, side.runs.join(", "))?;
        }
        let [a, b] = self.sides.each_ref().map(|side| short(&side.title()));
        write!(f, "{:<FIRST$} {a:>LONGEST_NAME$} {b:>LONGEST_NAME$} {:>9}", "", "change")?;
        writeln!(f, "{}", if n_runs > 1 { "  difference" } else { "" })?;
        for it in self.shown() {
            let [a, b] = [it.side(0), it.side(1)];
            let title = it.title();
            let change = it.change();
            write!(f, "{title:<FIRST$} {a:>LONGEST_NAME$} {b:>LONGEST_NAME$} {change:>9}")?;
            let sentence = match it.finding {
                Finding::OneRun => String::new(),
                Finding::NotMeasured if it.sides.iter().all(|side| side.median.is_none()) => {
                    NOT_MEASURED.to_owned()
                }
                _ => it.sentence(),
            };
            let gap = if sentence.is_empty() || n_runs < 2 { "" } else { "  " };
            writeln!(f, "{gap}{}", if n_runs < 2 { "" } else { &sentence })?;
        }
        writeln!(f, "\n{}", method(n_runs))?;
        for (at, it) in self.differences.iter().enumerate() {
            if at == 0 {
                writeln!(f, "\nThey differ in")?;
            }
            writeln!(
                f,
                "{:<FIRST$} {:>LONGEST_NAME$} {:>LONGEST_NAME$}",
                it.what, it.sides[0], it.sides[1]
            )?;
        }
        if self.objections.is_empty() {
            writeln!(f, "\ncomparable: same machine, same plan, all held")?;
        } else {
            writeln!(f, "\nnot comparable as they are:")?;
            self.objections.iter().try_for_each(|objection| writeln!(f, "- {objection}"))?;
        }
        let Some(verdict) = self.verdict() else { return Ok(()) };
        writeln!(f)?;
        for it in &self.judgements {
            writeln!(f, "{:<12} {:<FIRST$} {}", it.outcome.words(), it.condition, it.why)?;
        }
        writeln!(f, "{verdict}")
    }
}
