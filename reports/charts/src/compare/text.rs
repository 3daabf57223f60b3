//! Two runs side by side, for the terminal.

use std::fmt;

use super::Comparison;
use reports::run::words::{NOT_MEASURED, figure};

/// The longest name of a run that keeps the columns apart.
const LONGEST_NAME: usize = 24;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |name: &String| -> String {
            let n_chars = name.chars().count();
            name.chars().skip(n_chars.saturating_sub(LONGEST_NAME)).collect()
        };
        let [a, b] = self.names.each_ref().map(short);
        writeln!(f, "{:<40} {a:>LONGEST_NAME$} {b:>LONGEST_NAME$} {:>8}", "", "ratio")?;
        for it in &self.figures {
            let [a, b] = it.sides.map(|side| side.map_or_else(|| NOT_MEASURED.to_owned(), figure));
            let ratio = it.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            writeln!(f, "{:<40} {a:>LONGEST_NAME$} {b:>LONGEST_NAME$} {ratio:>8}", it.what)?;
        }
        for (at, it) in self.differences.iter().enumerate() {
            if at == 0 {
                writeln!(f, "\nThey differ in")?;
            }
            writeln!(
                f,
                "{:<40} {:>LONGEST_NAME$} {:>LONGEST_NAME$}",
                it.what, it.sides[0], it.sides[1]
            )?;
        }
        if self.objections.is_empty() {
            return writeln!(f, "\ncomparable: same machine, same plan, both held");
        }
        writeln!(f, "\nnot comparable as they are:")?;
        self.objections.iter().try_for_each(|objection| writeln!(f, "- {objection}"))
    }
}
