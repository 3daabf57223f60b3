//! Whether a run did what was asked, and by how much it fell short.

use crate::report::{Outcome, reasons};

/// How much longer than planned a run may take and still have kept its rate: 1 %. The article's
/// own sender was 1.5 % slow for its sleeping between messages, and that is to be noticed.
const RATE_TOLERANCE: f64 = 0.01;

/// And how much longer at least, in seconds: a machine's hiccup at the end of a short run says
/// nothing about its rate. The lateness that it causes is in the report.
const RATE_TOLERANCE_S: f64 = 0.25;

/// What is said last of a run without an answer.
const NOTHING_ANSWERED: &str =
    "nothing was answered: is --server the control door, and is its token the right one?";

/// What is to be said of a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every message sent was answered, at the rate that was asked for.
    Held,
    /// It was not so, in these respects.
    FellShort(Vec<String>),
    /// Nothing that was sent was answered, so there was no run to speak of.
    NothingAnswered(Vec<String>),
}

impl Verdict {
    /// The verdict on a run by its final report.
    pub fn of(outcome: &Outcome) -> Self {
        let mut shortfalls = shortfalls(outcome);
        if shortfalls.is_empty() {
            Self::Held
        } else if outcome.figures.answered == 0 {
            shortfalls.push(NOTHING_ANSWERED.to_owned());
            Self::NothingAnswered(shortfalls)
        } else {
            Self::FellShort(shortfalls)
        }
    }

    /// Each respect in which the run fell short, as a sentence.
    pub fn shortfalls(&self) -> &[String] {
        match self {
            Self::Held => &[],
            Self::FellShort(shortfalls) | Self::NothingAnswered(shortfalls) => shortfalls,
        }
    }
}

/// Each respect in which the run fell short.
fn shortfalls(outcome: &Outcome) -> Vec<String> {
    let figures = &outcome.figures;
    let mut shortfalls = Vec::new();
    if figures.failed > 0 {
        let reasons = reasons(&figures.failures);
        shortfalls.push(format!("{} of {} failed: {reasons}", figures.failed, messages(outcome)));
    }
    if figures.unanswered > 0 {
        let (n, reasons) = (figures.unanswered, reasons(&outcome.unanswered_by));
        shortfalls.push(format!("{n} of {} unanswered: {reasons}", messages(outcome)));
    }
    let allowed_s =
        (outcome.planned_s * (1.0 + RATE_TOLERANCE)).max(outcome.planned_s + RATE_TOLERANCE_S);
    if figures.asked_per_s > 0.0 && outcome.took_s > allowed_s {
        shortfalls.push(format!(
            "{:.1}/s achieved of {:.1}/s asked for: the last of {} was sent {:.3} s after it was due",
            figures.achieved_per_s,
            figures.asked_per_s,
            messages(outcome),
            outcome.took_s - outcome.planned_s,
        ));
    }
    shortfalls.extend(outcome.log_shortfall.clone());
    shortfalls
}

/// `1 message`, `2 messages`.
fn messages(outcome: &Outcome) -> String {
    let n = outcome.figures.sent;
    if n == 1 { "1 message".to_owned() } else { format!("{n} messages") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::books::SendReport;

    /// A run of 1,000 messages at 10/s of which so many were answered, and which took so long.
    fn run(answered: u64, took_s: f64) -> Outcome {
        let figures = SendReport { sent: 1_000, answered, asked_per_s: 10.0, ..Default::default() };
        Outcome { figures, planned_s: 99.9, took_s, ..Default::default() }
    }

    #[test]
    fn a_run_with_every_message_answered_in_time_held() {
        assert_eq!(Verdict::of(&run(1_000, 100.0)), Verdict::Held);
    }

    #[test]
    fn every_shortfall_is_named_with_its_reasons() {
        let mut outcome = run(900, 200.0);
        outcome.figures.achieved_per_s = 4.995;
        (outcome.figures.failed, outcome.figures.unanswered) = (60, 40);
        outcome.figures.failures.insert("refused".to_owned(), 50);
        outcome.figures.failures.insert("status 503".to_owned(), 10);
        outcome.unanswered_by.insert("reset".to_owned(), 40);
        let shortfalls = [
            "60 of 1000 messages failed: refused 50, status 503 10",
            "40 of 1000 messages unanswered: reset 40",
            "5.0/s achieved of 10.0/s asked for: the last of 1000 messages was sent 100.100 s after \
             it was due",
        ];
        assert_eq!(Verdict::of(&outcome), Verdict::FellShort(shortfalls.map(Into::into).into()));
    }

    #[test]
    fn a_run_without_an_answer_is_told_from_one_that_fell_short() {
        let mut outcome = run(0, 100.0);
        outcome.figures.failed = 1_000;
        assert!(matches!(Verdict::of(&outcome), Verdict::NothingAnswered(_)));
    }

    #[test]
    fn a_run_that_was_ended_before_its_first_message_held() {
        assert_eq!(Verdict::of(&Outcome::default()), Verdict::Held);
    }

    #[test]
    fn one_percent_is_the_border_of_a_kept_rate_and_a_quarter_of_a_second_that_of_a_short_run() {
        assert_eq!(Verdict::of(&run(1_000, 100.89)), Verdict::Held);
        assert!(matches!(Verdict::of(&run(1_000, 100.91)), Verdict::FellShort(_)));
        let short = |took_s| Outcome { planned_s: 0.1, ..run(1_000, took_s) };
        assert_eq!(Verdict::of(&short(0.34)), Verdict::Held);
        assert!(matches!(Verdict::of(&short(0.36)), Verdict::FellShort(_)));
    }
}
