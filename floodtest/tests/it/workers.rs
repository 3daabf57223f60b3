//! More connections than one process may open: several processes, one report.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use reports::books::{ByReason, FloodReport};
use reports::stamp::{Clock, Stamp};
use rustix::process::Signal;

use crate::support::{
    OUR_HEAD, Running, Server, UrlFile, children, chunk, deserted_address, hold, messages, send,
    signal, start_command, start_limited, wait_until_gone,
};

/// Connections of each run. Each process holds 36 of them where it may open 100 files.
const N: u64 = 100;

/// Workers that this takes.
const N_WORKERS: usize = 3;

/// Files that a process may open.
const N_FILES: u32 = 100;

/// A server that sends each connection two messages, one of them with a stamp.
fn server() -> Server {
    Server::start(|_, stream| {
        let due_unix_us = Clock::start().unix_us(Instant::now());
        let stamp = Stamp { due_unix_us, late_us: 0, mark: None };
        let second = chunk(&format!("Recvd msg #2: 'x{stamp}'<br/>"));
        send(stream, &format!("{OUR_HEAD}{}{second}", messages(&[1])));
        hold(stream);
    })
}

/// A run on `urls` whose connections are all open and have got their messages.
fn opened(urls: &UrlFile) -> Running {
    let args = ["--urls", urls.path(), "--rate", "1000", "--json", "--report", "50ms"];
    let mut running = start_limited(N_FILES, &args);
    running.wait_for(|report| report.connected == N && report.chunks == 2 * N);
    running
}

#[test]
fn workers_share_the_connections_and_report_as_one() {
    let server = server();
    let urls = server.urls(N);
    let running = opened(&urls);
    assert_eq!(children(running.pid()).len(), N_WORKERS);
    running.signal(Signal::INT);
    let ended = running.end().with_code(0);
    assert_eq!(ended.stderr, "", "{ended}");
    let report = ended.report();
    let FloodReport { asked, begun, connected, peak, closed, failed, .. } = report;
    assert_eq!((asked, begun, connected, peak, closed, failed), (N, N, N, N, 0, 0));
    assert_eq!((report.chunks, report.lost.unwrap(), report.unnumbered), (2 * N, 0, 0));
    // Histograms are merged whole.
    assert_eq!((report.connect_lateness.count, report.delivery_from_due.count), (N, N));
    // Three plans of a third each would be through in 33 ms.
    assert!((0.05..5.0).contains(&report.opening_s), "one plan for all: {report:?}");
    let requests = server.requests();
    let asked: BTreeSet<_> = requests.iter().map(|request| &request.text).collect();
    assert_eq!((requests.len() as u64, asked.len() as u64), (N, N), "each URL once");
}

#[test]
fn a_worker_that_dies_is_named_and_its_connections_are_closed() {
    let server = server();
    let urls = server.urls(N);
    let mut running = opened(&urls);
    let pids = children(running.pid());
    signal(pids[1], Signal::KILL);
    let report = running.wait_for(|report| report.closed > 0);
    let n_dead = report.closed;
    assert!((33..=34).contains(&n_dead), "{report:?}");
    assert_eq!(report.closures, ByReason::from([("worker 2 died".to_owned(), n_dead)]));
    assert_eq!((report.connected, report.chunks), (N - n_dead, 2 * N), "what came is not lost");
    running.signal(Signal::INT);
    let pid = pids[1];
    running
        .end()
        .with_code(1)
        .saying(&format!(
            "worker 2 (pid {pid}) died: signal: 9 (SIGKILL); its {n_dead} open connections count \
             as closed"
        ))
        .saying(&format!(
            "{n_dead} of {N} connections closed before the end: {n_dead} worker 2 died"
        ));
}

