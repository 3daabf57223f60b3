//! How runs end before their last message.

use rustix::process::Signal;

use crate::support::{FakeServer, Reply, reached, start, start_unread, wait_until};

#[test]
fn an_interrupted_run_with_every_message_answered_did_what_was_asked() {
    for signal in [Signal::INT, Signal::TERM] {
        let fake = FakeServer::open();
        let server = fake.url();
        let run = start(&format!("--num 100k --interval 10 --max 9 --json --server {server}"));
        for _ in 0..5 {
            fake.next_request();
        }
        run.signal(signal);
        let run = run.finish().code(0);
        let report = run.balanced();
        run.assert(report["sent"].as_u64() >= Some(5), "what was sent before");
        run.assert(report["sent"].as_u64() < Some(10_000), "and no more");
        run.assert(report["answered"] == report["sent"], "all answered");
    }
}

#[test]
fn a_flat_out_run_can_be_interrupted() {
    let fake = FakeServer::open();
    let server = fake.url();
    let run = start(&format!("--num 1G --interval 0 --max 9 --sources 4 --json --server {server}"));
    for _ in 0..50 {
        fake.next_request();
    }
    run.signal(Signal::INT);
    run.finish().code(0).balanced();
}

#[test]
fn what_is_in_flight_when_the_grace_ends_is_unanswered() {
    let fake =
        FakeServer::new(|request| if request.number < 3 { reached(1) } else { Reply::Silence });
    let server = fake.url();
    let run =
        start(&format!("--num 100 --interval 1 --max 9 --sources 2 --json --server {server}"));
    // Three answers and two silences: both sources wait from then on.
    for _ in 0..5 {
        fake.next_request();
    }
    run.signal(Signal::INT);
    let run = run.finish().code(1).says("2 of 5 messages unanswered: interrupted 2");
    assert_eq!(run.balanced()["answered"], 3);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let fake = FakeServer::new(|_| Reply::Silence);
    let mut run = start(&format!("--num 9 --interval 0 --max 9 --json --server {}", fake.url()));
    fake.next_request();
    // The kernel makes one of two signals that come before the first is looked at, so it is sent
    // until two have been. The grace is two seconds: nothing but a second signal ends this early.
    wait_until("a second signal ends it", || {
        let is_running = run.is_running();
        if is_running {
            run.signal(Signal::INT);
        }
        !is_running
    });
    let run = run.finish().code(1);
    run.assert(run.stdout.is_empty(), "there is no last report");
}

#[test]
fn whoever_closes_stdout_has_read_enough() {
    let fake = FakeServer::open();
    let mut run = start_unread(&format!(
        "--num 100k --interval 1 --max 9 --report 20ms --json --server {}",
        fake.url()
    ));
    let mut reports = run.stdout_lines();
    assert!(reports.next().is_some());
    drop(reports);
    let run = run.finish().code(0);
    run.assert(!run.stderr.contains("stdout"), "that is no failure");
}
