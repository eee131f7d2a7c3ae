//! Makes an exclusive lock a shared one, with numbered steps.

use std::sync::{Arc, atomic::Ordering};

use tokio::{runtime::Handle, time::timeout};
use tracing::Instrument as _;

use super::LeaseState;
use crate::{
    algorithm::{Decision, Ttl},
    driver::{fleet::Terms, tally::Waited},
    queue::notify_first,
    report::DowngradeError,
};

impl LeaseState {
    /// Makes an exclusive lock a shared one, with the validity that it has.
    pub(crate) async fn downgrade(self: &Arc<Self>) -> Result<(), DowngradeError> {
        Handle::try_current().map_err(|_| DowngradeError::NoRuntime)?;
        let span = tracing::info_span!("redlock.downgrade", resource = %self.resources);
        self.downgrade_now().instrument(span).await
    }

    async fn downgrade_now(self: &Arc<Self>) -> Result<(), DowngradeError> {
        // 1. Read the clock before the first byte is sent. A lost lock is not revived.
        let started = self.fleet.clock.now();
        let left = self.check().map_err(DowngradeError::Lost)?;
        if self.slot.is_some() {
            return Err(DowngradeError::Permit { resources: self.resources.clone() });
        }

        // 2. It is a reader from here on, whatever the nodes answer: some of them may let other readers in.
        if self.is_shared.swap(true, Ordering::SeqCst) {
            return Err(DowngradeError::AlreadyShared { resources: self.resources.clone() });
        }

        // 3. Send to all nodes at once, after all that was sent before. A node that has lost the keys sets them for as
        //    long as the other nodes keep them. Nodes that miss it are reported by the next extend.
        let kept = self.validity.kept_for(started).clamp(Ttl::MIN, Ttl::MAX);
        let ttl = Ttl::new(kept).map_err(|_| DowngradeError::AlreadyShared { resources: self.resources.clone() })?;
        let terms = Terms { ttl, node_timeout: self.node_timeout, validity: left };
        let number = self.next_extend();
        let mut answers = self.send_extend(&terms, number);
        let mut tally = self.fleet.tally();
        let until_ended = left.saturating_sub(Self::TIMERS);
        let decision = match timeout(until_ended, answers.decide(&mut tally)).await {
            Ok(decision) => decision,
            Err(_) => {
                tally.end(Waited { after: until_ended, is_cut: true });
                answers.decide(&mut tally).await
            }
        };

        // 4. The lock must be valid still. Readers that wait have their turn.
        let gone = tally.round().gone_from_quorum();
        let votes = Arc::new(tally.close("downgraded", self.fleet.names()));
        if gone {
            self.gone(&votes, self.validity.deadline().saturating_sub(self.fleet.clock.now()));
        }
        self.check().map_err(DowngradeError::Lost)?;
        self.notify_readers();
        match decision {
            Decision::Won => {
                self.extend_counted(number);
                tracing::debug!(resource = %self.resources, "downgraded");
                Ok(())
            }
            Decision::Lost(_) => {
                let error = DowngradeError::NoQuorum { resources: self.resources.clone(), votes };
                tracing::warn!(%error, "downgrade not confirmed");
                Err(error)
            }
        }
    }

    /// Notifies the readers that wait in this process, and those of others in the background.
    fn notify_readers(&self) {
        self.keys.iter().for_each(|key| self.fleet.queues.shared(key));
        let Some(notifier) = self.fleet.notifier(None) else { return };
        let (fleet, keys) = (Arc::clone(&self.fleet), self.keys.clone());
        self.fleet.background.spawn(&self.runtime, async move {
            for key in &keys {
                // If this fails, they ask when their pauses are over.
                let _ = notify_first(&*fleet, notifier, key.clone()).await;
            }
        });
    }
}
