//! Listening and established TCP sockets, from the kernel's `sock_diag`.
//!
//! The port and the state are in the request, so that the kernel passes over all other sockets
//! without a word about them. Reading `/proc/net/tcp` has it print every one of them as text.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    Emitable as _, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, Parseable as _,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags,
};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// Bytes read at a time. The kernel fills up to 32 KiB of a larger buffer, some 260 sockets.
const BUFFER_BYTES: usize = 32 * 1024;

/// Length of a netlink message's header.
const HEADER_BYTES: usize = 16;

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenAddr {
    /// `AF_INET` or `AF_INET6`.
    family: u8,
    /// The port.
    pub port: u16,
    /// The address. `None`: every one.
    ip: Option<IpAddr>,
}

impl ListenAddr {
    /// The listening addresses of a port on every address, v4 and v6.
    pub fn on_port(port: u16) -> [Self; 2] {
        [AF_INET, AF_INET6].map(|family| Self { family, port, ip: None })
    }
}

/// A socket to ask the kernel about sockets.
#[derive(Debug)]
pub struct SockDiag {
    /// The netlink socket.
    socket: OwnedFd,
    /// Where answers are read into.
    buffer: Vec<u8>,
    /// Number of the last request, which its answers carry.
    sequence_number: u32,
}

impl SockDiag {
    /// Opens the socket. No privilege is needed.
    pub fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        Ok(Self { socket, buffer: vec![0; BUFFER_BYTES], sequence_number: 0 })
    }

    /// The listening addresses among the sockets with these inodes.
    pub fn listen_addrs(&mut self, inodes: &BTreeSet<u32>) -> io::Result<BTreeSet<ListenAddr>> {
        let mut addrs = BTreeSet::new();
        for family in [AF_INET, AF_INET6] {
            self.dump(family, &StateFlags::LISTEN, 0, |socket| {
                if inodes.contains(&socket.inode) {
                    let ip = socket.socket_id.source_address;
                    let ip = (!ip.is_unspecified()).then_some(ip);
                    addrs.insert(ListenAddr { family, port: socket.socket_id.source_port, ip });
                }
            })?;
        }
        Ok(addrs)
    }

    /// How many connections are established on each port of `addrs`.
    pub fn established(&mut self, addrs: &BTreeSet<ListenAddr>) -> io::Result<BTreeMap<u16, u64>> {
        let mut counts: BTreeMap<u16, u64> = addrs.iter().map(|addr| (addr.port, 0)).collect();
        self.on_addrs(addrs, &StateFlags::ESTABLISHED, |port, _| {
            *counts.entry(port).or_default() += 1;
        })?;
        Ok(counts)
    }

    /// The inodes of the sockets that listen on `addrs`, each with its port.
    pub fn listening(&mut self, addrs: &BTreeSet<ListenAddr>) -> io::Result<BTreeMap<u32, u16>> {
        let mut found = BTreeMap::new();
        self.on_addrs(addrs, &StateFlags::LISTEN, |port, inode| {
            found.insert(inode, port);
        })?;
        Ok(found)
    }

    /// Those of `inodes` that are established connections on `addrs`, each with its port.
    pub fn connections_among(
        &mut self,
        addrs: &BTreeSet<ListenAddr>,
        inodes: &BTreeSet<u32>,
    ) -> io::Result<BTreeMap<u32, u16>> {
        let mut found = BTreeMap::new();
        self.on_addrs(addrs, &StateFlags::ESTABLISHED, |port, inode| {
            if inodes.contains(&inode) {
                found.insert(inode, port);
            }
        })?;
        Ok(found)
    }

    /// Calls `take` with port and inode of every socket on `addrs` that is in `states`.
    fn on_addrs(
        &mut self,
        addrs: &BTreeSet<ListenAddr>,
        states: &StateFlags,
        mut take: impl FnMut(u16, u32),
    ) -> io::Result<()> {
        let asked: BTreeSet<(u8, u16)> =
            addrs.iter().map(|addr| (addr.family, addr.port)).collect();
        for (family, port) in asked {
            let is_here = |addr: &&ListenAddr| (addr.family, addr.port) == (family, port);
            let ips: Vec<Option<IpAddr>> = addrs.iter().filter(is_here).map(|it| it.ip).collect();
            let is_any = ips.contains(&None);
            self.dump(family, states, port, |socket| {
                // A kernel that does not know the filter sends every port.
                let SocketId { source_port, source_address, .. } = &socket.socket_id;
                if *source_port == port && (is_any || ips.contains(&Some(*source_address))) {
                    take(port, socket.inode);
                }
            })?;
        }
        Ok(())
    }

    /// Calls `take` with every TCP socket of a family in these states on a port, 0 for all.
    fn dump(
        &mut self,
        family: u8,
        states: &StateFlags,
        port: u16,
        mut take: impl FnMut(&InetResponseHeader),
    ) -> io::Result<()> {
        self.ask(family, states, port)?;
        loop {
            let receive =
                || rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty());
            let (n_bytes, _) = retry_on_intr(receive)?;
            let mut rest = &self.buffer[..n_bytes];
            while rest.len() >= HEADER_BYTES {
                let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                // Lengths are padded to four bytes between messages.
                let length = (message.length() as usize).next_multiple_of(4).min(rest.len());
                if message.sequence_number() == self.sequence_number {
                    match message.message_type() {
                        NLMSG_DONE => return refusal(message.payload()),
                        NLMSG_ERROR => {
                            refusal(message.payload())?;
                            return Ok(());
                        }
                        SOCK_DIAG_BY_FAMILY => take(
                            &InetResponseHeader::parse(message.payload())
                                .map_err(io::Error::other)?,
                        ),
                        _ => {}
                    }
                }
                rest = &rest[length..];
            }
        }
    }

    /// Sends the request for a dump.
    fn ask(&mut self, family: u8, states: &StateFlags, port: u16) -> io::Result<()> {
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let any = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id: SocketId { source_port: port, ..any },
        };
        let n_bytes = HEADER_BYTES + request.buffer_len();
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(n_bytes).expect("a request is 72 bytes");
        header.message_type = SOCK_DIAG_BY_FAMILY;
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence_number;
        let mut message = vec![0; n_bytes];
        header.emit(&mut message[..HEADER_BYTES]);
        request.emit(&mut message[HEADER_BYTES..]);
        retry_on_intr(|| rustix::net::send(&self.socket, &message, SendFlags::empty()))?;
        Ok(())
    }
}

