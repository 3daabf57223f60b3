//! Which messages came, which are missing, and how much of that is known.
//!
//! A connection is judged by one thing only: by the sender's stamps where its first message has
//! one, by the server's numbers otherwise. Each series of numbers has a [`Window`]: the first of a
//! connection is in its row, those of further senders and ids are in a table.
//!
//! - `window`: which numbers of a series have come
//! - `extra`: the table of further windows
//! - `follows`: whom the users of connections follow
//! - `sent`, `joined`: what was sent, from the sender's file, and what of it is missing

mod extra;
pub(crate) mod follows;
pub(crate) mod joined;
pub(crate) mod sent;
pub(crate) mod window;

use std::collections::HashMap;
use std::str::FromStr;

use reports::stamp::{Mark, Sender};
use serde::{Deserialize, Serialize};

use crate::tally::Tally;
use extra::Extras;
pub use window::{Found, Notice, WINDOW_NUMBERS, Window};

/// Windows that there may be in a process beyond the first of each connection, if nothing else is
/// said: 32 bytes each, so that they take some 50 MB at most.
pub const DEFAULT_MAX_WINDOWS: u64 = 1_000_000;

/// Gaps that are remembered with their numbers, so that those that the sender never sent can be
/// told from lost ones: 48 bytes each. With more, what is lost is not known.
const MAX_GAPS: usize = 1_000_000;

/// Senders that are told apart. A run has a few; each restart of one adds one.
const MAX_SENDERS: usize = 60_000;

/// What messages are judged by: the value of `--judge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JudgeBy {
    /// Stamps of msggen only.
    Stamps,
    /// Numbers of the server only.
    Numbers,
}

/// Why a text is no [`JudgeBy`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not what messages are judged by: \"{0}\"; write stamps or numbers")]
pub struct JudgeByError(String);

impl FromStr for JudgeBy {
    type Err = JudgeByError;

    fn from_str(text: &str) -> Result<Self, JudgeByError> {
        match text {
            "stamps" => Ok(Self::Stamps),
            "numbers" => Ok(Self::Numbers),
            _ => Err(JudgeByError(text.to_owned())),
        }
    }
}

/// What the server's numbers count: the value of `--numbers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NumbersAre {
    /// The messages of a connection, one by one: a number that is left out is a lost message.
    Consecutive,
    /// Something else that rises: only duplicates and order are judged.
    Rising,
}

/// Why a text is no [`NumbersAre`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not what numbers are: \"{0}\"; write consecutive or rising")]
pub struct NumbersAreError(String);

impl FromStr for NumbersAre {
    type Err = NumbersAreError;

    fn from_str(text: &str) -> Result<Self, NumbersAreError> {
        match text {
            "consecutive" => Ok(Self::Consecutive),
            "rising" => Ok(Self::Rising),
            _ => Err(NumbersAreError(text.to_owned())),
        }
    }
}

/// The connection is judged by stamps.
const BY_STAMPS: u8 = 1;
/// The connection is judged by numbers.
const BY_NUMBERS: u8 = 2;
/// One number has come, so that a stamp may still take over.
const IS_SINGLE: u8 = 4;
/// A number was left out.
const HAS_JUMPED: u8 = 8;
/// The gaps that were open at the close are counted.
const IS_CLOSED: u8 = 16;

/// The place has had another connection since the latest number came.
const IN_GAP: u8 = 32;

/// What a further window keeps of the life in which its latest number came: the last bits of the
/// life's number, in its flags. A place that hears nothing of a series for exactly so many lives is
/// taken for one that had a connection all the time.
const LIFE_BITS: u8 = 31;

/// A gap, or a number that came though it was below its series' base.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// The id of the series.
    id: u64,
    /// What was noticed.
    notice: Notice,
    /// The connection.
    row: u32,
    /// The sender of the series.
    sender: u16,
}

/// The judge of one process.
#[derive(Debug)]
pub(crate) struct Judge {
    /// What the user wants messages to be judged by.
    by: Option<JudgeBy>,
    /// Whether the sender's file will say what was sent.
    has_sent: bool,
    /// The senders that were met; the place of the first is 1.
    senders: Vec<Sender>,
    /// Their places.
    places: HashMap<Sender, u16>,
    /// The sender that was met last: mostly there is but one.
    latest: (Sender, u16),
    /// The windows beyond the first of each connection.
    extras: Extras,
    /// What was noticed of series by stamps, if `has_sent`.
    gaps: Vec<Gap>,
    /// Whether there were more.
    has_more_gaps: bool,
}

/// Which of its place's connections one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// How many there were before it.
    pub(crate) number: u32,
    /// Whether the server was told which message came last.
    pub(crate) is_resumed: bool,
}

