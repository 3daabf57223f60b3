//! What it takes to repeat a run, or to doubt it.

use std::fs;

use maud::{Markup, html};

use super::{command_lines, section, source, table};
use reports::date::utc;
use reports::run::words::{NOT_MEASURED, grouped, size, time};
use reports::run::{Host, Run, Summary, files};

/// The scenario, as far as there is a file of it.
pub(crate) fn scenario(run: &Run) -> Markup {
    let Ok(text) = fs::read_to_string(run.folder.join(files::SCENARIO)) else { return html! {} };
    let note =
        ["It is kept in the folder of the run, with what was overridden on the command line."];
    let body = html! {
        pre { code { (text.trim_end()) } }
    };
    section("What was asked for", &note, &body)
}

/// The exact commands.
pub(crate) fn commands(run: &Run) -> Markup {
    let note = [
        "Ports were chosen by the kernel; with a fixed port a command can be repeated as it is. \
         The seed repeats the ids.",
        "Figures are those of one run. Run it several times, on your machine.",
    ];
    let (first, others) = run.plan.commands.split_at(run.plan.commands.len().min(1));
    let body = html! {
        @if first.is_empty() { p { "The plan has no commands." } }
        @else { p { "This repeats everything:" } (command_lines(first)) }
        @if !others.is_empty() {
            p { "These were started, in this order:" }
            (command_lines(others))
        }
        (source(&[files::PLAN]))
    };
    section("How to repeat it", &note, &body)
}

/// The machine.
pub(crate) fn machine(run: &Run) -> Markup {
    let rows = facts(&run.host)
        .into_iter()
        .map(|(what, fact)| vec![what.to_owned(), fact.unwrap_or_else(|| "not known".to_owned())]);
    // All others are of the machine of clients and senders.
    let server = run.plan.server.host.as_ref();
    let server = server.map(|host| vec!["the server's machine".to_owned(), host.clone()]);
    let rows = rows.chain(server);
    let body = html! { (table("", &["", ""], rows)) (source(&[files::HOST, files::PLAN])) };
    section("The machine", &[], &body)
}

/// What is known of a machine, in words.
pub(crate) fn facts(host: &Host) -> Vec<(&'static str, Option<String>)> {
    let list = |numbers: &[u64]| {
        numbers.iter().map(|number| grouped(*number)).collect::<Vec<_>>().join(", ")
    };
    let with = |number: Option<u64>, unit: &str| {
        number.map(|number| format!("{} {unit}", grouped(number)).trim_end().to_owned())
    };
    let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    vec![
        ("processor", host.cpu_model.clone()),
        ("processors that may be used", with(host.cpus, "")),
        ("virtual machine", host.is_virtual.map(yes_or_no)),
        ("memory", with(host.memory_kb, "KB")),
        ("kernel", host.kernel.clone()),
        ("distribution", host.os.clone()),
        ("compiler", host.rustc.clone()),
        (
            "load over 1, 5, 15 min before the run",
            host.load_before.map(|load| load.map(|it| format!("{it:.2}")).join(", ")),
        ),
        ("open files of a process: soft limit", with(host.open_files_soft, "")),
        ("open files of a process: hard limit", with(host.open_files_hard, "")),
        ("TCP congestion control", host.congestion_control.clone()),
        ("tcp_rmem: least, default, most, bytes", host.tcp_rmem.map(|it| list(&it))),
        ("tcp_wmem: least, default, most, bytes", host.tcp_wmem.map(|it| list(&it))),
        ("tcp_mem: low, pressure, high, pages", host.tcp_mem.map(|it| list(&it))),
        ("somaxconn", with(host.somaxconn, "")),
        ("netdev_max_backlog, packets", with(host.netdev_max_backlog, "")),
        (
            "ip_local_port_range",
            host.ip_local_port_range.map(|[first, last]| format!("{first} to {last}")),
        ),
        ("transparent huge pages", host.huge_pages.clone()),
        ("clock source", host.clock_source.clone()),
    ]
}

/// What was done when.
pub(crate) fn phases(run: &Run, summary: &Summary) -> Markup {
    let rows = summary
        .phases
        .iter()
        .map(|phase| vec![phase.name.clone(), utc(phase.began_unix_s), time(phase.duration_s)]);
    let file = if run.memory.is_empty() { files::PHASES } else { files::MEMORY };
    let body = html! { (table("", &["phase", "began", "took"], rows)) (source(&[file])) };
    section("What was done when", &[], &body)
}

