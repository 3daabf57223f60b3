//! The top of the page: what was done, whether it held, and the figures that people ask for first.

use maud::{Markup, html};

use super::figures::known_ms;
use super::limits;
use reports::books::JudgedBy;
use reports::date::utc;
use reports::latency::LatencySummary;
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
    if received.has_lives() {
        return what_held_with_lives(run, summary);
    }
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

/// What it means that a run held in which places had one connection after another.
fn what_held_with_lives(run: &Run, summary: &Summary) -> String {
    let received = &summary.received;
    let mut parts = vec![format!(
        "{} places had {} connections one after another, and {} are open at the end.",
        grouped(received.asked),
        grouped(received.established),
        grouped(received.connected)
    )];
    if let Some(sent) = &summary.sent {
        parts.push(format!("{} messages were answered.", grouped(sent.answered)));
    }
    if run.n_items() > 0 {
        let faults = match (received.lost, received.n_faults()) {
            (None, _) => "whether messages were missing was not judged",
            (Some(_), 0) => "none lost on a connection, none duplicated, none out of order",
            (Some(_), _) => "those that were lost, duplicated or out of order were allowed",
        };
        let (n_items, items) = (grouped(run.n_items()), run.item_kind());
        parts.push(format!("{n_items} {items} were received: {faults}."));
    }
    if let Some(lost) = received.lost_in_gaps.filter(|lost| *lost > 0) {
        parts.push(format!("{} were sent while their place had no connection.", grouped(lost)));
    }
    parts.join(" ")
}

/// How connections came back, and what streams took, for those who ask for that first.
fn keys_of_shapes(summary: &Summary) -> Vec<Key> {
    let received = &summary.received;
    let mut keys = Vec::new();
    let mut key = |value: Option<String>, unit, what: &str| {
        let (value, unit) = value.map_or_else(|| ("–".to_owned(), ""), |value| (value, unit));
        keys.push(Key { value, unit, what: what.to_owned(), from: files::FLOODTEST });
    };
    if !received.settles.is_empty() {
        let t100 = summary.worst_settle(|settle| settle.t100_s);
        let peak = summary.worst_settle(|settle| Some(settle.peak_connects_per_s as f64));
        key(t100.map(|it| format!("{it:.2}")), "s", "until all connections were back, at worst");
        key(peak.map(figure), "", "connects a second meanwhile, at most");
    }
    let p99 = |delays: &LatencySummary| (delays.count > 0).then(|| ms(delays.p99_us));
    if received.first_item_from_send.count > 0 {
        let what = "to the first item from the request (TTFT), or less, for 99 % of the streams";
        key(p99(&received.first_item_from_send), "ms", what);
    }
    if received.gap.count > 0 {
        let what = "from an item of a stream to the next, or less, for 99 % of them";
        key(p99(&received.gap), "ms", what);
    }
    let Some(streams) = &received.streams else { return keys };
    if let Some(counted) = &streams.counted {
        key(counted.per_s.map(figure), "", &format!("a second, by {}", counted.field));
    }
    if let Some(goodput) = &streams.goodput {
        key(Some(figure(goodput.per_s)), "", "streams a second that met what was asked of each");
    }
    keys
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
    let connected =
        if run.plan.connections == summary.received.connected && !summary.received.has_lives() {
            "connections open at the end, all that were asked for"
        } else {
            "connections open at the end"
        };
    let n_connected = Some(grouped(summary.received.connected));
    let mut keys = vec![key(n_connected, "", connected, files::FLOODTEST)];
    if summary.sent.is_some() || run.n_items() > 0 {
        keys.push(received_key(run, summary));
    }
    keys.extend(keys_of_shapes(summary));
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
        let bound_us = summary.received.clock_bound_us;
        let p99 = (delivery.count > 0).then(|| known_ms(delivery.p99_us, bound_us));
        let mut what = "from due to received, or less, for 99 % of the messages".to_owned();
        if let Some(bound_us) = bound_us {
            what = format!("{what}, ± {} ms by the clocks of the hosts", ms(bound_us));
        }
        keys.push(key(p99, "ms", &what, files::FLOODTEST));
        if run.plan.server.is_watched {
            let cpu = cost.cpu_share.map(|share| format!("{:.1} %", share * 100.0));
            let what = "of one core for the server, while messages were sent";
            keys.push(key(cpu, "", what, files::MEMORY));
        }
    }
    keys
}
