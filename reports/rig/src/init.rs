//! `rig init URL`: tries a URL, and writes a first scenario file for its server, with what was
//! found in comments. It looks through floodtest, so that what it finds is what a run will see.

use std::fmt::Write as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use reports::books::{FloodReport, JudgedBy, SendReport};

use crate::ids::id_regex;
use crate::programs::Programs;
use crate::stage::words;
use crate::watched::read_report;

/// How long one connection is held to see what comes. Many streams send something every few
/// seconds, if only a ping.
const LOOK: &str = "4s";

/// How long it is held where messages are sent to it meanwhile: they take a second.
const LOOK_WHILE_SENDING: &str = "6s";

/// Messages that are sent to see whether they come.
const TRIED_MESSAGES: u64 = 5;

/// What is asked of `rig init`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InitArgs {
    /// The URL that a client connects to. {id} in it stands for the id of a client; without it the
    /// last number in the URL is taken for one
    url: String,
    /// The URL that takes a message, with {id}, as in msggen's --to: five messages are sent there
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// A header field of the connections, 'Name: value'; may be repeated
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// Accept any certificate
    #[arg(long)]
    insecure: bool,
    /// The file to write, which must be new [default: print it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Build the programs of the checkout that it is started in, with this cargo profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl InitArgs {
    /// The file to write.
    pub(crate) fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }
}

/// What a try has found.
struct Found {
    /// The flags that it was made with.
    is_sse: bool,
    /// What floodtest saw.
    report: FloodReport,
    /// What msggen was answered, if messages were sent.
    sent: Option<SendReport>,
    /// What msggen said if it failed.
    said: String,
}

/// Tries the URL, and returns the scenario.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn scenario(args: &InitArgs) -> anyhow::Result<String> {
    let pattern = pattern_of(&args.url);
    let url = reqwest::Url::parse(&pattern.replace("{id}", "1"))
        .with_context(|| format!("\"{}\" is no URL; write http://host:port/path", args.url))?;
    ensure!(
        ["http", "https", "ws", "wss"].contains(&url.scheme()),
        "{} is no URL of a stream: http, https, ws and wss are",
        args.url
    );
    let programs = Programs::get(&["floodtest", "msggen"], args.profile.as_deref()).await?;
    let folder = tempfile::tempdir().context("cannot make a folder for the URL file")?;
    // As a program would ask first, and then as a browser's EventSource does.
    let mut found = attempt(args, &pattern, false, &programs, folder.path()).await?;
    if !is_stream(&found.report) && url.scheme().starts_with("http") {
        let other = attempt(args, &pattern, true, &programs, folder.path()).await?;
        if is_stream(&other.report) || other.report.established > found.report.established {
            found = other;
        }
    }
    if found.report.established == 0 {
        bail!("{} did not become a connection: {}", args.url, reasons(&found.report));
    }
    Ok(write(args, &pattern, &url, &found))
}

/// Whether a response is more than a document that has come to its end.
fn is_stream(report: &FloodReport) -> bool {
    let is_events = report.content_types.contains_key("text/event-stream");
    report.connected > 0 && (is_events || report.chunks + report.items > 0)
}

/// The URL with `{id}` in it where it has an id.
fn pattern_of(url: &str) -> String {
    if url.contains("{id}") {
        return url.to_owned();
    }
    // Behind the host: a port is no id.
    let path = url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| at + 3 + slash));
    let Some(path) = path else { return url.to_owned() };
    let bytes = url.as_bytes();
    let Some(last) = bytes.iter().rposition(u8::is_ascii_digit).filter(|at| *at > path) else {
        return url.to_owned();
    };
    let first = bytes[..=last].iter().rposition(|byte| !byte.is_ascii_digit());
    let first = first.map_or(0, |at| at + 1);
    format!("{}{{id}}{}", &url[..first], &url[last + 1..])
}

