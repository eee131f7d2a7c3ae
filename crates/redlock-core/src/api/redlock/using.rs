//! Runs work under a lock: acquires it before, extends it meanwhile and releases it afterwards in any case.

use std::{pin::pin, time::Duration};

use tokio::select;

use super::Redlock;
use crate::{
    api::{lock::Lock, options::AcquireOptions},
    names::{ResourceError, Resources},
    report::{AcquireError, LockLost},
};

/// The options of [`Redlock::using`]: how the lock is acquired, and what happens to the work if the lock is lost.
///
/// A plain [`Duration`] is the TTL, with defaults for everything else. An [`AcquireOptions`] works, too.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::{AcquireOptions, AutoExtend, OnLoss, UsingOptions};
///
/// let ten_minutes_at_most = AutoExtend::default().max_lifetime(Duration::from_secs(600));
/// let acquire = AcquireOptions::new(Duration::from_secs(30)).auto_extend(ten_minutes_at_most);
/// let options = UsingOptions::from(acquire).on_loss(OnLoss::Notify);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct UsingOptions {
    acquire: AcquireOptions,
    pub(super) on_loss: OnLoss,
    pub(crate) at_least: Duration,
}

/// How the loss of a lock affects the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnLoss {
    /// It is dropped where it next has to wait.
    #[default]
    Cancel,
    /// It continues: [`Lock::lost`] and [`Lock::check`] report the loss.
    Notify,
}

impl UsingOptions {
    /// Acquires the lock with this TTL, and extends it for as long as the work runs, at most for an hour.
    pub fn new(ttl: Duration) -> Self {
        Self::from(AcquireOptions::new(ttl))
    }

    /// Sets what happens to the work when its lock is lost. Default: it is dropped.
    pub fn on_loss(self, on_loss: OnLoss) -> Self {
        Self { on_loss, ..self }
    }

    /// Holds the lock until this time after it was acquired, even if the work ends sooner. Default: zero.
    ///
    /// For work that several hosts start at the same time, for example once a minute. Their clocks differ: without it,
    /// short work would end on one host before another host starts the same work again. The call returns when the time
    /// is over. If it is dropped before, the lock is released. If this time is longer than an hour, the default of
    /// [`AutoExtend::max_lifetime`] grows with it.
    ///
    /// [`AutoExtend::max_lifetime`]: crate::AutoExtend::max_lifetime
    pub fn at_least(self, at_least: Duration) -> Self {
        Self { at_least, ..self }
    }

    /// Returns how the lock is acquired and extended.
    pub(crate) fn kept(&self) -> AcquireOptions {
        // It may end a little sooner than its lifetime, but must not end before `at_least`.
        let lifetime = self.at_least.saturating_add(self.acquire.ttl);
        let auto_extend = self.acquire.auto_extend.unwrap_or_default().default_lifetime_at_least(lifetime);
        self.acquire.clone().auto_extend(auto_extend)
    }
}

impl From<Duration> for UsingOptions {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}

impl From<AcquireOptions> for UsingOptions {
    fn from(acquire: AcquireOptions) -> Self {
        Self { acquire, on_loss: OnLoss::default(), at_least: Duration::ZERO }
    }
}

/// The work was not done, or not under the lock to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsingError {
    /// The lock could not be acquired, and the work did not begin. If the work itself returns such an error, from a
    /// lock within the work, the two cannot be distinguished: use an error type of your own for that.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The lock was lost before the work had ended: another holder may have worked at the same time.
    #[error(transparent)]
    Lost(#[from] LockLost),
}

impl Redlock {
    /// Runs `work` under the lock on one or several resources.
    ///
    /// Acquires the lock, [extends it automatically](crate::AutoExtend) while the work runs, and releases it in any
    /// case. Returns the result of the work. The error of the work can be any type that a [`UsingError`] converts to,
    /// for example `Box<dyn Error>`, `anyhow::Error` or `UsingError` itself. For `lock.check()?` in the work, a
    /// [`LockLost`] must convert to it, too. `anyhow::Error` then contains a `LockLost` if the work noticed the loss,
    /// and `UsingError::Lost` if the library did.
    ///
    /// If the lock is lost, [`OnLoss`] decides: the work is dropped where it next has to wait, or it continues. The
    /// lock is extended for [an hour](crate::AutoExtend::MAX_LIFETIME) at most, unless the options say otherwise, so
    /// that work that never ends does not hold its lock forever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{Redlock, UsingError};
    /// use redlock_mock::MockNode;
    ///
    /// async fn report(redlock: &Redlock) -> Result<u32, UsingError> {
    ///     redlock
    ///         .using("report", Duration::from_secs(30), async |lock| {
    ///             let rows = 42; // takes as long as it takes
    ///             lock.check()?; // right before a side effect: is it still ours?
    ///             Ok(rows)
    ///         })
    ///         .await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// assert_eq!(report(&redlock).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`UsingError::Acquire`] if the work did not begin, the error of the work if it failed, and [`UsingError::Lost`]
    /// if the lock was lost before the work had ended. If the work fails and the lock is lost, too, the error is that
    /// of the work, and the loss is logged. A value that the work returned after a loss is dropped: the work may keep
    /// it in a variable that it borrows. If too few nodes answer the release, the value is returned anyway, and the TTL
    /// ends the lock.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it drops the work and then the lock, which is released in the background. A panic in the work has
    /// the same effect.
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`], and if the work panics.
    pub async fn using<T, E: From<UsingError>>(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<UsingOptions>,
        work: impl AsyncFnOnce(&Lock) -> Result<T, E>,
    ) -> Result<T, E> {
        let options = options.into();
        let lock = self.acquire(resources, options.kept()).await.map_err(UsingError::Acquire)?;
        let (lost, at_least) = (lock.lost(), options.at_least);
        cover(lock, lost, options.on_loss, work, async |lock: Lock| lock.settle_after(at_least).await).await
    }
}

/// Runs `work`, and releases the lock or the permit by `settle`.
pub(super) async fn cover<L, T, E: From<UsingError>>(
    lock: L,
    lost: impl Future<Output = LockLost>,
    on_loss: OnLoss,
    work: impl AsyncFnOnce(&L) -> Result<T, E>,
    settle: impl AsyncFnOnce(L) -> Result<(), LockLost>,
) -> Result<T, E> {
    let worked = {
        let mut lost = pin!(lost);
        let mut work = pin!(work(&lock));
        select! {
            // Check for a loss first: the work must not take one more step without its lock.
            biased;
            loss = &mut lost => match on_loss {
                OnLoss::Cancel => return Err(UsingError::Lost(loss).into()),
                OnLoss::Notify => work.await,
            },
            worked = &mut work => worked,
        }
    };
    let settled = settle(lock).await;
    both(worked, settled)
}

/// Returns the result of the work. A loss is the error only if the work has none, and is logged otherwise.
pub(crate) fn both<T, E: From<UsingError>>(worked: Result<T, E>, settled: Result<(), LockLost>) -> Result<T, E> {
    match (worked, settled) {
        (Ok(_), Err(loss)) => Err(UsingError::Lost(loss).into()),
        (Err(error), Err(loss)) => {
            tracing::warn!(error = %loss, "the work failed, and its lock was lost before it ended");
            Err(error)
        }
        (worked, Ok(())) => worked,
    }
}
