//! The validity of a lock, shared by its holder, its extends and the callers that wait for its loss.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::{
    engine::validity::{self, End},
    names::Resources,
    node::Clock,
    report::{ExtendError, LockLost, Votes},
};

/// The validity of a lock, and what its loss reports. Before the lock is held, it is not valid.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    validity: validity::Validity,
    /// The nodes' answers by which the lock is lost.
    votes: Option<Arc<Votes>>,
    /// Why the last extend in the background failed.
    failure: Option<Arc<ExtendError>>,
}

impl Validity {
    /// Begins the validity of a lock. The nodes keep the keys until `kept_until`.
    pub(crate) fn begin(&self, deadline: Duration, kept_until: Duration) {
        self.state().validity.begin(deadline, kept_until);
    }

    /// The validity that is left at `now`.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.state().validity.left(now)
    }

    /// When the validity ends, on the fleet's clock, unless the lock is extended, released or lost before.
    pub(crate) fn deadline(&self) -> Duration {
        self.state().validity.deadline()
    }

    /// Returns for how long from `now` the nodes were to keep the keys. A node that sets lost keys again must not keep
    /// them for less, since the deadline may depend on that node then.
    pub(crate) fn kept_for(&self, now: Duration) -> Duration {
        self.state().validity.kept_for(now)
    }

    /// Raises the deadline. Returns false if the lock has ended, which is final.
    pub(crate) fn prolong(&self, deadline: Duration, kept_until: Duration, clock: &dyn Clock) -> bool {
        let mut state = self.state();
        // The clock is read under the lock: a loss that was reported was decided by an earlier reading.
        let counts = state.validity.prolong(deadline, kept_until, clock.now());
        if counts {
            state.failure = None;
        }
        counts
    }

    /// Ends the validity. Returns whether it had not ended before.
    pub(crate) fn end(&self, end: End) -> bool {
        let is_news = self.state().validity.end(end);
        self.changed.notify_waiters();
        is_news
    }

    /// Ends the validity, since a quorum does not hold the lock any more. Returns whether it had not ended before.
    pub(crate) fn is_gone(&self, votes: &Arc<Votes>) -> bool {
        let mut state = self.state();
        let is_news = state.validity.end(End::Lost);
        if is_news {
            state.votes = Some(Arc::clone(votes));
        }
        drop(state);
        self.changed.notify_waiters();
        is_news
    }

    /// Records why an extend in the background failed, for the report if the lock expires.
    pub(crate) fn failed(&self, failure: ExtendError) {
        self.state().failure = Some(Arc::new(failure));
    }

    /// Records that auto-extend has ended, since the longest lifetime of the lock ends.
    pub(crate) fn lifetime_over(&self) {
        self.state().validity.lifetime_over();
    }

    /// Returns the validity that is left of the lock on these resources, or why it is lost and whether it had not ended
    /// before. A lost lock stays lost. A lock with at most `least` left has expired.
    pub(crate) fn check(
        &self,
        resources: &Resources,
        least: Duration,
        clock: &dyn Clock,
    ) -> Result<Duration, (LockLost, bool)> {
        let mut state = self.state();
        let now = clock.now();
        let is_news = state.validity.expire(now.saturating_add(least));
        let Some(end) = state.validity.ended() else { return Ok(state.validity.left(now)) };
        if is_news {
            self.changed.notify_waiters();
        }
        let resources = resources.clone();
        let loss = match (end, &state.votes) {
            (End::Lost, Some(votes)) => LockLost::NotHeld { resources, votes: Arc::clone(votes) },
            // A quorum that lost the lock is recorded with its votes.
            (End::Expired | End::Lost, _) => LockLost::Expired { resources, last_extend: state.failure.clone() },
            (End::LifetimeOver, _) => LockLost::LifetimeOver { resources },
            (End::Released, _) => LockLost::Released { resources },
            (End::Transferred, _) => LockLost::Transferred { resources },
        };
        Err((loss, is_news))
    }

    /// Completes when the validity ends.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that does not advance.
    #[derive(Debug)]
    struct At(u64);

    impl Clock for At {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.0)
        }
    }

    #[test]
    fn an_expired_lock_is_not_extended_even_at_the_moment_of_its_deadline() {
        let validity = Validity::default();
        let [deadline, later] = [1_000, 2_000].map(Duration::from_nanos);
        validity.begin(deadline, deadline);
        assert!(!validity.prolong(later, later, &At(1_000)));
        assert_eq!((validity.deadline(), validity.left(deadline)), (deadline, Duration::ZERO));
        assert!(validity.prolong(later, later, &At(999)));
        assert_eq!(validity.deadline(), later);
    }
}
