//! Whether a run did what was asked, and by how much it fell short.

use reports::expect::Expectations;

use crate::report::{Outcome, figures, reasons};

/// How far behind its schedule a run may be at its end and still have kept it: 1 % of the time it
/// took. The article's own sender was 1.5 % slow for its sleeping between messages, and that is to
/// be noticed.
const TOLERANCE: f64 = 0.01;

/// And how far at least, in seconds: a machine's hiccup at the end of a short run says nothing
/// about its rate. The lateness that it causes is in the report.
const TOLERANCE_S: f64 = 0.25;

/// What is said last of a run without an answer.
const NOTHING_ANSWERED: &str =
    "nothing was answered: is this the right server, and does it want a token?";

/// What a run is judged by, beyond that every message is to be answered.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// Whether it may fall behind its schedule.
    pub allows_late: bool,
    /// What its figures are to be.
    pub expectations: Expectations,
}

impl Demands {
    /// Whether a delay is to be something.
    pub fn are_of_latency(&self) -> bool {
        self.expectations.of_times().next().is_some()
    }
}

/// What is to be said of a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every message sent was answered, on schedule, and the figures are what was expected.
    Held,
    /// It was not so, in these respects.
    FellShort(Vec<String>),
    /// Nothing that was sent was answered, so there was no run to speak of.
    NothingAnswered(Vec<String>),
}

