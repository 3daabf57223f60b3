//! How the parts of a server hear that it goes down.

use tokio::sync::watch;

/// Waits until the server is told to go down, or nobody is left to tell it.
pub(crate) async fn went_down(is_down: &mut watch::Receiver<bool>) {
    _ = is_down.wait_for(|&is_down| is_down).await;
}
