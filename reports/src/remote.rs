//! Another host, as ssh is asked for it.

use std::fmt;
use std::str::FromStr;

/// A host that ssh leads to: `host`, `user@host`, `user@host:2222`, `[fe80::1]:22`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteHost {
    /// What ssh is told: a name of its configuration, a host, or `user@host`.
    pub destination: String,
    /// The port of its sshd, if it is not what ssh takes by itself.
    pub port: Option<u16>,
}

/// Why a text does not name a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteHostError {
    /// There is no name.
    #[error("a host without a name; write HOST, USER@HOST or USER@HOST:PORT")]
    NoName,
    /// ssh would take it for something else.
    #[error("not a host: \"{0}\"; write HOST, USER@HOST or USER@HOST:PORT")]
    NotAHost(String),
    /// What follows the colon is no port.
    #[error("not a port: \"{0}\"; write USER@HOST:2222, and an IPv6 address as [fe80::1]:22")]
    NotAPort(String),
}

impl FromStr for RemoteHost {
    type Err = RemoteHostError;

    fn from_str(text: &str) -> Result<Self, RemoteHostError> {
        let not_a_host = || RemoteHostError::NotAHost(text.to_owned());
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, text),
        };
        let (host, port) = if let Some(rest) = host.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(not_a_host)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("")) })
        } else {
            match host.split_once(':') {
                // An address of IPv6 without brackets has several.
                Some((_, rest)) if rest.contains(':') => (host, None),
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            }
        };
        if host.is_empty() {
            return Err(RemoteHostError::NoName);
        }
        // What begins with a hyphen would be an option of ssh, and what has a space, a comma or a
        // control character in it is no name.
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == ',';
        let is_bad = |part: &str| part.is_empty() || part.starts_with('-') || part.contains(is_odd);
        if is_bad(host) || is_bad(text) || user.is_some_and(is_bad) {
            return Err(not_a_host());
        }
        let not_a_port = |port: &str| RemoteHostError::NotAPort(port.to_owned());
        let number = |port: &str| port.parse().ok().filter(|port| *port > 0);
        let port = port.map(|port| number(port).ok_or_else(|| not_a_port(port))).transpose()?;
        let destination = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
        Ok(Self { destination, port })
    }
}

impl fmt::Display for RemoteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.destination)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Where a shell that ssh starts finds a program, on most systems.
const COPY_TO: &str = "/usr/local/bin/";

impl RemoteHost {
    /// The words between `ssh` and a command on the host, as somebody types them.
    pub fn typed(&self) -> String {
        let port = self.port.map_or_else(String::new, |port| format!("-p {port} "));
        format!("{port}{}", self.destination)
    }

    /// The command that copies a program from here to the host, to where ssh finds it.
    pub fn copy(&self, program: &str) -> String {
        let port = self.port.map_or_else(String::new, |port| format!("-P {port} "));
        // An address of IPv6 would end at its first colon.
        let place = match self.destination.rsplit_once('@') {
            Some((user, address)) if address.contains(':') => format!("{user}@[{address}]"),
            None if self.destination.contains(':') => format!("[{}]", self.destination),
            _ => self.destination.clone(),
        };
        format!("scp {port}{program} {place}:{COPY_TO}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_user_and_a_port_where_they_are_said() {
        let parts = |text: &str| {
            let host: RemoteHost = text.parse().unwrap();
            (host.destination, host.port)
        };
        for (text, destination, port) in [
            ("db", "db", None),
            ("me@db", "me@db", None),
            ("me@db:2222", "me@db", Some(2222)),
            ("me@10.0.0.1:22", "me@10.0.0.1", Some(22)),
            ("fe80::1", "fe80::1", None),
            ("me@::1", "me@::1", None),
            ("me@[::1]:22", "me@::1", Some(22)),
            ("[::1]", "::1", None),
        ] {
            assert_eq!(parts(text), (destination.to_owned(), port), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_a_fix() {
        for (text, problem) in [
            ("", "a host without a name"),
            ("u@", "a host without a name"),
            (":22", "a host without a name"),
            ("-oProxyCommand=x", "not a host: \"-oProxyCommand=x\""),
            ("u@-l", "not a host: \"u@-l\""),
            ("@b", "not a host: \"@b\""),
            ("a b", "not a host: \"a b\""),
            ("a\nb", "not a host"),
            ("a,b", "not a host: \"a,b\""),
            ("[::1", "not a host: \"[::1\""),
            ("a:0", "not a port: \"0\""),
            ("a:ssh", "not a port: \"ssh\""),
            ("[::1]22", "not a port: \"\""),
        ] {
            let refused = text.parse::<RemoteHost>().unwrap_err().to_string();
            assert!(refused.starts_with(problem), "{text}: {refused}");
        }
    }

    #[test]
    fn a_program_is_copied_to_where_ssh_finds_it() {
        let copy = |text: &str| text.parse::<RemoteHost>().unwrap().copy("memlog");
        assert_eq!(copy("u@b:2222"), "scp -P 2222 memlog u@b:/usr/local/bin/");
        assert_eq!(copy("u@fe80::1"), "scp memlog u@[fe80::1]:/usr/local/bin/");
        assert_eq!("u@b:2222".parse::<RemoteHost>().unwrap().typed(), "-p 2222 u@b");
    }
}
