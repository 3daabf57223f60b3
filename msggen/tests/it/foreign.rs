//! Servers of other makes, and what goes to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Door, Reply, Request, msggen, msggen_with};

/// A server that accepts everything, with nothing to say.
fn accepting() -> Door {
    Door::new(|_| Reply::Answer(202, String::new()))
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
        assert_eq!(
            request.body,
            format!(
                r#"{{"channel":"c1","data":{{"text":"1 & \"{source}\"","raw":"1%20%26%20%22{source}%22"}}}}"#
            )
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
    let server = Door::new(|request| match request.number % 4 {
        0 => Reply::Answer(200, "x".repeat(100_000)),
        1 => Reply::Answer(201, "queued messages: 0\r\nactive subscribers: 1\r\n".to_owned()),
        2 => Reply::Answer(204, String::new()),
        _ => Reply::Answer(404, "no such channel".to_owned()),
    });
    let flags = format!("--num 8 --interval 0 --max 9 --to http://{}/", server.address());
    let run = msggen(&format!("{flags} --json")).code(1).says("2 of 8 messages failed: status 404");
    let report = run.balanced();
    assert_eq!((&report["answered"], &report["reached"]), (&6.into(), &0.into()));
    let run = msggen(&flags).code(1);
    run.assert(!run.stdout.contains("void"), "who was reached is not known");
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
    let server = Door::new(|_| {
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
    let server = Door::new(|request| match request.number {
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
