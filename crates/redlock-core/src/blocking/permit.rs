//! The held permit for code without async.

use std::{fmt, time::Duration};

use super::lock::Lock;
use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken},
    api::Release,
    names::Token,
    report::{ExtendError, LockLost, LockParts, ReleaseError, WithinAsync},
};

/// [`redlock_core::Permit`](crate::Permit) for code without async: a [`Lock`] on a slot.
#[must_use = "a permit that is dropped is released at once"]
pub struct Permit {
    // Never handed out for writing: its slot would be that of another lock then.
    lock: Lock,
    slot: u32,
}

impl Permit {
    pub(super) fn new(lock: Lock, slot: u32) -> Self {
        Self { lock, slot }
    }

    /// Returns the slot of this permit: see [`crate::Permit::slot`].
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Returns the name of the semaphore.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.lock.resource()
    }

    /// Returns the value of the slot's key on the nodes: see [`crate::Permit::token`].
    #[must_use]
    pub fn token(&self) -> &Token {
        self.lock.token()
    }

    /// Returns the fencing token of the slot, if it has one: see [`crate::Permit::fencing_token`].
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.lock.fencing_token()
    }

    /// Returns how long you may rely on the permit from now: see [`crate::Lock::validity`].
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.lock.validity()
    }

    /// Returns how long you may rely on the permit from now, or why you may not: see [`crate::Lock::check`].
    ///
    /// # Errors
    ///
    /// The reason why you may no longer rely on the permit.
    pub fn check(&self) -> Result<Duration, LockLost> {
        self.lock.check()
    }

    /// Blocks this thread until the permit is lost, and returns why: see [`crate::Lock::lost`].
    ///
    /// # Errors
    ///
    /// If called within async code.
    pub fn lost(&self) -> Result<LockLost, WithinAsync> {
        self.lock.lost()
    }

    /// Extends the permit, and returns the new validity: see [`crate::Lock::extend`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::extend`].
    pub fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.lock.extend(ttl)
    }

    /// Extends the permit automatically from now on: see [`crate::Lock::auto_extend`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::auto_extend`].
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        self.lock.auto_extend(options)
    }

    /// Stops the automatic extends: see [`crate::Lock::stop_auto_extend`].
    pub fn stop_auto_extend(&mut self) {
        self.lock.stop_auto_extend();
    }

    /// Takes the permit apart, so that another process can resume it: see [`crate::Permit::into_parts`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::into_parts`].
    pub fn into_parts(self) -> Result<LockParts, LockLost> {
        self.lock.into_parts()
    }

    /// Releases the permit, and returns whether it was still held: see [`crate::Permit::release`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::release`].
    pub fn release(self) -> Result<Release, ReleaseError> {
        self.lock.release()
    }
}

/// The lock on the slot of the permit, for code that takes locks.
impl From<Permit> for Lock {
    fn from(permit: Permit) -> Self {
        permit.lock
    }
}

/// The permit whose lock this is. Fails with the lock if it is not the lock of a permit.
impl TryFrom<Lock> for Permit {
    type Error = Lock;

    fn try_from(lock: Lock) -> Result<Self, Lock> {
        match lock.slot() {
            Some(slot) => Ok(Self { lock, slot }),
            None => Err(lock),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("slot", &self.slot).field("lock", &self.lock).finish()
    }
}
