//! Reports to observers how long a caller had a lock, and how that ended.

use std::{sync::Arc, time::Duration};

use super::LeaseState;
use crate::report::{Ending, Event, LockLost, Votes};

/// Reports when and how the caller's time with a lock ends. If it is dropped, the caller has dropped the lock.
#[derive(Debug)]
pub(crate) struct Hold {
    lease: Arc<LeaseState>,
    /// On the fleet's clock.
    since: Duration,
    ending: Ending,
}

impl Hold {
    /// `None` if there are no observers.
    pub(crate) fn new(lease: &Arc<LeaseState>, since: Duration) -> Option<Self> {
        let hold = || Self { lease: Arc::clone(lease), since, ending: Ending::Dropped };
        (lease.fleet.observers.are_there() && !lease.is_reservation).then(hold)
    }

    /// Whether the lock is valid just before its release. This is the last chance to report a loss.
    pub(crate) fn is_valid(&self) -> bool {
        self.lease.check().is_ok()
    }

    /// Reports that a valid lock was missing on the nodes at its release. That is no loss if its validity has ended
    /// meanwhile, or if too few nodes missed it for another holder to have had it.
    pub(crate) fn was_gone(&self, loss: &LockLost, votes: &Votes) {
        let LeaseState { fleet, resources, validity, .. } = &*self.lease;
        let left = validity.deadline().saturating_sub(fleet.clock.now());
        if !left.is_zero() && votes.refused() >= votes.needed() {
            fleet.observers.tell(&Event::Breached { resources, left });
            fleet.observers.tell(&Event::Lost { loss });
        }
    }

    /// Ends the hold with this ending.
    pub(crate) fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Self { lease, since, ending } = self;
        if *ending == Ending::Dropped {
            let _ = lease.check();
        }
        let held = lease.fleet.clock.now().saturating_sub(*since);
        lease.fleet.observers.tell(&Event::Ended { resources: &lease.resources, held, ending: *ending });
    }
}
