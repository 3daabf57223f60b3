//! The hosts that hold the connections of a run (`--hosts`).

use std::fmt;
use std::str::FromStr;

/// Hosts of a run. Each is an ssh process here; past this a tree of hosts would be needed.
const MAX_HOSTS: usize = 64;

/// The largest weight of a host: more than the fastest machine is faster than the slowest.
const MAX_WEIGHT: u64 = 1_000;

/// A host that holds a part of the connections, reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// What ssh is told: a name of its configuration, a host, or `user@host`.
    pub destination: String,
    /// The port of its sshd, if it is not what ssh takes by itself.
    pub port: Option<u16>,
    /// How many parts of the load it has, beside those of the others.
    pub weight: u64,
}

/// As `--hosts` names it, without the weight.
impl fmt::Display for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.destination)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Why a text does not name a host.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no name.
    #[error("a host without a name; write HOST, USER@HOST or USER@HOST:PORT")]
    NoName,
    /// ssh would take it for something else.
    #[error("not a host: \"{0}\"; write HOST, USER@HOST or USER@HOST:PORT")]
    NotAHost(String),
    /// What follows the colon is no port.
    #[error("not a port: \"{0}\"; write USER@HOST:2222, and an IPv6 address as [fe80::1]:22")]
    NotAPort(String),
    /// What follows the equals sign is no weight.
    #[error("not a weight: \"{0}\"; write HOST=2 for twice the load of the others, 1 to 1000")]
    NotAWeight(String),
    /// It is there already.
    #[error("{0} is named twice; HOST=2 gives a host twice the load of the others")]
    Twice(String),
    /// There are too many.
    #[error("more than {MAX_HOSTS} hosts")]
    TooMany,
}

impl FromStr for HostSpec {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let (name, weight) = match text.split_once('=') {
            Some((name, weight)) => {
                let parsed = weight.parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
                (name, parsed.ok_or_else(|| HostError::NotAWeight(weight.to_owned()))?)
            }
            None => (text, 1),
        };
        let (user, host) = match name.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, name),
        };
        let (host, port) = if let Some(rest) = host.strip_prefix('[') {
            let not_a_host = || HostError::NotAHost(name.to_owned());
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
            return Err(HostError::NoName);
        }
        // What begins with a hyphen would be an option of ssh, and what has a space in it, or a
        // control character, no name.
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        let is_bad = |part: &str| part.is_empty() || part.starts_with('-') || part.contains(is_odd);
        if is_bad(host) || is_bad(name) || user.is_some_and(is_bad) {
            return Err(HostError::NotAHost(name.to_owned()));
        }
        let not_a_port = |port: &str| HostError::NotAPort(port.to_owned());
        let number = |port: &str| port.parse().ok().filter(|port| *port > 0);
        let port = port.map(|port| number(port).ok_or_else(|| not_a_port(port))).transpose()?;
        let destination = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
        Ok(Self { destination, port, weight })
    }
}

/// The hosts of a run, as `--hosts` names them: `a,user@b:2222=2`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(pub Vec<HostSpec>);

impl FromStr for Hosts {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let mut hosts: Vec<HostSpec> = Vec::new();
        for part in text.split(',') {
            let host: HostSpec = part.trim().parse()?;
            if hosts.iter().any(|it| it.destination == host.destination && it.port == host.port) {
                return Err(HostError::Twice(host.to_string()));
            }
            hosts.push(host);
        }
        if hosts.len() > MAX_HOSTS { Err(HostError::TooMany) } else { Ok(Self(hosts)) }
    }
}

/// The program that a host is asked to run, as `--floodtest-path` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteProgram(pub String);

impl FromStr for RemoteProgram {
    type Err = &'static str;

    /// A shell of the host reads it, so that it has nothing that a shell understands.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._~+-".contains(c);
        if text.is_empty() || text.starts_with('-') || !text.chars().all(is_plain) {
            return Err("a path of letters, digits and / . _ ~ + - only, as bin/floodtest");
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Result<Vec<(String, Option<u16>, u64)>, String> {
        let hosts: Result<Hosts, _> = text.parse();
        let all = hosts.map_err(|error| error.to_string())?.0.into_iter();
        Ok(all.map(|host| (host.destination, host.port, host.weight)).collect())
    }

    #[test]
    fn hosts_are_what_ssh_takes_with_port_and_weight() {
        let host = |name: &str, port, weight| (name.to_owned(), port, weight);
        assert_eq!(
            hosts("a,user@b:2222=2, c=3"),
            Ok(vec![host("a", None, 1), host("user@b", Some(2222), 2), host("c", None, 3)])
        );
        assert_eq!(
            hosts("fe80::1,u@[fe80::2]:22,[::1]"),
            Ok(vec![
                host("fe80::1", None, 1),
                host("u@fe80::2", Some(22), 1),
                host("::1", None, 1)
            ])
        );
        assert_eq!("u@b:22=7".parse::<HostSpec>().unwrap().to_string(), "u@b:22");
    }

    #[test]
    fn what_is_no_host_is_refused_with_a_fix() {
        for (text, problem) in [
            ("", "a host without a name"),
            ("a,,b", "a host without a name"),
            ("u@", "a host without a name"),
            ("-oProxyCommand=x", "not a weight: \"x\""),
            ("-l", "not a host: \"-l\""),
            ("u@-l", "not a host: \"u@-l\""),
            ("@b", "not a host: \"@b\""),
            ("a b", "not a host: \"a b\""),
            ("[::1", "not a host: \"[::1\""),
            ("a:0", "not a port: \"0\""),
            ("a:ssh", "not a port: \"ssh\""),
            ("[::1]22", "not a port: \"\""),
            ("a=0", "not a weight: \"0\""),
            ("a=1001", "not a weight: \"1001\""),
            ("a,b,a=2", "a is named twice"),
        ] {
            let refused = hosts(text).unwrap_err();
            assert!(refused.starts_with(problem), "{text}: {refused}");
        }
        let many: Vec<String> = (0..=MAX_HOSTS).map(|n| format!("h{n}")).collect();
        assert_eq!(hosts(&many.join(",")).unwrap_err(), "more than 64 hosts");
        for text in ["", "-x", "a b", "a;b", "$(a)", "a'"] {
            assert!(text.parse::<RemoteProgram>().is_err(), "{text}");
        }
        assert!("~/.cargo/bin/floodtest".parse::<RemoteProgram>().is_ok());
    }
}
