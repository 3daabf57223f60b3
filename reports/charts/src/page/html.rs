//! The pieces that a page is put together from.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::pictures::Picture;
use reports::run::Command;

/// How everything looks.
const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded and no script may run, whatever stands in a log: a second lock behind the
/// escaping.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What is to be known about what stands beside it, a paragraph each.
pub(crate) type Note<'a> = &'a [&'a str];

/// A whole page.
pub(crate) fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// A section with a note beside it, or below it on a narrow page.
pub(crate) fn section(title: &str, note: Note<'_>, body: &Markup) -> Markup {
    html! {
        section {
            h2 { (title) }
            div.body { (body) }
            @if !note.is_empty() {
                aside { @for paragraph in note { p { (paragraph) } } }
            }
        }
    }
}

/// A chart.
pub(crate) fn figure(picture: &Picture) -> Markup {
    html! {
        figure role="img" aria-label=(picture.words) {
            div.wide { (PreEscaped(&picture.wide)) }
            div.narrow { (PreEscaped(&picture.narrow)) }
        }
    }
}

/// The files of the run's folder that the figures above it come from. They are named and not
/// linked: a page in a mail has no folder beside it.
pub(crate) fn source(files: &[&str]) -> Markup {
    html! {
        p.source {
            "From "
            @for (at, file) in files.iter().enumerate() {
                @if at > 0 { (if at + 1 == files.len() { " and " } else { ", " }) }
                code { (file) }
            }
            "."
        }
    }
}

/// The most columns that a narrow page has room for.
const MOST_NARROW: usize = 3;

/// A table of `class`, whose rows begin with what they are about. Where there are more columns than
/// a narrow page has room for, a row is a block there, in which each cell has its column's name.
pub(crate) fn table(
    class: &str,
    heads: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Markup {
    let stack = if heads.len() > MOST_NARROW { "stack " } else { "" };
    html! {
        table class={ (stack) (class) } {
            @if heads.iter().any(|head| !head.is_empty()) {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
            }
            tbody {
                @for row in rows {
                    // Two spaces begin a figure that belongs to the one above it.
                    @let what = row.first().map(String::as_str).unwrap_or_default();
                    tr class=[what.starts_with("  ").then_some("sub")] {
                        th scope="row" { (what.trim_start()) }
                        @for (head, cell) in heads.iter().zip(&row).skip(1) {
                            td data-label=(head) { (cell) }
                        }
                    }
                }
            }
        }
    }
}

/// Command lines.
pub(crate) fn command_lines(commands: &[Command]) -> Markup {
    html! { @for command in commands { pre { code { (command.line) } } } }
}
