//! TLS of `https://` connections, without a buffer for one that is idle.
//!
//! rustls works on buffers that are lent to it, so that records are received into the buffer that
//! all connections share, decrypted in place and shown to the same decoder as plain responses. What
//! an idle connection keeps is its keys.
//!
//! - this file: the TLS of one connection
//! - `trust`: whom to trust and what to show
//! - `sessions`: sessions that are gone on with, if that is asked for
//! - `fault`: what goes wrong, in words

pub(crate) mod fault;
mod sessions;
pub(crate) mod trust;

use std::fmt;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};

use crate::decode::{DecodeError, Progress};
use crate::reason::Reason;
pub use fault::{Alert, TlsFault};
pub(crate) use trust::Trust;
pub use trust::{TlsArgs, TlsResume, TrustError};

/// Bytes that rustls may need for what it sends at once: a hello with its extensions, or the end
/// of a handshake; it says so when it needs more.
const SEND_BYTES: usize = 2 * 1024;

/// How a server that speaks plain HTTP answers the hello.
const PLAIN_HTTP: &[u8] = b"HTTP/";

/// The TLS of one connection.
pub(crate) struct Tls {
    /// Keys and state.
    connection: UnbufferedClientConnection,
    /// The beginning of a record that has not come whole.
    partial: Vec<u8>,
    /// The request, until it can be encrypted.
    request: Vec<u8>,
    /// Whether the server has answered the hello.
    has_heard: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("n_partial", &self.partial.len()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Begins a connection to `host` that will send `request`; the first bytes to send are appended
    /// to `outgoing`.
    pub(crate) fn new(
        trust: &Trust,
        host: &str,
        request: &[u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<Self, TlsFault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsFault::HostName)?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&trust.0), name)?;
        let request = request.to_vec();
        let mut tls = Self { connection, partial: Vec::new(), request, has_heard: false };
        let nothing = |_: &[u8]| Ok(Progress::More);
        tls.process(&mut [], outgoing, nothing).map_err(|_| TlsFault::Protocol)?;
        Ok(tls)
    }

    /// Puts what is there of an incomplete record in front of `buffer`; how long that is. A
    /// handshake that leaves no room for more is not one.
    pub(crate) fn put_back(&mut self, buffer: &mut [u8]) -> Result<usize, TlsFault> {
        let n = self.partial.len();
        if n >= buffer.len() {
            return Err(TlsFault::Protocol);
        }
        buffer[..n].copy_from_slice(&self.partial);
        Ok(n)
    }

    /// Whether the handshake is done and the request is encrypted.
    pub(crate) fn has_request_gone(&self) -> bool {
        self.request.is_empty()
    }

    /// Encrypts `plain`, which is sent once the request has gone, and appends it to `outgoing`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], outgoing: &mut Vec<u8>) -> Result<(), Reason> {
        // It goes the way of the request. A record that has not come whole stays where it is.
        self.request = plain.to_vec();
        let partial = std::mem::take(&mut self.partial);
        let encrypted = self.process(&mut [], outgoing, |_| Ok(Progress::More));
        self.partial = partial;
        encrypted.map(|_| ())
    }

    /// Appends to `outgoing` what tells the server that nothing more comes, if the handshake is
    /// done.
    pub(crate) fn close(&mut self, outgoing: &mut Vec<u8>) {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            // Where this is not possible the connection is closed without it.
            let _ = write(outgoing, |room| {
                traffic.queue_close_notify(room).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size.required_size),
                    EncryptError::EncryptExhausted => None,
                })
            });
        }
    }

    /// Takes what was received, behind what was put back: shows what is inside to `plain`, and
    /// appends what is to be sent to `outgoing`.
    pub(crate) fn receive(
        &mut self,
        received: &mut [u8],
        outgoing: &mut Vec<u8>,
        plain: impl FnMut(&[u8]) -> Result<Progress, DecodeError>,
    ) -> Result<Progress, Reason> {
        // Freed, so that an idle connection has no buffer.
        self.partial = Vec::new();
        if !std::mem::replace(&mut self.has_heard, true) {
            let n = received.len().min(PLAIN_HTTP.len());
            if received[..n] == PLAIN_HTTP[..n] {
                return Err(TlsFault::PlainHttp.into());
            }
        }
        self.process(received, outgoing, plain)
    }

    /// Goes on as far as it can with `received`.
    fn process(
        &mut self,
        mut received: &mut [u8],
        outgoing: &mut Vec<u8>,
        mut plain: impl FnMut(&[u8]) -> Result<Progress, DecodeError>,
    ) -> Result<Progress, Reason> {
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(received);
            let mut is_waiting = false;
            match state.map_err(TlsFault::from)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(TlsFault::from)?;
                        discard += record.discard;
                        if plain(record.payload)? == Progress::Ended {
                            return Ok(Progress::Ended);
                        }
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    write(outgoing, |room| {
                        data.encode(room).map_err(|error| match error {
                            EncodeError::InsufficientSize(size) => Some(size.required_size),
                            EncodeError::AlreadyEncoded => None,
                        })
                    })?;
                }
                ConnectionState::TransmitTlsData(mut data) => {
                    if let Some(mut traffic) = data.may_encrypt_app_data() {
                        send_request(&mut self.request, &mut traffic, outgoing)?;
                    }
                    data.done();
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    send_request(&mut self.request, &mut traffic, outgoing)?;
                    is_waiting = true;
                }
                ConnectionState::BlockedHandshake => is_waiting = true,
                // The server has said that nothing more comes, and the last chunk was not there.
                ConnectionState::PeerClosed | ConnectionState::Closed => return Err(Reason::Cut),
                _ => return Err(TlsFault::Protocol.into()),
            }
            received = &mut received[discard..];
            if is_waiting {
                self.partial = received.to_vec();
                return Ok(Progress::More);
            }
        }
    }
}

/// Encrypts the request, the first time that this is possible.
fn send_request(
    request: &mut Vec<u8>,
    traffic: &mut WriteTraffic<'_, ClientConnectionData>,
    outgoing: &mut Vec<u8>,
) -> Result<(), TlsFault> {
    let request = std::mem::take(request);
    if request.is_empty() {
        return Ok(());
    }
    write(outgoing, |room| {
        traffic.encrypt(&request, room).map_err(|error| match error {
            EncryptError::InsufficientSize(size) => Some(size.required_size),
            EncryptError::EncryptExhausted => None,
        })
    })
}

/// Appends what `write` writes to `outgoing`. An error of it is the room that it needs, if room is
/// what it needs.
fn write(
    outgoing: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), TlsFault> {
    let start = outgoing.len();
    let mut room = SEND_BYTES;
    loop {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(n) => {
                outgoing.truncate(start + n);
                return Ok(());
            }
            Err(Some(needed)) if needed > room => room = needed,
            Err(_) => return Err(TlsFault::Protocol),
        }
    }
}
