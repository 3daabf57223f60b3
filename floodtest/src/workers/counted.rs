//! What is known of one worker process by what it has said.

use super::wire::SaidWhole;
use crate::end::End;
use crate::error::Error;
use crate::reason::Reason;
use crate::slow_end::SlowEnd;
use crate::tally::Tally;
use crate::worst::Worst;

/// How a worker is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It works.
    Running,
    /// It has come to its end and said so.
    Done(End),
    /// It is gone without a word, or nobody knows what became of it.
    Gone,
}

/// What something that a worker said was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The counts that it was asked for.
    Answer,
    /// Counts that it was not asked for.
    News,
    /// That it knows its job.
    Ready,
    /// Its last counts.
    Last,
    /// Nothing that makes sense.
    Nonsense,
}

/// What is known of one worker process.
#[derive(Debug)]
pub(super) struct Counted {
    /// How it is.
    pub(super) state: State,
    /// Its latest counts.
    pub(super) tally: Tally,
    /// How often it had been asked for them.
    pub(super) n_answered: u64,
    /// Its connections with the most faults, once it has ended.
    pub(super) worst: Vec<Worst>,
    /// What became of its slow readers, likewise.
    pub(super) slow: Vec<SlowEnd>,
    /// Which one of the run it is, from 1 on.
    pub(super) number: u16,
    /// The number in the run of its first connection.
    first: u64,
    /// Whether it has said that it will not open a connection of a new place any more.
    is_settled: bool,
}

impl Counted {
    /// A worker that has said nothing.
    pub(super) fn new(number: u16, first: u64) -> Self {
        Self {
            state: State::Running,
            tally: Tally::default(),
            n_answered: 0,
            worst: Vec::new(),
            slow: Vec::new(),
            number,
            first,
            is_settled: false,
        }
    }

    /// Whether it works.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether it will not open any connection any more.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_running() || self.is_settled
    }

    /// Takes in one line that it has said.
    pub(super) fn take_in(&mut self, line: &[u8]) -> Result<Word, Error> {
        match serde_json::from_slice(line) {
            Ok(SaidWhole::Counts { n_asked, is_settled, tally }) => {
                let is_answer = n_asked > self.n_answered;
                (self.n_answered, self.is_settled, self.tally) = (n_asked, is_settled, tally);
                Ok(if is_answer { Word::Answer } else { Word::News })
            }
            Ok(SaidWhole::Done { end, tally, worst, slow }) => {
                (self.state, self.tally) = (State::Done(end), tally);
                (self.worst, self.slow) = (worst, slow);
                Ok(Word::Last)
            }
            Ok(SaidWhole::Ready) => Ok(Word::Ready),
            Ok(SaidWhole::Failed(why)) => Err(Error::Worker(why)),
            Err(_) => Ok(Word::Nonsense),
        }
    }

    /// Counts its connections as closed, because it has died.
    pub(super) fn has_died(&mut self) {
        self.state = State::Gone;
        self.tally.abandon(Reason::WorkerDied(self.number), self.first);
    }

    /// Counts its connections as unknown, because its host is lost.
    pub(super) fn is_lost(&mut self) {
        self.state = State::Gone;
        self.tally.lose_sight(self.first);
    }
}
