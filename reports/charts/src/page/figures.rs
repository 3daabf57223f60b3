//! The books, what the run cost, and how long messages took.

use maud::{Markup, html};

use super::{Note, figure, section, source, table};
use crate::pictures::{Drawn, Picture};
use reports::books::{Extent, FloodReport, JudgedBy};
use reports::latency::{Latency, LatencySummary};
use reports::run::words::{
    NOT_MEASURED, figure as number, grouped, kb, ms, of_one_core, with_unit,
};
use reports::run::{Moment, Run, Summary, files};

/// The percentiles of the table, and how they are written.
const PERCENTILES: [(f64, &str); 6] = [
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
];

/// The columns of the table of all delays.
const DELAY_HEADS: [&str; 7] = ["", "p50", "p90", "p99", "p99.9", "longest", "how many"];

/// Both sides of every identity.
pub(crate) fn books(run: &Run, summary: &Summary) -> Markup {
    let note: Note<'_> = if summary.server.is_some() {
        &[
            "Every message is accounted for, by three programs that share no code for it: msggen \
             counts what was answered, the server what it wrote, floodtest what it received.",
            "Written means that the kernel took a chunk's last byte. Counts were taken after the \
             last message and before anybody was disconnected.",
        ]
    } else {
        &[
            "The server gives no counts that are known here. msggen counts what the server \
             answered, floodtest what it received, and the rig computes what was to come from \
             what msggen wrote down for each id and from the ids in the URLs.",
            "A message is known by its stamp, or by a number that the server gives it, never by \
             how it was framed.",
        ]
    };
    let body = html! {
        table.books {
            thead { tr { th scope="col" { "what must be equal" } th {} th {} th {} } }
            tbody {
                @for line in &summary.books.lines {
                    tr class=[(!line.holds()).then_some("bad")] {
                        th scope="row" { (line.what) }
                        td.left { (grouped(line.left)) }
                        td.sign { (line.sign()) }
                        td.right {
                            (grouped(line.right))
                            @if line.slack > 0 { " (" (grouped(line.slack)) " unconfirmed)" }
                        }
                    }
                }
            }
        }
    };
    let from = [
        (files::MSGGEN, summary.sent.is_some()),
        (files::FLOODTEST, true),
        (files::SERVER_STATS, summary.server.is_some()),
        (files::EXPECTED, run.expected.is_some()),
    ];
    let from: Vec<&str> = from.into_iter().filter_map(|(file, is)| is.then_some(file)).collect();
    let body = html! { (body) (source(&from)) };
    let title =
        if summary.books.balance() { "The books balance" } else { "The books do not balance" };
    section(title, note, &body)
}

/// What the server's memory was, when.
pub(crate) fn memory(run: &Run, summary: &Summary, drawn: &Drawn) -> Markup {
    let of_kernel = if run.plan.server.host.is_some() {
        "Kernel memory is that of the server's whole machine, with everything else there that uses \
         TCP. It is much the same for every server."
    } else {
        "Kernel memory is that of the whole machine: on loopback both ends of every connection are \
         in it, and everything else that uses TCP. It is much the same for every server."
    };
    let note = [
        "RSS is the resident memory of the server's process in KB of 1,024 bytes, as ps prints it; \
         several servers are summed. Bytes per connection are what it has above the server with \
         nobody connected, divided by the connections.",
        of_kernel,
    ];
    // comet-server has a control door for the senders, on a port of its own.
    let senders = "Connections are all that are established at the server's ports: where messages \
                   are sent to the same port, those of msggen are among them.";
    let note =
        if run.plan.server.is_counted { note.to_vec() } else { [&note[..], &[senders]].concat() };
    let cost = &summary.cost;
    let Some(process) = &drawn.process else {
        let unknown = html! {
            p {
                "Not measured: the processes of " (run.plan.server.name)
                " are not on this machine, or not known."
            }
        };
        return section("What it cost the server", &[], &unknown);
    };
    let moments = [
        ("nobody connected", &cost.empty),
        ("all connected, nothing sent yet", &cost.idle),
        ("after the last message", &cost.after),
    ];
    let row = |(what, moment): (&str, &Option<Moment>)| {
        let known = |kb: fn(&Moment) -> Option<u64>| {
            moment.as_ref().and_then(kb).map_or_else(|| "–".to_owned(), grouped)
        };
        vec![
            what.to_owned(),
            known(|it| Some(it.connections)),
            known(|it| Some(it.rss_kb)),
            known(|it| it.anon_kb),
            known(|it| it.kernel_tcp_kb),
            known(|it| it.slab_kb),
        ]
    };
    let heads = [
        "",
        "connections",
        "RSS, KB",
        "anonymous, KB",
        "kernel: TCP buffers, KB",
        "kernel: TCP sockets, KB",
    ];
    let body = html! {
        (table("terms", &["", "figure", "computed from"], costs(summary)))
        (figure(process))
        @if let Some(kernel) = &drawn.kernel { (figure(kernel)) }
        (table("figures", &heads, moments.into_iter().map(row)))
        (source(&[files::MEMORY, files::FLOODTEST]))
    };
    section("What it cost the server", &note, &body)
}

