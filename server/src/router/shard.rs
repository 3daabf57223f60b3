//! One shard: rows, their index, and all that happens to a row, under one lock.

use std::collections::HashMap;
use std::io;

use super::backlog::Backlog;
use super::index::{Found, Index};
use super::rows::{Body, Connection, RowRef, Rows};
use super::{Id, IdHasher, Limits, Ready, RouterStats, Wire};
use crate::close::CloseReason;

/// What is kept of a connection beside its row, for the few that need it.
#[derive(Debug, Default)]
struct Extra {
    /// What its socket would not take yet.
    backlog: Backlog,
    /// The rows of its further ids.
    aliases: Vec<RowRef>,
    /// Bytes that it sent after its request.
    n_chatty_bytes: usize,
    /// Why it is closed as soon as its backlog is written, once its last chunk is in there.
    ending: Option<CloseReason>,
}

/// Rows, the index over them, and the counts of what happened to them.
#[derive(Debug)]
pub(super) struct Shard<W: Wire> {
    /// This shard's number, for references to its rows.
    number: u16,
    /// Writes to the sockets and watches them.
    wire: W,
    /// The rows.
    pub(super) rows: Rows<W>,
    /// From ids to rows.
    pub(super) index: Index,
    /// By slot, what the few rows with `has_extra` have beside their row.
    extras: HashMap<u32, Box<Extra>>,
    /// Where a chunk is put together, used again for every row.
    scratch: Vec<u8>,
    /// Aliases in other shards that belong to connections closed here. Whoever lets go of the lock
    /// takes them along and removes them: no two shards are ever locked at once.
    orphans: Vec<RowRef>,
    /// What happened.
    pub(super) stats: RouterStats,
    /// Limits of a connection.
    limits: Limits,
}

impl<W: Wire> Shard<W> {
    /// An empty shard.
    pub(super) fn new(number: u16, wire: W, hasher: IdHasher, limits: Limits) -> Self {
        Self {
            number,
            wire,
            rows: Rows::default(),
            index: Index::new(hasher),
            extras: HashMap::new(),
            scratch: Vec::new(),
            orphans: Vec::new(),
            stats: RouterStats::default(),
            limits,
        }
    }

    /// Takes a slot for `id`. Nobody finds it before [`login`](Self::login) or
    /// [`alias`](Self::alias) fills it.
    pub(super) fn reserve(&mut self, id: Id) -> RowRef {
        let slot = self.rows.take_slot();
        self.rows.get_mut(slot).id = id;
        RowRef { shard: self.number, slot, generation: self.rows.get(slot).generation }
    }

    /// Writes the response head and logs the connection in, as one step for everybody else: no
    /// chunk comes before the head, and a message sent after the peer saw the head arrives.
    pub(super) fn login(
        &mut self,
        row: RowRef,
        socket: W::Socket,
        style: W::Style,
        head: &[u8],
        aliases: Vec<RowRef>,
    ) -> Result<(), CloseReason> {
        // An empty socket buffer takes a head whole. One that does not is no usable connection.
        let refused = match W::send(&socket, head) {
            Ok(n) if n == head.len() => {
                self.wire.watch(&socket, row.key()).err().map(|_| CloseReason::Error)
            }
            Ok(_) => Some(CloseReason::ShortHead),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(CloseReason::ShortHead),
            Err(error) => Some(CloseReason::of_error(&error)),
        };
        if let Some(reason) = refused {
            self.wire.closing(&socket);
            self.rows.free(row.slot);
            self.orphans.extend(aliases);
            self.stats.closed.add(reason, 1);
            return Err(reason);
        }
        let has_extra = !aliases.is_empty();
        if has_extra {
            self.extras.insert(row.slot, Box::new(Extra { aliases, ..Extra::default() }));
        }
        let connection = Connection { n_chunks: 0, socket, style, has_extra };
        self.rows.get_mut(row.slot).body = Body::Connection(connection);
        self.index.add(row.slot, &mut self.rows);
        self.stats.parked += 1;
        Ok(())
    }

    /// Enters a further id of the connection whose row is `home`.
    pub(super) fn alias(&mut self, id: Id, home: RowRef) -> RowRef {
        let row = self.reserve(id);
        self.rows.get_mut(row.slot).body = Body::Alias(home);
        self.index.add(row.slot, &mut self.rows);
        row
    }

    /// Removes an alias.
    pub(super) fn forget_alias(&mut self, row: RowRef) {
        debug_assert_eq!(self.rows.get(row.slot).generation, row.generation);
        self.leave(row.slot);
        self.rows.free(row.slot);
    }

