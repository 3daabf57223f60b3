//! Logging out all connections of an id, letting others in after every slice.

use std::sync::Arc;

use crate::router::{Id, Router, Wire};

/// Logs out every connection that is logged in as `id` now. Returns how many there were.
///
/// It is a task of its own once it takes more than a slice: whoever asked for it may leave, and all
/// are logged out.
pub(crate) async fn log_out<W>(router: &Arc<Router<W>>, id: Id) -> usize
where
    W: Wire<Socket: Send, Talk: Send> + Send + Sync + 'static,
    W::Style: Send,
{
    let mut rest = router.log_out(id);
    if let Some(n_connections) = rest.step(router) {
        return n_connections;
    }
    let router = Arc::clone(router);
    let slices = tokio::spawn(async move {
        loop {
            tokio::task::yield_now().await;
            if let Some(n_connections) = rest.step(&router) {
                return n_connections;
            }
        }
    });
    slices.await.expect("logging out neither panics nor is it cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_wire::{FakeMessage, FakeStyle, connect, wires};
    use crate::router::{Limits, SLICE, Sent};

    #[tokio::test]
    async fn others_are_served_between_the_slices() {
        const N_SLICES: usize = 5;
        let router = Arc::new(Router::new(wires(1).0, 1, Limits::for_tests()));
        let login = |id| {
            let (socket, peer) = connect(1_000);
            let room = router.room(1).unwrap();
            router.login(room, socket, FakeStyle::Deaf, &[id], b"head;", 0).unwrap();
            peer
        };
        let crowd: Vec<_> = (0..N_SLICES * SLICE).map(|_| login(1)).collect();
        let other = login(2);
        let leaving = {
            let router = Arc::clone(&router);
            tokio::spawn(async move { log_out(&router, 1).await })
        };
        // Everybody else is this task, on the same thread. It gets its turn after every slice.
        for n_before in 1..=N_SLICES {
            tokio::task::yield_now().await;
            assert_eq!(router.n_logins(1), (N_SLICES - n_before) * SLICE);
            let Sent::Done(n_reached) = router.send(2, &FakeMessage::new("x")) else { panic!() };
            assert_eq!(n_reached, 1);
        }
        assert_eq!(leaving.await.unwrap(), crowd.len());
        assert!(crowd.iter().all(|peer| peer.lock().unwrap().received == "head;end;"));
        assert_eq!(other.lock().unwrap().received, "head;1:x;2:x;3:x;4:x;5:x;");
    }
}
