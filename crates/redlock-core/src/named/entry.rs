//! A held lock in a registry.

use std::{fmt, sync::Arc, time::Duration};

use super::{Key, ledger::Ledger};
use crate::api::Lock;

/// A held lock in a [`Registry`](super::Registry).
///
/// Dropped, it leaves a lock that is valid to its ttl and gives nothing back, since whoever locked it may still rely on
/// it; and it notes that it has left, so that `unlock` can tell.
pub struct Entry {
    key: Key,
    /// There until it is taken out.
    lock: Option<Lock>,
    /// When the lock ends at the latest, on the fleet's clock.
    ends: Duration,
    ledger: Arc<Ledger>,
}

impl Entry {
    /// What an entry takes in memory beside its name, as measured, on the greater side: the lock, what extends it, the
    /// books on it and its place in a registry.
    const OVERHEAD: usize = 1200;
    const OVERHEAD_PER_NODE: usize = 48;

    /// Opens the books on a lock that ends at the latest then, on the fleet's clock.
    pub(crate) fn new(key: Key, lock: Lock, ends: Duration, ledger: &Arc<Ledger>) -> Self {
        ledger.opened(&key, lock.held.shared());
        Self { key, lock: Some(lock), ends, ledger: Arc::clone(ledger) }
    }

    /// Under what it is kept.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// How long the lock is valid from `now`, unless it is extended. Zero: it has ended for ever.
    #[must_use]
    pub fn left(&self, now: Duration) -> Duration {
        self.lock.as_ref().map_or(Duration::ZERO, |lock| lock.held.shared().validity.left(now))
    }

    /// How long the lock can be valid from `now` at most, extends included: for registries that have to know when they
    /// take an entry how long to keep it.
    #[must_use]
    pub fn longest(&self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }

    /// What the entry takes in memory, about: the bytes of its name, twice, and of the lock.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let nodes = self.lock.as_ref().map_or(0, |lock| lock.held.shared().fleet.members.len());
        // The lock has a copy of the name.
        Self::OVERHEAD + Self::OVERHEAD_PER_NODE * nodes + 2 * self.key.name().as_str().len()
    }

    /// Takes the lock out, for its holder to give it back.
    pub(crate) fn into_lock(mut self) -> Option<Lock> {
        let lock = self.lock.take()?;
        self.ledger.taken(&self.key, lock.held.shared());
        Some(lock)
    }
}

impl Entry {
    /// Notes that it has left. What is to be [let go](Entry::let_go) of after that is its lock.
    pub(super) fn leave(&mut self) -> Option<Lock> {
        let lock = self.lock.take()?;
        self.ledger.departed(&self.key, lock.held.shared());
        Some(lock)
    }

    /// Leaves the lock of an entry that has left to its ttl. Observers are told, so this is no place to hold up other
    /// calls.
    pub(super) fn let_go(lock: Lock) {
        // One that has ended is given back: nobody relies on it, and an extend may have set its keys again.
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
