//! What a run reports: an object a line for programs, lines and a table for people.

use std::fmt;
use std::fmt::Write as _;

use reports::books::{ByReason, SendReport};
use reports::expect::{Figure, Figures, Unit};
use reports::latency::LatencySummary;
use serde::Serialize;

use crate::tally::Counts;

/// The words for what no server said.
const NOT_KNOWN: &str = "not known";

/// One of the figures of a delay, in milliseconds.
type DelayMs = fn(&LatencySummary) -> f64;

/// A report of a run, with what is needed to repeat it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The figures that the books are kept by.
    #[serde(flatten)]
    pub figures: SendReport,
    /// Why messages were never answered.
    pub unanswered_by: ByReason,
    /// WebSockets that ended before the run wanted them to, or did not confirm that they had read
    /// everything, by how they did.
    pub closed_by: ByReason,
    /// The seed that the ids followed from.
    pub seed: u64,
    /// Seconds from the start to when the last of the messages sent so far was due; 0 when flat
    /// out.
    pub planned_s: f64,
    /// Seconds from the start to when the last of them was sent.
    pub took_s: f64,
    /// Seconds that the slowest source was behind its schedule at its end: with its last message,
    /// or with its next one when the run was ended before.
    pub behind_s: f64,
    /// The highest share of a core that a thread used in any second; null where the kernel does not
    /// say, and in the first second.
    pub busiest_second_share: Option<f64>,
    /// The share of the time in which the busiest thread was ready to run and had no core; null
    /// likewise.
    pub core_wait_share: Option<f64>,
    /// Why msggen itself was the limit, as a sentence; null if it was not.
    pub limit: Option<String>,
    /// What the logs of the run lack, if anything.
    #[serde(skip)]
    pub log_shortfall: Option<String>,
    /// Why there is no file of what was sent, if there was to be one.
    #[serde(skip)]
    pub sent_shortfall: Option<String>,
}

impl Outcome {
    /// This report as it is printed, its line ends included: a line of JSON for programs; for
    /// people a line while the run goes on, and a table at its end.
    pub fn text(&self, is_json: bool) -> String {
        match (is_json, self.figures.is_final) {
            (true, _) => self.json() + "\n",
            (false, false) => self.line() + "\n",
            (false, true) => self.to_string(),
        }
    }

