//! The hosts that hold the connections of a run (`--hosts`).

use std::str::FromStr;

use reports::remote::{RemoteHost, RemoteHostError};

/// Hosts of a run. Each is an ssh process here; past this a tree of hosts would be needed.
const MAX_HOSTS: usize = 64;

/// The largest weight of a host: more than the fastest machine is faster than the slowest.
const MAX_WEIGHT: u64 = 1_000;

/// A host that holds a part of the connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// Which one.
    pub host: RemoteHost,
    /// How many parts of the load it has, beside those of the others.
    pub weight: u64,
}

/// Why a text does not name hosts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// One of them is none.
    #[error(transparent)]
    Host(#[from] RemoteHostError),
    /// What follows the equals sign is no weight.
    #[error("not a weight: \"{0}\"; write HOST=2 for twice the load of the others, 1 to 1000")]
    NotAWeight(String),
    /// It is there already.
    #[error("{0} is named twice; HOST=2 gives a host twice the load of the others")]
    Twice(RemoteHost),
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
        Ok(Self { host: name.parse()?, weight })
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
            if hosts.iter().any(|it| it.host == host.host) {
                return Err(HostError::Twice(host.host));
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

    fn hosts(text: &str) -> Result<Vec<(String, u64)>, String> {
        let hosts: Result<Hosts, _> = text.parse();
        let all = hosts.map_err(|error| error.to_string())?.0.into_iter();
        Ok(all.map(|it| (it.host.to_string(), it.weight)).collect())
    }

    #[test]
    fn hosts_are_what_ssh_takes_with_a_weight() {
        let host = |name: &str, weight| (name.to_owned(), weight);
        assert_eq!(
            hosts("a,user@b:2222=2, c=3"),
            Ok(vec![host("a", 1), host("user@b:2222", 2), host("c", 3)])
        );
    }

    #[test]
    fn what_is_no_host_is_refused_with_a_fix() {
        for (text, problem) in [
            ("a,,b", "a host without a name"),
            ("-oProxyCommand=x", "not a weight: \"x\""),
            ("a:0", "not a port: \"0\""),
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