/// What follows from the server's memory and CPU time.
fn costs(summary: &Summary) -> Vec<Vec<String>> {
    let cost = &summary.cost;
    let terms = |moment: &Option<Moment>, kb: fn(&Moment) -> Option<u64>| {
        let kb = |moment: &Option<Moment>| moment.as_ref().and_then(kb);
        match (kb(moment), kb(&cost.empty), moment) {
            (Some(then), Some(empty), Some(moment)) => format!(
                "({} − {}) KB ÷ {}",
                grouped(then),
                grouped(empty),
                grouped(moment.connections)
            ),
            _ => String::new(),
        }
    };
    let rss = |it: &Moment| Some(it.rss_kb);
    let bytes = |bytes| with_unit(bytes, "bytes");
    let then = if summary.sent.is_some() {
        "while messages were sent"
    } else {
        "while connections were held"
    };
    let row = |what: &str, figure: String, from: String| vec![what.to_owned(), figure, from];
    vec![
        row(
            "memory for an idle connection",
            bytes(cost.idle_bytes_per_connection),
            terms(&cost.idle, rss),
        ),
        row(
            "memory for a connection, after the messages",
            bytes(cost.after_bytes_per_connection),
            terms(&cost.after, rss),
        ),
        row(
            "kernel memory of TCP for an idle connection, both ends",
            bytes(cost.idle_kernel_bytes_per_connection),
            terms(&cost.idle, Moment::kernel_kb),
        ),
        row(
            "kernel memory of TCP for a connection, after the messages",
            bytes(cost.after_kernel_bytes_per_connection),
            terms(&cost.after, Moment::kernel_kb),
        ),
        row("highest RSS", kb(cost.highest_rss_kb), format!("any sample {then}")),
        row(
            "growth",
            with_unit(cost.rss_slope_kb_per_min, "KB/min"),
            "straight line through the last half of that time".to_owned(),
        ),
        row("CPU", of_one_core(cost.cpu_share), format!("CPU time ÷ elapsed time, {then}")),
        row(
            "CPU for a message",
            with_unit(cost.cpu_us_per_message, "µs"),
            "the same CPU time ÷ messages received".to_owned(),
        ),
    ]
}

/// What everything together took of the machine.
pub(crate) fn machine(summary: &Summary) -> Markup {
    let note = [
        "PSS counts what processes share once: it is divided by those who share it. It is read \
         once at the end, because reading it holds up the process.",
        "Slab are the kernel's objects (sockets, files, poll items) for both ends of every \
         connection.",
    ];
    let rows = summary.machine.rows().into_iter().map(Vec::from).collect::<Vec<_>>();
    html! {
        @if !rows.is_empty() {
            @let table = table("terms", &["", "figure", "computed from"], rows);
            @let body = html! { (table) (source(&[files::FOOTPRINT, files::FLOODTEST])) };
            (section("The whole machine", &note, &body))
        }
    }
}

