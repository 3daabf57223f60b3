//! A connection to a control door: requests go out, answers come back in their order.
//!
//! This is as much of HTTP/1.1 as the control door speaks: answers with a `Content-Length`. Any
//! other answer leaves only its status, and the connection is closed after it. What it buys is that
//! requests need not wait for each other's answers, and two thirds of the time a general client
//! takes for a request.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::receipt::Reason;
use crate::stream::Stream;

/// Bytes in the head of an answer; the door's have about 100. A longer one is not the door's.
const HEAD_LIMIT_BYTES: usize = 8 * 1024;

/// Fields in the head of an answer; the door's have three.
const FIELDS_LIMIT: usize = 32;

/// Bytes of the body of an answer that are read; the door's have about 100. A longer one is not the
/// door's, and is not collected.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Bytes that are made room for at a time: several of the door's answers.
const READ_BYTES: usize = 1024;

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; empty where it is none that the control door gives.
    pub body: Vec<u8>,
    /// Whether nothing can follow on this connection.
    pub is_last: bool,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What has come on a connection that owes no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Quiet,
    /// Its end.
    Ended,
    /// Bytes that nobody asked for. What follows cannot be trusted either.
    Stray,
}

/// A connection to a control door.
#[derive(Debug)]
pub struct Http1Connection {
    /// The connection.
    stream: Stream,
    /// Requests, of which the first [`Self::n_written`] bytes are gone.
    outbox: Vec<u8>,
    /// Bytes of the outbox that the kernel took.
    n_written: usize,
    /// Bytes of requests that the kernel took before those in the outbox.
    n_gone: u64,
    /// Whether the kernel takes no more. What the server said before is still read.
    is_torn: bool,
    /// Bytes of answers that are not complete, and room for more.
    inbox: Vec<u8>,
    /// Bytes of the inbox that were received.
    n_received: usize,
}

impl Http1Connection {
    /// One over a connection that nothing was sent on.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            outbox: Vec::new(),
            n_written: 0,
            n_gone: 0,
            is_torn: false,
            inbox: Vec::new(),
            n_received: 0,
        }
    }

    /// Where requests are written. They go out with the next [`Self::poll_flush`].
    pub fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Bytes of all requests so far, those in the outbox included: where the last one ends.
    pub fn n_requested(&self) -> u64 {
        self.n_gone + self.outbox.len() as u64
    }

    /// Bytes of requests that the kernel took.
    pub fn n_taken(&self) -> u64 {
        self.n_gone + self.n_written as u64
    }

    /// What has come on a connection that owes no answer.
    pub fn state(&mut self) -> State {
        self.poll_state(&mut Context::from_waker(Waker::noop()))
    }

    /// The same; if nothing has come, the task is woken when something does.
    pub fn poll_state(&mut self, context: &mut Context<'_>) -> State {
        if self.n_received > 0 {
            return State::Stray;
        }
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(context, &mut room) {
            Poll::Pending => State::Quiet,
            Poll::Ready(Ok(())) if !room.filled().is_empty() => State::Stray,
            Poll::Ready(_) => State::Ended,
        }
    }

    /// Writes what the outbox holds. Completes when it is empty or cannot be written: the reason
    /// for that is what reading ends with.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.n_written < self.outbox.len() && !self.is_torn {
            let rest = &self.outbox[self.n_written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(n) => self.n_written += n,
                Err(_) => self.is_torn = true,
            }
        }
        // Within TLS there may be bytes that were taken and did not go out.
        if !self.is_torn && ready!(Pin::new(&mut self.stream).poll_flush(context)).is_err() {
            self.is_torn = true;
        }
        self.n_gone += self.n_written as u64;
        self.outbox.clear();
        self.n_written = 0;
        Poll::Ready(())
    }

    /// Reads the next answer, or why there will be none.
    pub fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer, Reason>> {
        let mut is_at_end = false;
        loop {
            if let Some((answer, length)) = parse(&self.inbox[..self.n_received], is_at_end)? {
                self.inbox.copy_within(length..self.n_received, 0);
                self.n_received -= length;
                return Poll::Ready(Ok(answer));
            }
            if is_at_end {
                let reason = if self.is_torn { Reason::Reset } else { Reason::Cut };
                return Poll::Ready(Err(reason));
            }
            if self.n_received == self.inbox.len() {
                self.inbox.resize(self.n_received + READ_BYTES, 0);
            }
            let mut room = ReadBuf::new(&mut self.inbox[self.n_received..]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))
                .map_err(|error| Reason::of_breaking(&error))?;
            is_at_end = room.filled().is_empty();
            self.n_received += room.filled().len();
        }
    }
}

