//! What goes over the wire, as bytes.

use std::collections::BTreeMap;

use reports::stamp::Stamp;

use crate::support::{FakeServer, Reply, Request, msggen, msggen_with};

#[test]
fn a_message_is_a_post_to_its_id_and_these_are_its_bytes() {
    let fake = FakeServer::open();
    msggen(&format!("--num 1 --interval 0 --max 1 --server {}", fake.url())).code(0);
    let request = fake.next_request();
    let expected =
        format!("POST /send/1 HTTP/1.1\r\nhost: {}\r\ncontent-length: 20\r\n\r\n", fake.address());
    assert_eq!(request.head, expected);
    assert_eq!(request.body, "Fake message Num = 1");
}

#[test]
fn a_batch_is_a_line_of_json_a_message() {
    let fake = FakeServer::open();
    msggen(&format!("--num 5 --interval 0 --max 1 --batch 3 --server {}", fake.url())).code(0);
    let requests = fake.requests();
    let [first, second] = &requests[..] else { panic!("two batches: {requests:?}") };
    assert!(first.head.starts_with("POST /send HTTP/1.1\r\n"), "{}", first.head);
    assert!(first.head.contains("\r\ncontent-type: application/x-ndjson\r\n"), "{}", first.head);
    assert_eq!(
        first.body,
        "{\"id\":1,\"msg\":\"Fake message Num = 5\"}\n\
         {\"id\":1,\"msg\":\"Fake message Num = 4\"}\n\
         {\"id\":1,\"msg\":\"Fake message Num = 3\"}\n"
    );
    assert_eq!(
        second.body,
        "{\"id\":1,\"msg\":\"Fake message Num = 2\"}\n{\"id\":1,\"msg\":\"Fake message Num = 1\"}\n"
    );
}

#[test]
fn every_source_counts_down_to_one() {
    let fake = FakeServer::open();
    let server = fake.url();
    msggen(&format!("--num 20 --interval 1 --max 5 --sources 3 --server {server}")).code(0);
    let mut n_by_text = BTreeMap::new();
    for request in fake.requests() {
        assert!((1..=5).contains(&request.id()), "{}", request.head);
        *n_by_text.entry(request.body).or_insert(0) += 1;
    }
    let expected = (1..=20).map(|k| (format!("Fake message Num = {k}"), 3)).collect();
    assert_eq!(n_by_text, expected);
}

#[test]
fn one_source_sends_in_order_also_with_several_requests_on_their_way() {
    for flags in ["--interval 1", "--interval 0 --in-flight 5"] {
        let fake = FakeServer::open();
        msggen(&format!("--num 30 --max 5 --server {} {flags}", fake.url())).code(0);
        let bodies: Vec<String> = fake.requests().into_iter().map(|request| request.body).collect();
        let expected: Vec<String> =
            (1..=30).rev().map(|k| format!("Fake message Num = {k}")).collect();
        assert_eq!(bodies, expected, "{flags}");
    }
}

#[test]
fn requests_on_their_way_share_a_connection_and_do_not_wait_for_answers() {
    for flags in ["--num 12", "--num 24 --batch 2"] {
        // It answers every fourth request, and the three before it only then.
        let fake = FakeServer::new(|request| {
            let body = match request.body.lines().count() {
                n if request.head.starts_with("POST /send ") => {
                    format!("{{\"messages\":{n},\"connections\":{n},\"void\":0}}")
                }
                _ => "{\"connections\":1}".to_owned(),
            };
            if request.number % 4 < 3 { Reply::Later(200, body) } else { Reply::Answer(200, body) }
        });
        let server = fake.url();
        let flags = format!("{flags} --interval 0 --max 9 --in-flight 4 --json --server {server}");
        let run = msggen(&flags).code(0);
        run.balanced();
        // One more was made to see whether the server is there.
        run.assert(fake.n_connections() == 2, "one connection");
    }
}

#[test]
fn many_sources_share_the_connections_that_they_are_given() {
    let fake = FakeServer::open();
    let flags = "--num 4 --interval 0 --max 9 --sources 50 --connections 3 --json";
    let run = msggen(&format!("{flags} --server {}", fake.url())).code(0);
    run.assert(run.balanced()["answered"] == 200, "all answered");
    run.assert((2..=4).contains(&fake.n_connections()), "three, and the one that looked");
}

