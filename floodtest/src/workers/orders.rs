//! What a worker is told, from the end of its job on.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;

use memchr::memchr;

use super::wire::ASK;
use crate::clocks::correction::Correction;

/// Bytes taken at once from the parent, most of which ask for the counts.
const RECEIVE_BYTES: usize = 256;

/// Bytes of a line. The longest one is a correction of three numbers.
const MAX_LINE_BYTES: usize = 200;

/// What a line that names the start begins with.
const START: &str = "start ";

/// One thing that a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The run begins at this time of the machine's monotonic clock, in microseconds.
    Start(i64),
    /// Say your counts.
    Count,
    /// From now on, receipts have the time that this makes of the machine's monotonic clock.
    Correct(Correction),
}

impl Order {
    /// As it is sent.
    pub(super) fn start(start_us: i64) -> String {
        format!("{START}{start_us}\n")
    }
}

/// Takes orders out of what a parent sends.
#[derive(Debug)]
pub(super) struct Orders<'a> {
    /// The way to the parent.
    stream: &'a UnixStream,
    /// What came and was not taken.
    received: Vec<u8>,
}

impl<'a> Orders<'a> {
    /// Nothing has come yet.
    pub(super) fn new(stream: &'a UnixStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Takes in what has come, or waits until something has. Errors with `UnexpectedEof` where
    /// nobody is there any more.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; RECEIVE_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.received.extend_from_slice(&bytes[..n]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next of those that have come whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Order>> {
        if self.received.first() == Some(&ASK) {
            self.received.remove(0);
            return Ok(Some(Order::Count));
        }
        let no_order = || io::Error::new(ErrorKind::InvalidData, "what came is no order");
        let Some(end) = memchr(b'\n', &self.received) else {
            return if self.received.len() > MAX_LINE_BYTES { Err(no_order()) } else { Ok(None) };
        };
        let line: Vec<u8> = self.received.drain(..=end).collect();
        let line = str::from_utf8(&line[..end]).map_err(|_| no_order())?;
        let order = match line.strip_prefix(START) {
            Some(start_us) => Order::Start(start_us.parse().map_err(|_| no_order())?),
            None => Order::Correct(serde_json::from_str(line).map_err(|_| no_order())?),
        };
        Ok(Some(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// All orders in these pieces of what a parent sends; the error if that is what comes of them.
    fn orders_in(pieces: &[&str]) -> io::Result<Vec<Order>> {
        let (mut parent, worker) = UnixStream::pair().unwrap();
        let mut orders = Orders::new(&worker);
        let mut all = Vec::new();
        for piece in pieces {
            parent.write_all(piece.as_bytes()).unwrap();
            orders.fill()?;
            while let Some(order) = orders.next()? {
                all.push(order);
            }
        }
        Ok(all)
    }

    #[test]
    fn orders_are_found_wherever_what_comes_is_cut() {
        let correction = Correction { at_us: i64::MIN, is_us: i64::MAX, drift_ppb: i64::MIN };
        let json = serde_json::to_string(&correction).unwrap();
        let all = format!("{json}\n{}??{json}\n?", Order::start(-5));
        let correct = Order::Correct(correction);
        let expected =
            [correct, Order::Start(-5), Order::Count, Order::Count, correct, Order::Count];
        for cut in 1..all.len() {
            let orders = orders_in(&[&all[..cut.min(200)], &all[cut.min(200)..]]).unwrap();
            assert_eq!(orders, expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let long = "start ".repeat(40);
        for text in ["begin\n", "start now\n", "start \n", "{}\n", "\n", "\u{fffd}\n", &long] {
            let error = orders_in(&[text]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{text:?}");
        }
    }

    #[test]
    fn the_end_of_the_parent_is_an_error() {
        let (parent, worker) = UnixStream::pair().unwrap();
        drop(parent);
        let error = Orders::new(&worker).fill().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
