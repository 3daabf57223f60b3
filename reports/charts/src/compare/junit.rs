//! Runs side by side, as a test report that pipelines read: the XML of `JUnit`, as GitLab, Jenkins
//! and GitHub's actions for it take it.

use maud::{Markup, html};

use super::comparison::Comparison;
use reports::compare::condition::{Judgement, Outcome};

/// How long a test case took, in seconds. Some readers do without it, and others do not.
const TIME: &str = "0";

/// A text that may stand in XML 1.0, which has no word for most control characters.
fn text(text: &str) -> String {
    let is_allowed = |it: &char| {
        matches!(it, '\t' | '\n' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
            || *it >= '\u{10000}'
    };
    text.chars().map(|it| if is_allowed(&it) { it } else { '\u{fffd}' }).collect()
}

/// The test case of a condition.
fn condition(judged: &Judgement) -> Markup {
    let (name, why) = (text(&judged.condition), text(&judged.why));
    html! {
        testcase classname="rig.compare" name=(name) time=(TIME) {
            @match judged.outcome {
                Outcome::Kept => { system-out { (why) } },
                Outcome::Broken => { failure type="broken" message=(why) { (why) } },
                // An error, and no failure: nothing was found wrong, and nothing right.
                Outcome::CannotTell => { error type="cannot_tell" message=(why) { (why) } },
            }
        }
    }
}

impl Comparison {
    /// This comparison as a `JUnit` report: a test case for each condition, and one for each
    /// figure without, which is skipped, since nothing was asked of it.
    pub fn junit(&self) -> String {
        let n_of = |outcome| self.judgements.iter().filter(|it| it.outcome == outcome).count();
        let is_asked = |name: &str| self.judgements.iter().any(|it| it.name == name);
        let others: Vec<_> = self.shown().filter(|it| !is_asked(&it.name)).collect();
        let (n_failures, n_errors) = (n_of(Outcome::Broken), n_of(Outcome::CannotTell));
        let n_tests = self.judgements.len() + others.len();
        let title = text(&format!("{} and {}", self.sides[0].title(), self.sides[1].title()));
        let body = html! {
            testsuites tests=(n_tests) failures=(n_failures) errors=(n_errors) {
                testsuite name=(title) tests=(n_tests) failures=(n_failures) errors=(n_errors)
                    skipped=(others.len()) time=(TIME) {
                    @for judged in &self.judgements { (condition(judged)) }
                    @for it in others {
                        testcase classname="rig.compare" name=(it.name) time=(TIME) {
                            skipped message=(text(&format!(
                                "no condition; {} and {}, {}: {}",
                                it.side(0), it.side(1), it.change(), it.sentence()
                            ))) {}
                        }
                    }
                }
            }
        };
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", body.into_string())
    }
}
