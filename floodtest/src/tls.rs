//! TLS of `https://` connections, without a buffer for one that is idle.
//!
//! rustls works on buffers that are lent to it, so that records are received into the buffer that
//! all connections share, decrypted in place and shown to the same decoder as plain responses. What
//! an idle connection keeps is its keys.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use crate::decode::{DecodeError, Progress};
use crate::reason::Reason;

/// Bytes that rustls may need for what it sends at once: a hello with its extensions, or the end
/// of a handshake; it says so when it needs more.
const SEND_BYTES: usize = 2 * 1024;

/// Why `https://` URLs cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of `--ca` cannot be read.
    #[error("cannot read the certificates of {path}: {problem}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is no certificate to trust.
    #[error("no certificates to trust in {0}; name a PEM file of them with --ca")]
    None(String),
    /// rustls cannot be set up.
    #[error("cannot use TLS")]
    Config(#[from] rustls::Error),
}

/// What went wrong with the TLS of a connection. Its display is a sentence for the report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum TlsFault {
    /// Nobody who is trusted has signed the server's certificate.
    #[error("nobody who is trusted has signed its certificate; --ca names whom to trust")]
    UnknownIssuer,
    /// The certificate is for another host.
    #[error("its certificate is for another host")]
    OtherHost,
    /// The certificate is out of date, or not valid yet.
    #[error("its certificate is not valid now")]
    Expired,
    /// The certificate is bad in some other way.
    #[error("its certificate is malformed or may not be used by a server")]
    Certificate,
    /// The server refused, by an alert.
    #[error("the server refused with an alert")]
    Alert,
    /// No certificate can be for a host of this name.
    #[error("no certificate can be for a host of this name")]
    HostName,
    /// The server does not keep to the protocol: it may not speak TLS at all.
    #[error("the server does not speak TLS, or not properly")]
    Protocol,
}

impl From<rustls::Error> for TlsFault {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::OtherHost,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                _ => Self::Certificate,
            },
            rustls::Error::AlertReceived(_) => Self::Alert,
            _ => Self::Protocol,
        }
    }
}

/// Whom to trust, and how TLS is spoken.
#[derive(Debug, Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the certificates in the file `ca`, or else those that this system trusts.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        let whence = if let Some(path) = ca {
            let cannot = |error: &dyn fmt::Display| TrustError::Read {
                path: path.to_owned(),
                problem: error.to_string(),
            };
            let certificates = CertificateDer::pem_file_iter(path);
            for certificate in certificates.map_err(|error| cannot(&error))? {
                let certificate = certificate.map_err(|error| cannot(&error))?;
                roots.add(certificate).map_err(|error| cannot(&error))?;
            }
            path.display().to_string()
        } else {
            // Systems have some that rustls does not take; the others will do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "this system".to_owned()
        };
        if roots.is_empty() {
            return Err(TrustError::None(whence));
        }
        let provider = Arc::new(rustls_graviola::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Nobody comes back, and to remember sessions costs memory for each.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }
}

/// The TLS of one connection.
pub(crate) struct Tls {
    /// Keys and state.
    connection: UnbufferedClientConnection,
    /// The beginning of a record that has not come whole.
    partial: Vec<u8>,
    /// The request, until it can be encrypted.
    request: Vec<u8>,
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
        let mut tls = Self { connection, partial: Vec::new(), request: request.to_vec() };
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
