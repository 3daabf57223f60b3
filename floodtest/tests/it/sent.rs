//! What was sent and never came, by the sender's own file: from the first message to the last.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use reports::books::{Extent, FloodReport, JudgedBy};
use reports::sent::{End, Header, IdLine, Range};
use reports::stamp::{Mark, Sender, Stamp, as_us, wall_now};
use rustix::process::Signal;

use crate::support::{Server, hold, run, send, start};

/// A body that lasts until the close: nothing but the marks tells messages apart.
const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: other/1\r\n\r\n";

const ONE: Sender = Sender(0x0bad_cafe);
const TWO: Sender = Sender(0x0000_0002);

/// Message `n` to an id.
fn message(sender: Sender, id: u64, n: u64) -> String {
    let mark = Some(Mark { id, n, sender });
    format!("{{\"text\":\"hello{}\"}}", Stamp { due_unix_us: 5, late_us: 0, mark })
}

/// Messages with these numbers.
fn messages(sender: Sender, id: u64, numbers: impl IntoIterator<Item = u64>) -> String {
    numbers.into_iter().map(|n| message(sender, id, n)).collect()
}

/// The file of a sender whose first message was due in an hour, and whose last answer has come.
fn sent(sender: Sender, lines: &[IdLine]) -> tempfile::NamedTempFile {
    let hour_us = 3_600_000_000;
    sent_at(sender, lines, as_us(wall_now()) + hour_us, Some(5))
}

/// The file of a sender.
fn sent_at(
    sender: Sender,
    lines: &[IdLine],
    first_due_unix_us: u64,
    last_answer_unix_us: Option<u64>,
) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let header = Header { sent: 1, sender, first_due_unix_us, ..Header::default() };
    writeln!(file, "{}", serde_json::to_string(&header).unwrap()).unwrap();
    for line in lines {
        writeln!(file, "{}", serde_json::to_string(line).unwrap()).unwrap();
    }
    if let Some(last_answer_unix_us) = last_answer_unix_us {
        let end = End { end: true, last_answer_unix_us, ..End::default() };
        writeln!(file, "{}", serde_json::to_string(&end).unwrap()).unwrap();
    }
    file
}

/// What was sent to an id, all of it answered.
fn line(id: u64, n: u64) -> IdLine {
    IdLine { id, n, ..IdLine::default() }
}

/// The final report of a run in which connections of the ids 1, 2, … get these texts and are held.
fn report(texts: &[String], files: &[&tempfile::NamedTempFile], code: i32) -> FloodReport {
    report_of(texts, files, &["--settle", "0s"], code)
}

/// The same with further flags.
fn report_of(
    texts: &[String],
    files: &[&tempfile::NamedTempFile],
    flags: &[&str],
    code: i32,
) -> FloodReport {
    let n_bytes: u64 = texts.iter().map(|text| (HEAD.len() + text.len()) as u64).sum();
    let n = texts.len() as u64;
    let texts = texts.to_vec();
    let server = Server::start_by_id(move |id, stream| {
        send(stream, &format!("{HEAD}{}", texts[id - 1]));
        hold(stream);
    });
    let urls = server.urls(n);
    let mut args = vec!["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    for file in files {
        args.extend(["--sent", file.path().to_str().unwrap()]);
    }
    args.extend(flags);
    let mut running = start(&args);
    running.wait_for(|report| report.bytes == n_bytes && report.connected == n);
    running.signal(Signal::INT);
    running.end().with_code(code).report()
}

/// What is lost, duplicated and out of order.
fn faults(report: &FloodReport) -> (Option<u64>, Option<u64>, Option<u64>) {
    (report.lost, report.duplicated, report.reordered)
}

#[test]
fn a_run_without_losses_is_judged_from_the_first_message_to_the_last() {
    let texts = [messages(ONE, 1, 1..=3), messages(ONE, 2, 1..=100)];
    let report = report(&texts, &[&sent(ONE, &[line(1, 3), line(2, 100)])], 0);
    assert_eq!(faults(&report), (Some(0), Some(0), Some(0)));
    assert_eq!((report.messages, report.items, report.heard), (103, 103, 2));
    assert_eq!(report.judged_by, JudgedBy::Stamps);
    let judged = report.judged;
    assert_eq!([judged.beginning, judged.middle, judged.end], [Extent::All; 3]);
}

