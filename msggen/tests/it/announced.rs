//! A sender is known on its machine as long as it lives.

use std::fs;

use reports::announced::Announced;
use reports::stamp::{Sender, Stamp, monotonic_us};
use rustix::process::Signal;

use crate::support::{FakeServer, start};

/// By how much two readings of two clocks may be apart, in microseconds.
const READINGS_US: i64 = 1_000;

/// What a sender says of itself in the kernel's list of sockets.
fn announced(sender: Sender) -> Option<Announced> {
    let list = fs::read("/proc/net/unix").unwrap();
    let list = String::from_utf8_lossy(&list);
    let mut names = list.lines().filter_map(|line| line.rsplit_once(" @")?.1.parse().ok());
    names.find(|it: &Announced| it.sender == sender)
}

#[test]
fn a_sender_that_stamps_is_announced_with_its_clock_until_it_ends() {
    let fake = FakeServer::open();
    let before_us = monotonic_us();
    let flags = "--num 100k --interval 10 --max 9 --stamp --json --server";
    let run = start(&format!("{flags} {}", fake.url()));
    let body = fake.next_request().body;
    let after_us = monotonic_us();
    let stamp = Stamp::first_in(body.as_bytes()).unwrap();
    let sender = stamp.mark.unwrap().sender;
    let it = announced(sender).expect("it lives");
    // The zero makes of the time of its stamps one of the clock that all processes share.
    let due_us = i64::try_from(stamp.due_unix_us).unwrap() - it.zero_us;
    let possible = before_us - READINGS_US..=after_us + READINGS_US;
    assert!(possible.contains(&due_us), "{due_us} in {possible:?}");
    run.signal(Signal::INT);
    let run = run.finish().code(0);
    run.assert(run.report()["sender"] == sender.to_string(), "it is this one");
    assert_eq!(announced(sender), None, "it is gone");
}
