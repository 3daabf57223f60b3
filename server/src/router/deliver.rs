//! What happens to a parked connection: chunks, pings, its end, and room in its socket. What its
//! peer says is in [`listen`](super::listen).

use std::io;

use super::rows::{Body, Connection, RowRef, Rows};
use super::shard::Shard;
use super::wire::{Ready, Wire};
use crate::close::CloseReason;

/// Pings that a peer which answers them may leave unanswered: when the next one is due, it has had
/// twice the time between two pings, or it is gone.
const MOST_UNANSWERED: u8 = 2;

/// Bytes for a connection, by what they are to it.
pub(super) enum Purpose<'message, W: Wire> {
    /// A chunk of a message.
    Chunk(&'message W::Message),
    /// The last chunk, after which the connection is closed for this reason.
    End(CloseReason),
    /// A ping, which means nothing to the peer.
    Ping,
    /// Answers to what it said. The last one, which begins there, is enough for what its socket
    /// does not take now.
    Answers(usize),
}

/// What became of bytes for a connection.
pub(super) enum Outcome {
    /// Its socket has taken them all.
    Written,
    /// They wait in its backlog, at least in part.
    Queued,
    /// Its socket is full, and they are not needed.
    Needless,
    /// Its socket is broken: it was closed for this reason.
    Failed(CloseReason),
}

impl<W: Wire> Shard<W> {
    /// Sends `message` to one connection, if the reference is still good. Returns whether it was
    /// reached: the chunk written or queued.
    pub(super) fn deliver(&mut self, row: RowRef, message: &W::Message) -> bool {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return false };
        let mut n_waiting = 0;
        if let Some(extra) = self.extras.get(connection, row.slot) {
            // Nothing comes behind a last chunk.
            if extra.ending.is_some() {
                return false;
            }
            n_waiting = extra.backlog.n_bytes();
        }
        connection.n_chunks += 1;
        self.scratch.clear();
        W::render(message, connection.n_chunks, connection.style, &mut self.scratch);
        self.stats.chunks += 1;

