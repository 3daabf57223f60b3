//! The article's figures beside those of a run.

use maud::{Markup, html};

use super::{section, table};
use reports::run::Summary;
use reports::run::references::{article, part};

/// The article's figures beside those of this run.
pub(crate) fn references(summary: &Summary) -> Markup {
    let note =
        ["The article had a machine of 2008, and its memory is that of processes unless it says \
         kernel. Bytes per connection can be compared; speed cannot. Its highest figure is for 24 \
         hours."];
    let rows = article(summary);
    if rows.is_empty() {
        return html! {};
    }
    let rows =
        rows.into_iter().map(|row| vec![row.what.to_owned(), row.article.to_owned(), row.here]);
    let body = html! {
        p { "The experiment is that of “A Million-user Comet Application with Mochiweb, Part "
            (part(summary)) "” (2008)." }
        (table("", &["", "article, 2008", "here"], rows))
    };
    section("Beside the article", &note, &body)
}
