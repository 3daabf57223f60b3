//! The page of a run: one file that needs no other, no network and no script.

mod details;
mod figures;
mod html;
mod references;
mod top;

use maud::html;

pub(crate) use details::facts;
pub(crate) use html::{Note, command_lines, document, figure, section, table};
pub(crate) use top::kicker;

use crate::pictures::Drawn;
use reports::run::{Run, Summary};

/// The page of `run`.
pub(crate) fn page(run: &Run, summary: &Summary, drawn: &Drawn) -> String {
    let body = html! {
        (top::top(run, summary))
        main {
            (figures::books(summary))
            (figures::memory(summary, drawn))
            (figures::machine(summary))
            (figures::traffic(run, summary, &drawn.traffic))
            (figures::latency(run, summary, drawn))
            (references::references(summary))
            (details::scenario(run))
            (details::commands(run))
            (details::machine(run))
            (details::phases(summary))
            (details::not_claimed(run))
            (details::raw_files(run))
        }
        (details::footer(run))
    };
    document(&top::title(run), &body)
}
