//! What a parked connection's peer sends: dropped, or understood and answered.

use std::io;

use super::deliver::{Purpose, connection_mut};
use super::extras::Talk;
use super::rows::RowRef;
use super::shard::Shard;
use super::wire::{Allowance, Heard, Wire};
use crate::close::{ByCode, CloseReason};

impl<W: Wire> Shard<W> {
    /// Reads until nothing is left, so that the next event is seen. What was read is in `scratch`,
    /// and is not kept.
    pub(super) fn read(&mut self, row: RowRef, scratch: &mut [u8]) {
        while let Some(n) = self.receive(row, scratch) {
            let Some(connection) = connection_mut(&mut self.rows, row) else { return };
            let extra = self.extras.get(connection, row.slot);
            let is_ending = extra.is_some_and(|extra| extra.ending.is_some());
            if W::talks(connection.style) && !is_ending {
                self.listen(row, &mut scratch[..n]);
            } else {
                self.count_chatty(row, n);
            }
        }
    }

    /// Receives what is there. `None` if nothing is, or if the connection has ended, and is closed.
    fn receive(&mut self, row: RowRef, scratch: &mut [u8]) -> Option<usize> {
        loop {
            let connection = connection_mut(&mut self.rows, row)?;
            let reason = match W::recv(&connection.socket, scratch) {
                Ok(0) => CloseReason::Peer,
                Ok(n) => return Some(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => CloseReason::of_error(&error),
            };
            self.lose(row, reason);
            return None;
        }
    }

    /// Closes a connection whose peer has gone, or whose socket is broken.
    pub(super) fn lose(&mut self, row: RowRef, reason: CloseReason) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let extra = self.extras.get(connection, row.slot);
        let is_ending = extra.is_some_and(|extra| extra.ending.is_some());
        let is_of_peer = matches!(reason, CloseReason::Peer | CloseReason::Reset);
        if W::talks(connection.style) && is_of_peer && !is_ending {
            self.stats.close_codes.add(ByCode::WITHOUT_FRAME);
        }
        self.close(row.slot, reason);
    }

    /// Counts bytes that nobody has asked for and that are dropped: those that came with the
    /// request, behind its end, and all that came later.
    pub(super) fn count_chatty(&mut self, row: RowRef, n_bytes: usize) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let n_chatty = self.extras.n_chatty(connection, row.slot) + n_bytes;
        if n_chatty > self.limits.chatty_bytes {
            return self.close(row.slot, CloseReason::Chatty);
        }
        self.extras.set_chatty(connection, row.slot, n_chatty);
    }

    /// Takes in what a peer says, and answers it.
    fn listen(&mut self, row: RowRef, bytes: &mut [u8]) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let limit = self.limits.chatty_bytes;
        let n_chatty = self.extras.n_chatty(connection, row.slot);
        let n_bytes = limit.saturating_sub(n_chatty);
        let n_answers = connection.noted.n_unanswered();
        let mut allowance = Allowance { n_bytes, n_answers };
        // Put back below, so that the next peer is answered from the same memory.
        let mut answers = std::mem::take(&mut self.scratch);
        answers.clear();
        let heard = if let Some(talk) = self.extras.talk_mut(connection, row.slot) {
            W::hear(&mut talk.begun, bytes, &mut allowance, &mut answers)
        } else {
            // Hardly anybody is heard in mid-sentence. What is begun is kept only then.
            let mut begun = W::Talk::default();
            let heard = W::hear(&mut begun, bytes, &mut allowance, &mut answers);
            if !W::is_over(&begun) {
                let talk = Talk { begun, answer: Vec::new() };
                self.extras.of(connection, row.slot).talk = Some(Box::new(talk));
            }
            heard
        };
        if heard.has_answered {
            connection.noted.answered();
        }
        self.extras.set_chatty(connection, row.slot, n_chatty.max(limit - allowance.n_bytes));
        if let Some(code) = heard.code {
            self.stats.close_codes.add(code);
        }
        self.answer(row, &answers, heard);
        self.scratch = answers;
        if let Some(connection) = connection_mut(&mut self.rows, row) {
            self.extras.forget_talk(connection, row.slot);
            self.extras.tidy(connection, row.slot);
        }
    }

    /// Writes the answers to what a peer said, and ends its connection if that was the end.
    fn answer(&mut self, row: RowRef, answers: &[u8], heard: Heard) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let extra = self.extras.get(connection, row.slot);
        let is_waiting = extra.is_some_and(|extra| !extra.backlog.is_empty());
        let last = &answers[heard.last_answer..];
        match heard.end {
            None if answers.is_empty() => {}
            None if is_waiting => {
                // A peer that asks and does not read is answered once, when it reads: so however
                // often it asks, one answer is kept.
                let talk = &mut self.extras.of(connection, row.slot).talk;
                talk.get_or_insert_default().answer = last.to_vec();
            }
            None => _ = self.write_or_queue(row, answers, &Purpose::Answers(heard.last_answer)),
            // It has said goodbye: it gets what waits for it, and the echo.
            Some(CloseReason::Peer) => {
                self.end_with(row, if is_waiting { last } else { answers }, CloseReason::Peer);
            }
            // It is at fault: it is told so if that can be done at once.
            Some(reason) if is_waiting => self.give_up(row, reason),
            Some(reason) => {
                self.end_with(row, answers, reason);
                self.give_up(row, reason);
            }
        }
    }
}
