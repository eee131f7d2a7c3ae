//! One of the permits of a semaphore, which a caller holds.

use std::{fmt, time::Duration};

use super::lock::{Lock, Release};
use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken},
    driver::Held,
    names::Token,
    report::{ExtendError, LockLost, LockParts, PermitsError, ReleaseError},
};

/// One of the permits of a semaphore: a [`Lock`] on one of its slots.
///
/// Release it with [`Permit::release`]. A permit that is dropped is released in the background, like a [`Lock`].
#[must_use = "a permit that is dropped is released at once"]
pub struct Permit {
    lock: Lock,
    slot: u32,
}

impl Permit {
    /// The greatest number of permits of a semaphore.
    pub const MAX: u32 = PermitsError::MAX;

    pub(crate) fn new(held: Held) -> Self {
        let lock = Lock::from(held);
        let slot = lock.slot().unwrap_or_default();
        Self { lock, slot }
    }

    /// Returns the slot of this permit, from 0 to the number of permits less one. No two valid permits of one semaphore
    /// have the same slot, so it serves as a small number that nobody else has: for example the worker number of an ID
    /// generator.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Returns the name of the semaphore.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.lock.resource()
    }

    /// Returns the value of the slot's key on the nodes. Anybody who knows it can release the permit.
    #[must_use]
    pub fn token(&self) -> &Token {
        self.lock.token()
    }

    /// Returns the fencing token of the slot, if [fencing](crate::RedlockBuilder::fencing) is on. It is greater than
    /// all earlier tokens of the same slot. Tokens of different slots cannot be compared: let the storage keep the
    /// greatest token of each slot.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.lock.fencing_token()
    }

    /// Returns how long you may rely on the permit from now: see [`Lock::validity`].
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.lock.validity()
    }

    /// Returns how long you may rely on the permit from now. Write `permit.check()?` right before a side effect. Sends
    /// nothing.
    ///
    /// # Errors
    ///
    /// The reason why the permit is lost.
    pub fn check(&self) -> Result<Duration, LockLost> {
        self.lock.check()
    }

    /// Waits until the permit is lost: see [`Lock::lost`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Lock::lost`].
    ///
    /// # Panics
    ///
    /// Like [`Lock::lost`].
    pub fn lost(&self) -> impl Future<Output = LockLost> + Send + use<> {
        self.lock.lost()
    }

    /// Extends the permit: see [`Lock::extend`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::extend`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Lock::extend`].
    ///
    /// # Panics
    ///
    /// Like [`Lock::extend`].
    pub async fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.lock.extend(ttl).await
    }

    /// Extends the permit automatically from now on: see [`Lock::auto_extend`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::auto_extend`].
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        self.lock.auto_extend(options)
    }

    /// Stops extending the permit automatically.
    pub fn stop_auto_extend(&mut self) {
        self.lock.stop_auto_extend();
    }

    /// Takes the permit apart, so that another process can [resume](crate::Redlock::resume) it: see
    /// [`Lock::into_parts`]. `Permit::try_from` makes a permit again of the lock that is resumed.
    ///
    /// # Errors
    ///
    /// As [`Lock::into_parts`].
    ///
    /// # Cancel safety
    ///
    /// As [`Lock::into_parts`].
    ///
    /// # Panics
    ///
    /// As [`Lock::into_parts`].
    pub async fn into_parts(self) -> Result<LockParts, LockLost> {
        self.lock.into_parts().await
    }

    /// Releases the permit on all nodes, and notifies the first waiter. Returns whether it was still held: see
    /// [`Lock::release`].
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::release`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Lock::release`].
    ///
    /// # Panics
    ///
    /// Like [`Lock::release`].
    pub async fn release(self) -> Result<Release, ReleaseError> {
        self.lock.release().await
    }
}

/// Converts to the lock on the slot of the permit, for code that takes locks.
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