/// The first answer in `received` and its length; none if it is not complete. With `is_at_end`
/// nothing more will come: a refusal whose text is missing is a refusal still.
fn parse(received: &[u8], is_at_end: bool) -> Result<Option<(Answer, usize)>, Reason> {
    let mut start = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
        let mut head = httparse::Response::new(&mut fields);
        let head_length = match head.parse(&received[start..]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if received.len() - start <= HEAD_LIMIT_BYTES => {
                return Ok(None);
            }
            _ => return Err(Reason::BadAnswer),
        };
        let status = head.code.expect("a complete head has a status");
        start += head_length;
        // An interim answer: the real one follows.
        if (100..200).contains(&status) {
            continue;
        }
        let is_last = head.version == Some(0) || has_close(head.headers);
        let Some(length) = body_length(status, head.headers)? else {
            return Ok(Some((Answer { status, body: Vec::new(), is_last: true }, start)));
        };
        return Ok(match received[start..].get(..length) {
            Some(body) => Some((Answer { status, body: body.into(), is_last }, start + length)),
            None if is_at_end && !(200..300).contains(&status) => {
                Some((Answer { status, body: Vec::new(), is_last: true }, received.len()))
            }
            None => None,
        });
    }
}

/// The length of the body; none if it is not one that is read.
fn body_length(status: u16, fields: &[httparse::Header<'_>]) -> Result<Option<usize>, Reason> {
    if status == 204 || status == 304 {
        return Ok(Some(0));
    }
    let named = |name: &'static str| {
        fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    };
    if named("transfer-encoding").next().is_some() {
        return Ok(None);
    }
    let mut lengths = named("content-length").map(|field| {
        let digits = std::str::from_utf8(field.value).ok().filter(|it| !it.starts_with('+'))?;
        digits.trim().parse::<usize>().ok()
    });
    let Some(length) = lengths.next() else { return Ok(None) };
    if length.is_none() || lengths.any(|other| other != length) {
        return Err(Reason::BadAnswer);
    }
    Ok(length.filter(|length| *length <= BODY_LIMIT_BYTES))
}

/// Whether the server says that it closes the connection after this answer.
fn has_close(fields: &[httparse::Header<'_>]) -> bool {
    let mut connection =
        fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection"));
    connection.any(|field| {
        let mut options = field.value.split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_HUNDRED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    fn answer(status: u16, body: &str, is_last: bool) -> Answer {
        Answer { status, body: body.into(), is_last }
    }

    #[test]
    fn an_answer_is_complete_with_its_last_byte_and_the_next_one_follows() {
        let two = format!("{TWO_HUNDRED}HTTP/1.1 204 No\r\n\r\n");
        for end in 0..two.len() {
            let expected =
                (end >= TWO_HUNDRED.len()).then(|| (answer(200, "{}", false), TWO_HUNDRED.len()));
            assert_eq!(parse(&two.as_bytes()[..end], false), Ok(expected), "{end}");
        }
        let rest = &two.as_bytes()[TWO_HUNDRED.len()..];
        assert_eq!(parse(rest, false), Ok(Some((answer(204, "", false), rest.len()))));
    }

    #[test]
    fn an_interim_answer_is_passed_over() {
        let text = format!("HTTP/1.1 100 Continue\r\n\r\n{TWO_HUNDRED}");
        assert_eq!(parse(text.as_bytes(), false), Ok(Some((answer(200, "{}", false), text.len()))));
    }

    #[test]
    fn nothing_follows_where_the_server_closes_or_the_length_is_not_known() {
        for (text, status, body) in [
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
            ("HTTP/1.1 200 OK\r\nConnection: TE, Close\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
            ("HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n", 502, ""),
            ("HTTP/1.1 200 OK\r\n\r\n", 200, ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", 200, ""),
        ] {
            let expected = Some((answer(status, body, true), text.len()));
            assert_eq!(parse(text.as_bytes(), false), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_refusal_that_was_cut_off_in_its_body_is_a_refusal_and_an_acceptance_is_none() {
        let refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncom";
        assert_eq!(parse(refusal, false), Ok(None));
        assert_eq!(parse(refusal, true), Ok(Some((answer(503, "", true), refusal.len()))));
        assert_eq!(parse(&TWO_HUNDRED.as_bytes()[..TWO_HUNDRED.len() - 1], true), Ok(None));
    }

    #[test]
    fn what_is_no_answer_is_a_bad_one() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_LIMIT_BYTES));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(FIELDS_LIMIT + 1));
        for text in [
            "220 smtp.example.com ESMTP\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: one\r\n\r\nx",
            &long,
            &many,
        ] {
            assert_eq!(parse(text.as_bytes(), false), Err(Reason::BadAnswer), "{text}");
        }
    }
}
