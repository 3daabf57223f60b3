//! `--cluster`: which brokers there are, and what they want to be told.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Brokers of a cluster: each takes two descriptors, from the 32 that a server keeps for itself.
const MAX_BROKERS: usize = 8;

/// The port of a broker whose address names none: what Redis and Valkey listen on.
const DEFAULT_PORT: u16 = 6379;

/// One Redis or Valkey server.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its host, a name or an address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// Whether it is spoken to with TLS.
    pub(super) is_tls: bool,
    /// What it is told first, if anything: a user, if not the default one, and the password.
    pub(super) credentials: Option<(Option<String>, String)>,
}

/// Host and port, as all nodes should write them; never the password.
impl fmt::Display for Broker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(out, "[{host}]:{port}")
        } else {
            write!(out, "{host}:{port}")
        }
    }
}

/// The same: a password is not for logs.
impl fmt::Debug for Broker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Broker {
    /// `text`, without its password in it: some brokers repeat what they did not understand.
    pub(super) fn without_password(&self, text: &str) -> String {
        match &self.credentials {
            Some((_, password)) if !password.is_empty() => text.replace(password, "***"),
            _ => text.to_owned(),
        }
    }
}

/// Reads `redis://[[user][:password]@]host[:port],…`, or the same with `rediss://` for TLS. Scheme
/// and credentials are each broker's own, or those of the one before it; a password that is missing
/// is `password`. Returns as well whether one was in `text`. An error says what to write instead,
/// and does not repeat passwords.
pub(super) fn parse(text: &str, password: Option<&str>) -> Result<(Vec<Broker>, bool), String> {
    let mut brokers: Vec<Broker> = Vec::new();
    let mut has_password = false;
    for one in text.split(',') {
        let (is_tls, rest) = match (one.split_once("://"), brokers.last()) {
            (Some(("redis", rest)), _) => (false, rest),
            (Some(("rediss", rest)), _) => (true, rest),
            (None, Some(before)) => (before.is_tls, one),
            _ => {
                return Err("write redis://host:port[,host:port…], or rediss:// for TLS".to_owned());
            }
        };
        let (login, host, port) = parse_one(rest)?;
        if is_tls && rustls::pki_types::ServerName::try_from(host.as_str()).is_err() {
            return Err(format!("no certificate can be for a host called {host}"));
        }
        let credentials = match (login, brokers.last()) {
            (Some((user, Some(password))), _) => {
                has_password = true;
                Some((user, password))
            }
            (Some((user, None)), _) => {
                let password = password.ok_or(
                    "write redis://user@host:port and give the password with \
                     --cluster-password-file FILE",
                )?;
                Some((user, password.to_owned()))
            }
            (None, Some(before)) => before.credentials.clone(),
            (None, None) => password.map(|password| (None, password.to_owned())),
        };
        let broker = Broker { host, port, is_tls, credentials };
        if brokers.iter().any(|other| other.to_string() == broker.to_string()) {
            return Err(format!("{broker} is named twice"));
        }
        brokers.push(broker);
    }
    if brokers.len() > MAX_BROKERS {
        return Err(format!("{} brokers are too many: at most {MAX_BROKERS}", brokers.len()));
    }
    Ok((brokers, has_password))
}

/// A user, if not the default one, and the password, if it was written.
type Login = (Option<String>, Option<String>);

/// Reads `[[user][:password]@]host[:port]`.
fn parse_one(text: &str) -> Result<(Option<Login>, String, u16), String> {
    let (login, address) = match text.rsplit_once('@') {
        Some((login, address)) => (Some(parse_login(login)?), address),
        None => (None, text),
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    if let Some((address, database)) = address.split_once('/') {
        return Err(format!(
            "pub/sub is the same in all databases: write {address} without /{database}"
        ));
    }
    let (host, port) = match address.rsplit_once(':') {
        // A colon within brackets belongs to the address.
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().ok().filter(|&port| port != 0);
            (host, port.ok_or_else(|| format!("{address} has no port between 1 and 65535"))?)
        }
        _ => (address, DEFAULT_PORT),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let bare = if is_bracketed { &host[1..host.len() - 1] } else { host };
    if bare.is_empty() || (bare.contains(':') && !is_bracketed) {
        return Err(format!("{address} is no host:port; an IPv6 address is written [::1]:6379"));
    }
    Ok((login, bare.to_owned(), port))
}

/// Reads `[user][:password]`, in which special characters are percent-encoded.
fn parse_login(text: &str) -> Result<Login, String> {
    let decode = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| "the credentials are not UTF-8".to_owned())
    };
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(decode(password)?)),
        None => (text, None),
    };
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    Ok((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(host: &str, port: u16, credentials: Option<(Option<&str>, &str)>) -> Broker {
        let credentials =
            credentials.map(|(user, password)| (user.map(str::to_owned), password.to_owned()));
        Broker { host: host.to_owned(), port, is_tls: false, credentials }
    }

    /// The brokers in `text`, without a password from elsewhere.
    fn parse(text: &str) -> Result<Vec<Broker>, String> {
        super::parse(text, None).map(|(brokers, _)| brokers)
    }

    #[test]
    fn tls_and_a_password_from_elsewhere_are_of_each_broker_that_has_no_other() {
        let text = "rediss://a,u@b,redis://:own@c,d:1";
        let (all, has_password) = super::parse(text, Some("given")).unwrap();
        assert!(has_password && !super::parse("redis://u@h", Some("given")).unwrap().1);
        let tls = |broker| Broker { is_tls: true, ..broker };
        assert_eq!(all[0], tls(broker("a", 6379, Some((None, "given")))));
        assert_eq!(all[1], tls(broker("b", 6379, Some((Some("u"), "given")))));
        assert_eq!(all[2], broker("c", 6379, Some((None, "own"))));
        assert_eq!(all[3], broker("d", 1, Some((None, "own"))));
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(parse("redis://h:1").unwrap(), [broker("h", 1, None)]);
        assert_eq!(parse("redis://h/").unwrap(), [broker("h", 6379, None)]);
        assert_eq!(parse("redis://[::1]").unwrap(), [broker("::1", 6379, None)]);
        let all = parse("redis://u:p%40w@a:1,b:2,redis://:x@[::1]:3").unwrap();
        assert_eq!(all[0], broker("a", 1, Some((Some("u"), "p@w"))));
        assert_eq!(all[1], broker("b", 2, Some((Some("u"), "p@w"))));
        assert_eq!(all[2], broker("::1", 3, Some((None, "x"))));
    }

    #[test]
    fn a_broker_shows_no_password() {
        let brokers = parse("redis://user:secret@a:1,[::1]:3").unwrap();
        assert_eq!(format!("{} {brokers:?}", brokers[1]), "[::1]:3 [a:1, [::1]:3]");
        let repeated = brokers[0].without_password("ERR unknown command 'AUTH' 'secret'");
        assert_eq!(repeated, "ERR unknown command 'AUTH' '***'");
    }

    #[test]
    fn errors_name_the_fix_and_no_password() {
        for (text, part) in [
            ("localhost:6379", "write redis://"),
            ("http://h:1", "write redis://"),
            ("rediss://a_b c:1", "certificate"),
            ("redis://h:1/3", "without /3"),
            ("redis://u:secret@h:port", "h:port has no port"),
            ("redis://h:0", "has no port"),
            ("redis://::1:6379", "[::1]:6379"),
            ("redis://", "no host:port"),
            ("redis://secret@h:1", "--cluster-password-file"),
            ("redis://a:1,a:1", "named twice"),
            ("redis://a,b,c,d,e,f,g,h,i", "at most 8"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
