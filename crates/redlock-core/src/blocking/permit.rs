//! The held permit for code without async.

use std::fmt;

use super::lock::Lock;
use crate::{api::Release, report::ReleaseError};

/// [`redlock_core::Permit`](crate::Permit) for code without async: a [`Lock`] on a slot.
#[must_use = "a permit that is dropped is released at once"]
pub struct Permit {
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

    /// Returns the lock on the slot, to check and to extend it. Its [parts](Lock::into_parts) cannot be resumed.
    pub fn lock(&mut self) -> &mut Lock {
        &mut self.lock
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

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("slot", &self.slot).field("lock", &self.lock).finish()
    }
}
