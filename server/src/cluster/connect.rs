//! Connections to a broker: made, made again, and given up when nothing is heard.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use rand::RngExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::brokers::Broker;
use super::config::ClusterConfig;
use super::replies::{Replies, Reply, said};
use super::resp;
use super::stream::{self, Output, Reader};
use super::tls::{self, Tls};

/// How long a broker may take from connect to its first answer: in a second it did nothing else
/// that is any use.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// The wait before the second try to connect; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two tries. With it, and [`CONNECT_TIME`], a broker that is back is
/// found within a few seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often a broker that cannot be reached is tried at the start: within about 3 s, or 15 s if it
/// accepts and says nothing.
const START_TRIES: u32 = 5;

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It may be reached later.
    #[error("{0}")]
    Unreachable(String),
    /// It answered that it does not want us.
    #[error("it refuses: {0}")]
    Denied(String),
}

/// A connection that has been accepted by its broker.
#[derive(Debug)]
pub(super) struct Connection {
    /// Where replies come from.
    pub(super) input: Input,
    /// Where commands go.
    pub(super) output: Output,
}

/// The half of a connection from which replies are read.
#[derive(Debug)]
pub(super) struct Input {
    /// The socket.
    socket: Reader,
    /// What was read of it.
    replies: Replies,
    /// When bytes came last.
    read_at: Instant,
    /// When the bytes came that completed a reply last, or a part of something that is skipped. A
    /// reply that comes byte by byte and never ends is no sign of life.
    pub(super) heard_at: Instant,
}

impl Connection {
    /// Connects, and says who we are.
    pub(super) async fn open(broker: &Broker, tls: Option<&Tls>) -> Result<Self, Refused> {
        let opened = timeout(CONNECT_TIME, Self::open_slowly(broker, tls)).await;
        let too_late = || {
            let perhaps =
                if broker.is_tls { ", perhaps as it speaks no TLS on this port" } else { "" };
            format!("no answer within {} s{perhaps}", CONNECT_TIME.as_secs())
        };
        opened.unwrap_or_else(|_| Err(Refused::Unreachable(too_late())))
    }

    /// The same, without a limit on its time.
    async fn open_slowly(broker: &Broker, tls: Option<&Tls>) -> Result<Self, Refused> {
        let unreachable = |error: std::io::Error| Refused::Unreachable(tls::sentence(&error));
        let socket = TcpStream::connect((broker.host.as_str(), broker.port)).await;
        let socket = socket.map_err(unreachable)?;
        // Publications are small and awaited.
        socket.set_nodelay(true).map_err(unreachable)?;
        let (reader, mut output) = if broker.is_tls {
            // Whatever is missing, a password does not go out without TLS.
            let tls = tls.ok_or_else(|| Refused::Unreachable("TLS is not set up".to_owned()))?;
            stream::tls(tls.connect(&broker.host, socket).await.map_err(unreachable)?)
        } else {
            stream::plain(socket)
        };
        let mut hello = Vec::new();
        let mut n_replies = 1;
        if let Some((user, password)) = &broker.credentials {
            let user = user.as_deref().map(str::as_bytes);
            let words: Vec<_> =
                [b"AUTH".as_slice()].into_iter().chain(user).chain([password.as_bytes()]).collect();
            resp::command(&mut hello, &words);
            n_replies += 1;
        }
        // Finds out as well whether it wants a password that we do not have.
        resp::command(&mut hello, &[b"PING"]);
        output.write_all(&mut BytesMut::from(&hello[..])).await.map_err(unreachable)?;
        let now = Instant::now();
        let replies = Replies::default();
        let mut input = Input { socket: reader, replies, read_at: now, heard_at: now };
        for _ in 0..n_replies {
            loop {
                match input.next().map_err(Refused::Unreachable)? {
                    // It has just been started, or is about to end.
                    Some(Reply::Error(why))
                        if why.starts_with(b"LOADING") || why.starts_with(b"ERR max number") =>
                    {
                        return Err(Refused::Unreachable(format!("it says {}", said(why))));
                    }
                    Some(Reply::Error(why)) => {
                        return Err(Refused::Denied(broker.without_password(&said(why))));
                    }
                    Some(Reply::Fine) => break,
                    Some(_) => {
                        let why = "it answers a greeting with something else".to_owned();
                        return Err(Refused::Unreachable(why));
                    }
                    None => {}
                }
                input.read().await.map_err(Refused::Unreachable)?;
            }
        }
        Ok(Self { input, output })
    }
}

impl Input {
    /// Waits for bytes. Loses none if it is dropped meanwhile.
    pub(super) async fn read(&mut self) -> Result<(), String> {
        match self.socket.read_buf(self.replies.incoming()).await {
            Ok(0) => Err("it closed the connection".to_owned()),
            Ok(_) => {
                self.read_at = Instant::now();
                if self.replies.is_skipping() {
                    self.heard_at = self.read_at;
                }
                Ok(())
            }
            Err(error) => Err(tls::sentence(&error)),
        }
    }

    /// The next reply that was read whole.
    pub(super) fn next(&mut self) -> Result<Option<Reply<'_>>, String> {
        let reply = self.replies.next()?;
        if reply.is_some() {
            self.heard_at = self.read_at;
        }
        Ok(reply)
    }
}

/// Finds out whether all brokers can be reached and want us. To be done before clients come: a
/// mistake in a flag should not look like a fault.
pub async fn check(config: &ClusterConfig) -> Result<(), String> {
    for broker in &config.brokers {
        let mut waits = Waits::default();
        let mut n_tries = 0;
        loop {
            n_tries += 1;
            match Connection::open(broker, config.tls.as_ref()).await {
                Ok(_) => break,
                Err(Refused::Denied(why)) => {
                    return Err(format!(
                        "the broker at {broker} refuses: {why}; give the right password with \
                         --cluster-password-file, and the user in --cluster \
                         (redis://user@host:port)"
                    ));
                }
                Err(Refused::Unreachable(why)) if n_tries == START_TRIES => {
                    return Err(format!(
                        "the broker at {broker} cannot be reached, in {START_TRIES} tries: {why}; \
                         start it first, or correct its address in --cluster"
                    ));
                }
                Err(Refused::Unreachable(_)) => sleep(waits.next()).await,
            }
        }
    }
    Ok(())
}

/// How long to wait before trying again: longer and longer, and random, so that the nodes of a
/// cluster do not all come at once.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Tries that failed.
    n_failed: u32,
}

impl Waits {
    /// Takes note of a connection that was made at `made_at` and is lost now. If it lasted, the
    /// next wait is the shortest again; a broker that takes connections only to break them is not
    /// tried ten times a second.
    pub(super) fn lost(&mut self, made_at: Instant) {
        if made_at.elapsed() > LONGEST_WAIT {
            *self = Self::default();
        }
    }

    /// The next wait: between half of what is due and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.n_failed.min(10)).min(LONGEST_WAIT);
        self.n_failed = self.n_failed.saturating_add(1);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let mut waits = Waits::default();
        let first = waits.next();
        assert!((FIRST_WAIT / 2..=FIRST_WAIT).contains(&first), "{first:?}");
        for _ in 0..50 {
            waits.next();
        }
        let last = waits.next();
        assert!((LONGEST_WAIT / 2..=LONGEST_WAIT).contains(&last), "{last:?}");
        waits.lost(Instant::now());
        assert!(waits.next() >= LONGEST_WAIT / 2, "it was lost at once");
        waits.lost(Instant::now().checked_sub(2 * LONGEST_WAIT).unwrap());
        assert!(waits.next() <= FIRST_WAIT, "it lasted");
    }
}
