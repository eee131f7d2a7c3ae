//! The names that a call for several names has reserved while it waits for the others.

use std::{sync::Arc, time::Duration};

use crate::{
    algorithm::{AutoExtend, Cause, Retry, Schedule},
    driver::{
        fleet::{Fleet, Terms},
        held::Held,
        node_lane::Offer,
    },
    names::Resources,
    queue::Permit,
};

/// How long a call waits for one name while it keeps the names before it: twice the TTL, or a second if that is longer.
///
/// Calls for several names reserve in the same order and do not block each other. But a task may hold one of the names
/// and wait for another: it gets the name after this time.
pub(super) fn longest_wait(terms: &Terms) -> Duration {
    terms.ttl.given().saturating_mul(2).max(Duration::from_secs(1))
}

/// How reservations are extended. `None` if the call reserves nothing: it is for one name, its TTL is too short to
/// extend a lock, or the clocks of the nodes are watched. A request that takes a lock over does not ask for the node's
/// time.
pub(super) fn schedule(fleet: &Fleet, keys: &Resources, terms: &Terms, retry: &Retry) -> Option<Schedule> {
    if keys.len() == 1 || fleet.distrust.is_some() {
        return None;
    }
    let all = longest_wait(terms).saturating_mul(u32::try_from(keys.len()).unwrap_or(u32::MAX));
    // The nodes free the names soon after the call should have ended, although its task may not run.
    let longest = all.min(retry.ends_after().unwrap_or(Duration::MAX)).max(terms.ttl.given());
    fleet.schedule(AutoExtend::default().max_lifetime(longest), terms).ok()
}

/// The names that a call has reserved so far, in their order. Each reservation is a lock of its own. Safety does not
/// depend on them: the round that locks all names takes each name over from its reservation, or acquires it if the
/// reservation was lost.
#[derive(Default)]
pub(super) struct Reservations {
    pub(super) locks: Vec<Held>,
}

impl Reservations {
    pub(super) fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Returns the permit for a round. If names are reserved, the round is for all of them, and the reservations are
    /// not extended any more.
    pub(super) fn permit_for(&mut self, cause: Cause) -> Permit<Offer> {
        if self.is_empty() {
            return match cause {
                // A holder hands its lock off with a permit of its own.
                Cause::Arrived | Cause::Follows => Permit::Arrived,
                Cause::Woken => Permit::Woken,
                Cause::Due => Permit::Due,
            };
        }
        self.locks.iter_mut().for_each(Held::close);
        Permit::Reserved(self.locks.iter().map(Held::token).copied().collect::<Arc<[_]>>())
    }

    /// Moves the local waiters of all reservations to this lock, which has won all names.
    pub(super) fn taken_over_by(self, lock: Held) -> Held {
        self.locks.into_iter().for_each(|reservation| lock.take_over(reservation));
        lock
    }
}
