//! The destinations of a URL file: each host and port that occurs in it, once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use serde::{Deserialize, Serialize};

use crate::request::Requests;
use crate::share::Share;
use crate::sources::{SourceIps, Sources, is_local};
use crate::url::Url;
use crate::urls::{Entry, LineIndex, UrlFile, UrlFileError};

/// Targets that redirects may add to those of the URL file: a server can name 65,535 ports of each
/// host.
const MAX_LEARNED: usize = 1_000;

/// Why a destination cannot be dialed. All are found before the first connect.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The host has no address.
    #[error("{path}:{line}: unknown host \"{host}\": {reason}")]
    UnknownHost {
        /// The URL file.
        path: String,
        /// The first line that names the host.
        line: u64,
        /// The host.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// No source address can reach it: of another family, or this machine has none.
    #[error("no source address for {authority}; name one of its family with --source-ip")]
    NoSource {
        /// Host and port.
        authority: String,
    },
    /// There are fewer source ports than connections.
    #[error(
        "cannot hold {n_connections} connections to {address}: {n_ports} source ports are fewer; \
         name more source addresses with --source-ip, each has 62000"
    )]
    TooFewPorts {
        /// The destination.
        address: SocketAddr,
        /// Connections asked for.
        n_connections: u64,
        /// Source ports of all source addresses.
        n_ports: u64,
    },
}

/// A host and port that URLs name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Host and port as the URLs write them.
    pub(crate) authority: String,
    /// Whether they are `https://` URLs.
    pub(crate) is_tls: bool,
    /// The addresses of the host, in the resolver's order.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The first address that connected: from then on the only one.
    pub(crate) kept: Option<usize>,
    /// Whether a connection to it was refused by all of its addresses.
    pub(crate) was_refused: bool,
    /// The host alone.
    host: String,
    /// The port.
    port: u16,
    /// The first line that names it.
    line: u64,
    /// How many connections it will be asked for; never too low.
    pub(crate) n_connections: u64,
}

impl Target {
    /// Which endpoint a new connection begins with.
    pub(crate) fn first_endpoint(&self) -> usize {
        self.kept.unwrap_or(0)
    }

    /// Which endpoint comes after `failed`, if it is worth a try.
    pub(crate) fn endpoint_after(&self, failed: usize) -> Option<usize> {
        match self.kept {
            Some(kept) => (kept != failed).then_some(kept),
            None => Some(failed + 1).filter(|next| *next < self.endpoints.len()),
        }
    }
}

/// One address of a target, with the source ports that lead there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The address.
    pub(crate) address: SocketAddr,
    /// Where connections to it come from.
    pub(crate) sources: Sources,
}

/// All targets of a URL file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Targets {
    /// The targets, in the order of their first lines.
    list: Vec<Target>,
    /// Their places in the list by authority; those of `https://` URLs are the second.
    by_authority: [HashMap<String, usize>; 2],
    /// The place that was looked up last: a file mostly names one host.
    latest: usize,
    /// How many redirects have added.
    n_learned: usize,
    /// Whether a URL is that of a WebSocket.
    pub(crate) has_sockets: bool,
}

impl Targets {
    /// Where the target of `url` is, which the survey of the same file has found.
    pub(crate) fn find(&mut self, url: &Url<'_>) -> Option<usize> {
        let is_it = |it: &Target| it.authority == url.authority && it.is_tls == url.is_tls;
        if !self.list.get(self.latest).is_some_and(is_it) {
            self.latest = *self.by_authority[usize::from(url.is_tls)].get(url.authority)?;
        }
        Some(self.latest)
    }

    /// The target at `place`.
    pub(crate) fn at(&mut self, place: usize) -> &mut Target {
        &mut self.list[place]
    }

    /// Whether every one was dialed and refused.
    pub(crate) fn all_refused(&self) -> bool {
        self.list.iter().all(|target| target.was_refused || target.n_connections == 0)
    }

    /// Takes the source ports of one process's share.
    pub(crate) fn begin_at(&mut self, share: Share) {
        for endpoint in self.list.iter_mut().flat_map(|target| &mut target.endpoints) {
            endpoint.sources.begin_at(share);
        }
    }

    /// Those that will be dialed.
    pub(crate) fn dialed(&self) -> impl Iterator<Item = &Target> {
        self.list.iter().filter(|target| target.n_connections > 0)
    }

    /// Connections that will speak TLS.
    pub(crate) fn n_tls(&self) -> u64 {
        self.dialed().filter(|target| target.is_tls).map(|target| target.n_connections).sum()
    }

