//! What is counted when the run is over.

use std::time::{Duration, Instant};

use reports::sent;
use reports::stamp::as_us;
use rustix::event::epoll;

use super::Engine;
use super::listener::Finished;
use super::row::{Row, row_number};
use crate::end::End;
use crate::error::Error;
use crate::judge::Judge;
use crate::judge::follows::Follows;
use crate::judge::sent::{Connection, Join};
use crate::worst::Worst;

impl Engine<'_> {
    /// Reads on after the end until the senders' last messages have had their time, if that is to
    /// be known.
    pub(super) fn settle(
        &mut self,
        end: &End,
        events: &mut Vec<epoll::Event>,
    ) -> Result<(), Error> {
        if !matches!(end, End::Stopped | End::Held) || self.job.accounting.sent.is_empty() {
            return Ok(());
        }
        // A sender that has not ended is not waited for: its file is not there.
        let ends = self.job.accounting.sent.iter().filter_map(|path| sent::end(path));
        let last_answers = ends.map(|end| end.last_answer_unix_us);
        let Some(last_answer_unix_us) = last_answers.max() else { return Ok(()) };
        let settle = self.job.accounting.settle;
        let until_us = last_answer_unix_us.saturating_add(as_us(settle));
        let now = Instant::now();
        let left_us = until_us.saturating_sub(self.clock.unix_us(now));
        // A clock that is wrong by years must not hold up the end.
        let until = now + Duration::from_micros(left_us).min(settle) + Duration::from_millis(1);
        // What ended the run stays readable, and would not let it wait.
        epoll::delete(&self.epoll, self.control).map_err(std::io::Error::from)?;
        while Instant::now() < until {
            self.alarm.set(until)?;
            self.wait(events, false)?;
        }
        Ok(())
    }

    /// Counts what is open at the end, and what the senders' files say beyond it.
    pub(super) fn finish(mut self, end: End) -> Finished {
        let ended_unix_us = self.clock.unix_us(Instant::now());
        self.end_closing();
        for row in 0..self.rows.len() {
            if self.rows[row].socket.is_some() && self.rows[row].framer.has_head() {
                self.say_goodbye(row);
                self.end_body(row, false);
            }
        }
        if let Some(streams) = &mut self.streams {
            streams.finish(self.tally.streams.get_or_insert_default());
        }
        let mut by_row = self.judge.finish_extras(&mut self.tally);
        let connections =
            if self.job.accounting.sent.is_empty() { Vec::new() } else { self.connections() };
        let ids = || connections.iter().flat_map(|it| it.ids.iter().copied()).collect();
        let follows = self.job.accounting.follows.as_ref();
        let follows = follows.map(|path| Follows::read(path, &ids()));
        let join = Join {
            connections: &connections,
            follows: follows.as_ref(),
            judge: &self.judge,
            ended_unix_us,
            settle: self.job.accounting.settle,
        };
        for path in &self.job.accounting.sent {
            let joined = join.with(path);
            joined.by_row.iter().for_each(|(row, n)| *by_row.entry(*row).or_default() += n);
            self.tally.joined.push(joined);
        }
        self.name_away();
        self.name_slow();
        let mut worst = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let n_missing = Judge::finish(&row.window, &mut self.tally);
            let n_beyond = by_row.get(&row_number(index)).copied().unwrap_or(0);
            let faults = u64::from(row.faults).saturating_add(n_missing).saturating_add(n_beyond);
            if faults > 0 {
                let faults = u32::try_from(faults).unwrap_or(u32::MAX);
                worst.push(Worst { faults, number: self.job.share.number(index) });
            }
        }
        Worst::sort(&mut worst);
        Finished { end, tally: self.tally, worst, slow: self.slow.ends }
    }

    /// All connections that were established, one for each place, with the ids that their URLs say.
    /// A file that cannot be read any more leaves them without ids, which is reported.
    fn connections(&mut self) -> Vec<Connection> {
        let mut connections = Vec::new();
        let mut has_urls = self.urls.rewind().is_ok();
        for index in 0..self.rows.len() {
            has_urls &= self.urls.skip(self.job.share.n_skipped(index)).is_ok();
            has_urls &= self.urls.advance_round().is_ok();
            let life = self.life(index);
            let Row { window, framer, head_ms, .. } = &self.rows[index];
            if !framer.has_head() && !window.has_begun() || self.slow.has(index) {
                // Nobody has listened to what came for a slow reader.
                continue;
            }
            let ids = match self.urls.entry(self.job.share.number(index)) {
                Ok(entry) if has_urls => self.job.accounting.id_in_url.of(&entry.url.to_string()),
                _ => Vec::new(),
            };
            connections.push(Connection {
                row: row_number(index),
                ids,
                window: *window,
                head_unix_us: self.unix_us(*head_ms),
                closed_unix_us: match framer.closed_at_ms() {
                    Some(at_ms) => Some(self.unix_us(at_ms)),
                    // A place that had a connection and has none now was not there at the end.
                    None if !framer.has_head() => Some(0),
                    None => None,
                },
                life,
            });
        }
        connections
    }

    /// A time in milliseconds after the clock's start in microseconds since the Unix epoch.
    fn unix_us(&self, at_ms: u32) -> u64 {
        self.clock.unix_us_after(Duration::from_millis(at_ms.into()))
    }
}
