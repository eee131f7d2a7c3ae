//! The held lock for code without async.

use std::{fmt, time::Duration};

use super::worker::Worker;
use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken},
    api::{Release, UsingError, both},
    names::{Resources, Token},
    report::{DowngradeError, ExtendError, LockLost, LockParts, ReleaseError, WithinAsync},
};

/// [`redlock_core::Lock`](crate::Lock) for code without async.
///
/// Dropped, it is given back in the background, by the thread of its [`Redlock`](super::Redlock): keep that for longer,
/// and [close](super::Redlock::close) it at the end, or nodes may keep the lock until its ttl ends.
#[must_use = "a lock that is dropped is given back at once"]
pub struct Lock {
    lock: crate::Lock,
    worker: Worker,
}

impl Lock {
    pub(super) fn new(lock: crate::Lock, worker: Worker) -> Self {
        Self { lock, worker }
    }

    /// As [`crate::Lock::resource`].
    #[must_use]
    pub fn resource(&self) -> &str {
        self.lock.resource()
    }

    /// As [`crate::Lock::resources`].
    #[must_use]
    pub fn resources(&self) -> &Resources {
        self.lock.resources()
    }

    /// As [`crate::Lock::token`].
    #[must_use]
    pub fn token(&self) -> &Token {
        self.lock.token()
    }

    /// As [`crate::Lock::is_shared`].
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.lock.is_shared()
    }

    /// As [`crate::Lock::downgrade`].
    ///
    /// # Errors
    ///
    /// As there; and [`DowngradeError::WithinAsync`].
    pub fn downgrade(&mut self) -> Result<(), DowngradeError> {
        self.worker.wait(self.lock.downgrade()).ok_or(WithinAsync)?
    }

    /// As [`crate::Lock::validity`].
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.lock.validity()
    }

    /// As [`crate::Lock::check`].
    ///
    /// # Errors
    ///
    /// Why the lock may not be relied on any more.
    pub fn check(&self) -> Result<Duration, LockLost> {
        self.lock.check()
    }

    /// As [`crate::Lock::lost`]: blocks this thread until then.
    ///
    /// # Errors
    ///
    /// Within async code.
    pub fn lost(&self) -> Result<LockLost, WithinAsync> {
        self.worker.wait(self.lock.lost()).ok_or(WithinAsync)
    }

    /// As [`crate::Lock::extend`].
    ///
    /// # Errors
    ///
    /// As there; and [`ExtendError::WithinAsync`].
    pub fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.worker.wait(self.lock.extend(ttl)).ok_or(WithinAsync)?
    }

    /// As [`crate::Lock::auto_extend`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        self.lock.auto_extend(options)
    }

    /// As [`crate::Lock::stop_auto_extend`].
    pub fn stop_auto_extend(&mut self) {
        self.lock.stop_auto_extend();
    }

    /// As [`crate::Lock::into_parts`].
    ///
    /// # Errors
    ///
    /// As there. Within async code the lock is given back in the background, and [`LockLost::Released`] says so.
    pub fn into_parts(self) -> Result<LockParts, LockLost> {
        let resources = self.lock.resources().clone();
        self.worker.wait(self.lock.into_parts()).unwrap_or(Err(LockLost::Released { resources }))
    }

    /// As [`crate::Lock::fencing_token`].
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.lock.fencing_token()
    }

    /// As [`crate::Lock::release`].
    ///
    /// # Errors
    ///
    /// As there; and [`ReleaseError::WithinAsync`], when the lock is given back in the background.
    pub fn release(self) -> Result<Release, ReleaseError> {
        self.worker.wait(self.lock.release()).ok_or(WithinAsync)?
    }

    /// Runs `work`, and releases the lock, but not before `at_least` after it was acquired.
    pub(super) fn cover<T, E: From<UsingError>>(
        self,
        at_least: Duration,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let worked = work(&self);
        let settled = self.worker.wait(self.lock.settle_after(at_least));
        both(worked, settled.unwrap_or(Ok(())))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock.fmt(f)
    }
}
