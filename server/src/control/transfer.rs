//! How bytes come in and go out: the waits of a connection of the control door.
//!
//! They keep next to nothing of their own, for that is the size of an idle connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::connection::Connection;
use super::held::{Held, Stop};
use super::places::{Notice, Phase};
use crate::send::MESSAGES_AT_A_TIME;

/// Bytes that are read away from a connection that is to end, so that its last answer is not
/// destroyed by a reset: more than a sender writes before it looks whether there is an answer.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;

impl Connection {
    /// What has come in and is not used yet.
    pub(crate) fn window(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], |held| held.input.window())
    }

    /// Drops `n` bytes from the front of the window.
    pub(crate) fn consume(&mut self, n: usize) {
        if let Some(held) = &mut self.held {
            held.input.consume(n);
        }
    }

    /// Where answers are gathered.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        let held = self.held.get_or_insert_default();
        if held.output.capacity() == 0 {
            held.output = self.place.api.pool.take_output();
        }
        &mut held.output
    }

    /// What it holds.
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_default()
    }

    /// Lets others in when it has been busy for long.
    pub(super) async fn take_turns(&mut self) {
        self.n_in_turn += 1;
        if u64::from(self.n_in_turn) >= MESSAGES_AT_A_TIME {
            self.n_in_turn = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Writes the answers that are there, then waits for more bytes.
    ///
    /// This and what it is made of keep next to nothing across a wait: that is the size of an idle
    /// connection.
    pub(super) fn fill(&mut self, phase: Phase) -> impl Future<Output = Result<(), Stop>> {
        let mut has_noted = false;
        poll_fn(move |context| {
            ready!(self.poll_write_answers(context))?;
            if !std::mem::replace(&mut has_noted, true) {
                let places = &self.place.api.places;
                match phase {
                    // The time of these counts from their beginning, whatever comes in meanwhile.
                    Phase::Head | Phase::Leaving => places.note_change(&self.place.seat, phase),
                    _ => places.note(&self.place.seat, phase),
                }
            }
            self.poll_fill(context, phase)
        })
    }

    /// See [`fill`](Self::fill).
    fn poll_fill(&mut self, context: &mut Context<'_>, phase: Phase) -> Poll<Result<(), Stop>> {
        let has_room = self.held.as_ref().is_some_and(|held| held.input.has_room());
        // Without room it gets some only when there is something to read.
        if has_room || self.stream.poll_read_ready(context).is_ready() {
            let input = &mut self.held.get_or_insert_default().input;
            let mut tail = input.tail(&self.place.api.pool);
            // Cheap to make, and nothing is lost with it: it reads when it is polled or not at all.
            let reading = pin!(self.stream.read_buf(&mut tail));
            match reading.poll(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Stop::End)),
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                Poll::Pending => {}
            }
        }
        self.rest();
        self.n_in_turn = 0;
        match self.place.seat.listen(context.waker()) {
            // What is in progress is carried out.
            Some(Notice::Shutdown) if !matches!(phase, Phase::Idle | Phase::Head) => Poll::Pending,
            Some(notice) => Poll::Ready(Err(Stop::Notice(notice))),
            None => Poll::Pending,
        }
    }

    /// Gives its room to the pool, unless much is in it.
    fn rest(&mut self) {
        let Some(held) = &mut self.held else { return };
        held.input.rest(&self.place.api.pool);
        if held.input.window().is_empty() && held.output.is_empty() {
            self.held = None;
        }
    }

    /// Writes the answers that are there.
    pub(super) fn write_answers(&mut self) -> impl Future<Output = Result<(), Stop>> {
        poll_fn(|context| self.poll_write_answers(context))
    }

    /// See [`write_answers`](Self::write_answers).
    fn poll_write_answers(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if std::mem::take(&mut self.has_sent) {
            // Every task that is ready now goes first. Under load many requests are ready at once.
            // Messages to receivers and answers to senders then go out in two runs instead of
            // taking turns, and each run wakes its processes once. Without load it is nearly free,
            // unlike tokio's own yielding, which looks for new events first.
            // They take the same room for what they read, if it is given back.
            if self.window().is_empty() {
                self.rest();
            }
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(held) = &mut self.held else { return Poll::Ready(Ok(())) };
        if held.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let places = &self.place.api.places;
        while held.n_written < held.output.len() {
            let rest = &held.output[held.n_written..];
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                Poll::Ready(Ok(n)) => {
                    held.n_written += n;
                    if held.n_written < held.output.len() {
                        places.note(&self.place.seat, Phase::Answers);
                    }
                }
                Poll::Pending => {
                    places.note_change(&self.place.seat, Phase::Answers);
                    return match self.place.seat.listen(context.waker()) {
                        None | Some(Notice::Shutdown) => Poll::Pending,
                        Some(notice) => Poll::Ready(Err(Stop::Notice(notice))),
                    };
                }
            }
        }
        held.n_written = 0;
        self.place.api.pool.put_output(std::mem::take(&mut held.output));
        Poll::Ready(Ok(()))
    }

    /// Ends the connection so that the peer gets its last answer: our half first, the rest when it
    /// has closed its own.
    pub(super) async fn linger(&mut self) -> Result<(), Stop> {
        self.write_answers().await?;
        self.stream.shutdown().await.map_err(|_| Stop::Gone)?;
        let mut n_bytes = 0;
        while n_bytes <= DRAIN_BYTES {
            let n_there = self.window().len();
            self.consume(n_there);
            n_bytes += n_there;
            self.fill(Phase::Leaving).await?;
            self.take_turns().await;
        }
        Ok(())
    }
}