    /// This report as one line of JSON, without the line's end.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers under names are JSON")
    }

    /// This report as one line for people, without the line's end.
    pub fn line(&self) -> String {
        let SendReport { elapsed_s, sent, achieved_per_s, answered, .. } = self.figures;
        let SendReport { reached, void, failed, unanswered, late, .. } = self.figures;
        let taken = match self.figures.written {
            Some(written) => format!("written {written}"),
            None => {
                format!("answered {answered}, reached {}, void {}", known(reached), known(void))
            }
        };
        let mut line = format!(
            "{elapsed_s:.1} s: sent {sent} ({achieved_per_s:.1}/s), {taken}, failed {failed}, \
             unanswered {unanswered}"
        );
        if self.has_due_times() {
            let p99_ms = ms(self.figures.lateness.p99_us);
            write!(line, ", late {late} (lateness p99 {p99_ms:.3} ms)").expect("a string grows");
        }
        line
    }

    /// Whether messages had due times.
    fn has_due_times(&self) -> bool {
        self.figures.asked_per_s > 0.0
    }

    /// Writes the counts, each with what it is made of.
    fn write_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        write!(f, "asked      {:>12}", figures.asked)?;
        if self.has_due_times() {
            write!(f, "  at {:.3}/s", figures.asked_per_s)?;
        }
        write!(f, "\nsent       {:>12}  at {:.3}/s", figures.sent, figures.achieved_per_s)?;
        if self.has_due_times() && self.took_s > 0.0 {
            // Of the times that were drawn: random intervals have the mean only in the long run.
            let share = self.planned_s / self.took_s * 100.0;
            write!(f, ", {share:.3} % of the schedule's pace")?;
        }
        writeln!(f)?;
        match figures.written {
            None => writeln!(f, "answered   {:>12}", figures.answered)?,
            Some(written) => {
                writeln!(f, "written    {written:>12}  whether they were read is not known;")?;
                writeln!(f, "{:25}--ack REGEX says what answers them", "")?;
            }
        }
        match (figures.reached, figures.void, figures.connections) {
            _ if figures.written.is_some() => {}
            (Some(reached), Some(void), Some(connections)) => {
                writeln!(f, "  reached  {reached:>12}  {connections} connections")?;
                writeln!(f, "  void     {void:>12}")?;
                if let Some(followers) = figures.followers {
                    writeln!(f, "followers  {followers:>12}  of the users that they were about")?;
                }
                if figures.reach_unknown > 0 {
                    writeln!(f, "  not known{:>12}", figures.reach_unknown)?;
                }
            }
            _ => writeln!(f, "  whom they reached is not known; --reached REGEX reads it")?,
        }
        write!(f, "failed     {:>12}", figures.failed)?;
        write_reasons(f, &figures.failures)?;
        write!(f, "unanswered {:>12}", figures.unanswered)?;
        write_reasons(f, &self.unanswered_by)?;
        if !self.closed_by.is_empty() {
            write!(f, "closed     {:>12}", self.closed_by.values().sum::<u64>())?;
            write_reasons(f, &self.closed_by)?;
        }
        if figures.stray_answers > 0 {
            let n = figures.stray_answers;
            writeln!(f, "stray      {n:>12}  answers that nothing was sent for")?;
        }
        if self.has_due_times() {
            writeln!(f, "late       {:>12}  sent more than 1 ms after due", figures.late)?;
        }
        writeln!(f, "seed       {:>12}", self.seed)?;
        if let Some(sender) = figures.sender {
            let order = if figures.is_unordered { "  unordered" } else { "" };
            writeln!(f, "sender     {sender:>12}{order}")?;
        }
        Ok(())
    }

    /// Writes the delays side by side. Flat out, a message is due when it is sent: one delay. Where
    /// no server answers there is none to an answer.
    fn write_delays(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let mut columns = Vec::new();
        if figures.order_wait.count > 0 {
            columns.push(("order_wait", "part of that", &figures.order_wait));
        }
        if self.has_due_times() {
            columns.push(("own.lateness", "part of that", &figures.own.lateness));
            columns.push(("lateness", "due to send", &figures.lateness));
        }
        if figures.written.is_none() {
            if self.has_due_times() {
                columns.push(("send_from_due", "due to answer", &figures.send_from_due));
            }
            columns.push(("send_from_send", "send to answer", &figures.send_from_send));
        }
        if columns.is_empty() {
            return Ok(());
        }
        let rows: [(&str, DelayMs); 6] = [
            ("p50", |summary| ms(summary.p50_us)),
            ("p90", |summary| ms(summary.p90_us)),
            ("p99", |summary| ms(summary.p99_us)),
            ("p99.9", |summary| ms(summary.p999_us)),
            ("max", |summary| ms(summary.max_us)),
            ("mean", |summary| summary.mean_us / 1_000.0),
        ];
        write!(f, "ms   ")?;
        columns.iter().try_for_each(|(name, _, _)| write!(f, " {name:>14}"))?;
        write!(f, "\n     ")?;
        columns.iter().try_for_each(|(_, from, _)| write!(f, " {from:>14}"))?;
        for (name, figure) in rows {
            write!(f, "\n{name:<5}")?;
            columns
                .iter()
                .try_for_each(|(_, _, summary)| write!(f, " {:>14.3}", figure(summary)))?;
        }
        writeln!(f)
    }
}

/// The final report for people: the counts, then the delays.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_counts(f)?;
        if self.figures.sent > 0 {
            writeln!(f)?;
            self.write_delays(f)?;
        }
        if let Some(limit) = &self.limit {
            writeln!(f, "\n{limit}")?;
        }
        Ok(())
    }
}

