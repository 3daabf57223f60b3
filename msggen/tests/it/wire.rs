//! What goes over the wire, as bytes.

use std::collections::BTreeMap;

use reports::stamp::Stamp;

use crate::support::{Door, Request, msggen};

#[test]
fn a_message_is_a_post_to_its_id_and_these_are_its_bytes() {
    let door = Door::open();
    msggen(&format!("--num 1 --interval 0 --max 1 --server {}", door.url())).code(0);
    let request = door.next_request();
    let expected = format!(
        "POST /send/1 HTTP/1.1\r\naccept: */*\r\nhost: {}\r\ncontent-length: 20\r\n\r\n",
        door.address()
    );
    assert_eq!(request.head, expected);
    assert_eq!(request.body, "Fake message Num = 1");
}

#[test]
fn a_batch_is_a_line_of_json_a_message() {
    let door = Door::open();
    msggen(&format!("--num 5 --interval 0 --max 1 --batch 3 --server {}", door.url())).code(0);
    let requests = door.requests();
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
    let door = Door::open();
    let server = door.url();
    msggen(&format!("--num 20 --interval 1 --max 5 --sources 3 --server {server}")).code(0);
    let mut n_by_text = BTreeMap::new();
    for request in door.requests() {
        assert!((1..=5).contains(&request.id()), "{}", request.head);
        *n_by_text.entry(request.body).or_insert(0) += 1;
    }
    let expected = (1..=20).map(|k| (format!("Fake message Num = {k}"), 3)).collect();
    assert_eq!(n_by_text, expected);
}

#[test]
fn one_source_sends_in_order() {
    let door = Door::open();
    msggen(&format!("--num 30 --interval 1 --max 5 --server {}", door.url())).code(0);
    let bodies: Vec<String> = door.requests().into_iter().map(|request| request.body).collect();
    let expected: Vec<String> = (1..=30).rev().map(|k| format!("Fake message Num = {k}")).collect();
    assert_eq!(bodies, expected);
}

/// The ids that a run with these flags sends to, in order.
fn ids(flags: &str) -> Vec<u64> {
    let door = Door::open();
    msggen(&format!("--num 40 --max 1000000 --server {} {flags}", door.url())).code(0);
    door.requests().iter().flat_map(ids_of).collect()
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
    assert_eq!(flat_out, ids("--interval 0 --batch 8 --seed 7"));
    assert_ne!(flat_out, ids("--interval 0 --seed 8"));
}

#[test]
fn the_seed_of_a_run_without_one_repeats_it() {
    let door = Door::open();
    let flags = format!("--num 10 --interval 0 --max 1000000 --server {}", door.url());
    let first = msggen(&flags).code(0).says("msggen: the seed is ");
    let ids: Vec<u64> = door.requests().iter().map(Request::id).collect();
    let seed = first.stderr.split("--seed ").nth(1).unwrap().split(' ').next().unwrap();
    let second = msggen(&format!("{flags} --seed {seed}")).code(0);
    second.assert(second.stderr.is_empty(), "a seed that was given needs no telling");
    let repeated: Vec<u64> = door.requests().iter().map(Request::id).collect();
    assert_eq!(ids, repeated);
}

#[test]
fn stamps_carry_the_due_times_of_the_plan() {
    let door = Door::open();
    let server = door.url();
    msggen(&format!("--num 10 --interval 5 --max 5 --stamp --server {server}")).code(0);
    let stamps: Vec<Stamp> = door
        .requests()
        .iter()
        .map(|request| Stamp::find(request.body.as_bytes()).expect(&request.body))
        .collect();
    let first = stamps[0].due_unix_us;
    let due_us: Vec<u64> = stamps.iter().map(|stamp| stamp.due_unix_us - first).collect();
    assert_eq!(due_us, (0..10).map(|k| k * 5_000).collect::<Vec<_>>());
    assert!(stamps.iter().all(|stamp| stamp.late_us < 5_000_000), "{stamps:?}");
}

#[test]
fn flat_out_a_stamped_message_is_due_when_it_is_sent() {
    let door = Door::open();
    let server = door.url();
    msggen(&format!("--num 6 --interval 0 --max 5 --stamp --batch 3 --server {server}")).code(0);
    for request in door.requests() {
        for (_, message) in request.lines() {
            assert_eq!(Stamp::find(message.as_bytes()).expect(&message).late_us, 0);
        }
    }
}

#[test]
fn the_token_is_the_files_content_without_its_line_end() {
    let door = Door::open();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "open sesame\n").unwrap();
    let (server, path) = (door.url(), file.path().display());
    msggen(&format!("--num 1 --interval 0 --max 1 --token-file {path} --server {server}")).code(0);
    let head = door.next_request().head;
    assert!(head.contains("\r\nauthorization: Bearer open sesame\r\n"), "{head}");
}

#[test]
fn a_path_in_the_server_url_is_kept() {
    let door = Door::open();
    msggen(&format!("--num 1 --interval 0 --max 1 --server {}/comet/", door.url())).code(0);
    let head = door.next_request().head;
    assert!(head.starts_with("POST /comet/send/1 HTTP/1.1\r\n"), "{head}");
}

#[test]
fn a_host_name_is_resolved_and_the_address_that_answers_is_kept() {
    let door = Door::open();
    let port = door.address().port();
    msggen(&format!("--num 2 --interval 0 --max 1 --server http://localhost:{port}")).code(0);
    let head = door.next_request().head;
    assert!(head.contains(&format!("\r\nhost: localhost:{port}\r\n")), "{head}");
}
