//! Readers that read slowly, or never: who they are, when they read, and what becomes of them.
//!
//! Nobody listens to what they read: it is counted in bytes, and its messages are neither judged nor
//! timed, so that the figures are those of the others.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::ioctl_fionread;

use super::Engine;
use super::row::row_number;
use super::transport::{Read, Shown, Transport};
use crate::decode::{Beginning, Head, Sink};
use crate::dice::{self, Choice};
use crate::outbox::Outbox;
use crate::reason::Reason;
use crate::shape::Slow;
use crate::slow_end::{MAX_SLOW_ENDS, SlowEnd};
use crate::tally::Tally;

/// How often one reads, if it reads at all. All do so equally often, so that a line of them is in the
/// order in which they are due.
const READ_EVERY: Duration = Duration::from_millis(100);

/// Bytes that the socket of a slow reader is to hold at least. By itself the kernel lets it grow to
/// megabytes, which a server may fill before it notices that nobody reads. The kernel doubles this
/// for its own records, so that some 4 KiB of data fit.
const LEAST_BUFFER_BYTES: usize = 4 * 1024;

/// Readings in a second.
const READS_PER_S: u64 = 10;

/// Readings before the sockets are looked at again.
const MAX_READS_AT_ONCE: usize = 64;

/// Places among which slow ones are chosen so that the part of them is exact.
const BLOCK: u64 = 10_000;

/// What chooses slow places, and what is kept of them. Others have nothing here.
#[derive(Debug, Default)]
pub(super) struct SlowReaders {
    /// The slow places, by row.
    readers: HashMap<u32, Reader>,
    /// Those that read next, and when.
    line: VecDeque<(Instant, u32)>,
    /// The block whose ranks are known, and the ranks of its places.
    block: Option<(u64, Vec<u16>)>,
    /// What became of those that have ended.
    pub(super) ends: Vec<SlowEnd>,
}

/// A place that is read slowly.
#[derive(Debug, Default)]
struct Reader {
    /// Bytes that it reads a second.
    bytes_per_s: u64,
    /// When the head of its present connection came, if there is one.
    since: Option<Instant>,
    /// Bytes that the connection has read behind that.
    n_read: u64,
    /// What it may read, in tenths of a byte.
    tenths: u64,
    /// Whether it stands in line.
    is_in_line: bool,
}

impl SlowReaders {
    /// Whether that of a row is one.
    pub(super) fn has(&self, row: usize) -> bool {
        !self.readers.is_empty() && self.readers.contains_key(&row_number(row))
    }

    /// How much the socket of a row is to hold, if it is a slow reader's.
    pub(super) fn receive_bytes(&self, row: usize) -> Option<usize> {
        let reader = self.readers.get(&row_number(row)).filter(|_| !self.readers.is_empty())?;
        // Twice what is read at once, so that there is always as much.
        let bytes = usize::try_from(reader.bytes_per_s * 2 / READS_PER_S).unwrap_or(usize::MAX);
        Some(bytes.max(LEAST_BUFFER_BYTES))
    }

    /// When the next one reads.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.line.front().map(|(at, _)| *at)
    }

    /// Takes in a place of the plan, which may be slow.
    pub(super) fn add(&mut self, row: u32, number: u64, n_asked: u64, slow: &[Slow], seed: u64) {
        if slow.is_empty() {
            return;
        }
        if let Some(bytes_per_s) = self.bytes_per_s(number, n_asked, slow, seed) {
            self.readers.insert(row, Reader { bytes_per_s, ..Reader::default() });
        }
    }

    /// How much a place reads a second, if it is slow: its rank among the places of its block, by
    /// chance, decides.
    fn bytes_per_s(&mut self, number: u64, n_asked: u64, slow: &[Slow], seed: u64) -> Option<u64> {
        let block = number / BLOCK;
        let n = n_asked.saturating_sub(block * BLOCK).min(BLOCK);
        if self.block.as_ref().is_none_or(|(known, _)| *known != block) {
            let of_block = u16::try_from(n).expect("a block has 10,000 places");
            let mut order: Vec<u16> = (0..of_block).collect();
            let chance =
                |at: &u16| dice::roll(seed, block * BLOCK + u64::from(*at), (0, 0), Choice::Slow);
            order.sort_by_cached_key(|at| Reverse(chance(at)));
            let mut ranks = vec![0; order.len()];
            for (rank, at) in (0..).zip(order) {
                ranks[usize::from(at)] = rank;
            }
            self.block = Some((block, ranks));
        }
        let (_, ranks) = self.block.as_ref()?;
        let rank = ranks.get(usize::try_from(number % BLOCK).ok()?)?;
        let at = (f64::from(*rank) + 0.5) / n as f64;
        let mut sum = 0.0;
        let is_it = |slow: &&Slow| {
            sum += slow.part;
            at < sum
        };
        slow.iter().find(is_it).map(|slow| slow.bytes_per_s)
    }

    /// Notes the end of a connection, or that it is open at the end of the run.
    fn end(&mut self, row: u32, number: u64, n_in_socket: u64, reason: Option<Reason>) -> bool {
        let Some(reader) = self.readers.get_mut(&row) else { return false };
        let Some(since) = reader.since.take() else { return false };
        let after_ms = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
        let bytes = std::mem::take(&mut reader.n_read) + n_in_socket;
        if self.ends.len() < MAX_SLOW_ENDS {
            let bytes_per_s = reader.bytes_per_s;
            self.ends.push(SlowEnd { number, bytes_per_s, bytes, reason, after_ms });
        }
        true
    }
}