/// The error that an answer begins with, if it does: a negative error number.
fn refusal(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(number) if number < 0 => Err(io::Error::from_raw_os_error(-number)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::process::sockets;

    /// The listening addresses of this process on `port`.
    fn addrs(diag: &mut SockDiag, port: u16) -> BTreeSet<ListenAddr> {
        let inodes = sockets(std::process::id()).unwrap();
        let addrs = diag.listen_addrs(&inodes).unwrap();
        addrs.into_iter().filter(|addr| addr.port == port).collect()
    }

    #[test]
    fn connections_are_counted_by_port_address_and_family() {
        let mut diag = SockDiag::open().unwrap();
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        let other = TcpListener::bind(("127.0.0.2", port)).unwrap();
        let v6 = TcpListener::bind(("::", port));
        let _clients = [(); 3].map(|()| TcpStream::connect(("127.0.0.1", port)).unwrap());
        let _other = TcpStream::connect(("127.0.0.2", port)).unwrap();
        let addrs = addrs(&mut diag, port);
        assert_eq!(addrs.len(), 2 + usize::from(v6.is_ok()), "{addrs:?}");
        let ip = v4.local_addr().unwrap().ip();
        let only = addrs.iter().filter(|addr| addr.ip == Some(ip)).copied().collect();
        assert_eq!(diag.established(&only).unwrap(), [(port, 3)].into());
        assert_eq!(diag.established(&addrs).unwrap(), [(port, 4)].into());
        assert_eq!(
            diag.established(&ListenAddr::on_port(port).into()).unwrap(),
            [(port, 4)].into()
        );
        let listening = diag.listening(&addrs).unwrap();
        assert_eq!(listening.len(), addrs.len(), "{listening:?}");
        assert_eq!(diag.listening(&only).unwrap().len(), 1);
        let own = sockets(std::process::id()).unwrap();
        // Nobody has accepted: a connection without an inode is in nobody's hands yet.
        assert!(diag.connections_among(&addrs, &own).unwrap().is_empty());
        let accepted = v4.accept().unwrap();
        let own = sockets(std::process::id()).unwrap();
        let held = diag.connections_among(&addrs, &own).unwrap();
        assert_eq!(held.values().collect::<Vec<_>>(), [&port], "one is accepted");
        drop(accepted);
        drop(other);
    }

    #[test]
    fn no_address_has_no_connection() {
        assert!(SockDiag::open().unwrap().established(&BTreeSet::new()).unwrap().is_empty());
    }
}
