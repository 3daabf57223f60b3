//! TLS to brokers: whom to trust, and what is wrong when it fails.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How TLS is spoken to brokers.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates in the PEM file `ca`, or else those that this system trusts.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, String> {
        // It would panic at the first handshake.
        if !graviola::util::is_cpu_supported() {
            return Err(
                "this CPU lacks what TLS needs here (on x86-64: AES, PCLMULQDQ, BMI1, ADX, \
                        AVX2); write redis:// and lead it through a TLS tunnel, such as stunnel"
                    .to_owned(),
            );
        }
        let mut roots = RootCertStore::empty();
        let mut named = Vec::new();
        if let Some(path) = ca {
            let cannot = |error: &dyn std::fmt::Display| {
                format!("cannot read the certificates of {}: {error}", path.display())
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| cannot(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| cannot(&error))?;
                roots.add(certificate.clone()).map_err(|error| cannot(&error))?;
                named.push(certificate);
            }
            if roots.is_empty() {
                return Err(format!("no certificate in {}; it must be a PEM file", path.display()));
            }
        } else {
            // Systems have some that rustls does not take; the others will do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this system trusts no certificates; name a PEM file of them with \
                            --cluster-ca"
                    .to_owned());
            }
        }
        let provider = Arc::new(rustls_graviola::default_provider());
        let by_roots =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let by_roots = by_roots.build().map_err(|error| error.to_string())?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { by_roots, named }))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Begins TLS on a connection to `host`.
    pub(super) async fn connect(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, socket).await
    }
}

/// Verifies as webpki does, but for one thing.
///
/// The commonest certificate that people make (`openssl req -x509`) signs itself and may sign
/// others. webpki does not take such a one from a server, even if it is the very one that is to be
/// trusted; here it is taken then, if its name and its dates are right.
#[derive(Debug)]
struct Verifier {
    /// What webpki does.
    by_roots: Arc<WebPkiServerVerifier>,
    /// The certificates of `--cluster-ca`.
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.by_roots.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki has looked at the dates before, and says so differently. rustls has no name
            // for its other objections.
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if self.named.contains(end_entity) && is_signer(&why) =>
            {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

/// Whether it is webpki's objection to a server's certificate that may sign others.
fn is_signer(why: &rustls::OtherError) -> bool {
    why.to_string().contains("CaUsedAsEndEntity")
}

/// What went wrong on a connection, in a sentence; the TLS of it, if it was that.
pub(super) fn sentence(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "it closed the connection".to_owned();
    }
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error.to_string();
    };
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "nobody who is trusted has signed its certificate; name who has with --cluster-ca FILE"
                .to_owned()
        }
        Error::InvalidCertificate(CertificateError::Other(why)) if is_signer(why) => {
            "its certificate signs itself; name that very one with --cluster-ca FILE".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host; write the host that it is for".to_owned(),
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => "it wants a certificate of this node, which has none: set `tls-auth-clients no` there"
            .to_owned(),
        Error::InvalidMessage(_) => {
            "it speaks no TLS on this port; write redis://, or the port with TLS".to_owned()
        }
        error => format!("TLS fails: {error}"),
    }
}