/// What is not claimed.
pub(crate) fn not_claimed(run: &Run) -> Markup {
    let received = run.received();
    let others = match (received.has_lives(), received.slow_readers.is_some()) {
        (true, true) => None,
        (true, false) => Some("Nothing about clients that read slowly."),
        (false, true) => Some("Nothing about clients that come and go."),
        (false, false) => Some("Nothing about clients that come and go, or that read slowly."),
    };
    let cpus = run.host.cpus.map_or_else(|| NOT_MEASURED.to_owned(), grouped);
    let body = html! {
        ul {
            @if run.plan.server.is_watched && run.plan.server.host.is_none() {
                li { "Nothing about a network: server, clients and senders are on one machine." }
                li {
                    "Nothing about a server that has a machine to itself: server, clients and \
                     senders shared the same processors (" (cpus) ")."
                }
            } @else {
                li { "Nothing about the network in between, which is part of every latency." }
            }
            @if let Some(others) = others { li { (others) } }
            @if run.plan.server.is_counted { li { "Nothing about TLS." } }
            li {
                "Nothing about other runs: these are the figures of one, and latency and CPU move \
                 with what else the machine's host does."
            }
            li { "Nothing about memory between two samples." }
        }
    };
    section("What is not claimed", &[], &body)
}

/// The files of the folder, and what they hold.
const FILES: [(&str, &str); 22] = [
    (files::PLAN, "what was asked for, and the commands"),
    (files::HOST, "the machine"),
    (files::SCENARIO, "the experiment, as a file for `rig run`"),
    (files::PHASES, "when each phase began"),
    (files::FAULTS, "what was done to the server, and when"),
    (files::EXPECTED, "how many messages were to come"),
    (files::EXITS, "how each program ended"),
    (files::MEMORY, "memory of the server and its connections, a line a sample"),
    (files::FOOTPRINT, "what the run took of the whole machine, at three moments"),
    (files::FLOODTEST, "what was received: totals so far, an object a line"),
    (files::MSGGEN, "what was sent: totals so far, an object a line"),
    (files::SERVER_STATS, "what the server had counted at the end"),
    (files::DELIVERY_FROM_DUE, "delays from due to receipt, a histogram an interval"),
    (files::DELIVERY_FROM_SEND, "delays from send to receipt"),
    (files::FIRST_ITEM_FROM_DUE, "delays from when a stream was due to its first item"),
    (files::FIRST_ITEM_FROM_SEND, "delays from when its request was sent to its first item"),
    (files::GAP, "delays from an item of a stream to the next"),
    (files::STREAM_TIME, "delays from when a stream's request was sent to its orderly end"),
    (files::SEND_FROM_DUE, "delays from due to answer"),
    (files::SEND_FROM_SEND, "delays from send to answer"),
    (files::LATENESS, "delays from due to send"),
    (files::SUMMARY, "every figure of this page"),
];

/// How they are read; the last one is of Debian's package `libhdrhistogram-java`.
const READING: [&str; 3] = [
    "memlog plot memory.tsv --out memory.png",
    "jq -c '[.elapsed_s, .connected, .chunks]' floodtest.ndjson",
    "java -cp /usr/share/java/hdrhistogram.jar org.HdrHistogram.HistogramLogProcessor \
     -outputValueUnitRatio 1000 -i floodtest-delivery_from_due.hlog",
];

/// The files of the folder, and how to read them.
pub(crate) fn raw_files(run: &Run) -> Markup {
    let bytes = |name| fs::metadata(run.folder.join(name)).ok().map(|file| file.len());
    let body = html! {
        p {
            "They lie beside this page in the folder of the run. Everything here was computed from \
             them, and can be computed again with " code { "cargo rig report FOLDER" } "."
        }
        table {
            thead { tr { th { "file" } th { "holds" } th { "size" } } }
            tbody {
                @for (name, what) in FILES {
                    @let name = files::name_in(&run.folder, name);
                    @if let Some(bytes) = bytes(name) {
                        tr {
                            th scope="row" { a href=(name) { (name) } }
                            td { (what) }
                            td { (size(bytes)) }
                        }
                    }
                }
            }
        }
        p { "To read them with other tools, in the folder:" }
        @for line in READING { pre { code { (line) } } }
    };
    section("The raw figures", &[], &body)
}

/// The foot of the page.
pub(crate) fn footer(run: &Run) -> Markup {
    html! {
        footer {
            "Comet toolkit " (run.plan.toolkit) " · run folder format " (run.plan.format)
        }
    }
}
