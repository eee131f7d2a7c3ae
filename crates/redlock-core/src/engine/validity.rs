//! Until when a lock is valid, and what has ended it.

use std::time::Duration;

/// Until when a lock may be relied on. Before it is held, it is not valid. An end is final.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Validity {
    /// When it ends, on the clock of the fleet.
    deadline: Duration,
    /// Until when the nodes were to keep the keys on which it rests.
    kept_until: Duration,
    end: Option<End>,
    /// Whether nothing extends the lock any more, since its longest lifetime ends.
    lifetime_over: bool,
}

/// Why a lock has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// Its validity is over.
    Expired,
    /// So it is, and it was not extended because its longest lifetime is over.
    LifetimeOver,
    /// A quorum of the nodes does not hold it.
    Lost,
    /// It was released or handed off, or it never was held.
    Released,
    /// It was transferred to another process.
    Transferred,
}

impl Validity {
    /// The lock is held from now on.
    pub(crate) fn begin(&mut self, deadline: Duration, kept_until: Duration) {
        (self.deadline, self.kept_until) = (deadline, kept_until);
    }

    /// When it ends, unless the lock is extended or something else ends it before.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// For how long from `now` the lock may be relied on.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        if self.end.is_some() { Duration::ZERO } else { self.deadline.saturating_sub(now) }
    }

    /// For how long from `now` the nodes are to keep the keys. A node that lost them must not keep them for less
    /// when it sets them again: the deadline may rest on it then.
    pub(crate) fn kept_for(&self, now: Duration) -> Duration {
        self.kept_until.saturating_sub(now)
    }

    /// Moves the deadline, and never to an earlier time: extends may end in any order. False if the lock has ended.
    pub(crate) fn prolong(&mut self, deadline: Duration, kept_until: Duration, now: Duration) -> bool {
        let counts = self.end.is_none() && now < self.deadline;
        if counts {
            self.raise(deadline, kept_until);
        }
        counts
    }

    /// As [`Validity::prolong`], also if the lock has ended: for the search only.
    #[cfg(test)]
    pub(crate) fn prolong_late(&mut self, deadline: Duration, kept_until: Duration) -> bool {
        self.end = None;
        self.raise(deadline, kept_until);
        true
    }

    fn raise(&mut self, deadline: Duration, kept_until: Duration) {
        self.deadline = self.deadline.max(deadline);
        self.kept_until = self.kept_until.max(kept_until);
        self.lifetime_over = false;
    }

    /// Nothing extends the lock any more.
    pub(crate) fn lifetime_over(&mut self) {
        self.lifetime_over = true;
    }

    /// The lock may not be relied on from now on. Whether that is news.
    pub(crate) fn end(&mut self, end: End) -> bool {
        let is_news = self.end.is_none();
        self.end.get_or_insert(end);
        is_news
    }

    /// Ends what has expired. Whether it has expired just now.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let why = if self.lifetime_over { End::LifetimeOver } else { End::Expired };
        now >= self.deadline && self.end(why)
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<End> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn until(deadline: u64) -> Validity {
        let mut validity = Validity::default();
        validity.begin(secs(deadline), secs(deadline + 1));
        validity
    }

    #[test]
    fn a_lock_that_was_never_held_is_not_valid() {
        assert_eq!(Validity::default().left(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn an_extend_counts_only_before_the_deadline() {
        let mut validity = until(10);
        assert!(!validity.prolong(secs(20), secs(21), secs(10)));
        assert_eq!(validity.deadline(), secs(10));
        assert!(validity.prolong(secs(20), secs(21), secs(10) - Duration::from_nanos(1)));
        assert_eq!((validity.deadline(), validity.kept_for(secs(1))), (secs(20), secs(20)));
    }

    #[test]
    fn an_extend_never_shortens() {
        let mut validity = until(10);
        assert!(validity.prolong(secs(5), secs(6), secs(1)));
        assert_eq!((validity.deadline(), validity.kept_for(secs(1))), (secs(10), secs(10)));
    }

    #[test]
    fn what_has_ended_stays_so_and_is_news_once() {
        let mut validity = until(10);
        assert!(!validity.expire(secs(9)));
        assert!(validity.end(End::Lost));
        assert!(!validity.end(End::Released) && !validity.expire(secs(10)));
        assert_eq!((validity.ended(), validity.left(secs(1))), (Some(End::Lost), Duration::ZERO));
        assert!(!validity.prolong(secs(20), secs(21), secs(2)));
    }

    #[test]
    fn a_lock_expires_at_its_deadline_and_says_why() {
        let mut validity = until(10);
        assert!(validity.expire(secs(10)) && !validity.expire(secs(10)));
        assert_eq!(validity.ended(), Some(End::Expired));
        let mut kept = until(10);
        kept.lifetime_over();
        assert!(kept.expire(secs(11)));
        assert_eq!(kept.ended(), Some(End::LifetimeOver));
        let mut extended = until(10);
        extended.lifetime_over();
        assert!(extended.prolong(secs(11), secs(12), secs(2)) && extended.expire(secs(11)));
        assert_eq!(extended.ended(), Some(End::Expired));
    }
}
