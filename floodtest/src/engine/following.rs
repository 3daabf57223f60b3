//! What a redirect needs to know of the connection that it ends.

use crate::request::template::Filling;
use crate::url::Url;

/// What is kept of a connection until its head is complete, for a redirect.
#[derive(Debug)]
pub(super) struct Following {
    /// Scheme, host and port of the first URL: who may learn who asks.
    pub(super) origin: Box<str>,
    /// Name and password of the first URL.
    pub(super) userinfo: Option<Box<str>>,
    /// The further fields of its line.
    pub(super) fields: Option<Box<[u8]>>,
    /// The present URL.
    pub(super) url: Box<str>,
    /// How many redirects have led to it.
    pub(super) n_redirects: u8,
    /// Whether one of them has made the request a GET.
    pub(super) is_get: bool,
}

impl Following {
    /// Of a connection that begins with `url`.
    pub(super) fn new(url: &Url<'_>, filling: Filling<'_>) -> Self {
        Self {
            origin: origin(url).into(),
            userinfo: url.userinfo.map(Into::into),
            fields: filling.fields.map(Into::into),
            url: url.to_string().into(),
            n_redirects: 0,
            is_get: false,
        }
    }
}

/// Scheme, host and port of a URL.
pub(super) fn origin(url: &Url<'_>) -> String {
    format!("{}{}:{}", url.host.to_ascii_lowercase(), if url.is_tls { "s" } else { "" }, url.port)
}
