//! Releases a held lock, with numbered steps.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::{Lease, phase::Notify};
use crate::{
    algorithm::Decision,
    report::{Loss, ReleaseError},
};

impl Lease {
    /// Gives the lock back on all nodes. Tells the loss if it was already gone.
    pub(crate) async fn release(self) -> Result<Option<Loss>, ReleaseError> {
        Handle::try_current().map_err(|_| ReleaseError::NoRuntime)?;
        let span = tracing::info_span!("redlock.release", resource = %self.shared().resources);
        self.release_now().instrument(span).await
    }

    async fn release_now(self) -> Result<Option<Loss>, ReleaseError> {
        let (fleet, resources) = (Arc::clone(&self.shared().fleet), self.shared().resources.clone());
        // 0. The next in line of this process may take it over at once, in one round trip instead of two.
        self.leave_to_successor().await;

        // 1. All nodes at once, also those that failed or were never heard of. Nothing is set on them after this.
        let mut answers = self.send_release(Notify::First);

        // 2. Votes, until they tell. What is late follows in the background.
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
            let loss = Loss::Gone { resources, votes: Arc::new(votes) };
            tracing::warn!(%loss, "was already gone when it was to be released");
            return Ok(Some(loss));
        }
        let error = ReleaseError::Unknown { resources, votes: Box::new(votes) };
        tracing::warn!(%error, "release unknown");
        Err(error)
    }
}
