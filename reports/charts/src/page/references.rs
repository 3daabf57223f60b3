//! The figures of others.

use maud::{Markup, html};

use super::{section, table};
use reports::run::references::{PEER_HEADS, PEERS, PEERS_SOURCE, article, part};
use reports::run::words::{NOT_MEASURED, grouped, time};
use reports::run::{Run, Summary};

/// The article's figures and those of other servers, beside those of this run.
pub(crate) fn references(run: &Run, summary: &Summary) -> Markup {
    let note = [
        "The article had a machine of 2008, and its memory is that of processes unless it says \
         kernel. Bytes per connection can be compared; speed cannot. Its highest figure is for 24 \
         hours.",
        "The servers of others were not part of this run. Their memory can be compared; CPU and \
         latency only roughly, because both depend on the machine, and on who sends and how.",
    ];
    let rows = article(summary)
        .into_iter()
        .map(|row| vec![row.what.to_owned(), row.article.to_owned(), row.here]);
    let body = html! {
        p { "The experiment is that of “A Million-user Comet Application with Mochiweb, Part "
            (part(summary)) "” (2008)." }
        (table("", &["", "article, 2008", "here"], rows))
        h3 { "Other servers, with 10,000 connections and 1,000 messages/s" }
        (peers(run, summary))
        p.source { (PEERS_SOURCE) }
    };
    section("Beside the article and other servers", &note, &body)
}

/// Other servers, and this run in their columns.
fn peers(run: &Run, summary: &Summary) -> Markup {
    let cost = &summary.cost;
    let mb = |kb: Option<u64>| {
        kb.map_or_else(|| NOT_MEASURED.to_owned(), |kb| format!("{:.1}", kb as f64 / 1024.0))
    };
    let rss = |moment: &Option<reports::run::Moment>| mb(moment.as_ref().map(|it| it.rss_kb));
    let known = |text: Option<String>| text.unwrap_or_else(|| NOT_MEASURED.to_owned());
    let raw = &summary.received.delivery_from_send;
    let ms = |us: u64| us as f64 / 1_000.0;
    let latency = || format!("{:.2} / {:.2}", ms(raw.p50_us), ms(raw.p99_us));
    let ours = [
        format!(
            "comet-server, this run: {} connections, {} messages/s for {}",
            grouped(summary.received.connected),
            grouped(run.plan.messages_per_second),
            time(summary.sent.elapsed_s)
        ),
        rss(&cost.empty),
        rss(&cost.idle),
        known(cost.idle_bytes_per_connection.map(|bytes| format!("{bytes:.0}"))),
        rss(&cost.after),
        known(cost.cpu_share.map(|share| format!("{:.1}", share * 100.0))),
        known((raw.count > 0).then(latency)),
    ];
    html! {
        table.stack.figures {
            thead { tr { @for head in PEER_HEADS { th scope="col" { (head) } } } }
            tbody {
                tr.ours {
                    th scope="row" { (ours[0]) }
                    @for (head, cell) in PEER_HEADS.iter().zip(&ours).skip(1) {
                        td data-label=(head) { (cell) }
                    }
                }
                @for (name, cells) in PEERS {
                    tr {
                        th scope="row" { (name) }
                        @for (head, cell) in PEER_HEADS.iter().skip(1).zip(cells) {
                            td data-label=(head) { (cell) }
                        }
                    }
                }
            }
        }
    }
}
