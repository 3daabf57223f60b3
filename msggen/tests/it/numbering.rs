//! Numbers of messages, and that messages to one id are sent one after the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reports::stamp::{Mark, Sender, Stamp};

use crate::support::{FakeServer, Reply, Request, all_reached, msggen, msggen_with, reached};

/// The messages in a request, be it of one or a batch.
fn messages_of(request: &Request) -> Vec<String> {
    if request.head.starts_with("POST /send ") {
        request.lines().into_iter().map(|(_, message)| message).collect()
    } else {
        vec![request.body.clone()]
    }
}

/// The marks of all messages of a request.
fn marks_of(request: &Request) -> Vec<Mark> {
    let mark = |message: &String| {
        Stamp::first_in(message.as_bytes()).and_then(|stamp| stamp.mark).expect(message)
    };
    messages_of(request).iter().map(mark).collect()
}

/// A server that keeps the marks in the order in which it was sent them, and takes its time for
/// some of its answers.
fn recording() -> (FakeServer, &'static Mutex<Vec<Mark>>) {
    let marks: &Mutex<Vec<Mark>> = Box::leak(Box::default());
    let fake = FakeServer::new(|request| {
        marks.lock().unwrap().extend(marks_of(request));
        if request.number % 7 == 3 {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        if request.head.starts_with("POST /send ") { all_reached(request) } else { reached(1) }
    });
    (fake, marks)
}

/// Fails unless the numbers of every id are 1, 2, 3, … in this order, all of one sender.
#[track_caller]
fn assert_in_order(marks: &[Mark]) -> Sender {
    let mut last = HashMap::new();
    for mark in marks {
        let last = last.entry(mark.id).or_insert(0);
        assert_eq!(mark.n, *last + 1, "{mark:?} in {marks:?}");
        *last = mark.n;
        assert_eq!(mark.sender, marks[0].sender);
    }
    marks[0].sender
}

#[test]
fn messages_to_an_id_are_numbered_in_the_order_in_which_they_come_whatever_sends_them() {
    for flags in [
        "--max 3 --interval 0",
        "--max 3 --interval 0 --in-flight 5",
        "--max 3 --interval 0 --batch 4",
        "--max 3 --interval 0 --batch 4 --in-flight 3",
        "--max 3 --interval 1 --in-flight 9",
        "--max 1 --interval 0 --in-flight 3 --connections 2",
        // So far apart that a table holds them.
        "--max 9000000000000000000 --interval 0 --batch 2",
        "--max 20m --distribution hot:0.00001%=99% --interval 0 --batch 3",
    ] {
        let (fake, marks) = recording();
        let flags = format!("--num 40 --sources 6 --stamp --json --server {} {flags}", fake.url());
        let run = msggen(&format!("{flags} --allow-late")).code(0);
        let report = run.balanced();
        let marks = marks.lock().unwrap();
        run.assert(marks.len() == 240, "all came");
        let sender = assert_in_order(&marks);
        run.assert(report["sender"] == sender.to_string(), "the report names the sender");
        run.assert(report["is_unordered"] == false, "they were in order");
        run.assert(report["order_wait"]["count"] == 240, "every message has an order");
    }
}

#[test]
fn requests_to_other_servers_are_numbered_and_keep_their_order_over_all_connections() {
    let (server, marks) = recording();
    let flags = format!(
        "--num 30 --interval 0 --sources 5 --in-flight 4 --max 4 --stamp --json --to http://{}/",
        server.address()
    );
    let run = msggen(&flags).code(0);
    run.balanced();
    assert_eq!(marks.lock().unwrap().len(), 150);
    assert_in_order(&marks.lock().unwrap());
}

/// A server that counts how many of its requests are being answered at the same time, and the most.
fn counting() -> (FakeServer, &'static AtomicU64) {
    let now: &AtomicU64 = Box::leak(Box::default());
    let most: &AtomicU64 = Box::leak(Box::default());
    let fake = FakeServer::new(|_| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(3));
        now.fetch_sub(1, Ordering::SeqCst);
        reached(1)
    });
    (fake, most)
}