/// Holds one connection for a while, and sends to it if there is a URL for that.
async fn attempt(
    args: &InitArgs,
    pattern: &str,
    is_sse: bool,
    programs: &Programs,
    folder: &Path,
) -> anyhow::Result<Found> {
    let path = |name: &str| {
        let path = folder.join(name).into_os_string().into_string().ok();
        path.context("the folder for temporary files has a strange name")
    };
    let urls = path("urls.txt")?;
    std::fs::write(&urls, pattern.replace("{id}", "1") + "\n")
        .context("cannot write a URL file")?;
    let hold = if args.to.is_some() { LOOK_WHILE_SENDING } else { LOOK };
    let mut flags = words(["--urls", &urls, "--hold", hold, "--json", "--report", "1s"]);
    flags.extend(words(["--head-timeout", "none", "--ends", "ok", "--settle", "100ms"]));
    if is_sse {
        flags.push("--sse".to_owned());
    }
    if args.insecure {
        flags.push("--insecure".to_owned());
    }
    flags.extend(args.header.iter().flat_map(|field| words(["--header", field])));
    let mut flood = programs.start("floodtest", &flags)?;
    let mut report = FloodReport::default();
    let (mut sent, mut said) = (None, String::new());
    while let Some(line) = flood.line().await? {
        report = read_report(&line)?;
        if let Some(to) = args.to.as_ref().filter(|_| sent.is_none() && report.connected > 0) {
            let count = TRIED_MESSAGES.to_string();
            let mut flags = words(["--num", &count, "--interval", "100", "--max", "1", "--stamp"]);
            flags.extend(words(["--to", to, "--json", "--timeout", "2s"]));
            if args.insecure {
                flags.push("--insecure".to_owned());
            }
            let mut sender = programs.start("msggen", &flags)?;
            let mut last = SendReport::default();
            while let Some(line) = sender.line().await? {
                last = read_report(&line)?;
            }
            said = sender.exit().await?.said;
            sent = Some(last);
        }
    }
    let exit = flood.exit().await?;
    if report.begun == 0 {
        bail!("{}", exit.said);
    }
    Ok(Found { is_sse, report, sent, said })
}

/// Why a connection was not established.
fn reasons(report: &FloodReport) -> String {
    let mut reasons: Vec<String> = report.failures.keys().cloned().collect();
    if report.waiting > 0 {
        reasons.push(
            "it has sent no response head; some servers keep it back until the first message, and \
             --to sends one"
                .to_owned(),
        );
    }
    reasons.extend(report.examples.iter().filter_map(|example| example.detail.clone()));
    if reasons.is_empty() { "nobody knows why".to_owned() } else { reasons.join("; ") }
}

/// Whether a host is this machine.
fn is_here(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let addresses = (host, 0).to_socket_addrs().into_iter().flatten();
    addresses.map(|address| address.ip()).any(|ip: IpAddr| ip.is_loopback())
}

/// The scenario, with what was found in comments.
fn write(args: &InitArgs, pattern: &str, url: &reqwest::Url, found: &Found) -> String {
    let mut lines = vec![
        format!("# A first scenario for {}, by `rig init`. `rig run FILE` runs it.", args.url),
        "#".to_owned(),
        format!("# What one connection showed: {}.", found_in_words(&found.report)),
    ];
    if let Some(sent) = &found.sent {
        lines.push(format!("# {}", sent_in_words(sent, &found.report, &found.said)));
    }
    let title = format!("{}, {}", url.authority(), found.report.item_kind);
    lines.extend([String::new(), format!("title = {}", quoted(&title)), String::new()]);
    lines.extend(server_lines(url));
    lines.extend(connection_lines(args, pattern, found));
    lines.extend(message_lines(args, is_here(url)));
    lines.join("\n") + "\n"
}

/// Text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Lines as they are.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The section of the server.
fn server_lines(url: &reqwest::Url) -> Vec<String> {
    let port = url.port_or_known_default().unwrap_or(if url.scheme() == "wss" { 443 } else { 80 });
    if is_here(url) {
        lines(&format!(
            "# A server that runs on this machine: whoever owns the port is watched. With\n\
             # command = \"…\" and ready = \"http://…\" the rig starts it instead.\n\
             [server]\n\
             listen = [{port}]\n\n"
        ))
    } else {
        lines(&format!(
            "# The server is on another machine: what it costs there is not measured.\n\
             # host = \"user@host\" instead of name adds what ssh says of that machine.\n\
             [server]\n\
             name = {}\n\n",
            quoted(url.host_str().unwrap_or_default())
        ))
    }
}

