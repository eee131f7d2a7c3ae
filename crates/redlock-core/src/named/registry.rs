//! The trait for the memory that keeps the held locks.

use std::{fmt, sync::Arc, time::Duration};

use super::{Entry, Key};

/// The memory in which [`NamedLocks`](super::NamedLocks) keeps the held locks.
///
/// The contract of an implementation:
///
/// * No entry is returned twice, and none under another key than its own.
/// * A call to `take` finds an entry that was kept before the call began, unless the registry has dropped it.
/// * Any entry may be dropped at any time. Dropping it releases no lock: the entry records that it has left, so that
///   `unlock` can report it, and the TTL ends the lock. Drop first the entries that are no longer [valid](Entry::left),
///   and drop them at once: `unlock` neither finds nor reports an entry that only seems to have left.
/// * Nothing here waits: no call blocks for longer than a lookup takes, and entries are dropped outside of mutexes that
///   other calls need.
///
/// `now` is the time on the clock of the [`Redlock`](crate::Redlock), which tests may control. Entries use the same
/// clock. One registry serves one `NamedLocks` and its clones.
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Keeps an entry. Drops the entry that is kept under the same key: its lock has ended, or its holder has locked
    /// the name again.
    fn keep(&self, entry: Entry, now: Duration);

    /// Removes and returns the entry under this key.
    fn take(&self, key: &Key, now: Duration) -> Option<Entry>;

    /// Removes and returns all entries, in any order.
    fn take_all(&self) -> Vec<Entry>;

    /// Returns the number of entries, valid or not.
    fn count(&self) -> usize;
}

impl<R: Registry + ?Sized> Registry for Arc<R> {
    fn keep(&self, entry: Entry, now: Duration) {
        (**self).keep(entry, now);
    }

    fn take(&self, key: &Key, now: Duration) -> Option<Entry> {
        (**self).take(key, now)
    }

    fn take_all(&self) -> Vec<Entry> {
        (**self).take_all()
    }

    fn count(&self) -> usize {
        (**self).count()
    }
}

const _: fn(&dyn Registry) = |_| ();