    /// Removes the row in `slot` from the index.
    fn leave(&mut self, slot: u32) {
        if self.index.remove(slot, &mut self.rows) {
            self.wire.left(self.rows.get(slot).id);
        }
    }

    /// The aliases that were left behind by connections closed since the last call.
    pub(super) fn take_orphans(&mut self) -> Vec<RowRef> {
        std::mem::take(&mut self.orphans)
    }

    /// The connections logged in as `id`, here or behind an alias.
    pub(super) fn targets(&self, id: Id) -> Vec<RowRef> {
        match self.index.find(id, &self.rows) {
            Found::Nobody => Vec::new(),
            Found::One(slot) => vec![self.target(slot)],
            Found::Many(slots) => slots.iter().map(|&slot| self.target(slot)).collect(),
        }
    }

    /// The connection that the row in `slot` stands for.
    pub(super) fn target(&self, slot: u32) -> RowRef {
        let row = self.rows.get(slot);
        match row.body {
            Body::Alias(home) => home,
            _ => RowRef { shard: self.number, slot, generation: row.generation },
        }
    }

    /// Sends `message` to one connection, if the reference is still good. Returns whether it was
    /// reached: the chunk written or queued.
    pub(super) fn deliver(&mut self, row: RowRef, message: &W::Message) -> bool {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return false };
        let mut n_waiting = 0;
        if connection.has_extra {
            let extra = &self.extras[&row.slot];
            if extra.ending.is_some() {
                return false;
            }
            n_waiting = extra.backlog.n_bytes();
        }
        connection.n_chunks += 1;
        self.scratch.clear();
        W::render(message, connection.n_chunks, connection.style, &mut self.scratch);
        self.stats.deliveries += 1;

