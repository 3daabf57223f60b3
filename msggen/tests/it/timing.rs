//! When messages are sent, and from when their delays count.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use reports::stamp::Stamp;
use rustix::process::Signal;

use crate::support::{
    DEADLINE, FakeServer, Reply, Request, all_reached, msggen, reached, start, start_unread,
    wait_for_report,
};

/// Tells a server's script to go on, and what the script waits with.
fn leave_to_go_on() -> (Sender<()>, impl Fn() + Send + Sync) {
    let (tell, told): (_, Receiver<()>) = channel();
    let told = Mutex::new(told);
    (tell, move || told.lock().unwrap().recv_timeout(DEADLINE).unwrap())
}

/// The source of a message and its number, counting down, in the text `{source}+{k}`.
fn source_and_k(line: &str) -> (u64, u64) {
    // A line of a batch has it in a JSON string.
    let text = line.rsplit_once("\"msg\":\"").map_or(line, |(_, text)| text);
    let text = text.trim_end().trim_end_matches("\"}");
    let (source, k) = text.split_once('+').unwrap_or_else(|| panic!("not a message: {line}"));
    (source.parse().unwrap(), k.parse().unwrap())
}

/// Waits until all of source 1 has been sent: until then source 0, which is due half an interval
/// earlier each time, has become due as well. Returns the requests of source 0 by the way.
fn wait_for_the_last_of_source_1(fake: &FakeServer) -> Vec<Request> {
    let mut of_source_0 = Vec::new();
    loop {
        let request = fake.next_request();
        let messages: Vec<_> = request.body.lines().map(source_and_k).collect();
        if messages[0].0 == 0 {
            of_source_0.push(request);
        } else if messages.contains(&(1, 1)) {
            return of_source_0;
        }
    }
}

#[test]
fn a_stall_counts_for_every_message_that_was_due_in_it() {
    let (tell, wait) = leave_to_go_on();
    let fake = FakeServer::new(move |request| {
        if source_and_k(&request.body) == (0, 40) {
            wait();
        }
        reached(1)
    });
    let flags = "--num 60 --interval 5 --max 9 --sources 2 --message {source}+{k}";
    let flags = format!("{flags} --allow-late --json");
    let run = start(&format!("{flags} --server {}", fake.url()));
    wait_for_the_last_of_source_1(&fake);
    tell.send(()).unwrap();
    let run = run.finish().code(0);
    let report = run.balanced();
    let us = |delay: &str| report[delay]["p90_us"].as_u64().unwrap();
    // 39 of the 120 messages were due while the one before them was stalled.
    run.assert(report["late"].as_u64().unwrap() >= 38, "all but the last are late by an interval");
    run.assert(us("send_from_due") > us("send_from_send"), "they waited since they were due");
    run.assert(us("lateness") > us("send_from_send"), "and not for their own answers");
}

#[test]
fn overdue_messages_share_requests() {
    let (tell, wait) = leave_to_go_on();
    let fake = FakeServer::new(move |request| {
        if request.body.lines().any(|line| source_and_k(line) == (0, 55)) {
            wait();
        }
        all_reached(request)
    });
    let flags = "--num 60 --interval 5 --max 9 --sources 2 --message {source}+{k}";
    let flags = format!("{flags} --batch 8 --allow-late --json");
    let run = start(&format!("{flags} --server {}", fake.url()));
    let mut requests = wait_for_the_last_of_source_1(&fake);
    tell.send(()).unwrap();
    let run = run.finish().code(0);
    run.balanced();
    requests.extend(fake.requests().into_iter().filter(|it| source_and_k(&it.body).0 == 0));
    requests.sort_by_key(|request| request.number);
    let sizes: Vec<usize> = requests.iter().map(|request| request.body.lines().count()).collect();
    // All that are left are overdue: only the last request may have room.
    let is_stalled = |it: &Request| it.body.lines().any(|line| source_and_k(line) == (0, 55));
    let stalled = requests.iter().position(is_stalled).unwrap();
    let (_, full) = sizes[stalled + 1..].split_last().unwrap();
    run.assert(full.iter().all(|size| *size == 8), &format!("overdue ones share: {sizes:?}"));
    run.assert(sizes.iter().sum::<usize>() == 60, &format!("{sizes:?}"));
}

