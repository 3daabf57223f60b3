//! One connection of the control door: reads requests, has them answered, gathers the answers.
//!
//! Answers are gathered while requests are there, up to a bound, and written before it waits for
//! anything: nothing that was carried out stays unanswered, whatever follows it. While answers are
//! not taken nothing is read. It holds no room while it is idle.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::api::ControlApi;
use super::body::Body;
use super::head::{self, Ask, Denial, Parsed};
use super::held::{Held, Stop};
use super::places::{Notice, Phase, STALL_TIME, Seat};
use super::rest::Rest;
use super::room::OUTPUT_BYTES;
use crate::answer::{self, BAD_REQUEST, CONTINUE, Frame, UNAVAILABLE};
use crate::framing::MAX_MESSAGE_BYTES;
use crate::shared::Shared;

/// Bytes of a body that nobody asked for which are read away, so that the connection can be used
/// on. A longer one ends it.
const SKIP_BYTES: u64 = MAX_MESSAGE_BYTES as u64;

/// One connection.
pub(crate) struct Connection {
    /// The socket.
    pub(super) stream: TcpStream,
    /// Its place. It is closed before it leaves it.
    pub(super) place: Place,
    /// What came in and is to go out, if there is any.
    pub(super) held: Option<Box<Held>>,
    /// Whether it has made a valid request, and may stay.
    is_proven: bool,
    /// Whether a message was sent since answers were written.
    pub(super) has_sent: bool,
    /// Requests handled since others were let in.
    pub(super) n_in_turn: u32,
}

/// A place at the door, until it is dropped.
pub(super) struct Place {
    /// Which one.
    pub(super) seat: Arc<Seat>,
    /// Where, and everything else.
    pub(super) api: Arc<ControlApi>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before anybody else can take the descriptor that has just become free.
        self.api.spares.refill();
        self.api.places.leave(&self.seat);
        self.api.has_left.notify_one();
    }
}

/// Why a body was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is nothing more to read.
    Stop(Stop),
    /// Its framing is malformed.
    Framing(&'static str),
    /// It is longer than a message may be.
    TooLarge,
}

impl Fault {
    /// What to answer.
    pub(crate) fn denial(&self) -> Denial {
        match self {
            Self::Stop(Stop::Notice(notice)) => denial(*notice),
            Self::Stop(Stop::End | Stop::Gone) => {
                Denial::new(BAD_REQUEST, "the body broke off: the connection was closed")
            }
            Self::Framing(why) => Denial::new(BAD_REQUEST, format!("the body broke off: {why}")),
            Self::TooLarge => head::too_large(),
        }
    }
}

