//! The numbers of messages, and that messages to one id are sent one after the other.
//!
//! A message gets its number when it is written, so that whoever reads them finds 1, 2, 3, …. That
//! is worth something only where nothing overtakes: two requests on two connections may be served
//! in either order. So the next message to an id is sent when the last one was answered, or behind
//! it on the same connection. Whoever cannot send yet waits in line, and is woken when it is its
//! turn.

use std::collections::VecDeque;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::ids::Population;
use crate::message::Draft;
use crate::misses::Misses;
use crate::numbers::Table;
use crate::receipt::{Miss, Receipt};

/// Messages to one id that may be on their way with `--unordered`. A server that does not answer
/// for one id holds up no more than these.
pub const UNORDERED_ON_THEIR_WAY: u64 = 32;

/// A pipe: the way of one source to one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PipeKey {
    /// The source's number.
    pub source: usize,
    /// The target's number.
    pub target: usize,
}

impl PipeKey {
    /// Its claim as it stands in the word of an id. An id has one target, so the source is enough.
    fn claim(self) -> u64 {
        self.source as u64 + 1
    }
}

/// When a message to an id may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// When none is on its way, or behind those that are in the same pipe: a pipe has one
    /// connection, on which nothing overtakes.
    BehindInPipe,
    /// When fewer than so many are on their way.
    Fewer(u64),
    /// At once: all messages to an id go one way, on which nothing overtakes.
    OneWay,
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is not its turn. Its pipe is woken when it is.
    Wait,
    /// There is no room for another id's numbers.
    NoRoom,
}

/// The numbers of all messages, and whose turn it is.
#[derive(Debug)]
pub struct Numbers {
    /// When a message may be sent.
    rule: Rule,
    /// The word of each id.
    table: Table,
    /// The pipes that wait for an id, in line. A pipe is in the line of an id once.
    lines: HashMap<u64, VecDeque<PipeKey>, RandomState>,
    /// The ids whose turn came to a pipe that has not looked yet.
    turns: HashMap<PipeKey, Vec<u64>, RandomState>,
    /// The messages that were not answered; none when nobody asks for them.
    misses: Option<Misses>,
}

impl Numbers {
    /// Numbers for messages to the ids of `population`.
    pub fn new(population: &Population, rule: Rule, misses: Option<Misses>) -> Self {
        Self {
            rule,
            table: Table::new(population),
            lines: HashMap::default(),
            turns: HashMap::default(),
            misses,
        }
    }

    /// The highest number of every id.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The messages that were not answered, if they are kept.
    pub fn misses(&self) -> Option<&Misses> {
        self.misses.as_ref()
    }

    /// Takes a place for a message of `pipe` to `id`, or puts the pipe in line.
    pub fn claim(&mut self, id: u64, pipe: PipeKey) -> Result<(), Hold> {
        if !self.table.has_room(id) {
            return Err(Hold::NoRoom);
        }
        let word = self.table.get(id);
        let claim = match (self.rule, word.claim()) {
            (Rule::OneWay, claim) => Some(claim),
            // Nobody waits where nothing is on its way.
            (Rule::BehindInPipe, 0) => Some(pipe.claim()),
            // Where others wait, a pipe goes to the end of the line, or it would keep the id.
            (Rule::BehindInPipe, claim) => {
                (claim == pipe.claim() && !word.is_contended()).then_some(claim)
            }
            (Rule::Fewer(limit), n) => (n < limit && !word.is_contended()).then_some(n + 1),
        };
        if let Some(claim) = claim {
            self.table.set(id, word.with_claim(claim));
            return Ok(());
        }
        self.table.set(id, word.with_contended(true));
        self.lines.entry(id).or_default().push_back(pipe);
        Err(Hold::Wait)
    }

    /// The number of the next message to `id`, for which a place was taken.
    pub fn next(&mut self, id: u64) -> u64 {
        let word = self.table.get(id).next();
        self.table.set(id, word);
        word.number()
    }

    /// Whether one turn is for all messages of a pipe to an id that wait.
    pub fn is_for_all(&self) -> bool {
        self.rule == Rule::BehindInPipe
    }

    /// The ids whose turn came to `pipe`.
    pub fn turns(&mut self, pipe: PipeKey) -> Vec<u64> {
        self.turns.remove(&pipe).unwrap_or_default()
    }

    /// Gives back a place that was taken for a message of `pipe` which was never sent.
    pub fn give_back(&mut self, id: u64, pipe: PipeKey, wake: impl FnMut(usize)) {
        if self.rule != Rule::BehindInPipe || self.table.get(id).claim() == pipe.claim() {
            self.release(id, wake);
        }
    }

