//! The default registry: a map without a bound, from which expired entries are removed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Entry, Key, Registry};

/// A map, and the default registry: it drops no valid lock, and has no bound.
///
/// Locks that ended without being unlocked are collected on the first call after each interval, one minute by default.
/// No task or thread does it in between.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::{NamedLocks, Redlock, named::MapRegistry};
/// use redlock_mock::MockNode;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redlock = Redlock::new(MockNode::fleet(3))?;
/// let registry = MapRegistry::default().collect_every(Duration::from_secs(10));
/// let named = NamedLocks::new(&redlock, registry);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct MapRegistry {
    /// The time between two collections. `None`: there are none.
    interval: Option<Duration>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// When the next collection is due.
    due: Option<Duration>,
}

impl Default for MapRegistry {
    fn default() -> Self {
        Self { interval: Some(Self::INTERVAL), kept: Mutex::default() }
    }
}

impl MapRegistry {
    /// The time between two collections by default: one minute.
    pub const INTERVAL: Duration = Duration::from_secs(60);

    /// Sets the time between two collections; zero collects with every call. Each collection looks at all entries.
    /// Default: [`MapRegistry::INTERVAL`], one minute.
    pub fn collect_every(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// Never collects: each name remains until it is unlocked, or until the same holder locks it again.
    pub fn never_collect(self) -> Self {
        Self { interval: None, ..self }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Removes expired entries, if a collection is due.
    fn collect(&mut self, interval: Option<Duration>, now: Duration) -> Vec<Entry> {
        let Some(interval) = interval else { return Vec::new() };
        let due = *self.due.get_or_insert(now.saturating_add(interval));
        if now < due {
            return Vec::new();
        }
        self.due = Some(now.saturating_add(interval));
        let over = self.entries.extract_if(|_, entry| entry.left(now).is_zero());
        over.map(|(_, entry)| entry).collect()
    }
}

impl Registry for MapRegistry {
    fn keep(&self, entry: Entry, now: Duration) {
        let mut kept = self.kept();
        let over = kept.collect(self.interval, now);
        let replaced = kept.entries.insert(entry.key().clone(), entry);
        drop(kept);
        drop((over, replaced));
    }

    fn take(&self, key: &Key, now: Duration) -> Option<Entry> {
        let mut kept = self.kept();
        let taken = kept.entries.remove(key);
        let over = kept.collect(self.interval, now);
        drop(kept);
        drop(over);
        taken
    }

    fn take_all(&self) -> Vec<Entry> {
        let entries = std::mem::take(&mut self.kept().entries);
        entries.into_values().collect()
    }

    fn count(&self) -> usize {
        self.kept().entries.len()
    }
}

impl fmt::Debug for MapRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRegistry").field("interval", &self.interval).field("count", &self.count()).finish()
    }
}
