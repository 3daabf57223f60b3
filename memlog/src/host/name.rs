//! What a host is called: `host`, `user@host`, `host:2222`.

use std::fmt;

/// A host, as ssh is to be asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `user@host`, or a name of the user's own settings.
    pub place: String,
    /// The port, where it is not for ssh to know.
    pub port: Option<u16>,
}

impl Host {
    /// Reads a host. An error says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_odd = |char: char| char.is_control() || char.is_whitespace() || char == ',';
        // A word that begins with a dash would be a flag of ssh.
        if text.is_empty() || text.starts_with('-') || text.contains(is_odd) {
            return Err("write host, user@host or user@host:2222".to_owned());
        }
        let (place, port) = match text.rsplit_once(':') {
            // An address of IPv6 has several colons, and brackets where a port follows.
            Some((place, port)) if !place.contains(':') || place.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (place, Some(port.ok_or("a port is a number from 1 to 65535")?))
            }
            _ => (text, None),
        };
        let place = place.replace(['[', ']'], "");
        if place.is_empty() || place.ends_with('@') {
            return Err("write host, user@host or user@host:2222".to_owned());
        }
        Ok(Self { place, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, port } = self;
        match port {
            Some(port) => write!(f, "{place}:{port}"),
            None => f.write_str(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_user_and_a_port_where_they_are_said() {
        let parts = |text| Host::parse(text).map(|it| (it.place, it.port));
        let is = |text, place: &str, port| assert_eq!(parts(text), Ok((place.to_owned(), port)));
        is("db", "db", None);
        is("me@db", "me@db", None);
        is("me@db:2222", "me@db", Some(2222));
        is("me@10.0.0.1:22", "me@10.0.0.1", Some(22));
        is("me@::1", "me@::1", None);
        is("me@[::1]:22", "me@::1", Some(22));
        for bad in ["", "-oProxyCommand=x", "a b", "a\nb", "a,b", "me@", ":22", "a:0", "a:ssh"] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }
}
