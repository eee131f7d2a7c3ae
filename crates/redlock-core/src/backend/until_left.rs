//! Wake-ups that end when their server may be the wrong one, so that the node subscribes to another.

use async_trait::async_trait;
use tokio::{select, sync::watch};

use crate::node::WakeUps;

/// Wake-ups from a server, until it may be the wrong one.
pub(super) struct UntilLeft<W> {
    wake_ups: W,
    left: watch::Receiver<()>,
}

impl<W> UntilLeft<W> {
    /// `left` changes when the server may be the wrong one.
    pub(super) fn new(wake_ups: W, left: watch::Receiver<()>) -> Self {
        Self { wake_ups, left }
    }
}

#[async_trait]
impl<W: WakeUps> WakeUps for UntilLeft<W> {
    async fn next(&mut self) -> Option<Vec<u8>> {
        select! {
            biased;
            // An error means only that the node is gone, not that its server is the wrong one.
            Ok(()) = self.left.changed() => None,
            message = self.wake_ups.next() => message,
        }
    }
}
