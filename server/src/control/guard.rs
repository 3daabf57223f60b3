//! Who may use the control door: senders that show the token, or, without one, whoever is on this
//! machine and no web page. No sockets.
//!
//! A page that is open in a browser on this machine can reach a loopback address as well. It gives
//! itself away: by the `Origin` and `Sec-Fetch-Site` that browsers add, and by a `Host` that is the
//! page's own name where that name was rebound to 127.0.0.1.

use std::net::{IpAddr, Ipv6Addr};

use httparse::Header;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// 401: it does not show the token.
    NoToken,
    /// 403: it names a host that this server is not known by.
    ForeignHost,
    /// 403: a web page sent it.
    WebPage,
}

impl Stranger {
    /// A sentence for the person who sent it.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::NoToken => "the control token is missing or wrong",
            Self::ForeignHost => {
                "without a token the control door answers only to a loopback address and \
                 \"localhost\" as Host; start the server with --control-host NAME for others"
            }
            Self::WebPage => {
                "without a token the control door does not answer to web pages (Origin, \
                 Sec-Fetch-Site); start the server with --control-token-file"
            }
        }
    }
}

/// What requests are checked by.
#[derive(Debug)]
pub(crate) struct Guard {
    /// What senders must show, if anything. If so, nothing else is asked.
    token: Option<String>,
    /// Names that this server is known by, besides `localhost`.
    hosts: Vec<String>,
    /// The address that the door is bound to.
    bound_to: IpAddr,
}

impl Guard {
    /// A guard for a door at an address.
    pub(crate) fn new(token: Option<String>, hosts: Vec<String>, bound_to: IpAddr) -> Self {
        Self { token, hosts, bound_to }
    }

    /// Checks a request with these fields and the host of its target, if the target has one.
    pub(crate) fn check(
        &self,
        fields: &[Header<'_>],
        target_host: Option<&str>,
    ) -> Result<(), Stranger> {
        if let Some(token) = &self.token {
            let is_right = field(fields, "authorization").is_some_and(|given| shows(given, token));
            return if is_right { Ok(()) } else { Err(Stranger::NoToken) };
        }
        let host = field(fields, "host").map(|host| std::str::from_utf8(host).unwrap_or_default());
        // That of the target counts (RFC 9112, 3.2.2), but both are to be known here.
        if !target_host.into_iter().chain(host).all(|host| self.knows(host)) {
            return Err(Stranger::ForeignHost);
        }
        let is_own_page = |site: &[u8]| {
            site.eq_ignore_ascii_case(b"same-origin") || site.eq_ignore_ascii_case(b"none")
        };
        let comes_from_page = fields.iter().any(|field| {
            field.name.eq_ignore_ascii_case("origin")
                || field.name.eq_ignore_ascii_case("sec-fetch-site") && !is_own_page(field.value)
        });
        if comes_from_page { Err(Stranger::WebPage) } else { Ok(()) }
    }

    /// Whether this server is known by a host, given with or without a port.
    fn knows(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let address = rest.split(']').next().expect("a split has a first part");
            return address.parse::<Ipv6Addr>().is_ok_and(|address| self.is_own(address.into()));
        }
        let name = host.split(':').next().expect("a split has a first part");
        match name.parse::<IpAddr>() {
            Ok(address) => self.is_own(address) || self.is_named(name),
            Err(_) => name.eq_ignore_ascii_case("localhost") || self.is_named(name),
        }
    }

    /// Whether an address is a loopback one, or the one that the door is bound to.
    fn is_own(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || address == self.bound_to.to_canonical()
    }

    /// Whether `--control-host` names it.
    fn is_named(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// The value of the first field of a name.
pub(crate) fn field<'head>(fields: &[Header<'head>], name: &str) -> Option<&'head [u8]> {
    let its = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    its.map(|field| field.value)
}

/// Whether an `Authorization` value is `Bearer` (in any case, RFC 9110, 11.1) with this token. The
/// time this takes tells nothing about how much of a wrong token was right.
fn shows(given: &[u8], token: &str) -> bool {
    const SCHEME: &[u8] = b"bearer ";
    let Some((scheme, given)) = given.split_at_checked(SCHEME.len()) else { return false };
    let given = given.trim_ascii();
    let differing = given.iter().zip(token.as_bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
    scheme.eq_ignore_ascii_case(SCHEME) && given.len() == token.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, fields: &[(&str, &str)]) -> Result<(), Stranger> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        guard.check(&fields, None)
    }

    #[test]
    fn without_a_token_the_host_is_one_of_this_machine() {
        let bound_to = "192.168.0.7".parse().unwrap();
        let guard = Guard::new(None, vec!["comet.example".to_owned()], bound_to);
        for host in [
            "127.0.0.1",
            "127.0.0.1:8001",
            "127.8.9.10",
            "[::1]:8001",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LocalHost:8001",
            "192.168.0.7:1",
            "comet.example",
            "Comet.Example:80",
        ] {
            assert_eq!(check(&guard, &[("Host", host)]), Ok(()), "{host}");
        }
        assert_eq!(check(&guard, &[]), Ok(()), "HTTP/1.0 has no Host");
        for host in [
            "",
            "evil.example",
            "evil.example:8001",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "10.0.0.1",
            "[::2]",
            "xlocalhost",
            "192.168.0.8",
            "0.0.0.0",
            ":8001",
        ] {
            let given = check(&guard, &[("Host", host)]);
            assert_eq!(given, Err(Stranger::ForeignHost), "{host}");
        }
        let host = Header { name: "Host", value: b"localhost" };
        let foreign = guard.check(&[host], Some("evil.example"));
        assert_eq!(foreign, Err(Stranger::ForeignHost), "of a target with a host that one counts");
        assert_eq!(guard.check(&[host], Some("127.0.0.1:8001")), Ok(()));
    }

    #[test]
    fn without_a_token_web_pages_are_not_served() {
        let guard = Guard::new(None, Vec::new(), "127.0.0.1".parse().unwrap());
        let with = |name, value| check(&guard, &[("host", "localhost"), (name, value)]);
        for origin in ["http://evil.example", "null", "http://localhost:8001", ""] {
            assert_eq!(with("origin", origin), Err(Stranger::WebPage), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "anything"] {
            assert_eq!(with("Sec-Fetch-Site", site), Err(Stranger::WebPage), "{site}");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(with("Sec-Fetch-Site", site), Ok(()), "{site}");
        }
    }

    #[test]
    fn the_token_is_all_that_is_asked_for_where_there_is_one() {
        let token = Some("0123456789abcdef".to_owned());
        let guard = Guard::new(token, Vec::new(), "0.0.0.0".parse().unwrap());
        for right in
            ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "BEARER  0123456789abcdef"]
        {
            let fields = [("Host", "any.example"), ("Origin", "null"), ("Authorization", right)];
            assert_eq!(check(&guard, &fields), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "Bearer0123456789abcdef ",
            "Bearer 0123456789ABCDEF",
        ] {
            let given = check(&guard, &[("Host", "localhost"), ("Authorization", wrong)]);
            assert_eq!(given, Err(Stranger::NoToken), "{wrong}");
        }
        assert_eq!(check(&guard, &[]), Err(Stranger::NoToken));
    }
}