/// What went over the connections.
pub(crate) fn traffic(run: &Run, summary: &Summary, picture: &Picture) -> Markup {
    let (received, rates) = (&summary.received, &summary.rates);
    let note = [
        "Messages are due at fixed times, whatever the server does (open loop); connections too.",
        "A chunk is what a message becomes for one connection that it reaches; of other streams \
         events, lines or frames are counted.",
    ];
    let items = run.item_kind();
    let opened = rates.opened_per_s.map_or_else(|| NOT_MEASURED.to_owned(), number);
    let per_s = rates.received_per_s.map_or_else(|| NOT_MEASURED.to_owned(), number);
    let asked = if run.plan.rate > 0 { grouped(run.plan.rate) } else { "flat out".to_owned() };
    let row = |what: &str, asked: String, here: String, from: &str| {
        vec![what.to_owned(), asked, here, from.to_owned()]
    };
    let mut rows = vec![row(
        "connections opened a second",
        asked,
        opened,
        "(established − 1) ÷ seconds from the first to the last",
    )];
    if let Some(sent) = &summary.sent {
        let asked = grouped(run.plan.messages_per_second);
        rows.push(row(
            "messages sent a second",
            asked,
            number(sent.achieved_per_s),
            "msggen's achieved_per_s",
        ));
        rows.push(row(
            &format!("{items} received a second"),
            String::new(),
            per_s,
            "all of them ÷ seconds from the first message due to the last answer",
        ));
    } else {
        let from = "floodtest's last report";
        rows.push(row(&format!("{items} received"), String::new(), grouped(run.n_items()), from));
    }
    let types = received.content_types.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let from: &[&str] = if summary.sent.is_some() {
        &[files::FLOODTEST, files::MSGGEN, files::PLAN]
    } else {
        &[files::FLOODTEST, files::PLAN]
    };
    let body = html! {
        (figure(picture))
        (table("figures sourced", &["", "asked for", "here", "computed from"], rows))
        (source(from))
        @if !types.is_empty() { p { "Content-Type of the responses: " (types) "." } }
        p { "Messages are judged by " (judged_by(received)) "." }
    };
    section("Connections and messages", &note, &body)
}

/// What messages are judged by, and of how many connections.
fn judged_by(received: &FloodReport) -> String {
    let by = match received.judged_by {
        JudgedBy::Nothing => return "nothing: not judged".to_owned(),
        JudgedBy::Stamps => "msggen's stamps",
        JudgedBy::Numbers => "the server's numbers",
        JudgedBy::Both => "msggen's stamps and the server's numbers",
    };
    let judged = received.judged;
    let extent = |extent: Extent| match extent {
        Extent::All => "all",
        Extent::Some => "some",
        Extent::None => "none",
    };
    format!(
        "{by}; of {} connections before the first that came, of {} in between, of {} after the \
         last",
        extent(judged.beginning),
        extent(judged.middle),
        extent(judged.end)
    )
}

/// How long messages took.
pub(crate) fn latency(run: &Run, summary: &Summary, drawn: &Drawn) -> Markup {
    let has_delivery = summary.received.delivery_from_due.count > 0;
    if summary.sent.is_none() && !has_delivery && summary.received.streams.is_some() {
        // Nobody sent messages, and what streams took stands in their own section.
        return html! {};
    }
    if summary.received.delivery_from_due.is_unknown {
        // The logs have what was reckoned with a clock that nobody knows: it is not shown.
        let why = summary.received.notes.iter().find(|note| note.starts_with(UNKNOWN));
        let why = why.map_or("Latencies are unknown", String::as_str);
        return section("How long messages took", &[], &html! { p { (why) "." } });
    }
    if summary.delays().iter().all(|(_, delays)| delays.count == 0) {
        let none = html! { p { "Not measured: no message had a stamp." } };
        return section("How long messages took", &[], &none);
    }
    let note = [
        "From due: counted from when the message should have been sent, so that a server that \
         stalls its senders cannot hide it (coordinated omission). From send: counted from when it \
         was sent.",
        "Delivery ends with the receipt by the client, send latency with the answer to the sender.",
        &clocks(summary),
        "Scales of latency are logarithmic. The longest delay of a long run says most about the \
         machine.",
    ];
    let by_percentile = percentiles(run, summary);
    let name = |file| files::name_in(&run.folder, file);
    let tools: &[&str] = if summary.sent.is_some() {
        &[files::FLOODTEST, files::MSGGEN]
    } else {
        &[files::FLOODTEST]
    };
    let body = html! {
        (figure(&drawn.delivery_from_due))
        (figure(&drawn.percentiles))
        div.pair {
            div {
                h3 { "Delivery latency by percentile, ms" }
                (table("figures", &["no longer for", "from due", "from send"], by_percentile))
                (source(&[name(files::DELIVERY_FROM_DUE), name(files::DELIVERY_FROM_SEND)]))
            }
            div {
                h3 { "All delays, ms" }
                (table("figures", &DELAY_HEADS, delays(summary)))
                (source(tools))
            }
        }
    };
    section("How long messages took", &note, &body)
}

