//! The page of a run: one file that needs no other, no network and no script.

mod details;
mod figures;
mod html;
mod others;
mod top;

use maud::html;

pub(super) use details::facts;
pub(super) use html::{command_lines, document, figure, section, table};
pub(super) use top::kicker;

use super::pictures::Drawn;
use super::{Run, Summary};

/// The page of `run`.
pub(super) fn page(run: &Run, summary: &Summary, drawn: &Drawn) -> String {
    let body = html! {
        (top::top(run, summary))
        main {
            (figures::books(summary))
            (figures::memory(summary, drawn))
            (figures::whole(summary))
            (figures::traffic(run, summary, &drawn.traffic))
            (figures::latency(run, summary, drawn))
            (others::others(run, summary))
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
