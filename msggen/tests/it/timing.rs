//! When messages are sent, and from when their delays count.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use reports::stamp::Stamp;
use rustix::process::Signal;

use crate::support::{DEADLINE, FakeServer, Reply, Request, msggen, reached, start};

/// How long the stalling server below stalls. Long beside what a busy machine adds.
const STALL: Duration = Duration::from_millis(300);

#[test]
fn a_stall_counts_for_every_message_that_was_due_in_it() {
    let fake = FakeServer::new(|request| {
        if request.number == 20 {
            std::thread::park_timeout(STALL);
        }
        reached(1)
    });
    let flags = "--num 80 --interval 10 --max 9 --json";
    let run = msggen(&format!("{flags} --server {}", fake.url())).code(0);
    let report = run.balanced();
    let us = |delay: &str, figure: &str| report[delay][figure].as_u64().unwrap();
    // Some 30 of the 80 messages were due while one was stalled, up to 300 ms before they went.
    run.assert(us("send_from_due", "p90_us") >= 150_000, "overdue messages waited since their due");
    run.assert(us("send_from_send", "p90_us") < 100_000, "their answers came at once");
    run.assert(us("lateness", "p90_us") >= 150_000, "they were sent late");
    run.assert(report["late"].as_u64().unwrap() >= 25, "and counted as late");
    run.assert(report["took_s"].as_f64().unwrap() < 0.95, "the source caught up");
}

