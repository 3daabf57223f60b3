//! Sockets and pollers as the router uses them: epoll, and `send` and `recv` that never wait.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::addresses::Addresses;
use crate::close::CloseReason;
use crate::cluster::departures::Departures;
use crate::framing::{Message, Style};
use crate::router::{Allowance, Heard, Id, Meter, Ready, SharedTail, Wire};
use crate::websocket;
use crate::websocket::frames::Frames;

/// Events taken from a poller at a time.
const N_EVENTS: usize = 256;

/// What a parked connection is watched for. Edge-triggered: a connection that has nothing new to
/// say costs nothing, however many there are.
const WATCHED: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// An epoll instance. It is itself a descriptor that the runtime can wait for.
#[derive(Debug)]
pub(crate) struct Poller {
    /// Its descriptor.
    epoll: OwnedFd,
    /// Who counts the connections of each address, if anybody does.
    addresses: Option<Arc<Addresses>>,
    /// Who tells the brokers of a cluster which ids have left, if there is one.
    departures: Option<Arc<Departures>>,
}

impl Poller {
    /// A new epoll instance.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, addresses: None, departures: None })
    }

    /// A new one for the connections of a shard: their sockets are counted by `addresses`, and
    /// `departures` hears of their ids.
    pub(crate) fn for_shard(
        addresses: Option<Arc<Addresses>>,
        departures: Option<Arc<Departures>>,
    ) -> io::Result<Self> {
        Ok(Self { addresses, departures, ..Self::new()? })
    }

    /// The same instance, for the task that waits for its events.
    #[expect(
        deprecated,
        reason = "the successor is an unsafe function, which asks that the descriptor be owned and \
                  stay the same: a Poller's does"
    )]
    pub(crate) fn waiter(&self) -> io::Result<AsyncFd<Self>> {
        let same = Self { epoll: self.epoll.try_clone()?, addresses: None, departures: None };
        AsyncFd::with_interest(same, Interest::READABLE)
    }

    /// Watches for bytes and for the peer's end.
    pub(crate) fn add(&self, fd: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(key), WATCHED)?)
    }

    /// Watches no longer.
    pub(crate) fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Replaces what is in `events` by the events that there are now. Does not wait.
    pub(crate) fn poll(&self, events: &mut Vec<(u64, Ready)>) -> io::Result<()> {
        let mut buffer = [const { MaybeUninit::uninit() }; N_EVENTS];
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (found, _) = epoll::wait(&self.epoll, &mut buffer, Some(&no_wait))?;
        events.clear();
        events.extend(found.iter().map(|event| (event.data.u64(), ready(event.flags))));
        Ok(())
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// What an event says, in the router's words. An error and a hang-up show when reading.
fn ready(flags: epoll::EventFlags) -> Ready {
    let readable = epoll::EventFlags::IN
        | epoll::EventFlags::RDHUP
        | epoll::EventFlags::HUP
        | epoll::EventFlags::ERR;
    Ready { readable: flags.intersects(readable), writable: flags.contains(epoll::EventFlags::OUT) }
}

/// Receives what is there; `WouldBlock` when nothing is.
pub(crate) fn recv(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (n, _) = rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?;
    Ok(n)
}

/// Sends what the socket takes; `WouldBlock` when it takes nothing.
pub(crate) fn try_write(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Reads away what the peer has sent. A close with unread bytes resets the connection, and may
/// destroy what was written last.
pub(crate) fn finish(socket: &OwnedFd) {
    let mut dropped = [0; 1024];
    for _ in 0..64 {
        if !matches!(recv(socket, &mut dropped), Ok(1..)) {
            break;
        }
    }
}

impl Wire for Poller {
    /// A reference to shared bytes takes 16 bytes more than a copy's border, and the shared ones
    /// are an allocation of their own: below this the copies of a few connections take less.
    const SHARED_BYTES: usize = 512;

    type Socket = OwnedFd;
    type Style = Style;
    type Message = Message;
    type Talk = Frames;

    fn watch(&self, socket: &OwnedFd, key: u64) -> io::Result<()> {
        self.add(socket, key)
    }

    fn watch_writable(&self, socket: &OwnedFd, key: u64, wanted: bool) -> io::Result<()> {
        let flags = if wanted { WATCHED | epoll::EventFlags::OUT } else { WATCHED };
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(key), flags)?)
    }

    fn try_write(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        try_write(socket, bytes)
    }

    fn recv(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        recv(socket, buffer)
    }

    fn abort(socket: &OwnedFd) {
        // Without this the kernel would keep a slow reader's queue for minutes after the close.
        _ = rustix::net::sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
    }

    fn finish(socket: &OwnedFd) {
        finish(socket);
    }

    fn render(message: &Message, n: u64, style: Style, out: &mut Vec<u8>) {
        message.render(n, style, out);
    }

    fn tail(message: &Message, style: Style, meter: &Arc<Meter>) -> (Arc<SharedTail>, usize) {
        message.tail(style, meter)
    }

    fn last_chunk(style: Style, reason: CloseReason) -> &'static [u8] {
        style.last_chunk(reason)
    }

    fn ping(style: Style) -> &'static [u8] {
        style.ping()
    }

    fn talks(style: Style) -> bool {
        style == Style::WebSocket
    }

    fn hear(
        frames: &mut Frames,
        bytes: &mut [u8],
        allowance: &mut Allowance,
        answers: &mut Vec<u8>,
    ) -> Heard {
        websocket::take_in(frames, bytes, allowance, answers)
    }

    fn is_over(frames: &Frames) -> bool {
        frames.is_between_messages()
    }

    fn closing(&self, socket: &OwnedFd, n_ids: usize) {
        if let Some(addresses) = &self.addresses {
            addresses.leave(socket, n_ids);
        }
    }

    fn left(&self, id: Id) {
        if let Some(departures) = &self.departures {
            departures.left(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Router;

    #[test]
    fn a_parked_connection_is_32_bytes() {
        assert_eq!(Router::<Poller>::ROW_BYTES, 32);
    }
}
