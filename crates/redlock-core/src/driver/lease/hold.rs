//! Reports to observers how long a caller had a lock, and how that ended.

use std::{sync::Arc, time::Duration};

use super::LeaseState;
use crate::report::{Ending, Event, Loss, Votes};

/// Tells when and how the caller's time with a lock ends. Dropped, the lock was dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    lease: Arc<LeaseState>,
    /// On the fleet's clock.
    since: Duration,
    ending: Ending,
}

impl Hold {
    /// Nothing if nobody is told.
    pub(crate) fn new(lease: &Arc<LeaseState>, since: Duration) -> Option<Self> {
        let hold = || Self { lease: Arc::clone(lease), since, ending: Ending::Dropped };
        (lease.fleet.observers.are_there() && !lease.is_reservation).then(hold)
    }

    /// Whether the lock is valid, as it is about to be given back. What it has lost is told now, or never.
    pub(crate) fn is_valid(&self) -> bool {
        self.lease.check().is_ok()
    }

    /// A lock that was valid was gone on so many nodes when it was given back. By the end of its validity nodes may have
    /// kept it as long as they had to; and half of an even number is too few for another to have had it.
    pub(crate) fn was_gone(&self, loss: &Loss, votes: &Votes) {
        let LeaseState { fleet, resources, validity, .. } = &*self.lease;
        let left = validity.deadline().saturating_sub(fleet.clock.now());
        if !left.is_zero() && votes.refused() >= votes.needed() {
            fleet.observers.tell(&Event::Breached { resources, left });
            fleet.observers.tell(&Event::Lost { loss });
        }
    }

    /// It ends so.
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
