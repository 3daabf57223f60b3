//! One connection of a place after the other: ends, waits, lifetimes, and the next connect.

use std::time::{Duration, Instant};

use super::Engine;
use super::column::Column;
use super::open::MAX_DIALS_AT_ONCE;
use super::places::ToClose;
use super::row::row_number;
use crate::end::Ends;
use crate::error::Error;
use crate::judge::{Judge, Life};
use crate::reason::Reason;
use crate::shape::{Before, Reopen};

/// Connections that we close before the sockets are looked at again. Each takes some 10 µs.
const MAX_CLOSES_AT_ONCE: usize = 64;

impl Engine<'_> {
    /// Which of its place's connections that in a row is.
    pub(super) fn life(&self, row: usize) -> Life {
        let Some(places) = &self.places else { return Life::default() };
        let mut column = places.columns[row];
        if !self.rows[row].framer.has_head() {
            // It is counted when what came with its head was taken in.
            column.begin_life();
        }
        Life { number: column.life(), is_resumed: places.again.is_resumed(row_number(row)) }
    }

    /// Milliseconds from when the first connection was due to `at`.
    pub(super) fn ms_at(&self, at: Instant) -> u32 {
        let after = at.saturating_duration_since(self.started_at);
        u32::try_from(after.as_millis()).unwrap_or(u32::MAX)
    }

    /// When that many milliseconds were over.
    pub(super) fn at_ms(&self, ms: u32) -> Instant {
        self.started_at + Duration::from_millis(ms.into())
    }

    /// Whether the place of a connection that ends so gets another one.
    pub(super) fn has_next(&self, reason: Reason) -> bool {
        self.places.is_some()
            && match self.job.shape.reopen {
                _ if reason == Reason::Lifetime => true,
                Reopen::Never => false,
                // By the standard of event streams, this asks clients not to come back.
                Reopen::Server => reason != Reason::Status(204),
                _ => true,
            }
    }

    /// Notes that a connection was established.
    pub(super) fn note_established(&mut self, row: usize) {
        self.note_slow(row);
        let now = Instant::now();
        let now_ms = self.ms_at(now);
        let place = self.job.share.number(row);
        let Some(places) = &mut self.places else { return };
        let index = row_number(row);
        let column = &mut places.columns[row];
        let life = column.life();
        places.n_tried += usize::from(column.is_first());
        self.tally.reopened += u64::from(life > 0);
        self.tally.resumed += u64::from(places.again.is_resumed(index));
        column.begin_life();
        if let Some(lifetime) = self.job.shape.lifetime {
            let lasts = lifetime.of(self.job.shape.seed, place, life);
            let due_ms = later(now_ms, lasts);
            places.queue.insert(&mut places.columns, index, due_ms);
        }
        self.note_back(row, now_ms);
    }

    /// Judges what is known of the messages of a connection that has ended, before it is counted.
    pub(super) fn judge_end(&mut self, row: usize, reason: Reason) {
        let has_next = self.has_next(reason);
        // Numbers go on only where the server is told which came last, and they are its own ids.
        let is_told = self.places.as_ref().is_some_and(|it| it.again.has_id(row_number(row)));
        let keeps_numbers = is_told && self.job.accounting.numbers_are_ids();
        let place = &mut self.rows[row];
        if has_next {
            Judge::end_life(&mut place.window, &mut place.faults, keeps_numbers, &mut self.tally);
        } else {
            Judge::closed(&mut place.window, &mut self.tally);
        }
    }

    /// Notes that a connection has ended, or that a connect has failed, after it was counted. The
    /// place waits for its next one, if it gets one. `asked` is how long the server wants it to.
    pub(super) fn note_end(
        &mut self,
        row: usize,
        reason: Reason,
        was_established: bool,
        asked: Option<Duration>,
    ) {
        let now_ms = self.ms_at(Instant::now());
        let (has_next, place) = (self.has_next(reason), self.job.share.number(row));
        let is_in_order = reason.is_ours() || self.job.ends != Ends::Fault && reason.is_orderly();
        let Some(places) = &mut self.places else { return };
        let index = row_number(row);
        if was_established {
            places.queue.remove(&mut places.columns, index);
        } else {
            places.n_tried += usize::from(places.columns[row].is_first());
            places.columns[row].fail();
        }
        places.again.ended(index);
        let column = places.columns[row];
        let asked = asked.or_else(|| places.again.wait(index));
        self.note_loss(row, reason, was_established, is_in_order, now_ms);
        if !has_next {
            return;
        }
        let (life, n_failed) = (column.life(), column.n_failed());
        let before = Before { place, life, n_failed, asked };
        let shape = &self.job.shape;
        let wait = if reason == Reason::Lifetime {
            Duration::ZERO
        } else {
            shape.reopen.wait(shape.seed, before).expect("there is a next one")
        };
        let Some(places) = &mut self.places else { return };
        places.columns[row].set_away(true, is_in_order);
        self.tally.away += 1;
        self.tally.away_in_order += u64::from(is_in_order);
        if wait.is_zero() {
            places.to_dial.push_back((index, now_ms));
        } else {
            places.queue.insert(&mut places.columns, index, later(now_ms, wait));
        }
    }

    /// Does what is due of all places; whether there is more to do at once.
    pub(super) fn turn_places(&mut self) -> Result<bool, Error> {
        let Some(places) = &mut self.places else { return Ok(false) };
        let now = Instant::now();
        let after = now.saturating_duration_since(self.started_at);
        let now_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        let mut due = std::mem::take(&mut places.due);
        places.queue.take_due(&mut places.columns, now_ms, &mut due);
        for (row, due_ms) in due.drain(..) {
            let column = places.columns[row as usize];
            if column.is_away() {
                places.to_dial.push_back((row, due_ms));
            } else {
                places.to_close.push_back(ToClose {
                    row,
                    life: column.life(),
                    reason: Reason::Lifetime,
                    is_reset: false,
                    settling: None,
                });
            }
        }
        places.due = due;
        self.begin_storms(now_ms);
        for _ in 0..MAX_CLOSES_AT_ONCE {
            let Some(places) = &mut self.places else { break };
            let Some(to_close) = places.to_close.pop_front() else { break };
            self.close_ours(to_close);
        }
        for _ in 0..MAX_DIALS_AT_ONCE {
            let Some(places) = &mut self.places else { break };
            let Some((row, due_ms)) = places.to_dial.pop_front() else { break };
            self.dial_again(row as usize, due_ms)?;
        }
        self.check_settlings(now_ms);
        let Some(places) = &self.places else { return Ok(false) };
        Ok(!places.to_close.is_empty() || !places.to_dial.is_empty())
    }

    /// When there is something to do for a place, or for a settling.
    pub(super) fn next_place_at(&self) -> Option<Instant> {
        let places = self.places.as_ref()?;
        let storm = self.job.shape.storms.get(places.next_storm);
        let storm = storm.map(|storm| self.started_at + storm.at);
        let due = places.queue.next_ms().map(|ms| self.at_ms(ms));
        [storm, due, self.next_settling_at()].into_iter().flatten().min()
    }

    /// Whether all places have had their first try, for good.
    pub(super) fn have_all_tried(&mut self) -> bool {
        let n_alive = self.opening.len() as u64;
        let is_all = self.rows.len() == self.n_asked;
        let may_wait = self.job.head_timeout.is_none() && n_alive == self.tally.waiting;
        let Some(places) = &mut self.places else { return false };
        places.has_settled |= is_all && (places.n_tried == self.n_asked || may_wait);
        places.has_settled
    }

    /// Notes the first place that is away at the end because of an end that is not in order, and
    /// how many are being opened again.
    pub(super) fn name_away(&mut self) {
        let Some(places) = &self.places else { return };
        let is_it = |column: &Column| column.is_away() && !column.is_in_order();
        let row = places.columns.iter().position(is_it);
        self.tally.first_away = row.map(|row| self.job.share.number(row));
        let is_next = |row: &&usize| places.columns[**row].life() > 0;
        self.tally.reopening = self.opening.keys().filter(is_next).count() as u64;
    }

    /// Closes a connection as was asked for, unless it has ended meanwhile.
    fn close_ours(&mut self, to_close: ToClose) {
        let ToClose { row, life, reason, is_reset, settling } = to_close;
        let index = row as usize;
        let Some(places) = &mut self.places else { return };
        let is_there = places.columns[index].life() == life
            && self.rows[index].socket.is_some()
            && self.rows[index].framer.has_head();
        if !is_there {
            return;
        }
        places.columns[index].set_settling(settling);
        if is_reset {
            if let Some(socket) = &self.rows[index].socket {
                // What fails here is closed in order, which is better than not at all.
                let at_once = Some(Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(socket, at_once);
            }
        } else if self.rows[index].framer.close_code().is_none() {
            self.say_goodbye(index);
            self.say_close_notify(index);
        }
        self.end(index, reason);
    }

    /// Begins the next connection of a place, which was due at `due_ms`.
    fn dial_again(&mut self, row: usize, due_ms: u32) -> Result<(), Error> {
        let now = Instant::now();
        let (now_ms, due_at) = (self.ms_at(now), self.at_ms(due_ms));
        let number = self.job.share.number(row);
        let Some(places) = &mut self.places else { return Ok(()) };
        let index = row_number(row);
        let column = &mut places.columns[row];
        self.tally.away -= 1;
        self.tally.away_in_order -= u64::from(column.is_in_order());
        column.set_away(false, false);
        let attempt = column.attempt();
        places.urls.go_to(&self.job.lines, number)?;
        let mut request = std::mem::take(&mut self.request);
        let (target, carried, tls) = Self::compose(
            self.job,
            &mut places.urls,
            (number, attempt),
            places.again.resume(index),
            self.trust.as_ref(),
            (&mut request, &mut self.outgoing),
        )?;
        self.rows[row].forget_connection();
        if let Some(streams) = &mut self.streams {
            streams.begin(row, due_at);
        }
        self.tally.begun += 1;
        self.tally.connect_lateness.record(now.saturating_duration_since(due_at));
        self.tally.settlings.iter_mut().filter(|it| it.is_open()).for_each(|it| it.begun(now_ms));
        self.dial(row, target, tls, &request, carried);
        self.request = request;
        Ok(())
    }
}

/// So much later than `now_ms`, in milliseconds after the start and never earlier than that.
fn later(now_ms: u32, wait: Duration) -> u32 {
    // What is counted has begun a part of a millisecond ago.
    let ms = wait.as_nanos().div_ceil(1_000_000) + 1;
    now_ms.saturating_add(u32::try_from(ms).unwrap_or(u32::MAX))
}