impl Verdict {
    /// The verdict on a run by its final report.
    pub fn of(outcome: &Outcome, demands: &Demands) -> Self {
        let mut shortfalls = shortfalls(outcome, demands);
        if shortfalls.is_empty() {
            Self::Held
        } else if outcome.figures.answered == 0
            && outcome.figures.written.unwrap_or_default() == 0
            && outcome.figures.sent > 0
        {
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
fn shortfalls(outcome: &Outcome, demands: &Demands) -> Vec<String> {
    let sums = &outcome.figures;
    let mut shortfalls = Vec::new();
    // What is expected of these is all that is asked of them, as where the server is killed.
    let is_expected = |name: &str| {
        let mut names = demands.expectations.names();
        names.any(|it| it.split('.').next() == Some(name))
    };
    if sums.failed > 0 && !is_expected("failed") {
        let reasons = reasons(&sums.failures);
        shortfalls.push(format!("{} of {} failed: {reasons}", sums.failed, messages(outcome)));
    }
    if sums.unanswered > 0 && !is_expected("unanswered") {
        let (n, reasons) = (sums.unanswered, reasons(&outcome.unanswered_by));
        shortfalls.push(format!("{n} of {} unanswered: {reasons}", messages(outcome)));
    }
    if sums.stray_answers > 0 {
        let n = sums.stray_answers;
        shortfalls.push(format!("answers came {n} times to requests that were never sent"));
    }
    if sums.written.is_some() && !outcome.closed_by.is_empty() {
        let how = reasons(&outcome.closed_by);
        shortfalls.push(format!(
            "WebSockets ended too early ({how}): what was written to them last may not have been \
             read"
        ));
    }
    let allowed_s = (outcome.took_s * TOLERANCE).max(TOLERANCE_S);
    if outcome.behind_s > allowed_s && !demands.allows_late {
        shortfalls.push(format!(
            "{:.3} s behind the schedule at the end: {:.1}/s achieved of {:.1}/s asked for; \
             --allow-late accepts that",
            outcome.behind_s, sums.achieved_per_s, sums.asked_per_s,
        ));
    }
    shortfalls.extend(demands.expectations.shortfalls(&figures(outcome)));
    // Met or not, they say nothing of the server.
    let of_times: Vec<&str> = demands.expectations.of_times().collect();
    if let Some(limit) = outcome.limit.as_ref().filter(|_| !of_times.is_empty()) {
        shortfalls.push(format!("not valid: {}: {limit}", of_times.join(", ")));
    }
    shortfalls.extend(outcome.log_shortfall.clone());
    shortfalls.extend(outcome.sent_shortfall.clone());
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

    /// A run of 1,000 messages in 100 s of which so many were answered.
    fn run(answered: u64, behind_s: f64) -> Outcome {
        let figures = SendReport { sent: 1_000, answered, asked_per_s: 10.0, ..Default::default() };
        Outcome { figures, took_s: 100.0, behind_s, ..Default::default() }
    }

    fn verdict(outcome: &Outcome) -> Verdict {
        Verdict::of(outcome, &Demands::default())
    }

    #[test]
    fn a_run_with_every_message_answered_in_time_held() {
        assert_eq!(verdict(&run(1_000, 0.0)), Verdict::Held);
    }

    #[test]
    fn every_shortfall_is_named_with_its_reasons() {
        let mut outcome = run(900, 50.1);
        outcome.figures.achieved_per_s = 4.995;
        (outcome.figures.failed, outcome.figures.unanswered) = (60, 40);
        outcome.figures.failures.insert("refused".to_owned(), 50);
        outcome.figures.failures.insert("status 503".to_owned(), 10);
        outcome.unanswered_by.insert("reset".to_owned(), 40);
        let shortfalls = [
            "60 of 1000 messages failed: refused 50, status 503 10",
            "40 of 1000 messages unanswered: reset 40",
            "50.100 s behind the schedule at the end: 5.0/s achieved of 10.0/s asked for; \
             --allow-late accepts that",
        ];
        assert_eq!(verdict(&outcome), Verdict::FellShort(shortfalls.map(Into::into).into()));
    }

    #[test]
    fn a_run_without_an_answer_is_told_from_one_that_fell_short() {
        let mut outcome = run(0, 0.0);
        outcome.figures.failed = 1_000;
        assert!(matches!(verdict(&outcome), Verdict::NothingAnswered(_)));
    }

    #[test]
    fn a_run_that_was_ended_before_its_first_message_held() {
        assert_eq!(verdict(&Outcome::default()), Verdict::Held);
    }

    #[test]
    fn one_percent_is_the_border_of_a_kept_schedule_and_a_quarter_of_a_second_in_a_short_run() {
        assert_eq!(verdict(&run(1_000, 0.99)), Verdict::Held);
        assert!(matches!(verdict(&run(1_000, 1.01)), Verdict::FellShort(_)));
        let short = |behind_s| Outcome { took_s: 0.1, ..run(1_000, behind_s) };
        assert_eq!(verdict(&short(0.24)), Verdict::Held);
        assert!(matches!(verdict(&short(0.26)), Verdict::FellShort(_)));
    }

    #[test]
    fn what_is_expected_of_delays_is_not_valid_where_msggen_was_the_limit() {
        let limit = Some("limited by msggen: it was busy".to_owned());
        let outcome = Outcome { limit, ..run(1_000, 0.0) };
        assert_eq!(verdict(&outcome), Verdict::Held, "nobody asked for delays");
        let demands = |expected| {
            let expectations = Expectations::parse(expected, &figures(&outcome)).unwrap();
            Demands { allows_late: false, expectations }
        };
        assert_eq!(Verdict::of(&outcome, &demands("failed=0,lateness.count=0")), Verdict::Held);
        let demands = demands("failed=0,send_from_due.max<1h,lateness.p99<1s");
        let mut measured = outcome.clone();
        (measured.figures.lateness.count, measured.figures.send_from_due.count) = (1, 1);
        assert_eq!(
            Verdict::of(&measured, &demands).shortfalls(),
            ["not valid: send_from_due.max<1h, lateness.p99<1s: limited by msggen: it was busy"]
        );
        let well = Outcome { limit: None, ..measured };
        assert_eq!(Verdict::of(&well, &demands), Verdict::Held);
    }

    #[test]
    fn a_run_may_be_allowed_to_be_late_and_may_be_expected_to_show_more() {
        let known = figures(&Outcome::default());
        let expectations = Expectations::parse("void=0,lateness.p99<1ms", &known).unwrap();
        let demands = Demands { allows_late: true, expectations };
        let mut outcome = run(1_000, 50.0);
        outcome.figures.void = Some(0);
        assert_eq!(
            Verdict::of(&outcome, &demands).shortfalls(),
            ["lateness.p99: nothing measured (expected lateness.p99<1ms)"]
        );
    }
}
