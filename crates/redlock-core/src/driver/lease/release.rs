//! Releases a held lock, with numbered steps.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::{Lease, phase::Notify};
use crate::{
    algorithm::Decision,
    report::{LockLost, ReleaseError},
};

impl Lease {
    /// Releases the lock on all nodes. Returns the loss if the nodes did not hold it any more.
    pub(crate) async fn release(self) -> Result<Option<LockLost>, ReleaseError> {
        Handle::try_current().map_err(|_| ReleaseError::NoRuntime)?;
        let span = tracing::info_span!("redlock.release", resource = %self.shared().resources);
        self.release_now().instrument(span).await
    }

    async fn release_now(self) -> Result<Option<LockLost>, ReleaseError> {
        let (fleet, resources) = (Arc::clone(&self.shared().fleet), self.shared().resources.clone());
        // 0. The next waiter in this process may take the lock over, in one exchange instead of two.
        self.hand_off().await;

        // 1. Send to all nodes at once, also to nodes that failed or never answered. No request sets keys after this.
        let mut answers = self.send_release(Notify::First);

        // 2. Count votes until they decide. Late answers follow in the background.
        let mut tally = fleet.tally();
        let gone = loop {
            if tally.round().decision() == Some(Decision::Won) {
                tracing::debug!(resource = %resources, "released");
                return Ok(None);
            }
            if tally.round().refused_for_certain() {
                answers.count_ready(&mut tally);
                break true;
            }
            if !answers.count_next(&mut tally).await {
                break false;
            }
        };
        let votes = tally.close("released", fleet.names());
        if gone {
            let loss = LockLost::NotHeld { resources, votes: Arc::new(votes) };
            tracing::warn!(%loss, "was not held any more when it was to be released");
            return Ok(Some(loss));
        }
        let error = ReleaseError::Unknown { resources, votes: Box::new(votes) };
        tracing::warn!(%error, "release unknown");
        Err(error)
    }
}