/// Takes what a slow reader reads: counts it, and says what a WebSocket must.
struct Quiet<'a> {
    /// What is counted.
    tally: &'a mut Tally,
    /// What is to be sent.
    outbox: &'a mut Outbox,
}

impl Sink for Quiet<'_> {
    fn head(&mut self, _: &Head) {}
    fn data(&mut self, _: &[u8]) {}

    fn chunk_end(&mut self) {
        self.tally.chunks += 1;
    }

    fn ping(&mut self, bytes: &[u8]) {
        self.tally.comments += 1;
        self.outbox.pong(bytes);
    }

    fn pong(&mut self) {
        self.tally.comments += 1;
    }

    fn close(&mut self, code: Option<u16>) {
        self.outbox.close(code);
    }
}

impl Engine<'_> {
    /// Takes in that a connection was established, which may be a slow reader's.
    pub(super) fn note_slow(&mut self, row: usize) {
        let Some(reader) = self.slow.readers.get_mut(&row_number(row)) else { return };
        let now = Instant::now();
        (reader.since, reader.n_read, reader.tenths) = (Some(now), 0, 0);
        self.tally.slow_connections += 1;
        self.tally.slow_open += 1;
        if reader.bytes_per_s > 0 && !std::mem::replace(&mut reader.is_in_line, true) {
            self.slow.line.push_back((now + READ_EVERY, row_number(row)));
        }
    }

    /// Takes in that a connection ends, as long as its socket is there.
    pub(super) fn note_slow_end(&mut self, row: usize, reason: Reason) {
        if !self.slow.has(row) {
            return;
        }
        let number = self.job.share.number(row);
        let n_in_socket = self.n_in_socket(row);
        if self.slow.end(row_number(row), number, n_in_socket, Some(reason)) {
            self.tally.slow_open -= 1;
            self.tally.slow_ends.count(reason, 1, number);
        }
    }

    /// Notes all slow readers that are open at the end of the run.
    pub(super) fn name_slow(&mut self) {
        let mut rows: Vec<u32> = self.slow.readers.keys().copied().collect();
        rows.sort_unstable();
        for row in rows {
            let (index, n_in_socket) = (row as usize, self.n_in_socket(row as usize));
            self.slow.end(row, self.job.share.number(index), n_in_socket, None);
        }
    }

    /// Bytes that the socket of a row holds; with TLS they are encrypted ones.
    fn n_in_socket(&self, row: usize) -> u64 {
        let socket = self.rows[row].socket.as_ref();
        socket.and_then(|socket| ioctl_fionread(socket).ok()).unwrap_or(0)
    }

    /// Lets those read that are due; whether more are.
    pub(super) fn turn_slow(&mut self) -> bool {
        if self.slow.line.is_empty() {
            return false;
        }
        let now = Instant::now();
        for _ in 0..MAX_READS_AT_ONCE {
            let Some((at, row)) = self.slow.line.front().copied() else { return false };
            if at > now {
                return false;
            }
            self.slow.line.pop_front();
            let Some(reader) = self.slow.readers.get_mut(&row) else { continue };
            if reader.since.is_none() {
                reader.is_in_line = false;
                continue;
            }
            reader.tenths += reader.bytes_per_s;
            let most = usize::try_from(reader.tenths / READS_PER_S).unwrap_or(usize::MAX);
            reader.tenths %= READS_PER_S;
            // From now on: one that is late does not read twice as much at once.
            self.slow.line.push_back((now + READ_EVERY, row));
            if most > 0 {
                self.read_slowly(row as usize, most);
            }
        }
        true
    }

    /// Handles an event of a slow reader. It reads when it is due, and not when there is something;
    /// but what is left is read when the server has ended the connection, to learn how.
    pub(super) fn ready_slow(&mut self, row: usize, flags: EventFlags) {
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.read_slowly(row, usize::MAX);
        }
    }

    /// Reads so many bytes, or all there are up to the end if there is no such limit.
    fn read_slowly(&mut self, row: usize, most: usize) {
        if self.rows[row].socket.is_none() || !self.rows[row].framer.has_head() {
            return;
        }
        let had_code = self.rows[row].framer.close_code().is_some();
        let read = self.read_on_slowly(row, most);
        if !had_code && self.rows[row].framer.close_code().is_some() {
            self.note_closing(row);
        }
        match read {
            Ok(false) => {}
            Ok(true) => self.end(row, Reason::Ended),
            Err(reason) => self.end(row, reason),
        }
    }

    /// Reads; whether the response has come to the end that the server meant.
    fn read_on_slowly(&mut self, row: usize, most: usize) -> Result<bool, Reason> {
        let mut kept = self.take_kept(row);
        let place = &mut self.rows[row];
        let Some(socket) = &place.socket else { return Ok(false) };
        let framer = &mut place.framer;
        let tls = if self.tls.is_empty() { None } else { self.tls.get_mut(&row) };
        let tls = tls.map(|tls| &mut **tls);
        let transport = Transport::new(socket, tls, &mut self.buffer, &mut self.outgoing);
        let mut transport = transport.reading_at_most(most);
        let mut beginning = Beginning::default();
        std::mem::swap(&mut beginning.control, &mut kept.control);
        let mut n_left = most;
        let result = loop {
            if n_left == 0 {
                break Ok(false);
            }
            let n = match transport.read() {
                Ok(Read::Bytes(n)) => n,
                Ok(Read::Nothing) => break Ok(false),
                Ok(Read::Closed) if !transport.is_tls() && framer.ends_at_close() => {
                    break Ok(true);
                }
                Ok(Read::Closed) => break Err(Reason::Cut),
                Err(reason) => break Err(reason),
            };
            n_left = n_left.saturating_sub(n);
            self.tally.bytes += n as u64;
            if let Some(reader) = self.slow.readers.get_mut(&row_number(row)) {
                reader.n_read += n as u64;
            }
            self.outbox.clear();
            let mut quiet = Quiet { tally: &mut self.tally, outbox: &mut self.outbox };
            let plain = |plain: &[u8]| framer.feed(&mut beginning, plain, &mut quiet);
            let shown = transport.show(n, plain, &mut kept.unsent);
            let said = self.outbox.frames();
            if !said.is_empty() {
                transport.say(said, false, &mut kept.unsent);
            }
            self.outbox.clear();
            match shown {
                Ok(Shown::More) => {}
                Ok(Shown::Ended) => break Ok(true),
                Ok(Shown::Closed) if framer.ends_at_close() => break Ok(true),
                Ok(Shown::Closed) => break Err(Reason::Cut),
                Err(reason) => break Err(reason),
            }
            if most < usize::MAX {
                break Ok(false);
            }
        };
        std::mem::swap(&mut beginning.control, &mut kept.control);
        self.put_back(row, kept);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_slow_is_exact_and_the_same_in_every_process() {
        let slow = [Slow { part: 0.01, bytes_per_s: 0 }, Slow { part: 0.02, bytes_per_s: 1024 }];
        let mut readers = SlowReaders::default();
        let all: Vec<Option<u64>> =
            (0..12_345).map(|number| readers.bytes_per_s(number, 12_345, &slow, 7)).collect();
        let n_of = |rate| all.iter().filter(|it| **it == Some(rate)).count();
        // 1 % of 10,000 and of 2,345; 2 % likewise.
        assert_eq!((n_of(0), n_of(1024)), (100 + 23, 200 + 47));
        let mut other = SlowReaders::default();
        for number in (0..12_345).rev().step_by(3) {
            let same = other.bytes_per_s(number, 12_345, &slow, 7);
            assert_eq!(same, all[usize::try_from(number).unwrap()], "{number}");
        }
    }
}
