//! What takes what a response consists of.

use super::error::UpgradeFault;
use super::head::Head;

/// Whether more of a response is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The response goes on.
    More,
    /// The response is complete: the last chunk was seen, or all of its `Content-Length`.
    Ended,
}

/// What takes what a response consists of.
pub trait Sink {
    /// Whether a response with this status establishes the connection.
    fn accepts(&self, status: u16) -> bool {
        status == 200
    }
    /// The head of a response whose status is accepted is complete.
    fn head(&mut self, head: &Head);
    /// Some more bytes of the body, however they were framed.
    fn data(&mut self, bytes: &[u8]);
    /// A chunk is complete.
    fn chunk_end(&mut self);
    /// Whether the response, whose status is accepted, opens a WebSocket as it should; `None` where
    /// none was asked for.
    fn upgrade(&self, head: &Head) -> Option<Result<(), UpgradeFault>> {
        let _ = head;
        None
    }
    /// A whole message of a WebSocket, which came in one piece.
    fn message(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.data(bytes);
        }
        self.message_end();
    }
    /// A message of a WebSocket is complete whose bytes were shown.
    fn message_end(&mut self) {}
    /// A ping, to be answered with the same bytes.
    fn ping(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// A pong, which nobody asked for.
    fn pong(&mut self) {}
    /// The frame that closes a WebSocket, to be answered with the same code, if it has one.
    fn close(&mut self, code: Option<u16>) {
        let _ = code;
    }
}
