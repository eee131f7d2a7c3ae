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
/// A lock that is dropped is released in the background, by the thread of its [`Redlock`](super::Redlock). So keep the
/// `Redlock` for longer than the lock, and [close](super::Redlock::close) it at the end. Otherwise nodes may keep the
/// lock until its TTL ends.
#[must_use = "a lock that is dropped is released at once"]
pub struct Lock {
    lock: crate::Lock,
    worker: Worker,
}

impl Lock {
    pub(super) fn new(lock: crate::Lock, worker: Worker) -> Self {
        Self { lock, worker }
    }

    /// Returns the locked resource: see [`crate::Lock::resource`].
    #[must_use]
    pub fn resource(&self) -> &str {
        self.lock.resource()
    }

    /// Returns all resources of this lock: see [`crate::Lock::resources`].
    #[must_use]
    pub fn resources(&self) -> &Resources {
        self.lock.resources()
    }

    /// Returns the value of the key on the nodes: see [`crate::Lock::token`].
    #[must_use]
    pub fn token(&self) -> &Token {
        self.lock.token()
    }

    /// Returns whether this is a shared lock: see [`crate::Lock::is_shared`].
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.lock.is_shared()
    }

    /// Makes this exclusive lock a shared one: see [`crate::Lock::downgrade`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Lock::downgrade`], and [`DowngradeError::WithinAsync`].
    pub fn downgrade(&mut self) -> Result<(), DowngradeError> {
        self.worker.wait(self.lock.downgrade()).ok_or(WithinAsync)?
    }

    /// Returns how long you may rely on the lock from now: see [`crate::Lock::validity`].
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.lock.validity()
    }

    /// Returns how long you may rely on the lock from now, or why you may not: see [`crate::Lock::check`].
    ///
    /// # Errors
    ///
    /// The reason why you may no longer rely on the lock.
    pub fn check(&self) -> Result<Duration, LockLost> {
        self.lock.check()
    }

    /// Blocks this thread until the lock is lost, and returns why: see [`crate::Lock::lost`].
    ///
    /// # Errors
    ///
    /// If called within async code.
    pub fn lost(&self) -> Result<LockLost, WithinAsync> {
        self.worker.wait(self.lock.lost()).ok_or(WithinAsync)
    }

    /// Extends the lock, and returns the new validity: see [`crate::Lock::extend`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Lock::extend`], and [`ExtendError::WithinAsync`].
    pub fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.worker.wait(self.lock.extend(ttl)).ok_or(WithinAsync)?
    }

    /// Extends the lock automatically from now on: see [`crate::Lock::auto_extend`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Lock::auto_extend`].
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        self.lock.auto_extend(options)
    }

    /// Stops the automatic extends: see [`crate::Lock::stop_auto_extend`].
    pub fn stop_auto_extend(&mut self) {
        self.lock.stop_auto_extend();
    }

    /// Takes the lock apart, so that another process can resume it: see [`crate::Lock::into_parts`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Lock::into_parts`]. Within async code, the lock is released in the background, and the
    /// error is [`LockLost::Released`].
    pub fn into_parts(self) -> Result<LockParts, LockLost> {
        let resources = self.lock.resources().clone();
        self.worker.wait(self.lock.into_parts()).unwrap_or(Err(LockLost::Released { resources }))
    }

    /// Returns the fencing token, if the lock has one: see [`crate::Lock::fencing_token`].
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.lock.fencing_token()
    }

    /// Releases the lock, and returns whether it was still held: see [`crate::Lock::release`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Lock::release`], and [`ReleaseError::WithinAsync`]: then the lock is released in the
    /// background.
    pub fn release(self) -> Result<Release, ReleaseError> {
        self.worker.wait(self.lock.release()).ok_or(WithinAsync)?
    }

    /// The slot of its semaphore, if it is the lock of a permit.
    pub(super) fn slot(&self) -> Option<u32> {
        self.lock.slot()
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