        // One chunk may always wait, whatever its size: a limit that a single large message breaks
        // would close readers that are not slow.
        if n_waiting > 0 && n_waiting + self.scratch.len() > self.limits.backlog_bytes {
            W::abort(&connection.socket);
            self.stats.chunks_dropped.add(CloseReason::SlowReader, 1);
            self.close(row.slot, CloseReason::SlowReader);
            return false;
        }
        // Put back below, so that the next row uses the same memory.
        let chunk = std::mem::take(&mut self.scratch);
        let outcome = self.write_or_queue(row, &chunk, &Purpose::Chunk(message));
        self.scratch = chunk;
        match outcome {
            Outcome::Written => self.stats.chunks_written += 1,
            Outcome::Queued | Outcome::Needless => {}
            Outcome::Failed(reason) => {
                self.stats.chunks_dropped.add(reason, 1);
                return false;
            }
        }
        true
    }

    /// Ends a connection cleanly: with its last chunk, after what waits for it.
    pub(super) fn end(&mut self, row: RowRef, reason: CloseReason) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let extra = self.extras.get(connection, row.slot);
        if extra.is_some_and(|extra| extra.ending.is_some()) {
            return;
        }
        let last_chunk = W::last_chunk(connection.style, reason);
        self.end_with(row, last_chunk, reason);
    }

    /// Writes the last bytes of a connection and closes it, now or when they are written.
    pub(super) fn end_with(&mut self, row: RowRef, last: &[u8], reason: CloseReason) {
        if let Outcome::Written = self.write_or_queue(row, last, &Purpose::End(reason)) {
            if let Some(connection) = connection_mut(&mut self.rows, row) {
                W::finish(&connection.socket);
            }
            self.close(row.slot, reason);
        }
    }

    /// Finds out whether the peer of the connection in `slot` is there, by bytes that mean nothing
    /// to it, or that it has to answer. One that has bytes waiting is asked already.
    pub(super) fn ping(&mut self, slot: u32) {
        let row = self.row(slot);
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let ping = W::ping(connection.style);
        let extra = self.extras.get(connection, row.slot);
        let is_waiting = extra.is_some_and(|extra| !extra.backlog.is_empty());
        if ping.is_empty() || is_waiting {
            return;
        }
        let is_answered = W::talks(connection.style);
        if is_answered && connection.noted.n_unanswered() >= MOST_UNANSWERED {
            return self.give_up(row, CloseReason::TimedOut);
        }
        let outcome = self.write_or_queue(row, ping, &Purpose::Ping);
        // One that the socket did not take cannot be answered.
        if is_answered
            && matches!(outcome, Outcome::Written | Outcome::Queued)
            && let Some(connection) = connection_mut(&mut self.rows, row)
        {
            connection.noted.count_ping();
        }
    }

    /// Writes `bytes` to a connection that is there and is not ending. What its socket does not
    /// take now goes into its backlog, and is written by [`flush`](Self::flush) when there is room.
    pub(super) fn write_or_queue(
        &mut self,
        row: RowRef,
        bytes: &[u8],
        purpose: &Purpose<'_, W>,
    ) -> Outcome {
        let connection = connection_mut(&mut self.rows, row).expect("the caller has just found it");
        let extra = self.extras.get(connection, row.slot);
        let is_waiting = extra.is_some_and(|extra| !extra.backlog.is_empty());
        // What waits goes first: these bytes before it would tear a chunk in two.
        let n_written = if is_waiting { Ok(0) } else { write_some::<W>(&connection.socket, bytes) };
        let n_written = match n_written {
            // An empty last chunk is not written before what waits is, either.
            Ok(n) if n == bytes.len() && !is_waiting => return Outcome::Written,
            Ok(n) => n,
            Err(error) => {
                let reason = CloseReason::of_error(&error);
                self.lose(row, reason);
                return Outcome::Failed(reason);
            }
        };
        let rest = &bytes[n_written..];
        match *purpose {
            Purpose::Chunk(message) => {
                // Others that are slow have the same end of this message: it is kept once.
                let shared = (rest.len() >= W::SHARED_BYTES)
                    .then(|| W::tail(message, connection.style, self.extras.meter()));
                let backlog = &mut self.extras.of(connection, row.slot).backlog;
                match shared {
                    Some((tail, n_tail)) => backlog.push_shared(rest, tail, n_tail),
                    None => backlog.push_chunk(rest),
                }
                // Counted before anything can close the connection, which counts it as dropped.
                self.stats.chunks_queued += 1;
            }
            Purpose::End(reason) => {
                let extra = self.extras.of(connection, row.slot);
                extra.backlog.push_uncounted(rest);
                extra.ending = Some(reason);
            }
            // Full of bytes that the peer has not acknowledged; the kernel watches those.
            Purpose::Ping if n_written == 0 => return Outcome::Needless,
            Purpose::Ping => self.extras.of(connection, row.slot).backlog.push_uncounted(rest),
            Purpose::Answers(last) => {
                // What is begun of an answer is finished, since nothing else can stand within it.
                // Of all behind it the last is enough: a peer that asks often, and reads nothing,
                // would have the server keep as much as it asks for.
                let end = W::answer_end(bytes, n_written);
                let (begun, behind) = rest.split_at(end - n_written);
                let backlog = &mut self.extras.of(connection, row.slot).backlog;
                for rest in [begun, &behind[last.saturating_sub(end)..]] {
                    if !rest.is_empty() {
                        backlog.push_uncounted(rest);
                    }
                }
            }
        }
        if !is_waiting {
            self.watch_writable(row, true);
        }
        Outcome::Queued
    }

    /// Closes a connection that is too far behind, with all that waits for it.
    pub(super) fn give_up(&mut self, row: RowRef, reason: CloseReason) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        W::abort(&connection.socket);
        self.close(row.slot, reason);
    }

    /// Adds the connections that have bytes waiting, with how many.
    pub(super) fn add_behind(&self, behind: &mut Vec<(usize, RowRef)>) {
        behind.extend(self.extras.behind().map(|(n_bytes, slot)| (n_bytes, self.row(slot))));
    }

    /// Handles an event of the poller. `scratch` is where dropped bytes are read to.
    pub(super) fn on_ready(&mut self, key: u64, ready: Ready, scratch: &mut [u8]) {
        let row = self.row_of_key(key);
        if ready.writable {
            self.flush(row);
        }
        if ready.readable {
            self.read(row, scratch);
        }
    }

    /// Writes what waits for a connection, as far as its socket takes it.
    fn flush(&mut self, row: RowRef) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        if !connection.has_extra {
            return;
        }
        let extra = self.extras.of(connection, row.slot);
        // Until the socket takes nothing: its event is edge-triggered, and comes again only after
        // it was full.
        let mut failed = None;
        while !extra.backlog.is_empty() {
            match write_some::<W>(&connection.socket, extra.backlog.front()) {
                Ok(0) => return,
                Ok(n) => {
                    let n_completed = extra.backlog.written(n);
                    self.stats.chunks_written += n_completed;
                    self.stats.chunks_queued -= n_completed;
                }
                Err(error) => {
                    failed = Some(CloseReason::of_error(&error));
                    break;
                }
            }
        }
        let ended = extra.ending;
        if failed.is_none() && ended.is_some() {
            W::finish(&connection.socket);
        }
        if let Some(reason) = failed {
            return self.lose(row, reason);
        }
        if let Some(reason) = ended {
            return self.close(row.slot, reason);
        }
        let answer = extra.talk.as_mut().map(|talk| std::mem::take(&mut talk.answer));
        extra.talk.take_if(|talk| talk.is_over());
        self.extras.tidy(connection, row.slot);
        self.watch_writable(row, false);
        if let Some(answer) = answer.filter(|answer| !answer.is_empty())
            && connection_mut(&mut self.rows, row).is_some()
        {
            self.write_or_queue(row, &answer, &Purpose::Answers(0));
        }
    }

    /// Starts or stops watching for room in a socket. Watching only while something waits saves an
    /// event for every other connection.
    fn watch_writable(&mut self, row: RowRef, wanted: bool) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        if self.wire.watch_writable(&connection.socket, row.key(), wanted).is_err() {
            self.close(row.slot, CloseReason::Error);
        }
    }

    /// The row that an event's key names, in its generation.
    fn row_of_key(&self, key: u64) -> RowRef {
        let slot = u32::try_from(key & u64::from(u32::MAX)).expect("it was masked to 32 bits");
        let generation = u32::try_from(key >> 32).expect("32 bits are left");
        RowRef { shard: self.number, slot, generation }
    }
}

/// The connection in a row, unless it is gone or its slot has another generation.
pub(super) fn connection_mut<W: Wire>(
    rows: &mut Rows<W>,
    row: RowRef,
) -> Option<&mut Connection<W>> {
    let found = rows.find_mut(row.slot)?;
    match &mut found.body {
        Body::Connection(connection) if found.generation == row.generation => Some(connection),
        _ => None,
    }
}

/// Sends what the socket takes now; `Ok(0)` when it takes nothing.
fn write_some<W: Wire>(socket: &W::Socket, bytes: &[u8]) -> io::Result<usize> {
    match W::try_write(socket, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}