/// The section of the connections.
fn connection_lines(args: &InitArgs, pattern: &str, found: &Found) -> Vec<String> {
    let mut text = lines(&format!(
        "# What floodtest holds: its flags by name, count, and rate (connections a second).\n\
         [connections]\n\
         pattern = {}\n\
         count = 1_000\n\
         rate = 100",
        quoted(pattern)
    ));
    if args.to.is_none() {
        text.extend(lines("# For how long: nothing is sent to them by the rig.\nhold = \"1m\""));
    }
    if found.is_sse {
        text.extend(lines("# Only with Accept: text/event-stream it is a stream.\nsse = true"));
    }
    if args.insecure {
        text.push("insecure = true".to_owned());
    }
    if !args.header.is_empty() {
        let fields: Vec<String> = args.header.iter().map(|field| quoted(field)).collect();
        text.push(format!("header = [{}]", fields.join(", ")));
    }
    if pattern.contains("{id}") {
        text.push("# Where a URL has the id that its connection follows.".to_owned());
        text.push(format!("id-in-url = {}", quoted(&id_regex(pattern))));
    } else {
        text.extend(lines(
            "# The URL has no {id}: all connections get the same, and what was to come on each is\n\
             # not known. A parameter that the server ignores, such as ?id=1, and\n\
             # id-in-url = \"id=([0-9]+)\" tell it; messages then go to id 1.",
        ));
    }
    if has_ended(&found.report) {
        text.extend(lines(
            "# The response came to its end, which is then no fault.\nends = \"ok\"",
        ));
    }
    text
}

/// The sections of the messages and of what is expected.
fn message_lines(args: &InitArgs, is_here: bool) -> Vec<String> {
    let Some(to) = &args.to else {
        return lines(
            "\n# With the URL that takes a message, messages are sent and judged:\n\
             # [messages]\n\
             # to = \"http://127.0.0.1:8080/send/{id}\"\n\
             # rate = 100\n\
             # sources = 10\n\
             # for = \"1m\"",
        );
    };
    let mut text = lines(&format!(
        "\n# What msggen sends: its flags by name, rate (messages a second, over all sources),\n\
         # and for how long.\n\
         [messages]\n\
         to = {}\n\
         rate = 100\n\
         sources = 10\n\
         for = \"1m\"\n\
         \n\
         [expect]\n\
         lost = 0\n\
         duplicated = 0\n\
         # \"delivery_from_due.p99\" = \"<50ms\"",
        quoted(to)
    ));
    if is_here {
        text.push("# \"server.rss_per_connection\" = \"<20000\"".to_owned());
    }
    text
}

/// Whether the response came to an orderly end.
fn has_ended(report: &FloodReport) -> bool {
    report.ended > 0
}

/// What a connection showed.
fn found_in_words(report: &FloodReport) -> String {
    let mut words = vec!["status 200".to_owned()];
    let types: Vec<&str> = report.content_types.keys().map(String::as_str).collect();
    words.push(format!("Content-Type {}", types.join(", ")));
    words.push(if report.chunks > 0 { "chunked" } else { "no chunks so far" }.to_owned());
    let n = report.items;
    words.push(match (n, report.comments) {
        (0, 0) => "nothing came by itself".to_owned(),
        (0, comments) => format!("{comments} comments, no events"),
        (n, _) => format!("{n} {}", report.item_kind),
    });
    words.push(match report.judged_by {
        JudgedBy::Nothing => "without stamps or numbers that are known".to_owned(),
        JudgedBy::Stamps => "with msggen's stamps".to_owned(),
        JudgedBy::Numbers => "numbered as comet-server does".to_owned(),
        JudgedBy::Both => "with stamps and numbers".to_owned(),
    });
    if report.encoded_bytes > 0 {
        words.push("compressed, which is not looked into".to_owned());
    }
    if has_ended(report) {
        words.push("it came to its end".to_owned());
    }
    words.join(", ")
}

/// What became of the messages that were sent.
fn sent_in_words(sent: &SendReport, report: &FloodReport, said: &str) -> String {
    let (n, answered, came) = (sent.sent, sent.answered, report.messages);
    let mut words =
        format!("Of {n} messages that were sent {answered} were answered, and {came} came");
    if came == 0 && answered > 0 {
        words += "; is it the URL for messages to id 1, and is their text passed on?";
    } else if answered == 0 {
        let reasons: Vec<&str> = sent.failures.keys().map(String::as_str).collect();
        write!(words, ": {} {}", reasons.join(", "), said.lines().next().unwrap_or_default())
            .expect("text takes text");
    }
    words.trim_end().to_owned() + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_last_number_behind_the_host() {
        for (url, pattern) in [
            ("http://h:80/sub/{id}?v=2", "http://h:80/sub/{id}?v=2"),
            ("http://h:80/sub/17", "http://h:80/sub/{id}"),
            ("http://h:80/v2/sub?user=9&x", "http://h:80/v2/sub?user={id}&x"),
            ("http://h:80/events", "http://h:80/events"),
            ("http://10.0.0.1:80", "http://10.0.0.1:80"),
        ] {
            assert_eq!(pattern_of(url), pattern);
        }
    }
}
