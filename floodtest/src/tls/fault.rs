//! What goes wrong with TLS, in words.

use std::fmt;

use rustls::{AlertDescription, CertificateError};
use serde::{Deserialize, Serialize};

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
    /// The certificate is one of an authority, and is not itself in the file of `--ca`.
    #[error(
        "its certificate is an authority's, not a server's; --ca with this very certificate \
         trusts it"
    )]
    Authority,
    /// The certificate is bad in some other way.
    #[error("its certificate is malformed or may not be used by a server")]
    Certificate,
    /// The server refused, by an alert.
    #[error(transparent)]
    Alert(#[from] Alert),
    /// No certificate can be for a host of this name.
    #[error("no certificate can be for a host of this name")]
    HostName,
    /// The server answers a TLS hello as a plain HTTP server does.
    #[error("this port speaks plain HTTP; write http:// in the URL")]
    PlainHttp,
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
                error if is_authority(&error) => Self::Authority,
                _ => Self::Certificate,
            },
            rustls::Error::AlertReceived(alert) => Self::Alert(Alert(alert.into())),
            _ => Self::Protocol,
        }
    }
}

/// Whether a certificate was refused for nothing but that it is an authority's. webpki looks at the
/// time first, so that the certificate is valid now.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else { return false };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// An alert by which the server refused, by its number in the protocol. Its display says what it
/// means, and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alert(u8);

impl std::error::Error for Alert {}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AlertDescription as Is;
        let alert = Is::from(self.0);
        let meaning = match alert {
            Is::BadCertificate
            | Is::UnsupportedCertificate
            | Is::CertificateRevoked
            | Is::CertificateExpired
            | Is::CertificateUnknown => "the server refused our certificate",
            Is::UnknownCA => "the server does not know who signed our certificate",
            Is::AccessDenied => "the server knows our certificate and denies access",
            Is::CertificateRequired => {
                "the server asks for our certificate; --cert and --key name one"
            }
            Is::HandshakeFailure | Is::InsufficientSecurity => {
                "the server accepts no key exchange or cipher of ours, or asks for a certificate"
            }
            Is::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3",
            Is::UnrecognisedName => "the server does not serve a host of this name",
            Is::NoApplicationProtocol => "the server does not speak HTTP/1.1 on this port",
            Is::InternalError => "the server has a fault of its own",
            _ => "the server refused",
        };
        write!(f, "{meaning} ({} alert)", name(alert, self.0))
    }
}

/// The name that the protocol gives to an alert: `bad_certificate`; `number 200` for one that it
/// does not know.
fn name(alert: AlertDescription, number: u8) -> String {
    if matches!(alert, AlertDescription::Unknown(_)) {
        return format!("number {number}");
    }
    let mut name = String::new();
    let mut was_small = false;
    for letter in format!("{alert:?}").replace("Unrecognised", "Unrecognized").chars() {
        if letter.is_ascii_uppercase() && was_small {
            name.push('_');
        }
        was_small = letter.is_ascii_lowercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_its_name_and_no_two_the_same_text() {
        for (number, text) in [
            (42, "the server refused our certificate (bad_certificate alert)"),
            (45, "the server refused our certificate (certificate_expired alert)"),
            (48, "the server does not know who signed our certificate (unknown_ca alert)"),
            (70, "the server speaks neither TLS 1.2 nor TLS 1.3 (protocol_version alert)"),
            (112, "the server does not serve a host of this name (unrecognized_name alert)"),
            (200, "the server refused (number 200 alert)"),
        ] {
            assert_eq!(Alert(number).to_string(), text);
        }
        let texts: std::collections::BTreeSet<_> =
            (0..=u8::MAX).map(|number| Alert(number).to_string()).collect();
        assert_eq!(texts.len(), 256);
    }
}
