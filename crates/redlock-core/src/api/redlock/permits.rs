//! Permits: at most K holders of one name at the same time.

use super::{
    Redlock,
    using::{UsingError, UsingOptions, cover},
};
use crate::{
    algorithm::Retry,
    api::{lock::Lock, options::AcquireOptions, permit::Permit},
    driver::Acquire,
    names::Resource,
    report::{AcquireError, PermitsError},
};

impl Redlock {
    /// Acquires one of `permits` permits of the semaphore `name`, waiting while others hold all of them.
    ///
    /// A permit is a lock on one of the slots 0 to `permits - 1`, so everything about a [`Lock`](crate::Lock) applies
    /// to it: see the page on [permits](crate::guide::permits). All callers must use the same number. If a slot is
    /// held, the call requests another one that is free. Waiters share one queue.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let ttl = Duration::from_secs(10);
    ///
    /// let one = redlock.acquire_permit("reports", 2, ttl).await?;
    /// let two = redlock.acquire_permit("reports", 2, ttl).await?;
    /// assert_ne!(one.slot(), two.slot());
    /// assert!(redlock.try_acquire_permit("reports", 2, ttl).await?.is_none());
    ///
    /// let _ = one.release().await?;
    /// assert!(redlock.try_acquire_permit("reports", 2, ttl).await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::acquire`], and [`AcquireError::Permits`] if the number is 0 or above [`Permit::MAX`],
    /// or if others hold permits of this name with another number.
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn acquire_permit(
        &self,
        name: impl AsRef<str>,
        permits: u32,
        options: impl Into<AcquireOptions>,
    ) -> Result<Permit, AcquireError> {
        self.permit_call(name.as_ref(), permits, options.into())?.run().await.map(Permit::new)
    }

    /// Acquires a permit if one is free now, without waiting. Returns `None` if others hold all of them, or got all
    /// free ones at the same moment. It does not yield to callers that wait.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::acquire_permit`], except [`AcquireError::Contended`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn try_acquire_permit(
        &self,
        name: impl AsRef<str>,
        permits: u32,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Permit>, AcquireError> {
        let once = options.into().retry(Retry::never());
        match self.permit_call(name.as_ref(), permits, once)?.run().await {
            Ok(held) => Ok(Some(Permit::new(held))),
            Err(AcquireError::Contended(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs `work` with a permit: acquires it, extends it automatically while the work runs, and releases it in any
    /// case. [`Redlock::using`] does the same with a lock.
    ///
    /// # Errors
    ///
    /// Like [`Redlock::using`], with the errors of [`Redlock::acquire_permit`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::using`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::using`].
    pub async fn using_permit<T, E: From<UsingError>>(
        &self,
        name: impl AsRef<str>,
        permits: u32,
        options: impl Into<UsingOptions>,
        work: impl AsyncFnOnce(&Permit) -> Result<T, E>,
    ) -> Result<T, E> {
        let options = options.into();
        let permit = self.acquire_permit(name, permits, options.kept()).await.map_err(UsingError::Acquire)?;
        let (lost, on_loss, at_least) = (permit.lost(), options.on_loss, options.at_least);
        cover(permit, lost, on_loss, work, async |permit| Lock::from(permit).settle_after(at_least).await).await
    }

    /// Prepares one call to acquire a permit, with these options.
    fn permit_call(&self, name: &str, permits: u32, options: AcquireOptions) -> Result<Acquire<'_>, AcquireError> {
        if options.is_shared {
            return Err(PermitsError::Shared.into());
        }
        let (ttl, auto_extend, fencing) = (options.ttl, options.auto_extend, options.fencing);
        let (name, retry) = (Resource::new(name)?, options.policy(&self.fleet.retry));
        Acquire::permit(&self.fleet, name, permits, ttl, retry, auto_extend, fencing)
    }
}
