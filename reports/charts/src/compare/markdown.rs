//! Runs side by side, as a table for a pull request.

use std::fmt::Write as _;

use super::comparison::Comparison;
use reports::compare::condition::Outcome;
use reports::compare::difference::{Difference, Finding, method};

/// A text in the cell of a table. Whatever a folder is called, it stays text.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for letter in text.chars() {
        match letter {
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            // A name with an @ or a # in it is nobody's, and no issue's.
            '@' => cell.push_str("&#64;"),
            '#' => cell.push_str("&#35;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '!' | '$' => {
                cell.push('\\');
                cell.push(letter);
            }
            it if it.is_control() => cell.push(' '),
            it => cell.push(it),
        }
    }
    cell
}

/// A row of a table.
fn row(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

/// A row of figures.
fn figure(out: &mut String, it: &Difference) {
    let found = match it.finding {
        Finding::More | Finding::Less => format!("**{}**", cell(&it.sentence())),
        Finding::OneRun => "–".to_owned(),
        _ => cell(&it.sentence()),
    };
    let cells = [it.title(), it.side(0), it.side(1), it.change()].map(|text| cell(&text));
    row(out, &[cells.as_slice(), &[found]].concat());
}

impl Comparison {
    /// This comparison as Markdown, as GitHub and GitLab show it: what came of the conditions
    /// first, then the figures, then why they must not be compared as they are.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let [a, b] = self.sides.each_ref().map(|side| cell(&side.title()));
        let _ = writeln!(out, "### {a} and {b}\n");
        if let Some(verdict) = self.verdict() {
            let _ = writeln!(out, "**{}**\n", cell(&verdict));
            row(&mut out, &["condition", "", "why"].map(str::to_owned));
            out.push_str("|---|---|---|\n");
            for it in &self.judgements {
                let sign = match it.outcome {
                    Outcome::Kept => "✅ kept",
                    Outcome::Broken => "❌ broken",
                    Outcome::CannotTell => "❔ cannot tell",
                };
                row(&mut out, &[cell(&it.condition), sign.to_owned(), cell(&it.why)]);
            }
            out.push('\n');
        }
        row(&mut out, &[String::new(), a, b, "change".to_owned(), "difference".to_owned()]);
        out.push_str("|---|--:|--:|--:|---|\n");
        self.shown().for_each(|it| figure(&mut out, it));
        let _ = writeln!(out, "\n{}", cell(&method(self.n_runs())));
        if !self.objections.is_empty() {
            out.push_str("\n**Not comparable as they are:**\n\n");
            for objection in &self.objections {
                let _ = writeln!(out, "- {}", cell(objection));
            }
        }
        out
    }
}
