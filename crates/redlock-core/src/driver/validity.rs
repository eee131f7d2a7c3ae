//! Until when a lock is valid, and what ended it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::{
    names::Resources,
    node::Clock,
    report::{ExtendError, Loss, Votes},
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
    /// Until when the nodes were asked to keep the keys that this rests on.
    kept_until: Duration,
    end: Option<End>,
    /// Whether nothing extends the lock any more, since its longest lifetime ends.
    lifetime_over: bool,
    /// Why the last extend failed that nobody waited for.
    failure: Option<Arc<ExtendError>>,
}

/// What ended a lock.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Expired,
    Gone(Arc<Votes>),
    Released,
    HandedOver,
}

impl Validity {
    /// The lock is held now, until the deadline, since the nodes keep its keys until then.
    pub(crate) fn begin(&self, deadline: Duration, kept_until: Duration) {
        let mut state = self.state();
        state.deadline = deadline;
        state.kept_until = kept_until;
    }

    /// How long the lock may be relied on from `now`.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        let state = self.state();
        if state.end.is_some() { Duration::ZERO } else { state.deadline.saturating_sub(now) }
    }

    /// When the validity ends, on the fleet's clock, unless the lock is prolonged or something else ends it before.
    pub(crate) fn deadline(&self) -> Duration {
        self.state().deadline
    }

    /// For how long from `now` the nodes were asked to keep the keys. A node that lost them must not keep them for less
    /// when it sets them again: the deadline may rest on it then.
    pub(crate) fn kept_for(&self, now: Duration) -> Duration {
        self.state().kept_until.saturating_sub(now)
    }

    /// Raises the deadline, and never lowers it: extends may end in any order. False if the lock has ended, which stays
    /// so.
    pub(crate) fn prolong(&self, deadline: Duration, kept_until: Duration, clock: &dyn Clock) -> bool {
        let mut state = self.state();
        // Read in here: whoever was told of the loss was told by an earlier look at the clock.
        let counts = state.end.is_none() && clock.now() < state.deadline;
        if counts {
            state.deadline = state.deadline.max(deadline);
            state.kept_until = state.kept_until.max(kept_until);
            (state.failure, state.lifetime_over) = (None, false);
        }
        counts
    }

    /// The lock may not be relied on from now on. Whether that is news.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = self.state();
        let is_news = state.end.is_none();
        state.end.get_or_insert(end);
        drop(state);
        self.changed.notify_waiters();
        is_news
    }

    /// An extend failed that nobody waited for: the reason, should the lock expire.
    pub(crate) fn failed(&self, failure: ExtendError) {
        self.state().failure = Some(Arc::new(failure));
    }

    /// Nothing extends the lock any more, since its longest lifetime ends.
    pub(crate) fn lifetime_over(&self) {
        self.state().lifetime_over = true;
    }

    /// How long the lock on these resources may be relied on, or why no longer, and whether that is news. What is
    /// reported as lost stays so. A lock with no more than `least` left has expired.
    pub(crate) fn check(
        &self,
        resources: &Resources,
        least: Duration,
        clock: &dyn Clock,
    ) -> Result<Duration, (Loss, bool)> {
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
            None | Some(End::Expired) if state.lifetime_over => Loss::LifetimeOver { resources },
            None | Some(End::Expired) => Loss::Expired { resources, last_extend: state.failure.clone() },
            Some(End::Gone(votes)) => Loss::Gone { resources, votes: Arc::clone(votes) },
            Some(End::Released) => Loss::Released { resources },
            Some(End::HandedOver) => Loss::HandedOver { resources },
        };
        Err((loss, is_news))
    }

    /// Notified of the end.
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

    /// Stands still.
    #[derive(Debug)]
    struct At(u64);

    impl Clock for At {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.0)
        }
    }

    #[test]
    fn what_has_expired_is_not_prolonged_not_even_in_the_moment_of_its_deadline() {
        let validity = Validity::default();
        let [deadline, later] = [1_000, 2_000].map(Duration::from_nanos);
        validity.begin(deadline, deadline);
        assert!(!validity.prolong(later, later, &At(1_000)));
        assert_eq!((validity.deadline(), validity.left(deadline)), (deadline, Duration::ZERO));
        assert!(validity.prolong(later, later, &At(999)));
        assert_eq!(validity.deadline(), later);
    }
}
