//! The seam to where the held locks are kept in memory.

use std::{fmt, sync::Arc, time::Duration};

use super::{Entry, Key};

/// Where [`NamedLocks`](super::NamedLocks) keeps the locks that are held.
///
/// What an implementation must and may do:
///
/// * No entry is given out twice, and none under another key than its own.
/// * An entry that was kept before a call to `take` began is found by it, unless the registry has dropped it.
/// * Any entry may be dropped at any time. Dropping it gives no lock back: the entry notes that it has left, so that
///   `unlock` can tell, and the ttl ends the lock. Drop those first that are not [valid](Entry::left) any more, and drop
///   at once: an entry that only seems to have left is neither found nor told.
/// * Nothing here waits: no call blocks for longer than it takes to look something up, and entries are dropped outside
///   of locks that other calls need.
///
/// `now` is the time on the clock of the [`Redlock`](crate::Redlock), which tests may control; entries count by it. One
/// registry serves one `NamedLocks` and its clones.
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Keeps an entry. One that is kept under the same key is dropped: its lock has ended, or its holder has locked the
    /// name anew.
    fn keep(&self, entry: Entry, now: Duration);

    /// Takes the entry under this key out.
    fn take(&self, key: &Key, now: Duration) -> Option<Entry>;

    /// Takes all entries out, in any order.
    fn take_all(&self) -> Vec<Entry>;

    /// How many entries are kept, valid or not.
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
