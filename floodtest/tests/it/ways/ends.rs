//! The beginning and the end of what was sent: with the sender's own file, messages that are
//! missing before the first and after the last one are known, whatever server and framing.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use reports::books::{Extent, FloodReport};
use reports::sent::{End, Header, IdLine, Range, VERSION};
use reports::stamp::Clock;

use super::body::{N_MESSAGES, SENDER, parts_of};
use super::carry::pieces;
use super::stage::{Ending, play};
use super::way::{Content, Framing, Number, Text, Way};

/// What became of the messages to one id, all of them of one sender.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Those that the server delivers.
    delivered: &'static [u64],
    /// How many were sent.
    n: u64,
    /// Those that it refused.
    failed: &'static [Range],
    /// Those that it did not answer.
    unanswered: &'static [Range],
    /// How many are lost.
    lost: u64,
}

/// Nothing special.
const FATE: Fate = Fate { delivered: &[], n: N_MESSAGES, failed: &[], unanswered: &[], lost: 0 };

/// Ids 1, 2, …
const FATES: [Fate; 7] = [
    Fate { delivered: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], ..FATE },
    // Before the first and in the middle.
    Fate { delivered: &[3, 4, 5, 6, 8, 9, 10, 11, 12], lost: 3, ..FATE },
    // After the last.
    Fate { delivered: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], lost: 2, ..FATE },
    // All.
    Fate { lost: 12, ..FATE },
    // What was refused is not lost, and what was not answered is counted apart.
    Fate {
        delivered: &[2, 3, 5, 6, 7, 8, 10, 11],
        failed: &[(1, 1), (4, 4)],
        unanswered: &[(9, 9), (12, 12)],
        ..FATE
    },
    // Nothing was sent.
    Fate { n: 0, ..FATE },
    // Refused at both ends, lost beside it.
    Fate { delivered: &[3], n: 5, failed: &[(1, 1), (5, 5)], lost: 2, ..FATE },
];

/// The file of the sender. The first message was due now.
fn sent(now_unix_us: u64, has_end: bool) -> String {
    let header = Header {
        sent: VERSION,
        sender: SENDER,
        seed: 1,
        unordered: false,
        followers: false,
        targets: vec!["http://127.0.0.1:1".into()],
        first_due_unix_us: now_unix_us,
    };
    let mut text = serde_json::to_string(&header).unwrap() + "\n";
    let n_of = |ranges: &[Range]| ranges.iter().map(|(from, to)| to - from + 1).sum::<u64>();
    let mut end = End { end: true, last_answer_unix_us: now_unix_us, ..End::default() };
    for (id, fate) in (1..).zip(FATES).filter(|(_, fate)| fate.n > 0) {
        let (failed, unanswered) = (fate.failed.to_vec(), fate.unanswered.to_vec());
        end.ids += 1;
        end.messages += fate.n;
        end.failed += n_of(&failed);
        end.unanswered += n_of(&unanswered);
        let line = IdLine { id, n: fate.n, failed, unanswered };
        writeln!(text, "{}", serde_json::to_string(&line).unwrap()).unwrap();
    }
    end.answered = end.messages - end.failed - end.unanswered;
    if has_end {
        writeln!(text, "{}", serde_json::to_string(&end).unwrap()).unwrap();
    }
    text
}

/// The report of a run of which the sender has written its file, or not all of it.
fn report(framing: Framing, content: Content, has_end: bool) -> (FloodReport, String) {
    let clock = Clock::start();
    let way = Way::new("ends", framing, content).says(Text::Stamped);
    let way = if content == Content::Comet { way.numbered(Number::Comet) } else { way };
    let scripts: Vec<_> = (1..)
        .zip(FATES)
        .map(|(id, fate)| pieces(&way, &parts_of(&way, id, fate.delivered, &clock)).0)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent.ndjson");
    let flags = ["--sent", path.to_str().unwrap(), "--settle", "1ms"];
    let write = || fs::write(&path, sent(clock.unix_us(Instant::now()), has_end)).unwrap();
    let ended = play(&scripts, Ending::Held, &flags, write).with_code(1);
    (ended.report(), ended.to_string())
}

#[test]
fn what_is_missing_before_the_first_and_after_the_last_message_is_known_from_the_sender() {
    for (framing, content) in [
        (Framing::Chunked, Content::Comet),
        (Framing::Chunked, Content::Events),
        (Framing::Close, Content::Events),
        (Framing::Length, Content::Lines),
        (Framing::Http10, Content::Bytes),
    ] {
        let (report, ended) = report(framing, content, true);
        let n_delivered: usize = FATES.iter().map(|fate| fate.delivered.len()).sum();
        let n_lost: u64 = FATES.iter().map(|fate| fate.lost).sum();
        let what = format!("{framing:?}, {content:?}\n{ended}");
        assert_eq!(report.messages, n_delivered as u64, "{what}");
        let faults = (report.lost, report.duplicated, report.reordered);
        assert_eq!(faults, (Some(n_lost), Some(0), Some(0)), "{what}");
        assert_eq!(report.unanswered_missing, 2, "{what}");
        assert_eq!((report.heard, report.unheard, report.late_joiners), (5, 2, 0), "{what}");
        let judged = (report.judged.beginning, report.judged.middle, report.judged.end);
        assert_eq!(judged, (Extent::All, Extent::All, Extent::All), "{what}");
    }
}

#[test]
fn without_the_last_line_of_the_sender_the_end_is_not_judged() {
    let (report, ended) = report(Framing::Close, Content::Events, false);
    // Those after the last message of a connection are not known to be missing.
    assert_eq!(report.lost, Some(4), "{ended}");
    assert_eq!(report.judged.beginning, Extent::All, "{ended}");
    assert_eq!(report.judged.end, Extent::None, "{ended}");
}