#[test]
fn a_worker_that_stands_still_delays_no_report_for_long() {
    let server = server();
    let urls = server.urls(N);
    let mut running = opened(&urls);
    let pids = children(running.pid());
    let before = running.wait_for(|_| true);
    signal(pids[0], Signal::STOP);
    // More than enough time for reports that were on their way, and less than any deadline.
    let report = running.wait_for(|report| report.elapsed_s > before.elapsed_s + 2.5);
    assert!(report.elapsed_s < before.elapsed_s + 10.0, "{report:?}");
    assert_eq!(report.connected, N);
    signal(pids[0], Signal::CONT);
    running.signal(Signal::INT);
    running.end().with_code(0);
}

#[test]
fn no_worker_outlives_its_parent() {
    let server = server();
    let urls = server.urls(N);
    let running = opened(&urls);
    let pids = children(running.pid());
    running.signal(Signal::KILL);
    wait_until_gone(&pids);
    assert_eq!(running.end().code, None);
}

#[test]
fn a_hold_begins_when_the_last_worker_has_opened_its_last() {
    let server = server();
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--hold", "100ms"];
    let report = start_limited(N_FILES, &args).end().with_code(0).report();
    assert_eq!((report.connected, report.established), (N, N));
    assert!((0.1..10.0).contains(&report.elapsed_s), "{report:?}");
}

#[test]
fn a_run_of_workers_with_nothing_left_to_hold_ends_by_itself() {
    let server = Server::saying(format!("{OUR_HEAD}{}0\r\n\r\n", messages(&[1, 2])));
    let urls = server.urls(N);
    let ended = start_limited(N_FILES, &["--urls", urls.path(), "--rate", "max"]).end();
    let ended =
        ended.with_code(1).saying("100 of 100 connections closed before the end: 100 ended");
    assert!(ended.stdout.starts_with("Stats: {0,100,200}\nconnections   100 asked"), "{ended}");
}

#[test]
fn workers_find_out_that_nobody_listens() {
    let address = deserted_address();
    let urls = UrlFile::of(&format!("http://{address}/test/1"));
    let args = ["--urls", urls.path(), "--connections", "100", "--rate", "max"];
    start_limited(N_FILES, &args)
        .end()
        .with_code(2)
        .mentioning(&format!("nobody is listening on {address}: gave up after 3 of 100"));
}

#[test]
fn the_worst_connections_of_all_workers_are_named() {
    let server = Server::start_by_id(|id, stream| {
        let numbers: &[u64] = match id {
            7 => &[1, 2, 6],
            98 => &[1, 1, 2],
            _ => &[1, 2],
        };
        send(stream, &format!("{OUR_HEAD}{}0\r\n\r\n", messages(numbers)));
    });
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json"];
    let report = start_limited(N_FILES, &args).end().with_code(1).report();
    let worst: Vec<_> = report.worst.iter().map(|it| (it.url.as_str(), it.faults)).collect();
    let url = |id: u64| format!("http://{}/test/{id}", server.address);
    assert_eq!(worst, [(url(7).as_str(), 3), (url(98).as_str(), 1)]);
}

#[test]
fn a_worker_that_nobody_started_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["worker", "urls.txt"]);
    start_command(command)
        .end()
        .with_code(2)
        .mentioning("a worker is started by floodtest itself, never by hand");
}

#[test]
fn an_agent_says_who_it_is_and_ends_with_its_parent() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["worker", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = command.spawn().unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let hello = lines.next().unwrap().unwrap();
    assert!(hello.starts_with("floodtest-worker {\"protocol\":1,"), "{hello}");
    let mut orders = agent.stdin.take().unwrap();
    orders.write_all(b"{\"Ping\":{\"sent_us\":5}}\n").unwrap();
    let pong = lines.next().unwrap().unwrap();
    assert!(pong.starts_with("{\"Pong\":{\"sent_us\":5,"), "{pong}");
    drop(orders);
    assert!(lines.next().is_none());
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn an_agent_that_is_told_nonsense_says_why_it_ends() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["worker", "--stdio"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut agent = command.spawn().unwrap();
    agent.stdin.as_mut().unwrap().write_all(b"who are you?\n").unwrap();
    let output = agent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with("{\"Failed\":\"what came is no order\"}\n"), "{said}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "floodtest: cannot answer for this host: what came is no order\n");
}
