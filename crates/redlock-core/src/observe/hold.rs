//! The caller's time with a lock.

use std::{sync::Arc, time::Duration};

use super::event::{Ending, Event};
use crate::claim::Claimed;

/// Tells when and how the caller's time with a lock ends. Dropped, the lock was dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    claimed: Arc<Claimed>,
    /// On the fleet's clock.
    since: Duration,
    ending: Ending,
}

impl Hold {
    /// Nothing if nobody is told.
    pub(crate) fn new(claimed: &Arc<Claimed>, since: Duration) -> Option<Self> {
        let hold = || Self { claimed: Arc::clone(claimed), since, ending: Ending::Dropped };
        claimed.fleet.observers.are_there().then(hold)
    }

    /// What is left of the lock's validity, as it is about to be given back. What it has lost is told now, or never.
    pub(crate) fn left(&self) -> Duration {
        self.claimed.check().unwrap_or_default()
    }

    /// A quorum did not hold the lock any more, of whose validity so much was left.
    pub(crate) fn was_gone(&self, left: Duration) {
        if !left.is_zero() {
            self.claimed.fleet.observers.tell(&Event::Breached { resources: &self.claimed.resources, left });
        }
    }

    /// It ends so.
    pub(crate) fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Self { claimed, since, ending } = self;
        if *ending == Ending::Dropped {
            let _ = claimed.check();
        }
        let held = claimed.fleet.clock.now().saturating_sub(*since);
        claimed.fleet.observers.tell(&Event::Ended { resources: &claimed.resources, held, ending: *ending });
    }
}
