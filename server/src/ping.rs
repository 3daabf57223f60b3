//! `--ping`: asks the peers of event streams whether they are there, one slice of rows after the
//! other, so that there is no timer and no burst.

use std::sync::Arc;
use std::time::Duration;

use crate::router::{Router, SLICE};
use crate::wire::Poller;

/// Pings every connection about once in `every`.
pub(crate) async fn run(router: Arc<Router<Poller>>, every: Duration) -> ! {
    let mut shard = 0;
    let mut slot = 0;
    loop {
        // An empty shard takes a step as well.
        let n_slices = (router.n_slots() / SLICE as u64).max(router.n_shards() as u64);
        let n_slices = u32::try_from(n_slices).expect("slots are numbered in 32 bits");
        tokio::time::sleep(every / n_slices).await;
        slot = router.ping_slice(shard, slot).unwrap_or_else(|| {
            shard = (shard + 1) % router.n_shards();
            0
        });
    }
}
