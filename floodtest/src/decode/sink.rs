//! What takes what a response consists of.

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
}
