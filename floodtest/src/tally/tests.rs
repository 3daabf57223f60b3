use std::time::Instant;

use reports::books::{Extent, FloodReport, JudgedBy};
use reports::stamp::Clock;

use super::*;
use crate::accounting::Accounting;
use crate::clocks::receipts::ReceiptClock;
use crate::decode::{Beginning, ChunkFault, Framer};
use crate::items::{Items, Scratch};
use crate::judge::Life;
use crate::judge::{Judge, Window};
use crate::outbox::Outbox;
use crate::receipt::{Own, Receipt, Shared};
use crate::report::Judging;
use crate::request::Established;
use crate::request::sockets::Sockets;

/// One connection with its tally.
struct Connection {
    tally: Tally,
    window: Window,
    faults: u16,
    received_unix_us: Option<u64>,
}

/// What a connection of our server does with a tally.
fn connection(body: &str) -> Connection {
    read(
        "Server: comet-server/0.1.0\r\nTransfer-Encoding: chunked\r\n",
        body,
        &Accounting::default(),
    )
}

/// What a connection whose head has these fields does with a tally.
fn read(fields: &str, body: &str, accounting: &Accounting) -> Connection {
    let (mut tally, mut window, mut faults) = (Tally::default(), Window::default(), 0);
    let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let (mut items, mut head_ms) = (Items::default(), 0);
    let mut scratch = Scratch::default();
    let mut judge = Judge::new(accounting.judge, !accounting.sent.is_empty(), 1_000);
    let own = Own {
        row: 0,
        items: &mut items,
        head_ms: &mut head_ms,
        window: &mut window,
        faults: &mut faults,
        life: Life::default(),
    };
    let clock = &ReceiptClock::new(Clock::start());
    let established = Established::default();
    let (sockets, outbox) = (&Sockets::default(), &mut Outbox::default());
    let judge = &mut judge;
    let (streams, again) = (None, None);
    let shared = Shared {
        accounting,
        tally: &mut tally,
        judge,
        clock,
        established,
        sockets,
        outbox,
        streams,
        again,
    };
    let mut receipt = Receipt::new(own, &mut scratch, shared);
    receipt.marks.received_unix_us = Some(5_000_000);
    let beginning = &mut Beginning::default();
    Framer::default().feed(beginning, text.as_bytes(), &mut receipt).unwrap();
    let received_unix_us = receipt.marks.received_unix_us;
    Connection { tally, window, faults, received_unix_us }
}

/// The report of a tally.
fn report_of(tally: &Tally) -> FloodReport {
    Judging::default().report(tally, 9, Duration::ZERO)
}

/// The report after `body` came over one connection of our server and it closed.
fn report(body: &str) -> FloodReport {
    let Connection { mut tally, mut window, .. } = connection(body);
    Judge::closed(&mut window, &mut tally);
    tally.closed(Reason::Cut, 0);
    report_of(&tally)
}

/// A chunk with `text` in it.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A message of our server, in a chunk of its own.
fn message(n: u64, text: &str) -> String {
    chunk(&format!("Recvd msg #{n}: '{text}'<br/>"))
}

#[test]
fn chunks_are_counted_and_messages_by_their_numbers() {
    let report = report(&[message(2, "a"), message(4, "b #9"), chunk("hello")].concat());
    assert_eq!((report.chunks, report.items, report.messages), (3, 3, 2));
    assert_eq!((report.lost, report.duplicated, report.reordered), (Some(2), Some(0), Some(0)));
    assert_eq!((report.judged_by, report.heard), (JudgedBy::Numbers, 1));
    assert_eq!(report.judged.beginning, Extent::All);
    assert_eq!((report.connected, report.closed, report.established), (0, 1, 1));
    assert_eq!(report.closures, ByReason::from([("cut".to_owned(), 1)]));
}

#[test]
fn a_stamp_gives_both_latencies() {
    let texts = ["a @4999000+600", "b @5000100~0#1:2.0badcafe;", "c @18446744073709551615+9"];
    let report = report(&(1..).zip(texts).map(|(n, text)| message(n, text)).collect::<String>());
    let (due, send) = (report.delivery_from_due, report.delivery_from_send);
    assert_eq!((due.count, due.negative), (1, 2));
    assert_eq!((due.max_us, send.max_us), (1_000, 400));
}

#[test]
fn without_a_mark_nothing_is_judged() {
    let report = report(&chunk("#18446744073709551615"));
    assert_eq!((report.lost, report.duplicated, report.reordered), (None, None, None));
    assert_eq!((report.judged_by, report.unheard), (JudgedBy::Nothing, 1));
}

#[test]
fn a_connection_knows_its_own_faults() {
    let Connection { window, faults, .. } =
        connection(&[2, 1, 1, 70].map(|n| message(n, "x")).concat());
    assert_eq!((faults, window.n_missing()), (2 + 4, 63), "3 to 6 have left the window");
}