#[test]
fn overdue_messages_share_requests_and_no_message_waits_for_a_batch_to_fill() {
    // The server answers its sixth request when it is told to, some 30 intervals later.
    let (tell, told) = channel();
    let told = Mutex::new(told);
    let fake = FakeServer::new(move |request| {
        if request.number == 5 {
            told.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        crate::support::all_reached(request)
    });
    let flags = "--num 60 --interval 10 --max 9 --batch 8 --allow-late --json";
    let run = start(&format!("{flags} --server {}", fake.url()));
    let mut requests: Vec<_> = (0..5).map(|_| fake.next_request()).collect();
    std::thread::park_timeout(STALL);
    tell.send(()).unwrap();
    let run = run.finish().code(0);
    run.balanced();
    requests.extend(fake.requests());
    let sizes: Vec<usize> = requests.iter().map(|request| request.body.lines().count()).collect();
    run.assert(sizes[0] < 8, &format!("the first message does not wait for seven: {sizes:?}"));
    let n_before: usize = sizes[..6].iter().sum();
    // A machine that is busy may have sent more of them before. All that are left are overdue by
    // then, or become so one after the other.
    let n_overdue = (60 - n_before).min(24);
    let all_full = sizes[6..].iter().take(n_overdue / 8).all(|size| *size == 8);
    run.assert(all_full, &format!("30 are overdue after the stall: {sizes:?}"));
    run.assert(sizes.iter().sum::<usize>() == 60, &format!("{sizes:?}"));
}

#[test]
fn a_run_takes_as_long_as_planned_and_says_its_rate() {
    let fake = FakeServer::open();
    let flags = "--num 40 --interval 10 --max 9 --sources 10 --json";
    let report = msggen(&format!("{flags} --server {}", fake.url())).code(0).balanced();
    let took_s = report["took_s"].as_f64().unwrap();
    assert!((0.399..0.65).contains(&took_s), "399 intervals of 1 ms: {took_s}");
    assert_eq!(report["asked_per_s"], 1_000.0);
    assert!((600.0..1_001.0).contains(&report["achieved_per_s"].as_f64().unwrap()), "{report}");
}

#[test]
fn a_server_too_slow_for_the_rate_is_a_shortfall() {
    let fake = FakeServer::new(|_| {
        std::thread::park_timeout(Duration::from_millis(25));
        reached(1)
    });
    let flags = "--num 20 --interval 1 --max 9";
    let to_server = format!("{flags} --server {}", fake.url());
    msggen(&to_server)
        .code(1)
        .says(" s behind the schedule at the end: ")
        .says("/s achieved of 1000.0/s asked for; --allow-late accepts that");
    msggen(&format!("{to_server} --allow-late")).code(0);
    // With twenty on their way nothing waits: the server takes them side by side.
    msggen(&format!("{flags} --in-flight 20 --to {}", fake.url())).code(0);
}

#[test]
fn a_run_that_is_ended_while_it_is_behind_says_so() {
    let fake =
        FakeServer::new(|request| if request.number < 3 { reached(1) } else { Reply::Silence });
    let run = start(&format!("--num 1k --interval 10 --max 9 --json --server {}", fake.url()));
    for _ in 0..4 {
        fake.next_request();
    }
    // The next message is due 10 ms later and is behind a tolerance of 250 ms after that.
    std::thread::park_timeout(STALL);
    run.signal(Signal::INT);
    let run = run.finish().code(1).says(" s behind the schedule at the end: ");
    assert!(run.balanced()["behind_s"].as_f64().unwrap() >= 0.28);
}

#[test]
fn random_intervals_are_on_schedule_and_repeat_with_the_seed() {
    for interval in ["uniform:5ms..15ms", "exp:10ms"] {
        let gaps_us = || {
            let fake = FakeServer::open();
            let flags = "--num 40 --max 9 --seed 3 --stamp --json";
            let flags = format!("{flags} --interval {interval} --server {}", fake.url());
            let report = msggen(&flags).code(0).balanced();
            assert_eq!(report["asked_per_s"], 100.0);
            let due_us = |request: &Request| {
                Stamp::first_in(request.body.as_bytes()).expect(&request.body).due_unix_us
            };
            let due_us: Vec<u64> = fake.requests().iter().map(due_us).collect();
            due_us.windows(2).map(|two| two[1] - two[0]).collect::<Vec<u64>>()
        };
        let (first, second) = (gaps_us(), gaps_us());
        // Due times are rounded to microseconds, from a start that is another one in each run.
        let is_same = |(first, second): (&u64, &u64)| first.abs_diff(*second) <= 2;
        assert!(first.iter().zip(&second).all(is_same), "{first:?} {second:?}");
        if interval.starts_with("uniform") {
            assert!(first.iter().all(|gap| (4_999..=15_001).contains(gap)), "{first:?}");
        }
    }
}

#[test]
fn ten_thousand_sources_take_their_turns() {
    let fake = FakeServer::open();
    let flags = "--num 1 --interval 2s --max 9 --sources 10k --json --allow-late";
    let report = msggen(&format!("{flags} --server {}", fake.url())).code(0).balanced();
    assert_eq!((&report["asked_per_s"], &report["answered"]), (&5_000.0.into(), &10_000.into()));
    assert!(report["took_s"].as_f64() > Some(1.99), "spread over their interval");
    assert!(fake.n_connections() <= 129, "128, and the one that looked");
}

#[test]
fn flat_out_has_no_due_times_and_nothing_is_late() {
    let fake = FakeServer::open();
    let server = fake.url();
    let flags = format!("--num 50 --interval 0 --max 9 --sources 2 --json --server {server}");
    let report = msggen(&flags).code(0).balanced();
    assert_eq!((&report["late"], &report["lateness"]["count"]), (&0.into(), &0.into()));
    assert_eq!(report["asked_per_s"], 0.0);
    assert_eq!(report["send_from_due"], report["send_from_send"]);
}

#[test]
fn reports_come_as_asked_and_the_last_one_is_final() {
    let fake = FakeServer::open();
    let server = fake.url();
    let flags = "--num 45 --interval 10 --max 9 --report 100ms --allow-late";
    let run = msggen(&format!("{flags} --json --server {server}")).code(0);
    let finals: Vec<bool> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<reports::books::SendReport>(line).unwrap().is_final)
        .collect();
    run.assert(finals.len() >= 3, "a report every 100 ms of 440");
    run.assert(finals.iter().rev().skip(1).all(|is_final| !is_final), "only the last is final");
    run.report();
    let run = msggen(&format!("{flags} --server {server}")).code(0);
    run.assert(run.stdout.starts_with("0.1 s: sent "), "a line a report, for people");
}
