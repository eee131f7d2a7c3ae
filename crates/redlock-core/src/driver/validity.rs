//! Until when a lock is valid, and what ended it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::{
    names::Resources,
    node::Clock,
    report::{ExtendError, LockLost, Votes},
};

/// Until when a lock is valid, and what ended it. Before it is held, it is not valid.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// When the validity ends, on the fleet's clock.
    deadline: Duration,
    /// Until when the nodes were to keep the keys.
    kept_until: Duration,
    end: Option<End>,
    /// Whether auto-extend has ended, since the longest lifetime of the lock ends.
    lifetime_over: bool,
    /// Why the last extend in the background failed.
    failure: Option<Arc<ExtendError>>,
}

/// The event that ended a lock.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Expired,
    Gone(Arc<Votes>),
    Released,
    Transferred,
}

impl Validity {
    /// Begins the validity of a lock. The nodes keep the keys until `kept_until`.
    pub(crate) fn begin(&self, deadline: Duration, kept_until: Duration) {
        let mut state = self.state();
        state.deadline = deadline;
        state.kept_until = kept_until;
    }

    /// The validity that is left at `now`.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        let state = self.state();
        if state.end.is_some() { Duration::ZERO } else { state.deadline.saturating_sub(now) }
    }

    /// When the validity ends, on the fleet's clock, unless the lock is extended, released or lost before.
    pub(crate) fn deadline(&self) -> Duration {
        self.state().deadline
    }

    /// Returns for how long from `now` the nodes were to keep the keys. A node that sets lost keys again must not keep
    /// them for less, since the deadline may depend on that node then.
    pub(crate) fn kept_for(&self, now: Duration) -> Duration {
        self.state().kept_until.saturating_sub(now)
    }

    /// Raises the deadline, and never lowers it, since extends may end in any order. Returns false if the lock has
    /// ended, which is final.
    pub(crate) fn prolong(&self, deadline: Duration, kept_until: Duration, clock: &dyn Clock) -> bool {
        let mut state = self.state();
        // The clock is read under the lock: a loss that was reported was decided by an earlier reading.
        let counts = state.end.is_none() && clock.now() < state.deadline;
        if counts {
            state.deadline = state.deadline.max(deadline);
            state.kept_until = state.kept_until.max(kept_until);
            (state.failure, state.lifetime_over) = (None, false);
        }
        counts
    }

    /// Ends the validity. Returns whether it had not ended before.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = self.state();
        let is_news = state.end.is_none();
        state.end.get_or_insert(end);
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
        self.state().lifetime_over = true;
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
        let left = state.deadline.saturating_sub(clock.now());
        let is_news = state.end.is_none();
        if is_news {
            if left > least {
                return Ok(left);
            }
            state.end = Some(End::Expired);
            self.changed.notify_waiters();
        }
        let resources = resources.clone();
        let loss = match &state.end {
            None | Some(End::Expired) if state.lifetime_over => LockLost::LifetimeOver { resources },
            None | Some(End::Expired) => LockLost::Expired { resources, last_extend: state.failure.clone() },
            Some(End::Gone(votes)) => LockLost::NotHeld { resources, votes: Arc::clone(votes) },
            Some(End::Released) => LockLost::Released { resources },
            Some(End::Transferred) => LockLost::Transferred { resources },
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
