//! A run from its first connect to its end.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use floodtest::End;
use reports::books::FloodReport;
use rustix::process::Signal;

use crate::support::{OUR_HEAD, Server, UrlFile, hold, library_config, messages, run, send, start};

#[test]
fn the_request_on_the_wire_is_a_get_of_each_url() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(2);
    run(&["--urls", urls.path(), "--rate", "max", "--hold", "0s"]).with_code(0);
    let texts: Vec<String> = server.requests().into_iter().map(|request| request.text).collect();
    let (address, version) = (server.address, env!("CARGO_PKG_VERSION"));
    let expected = [1, 2].map(|id| {
        format!(
            "GET /test/{id} HTTP/1.1\r\nHost: {address}\r\n\
             User-Agent: floodtest/{version}\r\nAccept: */*\r\n\
             Accept-Encoding: identity\r\n\r\n"
        )
    });
    assert_eq!(texts, expected);
}

#[test]
fn more_connections_than_urls_go_round_and_fewer_take_the_first() {
    for (connections, ids) in [("5", &[1, 1, 2, 2, 3][..]), ("2", &[1, 2])] {
        let server = Server::holding(OUR_HEAD);
        let urls = server.urls(3);
        let flags = ["--connections", connections, "--rate", "max", "--hold", "0s", "--json"];
        let ended = run(&[&["--urls", urls.path()], &flags[..]].concat()).with_code(0);
        assert_eq!(ended.report().connected, ids.len() as u64);
        let requests = server.requests();
        let asked: Vec<_> = requests.iter().map(|request| &request.text[..12]).collect();
        let expected: Vec<_> = ids.iter().map(|id| format!("GET /test/{id} ")).collect();
        assert_eq!(asked, expected);
    }
}

#[test]
fn ctrl_c_is_a_normal_end_with_a_report() {
    let server = Server::holding(format!("{OUR_HEAD}{}", messages(&[1, 2])));
    let urls = server.urls(3);
    for signal in [Signal::INT, Signal::TERM] {
        let args = ["--urls", urls.path(), "--json", "--report", "20ms"];
        let mut running = start(&args);
        running.wait_for(|report| report.connected == 3 && report.chunks == 6);
        running.signal(signal);
        let ended = running.end().with_code(0);
        assert_eq!(ended.stderr, "", "{ended}");
        let report = ended.report();
        assert_eq!((report.asked, report.connected, report.closed), (3, 3, 0));
        assert_eq!((report.established, report.failed, report.chunks), (3, 0, 6));
    }
}

#[test]
fn the_stats_lines_are_the_article_s_and_a_final_report_follows() {
    let server = Server::holding(format!("{OUR_HEAD}{}", messages(&[1, 2])));
    let urls = server.urls(3);
    let mut running = start(&["--urls", urls.path(), "--report", "20ms"]);
    while running.line() != "Stats: {3,0,6}" {}
    running.signal(Signal::INT);
    let ended = running.end().with_code(0);
    for line in ["connections   3 asked, 3 established", "failed        0", "closed        0"] {
        assert!(ended.stdout.contains(line), "missing: {line}\n{ended}");
    }
}

#[test]
fn ctrl_c_while_opening_names_what_is_missing() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(9);
    let args = ["--urls", urls.path(), "--rate", "0.01", "--json", "--report", "20ms"];
    let mut running = start(&args);
    running.wait_for(|report| report.connected == 1);
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    ended.saying("8 of 9 connections were not begun when it ended");
}

#[test]
fn a_hold_ends_by_itself() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(3);
    let args = ["--urls", urls.path(), "--rate", "max", "--hold", "100ms", "--json"];
    let report = run(&args).with_code(0).report();
    assert_eq!((report.connected, report.closed), (3, 0));
    assert!((0.1..5.0).contains(&report.elapsed_s), "{report:?}");
}

#[test]
fn a_run_with_nothing_left_to_hold_ends_by_itself() {
    let server = Server::saying(format!("{OUR_HEAD}0\r\n\r\n"));
    let urls = server.urls(3);
    let ended = run(&["--urls", urls.path()]).with_code(1);
    let ended = ended.saying("3 of 3 connections closed before the end: 3 ended");
    assert!(ended.stdout.starts_with("Stats: {0,3,0}\n"), "{ended}");
}

#[test]
fn connections_are_begun_on_plan() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(51);
    let args = ["--urls", urls.path(), "--rate", "200", "--hold", "0s", "--json"];
    let report = run(&args).with_code(0).report();
    // 50 intervals of 5 ms, the last of them never early. How late depends on what else the
    // machine does, and is measured where it does nothing else.
    assert!((0.25..5.0).contains(&report.elapsed_s), "{report:?}");
    assert!(report.opening_s > 0.1, "{report:?}");
    assert_eq!(report.connect_lateness.count, 51);
}

#[test]
fn source_ports_are_explicit_and_source_addresses_as_asked() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(40);
    let path = urls.path();
    run(&["--urls", path, "--rate", "max", "--hold", "0s"]).with_code(0);
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.peer.ip().to_string() == "127.0.0.1"));
    let mut ports: Vec<u16> = requests.iter().map(|request| request.peer.port()).collect();
    ports.sort_unstable();
    assert!(ports.iter().all(|port| *port >= 2_536));
    ports.dedup();
    assert_eq!(ports.len(), 40);

    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(2);
    let ips = "127.0.0.5-127.0.0.6";
    run(&["--urls", urls.path(), "--rate", "max", "--hold", "0s", "--source-ip", ips]).with_code(0);
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.peer.ip().to_string() == "127.0.0.5"));
}

#[test]
fn localhost_is_found_whichever_of_its_addresses_it_is() {
    let server = Server::holding(OUR_HEAD);
    let port = server.address.port();
    let lines: Vec<_> = (1..=20).map(|id| format!("http://localhost:{port}/test/{id}")).collect();
    let urls = UrlFile::of(&lines.join("\n"));
    let report = run(&["--urls", urls.path(), "--rate", "max", "--hold", "0s", "--json"])
        .with_code(0)
        .report();
    assert_eq!((report.connected, report.failed), (20, 0));
}

#[test]
fn an_ipv6_address_is_dialed_from_one() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        testing::skip("IPv6");
        return;
    };
    let server = Server::start_on(listener, |_, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(3);
    let args = ["--urls", urls.path(), "--rate", "max", "--hold", "0s", "--source-ip"];
    run(&[&args[..], &["127.0.0.2,::1"]].concat()).with_code(0);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.peer.ip().to_string() == "::1"));
    let host = format!("\r\nHost: [::1]:{}\r\n", server.address.port());
    assert!(requests.iter().all(|request| request.text.contains(&host)));
}

#[test]
fn a_stdout_that_is_gone_ends_the_run_quietly() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(1);
    let mut child = Command::new(env!("CARGO_BIN_EXE_floodtest"))
        .args(["--urls", urls.path(), "--report", "10ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_library_runs_without_the_binary() {
    let server = Server::holding(format!("{OUR_HEAD}{}", messages(&[1])));
    let urls = server.urls(4);
    let config = library_config(urls.path());
    let (stop, mut stopper) = UnixStream::pair().unwrap();
    let mut observer = |report: &FloodReport| {
        if report.chunks == 4 {
            std::io::Write::write_all(&mut stopper, b"x").unwrap();
        }
    };
    let outcome = floodtest::run(&config, &stop, &mut observer).unwrap();
    assert_eq!((outcome.end.clone(), outcome.report.connected), (End::Stopped, 4));
    assert_eq!(outcome.shortfalls(None), Vec::<String>::new());
}
