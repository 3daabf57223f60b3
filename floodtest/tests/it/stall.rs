//! A server that stands still: the delay is there to be seen, and no message is lost.
//!
//! All programs are real: messages fall due while the server is stopped, wait in their sender, and
//! are late by as much as that. A tool that measured from the send would hardly notice.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use reports::books::SendReport;
use rustix::process::Signal;

use crate::support::{UrlFile, signal, start};

/// How long the server stands still, in seconds.
const STALL_S: f64 = 1.0;

#[test]
fn a_server_that_stands_still_is_seen_in_the_latency_from_due_and_loses_nothing() {
    let programs = testing::build(env!("CARGO_BIN_EXE_floodtest"), &["comet-server", "msggen"]);
    let mut server = Command::new(programs.join("comet-server"))
        .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = |start: &str| said.next().unwrap().strip_prefix(start).unwrap().to_owned();
    let (pattern, control) = (said("listening on "), said("control on "));

    let lines: Vec<_> = (1..=50).map(|id: u32| pattern.replace("{id}", &id.to_string())).collect();
    let urls = UrlFile::of(&lines.join("\n"));
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let mut flood = start(&args);
    flood.wait_for(|report| report.connected == 50);

    // 400 messages in 2 seconds.
    let messages = ["--num", "100", "--interval", "20ms", "--sources", "4", "--max", "50"];
    let sender = Command::new(programs.join("msggen"))
        .args(messages)
        .args(["--seed", "1", "--stamp", "--json", "--server", &control])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let before = flood.wait_for(|report| report.chunks >= 50);
    signal(server.id(), Signal::STOP);
    flood.wait_for(|report| report.elapsed_s >= before.elapsed_s + STALL_S);
    signal(server.id(), Signal::CONT);

    let sent = String::from_utf8(sender.wait_with_output().unwrap().stdout).unwrap();
    let sent: SendReport = serde_json::from_str(sent.lines().last().unwrap()).unwrap();
    assert_eq!((sent.answered, sent.reached), (400, Some(400)), "{sent:?}");
    flood.wait_for(|report| report.chunks == 400);
    flood.signal(Signal::INT);
    let report = flood.end().with_code(0).report();
    signal(server.id(), Signal::TERM);
    assert!(server.wait().unwrap().success());

    assert_eq!((report.connected, report.chunks, report.unnumbered), (50, 400, 0), "{report:?}");
    assert_eq!(
        (report.lost.unwrap(), report.duplicated.unwrap(), report.reordered.unwrap()),
        (0, 0, 0),
        "{report:?}"
    );
    let (due, sent) = (&report.delivery_from_due, &report.delivery_from_send);
    assert_eq!(
        (due.count, sent.count, due.negative, sent.negative),
        (400, 400, 0, 0),
        "{report:?}"
    );
    // Half of the messages, or nearly, fell due in the second in which nothing was taken.
    assert!(due.p99_us as f64 >= 0.8 * STALL_S * 1e6, "{report:?}");
    assert!(due.p90_us as f64 >= 0.5 * STALL_S * 1e6, "{report:?}");
    assert!(sent.p90_us < due.p90_us / 2, "only one message of each source waited on its way");
}
