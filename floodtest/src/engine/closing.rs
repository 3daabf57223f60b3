//! The ends of WebSockets: a frame that says so, its answer, and the close of the connection.

use std::time::{Duration, Instant};

use super::Engine;
use super::opening::Unsent;
use super::transport::Transport;
use crate::dial::send_some;
use crate::reason::Reason;

/// How long a server may take to close the connection when it has closed its WebSocket. RFC 6455
/// (7.1.1) has the server close first, so that the waiting after the last segment is on its side;
/// what follows its close frame is a fault that would not be seen otherwise. Then we close.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The code of a client that goes away (RFC 6455, 7.4.1), which browsers send as well.
const GOING_AWAY: u16 = 1001;

/// A connection that the server is to close.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    /// Its row.
    pub(super) row: usize,
    /// When we do.
    pub(super) until: Instant,
}

impl Engine<'_> {
    /// Notes that the server has closed the WebSocket of a connection.
    pub(super) fn note_closing(&mut self, row: usize) {
        self.closing.push_back(Closing { row, until: Instant::now() + CLOSE_TIME });
    }

    /// Closes connections that the server has not closed in time.
    pub(super) fn check_closing(&mut self, now: Instant) {
        while let Some(Closing { row, until }) = self.closing.front().copied() {
            // Of one that has ended meanwhile there is no code any more.
            let code = self.rows[row].framer.close_code();
            if code.is_some() && until > now {
                return;
            }
            self.closing.pop_front();
            if let Some(code) = code {
                self.end(row, Reason::Close(code));
            }
        }
    }

    /// Counts as closed all whose WebSockets the server has closed.
    pub(super) fn end_closing(&mut self) {
        self.check_closing(Instant::now() + CLOSE_TIME);
    }

    /// Tells the server of an open WebSocket that the run is over.
    pub(super) fn say_goodbye(&mut self, row: usize) {
        if self.rows[row].framer.is_websocket() {
            self.say_close(row, GOING_AWAY);
        }
    }

    /// Tells the server of a connection that has TLS that nothing more comes, unless its socket
    /// takes nothing now.
    pub(super) fn say_close_notify(&mut self, row: usize) {
        let (Some(tls), Some(socket)) = (self.tls.get_mut(&row), &self.rows[row].socket) else {
            return;
        };
        if !self.unsent.contains_key(&row) {
            self.outgoing.clear();
            tls.close(&mut self.outgoing);
            // Whatever becomes of it, the connection is closed now.
            let _ = send_some(socket, &self.outgoing);
        }
    }

    /// Sends a frame that closes a WebSocket, unless its socket takes nothing now.
    pub(super) fn say_close(&mut self, row: usize, code: u16) {
        let Some(socket) = &self.rows[row].socket else { return };
        if self.unsent.contains_key(&row) {
            // In the middle of a frame there is no place for another one.
            return;
        }
        self.outbox.clear();
        self.outbox.close(Some(code));
        let tls = self.tls.get_mut(&row).map(|tls| &mut **tls);
        let mut transport = Transport::new(socket, tls, &mut self.buffer, &mut self.outgoing);
        transport.say(self.outbox.frames(), false, &mut Unsent::default());
        self.outbox.clear();
    }
}