/// The figures of a report that a run can be expected to show.
pub fn figures(outcome: &Outcome) -> Figures {
    let SendReport { sent, answered, reached, void, connections, .. } = outcome.figures;
    let SendReport { failed, unanswered, late, achieved_per_s, .. } = outcome.figures;
    let SendReport { reach_unknown, stray_answers, .. } = outcome.figures;
    let SendReport { asked, asked_per_s, elapsed_s, .. } = outcome.figures;
    let counts = [
        ("asked", asked),
        ("sent", sent),
        ("reach_unknown", reach_unknown),
        ("failed", failed),
        ("unanswered", unanswered),
        ("stray_answers", stray_answers),
        ("late", late),
    ];
    // What is known of some messages says nothing of all of them.
    let known = |count: Option<u64>| match count {
        Some(n) if reach_unknown == 0 => Figure::Count(n),
        _ => Figure::Null(Unit::Count, NOT_KNOWN),
    };
    // Where no server answers, nobody knows what would have been.
    let taken = |count: Option<u64>, why| match count {
        Some(n) => Figure::Count(n),
        None => Figure::Null(Unit::Count, why),
    };
    // What the kernel does not say, and what was not asked.
    let share = |share: Option<f64>| match share {
        Some(share) => Figure::Number(share),
        None => Figure::Null(Unit::Number, NOT_KNOWN),
    };
    let own = &outcome.figures.own;
    let written = outcome.figures.written;
    let answered = if written.is_none() { Some(answered) } else { None };
    Figures::default()
        .with_counts(counts)
        .with("answered", taken(answered, "not known without --ack"))
        .with("written", taken(written, "the servers answer"))
        .with("reached", known(reached))
        .with("void", known(void))
        .with("connections", known(connections))
        .with("followers", taken(outcome.figures.followers, "not sent to followers"))
        .with("elapsed_s", Figure::Number(elapsed_s))
        .with("asked_per_s", Figure::Number(asked_per_s))
        .with("achieved_per_s", Figure::Number(achieved_per_s))
        .with("planned_s", Figure::Number(outcome.planned_s))
        .with("took_s", Figure::Number(outcome.took_s))
        .with("behind_s", Figure::Number(outcome.behind_s))
        .with("busiest_second_share", share(outcome.busiest_second_share))
        .with("core_wait_share", share(outcome.core_wait_share))
        .with("own.busiest_thread_share", share(own.busiest_thread_share))
        .with("own.asked_per_s", share(own.asked_per_s))
        .with("own.achieved_per_s", Figure::Number(own.achieved_per_s))
        .with_delays("own.lateness", &own.lateness)
        .with_delays("lateness", &outcome.figures.lateness)
        .with_delays("order_wait", &outcome.figures.order_wait)
        .with_delays("send_from_due", &outcome.figures.send_from_due)
        .with_delays("send_from_send", &outcome.figures.send_from_send)
}

impl Counts {
    /// These counts in a few words, for the eye.
    pub fn progress(&self, asked: u64) -> String {
        let Self { sent, answered, written, failed, unanswered, late, .. } = self;
        let taken = match written {
            0 => format!("answered {answered}"),
            written => format!("written {written}"),
        };
        format!(
            "sent {sent} of {asked}, {taken}, failed {failed}, unanswered {unanswered}, late {late}"
        )
    }
}

/// A count in a few words, where it may not be known.
fn known(count: Option<u64>) -> String {
    count.map_or_else(|| NOT_KNOWN.to_owned(), |n| n.to_string())
}

/// The reasons with their counts, as they stand behind the sum of them.
pub fn reasons(by_reason: &ByReason) -> String {
    let each: Vec<String> = by_reason.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    each.join(", ")
}

/// Ends the line with the reasons, where there are any.
fn write_reasons(f: &mut fmt::Formatter<'_>, by_reason: &ByReason) -> fmt::Result {
    if by_reason.is_empty() { writeln!(f) } else { writeln!(f, "  {}", reasons(by_reason)) }
}

/// Microseconds as milliseconds.
fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reports::expect::Expectations;
    use serde_json::Value;

    use super::*;

    /// The names of the figures of a JSON object, as `--expect` takes them: `lateness.p99_us` is
    /// `lateness.p99`.
    fn names(object: &Value, of: &str) -> BTreeSet<String> {
        let mut names_of = BTreeSet::new();
        for (key, value) in object.as_object().unwrap() {
            let name = match key.strip_suffix("_us").unwrap_or(key) {
                "p999" => "p99.9",
                "p9999" => "p99.99",
                name => name,
            };
            match value {
                Value::Object(_) => names_of.extend(names(value, &format!("{of}{key}."))),
                Value::Number(_) | Value::Null => _ = names_of.insert(format!("{of}{name}")),
                _ => {}
            }
        }
        names_of
    }

    #[test]
    fn expectations_have_the_names_of_the_json_report_and_no_others() {
        let mut outcome = Outcome::default();
        outcome.figures.connections = Some(1);
        let mut names = names(&serde_json::from_str(&outcome.json()).unwrap(), "");
        // What repeats a run and who made it are no figures of it.
        assert!(names.remove("seed") && names.remove("sender"));
        assert!(names.remove("limited_by") && names.remove("limit"));

        let known = figures(&outcome);
        for name in &names {
            let parsed = Expectations::parse(&format!("{name}>=0"), &known);
            assert!(parsed.is_ok(), "{name}: {parsed:?}");
        }
        let error = Expectations::parse("no-such-figure=0", &known).unwrap_err().to_string();
        let (_, listed) = error.split_once("there are ").unwrap();
        // p999 is another name of p99.9.
        for name in listed.split(", ").map(|name| name.replace(".p999", ".p99.9")) {
            assert!(names.contains(&name), "the report has no {name}");
        }
    }
}
