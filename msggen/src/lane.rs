//! What one source sends to one control door: its messages that wait for a connection, and its
//! requests that wait for their answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use crate::door::{Door, receipt_of_batch, receipt_of_one};
use crate::link::Answer;
use crate::message::Draft;
use crate::pool::{Held, Pool};
use crate::receipt::{Miss, Reason, Receipt};
use crate::sender::Shared;
use crate::template::push_json;

/// A control door and the connections to it.
#[derive(Debug)]
pub struct DoorTarget {
    /// How requests to it are written.
    pub door: Door,
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
}

/// How far a lane is from having a connection.
enum Way {
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
pub struct DoorLane {
    /// The source's number.
    source: u64,
    /// What it shares with the others.
    shared: Arc<Shared>,
    /// Where it sends.
    target: Arc<DoorTarget>,
    /// Messages that were not written yet.
    drafts: VecDeque<Draft>,
    /// The connection.
    way: Way,
    /// Requests without an answer, in their order.
    in_flight: VecDeque<Request>,
    /// When the messages of these requests were due, in their order.
    dues: VecDeque<Option<Instant>>,
    /// When to look whether the oldest request is too old. It is set again only when it has come,
    /// not with every request.
    look_at: Option<Pin<Box<Sleep>>>,
}

impl DoorLane {
    /// The lane of `source` to `target`.
    pub fn new(source: u64, shared: Arc<Shared>, target: Arc<DoorTarget>) -> Self {
        Self {
            source,
            shared,
            target,
            drafts: VecDeque::new(),
            way: Way::Closed,
            in_flight: VecDeque::new(),
            dues: VecDeque::new(),
            look_at: None,
        }
    }

    /// Takes a message to be sent.
    pub fn push(&mut self, draft: Draft) {
        self.drafts.push_back(draft);
    }

    /// Requests that are on their way or wait for it.
    pub fn n_requests(&self) -> usize {
        self.in_flight.len() + self.drafts.len().div_ceil(self.target.batch)
    }

    /// Gives up what was not written yet: nothing more is to be sent since `stopped_at`.
    pub fn forget_drafts(&mut self, stopped_at: Instant) {
        self.drafts.drain(..).for_each(|draft| self.shared.forget(&draft, stopped_at));
        if matches!(self.way, Way::Asked(_)) {
            self.way = Way::Closed;
        }
    }

    /// Goes on with everything. Completes when there are fewer requests than before.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let n_before = self.n_requests();
        if !self.drafts.is_empty() {
            match self.poll_way(context) {
                Poll::Ready(Ok(())) => self.write_drafts(),
                Poll::Ready(Err(reason)) => self.fail_drafts(reason),
                Poll::Pending => {}
            }
        }
        self.poll_answers(context);
        self.poll_age(context);
        if self.n_requests() < n_before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Completes when there is a connection, or when there will be none.
    fn poll_way(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        loop {
            self.way = match &mut self.way {
                Way::Open(_) => return Poll::Ready(Ok(())),
                Way::Closed => match self.target.pool.try_take() {
                    Some(held) => Way::Open(held),
                    None => Way::Asked(Box::pin(Arc::clone(&self.target.pool).take())),
                },
                Way::Asked(taking) => match ready!(taking.as_mut().poll(context)) {
                    Ok(held) => Way::Open(held),
                    Err(reason) => {
                        self.way = Way::Closed;
                        return Poll::Ready(Err(reason));
                    }
                },
            };
        }
    }

    /// Writes all messages that wait to be written.
    fn write_drafts(&mut self) {
        let Way::Open(held) = &mut self.way else { return };
        let (shared, outbox) = (&self.shared, held.link.outbox());
        let sent_at = Instant::now();
        let (mut body, clock) = (String::new(), shared.stamp_clock.as_ref());
        for drafts in self.drafts.make_contiguous().chunks(self.target.batch) {
            body.clear();
            if self.target.batch > 1 {
                let mut message = String::new();
                for draft in drafts {
                    body.push_str("{\"id\":");
                    push_number(draft.id, &mut body);
                    body.push_str(",\"msg\":\"");
                    message.clear();
                    shared.text.write(draft, self.source, sent_at, clock, &mut message);
                    push_json(&message, &mut body);
                    body.push_str("\"}\n");
                }
                self.target.door.write_batch(&body, outbox);
            } else {
                shared.text.write(&drafts[0], self.source, sent_at, clock, &mut body);
                self.target.door.write_one(drafts[0].id, &body, outbox);
            }
            shared.sent(drafts, sent_at);
            self.dues.extend(drafts.iter().map(|draft| draft.due_at));
            self.in_flight.push_back(Request { n: drafts.len() as u64, sent_at });
        }
        self.drafts.clear();
    }

    /// Counts messages that there is no connection for.
    fn fail_drafts(&mut self, reason: Reason) {
        let sent_at = Instant::now();
        let n = self.drafts.len() as u64;
        self.shared.sent(self.drafts.make_contiguous(), sent_at);
        self.dues.extend(self.drafts.drain(..).map(|draft| draft.due_at));
        self.end(&Request { n, sent_at }, Receipt::nothing(Miss::Failed(reason)));
    }

    /// Writes what the connection takes, and counts what it brings.
    fn poll_answers(&mut self, context: &mut Context<'_>) {
        if let Way::Open(held) = &mut self.way {
            let _ = held.link.poll_flush(context);
        }
        loop {
            let Way::Open(held) = &mut self.way else { return };
            let Poll::Ready(answer) = held.link.poll_answer(context) else { break };
            let Some(request) = self.in_flight.pop_front() else {
                // An answer that nobody asked for: what follows cannot be trusted either.
                self.way = Way::Closed;
                return;
            };
            match answer {
                Ok(answer) => {
                    let receipt = self.receipt(&answer, request.n);
                    self.end(&request, receipt);
                    if answer.is_last {
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
            && let Way::Open(held) = std::mem::replace(&mut self.way, Way::Closed)
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
        if self.target.batch > 1 { receipt_of_batch(answer, n) } else { receipt_of_one(answer) }
    }

    /// Counts what became of a request, the oldest one.
    fn end(&mut self, request: &Request, receipt: Receipt) {
        let n = usize::try_from(request.n).expect("its messages are in memory");
        self.shared.ended(self.dues.drain(..n), request.sent_at, receipt);
    }

    /// Ends the connection; what has no answer will get none.
    fn break_off(&mut self, reason: Reason) {
        self.way = Way::Closed;
        while let Some(request) = self.in_flight.pop_front() {
            self.end(&request, Receipt::nothing(Miss::Unanswered(reason)));
        }
    }
}

/// The end of a run that does not wait for the answers.
impl Drop for DoorLane {
    fn drop(&mut self) {
        self.break_off(Reason::Interrupted);
    }
}

/// Appends a number.
fn push_number(number: u64, to: &mut String) {
    use std::fmt::Write as _;
    write!(to, "{number}").expect("a string grows as needed");
}
