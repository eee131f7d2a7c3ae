//! Extends a held lock, with numbered steps.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::timeout};
use tracing::Instrument as _;

use super::LeaseState;
use crate::{
    algorithm::{Decision, RoundFailure},
    driver::tally::Waited,
    report::{Event, ExtendError, LockLost, Votes},
};

impl LeaseState {
    /// How late timers may be.
    pub(super) const TIMERS: Duration = Duration::from_millis(2);

    /// Extends the lock on all nodes. Returns the new validity.
    pub(crate) async fn extend(self: &Arc<Self>, ttl: Duration) -> Result<Duration, ExtendError> {
        self.fleet.terms(ttl)?;
        Handle::try_current().map_err(|_| ExtendError::NoRuntime)?;
        let span = tracing::info_span!("redlock.extend", resource = %self.resources);
        let extended = self.extend_now(ttl).instrument(span).await;
        // An extend that a release or a transfer cuts off has not failed.
        if let Err(error) = &extended
            && self.fleet.observers.are_there()
            && self.still_wanted().is_ok()
        {
            let left = self.check().unwrap_or_default();
            self.tell(&Event::NotExtended { resources: &self.resources, left, error });
        }
        extended
    }

    async fn extend_now(self: &Arc<Self>, ttl: Duration) -> Result<Duration, ExtendError> {
        // 1. Read the clock before the first byte is sent. A lost lock is not revived.
        let started = self.fleet.clock.now();
        let Ok(left) = self.check() else {
            return Err(ExtendError::Expired { resources: self.resources.clone() });
        };

        // 2. Send to all nodes at once, and count votes until they decide. A node that has lost the keys sets them for
        //    as long as the other nodes keep them.
        let terms = self.fleet.terms(ttl.max(self.validity.kept_for(started)))?;
        let number = self.next_extend();
        let mut answers = self.send_extend(&terms, number);
        let mut tally = self.fleet.tally();
        let until_ended = left.saturating_sub(Self::TIMERS);
        let decision = match timeout(until_ended, answers.decide(&mut tally)).await {
            Ok(decision) => decision,
            Err(_) => {
                // A quorum has granted, and this only waits to learn which other nodes had lost the keys. It cannot
                // count later than this.
                if tally.round().granted() >= self.fleet.quorum.needed() {
                    tally.end(Waited { after: until_ended, is_cut: true });
                }
                answers.decide(&mut tally).await
            }
        };

        // 3. The extend counts only if the lock is still valid now. Keys that were set again after the end of the
        //    validity are not reported as another loss.
        let (deadline, kept_until) = (started + terms.validity, started + terms.ttl.trusted());
        let granted = tally.round().granted() >= self.fleet.quorum.needed();
        let ended = self.validity.deadline();
        let decision = match decision {
            Decision::Won if self.validity.prolong(deadline, kept_until, &*self.fleet.clock) => Decision::Won,
            _ if granted && self.check().is_err() => Decision::Lost(RoundFailure::TooLate),
            decision => decision,
        };
        let now = self.fleet.clock.now();
        match decision {
            Decision::Won => {
                self.extend_counted(number);
                let validity = self.validity.left(now);
                tracing::debug!(resource = %self.resources, ?validity, "extended");
                let margin = ended.saturating_sub(now);
                self.tell(&Event::Extended { resources: &self.resources, margin, validity });
                Ok(validity)
            }
            Decision::Lost(lost) => {
                let resources = self.resources.clone();
                let gone = tally.round().gone_from_quorum();
                let votes = Arc::new(tally.close("extended", self.fleet.names()));
                let error = match lost {
                    RoundFailure::TooLate => ExtendError::ExtendedTooLate { resources, votes },
                    _ if gone => {
                        self.gone(&votes, ended.saturating_sub(now));
                        ExtendError::Lost { resources, votes }
                    }
                    _ => ExtendError::NoQuorum { resources, votes },
                };
                if self.still_wanted().is_ok() {
                    tracing::warn!(%error, "not extended");
                }
                Err(error)
            }
        }
    }

    /// Ends the lock, which a quorum of the nodes does not hold although `left` of its validity remained.
    pub(super) fn gone(&self, votes: &Arc<Votes>, left: Duration) {
        if !self.validity.is_gone(votes) {
            return;
        }
        let resources = self.resources.clone();
        if !left.is_zero() {
            self.tell(&Event::Breached { resources: &resources, left });
        }
        self.tell(&Event::Lost { loss: &LockLost::NotHeld { resources, votes: Arc::clone(votes) } });
    }
}