/// How floodtest's note begins that says why no latency is known.
const UNKNOWN: &str = "latencies are unknown";

/// A delay in milliseconds; unknown if it is smaller than the bound of the clocks between hosts.
pub(super) fn known_ms(us: u64, bound_us: Option<u64>) -> String {
    if bound_us.is_some_and(|bound_us| us < bound_us) { "unknown".to_owned() } else { ms(us) }
}

/// Median and 99th percentile in milliseconds, as far as they are not below the bound of clocks.
pub(super) fn p50_and_p99(delays: &LatencySummary, bound_us: Option<u64>) -> String {
    if delays.count == 0 {
        return "–".to_owned();
    }
    format!("{} / {}", known_ms(delays.p50_us, bound_us), known_ms(delays.p99_us, bound_us))
}

/// By which clocks delays are known.
fn clocks(summary: &Summary) -> String {
    let received = &summary.received;
    match received.clock_bound_us {
        Some(bound_us) => format!(
            "Sender and receivers are on several machines: each delay of delivery may be wrong by \
             {} ms in either direction, and one that is smaller is unknown.",
            ms(bound_us)
        ),
        None => "Sender and receivers are on this machine, with one clock.".to_owned(),
    }
}

/// Delivery latency by percentile, as far as there are delays above the percentile.
fn percentiles(run: &Run, summary: &Summary) -> Vec<Vec<String>> {
    let bound_us = summary.received.clock_bound_us;
    let totals =
        [&run.delivery_due, &run.delivery_actual].map(|log| log.as_ref().map(|log| &log.total));
    let cell = |total: Option<&Latency>, quantile: f64| {
        let total = total.filter(|total| total.count() as f64 * (1.0 - quantile) >= 0.999);
        total.map(|total| known_ms(total.at_quantile_us(quantile), bound_us))
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (quantile, name) in PERCENTILES {
        let cells = totals.map(|total| cell(total, quantile));
        if cells.iter().any(Option::is_some) {
            let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
            rows.push([name.to_owned()].into_iter().chain(cells).collect());
        }
    }
    let longest = [&summary.received.delivery_from_due, &summary.received.delivery_from_send]
        .map(|it| if it.count > 0 { known_ms(it.max_us, bound_us) } else { "–".to_owned() });
    rows.push(["all of them".to_owned()].into_iter().chain(longest).collect());
    rows
}

/// Every delay that was recorded.
fn delays(summary: &Summary) -> Vec<Vec<String>> {
    let row = |(what, it): (&str, &LatencySummary)| {
        // The sender's own delays are by one clock.
        let is_between = what.starts_with("delivery");
        let bound_us = summary.received.clock_bound_us.filter(|_| is_between);
        let ms = |us| if it.count > 0 { known_ms(us, bound_us) } else { "–".to_owned() };
        let figures = [it.p50_us, it.p90_us, it.p99_us, it.p999_us, it.max_us].map(ms);
        [what.to_owned()].into_iter().chain(figures).chain([grouped(it.count)]).collect()
    };
    summary.delays().into_iter().filter(|(_, it)| it.count > 0).map(row).collect()
}
