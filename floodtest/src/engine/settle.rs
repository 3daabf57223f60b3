//! Storms, and the moments at which many connections are lost at once: who comes back, and when.

use std::time::Instant;

use super::Engine;
use super::column::MAX_SETTLINGS;
use super::places::ToClose;
use super::row::row_number;
use crate::dice::{self, Choice};
use crate::reason::Reason;
use crate::settling::{Cause, Settling};
use crate::shape::Storm;

/// Which part of the open connections others must close within [`AWAY_MS`] for the server to count
/// as away: one in ten. Servers that close idle or old connections one by one, and networks that
/// lose a few, stay below it; a process that is ended, and one worker of eight, is above it.
const AWAY_ONE_IN: u64 = 10;

/// Connections that it takes at least, unless there are fewer: one of five is nobody's absence.
const AWAY_LEAST: u64 = 3;

/// The time within which they must close, and after which all of a settling must still be back for
/// it to have settled.
const AWAY_MS: u32 = 1_000;

impl Engine<'_> {
    /// Begins the storms that are due: chooses whom they close.
    pub(super) fn begin_storms(&mut self, now_ms: u32) {
        loop {
            let Some(places) = &mut self.places else { return };
            let number = places.next_storm;
            let Some(storm) = self.job.shape.storms.get(number).copied() else { return };
            let at_ms = u32::try_from(storm.at.as_millis()).unwrap_or(u32::MAX);
            if at_ms > now_ms {
                return;
            }
            places.next_storm += 1;
            // To a ten-thousandth, as nobody asks for less.
            let percent = (storm.part * 1e6).round() / 1e4;
            let settling = self.begin_settling(Cause::Storm(number, percent), at_ms);
            self.choose(number, storm, settling);
        }
    }

    /// Chooses whom a storm closes: of those that are open now, those that chance names first.
    fn choose(&mut self, number: usize, storm: Storm, settling: Option<usize>) {
        let seed = self.job.shape.seed;
        let is_open =
            |row: &usize| self.rows[*row].socket.is_some() && self.rows[*row].framer.has_head();
        let chance = |row: usize| {
            let place = self.job.share.number(row);
            (dice::roll(seed, place, (0, 0), Choice::Storm(number)), row_number(row))
        };
        let mut open: Vec<_> = (0..self.rows.len()).filter(is_open).map(chance).collect();
        let n = n_chosen(open.len(), storm.part);
        if n > 0 && n < open.len() {
            open.select_nth_unstable(n - 1);
        }
        open.truncate(n);
        let Some(places) = &mut self.places else { return };
        for (_, row) in open {
            let life = places.columns[row as usize].life();
            let (reason, is_reset) = (Reason::Storm, storm.is_reset);
            places.to_close.push_back(ToClose { row, life, reason, is_reset, settling });
        }
    }

    /// Begins a settling at `at_ms`; its place in the tally, unless there are too many.
    fn begin_settling(&mut self, cause: Cause, at_ms: u32) -> Option<usize> {
        let delivery = &self.tally.delivery_from_due;
        let places = self.places.as_mut()?;
        let number = self.tally.settlings.len();
        if number >= MAX_SETTLINGS {
            return None;
        }
        if let Some(latest) = self.tally.settlings.last_mut()
            && let Some(settled) = latest.end(delivery)
        {
            places.settled = settled;
        }
        let before = places.settled.clone();
        self.tally.settlings.push(Settling::new(cause, at_ms, before, delivery));
        Some(number)
    }

    /// Takes in that a connection was lost, or that a connect has failed, and whether it was one of
    /// many.
    pub(super) fn note_loss(
        &mut self,
        row: usize,
        reason: Reason,
        was_established: bool,
        is_in_order: bool,
        now_ms: u32,
    ) {
        if !was_established {
            return self.note_failure(row, reason, now_ms);
        }
        let Some(places) = &mut self.places else { return };
        // Whoever is there has come back from those before: this is the storm that closes it now.
        if let Some(storm) = places.columns[row].settling() {
            self.tally.settlings[storm].closed(now_ms);
            return;
        }
        if reason == Reason::Storm || is_in_order || !self.has_next(reason) {
            return;
        }
        let Some(places) = &mut self.places else { return };
        if let Some(settling) = places.absence {
            places.columns[row].set_settling(Some(settling));
            self.tally.settlings[settling].closed(now_ms);
            return;
        }
        while places.lost.front().is_some_and(|(ms, _)| ms.saturating_add(AWAY_MS) < now_ms) {
            places.lost.pop_front();
        }
        places.lost.push_back((now_ms, row_number(row)));
        let n_lost = places.lost.len() as u64;
        // Those that were lost are not among the open ones any more.
        let n_open = self.tally.connected + n_lost;
        if n_lost * AWAY_ONE_IN >= n_open && n_lost >= AWAY_LEAST.min(n_open) {
            self.begin_absence();
        }
    }

    /// Begins a settling with the connections that were lost in the last second.
    fn begin_absence(&mut self) {
        let Some(places) = &mut self.places else { return };
        let lost = std::mem::take(&mut places.lost);
        let Some((at_ms, _)) = lost.front().copied() else { return };
        let Some(number) = self.begin_settling(Cause::Away, at_ms) else { return };
        let (Some(places), settling) = (&mut self.places, &mut self.tally.settlings[number]) else {
            return;
        };
        places.absence = Some(number);
        for (ms, row) in lost {
            settling.closed(ms);
            let index = row as usize;
            if self.rows[index].socket.is_some() && self.rows[index].framer.has_head() {
                // It has come back meanwhile.
                settling.back(ms);
            } else {
                places.columns[index].set_settling(Some(number));
            }
        }
    }

    /// Takes in that a connect has failed.
    fn note_failure(&mut self, row: usize, reason: Reason, now_ms: u32) {
        let open = self.tally.settlings.iter_mut().filter(|it| it.is_open());
        open.for_each(|it| it.failed(reason));
        let Some(places) = &mut self.places else { return };
        let column = places.columns[row];
        // A server that was there and refuses is away, whoever has closed the connection.
        let is_away = reason == Reason::Refused && column.life() > 0 && self.has_next(reason);
        if !is_away || column.settling().is_some() {
            return;
        }
        let known = self.places.as_ref().and_then(|places| places.absence);
        let Some(number) = known.or_else(|| self.begin_settling(Cause::Away, now_ms)) else {
            return;
        };
        let settling = &mut self.tally.settlings[number];
        settling.closed(now_ms);
        if known.is_none() {
            settling.failed(reason);
        }
        if let Some(places) = &mut self.places {
            places.absence = Some(number);
            places.columns[row].set_settling(Some(number));
        }
    }

    /// Notes that a place has a connection again.
    pub(super) fn note_back(&mut self, row: usize, now_ms: u32) {
        let Some(places) = &mut self.places else { return };
        if let Some(number) = places.columns[row].settling() {
            places.columns[row].set_settling(None);
            self.tally.settlings[number].back(now_ms);
        }
    }

    /// Ends the settlings whose places are all back and have been for a while.
    pub(super) fn check_settlings(&mut self, now_ms: u32) {
        let Some(places) = &mut self.places else { return };
        let is_storming = !places.to_close.is_empty();
        for (number, settling) in self.tally.settlings.iter_mut().enumerate() {
            let is_quiet = settling.latest_ms.saturating_add(AWAY_MS) <= now_ms && !is_storming;
            if settling.is_open() && is_quiet && settling.back >= settling.closed {
                settling.settle(&self.tally.delivery_from_due);
                if places.absence == Some(number) {
                    places.absence = None;
                }
            }
        }
    }

    /// When a settling may have settled that lacks nothing but time.
    pub(super) fn next_settling_at(&self) -> Option<Instant> {
        let open = self.tally.settlings.iter().filter(|it| it.is_open() && it.back >= it.closed);
        open.map(|it| self.at_ms(it.latest_ms.saturating_add(AWAY_MS))).min()
    }
}

/// How many of `n` are chosen where a part of them is to be.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a number of rows is none that is larger"
)]
fn n_chosen(n: usize, part: f64) -> usize {
    (n as f64 * part).round() as usize
}
