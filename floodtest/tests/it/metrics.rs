//! What Prometheus gets with `--metrics`: the figures of the last report.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use reports::books::{Counted, FloodReport, Goodput, Own, SlowReaders, Streams};
use reports::latency::LatencySummary;
use rustix::process::Signal;

use crate::support::{OUR_HEAD, Server, hold, messages, run, send, start};

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

/// A text as a parser that nobody here wrote reads it: what it says of each family, a line each.
/// `None` where there is no such parser.
fn parsed(text: &str) -> Option<String> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/py/bin/python3");
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as read\n\
        for f in read(sys.stdin.read()):\n    print(f.name, f.type, len(f.samples))\n";
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("ModuleNotFoundError") {
        return None;
    }
    assert!(output.status.success(), "{error}\n{text}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_figures_are_those_of_the_last_report() {
    let server = Server::start(|k, stream| {
        if k == 2 {
            return send(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        }
        send(stream, OUR_HEAD);
        send(stream, &messages(&[1, 2, 4]));
        hold(stream);
    });
    let urls = server.urls(3);
    let mut running =
        start(&["--urls", urls.path(), "--json", "--report", "20ms", "--metrics", "127.0.0.1:0"]);
    let address = running.stderr_line("metrics on http://").replace("/metrics", "");
    // After the first of these nothing happens any more, so that the last one says the same.
    let is_quiet = |report: &FloodReport| report.failed == 1 && report.chunks == 6;
    running.wait_for(is_quiet);
    running.wait_for(is_quiet);
    let text = get(&address);
    let found = samples(&text);
    running.signal(Signal::INT);
    let report = running.end().with_code(1).report();

    for (name, expected) in [
        ("asked", report.asked),
        ("begun_total", report.begun),
        ("connected", report.connected),
        ("established_total", report.established),
        ("peak", report.peak),
        ("waiting", report.waiting),
        ("failed_total{reason=\"status 503\"}", report.failures["status 503"]),
        ("failed_total{reason=\"refused\"}", 0),
        ("closed_total{reason=\"cut\"}", 0),
        ("content_types_total{type=\"none\"}", report.content_types["none"]),
        ("bytes_total", report.bytes),
        ("chunks_total", report.chunks),
        ("items_total", report.items),
        ("messages_total", report.messages),
        ("numbered_total", report.numbered),
        ("unnumbered_total", report.unnumbered),
        ("duplicated", report.duplicated.unwrap()),
        ("heard", report.heard),
        ("rss_start_bytes", report.rss_start_kb * 1024),
        ("connect_lateness_seconds_count", report.connect_lateness.count),
        ("delivery_from_due_seconds_count", 0),
    ] {
        let name = format!("floodtest_{name}");
        assert_eq!(found[name.as_str()], expected.to_string(), "{name}\n{text}");
    }
    let max_s = found["floodtest_connect_lateness_seconds{quantile=\"1\"}"];
    assert_eq!(max_s, (report.connect_lateness.max_us as f64 / 1e6).to_string(), "{text}");
    assert!(!text.contains("delivery_from_due_seconds{"), "no delay has no percentile\n{text}");
    let Some(families) = parsed(&text) else {
        return testing::skip("prometheus_client");
    };
    assert!(families.contains("floodtest_connect_lateness_seconds summary 8\n"), "{families}");
    assert!(families.contains("floodtest_chunks counter 1\n"), "{families}");
    let n_families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families.lines().count(), n_families, "{families}");
}

#[test]
fn what_is_null_in_a_report_is_no_series() {
    let some = LatencySummary { count: 2, mean_us: 1_500.0, p50_us: 1_000, ..Default::default() };
    let judged = FloodReport {
        lost: Some(3),
        reordered: Some(0),
        delivery_from_due: some,
        ..FloodReport::default()
    };
    let text = floodtest::metrics::text(&judged);
    let found = samples(&text);
    assert_eq!(found["floodtest_lost"], "3");
    assert_eq!(found["floodtest_delivery_from_due_seconds{quantile=\"0.5\"}"], "0.001");
    assert_eq!(found["floodtest_delivery_from_due_seconds_sum"], "0.003");
    let absent = ["duplicated", "median_jump", "lost_in_gaps", "slow_readers_open"];
    for absent in absent.map(|name| format!("floodtest_{name}")) {
        assert!(!found.contains_key(absent.as_str()), "{text}");
    }
}

#[test]
fn the_schema_lists_every_series_and_no_others() {
    let reasons = [("cut".to_owned(), 1)].into();
    let report = FloodReport {
        lost: Some(1),
        duplicated: Some(1),
        reordered: Some(1),
        lost_in_gaps: Some(1),
        slow_readers: Some(SlowReaders::default()),
        median_jump: Some(1),
        content_types: reasons,
        streams: Some(Streams {
            done: Some(1),
            not_done: Some(1),
            counted: Some(Counted { total: Some(1), ..Counted::default() }),
            goodput: Some(Goodput::default()),
        }),
        own: Own { busiest_thread_share: Some(0.5), ..Own::default() },
        ..FloodReport::default()
    };
    let text = floodtest::metrics::text(&report);
    let mut written: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("SCHEMA.md");
    let schema = fs::read_to_string(schema).unwrap();
    let section = schema.split("## For Prometheus").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut listed = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `floodtest_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in cells[1].split(", ") {
            listed.push((name.trim_matches('`').split('{').next().unwrap(), cells[2]));
        }
    }
    written.sort_unstable();
    listed.sort_unstable();
    assert_eq!(written, listed);
}

#[test]
fn an_address_that_is_taken_is_an_error_before_the_first_connect() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(1);
    let taken = server.address.to_string();
    run(&["--urls", urls.path(), "--metrics", &taken])
        .with_code(2)
        .mentioning(&format!("cannot listen on {taken}: "));
    assert!(server.requests().is_empty());
    run(&["--urls", urls.path(), "--metrics", "9464"]).with_code(2).mentioning("--metrics");
}
