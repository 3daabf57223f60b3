//! One connect: a socket, bound to a source port, on its way to the server.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with,
};

use crate::reason::Reason;
use crate::targets::Endpoint;

/// Begins a connection to `endpoint`, whose socket is to hold `receive_bytes` if
/// that is said, and sends as much of `request` as goes at once.
///
/// On loopback the handshake is complete when `connect` returns, so that the request can go with
/// it; that saves waiting for the socket to become writable. Over a network nothing goes yet, and
/// the result is 0 bytes.
pub(crate) fn dial(
    endpoint: &mut Endpoint,
    request: &[u8],
    receive_bytes: Option<usize>,
) -> Result<(OwnedFd, usize), Reason> {
    loop {
        let socket = open(endpoint)?;
        if let Some(receive_bytes) = receive_bytes {
            // Before it connects: the window that it offers follows from it.
            set_socket_recv_buffer_size(&socket, receive_bytes)?;
        }
        bind_source(&socket, endpoint)?;
        match connect(&socket, &endpoint.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {
                endpoint.sources.free();
                let n_sent = send_some(&socket, request)?;
                return Ok((socket, n_sent));
            }
            // The same two ends are still known to the kernel, in TIME_WAIT or in another
            // process. A bound socket cannot be bound again, so the next port takes a new one.
            Err(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => endpoint.sources.taken(),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends what the socket takes of `request`; 0 bytes when it takes none now.
pub(crate) fn send_some(socket: &OwnedFd, request: &[u8]) -> Result<usize, Reason> {
    if request.is_empty() {
        return Ok(0);
    }
    loop {
        match send(socket, request, SendFlags::NOSIGNAL) {
            Ok(n_sent) => return Ok(n_sent),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A socket that may share its source port with sockets to other destinations.
fn open(endpoint: &Endpoint) -> Result<OwnedFd, Reason> {
    let family =
        if endpoint.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

/// Binds `socket` to the next source port that nobody listens on.
fn bind_source(socket: &OwnedFd, endpoint: &mut Endpoint) -> Result<(), Reason> {
    while let Some(source) = endpoint.sources.next() {
        // A socket from its own destination's port would connect to itself.
        if source.port() == endpoint.address.port() {
            endpoint.sources.taken();
            continue;
        }
        match bind(socket, &source) {
            Ok(()) => return Ok(()),
            Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL | Errno::ACCESS) => {
                endpoint.sources.taken();
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Reason::NoPorts)
}
