//! What one source sends to one control door: its messages that wait for a connection, and its
//! requests that wait for their answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use crate::control::ControlClient;
use crate::http1::{Answer, State};
use crate::message::Draft;
use crate::order::{Hold, Numbers, PipeKey, Waiting};
use crate::pool::{Held, Pool};
use crate::receipt::{Miss, Reason, Receipt};
use crate::shared::Shared;
use crate::template::push_json;

/// A control door and the connections to it.
#[derive(Debug)]
pub struct ControlTarget {
    /// How requests to it are written.
    pub client: ControlClient,
    /// The connections.
    pub pool: Arc<Pool>,
    /// Messages that may go in one request; 1 gives each a request of its own.
    pub batch: usize,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Request {
    /// Its messages.
    n: u64,
    /// When it was handed to the connection.
    sent_at: Instant,
    /// Where it ends, in bytes of all requests on the connection.
    ends_at: u64,
}

/// How far a pipe is from having a connection.
enum Slot {
    /// Nothing is to be sent.
    Closed,
    /// It waits for a connection.
    Asked(Pin<Box<dyn Future<Output = Result<Held, Reason>> + Send>>),
    /// It has one.
    Open(Held),
}

/// What one source sends to one control door.
///
/// It has a connection only while something is on its way, so that sources share few. Its requests
/// go out and are answered in their order.
pub struct ControlPipe {
    /// Whose it is and where it leads.
    key: PipeKey,
    /// What it shares with the others.
    shared: Arc<Shared>,
    /// Where it sends.
    target: Arc<ControlTarget>,
    /// Messages that were not written yet.
    drafts: VecDeque<Draft>,
    /// Messages that wait until those before them to the same id are answered.
    waiting: Waiting,
    /// The connection.
    slot: Slot,
    /// Whether the messages that are not written yet have waited for it.
    is_held: bool,
    /// Requests without an answer, in their order.
    in_flight: VecDeque<Request>,
    /// The messages of these requests, in their order.
    sent: VecDeque<Draft>,
    /// When to look whether the oldest request is too old. It is set again only when it has come,
    /// not with every request.
    look_at: Option<Pin<Box<Sleep>>>,
}

impl ControlPipe {
    /// The pipe `key` to `target`.
    pub fn new(key: PipeKey, shared: Arc<Shared>, target: Arc<ControlTarget>) -> Self {
        Self {
            key,
            shared,
            target,
            drafts: VecDeque::new(),
            waiting: Waiting::default(),
            slot: Slot::Closed,
            is_held: false,
            in_flight: VecDeque::new(),
            sent: VecDeque::new(),
            look_at: None,
        }
    }

    /// Takes a message to be sent.
    pub fn push(&mut self, draft: Draft) {
        self.drafts.push_back(draft);
    }

    /// Requests that are on their way or wait for it.
    pub fn n_requests(&self) -> usize {
        let n_drafts = self.drafts.len() + self.waiting.n_drafts();
        self.in_flight.len() + n_drafts.div_ceil(self.target.batch)
    }

    /// Gives up what was not written yet: nothing more is to be sent since `stopped_at`.
    pub fn forget_drafts(&mut self, stopped_at: Instant) {
        let drafts = self.drafts.drain(..).chain(self.waiting.drain());
        drafts.for_each(|draft| self.shared.forget(&draft, stopped_at));
        if matches!(self.slot, Slot::Asked(_)) {
            self.slot = Slot::Closed;
        }
    }

    /// Goes on with everything. Completes when there are fewer requests than before.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Writing comes before reading: a request that goes out in this turn may be answered in it.
        // The age is looked at last, so that an answer that is there counts, however late it is
        // read.
        let n_before = self.n_requests();
        self.take_turns();
        if !self.drafts.is_empty() {
            match self.poll_slot(context) {
                Poll::Ready(Ok(())) => self.write_drafts(),
                Poll::Ready(Err(reason)) => self.fail_drafts(reason),
                Poll::Pending => self.is_held = true,
            }
        }
        self.poll_answers(context);
        self.poll_age(context);
        if self.n_requests() < n_before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Completes when there is a connection, or when there will be none.
    fn poll_slot(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        loop {
            self.slot = match &mut self.slot {
                Slot::Open(_) => return Poll::Ready(Ok(())),
                Slot::Closed => match self.target.pool.try_take() {
                    Some(held) => Slot::Open(held),
                    None => Slot::Asked(Box::pin(Arc::clone(&self.target.pool).take())),
                },
                Slot::Asked(taking) => match ready!(taking.as_mut().poll(context)) {
                    Ok(held) => Slot::Open(held),
                    Err(reason) => {
                        self.slot = Slot::Closed;
                        return Poll::Ready(Err(reason));
                    }
                },
            };
        }
    }