#[test]
fn a_message_says_what_its_template_says_also_in_json() {
    let fake = FakeServer::open();
    let text = r#"{"to": {id}, "k": {k}, "by": "\{source}"}"#;
    let flags = format!("--num 2 --interval 0 --max 1 --size 40B --server {}", fake.url());
    msggen_with(&flags, &["--message", text]).code(0);
    msggen_with(&flags, &["--message", text, "--batch", "2"]).code(0);
    let expected = [2, 1].map(|k| format!(r#"{{"to": 1, "k": {k}, "by": "\0"}}"#));
    let expected = expected.map(|text| format!("{text:.<40}"));
    let requests = fake.requests();
    assert_eq!([&requests[0].body, &requests[1].body], [&expected[0], &expected[1]]);
    let lines: Vec<String> = requests[2].lines().into_iter().map(|(_, message)| message).collect();
    assert_eq!(lines, expected);
}

#[test]
fn the_ids_of_a_file_are_sent_to_by_their_odds() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# who\n70\n80\n90\n").unwrap();
    let fake = FakeServer::open();
    let (path, server) = (file.path().display(), fake.url());
    let odds = "--distribution hot:34%=100%";
    msggen(&format!("--num 50 --interval 0 --ids {path} {odds} --server {server}")).code(0);
    let mut ids: Vec<u64> = fake.requests().iter().map(Request::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, [70, 80], "34 % of three are two");
}

#[test]
fn several_servers_share_the_ids_and_each_id_keeps_its_server() {
    let fakes = [FakeServer::open(), FakeServer::open(), FakeServer::open()];
    let servers = fakes.each_ref().map(|fake| format!("--server {}", fake.url())).join(" ");
    for flags in ["", "--batch 10", "--batch 10 --in-flight 4"] {
        let flags = format!("--num 300 --interval 0 --max 40 --sources 2 --json {flags} {servers}");
        assert_eq!(msggen(&flags).code(0).balanced()["answered"], 600);
    }
    let ids = fakes.each_ref().map(|fake| {
        let mut ids: Vec<u64> = fake.requests().iter().flat_map(ids_of).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    assert!(ids.iter().all(|ids| ids.len() >= 5), "{ids:?}");
    let mut all = ids.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<_>>(), "{ids:?}");
}

/// The ids that a run with these flags sends to, in order.
fn ids(flags: &str) -> Vec<u64> {
    let fake = FakeServer::open();
    msggen(&format!("--num 40 --max 1000000 --server {} {flags}", fake.url())).code(0);
    fake.requests().iter().flat_map(ids_of).collect()
}

/// The ids in a request, be it of one message or a batch.
fn ids_of(request: &Request) -> Vec<u64> {
    if request.head.starts_with("POST /send ") {
        request.lines().into_iter().map(|(id, _)| id).collect()
    } else {
        vec![request.id()]
    }
}

#[test]
fn a_seed_repeats_the_ids_whatever_the_timing() {
    let flat_out = ids("--interval 0 --seed 7");
    assert_eq!(flat_out, ids("--interval 2 --seed 7"));
    assert_eq!(flat_out, ids("--interval exp:1ms --seed 7"));
    assert_eq!(flat_out, ids("--interval 0 --batch 8 --seed 7"));
    assert_eq!(flat_out, ids("--interval 0 --batch 3 --in-flight 5 --seed 7"));
    assert_ne!(flat_out, ids("--interval 0 --seed 8"));
}

#[test]
fn the_seed_of_a_run_without_one_repeats_it() {
    let fake = FakeServer::open();
    let flags = format!("--num 10 --interval 0 --max 1000000 --server {}", fake.url());
    let first = msggen(&flags).code(0).says("msggen: the seed is ");
    let ids: Vec<u64> = fake.requests().iter().map(Request::id).collect();
    let seed = first.stderr.split("--seed ").nth(1).unwrap().split(' ').next().unwrap();
    let second = msggen(&format!("{flags} --seed {seed}")).code(0);
    second.assert(second.stderr.is_empty(), "a seed that was given needs no telling");
    let repeated: Vec<u64> = fake.requests().iter().map(Request::id).collect();
    assert_eq!(ids, repeated);
}

#[test]
fn stamps_carry_the_due_times_of_the_plan() {
    let fake = FakeServer::open();
    let server = fake.url();
    msggen(&format!("--num 10 --interval 5 --max 5 --stamp --server {server}")).code(0);
    let stamps: Vec<Stamp> = fake
        .requests()
        .iter()
        .map(|request| Stamp::first_in(request.body.as_bytes()).expect(&request.body))
        .collect();
    let first = stamps[0].due_unix_us;
    let due_us: Vec<u64> = stamps.iter().map(|stamp| stamp.due_unix_us - first).collect();
    assert_eq!(due_us, (0..10).map(|k| k * 5_000).collect::<Vec<_>>());
    assert!(stamps.iter().all(|stamp| stamp.late_us < 5_000_000), "{stamps:?}");
}

#[test]
fn flat_out_a_stamped_message_is_due_when_it_is_sent() {
    let fake = FakeServer::open();
    let server = fake.url();
    msggen(&format!("--num 6 --interval 0 --max 5 --stamp --batch 3 --server {server}")).code(0);
    for request in fake.requests() {
        for (_, message) in request.lines() {
            assert_eq!(Stamp::first_in(message.as_bytes()).expect(&message).late_us, 0);
        }
    }
}

#[test]
fn the_token_is_the_files_content_without_its_line_end() {
    let fake = FakeServer::open();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "open sesame\n").unwrap();
    let (server, path) = (fake.url(), file.path().display());
    msggen(&format!("--num 1 --interval 0 --max 1 --token-file {path} --server {server}")).code(0);
    let head = fake.next_request().head;
    assert!(head.contains("\r\nauthorization: Bearer open sesame\r\n"), "{head}");
}

#[test]
fn a_path_in_the_server_url_is_kept() {
    let fake = FakeServer::open();
    msggen(&format!("--num 1 --interval 0 --max 1 --server {}/comet/", fake.url())).code(0);
    let head = fake.next_request().head;
    assert!(head.starts_with("POST /comet/send/1 HTTP/1.1\r\n"), "{head}");
}

#[test]
fn a_host_name_is_resolved_and_the_address_that_answers_is_kept() {
    let fake = FakeServer::open();
    let port = fake.address().port();
    msggen(&format!("--num 2 --interval 0 --max 1 --server http://localhost:{port}")).code(0);
    let head = fake.next_request().head;
    assert!(head.contains(&format!("\r\nhost: localhost:{port}\r\n")), "{head}");
}
