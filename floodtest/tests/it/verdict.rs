//! What is planned, what is expected, and how a run is judged.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{OUR_HEAD, Server, UrlFile, hold, messages, run, send, start, start_limited};

#[test]
fn an_expectation_that_holds_is_0_whatever_else_is_missing() {
    let server = Server::start_by_id(|id, stream| {
        send(stream, if id == 1 { "HTTP/1.1 503 Busy\r\n\r\n" } else { OUR_HEAD });
        send(stream, &messages(&[1, 3]));
        hold(stream);
    });
    let urls = server.urls(3);
    let args = ["--urls", urls.path(), "--rate", "max", "--hold", "50ms"];
    let expect = |expected: &str| run(&[&args[..], &["--expect", expected]].concat());
    run(&args).with_code(1).saying("1 of 3 connections failed: 1 status 503");
    let ended = expect("connected>=2, closed=0, failed.status-503<=1").with_code(0);
    assert_eq!(ended.stderr, "", "{ended}");
    expect("connected=3,failed=0,closed=0")
        .with_code(1)
        .saying("expected connected=3, found 2")
        .saying("expected failed=0, found 1");
    expect("delivery_from_due.p99<50ms")
        .with_code(1)
        .saying("delivery_from_due.p99: nothing measured (expected delivery_from_due.p99<50ms)");
}

#[test]
fn a_run_that_established_nothing_is_2_unless_that_was_expected() {
    let server = Server::saying("HTTP/1.1 503 Busy\r\n\r\n");
    let urls = server.urls(2);
    let expect = |expected: &str| run(&["--urls", urls.path(), "--expect", expected]);
    expect("connected=2").with_code(2).saying("expected connected=2, found 0");
    expect("failed.status-503=2").with_code(0);
}

#[test]
fn an_expectation_that_cannot_be_read_is_2_before_any_connect() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(1);
    run(&["--urls", urls.path(), "--expect", "conected>=1"])
        .with_code(2)
        .mentioning("there is no figure \"conected\"; there are asked, away, begun");
    assert!(server.requests().is_empty());
}

#[test]
fn the_final_report_says_where_every_connection_is() {
    let server = Server::start(|k, stream| match k {
        0 => send(stream, "HTTP/1.1 503 Busy\r\n\r\n"),
        1 => send(stream, &format!("{OUR_HEAD}0\r\n\r\n")),
        2 => hold(stream),
        _ => {
            send(stream, OUR_HEAD);
            hold(stream);
        }
    });
    let urls = server.urls(4);
    let args = ["--urls", urls.path(), "--connections", "1k", "--rate", "100", "--report", "20ms"];
    // It takes ten seconds to begin them all, and this test far less.
    let mut running = start(&args);
    let n_open = |line: &str| line["Stats: {".len()..].split(',').next().unwrap().parse::<u64>();
    while n_open(&running.line()).unwrap() < 2 {}
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    let line = |start: &str| {
        let line = ended.stdout.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no line {start}\n{ended}"))
    };
    assert!(line("connections").contains("1000 asked, "), "{ended}");
    assert_eq!(line("failed"), "failed        1: 1 status 503");
    assert_eq!(line("closed"), "closed        1: 1 ended");
    let missing = line("missing").strip_prefix("missing       ").unwrap();
    let (sum, parts) = missing.split_once(" = ").unwrap();
    let parts = parts.split(" + ").map(|part| part.split(' ').next().unwrap());
    let number = |text: &str| text.parse::<u64>().unwrap();
    assert_eq!(number(sum), parts.map(number).sum::<u64>(), "{ended}");
    let url = format!("http://{}/test/1", server.address);
    assert!(ended.stdout.contains(&format!("first status 503: {url}\n")), "{ended}");
}

#[test]
fn a_plan_is_printed_and_nothing_is_connected() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(100);
    let args = ["--urls", urls.path(), "--rate", "50", "--plan"];
    let ended = start_limited(100, &args).end().with_code(0);
    for line in [
        "connections   100 from 100 URLs".to_owned(),
        "opening       50 a second, within 1.980 s".to_owned(),
        "processes     this one and 3 workers, each with 34 connections at most; a process may \
         open 100 files"
            .to_owned(),
        format!("to            {}: 100 connections", server.address),
        format!("              at {}", server.address),
        "              from 127.0.0.1 to 127.0.0.2, 124000 source ports".to_owned(),
    ] {
        assert!(ended.stdout.lines().any(|said| said == line), "missing: {line}\n{ended}");
    }
    let ended = run(&[&args[..], &["--json"]].concat()).with_code(0);
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&plan["asked"], &plan["workers"]), (&100.into(), &0.into()), "{ended}");
    assert_eq!(plan["targets"][0]["connections"], 100, "{ended}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_refused() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(1);
    for flags in [&["--plan"][..], &[]] {
        let args = [&["--urls", urls.path(), "--connections", "1k"], flags].concat();
        start_limited(70, &args).end().with_code(2).saying(
            "cannot hold 1000 connections: with an open-file limit of 70 a run holds at most 36; \
             raise it with `ulimit -n 1064`, or ask for fewer with --connections",
        );
    }
    let bad = UrlFile::of("http://localhost/1\nhtp://localhost/2");
    run(&["--urls", bad.path(), "--plan"]).with_code(2).mentioning(":2: not an http or ws URL");
    assert!(server.requests().is_empty());
}
