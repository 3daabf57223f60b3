//! Runs side by side, on a page.

use maud::{Markup, html};

use super::comparison::{Compared, Comparison};
use crate::page::{command_lines, document, figure, kicker, section, table};
use crate::pictures::Picture;
use reports::compare::condition::Outcome;
use reports::compare::difference::{Difference, Finding, method};
use reports::compare::ranks::CERTAINTY;
use reports::run::words::{NOT_MEASURED, figure as number};

/// The figures of each run by itself that a page has room for.
const RUN_BY_RUN: [&str; 4] = [
    "delivery_from_due.p50",
    "delivery_from_due.p99",
    "server.rss_per_connection",
    "server.cpu_share",
];

/// The page of the runs of two sides.
pub(super) fn page(
    comparison: &Comparison,
    runs: &[Vec<&Compared>; 2],
    [memory, percentiles]: [&Picture; 2],
) -> String {
    let [a, b] = comparison.sides.each_ref().map(super::comparison::Side::title);
    let title = format!("{a} and {b}");
    let is_several = runs.iter().any(|side| side.len() > 1);
    let (memory_note, delays_note): (&[&str], &[&str]) = if is_several {
        (
            &["Of each side one run is shown: that whose RSS after the messages is in the middle."],
            &[
                "The delays of all runs of a side together.",
                "Solid and dashed lines of one colour are one side: from due, and from send.",
            ],
        )
    } else {
        (&[], &["Solid and dashed lines of one colour are one run: from due, and from send."])
    };
    let body = html! {
        header {
            @for (side, runs) in comparison.sides.iter().zip(runs) {
                p.kicker { (side.title()) " · " (builds(runs)) }
            }
            h1 { (title) }
            (verdict(comparison))
            @if comparison.n_runs() > 1 { (found(comparison)) }
        }
        main {
            (judgements(comparison))
            (figures(comparison, runs))
            @if is_several { (run_by_run(comparison)) }
            (section("Delivery latency", delays_note, &figure(percentiles)))
            (section("Memory", memory_note, &figure(memory)))
            (differences(comparison))
            (meanings(comparison))
            (commands(comparison, runs))
        }
        footer { "The raw figures lie in the folders of the runs." }
    };
    document(&title, &body)
}

/// When the runs of a side were made, and of what build the last one was.
fn builds(runs: &[&Compared]) -> String {
    let mut plans: Vec<_> = runs.iter().map(|run| &run.plan).collect();
    plans.sort_by_key(|plan| plan.started_unix_s);
    let mut kickers: Vec<String> = plans.into_iter().map(kicker).collect();
    // They begin with the time, which is another one for every run.
    if let [first, .., last] = kickers.as_slice() {
        let (begun, _) = first.split_once(" · ").unwrap_or((first, ""));
        let (ended, build) = last.split_once(" · ").unwrap_or((last, ""));
        kickers = vec![format!("{begun} to {ended} · {build}")];
    }
    kickers.concat()
}

/// Whether the conditions were kept, and whether the sides may be compared.
fn verdict(comparison: &Comparison) -> Markup {
    let chance = match comparison.n_runs() {
        0 | 1 => {
            " The same machine, the same plan, and both held. Two runs still differ by chance: a \
             ratio near 1 says nothing."
        }
        _ => " The same machine, the same plan, and all held.",
    };
    html! {
        @if let Some(verdict) = comparison.verdict() {
            p class={ "verdict " (if comparison.is_kept() { "held" } else { "short" }) } {
                strong { (verdict) }
            }
        }
        @if comparison.objections.is_empty() {
            p.verdict.held { strong { "Comparable." } (chance) }
        } @else {
            p.verdict.short { strong { "Not comparable as they are." } }
            ul.bad { @for objection in &comparison.objections { li { (objection) } } }
        }
    }
}

/// Which figures differ.
fn found(comparison: &Comparison) -> Markup {
    let is_found = |it: &&Difference| matches!(it.finding, Finding::More | Finding::Less);
    let found = comparison.shown().filter(is_found);
    let found: Vec<String> = found.map(|it| format!("{} by {}", it.name, it.change())).collect();
    let certainty = format!("{:.0} %", CERTAINTY * 100.0);
    html! {
        p {
            @if found.is_empty() { "No figure differs with " (certainty) " certainty." }
            @else { "With " (certainty) " certainty these differ: " (found.join("; ")) "." }
        }
    }
}

