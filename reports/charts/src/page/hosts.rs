//! The hosts that held the connections, one by one.

use maud::{Markup, html};

use super::figures::p50_and_p99;
use super::{section, source, table};
use reports::books::HostReport;
use reports::run::words::{grouped, ms};
use reports::run::{Summary, files};

/// What each host held. Nothing where the machine of floodtest held all.
pub(super) fn hosts(summary: &Summary) -> Markup {
    let hosts = &summary.received.hosts;
    if hosts.is_empty() {
        return html! {};
    }
    let note = [
        "Each host of --hosts held its share of one plan. All other figures of this page are of \
         all hosts together: counts and delays were added up, none was averaged.",
        "The clock of each host was asked for over its ssh, and its receipts have the time of the \
         host that sends. A delay there may be wrong by the bound, in either direction, and not by \
         more.",
    ];
    let heads = [
        "host",
        "processes",
        "open",
        "closed",
        "failed",
        "unknown",
        "items",
        "delivery p50 / p99, ms",
        "clock within, ms",
        "RSS, KB",
    ];
    let lost = hosts.iter().filter_map(|host| host.lost_why.as_ref());
    let body = html! {
        (table("figures hosts", &heads, hosts.iter().map(|host| row(host, summary))))
        @for why in lost {
            p { strong { "Lost " } (why) ". Its figures are the last that it told, and what became \
                of its connections is unknown." }
        }
        (source(&[files::FLOODTEST]))
    };
    section("Hosts", &note, &body)
}

/// The row of a host.
fn row(host: &HostReport, summary: &Summary) -> Vec<String> {
    vec![
        host.host.clone(),
        grouped(host.processes),
        grouped(host.connected),
        grouped(host.closed),
        grouped(host.failed),
        grouped(host.unknown),
        grouped(host.items),
        p50_and_p99(&host.delivery_from_due, summary.received.clock_bound_us),
        host.clock.map_or_else(|| "not known".to_owned(), |clock| ms(clock.bound_us)),
        grouped(host.rss_kb),
    ]
}
