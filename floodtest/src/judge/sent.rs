//! What was sent and did not come, by the sender's own file (`--sent`).
//!
//! Stamps alone show what is missing between the first and the last message that came. With the
//! sender's file the beginning is judged as well, if the connection was there before the sender's
//! first message was due, and so is the end, if it was still there when the sender's last answer
//! came and for some time after. Numbers that failed are no loss, and those that were never
//! answered are counted apart: the server may never have had them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use reports::sent::{IdLine, Range, Sent, SentError};
use reports::stamp::as_us;

use super::follows::{Follows, FollowsError};
use super::joined::Joined;
use super::window::{Notice, Window};
use super::{BY_STAMPS, IN_GAP, Judge, LIFE_BITS, Life};

/// A connection as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Its row.
    pub(crate) row: u32,
    /// The ids that it follows.
    pub(crate) ids: Vec<u64>,
    /// Its first window.
    pub(crate) window: Window,
    /// When its response head came, in microseconds since the Unix epoch.
    pub(crate) head_unix_us: u64,
    /// When it was closed, if it was.
    pub(crate) closed_unix_us: Option<u64>,
    /// Which of its place's connections it is.
    pub(crate) life: Life,
}

/// What was sent, compared with what came.
#[derive(Debug)]
pub(crate) struct Join<'a> {
    /// The connections that were established.
    pub(crate) connections: &'a [Connection],
    /// Whom their ids follow, if `--follows` says it.
    pub(crate) follows: Option<&'a Result<Follows, FollowsError>>,
    /// Who knows their windows.
    pub(crate) judge: &'a Judge,
    /// When the last bytes were received, in microseconds since the Unix epoch.
    pub(crate) ended_unix_us: u64,
    /// How long a message may take after the sender's last answer.
    pub(crate) settle: Duration,
}

/// Connections whose series are put together at a time: with 16 of them each, some 30 MB.
const CONNECTIONS_AT_A_TIME: usize = 10_000;

/// What is said of a file that cannot be compared without knowing who follows whom.
const NO_FOLLOWS: &str = "its messages went to followers; --follows FILE says who they are";

/// How many numbers of a range were answered, and how many never were; the others failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Missing {
    /// Answered ones.
    answered: u64,
    /// Failed ones.
    failed: u64,
    /// Those that stay unanswered.
    unanswered: u64,
}

impl Missing {
    /// The numbers from `from` to `to` that were sent to an id.
    fn in_range(line: &IdLine, from: u64, to: u64) -> Self {
        let to = to.min(line.n);
        if from > to {
            return Self::default();
        }
        let failed = overlap(&line.failed, from, to);
        let unanswered = overlap(&line.unanswered, from, to);
        let answered = (to - from + 1).saturating_sub(failed).saturating_sub(unanswered);
        Self { answered, failed, unanswered }
    }

    /// Takes away what came after all.
    fn without(self, other: Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(other.answered),
            failed: self.failed.saturating_sub(other.failed),
            unanswered: self.unanswered.saturating_sub(other.unanswered),
        }
    }
}

/// How many numbers from `from` to `to` are in these ranges, which rise.
fn overlap(ranges: &[Range], from: u64, to: u64) -> u64 {
    let first = ranges.partition_point(|range| range.1 < from);
    let within = ranges[first..].iter().take_while(|range| range.0 <= to);
    within.map(|range| range.1.min(to) - range.0.max(from) + 1).sum()
}

/// What is known of one series: a connection and an id, by one sender.
#[derive(Debug, Default)]
struct Series {
    /// Whether the connection follows the id.
    is_followed: bool,
    /// What came.
    window: Option<Window>,
    /// Numbers that left the window as lost.
    lost: Vec<Range>,
    /// Numbers that came though they were below the base.
    early: Vec<u64>,
    /// Numbers that were left out while there was no connection.
    in_gaps: Vec<Range>,
    /// Whether there was another connection since the latest number came, so that what is missing
    /// behind it may have been sent before there was.
    is_in_gap: bool,
}

impl Join<'_> {
    /// Compares what the file at `path` says with what came.
    pub(crate) fn with(&self, path: &Path) -> Joined {
        let mut joined = Joined { path: path.to_owned(), ..Joined::default() };
        if let Err(error) = self.compare(path, &mut joined) {
            joined.problem = Some(match error {
                SentError::Read { path, source } => format!("cannot read {path}: {source}"),
                error @ SentError::Line { .. } => error.to_string(),
            });
        }
        joined
    }

    /// Reads the file and compares.
    fn compare(&self, path: &Path, joined: &mut Joined) -> Result<(), SentError> {
        let judge = self.judge;
        let mut ids: HashSet<u64> =
            self.connections.iter().flat_map(|it| it.ids.iter().copied()).collect();
        ids.extend(self.connections.iter().map(|it| it.window.id));
        ids.extend(judge.extras.iter().map(|(_, window)| window.id));
        let follows = self.follows.and_then(|follows| follows.as_ref().ok());
        let is_followed = |id| follows.is_some_and(|follows| follows.has_followed(id));
        let sent = Sent::read(path, |id| ids.contains(&id) || is_followed(id))?;
        // Of messages to ids alone it does not matter who follows whom.
        let follows = match (sent.header.followers, self.follows) {
            (false, _) => None,
            (true, Some(Ok(follows))) => Some(follows),
            (true, Some(Err(error))) => {
                joined.problem = Some(error.to_string());
                return Ok(());
            }
            (true, None) => {
                joined.problem = Some(format!("{}: {NO_FOLLOWS}", path.display()));
                return Ok(());
            }
        };
        joined.sender = Some(sent.header.sender);
        joined.is_unordered = sent.header.unordered;
        joined.has_end = sent.end.is_some();
        joined.has_more_gaps = judge.has_more_gaps;
        let sender = judge.places.get(&sent.header.sender).copied();
        // In parts, since a connection that follows many has as many series.
        for connections in self.connections.chunks(CONNECTIONS_AT_A_TIME) {
            let mut series = series(judge, sender, connections, follows);
            for connection in connections {
                let of_row = series.remove(&connection.row).unwrap_or_default();
                self.compare_connection(connection, of_row, &sent, joined);
            }
        }
        Ok(())
    }

    /// Compares what came on a connection, in these series, with what was sent.
    fn compare_connection(
        &self,
        connection: &Connection,
        series: HashMap<u64, Series>,
        sent: &Sent,
        joined: &mut Joined,
    ) {
        if connection.ids.is_empty() {
            joined.n_without_ids += 1;
        }
        let is_early = connection.head_unix_us <= sent.header.first_due_unix_us;
        let is_last = sent.end.as_ref().is_some_and(|end| {
            let until_us = connection.closed_unix_us.unwrap_or(self.ended_unix_us);
            until_us >= end.last_answer_unix_us.saturating_add(as_us(self.settle))
        });
        let mut is_expected = false;
        for (id, series) in series {
            let Some(line) = sent.ids.get(&id) else { continue };
            is_expected |= series.is_followed;
            let (is_early, is_last) =
                (is_early && series.is_followed, is_last && series.is_followed);
            let n_missing = series.compare(line, is_early, is_last, joined);
            if n_missing > 0 {
                *joined.by_row.entry(connection.row).or_default() += n_missing;
            }
        }
        if is_expected {
            joined.n_expected += 1;
            joined.n_beginning += u64::from(is_early);
            joined.n_late += u64::from(!is_early);
            joined.n_end += u64::from(is_last);
        }
    }
}