#[test]
fn no_message_waits_for_a_batch_to_fill() {
    let fake = FakeServer::open();
    let flags = "--num 9 --interval 10m --max 9 --batch 8 --json";
    let run = start(&format!("{flags} --server {}", fake.url()));
    // The second message is due in ten minutes.
    assert_eq!(fake.next_request().body.lines().count(), 1);
    run.signal(Signal::INT);
    run.finish().code(0).balanced();
}

#[test]
fn a_run_takes_as_long_as_planned_and_says_its_rate() {
    let fake = FakeServer::open();
    let flags = "--num 40 --interval 10 --max 9 --sources 10 --allow-late --json";
    let report = msggen(&format!("{flags} --server {}", fake.url())).code(0).balanced();
    let figure = |name: &str| report[name].as_f64().unwrap();
    assert!((figure("planned_s") - 0.399).abs() < 1e-9, "399 intervals of 1 ms: {report}");
    assert!(figure("took_s") >= figure("planned_s"), "none is sent before it is due: {report}");
    assert!((figure("asked_per_s") - 1_000.0).abs() < 1e-9);
    let achieved_per_s = 399.0 / figure("took_s");
    assert!((figure("achieved_per_s") - achieved_per_s).abs() < 1e-3, "{report}");
}

#[test]
fn a_server_too_slow_for_the_rate_is_a_shortfall() {
    // The run's own reports say when the last message is overdue by more than the tolerance.
    for (flags, code) in [("", 1), ("--allow-late", 0)] {
        let (tell, wait) = leave_to_go_on();
        let fake = FakeServer::new(move |request| {
            if request.number == 18 {
                wait();
            }
            reached(1)
        });
        let always = "--num 20 --interval 1 --max 9 --report 20ms --json";
        let mut run = start_unread(&format!("{always} {flags} --server {}", fake.url()));
        let mut reports = run.stdout_lines();
        wait_for_report(&mut reports, |it| it["elapsed_s"].as_f64() > Some(0.5));
        tell.send(()).unwrap();
        reports.for_each(drop);
        let run = run.finish().code(code);
        if code == 1 {
            run.says(" s behind the schedule at the end: ")
                .says("/s achieved of 1000.0/s asked for; --allow-late accepts that");
        }
    }
}

#[test]
fn with_several_on_their_way_none_waits_for_the_answers_to_others() {
    // No answer is given before all twenty have come.
    let arrived = std::sync::Barrier::new(20);
    let fake = FakeServer::new(move |_| {
        arrived.wait();
        reached(1)
    });
    let flags = "--num 20 --interval 1 --max 9 --in-flight 20 --allow-late";
    msggen(&format!("{flags} --to {}", fake.url())).code(0);
}

#[test]
fn a_run_that_is_ended_while_it_is_behind_says_so() {
    let fake =
        FakeServer::new(|request| if request.number < 3 { reached(1) } else { Reply::Silence });
    let flags = "--num 1k --interval 10 --max 9 --report 20ms --json";
    let mut run = start_unread(&format!("{flags} --server {}", fake.url()));
    let mut reports = run.stdout_lines();
    for _ in 0..4 {
        fake.next_request();
    }
    // The next message was due after 40 ms, and the tolerance is 250 ms.
    wait_for_report(&mut reports, |it| it["elapsed_s"].as_f64() > Some(0.4));
    run.signal(Signal::INT);
    let last = reports.last().unwrap();
    let mut run = run.finish().code(1).says(" s behind the schedule at the end: ");
    run.stdout = last;
    assert!(run.balanced()["behind_s"].as_f64() > Some(0.25), "more than the tolerance");
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
    for is_json in [true, false] {
        let fake = FakeServer::open();
        let json = if is_json { "--json" } else { "" };
        let flags = "--num 1m --interval 10 --max 9 --report 20ms --allow-late";
        let mut run = start_unread(&format!("{flags} {json} --server {}", fake.url()));
        let mut lines = run.stdout_lines();
        let mut first: Vec<_> = lines.by_ref().take(3).collect();
        run.signal(Signal::INT);
        first.extend(lines);
        let mut run = run.finish();
        run.stdout = first.join("\n");
        if is_json {
            let is_final = |line: &String| {
                serde_json::from_str::<reports::books::SendReport>(line).unwrap().is_final
            };
            let (last, others) = first.split_last().unwrap();
            run.assert(is_final(last) && !others.iter().any(is_final), "only the last is final");
            run.report();
        } else {
            run.assert(first[..3].iter().all(|it| it.contains(" s: sent ")), "a line a report");
        }
    }
}