#[test]
fn stamps_take_over_from_the_number_of_the_same_message() {
    let stamped = |n: u64| format!("x @4999000~0#7:{n}.0badcafe;");
    let body = [message(5, &stamped(3)), message(6, &stamped(4)), message(7, &stamped(6))].concat();
    let accounting = Accounting { sent: vec!["sent".into()], ..Accounting::default() };
    let fields = "Server: comet-server/0.1.0\r\nTransfer-Encoding: chunked\r\n";
    let judged = report_of(&read(fields, &body, &accounting).tally);
    assert_eq!((judged.judged_by, judged.messages), (JudgedBy::Stamps, 3));
    assert_eq!(judged.delivery_from_due.count, 3);
    let body = [message(1, "a"), message(2, "b"), message(3, &stamped(3))].concat();
    let judged = report_of(&read(fields, &body, &accounting).tally);
    assert_eq!((judged.judged_by, judged.messages), (JudgedBy::Numbers, 3));
}

#[test]
fn numbers_that_jump_on_most_connections_are_no_losses_unless_it_is_said() {
    let body = [1_000, 1_017, 1_030].map(|n| format!("id: {n}\ndata: x\n\n")).concat();
    let fields = "Content-Type: text/event-stream\r\n";
    let sequence = Some("event-id".parse().unwrap());
    let accounting = Accounting { sequence, ..Accounting::default() };
    let tally = read(fields, &body, &accounting).tally;
    let report = report_of(&tally);
    assert_eq!((report.lost, report.duplicated), (None, Some(0)));
    assert_eq!(report.median_jump, Some(13));
    assert!(report.notes[0].starts_with("the numbers of 1 of 1 connections jump"), "{report:?}");
    let numbers_are = Some(crate::judge::NumbersAre::Consecutive);
    let report = Judging { numbers_are, has_slow: false }.report(&tally, 1, Duration::ZERO);
    assert_eq!((report.messages, report.median_jump), (3, None));
    assert!(report.lost.is_some());
}

#[test]
fn the_counts_of_two_processes_are_those_of_one_with_all_connections() {
    let mut all = connection(&message(1, "a @4999000+600"));
    let mut other = connection(&message(3, "b @5000100+0"));
    all.tally.dialed(Duration::from_secs(1));
    other.tally.dialed(Duration::from_secs(3));
    for (connection, number) in [(&mut all, 4), (&mut other, 3)] {
        Judge::closed(&mut connection.window, &mut connection.tally);
        connection.tally.closed(Reason::Cut, number);
    }
    let (mut all, mut other) = (all.tally, other.tally);
    other.failed(Reason::Refused, 5, || None);
    // What another process says goes over a wire.
    let told = serde_json::to_string(&other).unwrap();
    all.merge(&serde_json::from_str(&told).unwrap());
    let report = report_of(&all);
    assert_eq!((report.begun, report.closed, report.failed, report.chunks), (2, 2, 1, 2));
    assert_eq!((report.lost, report.messages), (Some(2), 2));
    assert!((report.opening_s - 2.0).abs() < 1e-9, "{}", report.opening_s);
    assert_eq!((report.delivery_from_due.count, report.delivery_from_due.negative), (1, 1));
    assert_eq!(report.closures, ByReason::from([("cut".to_owned(), 2)]));
    assert_eq!(all.closures.iter().map(|it| it.first).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_a_dead_process_held_is_closed_and_what_it_dialed_has_failed() {
    let mut tally = connection(&message(1, "a")).tally;
    (0..3).for_each(|_| tally.dialed(Duration::ZERO));
    tally.failed(Reason::Refused, 8, || None);
    tally.abandon(Reason::WorkerDied(2), 1);
    let report = report_of(&tally);
    assert_eq!((report.connected, report.closed, report.failed), (0, 1, 2));
    assert_eq!(report.closures, ByReason::from([("worker 2 died".to_owned(), 1)]));
    let failures = [("refused".to_owned(), 1), ("worker 2 died".to_owned(), 1)];
    assert_eq!(report.failures, ByReason::from(failures));
}

#[test]
fn reasons_that_share_a_word_are_counted_together() {
    let mut tally = Tally::default();
    for (number, fault) in [(7, ChunkFault::Size), (3, ChunkFault::Trailer)] {
        tally.failed(Reason::BadChunk(fault), number, || None);
    }
    tally.failed(Reason::BadChunk(ChunkFault::Size), 2, || None);
    let report = report_of(&tally);
    assert_eq!(report.failures, ByReason::from([("bad chunk".to_owned(), 3)]));
    assert_eq!(tally.failures.iter().map(|it| it.first).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_receipt_without_stamps_reads_no_clock() {
    let before = Instant::now();
    assert_eq!(connection(&message(1, "a @4+")).received_unix_us, Some(5_000_000));
    assert!(before <= Instant::now());
}

#[test]
fn somebody_who_makes_up_senders_fills_no_counts() {
    let mut tally = Tally::default();
    let mut other = Tally::default();
    for sender in 0..1_000 {
        tally.note_stamp(Some(Sender(sender)));
        other.note_stamp(Some(Sender(sender + 500)));
    }
    // Who is not counted is known to be there.
    assert_eq!(tally.stamped_by.len(), MAX_STAMPED_BY + 1);
    assert!(tally.stamped_by.contains(&None));
    tally.merge(&other);
    assert_eq!(tally.stamped_by.len(), MAX_STAMPED_BY + 1);
}
