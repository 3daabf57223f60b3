//! What happens to all connections again and again: `--ping` asks their peers whether they are
//! there, and WebSockets are forgiven what they have sent unasked. One slice of rows after the
//! other, so that there is no timer for each and no burst.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::CHATTY_BYTES;
use crate::router::{Router, SLICE, Sweep};
use crate::wire::Poller;

/// In what time a WebSocket is forgiven as much as it may send unasked.
const FORGIVEN_IN: Duration = Duration::from_hours(1);

/// How often WebSockets are forgiven where no sweep pings, or one that does is rarer: at a million
/// connections 26 slices a second.
pub(crate) const FORGIVE_EVERY: Duration = Duration::from_mins(10);

/// Sweeps over every connection about once in `every`.
pub(crate) async fn run(
    router: Arc<Router<Poller>>,
    every: Duration,
    pings: bool,
    forgives: bool,
) -> ! {
    let mut shard = 0;
    let mut slot = 0;
    let begun_at = Instant::now();
    let mut n_forgiven_before = 0;
    let mut sweep = Sweep { pings, n_forgiven: 0 };
    loop {
        if forgives && (shard, slot) == (0, 0) {
            // By the clock: how long a sweep takes is no matter, and no part of a byte is lost.
            let n_forgiven = forgiven(begun_at.elapsed());
            sweep.n_forgiven =
                usize::try_from(n_forgiven - n_forgiven_before).unwrap_or(usize::MAX);
            n_forgiven_before = n_forgiven;
        }
        // An empty shard takes a step as well.
        let n_slices = (router.n_slots() / SLICE as u64).max(router.n_shards() as u64);
        let n_slices = u32::try_from(n_slices).expect("slots are numbered in 32 bits");
        tokio::time::sleep(every / n_slices).await;
        slot = router.sweep_slice(shard, slot, sweep).unwrap_or_else(|| {
            shard = (shard + 1) % router.n_shards();
            0
        });
    }
}

/// Bytes that everybody is forgiven in such a time.
fn forgiven(time: Duration) -> u128 {
    time.as_millis() * CHATTY_BYTES as u128 / FORGIVEN_IN.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_forgives_as_much_as_may_be_sent() {
        assert_eq!(forgiven(FORGIVEN_IN), CHATTY_BYTES as u128);
        assert_eq!(forgiven(Duration::from_millis(54)), 0);
        assert_eq!(forgiven(Duration::from_millis(55)), 1);
        assert_eq!(forgiven(7 * 24 * FORGIVEN_IN), 7 * 24 * CHATTY_BYTES as u128);
    }
}
