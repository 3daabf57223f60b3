//! Two runs side by side, on a page.

use maud::{Markup, html};

use super::Comparison;
use crate::page::{command_lines, document, figure, kicker, section, table};
use crate::pictures::Picture;
use reports::run::words::{NOT_MEASURED, figure as number};
use reports::run::{Run, Summary};

/// The page of two runs.
pub(crate) fn page(
    comparison: &Comparison,
    runs: &[Run; 2],
    summaries: &[Summary; 2],
    [memory, percentiles]: [&Picture; 2],
) -> String {
    let [a, b] = &comparison.names;
    let title = format!("{a} and {b}");
    let body = html! {
        header {
            @for (name, run) in comparison.names.iter().zip(runs) {
                p.kicker { (name) " · " (kicker(&run.plan)) }
            }
            h1 { (title) }
            (verdict(comparison))
        }
        main {
            (figures(comparison, summaries))
            (section("Memory", &[], &figure(memory)))
            (section("Delivery latency", &[
                "Solid and dashed lines of one colour are one run: from due, and from send.",
            ], &figure(percentiles)))
            (differences(comparison))
            (commands(comparison, runs))
        }
        footer { "The raw figures lie in the folders of both runs." }
    };
    document(&title, &body)
}

/// Whether they may be compared.
fn verdict(comparison: &Comparison) -> Markup {
    html! {
        @if comparison.objections.is_empty() {
            p.verdict.held {
                strong { "Comparable." }
                " The same machine, the same plan, and both held. Two runs still differ by chance: \
                 a ratio near 1 says nothing."
            }
        } @else {
            p.verdict.short { strong { "Not comparable as they are." } }
            ul.bad { @for objection in &comparison.objections { li { (objection) } } }
        }
    }
}

/// Their figures.
fn figures(comparison: &Comparison, summaries: &[Summary; 2]) -> Markup {
    let [a, b] = &comparison.names;
    let text = |side: Option<f64>| side.map_or_else(|| NOT_MEASURED.to_owned(), number);
    let rows = comparison.figures.iter().map(|figure| {
        let ratio = figure.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let [a, b] = figure.sides.map(text);
        vec![figure.what.to_owned(), a, b, ratio]
    });
    let held = summaries.each_ref().map(|it| if it.held() { "held" } else { "fell short" });
    let verdicts =
        vec!["verdict".to_owned(), held[0].to_owned(), held[1].to_owned(), String::new()];
    let heads = ["", a.as_str(), b.as_str(), "second ÷ first"];
    let body = table("figures", &heads, std::iter::once(verdicts).chain(rows));
    section("Figures", &[], &body)
}

/// In what they differ.
fn differences(comparison: &Comparison) -> Markup {
    let [a, b] = &comparison.names;
    let rows = comparison.differences.iter().map(|it| {
        let [a, b] = it.sides.clone();
        vec![it.what.to_owned(), a, b]
    });
    let body = html! {
        @if comparison.differences.is_empty() { p { "In nothing that is known." } }
        @else { (table("", &["", a.as_str(), b.as_str()], rows)) }
    };
    section("In what they differ", &[], &body)
}

/// Their commands.
fn commands(comparison: &Comparison, runs: &[Run; 2]) -> Markup {
    let body = html! {
        @for (name, run) in comparison.names.iter().zip(runs) {
            h3 { (name) }
            (command_lines(&run.plan.commands))
        }
    };
    section("Their commands", &[], &body)
}