impl Life {
    /// What a further window keeps of it.
    fn bits(self) -> u8 {
        self.number.to_le_bytes()[0] & LIFE_BITS
    }
}

/// What a mark is judged with.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// The connection.
    pub(crate) row: u32,
    /// Its window.
    pub(crate) window: &'a mut Window,
    /// Its messages lost, duplicated and reordered so far.
    pub(crate) faults: &'a mut u16,
    /// Whether its numbers are those of this project's server, which begin at 1.
    pub(crate) is_comet: bool,
    /// Which of its place's connections it is.
    pub(crate) life: Life,
    /// The counters of the run.
    pub(crate) tally: &'a mut Tally,
}

impl Case<'_> {
    /// Counts what a window has found.
    fn count(&mut self, found: Found) {
        self.tally.numbered += 1;
        self.tally.found.add(found);
        let n_faults = u16::try_from(found.n_faults()).unwrap_or(u16::MAX);
        *self.faults = self.faults.saturating_add(n_faults);
    }

    /// An empty window for the connection's numbers.
    fn window_of_numbers(&self) -> Window {
        if self.is_comet { Window::from_one() } else { Window::from_first() }
    }
}

impl Judge {
    /// A judge that has seen nothing.
    pub(crate) fn new(by: Option<JudgeBy>, has_sent: bool, max_windows: u64) -> Self {
        Self {
            by,
            has_sent,
            senders: Vec::new(),
            places: HashMap::new(),
            latest: (Sender::default(), 0),
            extras: Extras::new(usize::try_from(max_windows).unwrap_or(usize::MAX)),
            gaps: Vec::new(),
            has_more_gaps: false,
        }
    }

    /// Whether the numbers of a connection matter.
    pub(crate) fn wants_numbers(&self, window: &Window) -> bool {
        self.by != Some(JudgeBy::Stamps) && window.flags & BY_STAMPS == 0
    }

    /// Judges a message by the server's number; whether it was.
    pub(crate) fn number(&mut self, number: u64, case: &mut Case<'_>) -> bool {
        // The largest number has no successor, and nobody counts that far.
        if !self.wants_numbers(case.window) || number == u64::MAX {
            return false;
        }
        if case.window.flags & BY_NUMBERS == 0 {
            let flags = case.window.flags | BY_NUMBERS | IS_SINGLE;
            *case.window = Window { flags, ..case.window_of_numbers() };
            case.tally.heard += 1;
            case.tally.n_by_numbers += 1;
            if case.is_comet {
                case.tally.n_from_one += 1;
            }
        } else if case.window.flags & IN_GAP == 0 {
            Self::follow(number, case);
        }
        let found = record_first(case, number, |_| {});
        case.count(found);
        true
    }

    /// Notes whether the numbers of a connection, the second and later ones, follow each other.
    fn follow(number: u64, case: &mut Case<'_>) {
        let is_second = case.window.flags & IS_SINGLE != 0;
        case.window.flags &= !IS_SINGLE;
        if case.is_comet {
            return;
        }
        if is_second {
            case.tally.n_sequenced += 1;
        }
        let jump = number.saturating_sub(case.window.latest());
        if jump > 1 {
            if case.window.flags & HAS_JUMPED == 0 {
                case.window.flags |= HAS_JUMPED;
                case.tally.n_jumped += 1;
            }
            case.tally.jumps.get_or_insert_default().record_us(jump);
        }
    }

    /// Judges a message by the sender's stamp; whether it was.
    pub(crate) fn stamp(&mut self, mark: Mark, case: &mut Case<'_>) -> bool {
        // Numbers that begin at 1 show more than stamps alone: what is missing before the first.
        let prefers_numbers = case.is_comet && !self.has_sent && self.by.is_none();
        if self.by == Some(JudgeBy::Numbers) || prefers_numbers {
            self.see(mark.sender, case.tally);
            return false;
        }
        if case.window.flags & BY_NUMBERS != 0 && !Self::take_over(case) {
            return false;
        }
        let Some(sender) = self.see(mark.sender, case.tally) else {
            case.tally.unjudged += 1;
            return true;
        };
        if case.window.flags & BY_STAMPS == 0 {
            *case.window = Window { flags: BY_STAMPS, ..Window::from_first() };
            case.tally.heard += 1;
            case.tally.n_by_stamps += 1;
        }
        if !case.window.has_begun() {
            (case.window.sender, case.window.id) = (sender, mark.id);
        }
        let (row, key) = (case.row, (case.row, sender, mark.id));
        let (gaps, has_more) = (&mut self.gaps, &mut self.has_more_gaps);
        let has_sent = self.has_sent;
        let notice = |notice| {
            if has_sent && gaps.len() < MAX_GAPS {
                gaps.push(Gap { id: mark.id, notice, row, sender });
            } else if has_sent {
                *has_more = true;
            }
        };
        let is_first = (case.window.sender, case.window.id) == (sender, mark.id);
        let life = case.life;
        let found = if mark.n == 0 || mark.n == u64::MAX {
            None
        } else if is_first {
            Some(record_first(case, mark.n, notice))
        } else {
            self.extras.change(key, mark.n, |window| record_further(window, life, mark.n, notice))
        };
        match found {
            Some(found) => case.count(found),
            None => case.tally.unjudged += 1,
        }
        true
    }