    /// Notes what became of messages that were sent, of which the first were answered as `receipt`
    /// says. The next ones to their ids may be sent.
    pub fn ended(
        &mut self,
        drafts: impl Iterator<Item = Draft>,
        receipt: &Receipt,
        mut wake: impl FnMut(usize),
    ) {
        for (draft, k) in drafts.zip(0..).filter(|(draft, _)| draft.number > 0) {
            // In a pipe answers come in order, so the last one sent is the last one answered.
            if self.rule != Rule::BehindInPipe || self.table.get(draft.id).number() == draft.number
            {
                self.release(draft.id, &mut wake);
            }
            let Some(misses) = &mut self.misses else { continue };
            match receipt.miss {
                _ if k < receipt.n_taken() => {}
                Some(Miss::Failed(_)) => misses.failed(draft.id, draft.number),
                _ => misses.unanswered(draft.id, draft.number),
            }
        }
    }

    /// Passes a place on to the next in line, if there is one.
    fn release(&mut self, id: u64, mut wake: impl FnMut(usize)) {
        if self.rule == Rule::OneWay {
            return;
        }
        let word = self.table.get(id);
        if !word.is_contended() {
            let claim = match self.rule {
                Rule::BehindInPipe => 0,
                Rule::Fewer(_) => word.claim() - 1,
                Rule::OneWay => word.claim(),
            };
            return self.table.set(id, word.with_claim(claim));
        }
        let line = self.lines.get_mut(&id).expect("an id that is contended has a line");
        let next = line.pop_front().expect("and somebody in it");
        let is_contended = !line.is_empty();
        if !is_contended {
            self.lines.remove(&id);
        }
        let word = word.with_contended(is_contended);
        self.table.set(
            id,
            match self.rule {
                Rule::BehindInPipe => word.with_claim(next.claim()),
                Rule::Fewer(_) | Rule::OneWay => word,
            },
        );
        self.turns.entry(next).or_default().push(id);
        wake(next.source);
    }
}

/// The messages of a pipe that wait for their turn.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Those to each id, in their order, and since when they have waited.
    groups: HashMap<u64, VecDeque<(Draft, Instant)>, RandomState>,
    /// How many there are.
    n_drafts: usize,
}

impl Waiting {
    /// How many messages wait.
    pub fn n_drafts(&self) -> usize {
        self.n_drafts
    }

    /// Adds a message, if others to the same id wait already.
    pub fn push_behind(&mut self, draft: &Draft, now: Instant) -> bool {
        let group = if self.n_drafts > 0 { self.groups.get_mut(&draft.id) } else { None };
        group.is_some_and(|group| {
            group.push_back((*draft, now));
            self.n_drafts += 1;
            true
        })
    }

    /// Adds a message, the first one to its id.
    pub fn push(&mut self, draft: Draft, now: Instant) {
        self.groups.entry(draft.id).or_default().push_back((draft, now));
        self.n_drafts += 1;
    }

    /// Takes the messages whose turn has come, each with the time that it waited.
    pub fn take_turns(
        &mut self,
        numbers: &mut Numbers,
        pipe: PipeKey,
        now: Instant,
        mut take: impl FnMut(Draft),
    ) {
        for id in numbers.turns(pipe) {
            let group = self.groups.get_mut(&id).expect("a pipe waits for what it lined up for");
            while let Some((draft, since)) = group.pop_front() {
                self.n_drafts -= 1;
                let waited = now.saturating_duration_since(since);
                // Its source could not have sent it before.
                take(Draft { has_place: true, waited, ..draft.free_at(now) });
                let goes_on = numbers.is_for_all() || group.is_empty();
                if !goes_on && numbers.claim(id, pipe).is_err() {
                    break;
                }
            }
            if group.is_empty() {
                self.groups.remove(&id);
            }
        }
    }

