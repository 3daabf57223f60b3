//! Servers other than comet-server, and what goes to them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{FakeServer, Reply, Request, msggen, msggen_with, reached};

/// A server that accepts everything, with nothing to say.
fn accepting() -> FakeServer {
    FakeServer::new(|_| Reply::Answer(202, String::new()))
}

#[test]
fn a_request_is_what_its_templates_say() {
    let server = accepting();
    let to = format!("http://{}/pub?id={{id}}&m={{message}}", server.address());
    msggen_with(
        "--num 1 --interval 0 --max 1 --sources 2 --method PUT --seed 1",
        &[
            "--to",
            &to,
            "--message",
            "{k} & \"{source}\"",
            "--header",
            "X-Key: s{source}/{id}",
            "--header",
            "Content-Type: application/json",
            "--body",
            r#"{"channel":"c{id}","data":{"text":"{message:json}","raw":"{message:url}"}}"#,
        ],
    )
    .code(0);
    let mut requests = server.requests();
    requests.sort_by(|a, b| a.body.cmp(&b.body));
    for (source, request) in requests.iter().enumerate() {
        let first = format!("PUT /pub?id=1&m=1%20%26%20%22{source}%22 HTTP/1.1\r\n");
        assert!(request.head.starts_with(&first), "{}", request.head);
        assert!(request.head.contains(&format!("\r\nx-key: s{source}/1\r\n")), "{}", request.head);
        assert!(request.head.contains("\r\ncontent-type: application/json\r\n"));
        let message = format!("1%20%26%20%22{source}%22");
        assert_eq!(
            request.body,
            format!(r#"{{"channel":"c1","data":{{"text":"1 & \"{source}\"","raw":"{message}"}}}}"#)
        );
    }
    assert_eq!(requests.len(), 2);
}

#[test]
fn without_more_flags_a_message_is_the_body_of_a_post() {
    let server = accepting();
    let flags = format!("--num 1 --interval 0 --max 1 --to http://{}/", server.address());
    msggen(&flags).code(0);
    let request = server.next_request();
    assert!(request.head.starts_with("POST / HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.body, "Fake message Num = 1");
    msggen_with(&flags, &["--method", "GET", "--body", ""]).code(0);
    let request = server.next_request();
    assert!(request.head.starts_with("GET / HTTP/1.1\r\n"), "{}", request.head);
    assert!(!request.head.contains("content-length"), "{}", request.head);
}

#[test]
fn the_token_goes_to_other_servers_too() {
    let server = accepting();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "open {sesame}\n").unwrap();
    let (to, path) = (server.address(), file.path().display());
    msggen(&format!("--num 1 --interval 0 --max 1 --token-file {path} --to http://{to}/")).code(0);
    let head = server.next_request().head;
    assert!(head.contains("\r\nauthorization: Bearer open {sesame}\r\n"), "{head}");
}

#[test]
fn every_success_is_an_answer_and_everything_else_failed_with_its_status() {
    let server = FakeServer::new(|request| match request.number % 4 {
        0 => Reply::Answer(200, "x".repeat(100_000)),
        1 => Reply::Answer(201, "queued messages: 0\r\nactive subscribers: 1\r\n".to_owned()),
        2 => Reply::Answer(204, String::new()),
        _ => Reply::Answer(404, "no such channel".to_owned()),
    });
    let flags = format!("--num 8 --interval 0 --max 9 --to http://{}/", server.address());
    let run = msggen(&format!("{flags} --json")).code(1).says("2 of 8 messages failed: status 404");
    let report = run.balanced();
    assert_eq!((&report["answered"], &report["reach_unknown"]), (&6.into(), &6.into()));
    let names = ["reached", "void", "connections"];
    assert_eq!(names.map(|name| report[name].is_null()), [true; 3], "{report}");
    let run = msggen(&flags).code(1);
    run.assert(!run.stdout.contains("void"), "who was reached is not known");
    run.assert(run.stdout.contains("  whom they reached is not known"), "and that is said");
}

/// Answers with a 2xx whose body is not all there: those that the server ends, and those that it
/// does not.
const INCOMPLETE: [(Reply, &str); 4] = [
    (Reply::BytesAndClose("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "cut"),
    (
        Reply::BytesAndClose("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        "cut",
    ),
    (Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "timed out"),
    (Reply::Bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc"), "timed out"),
];

#[test]
fn an_answer_that_breaks_off_or_never_ends_is_none() {
    for (reply, reason) in INCOMPLETE {
        let reply = Mutex::new(Some(reply));
        let fake = FakeServer::new(move |request| {
            let incomplete = reply.lock().unwrap().take();
            incomplete.unwrap_or_else(|| {
                let answer = "{\"connections\":1}".to_owned();
                Reply::Answer(
                    200,
                    if request.head.contains("/send/") { answer } else { String::new() },
                )
            })
        });
        let flags = "--num 3 --interval 0 --max 1 --timeout 400ms --json";
        let run = msggen(&format!("{flags} --to {}", fake.url())).code(1);
        let report = run.balanced();
        run.assert(report["unanswered_by"][reason] == 1, reason);
        run.assert(report["answered"] == 2, "the others were answered");
    }
}

#[test]
fn an_answer_to_the_control_door_that_breaks_off_or_never_ends_is_none() {
    for (reply, reason) in INCOMPLETE {
        // A body without a length is no answer of a control door at all.
        if matches!(reply, Reply::Bytes(it) | Reply::BytesAndClose(it) if it.contains("chunked")) {
            continue;
        }
        let reply = Mutex::new(Some(reply));
        let fake =
            FakeServer::new(move |_| reply.lock().unwrap().take().unwrap_or_else(|| reached(1)));
        let flags = "--num 3 --interval 0 --max 1 --timeout 400ms --json";
        let run = msggen(&format!("{flags} --server {}", fake.url())).code(1);
        run.assert(run.balanced()["unanswered_by"][reason] == 1, reason);
    }
}

#[test]
fn what_no_server_said_meets_no_expectation() {
    let server = accepting();
    let flags = format!("--num 2 --interval 0 --max 9 --to {}", server.url());
    for expected in ["void=0", "reached=0", "connections<9"] {
        let figure = expected.split(['=', '<']).next().unwrap();
        msggen(&format!("{flags} --expect {expected}"))
            .code(1)
            .says(&format!("msggen: {figure}: not known (expected {expected})"));
    }
    let flags = "--num 60 --interval 5 --max 9 --report 50ms --allow-late";
    let run = msggen(&format!("{flags} --to {}", server.url())).code(0);
    let line = run.stdout.lines().next().unwrap_or_default();
    run.assert(line.contains(", reached not known, void not known, "), "progress says so too");
}

#[test]
fn whom_a_message_reached_is_read_from_the_answer_where_it_says_so() {
    let server = FakeServer::new(|request| {
        let text = match request.number % 4 {
            0 => "active subscribers: 2\r\n",
            1 => "active subscribers: 0\r\n",
            // Neither of these says it.
            2 => "active subscribers: 99999999999999999999\r\n",
            _ => "queued",
        };
        Reply::Answer(201, text.to_owned())
    });
    let flags = format!("--num 8 --interval 0 --max 9 --json --to {}", server.url());
    let reached = ["--reached", "active subscribers: ([0-9]+)"];
    let run = msggen_with(&flags, &reached).code(0);
    let report = run.balanced();
    let names = ["reached", "void", "connections", "reach_unknown"];
    assert_eq!(names.map(|name| report[name].as_u64().unwrap()), [2, 2, 4, 4]);
    // What is known of some says nothing of all.
    let all = [reached[0], reached[1], "--expect", "void=2"];
    msggen_with(&flags, &all).code(1).says("msggen: void: not known (expected void=2)");
    for (regex, why) in [("[0-9]+", "it has 0 groups"), ("(a)(b)", "2 groups"), ("(", "--reached")]
    {
        msggen_with(&flags, &["--reached", regex]).code(2).says(why);
    }
}

#[test]
fn a_success_whose_body_is_not_what_is_wanted_failed_with_a_reason_of_its_own() {
    let server = FakeServer::new(|request| match request.number % 2 {
        0 => Reply::Answer(200, "{\"ok\":true}".to_owned()),
        _ => Reply::Answer(200, "{\"error\":{\"code\":102}}".to_owned()),
    });
    let flags = format!("--num 6 --interval 0 --max 9 --json --to {}", server.url());
    let run = msggen_with(&flags, &["--ok", "\"ok\": *true"]).code(1);
    let run = run.says("3 of 6 messages failed: not ok 3");
    assert_eq!(run.balanced()["failures"]["not ok"], 3);
    msggen(&flags).code(0);
}

#[test]
fn several_servers_share_the_ids_and_each_id_keeps_its_server() {
    let servers = [accepting(), accepting()];
    let to = servers.each_ref().map(|server| format!("--to http://{}/{{id}}", server.address()));
    let flags = "--num 100 --interval 0 --max 20 --sources 2 --in-flight 3 --json";
    msggen(&format!("{flags} {}", to.join(" "))).code(0).balanced();
    let ids = servers.each_ref().map(|server| {
        let mut ids: Vec<u64> = server.requests().iter().map(Request::id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    let mut all = ids.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=20).collect::<Vec<_>>(), "{ids:?}");
    assert!(ids.iter().all(|ids| ids.len() > 2), "{ids:?}");
}

#[test]
fn requests_on_their_way_have_connections_of_their_own_as_many_as_allowed() {
    static N_NOW: AtomicUsize = AtomicUsize::new(0);
    static N_MOST: AtomicUsize = AtomicUsize::new(0);
    let server = FakeServer::new(|_| {
        N_MOST.fetch_max(N_NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(5));
        N_NOW.fetch_sub(1, Ordering::SeqCst);
        Reply::Answer(200, String::new())
    });
    let flags = "--num 40 --interval 0 --max 9 --in-flight 20 --connections 5 --json";
    let run = msggen(&format!("{flags} --to http://{}/", server.address())).code(0);
    run.assert(run.balanced()["answered"] == 40, "all answered");
    assert_eq!(N_MOST.load(Ordering::SeqCst), 5);
}

#[test]
fn a_server_that_dies_leaves_exact_totals() {
    let server = FakeServer::new(|request| match request.number {
        n if n < 20 => Reply::Answer(200, String::new()),
        _ => Reply::Die,
    });
    let flags = "--num 30 --interval 2 --max 9 --sources 4 --reconnect 0s --json";
    let run = msggen(&format!("{flags} --to http://{}/", server.address())).code(1);
    let report = run.balanced();
    run.assert(report["sent"] == 120, "a dead server does not stop the schedule");
    run.assert(report["failures"]["refused"].as_u64() > Some(0), "refused");
    run.assert(report["unanswered"].as_u64() > Some(0), "those in flight");
}
