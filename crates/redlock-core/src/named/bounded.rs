//! A registry with a bound in bytes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::{Expiry, notification::RemovalCause, policy::EvictionPolicy, sync::Cache};

use super::{Entry, Key, Registry};
use crate::api::Lock;

/// A registry with a bound in bytes: when there is no room, it drops the oldest locks, even valid ones.
///
/// Dropped locks remain held until their TTL ends, and unlocking them returns
/// [`UnlockError::Evicted`](super::UnlockError::Evicted). That works for the last 65,536 of them, for which about 100
/// bytes each are kept. So make room for all locks that are held at the same time, about 1,400 bytes and twice the name
/// for each; the bound is for emergencies. A lock that ended without being unlocked makes room by itself, with the next
/// call a few seconds after its longest lifetime.
///
/// ```
/// use redlock_core::{NamedLocks, Redlock, named::BoundedRegistry};
/// use redlock_mock::MockNode;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redlock = Redlock::new(MockNode::fleet(3))?;
/// let named = NamedLocks::new(&redlock, BoundedRegistry::new(10 * 1024 * 1024));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct BoundedRegistry {
    slots: Cache<Key, Slot>,
    /// The locks of entries that the cache has dropped. They are handled after the cache has finished: an observer may
    /// call it.
    left: Arc<Mutex<Vec<Lock>>>,
}

/// A slot for an entry. The cache copies its values and drops them at any time; the entry must leave once and
/// immediately.
#[derive(Clone)]
struct Slot {
    entry: Arc<Mutex<Option<Entry>>>,
    bytes: u32,
    lives_for: Duration,
}

impl BoundedRegistry {
    /// Returns a registry whose entries take about this many bytes at most, all together.
    pub fn new(max_bytes: u64) -> Self {
        let left = Arc::new(Mutex::new(Vec::new()));
        let leaving = Arc::clone(&left);
        let slots = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, slot: &Slot| slot.bytes)
            .expire_after(EachForItself)
            // The default would refuse a new lock in favor of locks that were requested often.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, slot, cause| {
                // An entry that is removed explicitly is leaving already.
                if cause != RemovalCause::Explicit
                    && let Some(lock) = slot.empty().and_then(|mut entry| entry.leave())
                {
                    leaving.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
                }
            })
            .build();
        Self { slots, left }
    }

    /// Called at the end of each call in which the cache may have dropped entries.
    fn let_go(&self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        left.into_iter().for_each(Entry::let_go);
    }
}

impl Slot {
    /// The clocks of the cache and of the lock may be read at different moments, and a lock must not be dropped before
    /// it has ended.
    const SLACK: Duration = Duration::from_secs(1);

    fn new(entry: Entry, now: Duration) -> Self {
        Self {
            bytes: u32::try_from(entry.bytes()).unwrap_or(u32::MAX),
            lives_for: entry.longest(now).saturating_add(Self::SLACK),
            entry: Arc::new(Mutex::new(Some(entry))),
        }
    }

    /// Removes the entry. If several callers try, one gets it.
    fn empty(&self) -> Option<Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Gives each entry its own expiry.
struct EachForItself;

impl Expiry<Key, Slot> for EachForItself {
    fn expire_after_create(&self, _: &Key, slot: &Slot, _: Instant) -> Option<Duration> {
        Some(slot.lives_for)
    }

    fn expire_after_update(&self, _: &Key, slot: &Slot, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(slot.lives_for)
    }
}

impl Registry for BoundedRegistry {
    fn keep(&self, entry: Entry, now: Duration) {
        self.slots.insert(entry.key().clone(), Slot::new(entry, now));
        // The cache has no threads: due work is done in calls, and the bound holds after this one.
        self.slots.run_pending_tasks();
        self.let_go();
    }

    fn take(&self, key: &Key, _: Duration) -> Option<Entry> {
        let taken = self.slots.remove(key).and_then(|slot| slot.empty());
        self.let_go();
        taken
    }

    fn take_all(&self) -> Vec<Entry> {
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        let entries = keys.iter().filter_map(|key| self.slots.remove(&**key)?.empty()).collect();
        self.slots.run_pending_tasks();
        self.let_go();
        entries
    }

    fn count(&self) -> usize {
        self.slots.run_pending_tasks();
        self.let_go();
        usize::try_from(self.slots.entry_count()).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for BoundedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut registry = f.debug_struct("BoundedRegistry");
        registry.field("max_bytes", &self.slots.policy().max_capacity());
        registry.field("bytes", &self.slots.weighted_size()).field("count", &self.slots.entry_count()).finish()
    }
}
