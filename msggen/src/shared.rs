//! What all sources of a run share.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::message::{Draft, Stamps, Text};
use crate::order::{Numbers, PipeKey};
use crate::receipt::Receipt;
use crate::tally::Tally;
use crate::timer::Timer;

/// Bytes of memory for writing messages that are kept from one request to the next.
const SCRATCH_BYTES: usize = 1024 * 1024;

/// What all sources of a run share.
#[derive(Debug)]
pub struct Shared {
    /// Wakes them when messages are due, and stops them.
    pub timer: Timer,
    /// What messages say.
    pub text: Text,
    /// The stamps that messages carry, if they do.
    pub stamps: Option<Stamps>,
    /// The numbers that messages have, if they do. Held for the messages of one request, never
    /// while waiting, and never together with the tally.
    pub numbers: Option<Mutex<Numbers>>,
    /// Memory to write messages in.
    pub scratch: Mutex<(String, String)>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What became of the messages. Held for an update and never while waiting.
    pub tally: Mutex<Tally>,
}

impl Shared {
    /// The tally, for one update or one look.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no update of the tally panics")
    }

    /// Counts messages as sent at `sent_at`.
    pub fn sent(&self, drafts: &[Draft], sent_at: Instant) {
        let mut tally = self.tally();
        for draft in drafts {
            tally.sent(draft, sent_at);
        }
    }

    /// Counts what became of messages that were sent at `sent_at`, which is known now.
    pub fn ended(
        &self,
        drafts: impl ExactSizeIterator<Item = Draft> + Clone,
        sent_at: Instant,
        receipt: Receipt,
    ) {
        // The tally is let go of before the numbers are taken. The numbers wake sources, and what
        // is sent next to these ids must find this message ended.
        self.tally().ended(drafts.clone(), sent_at, receipt, Instant::now());
        if let Some(mut numbers) = self.numbers() {
            numbers.ended(drafts, &receipt, |source| self.timer.nudge(source));
        }
    }

    /// The numbers, for the messages of one request.
    pub fn numbers(&self) -> Option<MutexGuard<'_, Numbers>> {
        let numbers = self.numbers.as_ref()?;
        Some(numbers.lock().expect("no change of the numbers panics"))
    }

    /// Memory to write messages in, which keeps what it has grown to.
    pub fn take_scratch(&self) -> (String, String) {
        std::mem::take(&mut self.scratch.lock().expect("nothing panics with it"))
    }

    /// Gives it back, unless it is large: one batch is not to hold memory for the whole run.
    pub fn put_scratch(&self, scratch: (String, String)) {
        if scratch.0.capacity() <= SCRATCH_BYTES {
            *self.scratch.lock().expect("nothing panics with it") = scratch;
        }
    }

    /// Gives back the place of a message that is not sent.
    pub fn give_back(&self, draft: &Draft, pipe: PipeKey) {
        if draft.has_place
            && let Some(mut numbers) = self.numbers()
        {
            numbers.give_back(draft.id, pipe, |source| self.timer.nudge(source));
        }
    }

    /// Notes a message that was not sent because nothing more was to be sent from `stopped_at` on.
    pub fn forget(&self, draft: &Draft, stopped_at: Instant) {
        if let Some(due_at) = draft.due_at {
            self.tally().fell_behind(stopped_at.saturating_duration_since(due_at));
        }
    }
}