#[test]
fn losses_at_the_beginning_and_at_the_end_are_seen_and_connections_that_heard_nothing() {
    let texts = [
        messages(ONE, 1, 3..=10),              // the first two are missing
        messages(ONE, 2, 1..=7),               // the last three
        messages(ONE, 3, [2, 1, 4, 3, 70, 6]), // 5 to 69 but for 6, which is too old to be judged
        String::new(),                         // all ten
        String::new(),                         // nothing was sent to it
    ];
    let lines = [line(1, 10), line(2, 10), line(3, 70), line(4, 10)];
    let report = report(&texts, &[&sent(ONE, &lines)], 1);
    assert_eq!(faults(&report), (Some(2 + 3 + 65 + 10), Some(0), Some(2)));
    assert_eq!((report.heard, report.unheard), (3, 2));
    assert_eq!((report.too_old, report.worst[0].faults), (1, 65 + 2));
}

#[test]
fn a_number_that_failed_is_no_loss_and_one_that_was_never_answered_is_counted_apart() {
    let line = |failed: &[Range], unanswered: &[Range]| IdLine {
        id: 1,
        n: 200,
        failed: failed.to_vec(),
        unanswered: unanswered.to_vec(),
    };
    for (numbers, failed, unanswered, lost, missing) in [
        // In the middle, within the window's reach and beyond.
        (
            (1..=200).filter(|n| *n != 190 && *n != 20).collect(),
            &[(20, 20), (190, 190)][..],
            &[][..],
            0,
            0,
        ),
        ((1..=200).filter(|n| *n != 190 && *n != 20).collect(), &[(20, 20)], &[(190, 190)], 0, 1),
        // At the beginning and at the end.
        ((4..=198).collect(), &[(1, 2), (200, 200)], &[], 2, 0),
        ((4..=198).collect(), &[(1, 2)], &[(3, 3), (199, 200)], 0, 3),
        // Those that came after all are nothing special.
        ((1..=200).collect::<Vec<u64>>(), &[(5, 9)], &[(100, 150)], 0, 0),
        // A long gap, half of it refused.
        ((1..=20).chain(121..=200).collect(), &[(21, 70)], &[], 50, 0),
    ] {
        let file = sent(ONE, &[line(failed, unanswered)]);
        let code = i32::from(lost > 0);
        let report = report(&[messages(ONE, 1, numbers)], &[&file], code);
        assert_eq!(faults(&report), (Some(lost), Some(0), Some(0)), "{failed:?} {unanswered:?}");
        assert_eq!(report.unanswered_missing, missing, "{failed:?} {unanswered:?}");
    }
}

#[test]
fn what_a_late_connection_missed_before_its_first_message_is_no_loss() {
    let file = sent_at(ONE, &[line(1, 10)], 5, Some(5));
    let report = report(&[messages(ONE, 1, [4, 5, 7, 8])], &[&file], 1);
    assert_eq!((report.lost, report.late_joiners), (Some(1 + 2), 1));
    assert_eq!(report.judged.beginning, Extent::None);
}

#[test]
fn without_the_senders_end_the_end_is_not_judged() {
    let hour_us = 3_600_000_000;
    let file = sent_at(ONE, &[line(1, 10)], as_us(wall_now()) + hour_us, None);
    let report = report(&[messages(ONE, 1, 1..=4)], &[&file], 1);
    assert_eq!((report.lost, report.judged.end), (Some(0), Extent::None));
    assert!(report.notes[0].ends_with("so the end is not judged"), "{report:?}");
}

#[test]
fn a_connection_that_closed_early_is_judged_up_to_its_last_message() {
    let server =
        Server::start(|_, stream| send(stream, &format!("{HEAD}{}", messages(ONE, 1, 2..=4))));
    let urls = server.urls(1);
    let future = as_us(wall_now()) + 3_600_000_000;
    let file = sent_at(ONE, &[line(1, 10)], future, Some(future));
    let path = file.path().to_str().unwrap();
    let report = run(&["--urls", urls.path(), "--json", "--sent", path]).with_code(1).report();
    assert_eq!((report.lost, report.judged.end), (Some(1), Extent::None));
}

