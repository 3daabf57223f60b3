//! Connections that wait until the cluster has subscribed their ids.

use std::borrow::Cow;
use std::future::Future;
use std::os::fd::OwnedFd;

use super::Pending;
use super::connection::{Connection, State, Waiting, unsubscribed};
use crate::cluster::ledger::{Asked, Ticket};
use crate::cluster::timing::LOGIN_WAIT;
use crate::framing::Style;
use crate::router::Id;

impl Pending {
    /// Logs a connection in once the cluster has subscribed its ids.
    pub(super) fn ask(
        &mut self,
        socket: OwnedFd,
        style: Style,
        head: Cow<'static, str>,
        ids: &[Id],
        n_extra_bytes: usize,
    ) {
        let Some(cluster) = self.cluster.clone() else { return };
        match cluster.ask(self.table.vacant_key(), ids) {
            Asked::Ready => {
                self.log_in(socket, style, &head, ids, n_extra_bytes);
                cluster.release(ids);
            }
            Asked::Wait(ticket) => {
                let waiting = Waiting { ticket, style, head, n_extra_bytes };
                self.keep(socket, LOGIN_WAIT, State::Waiting(Box::new(waiting)));
            }
            Asked::Full => self.refuse(socket, &unsubscribed("too many wait for the cluster")),
        }
    }

    /// Waits until some have waited long enough for the cluster; for ever if there is none.
    pub(crate) fn acknowledgements(&self) -> impl Future<Output = ()> + use<> {
        let cluster = self.cluster.clone();
        async move {
            match &cluster {
                Some(cluster) => cluster.acknowledgements().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Logs in those whose ids the cluster has subscribed.
    pub(crate) fn log_in_acknowledged(&mut self) {
        let Some(cluster) = self.cluster.clone() else { return };
        for (slot, ticket) in cluster.take_done() {
            // Who left has taken its ticket along; its slot may have another owner.
            let state = self.table.get(slot).map(|connection| &connection.state);
            if !matches!(state, Some(State::Waiting(waiting)) if waiting.ticket == ticket) {
                continue;
            }
            let Connection { socket, state, .. } = self.remove(slot);
            let State::Waiting(waiting) = state else { unreachable!("it has just been looked at") };
            self.unwatch(&socket);
            let ids = cluster.claim(ticket);
            let Waiting { style, head, n_extra_bytes, .. } = *waiting;
            self.log_in(socket, style, &head, &ids, n_extra_bytes);
            cluster.release(&ids);
        }
    }

    /// Gives up the wait of a connection that is about to be closed.
    pub(super) fn give_up(&self, ticket: Ticket) {
        if let Some(cluster) = &self.cluster {
            let ids = cluster.claim(ticket);
            cluster.release(&ids);
        }
    }
}
