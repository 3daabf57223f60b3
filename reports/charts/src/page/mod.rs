//! The page of a run: one file that needs no other, no network and no script.

mod details;
mod figures;
mod hosts;
mod html;
mod limits;
mod references;
mod shapes;
mod top;

use maud::html;

pub(crate) use details::facts;
pub(crate) use html::{Note, command_lines, document, figure, section, source, table};
pub(crate) use top::kicker;

use crate::pictures::Drawn;
use reports::run::{Run, Summary};

/// The page of `run`.
pub(crate) fn page(run: &Run, summary: &Summary, drawn: &Drawn) -> String {
    let body = html! {
        (top::top(run, summary))
        main {
            (limits::limits(summary))
            (hosts::hosts(summary))
            (shapes::settles(summary, drawn))
            (shapes::streams(run, summary, drawn))
            (shapes::slow_readers(summary))
            (figures::memory(run, summary, drawn))
            (figures::latency(run, summary, drawn))
            (figures::books(run, summary))
            (figures::traffic(run, summary, &drawn.traffic))
            (figures::machine(summary))
            (references::references(summary))
            (details::commands(run))
            (details::scenario(run))
            (details::machine(run))
            (details::phases(run, summary))
            (details::not_claimed(run))
            (details::raw_files(run))
        }
        (details::footer(run))
    };
    document(&top::title(run), &body)
}
