//! The control door: where messages come in and counts go out.
//!
//! Read it in this order: this file (accepting), `places` (who may stay), `connection` (from
//! requests to answers) and `transfer` (its waits), `head`, `guard` and `body` (what a request is,
//! and whose), `calls`, `ndjson`, `friends`, `followers` (what it does), and `end` (why lines of a
//! request are no longer taken).

pub(crate) mod api;
pub(crate) mod body;
mod calls;
mod connection;
pub(crate) mod counts;
mod end;
mod followers;
mod friends;
pub(crate) mod guard;
pub(crate) mod head;
mod held;
mod ndjson;
mod places;
mod rest;
pub(crate) mod room;
mod spares;
mod transfer;

use std::io;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::coop::unconstrained;
use tokio::time::MissedTickBehavior;

use self::api::ControlApi;
use self::connection::Connection;
use self::places::Places;
use self::spares::Spares;
use crate::overload::{Complaint, PAUSE};
use crate::shutdown::went_down;

/// Serves the control door until `shutdown` changes, then lets requests in progress end.
pub(crate) async fn run(
    listener: TcpListener,
    api: Arc<ControlApi>,
    mut shutdown: watch::Receiver<bool>,
) {
    let ending = Ending(&api.places);
    let mut complaint = Complaint::default();
    let mut sweeps = tokio::time::interval(api.places.sweep_every());
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = went_down(&mut shutdown) => break,
            () = api.has_left.notified() => {}
            _ = sweeps.tick(), if api.places.n_taken() > 0 => api.sweep(),
            accepted = accept(&listener, &api.spares), if api.places.has_room() => match accepted {
                Ok(stream) => _ = tokio::spawn(serve(stream, &api)),
                Err(error) => {
                    if is_waiting(&listener) && complaint.is_due() {
                        tracing::warn!("the control door cannot accept: {error}");
                    }
                    api.spares.refill();
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    api.places.shut_down();
    while api.places.n_taken() > 0 {
        tokio::select! {
            () = api.has_left.notified() => {}
            _ = sweeps.tick() => api.sweep(),
        }
    }
    drop(ending);
}

/// Ends all connections when it is dropped, be it because time is up. They are no set of tasks that
/// could be aborted: that would cost each of them a tenth of what it takes while it is idle.
struct Ending<'api>(&'api Places);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Accepts a connection, with one of the spare descriptors if there is no other.
async fn accept(listener: &TcpListener, spares: &Spares) -> io::Result<TcpStream> {
    let mut accepted = listener.accept().await;
    if accepted.is_err() && is_waiting(listener) && spares.take() {
        // Nobody else may run before it has the descriptor, not even for fairness.
        accepted = unconstrained(listener.accept()).await;
    }
    accepted.map(|(stream, _)| stream)
}

/// Whether somebody waits to be accepted. Without a descriptor to give, the kernel refuses to
/// accept even if nobody does.
fn is_waiting(listener: &TcpListener) -> bool {
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|n_ready| n_ready > 0)
}

/// Gives a place to a connection, and serves it.
fn serve(stream: TcpStream, api: &Arc<ControlApi>) -> impl Future<Output = ()> + use<> {
    // Answers are small and awaited: a delay to fill a segment would be a sender's delay.
    _ = stream.set_nodelay(true);
    api.counts.count_accepted();
    let seat = api.places.enter();
    Connection::new(stream, seat, Arc::clone(api)).serve()
}