/// All series of these connections, whose rows rise, by the sender at this place: by connection and
/// id; where there is none, those that connections follow.
fn series(
    judge: &Judge,
    sender: Option<u16>,
    connections: &[Connection],
    follows: Option<&Follows>,
) -> HashMap<u32, HashMap<u64, Series>> {
    let mut all = HashMap::<u32, HashMap<u64, Series>>::new();
    for connection in connections {
        let of_row = all.entry(connection.row).or_default();
        for id in &connection.ids {
            of_row.entry(*id).or_default().is_followed = true;
            // What is about a user comes once, by however many of its ids a connection follows it.
            for followed in follows.map_or(&[][..], |follows| follows.of(*id)) {
                of_row.entry(*followed).or_default().is_followed = true;
            }
        }
        let window = &connection.window;
        if window.flags & BY_STAMPS != 0 && Some(window.sender) == sender {
            let series = of_row.entry(window.id).or_default();
            series.window = Some(*window);
            series.is_in_gap = window.flags & IN_GAP != 0;
        }
    }
    let is_its = |place: u16| Some(place) == sender;
    let lives: HashMap<u32, u8> = connections.iter().map(|it| (it.row, it.life.bits())).collect();
    for (row, window) in judge.extras.iter().filter(|(_, it)| is_its(it.sender)) {
        let (Some(life), Some(of_row)) = (lives.get(&row), all.get_mut(&row)) else { continue };
        let series = of_row.entry(window.id).or_default();
        series.window = Some(window);
        series.is_in_gap = *life != window.flags & LIFE_BITS;
    }
    for gap in judge.gaps.iter().filter(|gap| is_its(gap.sender)) {
        let Some(of_row) = all.get_mut(&gap.row) else { continue };
        let series = of_row.entry(gap.id).or_default();
        match gap.notice {
            Notice::Lost(from, to) => series.lost.push((from, to)),
            Notice::Early(number) => series.early.push(number),
            Notice::InGap(from, to) => series.in_gaps.push((from, to)),
        }
    }
    all
}

impl Series {
    /// Compares what came with what was sent to the id, from the first number on if `is_early`, up
    /// to the last if `is_last`; how many messages are lost that were not counted so before.
    fn compare(&self, line: &IdLine, is_early: bool, is_last: bool, joined: &mut Joined) -> u64 {
        let mut beyond = Missing::default();
        let mut add = |missing: Missing| {
            beyond.answered += missing.answered;
            beyond.unanswered += missing.unanswered;
        };
        match &self.window {
            // Of a connection that heard nothing it is known what it should have heard only if it
            // was there all the time.
            None if is_early && is_last => add(Missing::in_range(line, 1, line.n)),
            None => {}
            Some(window) => {
                if is_early {
                    let before = window.n_before() + self.early.len() as u64;
                    let came = self.early.iter().fold(Missing::default(), |all, number| {
                        let one = Missing::in_range(line, *number, *number);
                        Missing {
                            answered: all.answered + one.answered,
                            failed: all.failed + one.failed,
                            unanswered: all.unanswered + one.unanswered,
                        }
                    });
                    add(Missing::in_range(line, 1, before).without(came));
                }
                if is_last {
                    let missing = Missing::in_range(line, window.latest() + 1, line.n);
                    if self.is_in_gap {
                        joined.in_gaps += missing.answered;
                    } else {
                        add(missing);
                    }
                }
                for (from, to) in &self.in_gaps {
                    let missing = Missing::in_range(line, *from, *to);
                    joined.not_in_gaps += missing.failed + missing.unanswered;
                }
                let open = window.missing().map(|number| (number, number));
                for (from, to) in self.lost.iter().copied().chain(open) {
                    let missing = Missing::in_range(line, from, to);
                    joined.not_lost += missing.failed + missing.unanswered;
                    joined.unanswered_missing += missing.unanswered;
                }
            }
        }
        joined.lost += beyond.answered;
        joined.unanswered_missing += beyond.unanswered;
        beyond.answered
    }
}