    /// Lets stamps judge a connection on which one number has come: it was of the message whose
    /// stamp this is. Whether they do.
    fn take_over(case: &mut Case<'_>) -> bool {
        if case.window.flags & IS_SINGLE == 0 {
            return false;
        }
        let found = case.window_of_numbers().record(case.window.latest(), |_| {});
        case.tally.found.take_back(found);
        case.tally.numbered -= 1;
        case.tally.heard -= 1;
        case.tally.n_by_numbers -= 1;
        if case.is_comet {
            case.tally.n_from_one -= 1;
        }
        *case.faults = 0;
        *case.window = Window::default();
        true
    }

    /// The place of a sender; `None` if there are too many.
    fn see(&mut self, sender: Sender, tally: &mut Tally) -> Option<u16> {
        if self.latest.1 > 0 && self.latest.0 == sender {
            return Some(self.latest.1);
        }
        let place = match self.places.get(&sender) {
            Some(place) => *place,
            None if self.senders.len() >= MAX_SENDERS => return None,
            None => {
                self.senders.push(sender);
                let place = u16::try_from(self.senders.len()).expect("there are no more");
                self.places.insert(sender, place);
                tally.senders.insert(sender);
                place
            }
        };
        self.latest = (sender, place);
        Some(place)
    }

    /// Takes in the end of a connection whose place gets another one. Stamps go on over it, and so
    /// do numbers if the server is told which came last (`keeps_numbers`); otherwise they begin
    /// again.
    pub(crate) fn end_life(
        window: &mut Window,
        faults: &mut u16,
        keeps_numbers: bool,
        tally: &mut Tally,
    ) {
        if window.flags & BY_STAMPS != 0 || keeps_numbers && window.flags & BY_NUMBERS != 0 {
            window.flags = window.flags & !IS_SINGLE | IN_GAP;
            return;
        }
        let n_missing = window.n_missing();
        tally.found.lost = tally.found.lost.saturating_add(n_missing);
        *faults = faults.saturating_add(u16::try_from(n_missing).unwrap_or(u16::MAX));
        *window = Window::default();
    }

    /// Counts the gaps of a connection that was closed.
    pub(crate) fn closed(window: &mut Window, tally: &mut Tally) {
        window.flags |= IS_CLOSED;
        tally.found.lost = tally.found.lost.saturating_add(window.n_missing());
    }

    /// Counts the gaps that are open at the end in the first window of a connection; the faults of
    /// the connection that are not counted in its row.
    pub(crate) fn finish(window: &Window, tally: &mut Tally) -> u64 {
        if window.flags & IS_CLOSED == 0 {
            tally.found.lost = tally.found.lost.saturating_add(window.n_missing());
        }
        window.n_missing()
    }

    /// Counts the gaps that are open at the end in all further windows; how many each connection
    /// has.
    pub(crate) fn finish_extras(&self, tally: &mut Tally) -> HashMap<u32, u64> {
        let mut by_row = HashMap::<u32, u64>::new();
        for (row, window) in self.extras.iter().filter(|(_, window)| window.n_missing() > 0) {
            tally.found.lost = tally.found.lost.saturating_add(window.n_missing());
            *by_row.entry(row).or_default() += window.n_missing();
        }
        by_row
    }
}

/// Takes in a number of the first window of a connection.
fn record_first(case: &mut Case<'_>, number: u64, notice: impl FnMut(Notice)) -> Found {
    let window = &mut *case.window;
    if window.flags & IN_GAP == 0 {
        return window.record(number, notice);
    }
    if number > window.latest() {
        window.flags &= !IN_GAP;
    }
    window.record_after_gap(number, case.life.is_resumed, notice)
}

/// Takes in a number of a further window.
fn record_further(
    window: &mut Window,
    life: Life,
    number: u64,
    notice: impl FnMut(Notice),
) -> Found {
    if !window.has_begun() || window.flags & LIFE_BITS == life.bits() {
        window.flags = window.flags & !LIFE_BITS | life.bits();
        return window.record(number, notice);
    }
    if number > window.latest() {
        window.flags = window.flags & !LIFE_BITS | life.bits();
    }
    window.record_after_gap(number, life.is_resumed, notice)
}
