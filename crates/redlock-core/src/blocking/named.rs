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

    /// As [`crate::NamedLocks::with_owner`].
    #[must_use]
    pub fn with_owner(&self, label: impl AsRef<str>) -> Self {
        Self { named: self.named.with_owner(label), worker: self.worker.clone() }
    }

    /// As [`crate::NamedLocks::lock`].
    ///
    /// # Errors
    ///
    /// As there; and [`AcquireError::WithinAsync`].
    pub fn lock(&self, name: impl AsRef<str>, options: impl Into<AcquireOptions>) -> Result<Duration, AcquireError> {
        self.worker.wait(self.named.lock(name, options)).ok_or(WithinAsync)?
    }

    /// As [`crate::NamedLocks::unlock`].
    ///
    /// # Errors
    ///
    /// As there; and [`UnlockError::WithinAsync`].
    pub fn unlock(&self, name: impl AsRef<str>) -> Result<Release, UnlockError> {
        self.worker.wait(self.named.unlock(name)).ok_or(WithinAsync)?
    }

    /// As [`crate::NamedLocks::validity`].
    #[must_use]
    pub fn validity(&self, name: impl AsRef<str>) -> Duration {
        self.named.validity(name)
    }

    /// As [`crate::NamedLocks::release_all`].
    ///
    /// # Errors
    ///
    /// Of each lock as there; and within async code.
    #[expect(clippy::type_complexity, reason = "as the async one")]
    pub fn release_all(&self) -> Result<Vec<(Resource, Result<Release, ReleaseError>)>, WithinAsync> {
        self.worker.wait(self.named.release_all()).ok_or(WithinAsync)
    }

    /// As [`crate::NamedLocks::count`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.named.count()
    }
}