    /// Host and port of the first.
    pub(crate) fn first_authority(&self) -> &str {
        self.list.first().map_or("nowhere", |target| &target.authority)
    }

    /// Where the target of `url` is, now at the latest.
    fn find_or_add(&mut self, url: &Url<'_>, line: u64) -> usize {
        if let Some(place) = self.find(url) {
            return place;
        }
        self.latest = self.list.len();
        let places = &mut self.by_authority[usize::from(url.is_tls)];
        places.insert(url.authority.to_owned(), self.latest);
        self.list.push(Target {
            authority: url.authority.to_owned(),
            is_tls: url.is_tls,
            endpoints: Vec::new(),
            kept: None,
            was_refused: false,
            host: url.host.to_owned(),
            port: url.port,
            line,
            n_connections: 0,
        });
        self.latest
    }

    /// Where the target of `url` is, to which a redirect leads. `None` if its host is neither an
    /// address nor one of the URL file: to look a name up would hold up all other connections.
    pub(crate) fn find_or_learn(
        &mut self,
        url: &Url<'_>,
        n_asked: u64,
        asked: Option<&SourceIps>,
        share: Share,
    ) -> Option<usize> {
        if let Some(place) = self.find(url)
            && !self.list[place].endpoints.is_empty()
        {
            return Some(place);
        }
        if self.n_learned >= MAX_LEARNED {
            return None;
        }
        let ips: Vec<IpAddr> = if let Ok(ip) = url.host.parse() {
            vec![ip]
        } else {
            let is_host = |it: &&Target| it.host.eq_ignore_ascii_case(url.host);
            let known = self.list.iter().filter(is_host).find(|it| !it.endpoints.is_empty())?;
            known.endpoints.iter().map(|endpoint| endpoint.address.ip()).collect()
        };
        let mut endpoints = Vec::new();
        for ip in ips {
            let mut sources = Sources::new(ip, n_asked, asked);
            sources.begin_at(share);
            if sources.ips().first().is_some_and(|ip| is_local(*ip)) {
                endpoints.push(Endpoint { address: SocketAddr::new(ip, url.port), sources });
            }
        }
        if endpoints.is_empty() {
            return None;
        }
        self.n_learned += 1;
        let place = self.find_or_add(url, 0);
        self.list[place].endpoints = endpoints;
        Some(place)
    }

    /// Looks at every line of `file`; all targets, where the URLs are, and how many connections are
    /// asked for: `connections`, or as many as there are URLs.
    pub(crate) fn survey(
        file: &mut UrlFile,
        requests: &Requests,
        connections: Option<u64>,
    ) -> Result<(Self, LineIndex, u64), UrlFileError> {
        let mut targets = Self::default();
        let mut index = LineIndex::default();
        while file.advance()? {
            let Entry { line, url, filling } = file.entry(0)?;
            let checked = requests.check(&url, filling);
            let place = targets.find_or_add(&url, line);
            targets.has_sockets |= url.is_ws;
            checked.map_err(|problem| file.line_error(problem))?;
            if connections.is_none_or(|connections| index.n_urls < connections) {
                targets.list[place].n_connections += 1;
            }
            index.push(file);
        }
        let n_urls = index.n_urls;
        if n_urls == 0 {
            return Err(file.empty_error());
        }
        let n_asked = connections.unwrap_or(n_urls);
        let n_rounds = n_asked.div_ceil(n_urls);
        for target in &mut targets.list {
            target.n_connections = target.n_connections.saturating_mul(n_rounds).min(n_asked);
        }
        Ok((targets, index, n_asked))
    }

    /// Notes that only `n_asked` connections will be opened here, whatever their targets.
    pub(crate) fn limit_to(&mut self, n_asked: u64) {
        for target in &mut self.list {
            target.n_connections = target.n_connections.min(n_asked);
        }
    }

