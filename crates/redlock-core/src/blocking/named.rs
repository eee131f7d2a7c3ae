//! Lock and unlock by name for code without async.

use std::time::Duration;

use super::worker::Worker;
use crate::{
    api::{AcquireOptions, Release},
    named::UnlockError,
    names::Resource,
    report::{AcquireError, ReleaseError, WithinAsync},
};

/// [`redlock_core::NamedLocks`](crate::NamedLocks) for code without async. A lock belongs to the thread that locked it,
/// within Tokio's `spawn_blocking` to that one call, or to a label. Cheap to clone; clones share their locks.
#[derive(Debug, Clone)]
pub struct NamedLocks {
    named: crate::NamedLocks,
    worker: Worker,
}

impl NamedLocks {
    pub(super) fn new(named: crate::NamedLocks, worker: Worker) -> Self {
        Self { named, worker }
    }

    /// Locks and unlocks for this label instead of for the calling thread: see [`crate::NamedLocks::with_owner`].
    #[must_use]
    pub fn with_owner(&self, label: impl AsRef<str>) -> Self {
        Self { named: self.named.with_owner(label), worker: self.worker.clone() }
    }

    /// Acquires the lock on `name`, and returns how long you may rely on it: see [`crate::NamedLocks::lock`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::NamedLocks::lock`], and [`AcquireError::WithinAsync`].
    pub fn lock(&self, name: impl AsRef<str>, options: impl Into<AcquireOptions>) -> Result<Duration, AcquireError> {
        self.worker.wait(self.named.lock(name, options)).ok_or(WithinAsync)?
    }

    /// Releases the lock on `name`, and returns whether it was still held: see [`crate::NamedLocks::unlock`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::NamedLocks::unlock`], and [`UnlockError::WithinAsync`].
    pub fn unlock(&self, name: impl AsRef<str>) -> Result<Release, UnlockError> {
        self.worker.wait(self.named.unlock(name)).ok_or(WithinAsync)?
    }

    /// Returns how long you may rely on the lock on `name` from now: see [`crate::NamedLocks::validity`].
    #[must_use]
    pub fn validity(&self, name: impl AsRef<str>) -> Duration {
        self.named.validity(name)
    }

    /// Releases all locks, and returns the outcome of each: see [`crate::NamedLocks::release_all`].
    ///
    /// # Errors
    ///
    /// For each lock, the errors of [`crate::NamedLocks::release_all`]. The call itself fails within async code.
    #[expect(clippy::type_complexity, reason = "as the async one")]
    pub fn release_all(&self) -> Result<Vec<(Resource, Result<Release, ReleaseError>)>, WithinAsync> {
        self.worker.wait(self.named.release_all()).ok_or(WithinAsync)
    }

    /// Returns how many locks are kept: see [`crate::NamedLocks::count`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.named.count()
    }
}
