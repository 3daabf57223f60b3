//! What Prometheus gets with `--metrics`: the figures of the last report.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use msggen::Outcome;
use reports::books::{Own, SendReport};
use reports::latency::LatencySummary;

use crate::support::{FakeServer, Reply, msggen, reached, start_unread, wait_for_report};

/// All samples of a text by their names with labels.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

/// The text at an address.
fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    text.to_owned()
}

/// Has a text read by a parser that nobody here wrote. How many families it has, if there is one.
fn n_families_by_another(text: &str) -> Option<usize> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/py/bin/python3");
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as read\n\
        print(len(list(read(sys.stdin.read()))))\n";
    let mut command = Command::new(python);
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("ModuleNotFoundError") {
        return None;
    }
    assert!(output.status.success(), "{error}\n{text}");
    Some(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

#[test]
fn the_figures_are_those_of_the_last_report_while_the_run_goes_on() {
    // The last message has no answer as long as the test looks.
    let server = FakeServer::new(|request| match request.number {
        0..6 => reached(2),
        6 | 7 => reached(0),
        8 => Reply::Answer(503, String::new()),
        _ => Reply::Silence,
    });
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let flags = "--num 10 --interval 0 --max 9 --json --report 20ms --timeout 50s";
    let mut run = start_unread(&format!("{flags} --metrics {address} --server {}", server.url()));
    let mut reports = run.stdout_lines();
    // After the first of these nothing happens any more, so that the last one says the same.
    for _ in 0..2 {
        wait_for_report(&mut reports, |report| report["failed"] == 1 && report["sent"] == 10);
    }
    let text = get(&address);
    let found = samples(&text);
    for (name, expected) in [
        ("asked", 10),
        ("sent_total", 10),
        ("answered_total", 8),
        ("reached_total", 6),
        ("void_total", 2),
        ("connections_total", 12),
        ("reach_unknown_total", 0),
        ("failed_total{reason=\"status 503\"}", 1),
        ("failed_total{reason=\"refused\"}", 0),
        ("unanswered_total{reason=\"cut\"}", 0),
        ("stray_answers_total", 0),
        ("send_from_send_seconds_count", 8),
        ("lateness_seconds_count", 0),
    ] {
        let name = format!("msggen_{name}");
        assert_eq!(found[name.as_str()], expected.to_string(), "{name}\n{text}");
    }
    assert!(!text.contains("msggen_lateness_seconds{"), "no delay has no percentile\n{text}");
    run.signal(rustix::process::Signal::INT);
    // Whoever waits for the run's end reads what it says.
    let last = reports.last().unwrap();
    assert!(last.contains("\"is_final\":true"), "{last}");
    run.finish().code(1).says(&format!("metrics on http://{address}/metrics"));
    match n_families_by_another(&text) {
        None => testing::skip("prometheus_client"),
        Some(n) => {
            let n_types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
            assert_eq!(n, n_types, "{text}");
        }
    }
}

#[test]
fn what_is_not_known_is_no_series() {
    let delays = LatencySummary { count: 2, mean_us: 1_500.0, p50_us: 1_000, ..Default::default() };
    let figures = SendReport { written: Some(3), lateness: delays, ..SendReport::default() };
    let mut outcome = Outcome { figures, ..Outcome::default() };
    outcome.closed_by.insert("close 1001".to_owned(), 4);
    let text = msggen::metrics::text(&outcome);
    let found = samples(&text);
    assert_eq!(found["msggen_written_total"], "3");
    assert_eq!(found["msggen_closed_total{reason=\"close 1001\"}"], "4");
    assert_eq!(found["msggen_lateness_seconds{quantile=\"0.5\"}"], "0.001");
    assert_eq!(found["msggen_lateness_seconds_sum"], "0.003");
    for absent in ["answered", "reached", "void", "connections"] {
        assert!(!found.contains_key(format!("msggen_{absent}_total").as_str()), "{text}");
    }
}

#[test]
fn the_schema_lists_every_series_and_no_others() {
    let known = SendReport {
        reached: Some(1),
        void: Some(1),
        connections: Some(1),
        followers: Some(1),
        own: Own { busiest_thread_share: Some(0.5), ..Own::default() },
        ..SendReport::default()
    };
    let written = SendReport { written: Some(1), ..SendReport::default() };
    let mut written: Vec<_> = [known, written]
        .map(|figures| Outcome {
            figures,
            busiest_second_share: Some(0.5),
            core_wait_share: Some(0.5),
            ..Outcome::default()
        })
        .map(|outcome| msggen::metrics::text(&outcome))
        .concat()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(ToOwned::to_owned)
        .collect();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("SCHEMA.md");
    let schema = std::fs::read_to_string(schema).unwrap();
    let mut listed = Vec::new();
    for row in schema.lines().filter(|line| line.starts_with("| `msggen_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in cells[1].split(", ") {
            let name = name.trim_matches('`').split('{').next().unwrap();
            listed.push(format!("{name} {}", cells[2]));
        }
    }
    written.sort_unstable();
    written.dedup();
    listed.sort_unstable();
    assert_eq!(written, listed);
}

#[test]
fn an_address_that_is_taken_is_an_error_before_the_first_message() {
    let server = FakeServer::open();
    let taken = server.address();
    let flags = format!("--num 1 --interval 0 --max 1 --server {}", server.url());
    msggen(&format!("{flags} --metrics {taken}"))
        .code(2)
        .says(&format!("msggen: cannot listen on {taken}: "));
    assert!(server.requests().is_empty());
    msggen(&format!("{flags} --metrics 9465")).code(2).says("--metrics");
}
