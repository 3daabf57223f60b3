//! Readers of its output that have stopped: it goes on receiving, and ends when it is told to.

use std::fs::{self, File};
use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use reports::books::FloodReport;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::Value;

use crate::support::{OUR_HEAD, Server, UrlFile, hold, messages, send, signal, wait_until};

/// Connections that fail, each for a reason of its own: each reason is in each report, so that few
/// reports are as many bytes as wait for a reader.
const N_FAILING: usize = 200;

/// A server that refuses [`N_FAILING`] connections, and sends to another one the messages that it
/// is told to send.
fn server() -> (Server, Sender<Vec<u64>>) {
    let (sender, numbers) = channel::<Vec<u64>>();
    let numbers = Mutex::new(numbers);
    let server = Server::start_by_id(move |id, stream| {
        if id <= N_FAILING {
            send(stream, &format!("HTTP/1.1 {} No\r\n\r\n", 399 + id));
            return;
        }
        send(stream, OUR_HEAD);
        for numbers in numbers.lock().unwrap().iter() {
            send(stream, &messages(&numbers));
        }
        hold(stream);
    });
    (server, sender)
}

/// A run on `urls` that keeps logs in `folder`, with as many reports as can be, and each of them in
/// the log as well.
fn command(urls: &UrlFile, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["--urls", urls.path(), "--report", "1ms", "--log-interval", "1ms", "--out"]);
    command.arg(folder).args(["--rate", "max", "--expect", "connected=1"]).stdin(Stdio::null());
    command
}

/// The last report in the log that is kept in `folder`.
fn logged(folder: &Path) -> FloodReport {
    let text = fs::read_to_string(folder.join("floodtest.ndjson")).unwrap_or_default();
    // A line that is not finished yet has no end.
    let lines = text.rsplit_once('\n').map(|(lines, _)| lines).unwrap_or_default();
    lines.lines().last().map_or_else(FloodReport::default, |it| serde_json::from_str(it).unwrap())
}

/// Starts a run with `--json` whose stdout nobody reads, and waits until it must have dropped
/// reports, and has received a message that came after that.
fn unread(folder: &Path) -> (Child, PipeReader, Server) {
    let (server, sender) = server();
    let urls = server.urls(N_FAILING as u64 + 1);
    let (out, stdout) = pipe().unwrap();
    fcntl_setpipe_size(&stdout, 4096).unwrap();
    let mut command = command(&urls, folder);
    let child = command.arg("--json").stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    // As many reports are in the log, and these are more bytes than wait for a reader.
    let log = folder.join("floodtest.ndjson");
    wait_until("enough was said", || fs::metadata(&log).is_ok_and(|it| it.len() > 200_000));
    sender.send((1..=5).collect()).unwrap();
    wait_until("messages are counted", || logged(folder).chunks == 5);
    let earlier = logged(folder).elapsed_s;
    wait_until("it goes on", || logged(folder).elapsed_s > earlier);
    (child, out, server)
}

#[test]
fn a_run_whose_stdout_is_not_read_counts_on_and_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (child, out, _server) = unread(folder.path());
    signal(child.id(), Signal::INT);
    let ended = child.wait_with_output().unwrap();
    drop(out);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("floodtest: the end of stdout is missing: nobody read it"), "{said}");
    assert!(said.contains("reports were dropped: nobody read stdout in time"), "{said}");
    let report = logged(folder.path());
    assert!(report.is_final && report.chunks == 5 && report.connected == 1, "{report:?}");
}

#[test]
fn a_reader_that_comes_back_gets_the_number_of_dropped_reports_and_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let (child, mut out, _server) = unread(folder.path());
    signal(child.id(), Signal::INT);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let reports: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let dropped = reports.iter().filter_map(|it| it["dropped_reports"].as_u64());
    assert!(dropped.sum::<u64>() > 0, "{} reports", reports.len());
    let last = reports.last().unwrap();
    assert_eq!((&last["is_final"], &last["chunks"]), (&true.into(), &5.into()), "{last}");
}

/// A terminal: the side that people type at, and the one that programs write to.
fn terminal() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let typed = openpt(flags).unwrap();
    grantpt(&typed).unwrap();
    unlockpt(&typed).unwrap();
    let written = ioctl_tiocgptpeer(&typed, flags).unwrap();
    (typed.into(), written.into())
}

#[test]
fn a_terminal_that_was_stopped_with_ctrl_s_stops_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (server, sender) = server();
    let urls = server.urls(N_FAILING as u64 + 1);
    let (mut typed, written) = terminal();
    let mut command = command(&urls, folder.path());
    command.stdout(written.try_clone().unwrap()).stderr(written).env("TERM", "xterm");
    typed.write_all(b"\x13").unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    // The view is drawn from half a second on, and the reports have the same terminal.
    wait_until("it runs", || logged(folder.path()).elapsed_s > 1.5);
    sender.send(vec![1, 2, 3]).unwrap();
    wait_until("messages are counted", || logged(folder.path()).chunks == 3);
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(1), "its last report was not read");
    let report = logged(folder.path());
    assert!(report.is_final && report.chunks == 3, "{report:?}");
}

#[test]
fn a_reader_that_leaves_ends_the_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _sender) = server();
    let urls = server.urls(N_FAILING as u64 + 1);
    let (out, stdout) = pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["--urls", urls.path(), "--report", "2s", "--log-interval", "50ms", "--out"]);
    command
        .arg(folder.path())
        .args(["--expect", "connected=1", "--rate", "max"])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    drop((command, out));
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    let report = logged(folder.path());
    assert!(report.is_final && report.elapsed_s < 4.0, "before the second report: {report:?}");
}