        // One chunk may always wait, whatever its size: a limit that a single large message breaks
        // would close readers that are not slow.
        if n_waiting > 0 && n_waiting + self.scratch.len() > self.limits.backlog_bytes {
            W::abort(&connection.socket);
            self.stats.dropped.add(CloseReason::SlowReader, 1);
            self.close(row.slot, CloseReason::SlowReader);
            return false;
        }
        let n_sent =
            if n_waiting > 0 { Ok(0) } else { send::<W>(&connection.socket, &self.scratch) };
        match n_sent {
            Ok(n) if n == self.scratch.len() => self.stats.written += 1,
            Ok(n) => {
                let extra = extra_mut(&mut self.extras, connection, row.slot);
                extra.backlog.push_chunk(&self.scratch[n..]);
                self.stats.queued += 1;
                if n_waiting == 0 {
                    self.watch_writable(row, true);
                }
            }
            Err(error) => {
                let reason = CloseReason::of_error(&error);
                self.stats.dropped.add(reason, 1);
                self.close(row.slot, reason);
                return false;
            }
        }
        true
    }

    /// Ends a connection cleanly: with its last chunk, after what waits for it.
    pub(super) fn end(&mut self, row: RowRef, reason: CloseReason) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let last_chunk = W::last_chunk(connection.style);
        let mut is_waiting = false;
        if connection.has_extra {
            let extra = &self.extras[&row.slot];
            if extra.ending.is_some() {
                return;
            }
            is_waiting = !extra.backlog.is_empty();
        }
        let n_sent = if is_waiting { Ok(0) } else { send::<W>(&connection.socket, last_chunk) };
        match n_sent {
            Ok(n) if !is_waiting && n == last_chunk.len() => {
                W::finish(&connection.socket);
                self.close(row.slot, reason);
            }
            Ok(n) => {
                let extra = extra_mut(&mut self.extras, connection, row.slot);
                extra.backlog.push_uncounted(&last_chunk[n..]);
                extra.ending = Some(reason);
                if !is_waiting {
                    self.watch_writable(row, true);
                }
            }
            Err(error) => self.close(row.slot, CloseReason::of_error(&error)),
        }
    }

    /// Finds out whether the peer of the connection in `slot` is there, by bytes that mean nothing
    /// to it. One that has bytes waiting is asked already.
    pub(super) fn ping(&mut self, slot: u32) {
        let row = RowRef { shard: self.number, slot, generation: self.rows.get(slot).generation };
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let ping = W::ping(connection.style);
        let is_waiting = connection.has_extra && !self.extras[&row.slot].backlog.is_empty();
        if ping.is_empty() || is_waiting {
            return;
        }
        match send::<W>(&connection.socket, ping) {
            // Full of bytes that the peer has not acknowledged; the kernel watches those.
            Ok(0) => {}
            Ok(n) if n == ping.len() => {}
            Ok(n) => {
                let extra = extra_mut(&mut self.extras, connection, row.slot);
                extra.backlog.push_uncounted(&ping[n..]);
                self.watch_writable(row, true);
            }
            Err(error) => self.close(row.slot, CloseReason::of_error(&error)),
        }
    }

    /// Handles an event of the poller. `scratch` is where dropped bytes are read to.
    pub(super) fn on_ready(&mut self, key: u64, ready: Ready, scratch: &mut [u8]) {
        let row = self.row_of_key(key);
        if ready.writable {
            self.flush(row);
        }
        if ready.readable {
            self.read_and_drop(row, scratch);
        }
    }

    /// Writes what waits for a connection, as far as its socket takes it.
    fn flush(&mut self, row: RowRef) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        if !connection.has_extra {
            return;
        }
        let extra = extra_mut(&mut self.extras, connection, row.slot);
        let mut failed = None;
        while !extra.backlog.is_empty() {
            match send::<W>(&connection.socket, extra.backlog.front()) {
                Ok(0) => return,
                Ok(n) => {
                    let n_completed = extra.backlog.written(n);
                    self.stats.written += n_completed;
                    self.stats.queued -= n_completed;
                }
                Err(error) => {
                    failed = Some(CloseReason::of_error(&error));
                    break;
                }
            }
        }
        let ended = extra.ending;
        if extra.backlog.is_empty() {
            // Its memory goes now: a backlog's room, kept for every reader that was slow once,
            // would add up to what the limit is there to prevent.
            extra.backlog = Backlog::default();
        }
        if failed.is_none() && ended.is_some() {
            W::finish(&connection.socket);
        }
        match failed.or(ended) {
            Some(reason) => self.close(row.slot, reason),
            None => self.watch_writable(row, false),
        }
    }

    /// Reads until nothing is left, so that the next event is seen, and drops what was read.
    fn read_and_drop(&mut self, row: RowRef, scratch: &mut [u8]) {
        let Some(connection) = connection_mut(&mut self.rows, row) else { return };
        let reason = loop {
            match W::recv(&connection.socket, scratch) {
                Ok(0) => break CloseReason::Peer,
                Ok(n) => {
                    let extra = extra_mut(&mut self.extras, connection, row.slot);
                    extra.n_chatty_bytes += n;
                    if extra.n_chatty_bytes > self.limits.chatty_bytes {
                        break CloseReason::Chatty;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break CloseReason::of_error(&error),
            }
        };
        self.close(row.slot, reason);
    }

    /// Counts bytes that came with the request, behind its end.
    pub(super) fn count_chatty(&mut self, row: RowRef, n_bytes: usize) {
        if let Some(connection) = connection_mut(&mut self.rows, row) {
            extra_mut(&mut self.extras, connection, row.slot).n_chatty_bytes += n_bytes;
        }
    }

    /// Removes a connection and everything about it, and closes its socket.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason) {
        self.leave(slot);
        let Body::Connection(connection) = self.rows.free(slot) else {
            unreachable!("only connections are closed; an alias goes with its connection")
        };
        self.wire.closing(&connection.socket);
        if connection.has_extra
            && let Some(extra) = self.extras.remove(&slot)
        {
            let n_dropped = extra.backlog.n_chunks();
            self.stats.queued -= n_dropped;
            self.stats.dropped.add(reason, n_dropped);
            self.orphans.extend(extra.aliases);
        }
        self.stats.parked -= 1;
        self.stats.closed.add(reason, 1);
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
fn connection_mut<W: Wire>(rows: &mut Rows<W>, row: RowRef) -> Option<&mut Connection<W>> {
    let found = rows.get_mut(row.slot);
    match &mut found.body {
        Body::Connection(connection) if found.generation == row.generation => Some(connection),
        _ => None,
    }
}

/// What is kept beside a row, made on first use.
fn extra_mut<'extras, W: Wire>(
    extras: &'extras mut HashMap<u32, Box<Extra>>,
    connection: &mut Connection<W>,
    slot: u32,
) -> &'extras mut Extra {
    connection.has_extra = true;
    extras.entry(slot).or_default()
}

/// Sends what the socket takes now; `Ok(0)` when it takes nothing.
fn send<W: Wire>(socket: &W::Socket, bytes: &[u8]) -> io::Result<usize> {
    match W::send(socket, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}
