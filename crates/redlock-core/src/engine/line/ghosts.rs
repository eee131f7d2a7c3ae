//! Requests that were sent over a connection that broke: the node may carry them out later.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::engine::name::Name;

/// The leases of which a request that sets keys was lost, and until when such keys may live.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ghosts<N> {
    until: BTreeMap<N, Duration>,
    expiring: BTreeSet<(Duration, N)>,
}

impl<N: Name> Ghosts<N> {
    /// How long a node may hang before it carries out what lies in its sockets. If it hangs for longer, keys that are
    /// set then stay until their TTL is over.
    const HANGS: Duration = Duration::from_secs(600);

    pub(crate) fn new() -> Self {
        Self { until: BTreeMap::new(), expiring: BTreeSet::new() }
    }

    /// A request of this lease was lost, which sets keys that live for `lives`. Returns until when they may live.
    pub(crate) fn add(&mut self, lease: &N, lives: Duration, now: Duration) -> Duration {
        let until = now.saturating_add(lives).saturating_add(Self::HANGS).max(self.remove(lease).unwrap_or_default());
        self.until.insert(lease.clone(), until);
        self.expiring.insert((until, lease.clone()));
        until
    }

    /// Until when keys of this lease may live, if a request of it was lost.
    pub(crate) fn until(&self, lease: &N, now: Duration) -> Option<Duration> {
        self.until.get(lease).copied().filter(|until| *until > now)
    }

    pub(crate) fn remove(&mut self, lease: &N) -> Option<Duration> {
        let until = self.until.remove(lease)?;
        self.expiring.remove(&(until, lease.clone()));
        Some(until)
    }

    /// Forgets those whose keys have expired.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some((_, lease)) = self.expiring.first().filter(|(until, _)| *until <= now) {
            let lease = lease.clone();
            self.remove(&lease);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_is_remembered_until_what_it_sets_has_expired() {
        let (mut ghosts, secs) = (Ghosts::<u8>::new(), Duration::from_secs);
        assert_eq!(ghosts.add(&1, secs(10), secs(1)), secs(611));
        assert_eq!(ghosts.add(&1, secs(5), secs(2)), secs(611), "the earlier one lives for longer");
        ghosts.expire(secs(610));
        assert_eq!((ghosts.until(&1, secs(610)), ghosts.until(&2, secs(1))), (Some(secs(611)), None));
        ghosts.expire(secs(611));
        assert!(ghosts.is_empty() && ghosts.expiring.is_empty());
    }
}