#[test]
fn two_senders_and_a_sender_started_again_have_numbers_of_their_own() {
    let texts = [
        messages(ONE, 1, 1..=5) + &messages(TWO, 1, 1..=3) + &messages(ONE, 1, 6..=9),
        messages(TWO, 2, [1, 3]) + &messages(ONE, 2, [1, 2, 2]),
    ];
    let one = sent(ONE, &[line(1, 9), line(2, 3)]);
    let two = sent(TWO, &[line(1, 3), line(2, 3)]);
    let judged = report(&texts, &[&one, &two], 1);
    assert_eq!(faults(&judged), (Some(2), Some(1), Some(0)), "{judged:?}");
    assert_eq!((judged.messages, judged.judged.end), (9 + 3 + 2 + 2, Extent::All));
    // A sender that was killed left no file: its messages are judged between first and last.
    let judged = report(&texts, &[&one], 1);
    assert_eq!(faults(&judged), (Some(2), Some(1), Some(0)), "{judged:?}");
    // With room for no further series they are not judged, which is said.
    let judged = report_of(&texts, &[], &["--max-windows", "0"], 1);
    assert_eq!((judged.unjudged, judged.messages), (3 + 3, 9 + 2));
}

#[test]
fn a_file_that_says_nothing_of_this_run_judges_nothing() {
    let texts = [messages(ONE, 1, 1..=4)];
    let other = sent(TWO, &[line(1, 10)]);
    let found = report(&texts, &[&other], 1);
    assert!(found.notes[0].contains("no message that came has a stamp of its sender 00000002"));
    assert_eq!(found.judged.end, Extent::None);
    for (content, words) in [("", "the file is empty"), ("{}\n", "missing field")] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let found = report(&texts, &[&file], 1);
        assert!(found.notes[0].contains(words), "{found:?}");
    }
}

#[test]
fn a_run_reads_on_until_the_last_message_has_had_its_time() {
    let go = Arc::new(Barrier::new(2));
    let waits = Arc::clone(&go);
    let server = Server::start(move |_, stream: &mut TcpStream| {
        send(stream, HEAD);
        waits.wait();
        send(stream, &messages(ONE, 1, 1..=3));
        hold(stream);
    });
    let urls = server.urls(1);
    let future = as_us(wall_now()) + 3_600_000_000;
    let file = sent_at(ONE, &[line(1, 3)], future, Some(as_us(wall_now()) + 2_000_000));
    let path = file.path().to_str().unwrap();
    let flags = ["--json", "--report", "20ms", "--settle", "3s"];
    let mut running = start(&[&["--urls", urls.path(), "--sent", path], &flags[..]].concat());
    running.wait_for(|report| report.connected == 1);
    running.signal(Signal::INT);
    go.wait();
    let report = running.end().with_code(0).report();
    assert_eq!((report.messages, report.lost), (3, Some(0)));
}

#[test]
fn losses_of_any_kind_are_exact_for_twenty_seeds() {
    const N_IDS: u64 = 20;
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut lost, mut unanswered_missing) = (0, 0);
        let (mut texts, mut lines) = (Vec::new(), Vec::new());
        for id in 1..=N_IDS {
            let mut line = line(id, 150);
            let mut text = String::new();
            for n in 1..=line.n {
                // One in ten is refused; some are never answered, of which half come all the same.
                match random.next_u64() % 20 {
                    0 | 1 => line.failed.push((n, n)),
                    2 => line.unanswered.push((n, n)),
                    3 => {
                        line.unanswered.push((n, n));
                        unanswered_missing += 1;
                        continue;
                    }
                    4 => {
                        lost += 1;
                        continue;
                    }
                    _ => {}
                }
                if line.failed.last() != Some(&(n, n)) {
                    text += &message(ONE, id, n);
                }
            }
            texts.push(text);
            lines.push(line);
        }
        // Those that were not answered and came are not missing: count what is.
        let missing: u64 = lines
            .iter()
            .zip(&texts)
            .map(|(line, text)| {
                line.unanswered
                    .iter()
                    .filter(|(n, _)| !text.contains(&message(ONE, line.id, *n)))
                    .count() as u64
            })
            .sum();
        assert_eq!(missing, unanswered_missing);
        let report = report(&texts, &[&sent(ONE, &lines)], 1);
        assert_eq!(faults(&report), (Some(lost), Some(0), Some(0)), "seed {seed}");
        assert_eq!(report.unanswered_missing, unanswered_missing, "seed {seed}");
    }
}