/// What came of the conditions.
fn judgements(comparison: &Comparison) -> Markup {
    let rows = comparison
        .judgements
        .iter()
        .map(|it| vec![it.condition.clone(), it.outcome.words().to_owned(), it.why.clone()]);
    let is_unclear = comparison.judgements.iter().any(|it| it.outcome == Outcome::CannotTell);
    let note: &[&str] = if is_unclear {
        &["What these runs cannot tell is not a pass: what was not checked is never called right."]
    } else {
        &[]
    };
    html! {
        @if !comparison.judgements.is_empty() {
            (section("What must not be", note, &table(
                "stack conditions", &["condition", "it is", "why"], rows,
            )))
        }
    }
}

/// The figures of both sides.
fn figures(comparison: &Comparison, runs: &[Vec<&Compared>; 2]) -> Markup {
    let [a, b] = comparison.sides.each_ref().map(super::comparison::Side::title);
    let n_runs = comparison.n_runs();
    let held = runs.each_ref().map(|side| {
        match (side.iter().filter(|run| run.summary.held()).count(), side.len()) {
            (1, 1) => "held".to_owned(),
            (0, 1) => "fell short".to_owned(),
            (n, all) if n == all => "all held".to_owned(),
            (n, all) => format!("{n} of {all} held"),
        }
    });
    let mut first = vec!["verdict".to_owned(), held[0].clone(), held[1].clone(), String::new()];
    let mut heads = vec!["", &a, &b, "change"];
    if n_runs > 1 {
        heads.push("difference");
        first.push(String::new());
    }
    let row = |it: &Difference| {
        let mut row = vec![it.title(), it.side(0), it.side(1), it.change()];
        if n_runs > 1 {
            row.push(it.sentence());
        }
        row
    };
    let rows = std::iter::once(first).chain(comparison.shown().map(row));
    let class = if n_runs > 1 { "figures compared" } else { "figures" };
    let method = method(n_runs);
    let note: &[&str] = &[&method];
    section("Figures", note, &table(class, &heads, rows))
}

/// The figures of each run by itself.
fn run_by_run(comparison: &Comparison) -> Markup {
    let shown: Vec<&Difference> = RUN_BY_RUN
        .iter()
        .filter_map(|name| comparison.figures.iter().find(|it| it.name == *name))
        .collect();
    let titles: Vec<String> = shown.iter().map(|it| it.title()).collect();
    let heads: Vec<&str> = std::iter::once("").chain(titles.iter().map(String::as_str)).collect();
    let known = |value: Option<f64>| value.map_or_else(|| NOT_MEASURED.to_owned(), number);
    let mut rows = Vec::new();
    for (at, side) in comparison.sides.iter().enumerate() {
        for (of, name) in side.runs.iter().enumerate() {
            let figures = shown.iter().map(|it| known(it.sides[at].values[of]));
            rows.push([format!("{}: {name}", side.name)].into_iter().chain(figures).collect());
        }
    }
    section("Run by run", &[], &table("figures runs", &heads, rows))
}

/// In what they differ.
fn differences(comparison: &Comparison) -> Markup {
    let [a, b] = comparison.sides.each_ref().map(super::comparison::Side::title);
    let rows = comparison.differences.iter().map(|it| {
        let [a, b] = it.sides.clone();
        vec![it.what.to_owned(), a, b]
    });
    let body = html! {
        @if comparison.differences.is_empty() { p { "In nothing that is known." } }
        @else { (table("", &["", &a, &b], rows)) }
    };
    section("In what they differ", &[], &body)
}

/// What the figures are, and where they come from.
fn meanings(comparison: &Comparison) -> Markup {
    let rows = comparison.shown().map(|it| vec![it.name.clone(), it.what.clone(), it.file.into()]);
    let heads = ["", "what it is", "computed from"];
    section("What the figures are", &[], &table("", &heads, rows))
}

/// Their commands: those of the first run of each side, which the others repeat.
fn commands(comparison: &Comparison, runs: &[Vec<&Compared>; 2]) -> Markup {
    let body = html! {
        @for (side, runs) in comparison.sides.iter().zip(runs) {
            @if let Some((name, run)) = side.runs.iter().zip(runs).next() {
                h3 { @if runs.len() > 1 { (side.name) ": " } (name) }
                (command_lines(&run.plan.commands))
            }
        }
    };
    section("Their commands", &[], &body)
}
