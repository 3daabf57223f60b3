//! The top of the page: what was done, whether it held, and the figures that people ask for first.

use maud::{Markup, html};

use super::limits;
use reports::books::JudgedBy;
use reports::date::utc;
use reports::run::words::{figure, grouped, ms, time};
use reports::run::{Plan, Run, Summary, Verdict, files};

/// What was done, in a line.
pub(crate) fn title(run: &Run) -> String {
    let plan = &run.plan;
    if let Some(title) = &plan.title {
        return title.clone();
    }
    let (connections, rate) = (grouped(plan.connections), grouped(plan.messages_per_second));
    // The experiment's name is what people look for; its figures are what it was this time.
    format!(
        "{}: {connections} connections, {rate} messages a second, {}",
        plan.experiment.to_uppercase(),
        time(plan.duration_s)
    )
}

/// What was run, in a line.
pub(crate) fn kicker(plan: &Plan) -> String {
    let commit = plan.commit.as_deref().map(|commit| format!(" at {commit}")).unwrap_or_default();
    let modified = if plan.is_modified { ", modified" } else { "" };
    let build = match &*plan.profile {
        installed @ "installed" => installed.to_owned(),
        profile => format!("{profile} build"),
    };
    let toolkit = &plan.toolkit;
    let server = &plan.server.name;
    format!(
        "{} · {server} · Comet toolkit {toolkit}{commit}{modified}, {build}",
        utc(plan.started_unix_s)
    )
}

/// The top of the page.
pub(crate) fn top(run: &Run, summary: &Summary) -> Markup {
    html! {
        header {
            p.kicker { (kicker(&run.plan)) }
            h1 { (title(run)) }
            @if summary.held() {
                p.verdict.held { strong { "Held." } " " (what_held(run, summary)) }
            } @else {
                (fell_short(run, summary))
            }
            (limits::headline(summary))
            dl.keys {
                @for key in keys(run, summary) {
                    div {
                        dt { (key.what) " " span.from { (key.from) } }
                        dd { (key.value) @if !key.unit.is_empty() { small { " " (key.unit) } } }
                    }
                }
            }
            @if !summary.caveats.is_empty() {
                ul.caveats { @for caveat in &summary.caveats { li { (caveat) } } }
            }
        }
    }
}

/// In what respects the run fell short. A server that ended too early is the cause of all the rest.
fn fell_short(run: &Run, summary: &Summary) -> Markup {
    let (cause, rest) = match summary.shortfalls.split_first() {
        Some((cause, rest)) if run.server_fell_early() => (Some(cause), rest),
        _ => (None, &summary.shortfalls[..]),
    };
    html! {
        p.verdict.short {
            strong {
                @if summary.verdict == Verdict::NotValid { "Not valid" } @else { "Fell short" }
            }
            @match (cause, rest.len()) {
                (Some(cause), _) => { ": " (cause) "." },
                (None, 1) => { ", in one respect:" },
                (None, n) => { ", in " (n) " respects:" },
            }
        }
        @if cause.is_some() && !rest.is_empty() { p { "What came of it:" } }
        ol.bad { @for shortfall in rest { li { (shortfall) } } }
    }
}

/// What it means that the run held.
fn what_held(run: &Run, summary: &Summary) -> String {
    let (received, items) = (&summary.received, run.item_kind());
    let n_items = grouped(run.n_items());
    let connections = grouped(received.connected);
    let Some(sent) = &summary.sent else {
        if run.n_items() == 0 {
            return format!(
                "{connections} connections were open at the end. No messages were sent, and none \
                 came."
            );
        }
        let faults = match received.lost {
            Some(0) => "none lost, none duplicated, none out of order",
            Some(_) => "those that were lost were allowed",
            None => "whether messages were missing was not judged",
        };
        return format!(
            "{connections} connections were open at the end, and {n_items} {items} received: \
             {faults}."
        );
    };
    if summary.server.is_none() {
        let faults = match (received.n_faults(), received.reordered) {
            (0, Some(_)) => "none lost, none duplicated, none out of order".to_owned(),
            (0, None) => "none lost, none duplicated; their order was not judged".to_owned(),
            (n, _) => format!("{} lost, duplicated or out of order, as expected", grouped(n)),
        };
        // A server may answer nothing: then what the kernel took is all that is known.
        let (n_sent, how) = match sent.written {
            Some(written) => (written, "written"),
            None => (sent.answered, "answered"),
        };
        return format!(
            "{connections} connections were open at the end. {} messages were {how}, and {} \
             received: {faults}.",
            grouped(n_sent),
            grouped(received.messages)
        );
    }
    let void = match sent.void {
        None | Some(0) => String::new(),
        Some(void) => format!(" {} of them went to ids that nobody had.", grouped(void)),
    };
    format!(
        "All {connections} connections stayed open to the end. {} messages were sent, and \
         {n_items} {items} received: none lost, none duplicated, none out of order.{void}",
        grouped(sent.answered),
    )
}

/// A figure that people ask for first.
struct Key {
    value: String,
    unit: &'static str,
    what: String,
    /// The file of the run's folder that it comes from.
    from: &'static str,
}

/// What was received: of a server with counts of its own chunks, which are compared with them.
fn received_key(run: &Run, summary: &Summary) -> Key {
    let received = &summary.received;
    let (count, what) = if summary.server.is_some() {
        (run.n_items(), format!("{} received", run.item_kind()))
    } else if received.judged_by != JudgedBy::Nothing {
        (received.messages, "messages received, each counted once".to_owned())
    } else {
        (run.n_items(), format!("{} received; messages were not judged", run.item_kind()))
    };
    Key { value: grouped(count), unit: "", what, from: files::FLOODTEST }
}

/// The figures that people ask for first. Those that the run could not have are left out, and the
/// caveats say why.
fn keys(run: &Run, summary: &Summary) -> Vec<Key> {
    let cost = &summary.cost;
    let key = |value: Option<String>, unit, what: &str, from| {
        let what = what.to_owned();
        match value {
            Some(value) => Key { value, unit, what, from },
            None => Key { value: "–".to_owned(), unit: "not measured", what, from },
        }
    };
    let connected = if run.plan.connections == summary.received.connected {
        "connections open at the end, all that were asked for"
    } else {
        "connections open at the end"
    };
    let n_connected = Some(grouped(summary.received.connected));
    let mut keys = vec![key(n_connected, "", connected, files::FLOODTEST)];
    if summary.sent.is_some() || run.n_items() > 0 {
        keys.push(received_key(run, summary));
    }
    if run.plan.server.is_watched {
        let in_all = if summary.sent.is_some() {
            "of memory (RSS) in all for the server, after the last message"
        } else {
            "of memory (RSS) in all for the server, at the end"
        };
        let after = cost.after.as_ref().map(|after| grouped(after.rss_kb));
        keys.extend([
            key(
                cost.idle_bytes_per_connection.map(|bytes| figure(bytes.round())),
                "bytes",
                "of the server's own memory for an idle connection",
                files::MEMORY,
            ),
            key(after, "KB", in_all, files::MEMORY),
        ]);
    }
    if summary.sent.is_some() {
        let delivery = &summary.received.delivery_from_due;
        let p99 = (delivery.count > 0).then(|| ms(delivery.p99_us));
        let what = "from due to received, or less, for 99 % of the messages";
        keys.push(key(p99, "ms", what, files::FLOODTEST));
        if run.plan.server.is_watched {
            let cpu = cost.cpu_share.map(|share| format!("{:.1} %", share * 100.0));
            let what = "of one core for the server, while messages were sent";
            keys.push(key(cpu, "", what, files::MEMORY));
        }
    }
    keys
}
