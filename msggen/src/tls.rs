//! TLS to servers with `https` URLs: whom to trust.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graviola::util::is_cpu_supported;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What the cryptography needs of a processor.
const FEATURES: &str = if cfg!(target_arch = "aarch64") {
    "NEON, AES, PMULL and SHA2"
} else {
    "ADX, AES, AVX2, BMI1 and PCLMULQDQ"
};

/// Whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file of certificates to trust instead of those that this system trusts.
    pub ca: Option<PathBuf>,
    /// Whether any certificate will do.
    pub any: bool,
}

/// Why `https` cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `--ca` cannot be read.
    #[error("cannot read the certificates of {}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is no certificate to trust.
    #[error("no certificates to trust in {0}; name a PEM file of them with --ca")]
    None(String),
    /// The processor cannot do what the cryptography needs.
    #[error(
        "cannot send to https on this processor: the cryptography needs {FEATURES}; send over \
         http, through a proxy that speaks TLS to the server"
    )]
    Processor,
    /// rustls cannot be set up.
    #[error("cannot use TLS: {0}")]
    Config(#[from] rustls::Error),
    /// No certificate can be for a host of this name.
    #[error("no certificate can be for a host named {0}; check the URL")]
    HostName(String),
}

/// How TLS is spoken to servers that `trust` trusts.
pub fn config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    config_with(trust, is_cpu_supported())
}

/// The same on a processor that can do the cryptography, or not.
fn config_with(trust: &Trust, is_supported: bool) -> Result<Arc<ClientConfig>, TlsError> {
    // Asked first: at its first use the cryptography would panic.
    if !is_supported {
        return Err(TlsError::Processor);
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier(trust, provider)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS for a client that does not use it. No server is trusted by it.
pub fn trusting_nobody() -> ClientConfig {
    let provider = Arc::new(rustls_graviola::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the cryptography has ciphers for both versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// The name that the certificate of `host` is to be for.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    // An IPv6 address stands in brackets in a URL and without them anywhere else.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::HostName(host.to_owned()))
}

/// Who decides about a server's certificate.
fn verifier(
    trust: &Trust,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if trust.any {
        return Ok(Arc::new(AnyCertificate(provider)));
    }
    let mut roots = RootCertStore::empty();
    let (whence, own) = if let Some(path) = &trust.ca {
        let own = certificates(path)?;
        for certificate in &own {
            roots.add(certificate.clone()).map_err(|error| unreadable(path, &error))?;
        }
        (path.display().to_string(), own)
    } else {
        // Systems have some that rustls does not take; the others will do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        ("this system".to_owned(), Vec::new())
    };
    if roots.is_empty() {
        return Err(TlsError::None(whence));
    }
    let by_roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let by_roots = by_roots.expect("it has roots, and no revocation lists that could be bad");
    Ok(Arc::new(RootsOrOwn { by_roots, own }))
}

/// The certificates in a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
    all.map(|certificate| certificate.map_err(|error| unreadable(path, &error))).collect()
}

/// The error of a file that cannot be used.
fn unreadable(path: &Path, problem: &dyn fmt::Display) -> TlsError {
    TlsError::Read { path: path.to_owned(), problem: problem.to_string() }
}

/// Trusts the authorities of `--ca`, and servers whose own certificate is in that file.
///
/// `openssl req -x509` makes certificates that sign themselves and say that they are an
/// authority's. By the rules of the web no server may have such a one; but whoever names this very
/// certificate trusts it. Its host and its time are checked as ever.
#[derive(Debug)]
struct RootsOrOwn {
    /// Decides by the authorities.
    by_roots: Arc<WebPkiServerVerifier>,
    /// The certificates of `--ca`.
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for RootsOrOwn {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.by_roots.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki looks at the time before it says this.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
                    && self.own.iter().any(|own| own == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

/// Accepts whatever certificate a server shows (`--insecure`), if only the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_cannot_do_it_is_a_sentence_and_no_panic() {
        let error = config_with(&Trust::default(), false).unwrap_err().to_string();
        assert!(error.starts_with("cannot send to https on this processor: "), "{error}");
    }

    #[test]
    fn an_address_in_brackets_is_a_server_name_without_them() {
        assert_eq!(server_name("[::1]").unwrap(), server_name("::1").unwrap());
        assert!(server_name("a b").is_err());
    }
}