    /// Takes the messages whose turn has come that they had to wait for.
    fn take_turns(&mut self) {
        if self.waiting.n_drafts() == 0 {
            return;
        }
        if let Some(mut numbers) = self.shared.numbers() {
            let take = |draft| self.drafts.push_back(draft);
            self.waiting.take_turns(&mut numbers, self.key, Instant::now(), take);
        }
    }

    /// Writes all messages that wait to be written and whose turn it is.
    fn write_drafts(&mut self) {
        // One time for all that is written now: stamps say it, and the delays count from it.
        // Numbers come right before the writing, and only to what is written: a number without a
        // message would be a lost one to whoever receives the others.
        let sent_at = Instant::now();
        self.number_drafts(sent_at);
        self.release_drafts(sent_at);
        let Slot::Open(held) = &mut self.slot else { return };
        let shared = &self.shared;
        let (source, stamps) = (self.key.source as u64, shared.stamps.as_ref());
        let (mut body, mut message) = shared.take_scratch();
        for drafts in self.drafts.make_contiguous().chunks(self.target.batch) {
            body.clear();
            if self.target.batch > 1 {
                for draft in drafts {
                    self.target.client.begin_line(draft.id, &mut body);
                    message.clear();
                    shared.text.write(draft, source, sent_at, stamps, &mut message);
                    push_json(&message, &mut body);
                    body.push_str("\"}\n");
                }
                self.target.client.write_batch(&body, held.http1.outbox());
            } else {
                shared.text.write(&drafts[0], source, sent_at, stamps, &mut body);
                self.target.client.write_one(drafts[0].id, &body, held.http1.outbox());
            }
            shared.sent(drafts, sent_at);
            self.sent.extend(drafts);
            let ends_at = held.http1.n_requested();
            self.in_flight.push_back(Request { n: drafts.len() as u64, sent_at, ends_at });
        }
        shared.put_scratch((body, message));
        self.drafts.clear();
    }

    /// Notes of messages that have waited for a connection that they could not have been written
    /// before `now`.
    fn release_drafts(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_held) {
            for draft in &mut self.drafts {
                *draft = draft.free_at(now);
            }
        }
    }

    /// Gives the messages that are to be written their numbers. Those whose turn it is not are put
    /// aside; those that can have no number fail.
    fn number_drafts(&mut self, now: Instant) {
        let Some(mut numbers) = self.shared.numbers() else { return };
        let (waiting, key, mut failed) = (&mut self.waiting, self.key, Vec::new());
        self.drafts.retain_mut(|draft| match number(draft, &mut numbers, waiting, key, now) {
            Ok(()) => true,
            Err(Hold::Wait) => false,
            Err(Hold::NoRoom) => {
                failed.push(*draft);
                false
            }
        });
        drop(numbers);
        if !failed.is_empty() {
            self.shared.sent(&failed, now);
            let receipt = Receipt::nothing(Miss::Failed(Reason::NoNumber));
            self.shared.ended(failed.into_iter(), now, receipt);
        }
    }

    /// Counts messages that there is no connection for. They were never sent, so they get no
    /// number: to whoever receives the others none is missing.
    fn fail_drafts(&mut self, reason: Reason) {
        let sent_at = Instant::now();
        self.release_drafts(sent_at);
        let drafts: Vec<Draft> = self.drafts.drain(..).collect();
        for draft in &drafts {
            self.shared.give_back(draft, self.key);
        }
        self.shared.sent(&drafts, sent_at);
        self.shared.ended(drafts.into_iter(), sent_at, Receipt::nothing(Miss::Failed(reason)));
    }