/// What to answer to a request that is not complete.
fn denial(notice: Notice) -> Denial {
    match notice {
        Notice::HeadTimeout => {
            Denial::new("408 Request Timeout", "the request head was not complete in time")
        }
        Notice::Stalled => {
            let why = format!("the body brought nothing for {} s", STALL_TIME.as_secs());
            Denial::new("408 Request Timeout", why)
        }
        Notice::Evicted => Denial::new(UNAVAILABLE, "all places of the control door are taken"),
        Notice::Shutdown => Denial::new(UNAVAILABLE, "the server is shutting down"),
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// There is nothing more to be said on either side.
    Close,
    /// The peer may still be sending, and has to get its last answer.
    Linger,
}

/// What became of the bytes at the front of the window.
enum Next {
    /// They are no whole request.
    Incomplete,
    /// A request was answered. How the connection ends, if it does.
    Answered(Option<Leave>),
    /// A request waits for something.
    Later(Box<(Ask, Option<Rest>)>),
}

impl Connection {
    /// A connection that was accepted and has got a place.
    pub(crate) fn new(stream: TcpStream, seat: Arc<Seat>, api: Arc<ControlApi>) -> Self {
        Self {
            stream,
            place: Place { seat, api },
            held: None,
            is_proven: false,
            has_sent: false,
            n_in_turn: 0,
        }
    }

    /// Serves it to its end.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep the connection twice")]
    pub(crate) fn serve(mut self) -> impl Future<Output = ()> {
        async move {
            if self.answer_all().await == Leave::Linger {
                // An error is a peer that left, or was told to.
                _ = self.linger().await;
            } else {
                _ = self.write_answers().await;
            }
        }
    }

    /// Answers requests until no more is to come.
    async fn answer_all(&mut self) -> Leave {
        loop {
            let leave = match self.answer_next() {
                Next::Answered(leave) => leave,
                // In memory of its own: a connection is as large as all that it may have to keep
                // while it waits, and most requests wait for nothing.
                Next::Later(later) => Box::pin(self.finish(*later)).await,
                Next::Incomplete => {
                    let has_begun = head::has_begun(self.window());
                    let phase = if has_begun { Phase::Head } else { Phase::Idle };
                    self.fill(phase).await.err().map(|stop| self.stop(stop))
                }
            };
            if let Some(leave) = leave {
                return leave;
            }
            self.take_turns().await;
            let n_gathered = self.held.as_ref().map_or(0, |held| held.output.len());
            if n_gathered >= OUTPUT_BYTES && self.write_answers().await.is_err() {
                return Leave::Close;
            }
        }
    }

    /// Answers the request at the front of the window, if it is complete and waits for nothing.
    fn answer_next(&mut self) -> Next {
        match head::parse(self.window(), &self.place.api.guard) {
            Parsed::Incomplete => Next::Incomplete,
            Parsed::Complete(mut ask, n_bytes) => {
                self.consume(n_bytes);
                self.meet(&mut ask);
                match self.carry_out(&mut ask) {
                    None if ask.body.is_at_end() => Next::Answered(self.leave_after(&ask)),
                    rest => Next::Later(Box::new((ask, rest))),
                }
            }
            Parsed::Refused(refusal) => {
                let with_body = refusal.with_body;
                let frame = Frame { keeps: false, is_http_1_0: false, with_body };
                self.deny(frame, &Denial::new(refusal.status(), refusal.sentence));
                Next::Answered(Some(Leave::Linger))
            }
        }
    }

    /// Ends a connection of which no whole request comes any more.
    fn stop(&mut self, stop: Stop) -> Leave {
        if let (Stop::Notice(notice), true) = (stop, head::has_begun(self.window())) {
            let with_body = !self.window().starts_with(b"HEAD ");
            let frame = Frame { keeps: false, is_http_1_0: false, with_body };
            self.deny(frame, &denial(notice));
        }
        Leave::Close
    }

    /// Takes note of a request.
    fn meet(&mut self, ask: &mut Ask) {
        let places = &self.place.api.places;
        places.note(&self.place.seat, Phase::Busy);
        if ask.is_trusted && !self.is_proven {
            self.is_proven = places.prove(&self.place.seat);
            // Where there is no place for it to stay, it is served all the same, once.
            ask.frame.keeps &= self.is_proven;
        }
    }

    /// How the connection ends after a request that was answered, if it does.
    fn leave_after(&self, ask: &Ask) -> Option<Leave> {
        let is_all = ask.body.is_at_end() && self.window().is_empty();
        let leave = if is_all { Leave::Close } else { Leave::Linger };
        (!self.frame(ask).keeps).then_some(leave)
    }

    /// Does what is left to do for a request, and reads away what is left of its body. Returns how
    /// the connection ends, if it does.
    async fn finish(&mut self, (mut ask, rest): (Ask, Option<Rest>)) -> Option<Leave> {
        if let Some(rest) = rest {
            self.carry_out_rest(&mut ask, rest).await;
        }
        let leave = self.leave_after(&ask);
        if leave.is_none() && self.skip(&mut ask).await.is_err() {
            return Some(Leave::Close);
        }
        leave
    }

    /// Reads away what is left of a body.
    async fn skip(&mut self, ask: &mut Ask) -> Result<(), Fault> {
        while let Some(n_bytes) = self.piece(ask).await? {
            self.consume(n_bytes);
        }
        Ok(())
    }

    /// The frame of the answer to a request, of whose body no more is wanted. What is left of it is
    /// read away if that is soon done and sure to come.
    pub(super) fn frame(&self, ask: &Ask) -> Frame {
        let is_soon_done = match ask.body {
            Body::Length(0) => true,
            Body::Length(n) => n <= SKIP_BYTES && !ask.expects_continue,
            Body::Chunked(_) => ask.body.is_at_end(),
        };
        let may_stay = self.place.seat.notice().is_none();
        Frame { keeps: ask.frame.keeps && is_soon_done && may_stay, ..ask.frame }
    }

    /// Takes what has come in of a message, to the front of the window. Returns how long it is, if
    /// it has come whole.
    pub(super) fn take_message(&mut self, ask: &mut Ask) -> Result<Option<usize>, Fault> {
        while !ask.body.is_at_end() {
            let n_more =
                self.held().input.take(&mut ask.body, ask.n_taken).map_err(Fault::Framing)?;
            ask.n_taken += n_more;
            if ask.n_taken > MAX_MESSAGE_BYTES {
                return Err(Fault::TooLarge);
            }
            if n_more == 0 && !ask.body.is_at_end() {
                return Ok(None);
            }
        }
        Ok(Some(ask.n_taken))
    }

    /// Waits for the rest of a message.
    pub(super) async fn message(&mut self, ask: &mut Ask) -> Result<usize, Fault> {
        loop {
            if let Some(n_bytes) = self.take_message(ask)? {
                return Ok(n_bytes);
            }
            self.fill_body(ask).await?;
        }
    }

    /// Waits for a piece of a body, at the front of the window. Returns how long it is, and `None`
    /// at the end.
    pub(crate) async fn piece(&mut self, ask: &mut Ask) -> Result<Option<usize>, Fault> {
        loop {
            let n = self.held().input.take(&mut ask.body, 0).map_err(Fault::Framing)?;
            if n > 0 {
                return Ok(Some(n));
            }
            if ask.body.is_at_end() {
                return Ok(None);
            }
            self.fill_body(ask).await?;
        }
    }

    /// Waits for more of a body, and asks for it if it waits to be asked for.
    async fn fill_body(&mut self, ask: &mut Ask) -> Result<(), Fault> {
        if std::mem::take(&mut ask.expects_continue) && self.window().is_empty() {
            self.output().extend_from_slice(CONTINUE);
        }
        self.fill(Phase::Body).await.map_err(Fault::Stop)
    }

    /// Appends an answer that says why not.
    pub(super) fn deny(&mut self, frame: Frame, denial: &Denial) {
        self.place.api.counts.count_refused(denial.status);
        answer::write_refusal(self.output(), frame, denial.status, &denial.why, denial.allow);
    }

    /// What all connections of the control door share.
    pub(super) fn api(&self) -> &ControlApi {
        &self.place.api
    }

    /// What all parts of the server share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.place.api.shared
    }

    /// Takes note that a message was sent.
    pub(super) fn note_sent(&mut self) {
        self.has_sent = true;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let n_left = self.window().len();
        self.consume(n_left);
        let Some(mut held) = self.held.take() else { return };
        let pool = &self.place.api.pool;
        held.input.rest(pool);
        if held.output.capacity() > 0 {
            pool.put_output(held.output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes in what an asynchronous function keeps.
    fn size<Argument, F: Future>(_: fn(Argument) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        // Its descriptor at the runtime, its task and its place take about 750 bytes more.
        let n_bytes = size(Connection::serve);
        assert!(n_bytes <= 160, "{n_bytes} bytes");
    }
}
