//! A held lock in a registry.

use std::{fmt, sync::Arc, time::Duration};

use super::{Key, ledger::Ledger};
use crate::api::Lock;

/// A held lock in a [`Registry`](super::Registry).
///
/// If an entry is dropped, a lock that is valid is left to its TTL and not released, since the caller that locked it
/// may still rely on it. The entry records that it has left, so that `unlock` can report it.
pub struct Entry {
    key: Key,
    /// `None` once it is removed.
    lock: Option<Lock>,
    /// When the lock ends at the latest, on the fleet's clock.
    ends: Duration,
    ledger: Arc<Ledger>,
}

impl Entry {
    /// The number of bytes that an entry takes in memory besides its name, as measured and rounded up: the lock, the
    /// state of its extends, its ledger record and its slot in a registry.
    const OVERHEAD: usize = 1200;
    const OVERHEAD_PER_NODE: usize = 48;

    /// Records a lock that ends at `ends` at the latest, on the fleet's clock.
    pub(crate) fn new(key: Key, lock: Lock, ends: Duration, ledger: &Arc<Ledger>) -> Self {
        ledger.opened(&key, lock.held.shared());
        Self { key, lock: Some(lock), ends, ledger: Arc::clone(ledger) }
    }

    /// Returns the key under which the entry is kept.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns how long the lock is valid from `now`, unless it is extended. Zero means that it has ended forever.
    #[must_use]
    pub fn left(&self, now: Duration) -> Duration {
        self.lock.as_ref().map_or(Duration::ZERO, |lock| lock.held.shared().validity.left(now))
    }

    /// Returns how long the lock can be valid from `now` at most, including extends. For registries that have to know
    /// how long to keep an entry when they receive it.
    #[must_use]
    pub fn longest(&self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }

    /// Returns about how many bytes the entry takes in memory: those of its name, twice, and of the lock.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let nodes = self.lock.as_ref().map_or(0, |lock| lock.held.shared().fleet.members.len());
        // The lock has a copy of the name.
        Self::OVERHEAD + Self::OVERHEAD_PER_NODE * nodes + 2 * self.key.name().as_str().len()
    }

    /// Removes the lock, so that its holder can release it.
    pub(crate) fn into_lock(mut self) -> Option<Lock> {
        let lock = self.lock.take()?;
        self.ledger.taken(&self.key, lock.held.shared());
        Some(lock)
    }
}

impl Entry {
    /// Records that the entry has left, and returns its lock. Pass it to [`Entry::let_go`] afterwards.
    pub(super) fn leave(&mut self) -> Option<Lock> {
        let lock = self.lock.take()?;
        self.ledger.departed(&self.key, lock.held.shared());
        Some(lock)
    }

    /// Leaves the lock of an entry that has left to its TTL. Notifies observers, so do not call it while other calls
    /// are blocked.
    pub(super) fn let_go(lock: Lock) {
        // A lock that has ended is released: nobody relies on it, and an extend may have set its keys again.
        if lock.check().is_ok() {
            lock.held.leave_to_expire();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave().into_iter().for_each(Self::let_go);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("key", &self.key).field("lock", &self.lock).finish_non_exhaustive()
    }
}