    /// Takes all messages: nothing more is to be sent.
    pub fn drain(&mut self) -> impl Iterator<Item = Draft> {
        self.n_drafts = 0;
        self.groups.drain().flat_map(|(_, group)| group).map(|(draft, _)| draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::Reason;

    /// The pipe of a source to the only target.
    fn pipe(source: usize) -> PipeKey {
        PipeKey { source, target: 0 }
    }

    /// A message to `id` that was sent with this number.
    fn sent(id: u64, number: u64) -> Draft {
        Draft { number, ..Draft::new(1, id, None) }
    }

    /// Numbers for nine ids.
    fn numbers(rule: Rule) -> Numbers {
        Numbers::new(&Population::UpTo(9), rule, Some(Misses::default()))
    }

    /// Ends messages to `id`, and returns the sources that are woken.
    fn end(numbers: &mut Numbers, id: u64, sent_numbers: &[u64], receipt: &Receipt) -> Vec<usize> {
        let mut woken = Vec::new();
        let drafts = sent_numbers.iter().map(|number| sent(id, *number));
        numbers.ended(drafts, receipt, |source| woken.push(source));
        woken
    }

    const ANSWERED: Receipt = Receipt {
        answered: 9,
        written: 0,
        reached: 0,
        void: 0,
        connections: 0,
        followers: 0,
        miss: None,
    };

    #[test]
    fn a_lane_sends_behind_its_own_messages_and_others_wait_in_line() {
        let mut numbers = numbers(Rule::BehindInPipe);
        let send = |numbers: &mut Numbers, source| {
            numbers.claim(7, pipe(source)).map(|()| numbers.next(7))
        };
        assert_eq!(send(&mut numbers, 0), Ok(1));
        assert_eq!(send(&mut numbers, 0), Ok(2));
        assert_eq!(send(&mut numbers, 1), Err(Hold::Wait));
        assert_eq!(send(&mut numbers, 2), Err(Hold::Wait));
        // It would never end if the first could always go on.
        assert_eq!(send(&mut numbers, 0), Err(Hold::Wait));
        assert_eq!(end(&mut numbers, 7, &[1], &ANSWERED), [0; 0]);
        assert_eq!(end(&mut numbers, 7, &[2], &ANSWERED), [1]);
        assert_eq!((numbers.turns(pipe(1)), numbers.turns(pipe(2))), (vec![7], vec![]));
        assert_eq!(numbers.next(7), 3);
        // One whose message is never sent passes its turn on.
        assert_eq!(end(&mut numbers, 7, &[3], &ANSWERED), [2]);
        let mut woken = Vec::new();
        numbers.give_back(7, pipe(2), |source| woken.push(source));
        assert_eq!((woken, numbers.turns(pipe(0))), (vec![0], vec![7]));
        assert_eq!(numbers.next(7), 4);
        assert_eq!(end(&mut numbers, 7, &[4], &ANSWERED), [0; 0]);
        assert_eq!(numbers.claim(7, pipe(5)), Ok(()));
    }

    #[test]
    fn as_many_as_the_rule_allows_are_on_their_way() {
        let mut numbers = numbers(Rule::Fewer(2));
        assert_eq!(
            [0, 0, 1].map(|source| numbers.claim(7, pipe(source)).is_ok()),
            [true, true, false]
        );
        assert_eq!(numbers.claim(8, pipe(1)), Ok(()), "another id");
        assert_eq!((numbers.next(7), numbers.next(7)), (1, 2));
        assert_eq!(end(&mut numbers, 7, &[2], &ANSWERED), [1]);
        assert_eq!(numbers.claim(7, pipe(3)), Err(Hold::Wait), "the place was passed on");
    }

    #[test]
    fn on_one_way_nobody_waits_and_what_is_missing_is_noted() {
        let mut numbers = numbers(Rule::OneWay);
        for number in 1..=3 {
            assert_eq!(numbers.claim(7, pipe(number)), Ok(()));
            assert_eq!(numbers.next(7), number as u64);
        }
        assert_eq!(end(&mut numbers, 7, &[1, 2], &Receipt::written(2)), [0; 0]);
        let cut = Receipt::nothing(Miss::Unanswered(Reason::Cut));
        assert_eq!(end(&mut numbers, 7, &[3], &cut), [0; 0]);
        assert_eq!(numbers.misses().unwrap().of(7), (&[][..], &[(3, 3)][..]));
    }

    #[test]
    fn an_answer_that_is_missing_frees_the_id_and_is_noted() {
        let mut numbers = numbers(Rule::BehindInPipe);
        for number in 1..=4 {
            assert_eq!(numbers.claim(7, pipe(0)).map(|()| numbers.next(7)), Ok(number));
        }
        let failed = Some(Miss::Failed(Reason::Status(503)));
        end(&mut numbers, 7, &[1, 2], &Receipt { answered: 1, miss: failed, ..ANSWERED });
        end(&mut numbers, 7, &[3, 4], &Receipt::nothing(Miss::Unanswered(Reason::Cut)));
        assert_eq!(numbers.misses().unwrap().of(7), (&[(2, 2)][..], &[(3, 4)][..]));
        assert_eq!(numbers.claim(7, pipe(1)), Ok(()));
    }

    #[test]
    fn an_id_for_whose_number_there_is_no_room_is_refused() {
        let mut numbers = numbers(Rule::Fewer(1));
        numbers.table = Table::Sparse(HashMap::default(), 2);
        let mut claim = |id| numbers.claim(id, pipe(0));
        assert_eq!([claim(1), claim(2), claim(3)], [Ok(()), Ok(()), Err(Hold::NoRoom)]);
        assert_eq!(claim(2), Err(Hold::Wait));
    }
}