#[test]
fn the_next_message_to_an_id_waits_for_the_answer_to_the_last_one_and_the_wait_is_reported() {
    for way in ["--server", "--to"] {
        let (fake, most) = counting();
        let flags = "--num 5 --sources 4 --max 1 --interval 0 --in-flight 2 --stamp --json";
        let run = msggen(&format!("{flags} {way} {}", fake.url())).code(0);
        let report = run.balanced();
        // Two of a source may be on one connection, where the server answers one after the other.
        run.assert(most.load(Ordering::SeqCst) == 1, "one after the other");
        let waits = &report["order_wait"];
        run.assert(waits["count"] == 20 && waits["max_us"].as_u64() > Some(0), "{waits}");
    }
}

#[test]
fn unordered_messages_do_not_wait_and_no_more_than_32_to_an_id_are_on_their_way() {
    for way in ["--server", "--to"] {
        let (fake, most) = counting();
        let flags = "--num 4 --sources 50 --max 1 --interval 0 --stamp --unordered --json";
        let run = msggen(&format!("{flags} {way} {}", fake.url())).code(0);
        run.assert(run.balanced()["is_unordered"] == true, "the report says so");
        let most = most.load(Ordering::SeqCst);
        run.assert((2..=32).contains(&most), &format!("{most} at a time"));
    }
    let (fake, _) = counting();
    let run = msggen(&format!(
        "--num 1 --max 1 --interval 0 --stamp --unordered --server {}",
        fake.url()
    ));
    run.assert(run.stdout.contains("  unordered\n"), "the table says so too");
}

#[test]
fn an_id_whose_message_gets_no_answer_is_free_again_after_the_timeout() {
    // The first message to each id is never answered.
    static SEEN: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());
    let fake = FakeServer::new(|request| {
        let mut seen = SEEN.lock().unwrap();
        let n = seen.entry(request.id()).or_insert(0);
        *n += 1;
        if *n == 1 { Reply::Silence } else { reached(1) }
    });
    let flags = "--num 10 --sources 3 --max 2 --interval 0 --timeout 200ms --stamp --json";
    let run = msggen(&format!("{flags} --server {}", fake.url())).code(1);
    let report = run.balanced();
    run.assert(report["unanswered"] == 2 && report["answered"] == 28, "the others went on");
}

#[test]
fn the_number_stands_wherever_a_template_has_it_also_without_a_stamp() {
    let fake = FakeServer::open();
    let flags = "--num 3 --interval 0 --max 1 --message {n}:{k}";
    msggen(&format!("{flags} --server {}", fake.url())).code(0);
    let bodies: Vec<String> = fake.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["1:3", "2:2", "3:1"]);
    let to = format!("http://{}/{{id}}?n={{n}}", fake.address());
    let flags = "--num 2 --interval 0 --max 1";
    msggen_with(flags, &["--to", &to, "--header", "X-N: {n}", "--body", "{n}"]).code(0);
    let requests = fake.requests();
    for (request, n) in requests.iter().zip(1..) {
        assert!(request.head.starts_with(&format!("POST /1?n={n} ")), "{}", request.head);
        assert!(request.head.contains(&format!("x-n: {n}\r\n")), "{}", request.head);
        assert_eq!(request.body, n.to_string());
    }
    assert_eq!(requests.len(), 2);
}

#[test]
fn every_process_is_another_sender_also_with_the_same_seed() {
    let (fake, marks) = recording();
    for _ in 0..3 {
        let flags = "--num 1 --interval 0 --max 1 --seed 7 --stamp";
        let run = msggen(&format!("{flags} --server {}", fake.url())).code(0);
        let sender = marks.lock().unwrap().last().unwrap().sender.to_string();
        let line = run.stdout.lines().find(|line| line.starts_with("sender ")).unwrap_or_default();
        run.assert(line.ends_with(&sender), "the table names the sender");
    }
    let mut senders: Vec<Sender> = marks.lock().unwrap().iter().map(|mark| mark.sender).collect();
    senders.dedup();
    assert_eq!(senders.len(), 3);
}

#[test]
fn messages_that_cannot_all_be_numbered_are_refused_and_switches_need_the_stamp() {
    let flags = "--num 10T --interval 0 --max 1 --server http://127.0.0.1:1";
    msggen(&format!("{flags} --stamp")).code(2).says("more than can be numbered, 8796093022207");
    let flags = "--num 1 --interval 0 --max 1";
    msggen(&format!("{flags} --unordered")).code(2).says("--stamp");
    msggen(&format!("{flags} --sent f")).code(2).says("--stamp");
}
