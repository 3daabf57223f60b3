//! What limited the run, and what else was looked at.

use maud::{Markup, html};

use super::section;
use reports::run::{Limit, Summary};

/// What limited the run, for the top of the page.
pub(super) fn headline(summary: &Summary) -> Markup {
    let n_limits = summary.limited_by().count();
    html! {
        @if n_limits == 0 {
            p.limited { strong { "What limited it:" } " nothing that was looked at." }
        } @else {
            p.limited { strong { "What limited it:" } }
            ul.limited {
                @for limit in summary.limited_by() {
                    li { (limit.what) ": " (unbroken(&limit.seen)) ". " (limit.means) }
                }
            }
        }
    }
}

/// Everything that was looked at.
pub(super) fn limits(summary: &Summary) -> Markup {
    let note =
        ["A figure says something about the server only as far as nothing else limited the run. \
         What is here can be seen from outside; a network, a disk or another program on the \
         machine is not looked at during the run."];
    let body = html! {
        table.stack.limits {
            thead {
                tr {
                    th scope="col" { "what was looked at" }
                    th scope="col" { "limit" }
                    th scope="col" { "what was seen" }
                    th scope="col" { "from" }
                }
            }
            tbody {
                @for limit in &summary.limits {
                    tr class=[(limit.is_limit == Some(true)).then_some("bad")] {
                        th scope="row" { (limit.what) }
                        td data-label="limit" { (answer(limit)) }
                        td data-label="what was seen" { (unbroken(&limit.seen)) }
                        td data-label="from" { code { (limit.file) } }
                    }
                }
            }
        }
    };
    section("What limited it", &note, &body)
}

/// A text in which no percent sign begins a line.
fn unbroken(text: &str) -> String {
    text.replace(" %", "\u{a0}%")
}

/// Whether something limited the run, in a word.
fn answer(limit: &Limit) -> &'static str {
    match limit.is_limit {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known",
    }
}