    /// Finds out the addresses of all targets that will be dialed, and where from: for `n_asked`
    /// connections, which together hold `n_ports` ports, those that are closed but not yet free
    /// included.
    pub(crate) fn resolve(
        &mut self,
        path: &std::path::Path,
        (n_asked, n_ports): (u64, u64),
        asked: Option<&SourceIps>,
    ) -> Result<(), TargetError> {
        let mut n_by_address = HashMap::<SocketAddr, u64>::new();
        for target in self.list.iter_mut().filter(|target| target.n_connections > 0) {
            let unknown = |reason: String| TargetError::UnknownHost {
                path: path.display().to_string(),
                line: target.line,
                host: target.host.clone(),
                reason,
            };
            let addresses = (target.host.as_str(), target.port).to_socket_addrs();
            for address in addresses.map_err(|error| unknown(error.to_string()))? {
                let sources = Sources::new(address.ip(), n_ports, asked);
                if sources.ips().first().is_some_and(|ip| is_local(*ip)) {
                    target.endpoints.push(Endpoint { address, sources });
                }
            }
            let Some(first) = target.endpoints.first() else {
                return Err(TargetError::NoSource { authority: target.authority.clone() });
            };
            let n_connections = n_by_address.entry(first.address).or_default();
            *n_connections = n_connections.saturating_add(target.n_connections).min(n_asked);
            if *n_connections > first.sources.capacity() {
                return Err(TargetError::TooFewPorts {
                    address: first.address,
                    n_connections: *n_connections,
                    n_ports: first.sources.capacity(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What a survey of a file with these lines finds: connections by target, and in all.
    fn survey(lines: &[&str], connections: Option<u64>) -> (Vec<(String, u64)>, u64) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        let mut urls = UrlFile::open(file.path()).unwrap();
        let requests = Requests::default();
        let (targets, index, n_asked) = Targets::survey(&mut urls, &requests, connections).unwrap();
        assert_eq!(index.n_urls, lines.len() as u64);
        let list = targets.list.into_iter();
        (list.map(|target| (target.authority, target.n_connections)).collect(), n_asked)
    }

    #[test]
    fn a_survey_counts_connections_by_target() {
        let lines = ["http://a/1", "https://a/2", "http://a/3"];
        let counted = |a, b| vec![("a".to_owned(), a), ("a".to_owned(), b)];
        assert_eq!(survey(&lines, None), (counted(2, 1), 3));
        assert_eq!(survey(&lines, Some(1)), (counted(1, 0), 1));
        assert_eq!(survey(&lines, Some(6)), (counted(4, 2), 6));
    }

    #[test]
    fn more_connections_than_source_ports_are_refused_with_a_fix() {
        let mut targets = Targets::default();
        let place = targets.find_or_add(&Url::parse(b"http://127.0.0.1:9/").unwrap(), 1);
        targets.at(place).n_connections = 124_001;
        let asked = "127.0.0.2-127.0.0.3".parse().unwrap();
        let path = std::path::Path::new("urls.txt");
        let error =
            targets.resolve(path, (124_001, 124_001), Some(&asked)).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot hold 124001 connections to 127.0.0.1:9: 124000 source ports are fewer; name \
             more source addresses with --source-ip, each has 62000"
        );
        targets.at(place).endpoints.clear();
        assert!(
            targets.resolve(path, (124_001, 124_001), None).is_ok(),
            "loopback has more of its own"
        );
    }

    #[test]
    fn a_redirect_leads_to_addresses_and_hosts_that_are_known() {
        let mut targets = Targets::default();
        let url = |text: &'static str| Url::parse(text.as_bytes()).unwrap();
        let mut learn = |text| targets.find_or_learn(&url(text), 1, None, Share::WHOLE);
        assert_eq!(learn("http://h.example:81/"), None, "nobody knows its address");
        let place = learn("http://127.0.0.1:9/").unwrap();
        assert_eq!(learn("http://127.0.0.1:9/x"), Some(place));
        assert_ne!(learn("https://127.0.0.1:9/x"), Some(place));
        targets.list[place].host = "h.example".to_owned();
        let other = targets.find_or_learn(&url("http://H.example:81"), 1, None, Share::WHOLE);
        let address = targets.at(other.unwrap()).endpoints[0].address;
        assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 81)));
        targets.n_learned = MAX_LEARNED;
        let more = targets.find_or_learn(&url("http://127.0.0.1:10/"), 1, None, Share::WHOLE);
        assert_eq!(more, None);
    }

    #[test]
    fn after_the_first_that_connects_no_other_address_is_tried() {
        let mut targets = Targets::default();
        targets.find_or_add(&Url::parse(b"http://127.0.0.1:9/").unwrap(), 1);
        let target = targets.at(0);
        for _ in 0..3 {
            let address = SocketAddr::from(([127, 0, 0, 1], 9));
            let sources = Sources::new(address.ip(), 1, None);
            target.endpoints.push(Endpoint { address, sources });
        }
        assert_eq!((target.first_endpoint(), target.endpoint_after(0)), (0, Some(1)));
        assert_eq!(target.endpoint_after(2), None);
        target.kept = Some(1);
        assert_eq!((target.first_endpoint(), target.endpoint_after(1)), (1, None));
        assert_eq!(target.endpoint_after(0), Some(1), "dialed before the other was known");
    }
}
