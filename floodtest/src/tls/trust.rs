//! Whom to trust, and what to show: certificates from files, checked before the first connect.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use graviola::util::is_cpu_supported;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};

use super::fault::is_authority;
use super::sessions::Sessions;

/// What the cryptography needs of a processor.
const FEATURES: &str = if cfg!(target_arch = "aarch64") {
    "NEON, AES, PMULL and SHA2"
} else {
    "ADX, AES, AVX2, BMI1 and PCLMULQDQ"
};

/// Whom to trust and what to show, as flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct TlsArgs {
    /// PEM file with the certificates to trust, instead of the system's, for https:// URLs: those
    /// of authorities, or the server's own.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Accept any certificate of a server, for https:// URLs.
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,

    /// PEM file with the certificate to show to servers that ask for one, and those that lead to
    /// its authority.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// PEM file with the private key of --cert.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Whether connections to https:// URLs go on with a session of an earlier one where the server
    /// offers it, as browsers do when they come back. off: each makes a whole handshake, the dearest
    /// case for the server.
    #[arg(long, value_name = "WHETHER", default_value = "off")]
    pub tls_resume: TlsResume,
}

/// Whether sessions of TLS are gone on with: the value of `--tls-resume`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum TlsResume {
    /// They are: connections share the sessions of a server.
    On,
    /// They are not. Without lives nobody comes back, and to remember sessions costs memory.
    #[default]
    Off,
}

/// Why `https://` URLs cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of certificates, or of a key, cannot be read.
    #[error("cannot read the {what} of {path}: {problem}")]
    Read {
        /// What was looked for in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is no certificate to trust.
    #[error("no certificates to trust in {0}; name a PEM file of them with --ca")]
    None(String),
    /// There is no certificate to show.
    #[error("no certificate in {0}; --cert names a PEM file with one")]
    NoCertificate(PathBuf),
    /// There is no key that can be read.
    #[error(
        "no private key in {0}; --key names a PEM file with one that is not encrypted \
         (`openssl pkey` decrypts it)"
    )]
    NoKey(PathBuf),
    /// Certificate and key do not belong together, or the key is of an unknown kind.
    #[error("cannot use the key of {path} with --cert: {problem}")]
    Key {
        /// The file of the key.
        path: PathBuf,
        /// What is wrong.
        problem: rustls::Error,
    },
    /// The processor cannot do what the cryptography needs.
    #[error(
        "cannot hold https:// URLs on this processor: the cryptography needs {FEATURES}; hold \
         http:// URLs, through a proxy that speaks TLS to the server"
    )]
    Processor,
    /// rustls cannot be set up.
    #[error("cannot use TLS")]
    Config(#[from] rustls::Error),
}

/// Whom to trust, and how TLS is spoken.
#[derive(Debug, Clone)]
pub(crate) struct Trust(pub(super) Arc<ClientConfig>);

impl Trust {
    /// What the flags say, if there are connections to `https://`, or redirects may lead there. For
    /// redirects alone a machine that cannot do it is no reason not to run.
    pub(crate) fn if_needed(
        args: &TlsArgs,
        n_tls: u64,
        may_redirect: bool,
    ) -> Result<Option<Self>, TrustError> {
        if n_tls == 0 && !may_redirect {
            return Ok(None);
        }
        match Self::new(args) {
            Err(TrustError::None(_) | TrustError::Processor) if n_tls == 0 => Ok(None),
            result => result.map(Some),
        }
    }

    /// What the flags say; without `--ca` those are trusted that this system trusts.
    pub(crate) fn new(args: &TlsArgs) -> Result<Self, TrustError> {
        // Asked first: at its first use graviola would panic.
        if !is_cpu_supported() {
            return Err(TrustError::Processor);
        }
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier(args, provider)?);
        let mut config = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                if chain.is_empty() {
                    return Err(TrustError::NoCertificate(cert.clone()));
                }
                let cannot = |problem| TrustError::Key { path: key.clone(), problem };
                builder.with_client_auth_cert(chain, private_key(key)?).map_err(cannot)?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = match args.tls_resume {
            TlsResume::On => Resumption::store(Arc::new(Sessions::default())),
            TlsResume::Off => Resumption::disabled(),
        };
        Ok(Self(Arc::new(config)))
    }
}

/// The cryptography.
fn provider() -> CryptoProvider {
    let mut provider = rustls_graviola::default_provider();
    // With its keys and its hello a connection whose server does not answer costs 14.5 KB, without
    // them 4 KB. Every server that knows it knows one of the others as well.
    provider.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
    provider
}

/// Who decides about a server's certificate.
fn verifier(
    args: &TlsArgs,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    if args.insecure {
        return Ok(Arc::new(AnyCertificate(provider)));
    }
    let mut roots = RootCertStore::empty();
    let (whence, own) = if let Some(path) = &args.ca {
        let own = certificates(path)?;
        for certificate in &own {
            let cannot = |error: rustls::Error| unreadable(CERTIFICATES, path, &error);
            roots.add(certificate.clone()).map_err(cannot)?;
        }
        (path.display().to_string(), own)
    } else {
        // Systems have some that rustls does not take; the others will do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        ("this system".to_owned(), Vec::new())
    };
    if roots.is_empty() {
        return Err(TrustError::None(whence));
    }
    let by_roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let by_roots = by_roots.expect("it has roots, and no revocation lists that could be bad");
    Ok(Arc::new(RootsOrOwn { by_roots, own }))
}

/// What is looked for in a file.
const CERTIFICATES: &str = "certificates";

/// The error of a file that cannot be used.
fn unreadable(what: &'static str, path: &Path, problem: &dyn fmt::Display) -> TrustError {
    TrustError::Read { what, path: path.to_owned(), problem: problem.to_string() }
}

/// The certificates in a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let cannot = |error| unreadable(CERTIFICATES, path, &error);
    let all = CertificateDer::pem_file_iter(path).map_err(cannot)?;
    all.map(|certificate| certificate.map_err(cannot)).collect()
}

/// The first private key in a PEM file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TrustError> {
    use rustls::pki_types::pem::Error::NoItemsFound;
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        NoItemsFound => TrustError::NoKey(path.to_owned()),
        error => unreadable("private key", path, &error),
    })
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
            Err(rustls::Error::InvalidCertificate(error))
                if is_authority(&error) && self.own.iter().any(|own| own == end_entity) =>
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