    /// Writes what the connection takes, and counts what it brings.
    fn poll_answers(&mut self, context: &mut Context<'_>) {
        if let Slot::Open(held) = &mut self.slot {
            let _ = held.http1.poll_flush(context);
        }
        while let Some(request) = self.in_flight.front() {
            let Slot::Open(held) = &mut self.slot else { return };
            let Poll::Ready(answer) = held.http1.poll_answer(context) else { return };
            let is_early = held.http1.n_taken() < request.ends_at;
            let request = self.in_flight.pop_front().expect("it was there");
            let state = match answer {
                Ok(Answer { is_last: false, .. }) if self.in_flight.is_empty() => {
                    held.http1.poll_state(context)
                }
                _ => State::Quiet,
            };
            match answer {
                // What comes behind the last answer that is owed was sent without being asked for,
                // and which of them is the answer to this request is not known. Nor can an answer
                // be to a request that is not all out, unless it is a refusal.
                Ok(answer) if state == State::Stray || is_early && answer.is_success() => {
                    self.target.pool.note_stray();
                    self.end(&request, Receipt::nothing(Miss::Unanswered(Reason::BadAnswer)));
                    return self.break_off(Reason::Cut);
                }
                Ok(answer) => {
                    let receipt = self.receipt(&answer, request.n);
                    self.end(&request, receipt);
                    if answer.is_last || state == State::Ended {
                        return self.break_off(Reason::Cut);
                    }
                }
                Err(Reason::BadAnswer) => {
                    // A comet server did not take this; of those behind it nothing is known.
                    self.end(&request, Receipt::nothing(Miss::Failed(Reason::BadAnswer)));
                    return self.break_off(Reason::Cut);
                }
                Err(reason) => {
                    self.end(&request, Receipt::nothing(Miss::Unanswered(reason)));
                    return self.break_off(reason);
                }
            }
        }
        if self.in_flight.is_empty()
            && matches!(self.slot, Slot::Open(_))
            && let Slot::Open(held) = std::mem::replace(&mut self.slot, Slot::Closed)
        {
            self.target.pool.put(held);
        }
    }

    /// Gives up when the oldest request has waited too long for its answer.
    fn poll_age(&mut self, context: &mut Context<'_>) {
        let timeout = self.shared.timeout;
        while let Some(oldest) = self.in_flight.front() {
            let too_old_at = oldest.sent_at + timeout;
            let look_at =
                self.look_at.get_or_insert_with(|| Box::pin(sleep_until(too_old_at.into())));
            if look_at.as_mut().poll(context).is_pending() {
                return;
            }
            if too_old_at <= Instant::now() {
                self.break_off(Reason::TimedOut);
            } else {
                look_at.as_mut().reset(too_old_at.into());
            }
        }
    }

    /// What an answer says of the `n` messages of its request.
    fn receipt(&self, answer: &Answer, n: u64) -> Receipt {
        self.target.client.receipt(answer, n, self.target.batch > 1)
    }

    /// Counts what became of a request, the oldest one.
    fn end(&mut self, request: &Request, receipt: Receipt) {
        let n = usize::try_from(request.n).expect("its messages are in memory");
        self.shared.ended(self.sent.range(..n).copied(), request.sent_at, receipt);
        self.sent.drain(..n);
    }

    /// Ends the connection; what has no answer will get none.
    fn break_off(&mut self, reason: Reason) {
        // The connection goes first, and not back to the pool: its answers would be taken for those
        // to other requests.
        self.slot = Slot::Closed;
        while let Some(request) = self.in_flight.pop_front() {
            self.end(&request, Receipt::nothing(Miss::Unanswered(reason)));
        }
    }
}

/// The end of a run that does not wait for the answers.
impl Drop for ControlPipe {
    fn drop(&mut self) {
        self.break_off(Reason::Interrupted);
    }
}

/// Gives a message its number, if it is its turn; puts it aside if it has to wait.
fn number(
    draft: &mut Draft,
    numbers: &mut Numbers,
    waiting: &mut Waiting,
    key: PipeKey,
    now: Instant,
) -> Result<(), Hold> {
    if !draft.has_place {
        if waiting.push_behind(draft, now) {
            return Err(Hold::Wait);
        }
        numbers.claim(draft.id, key).inspect_err(|hold| {
            if *hold == Hold::Wait {
                waiting.push(*draft, now);
            }
        })?;
    }
    draft.number = numbers.next(draft.id);
    Ok(())
}
