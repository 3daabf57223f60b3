//! Sessions of TLS that are gone on with (`--tls-resume on`).
//!
//! The store of rustls keeps eight tickets of TLS 1.3 for a server, and a ticket is good for one
//! connection: of ten thousand that come back at once, eight would resume. Here there are as many as
//! places may want.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Tickets that a process keeps for each server, the newest ones. With the server's certificates each
/// takes some 3 KB, so that all of them take 60 MB.
const MAX_TICKETS: usize = 20_000;

/// Servers that are remembered. A URL file mostly names one.
const MAX_SERVERS: usize = 1_000;

/// What is known of one server.
#[derive(Debug, Default)]
struct Server {
    /// Which key exchange it took.
    group: Option<NamedGroup>,
    /// Its session of TLS 1.2, which is good for any number of connections.
    tls12: Option<Tls12ClientSessionValue>,
    /// Its tickets of TLS 1.3, the oldest one first.
    tickets: VecDeque<Tls13ClientSessionValue>,
}

/// The sessions of all servers, which the connections of a process share.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// The servers, by name.
    servers: Mutex<HashMap<ServerName<'static>, Server>>,
}

impl Sessions {
    /// Changes what is known of a server, unless there are too many.
    fn change(&self, name: ServerName<'static>, change: impl FnOnce(&mut Server)) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() < MAX_SERVERS || servers.contains_key(&name) {
            change(servers.entry(name).or_default());
        }
    }

    /// Looks something up of a server.
    fn of<T>(
        &self,
        name: &ServerName<'_>,
        get: impl FnOnce(&mut Server) -> Option<T>,
    ) -> Option<T> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.get_mut(&name.to_owned()).and_then(get)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.change(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.of(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.change(name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.of(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.of(name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.change(name, |server| {
            if server.tickets.len() >= MAX_TICKETS {
                server.tickets.pop_front();
            }
            server.tickets.push_back(value);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.of(name, |server| server.tickets.pop_back())
    }
}
