//! The lock that a caller holds.

use std::{fmt, time::Duration};

use tokio::{select, time::sleep};

use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken},
    driver::Held,
    names::{Resources, Token},
    report::{DowngradeError, ExtendError, LockLost, LockParts, ReleaseError},
};

/// A held lock. You may rely on it for as long as [`Lock::validity`] says.
///
/// Release it with [`Lock::release`]. A lock that is dropped is released in the background soon afterwards, on the
/// runtime on which it was acquired or resumed, and nothing reports the outcome. If that runtime has ended or is no
/// longer driven, the TTL ends the lock.
#[must_use = "a lock that is dropped is released at once"]
pub struct Lock {
    pub(crate) held: Held,
}

/// The outcome of [`Lock::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "`NotHeld` means that another holder may have had the lock while the work ran"]
#[non_exhaustive]
pub enum Release {
    /// A quorum held the lock until now and has deleted it: the lock was exclusive to the end.
    Released,
    /// No quorum of the nodes still held the lock: it had expired or had been deleted. Another holder may have had it
    /// before this call.
    NotHeld,
}

impl Lock {
    /// Returns the locked resource. If there are several, returns the first in the order of their names.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resources().first().as_str()
    }

    /// Returns all resources of this lock: several if [`Redlock::acquire`](crate::Redlock::acquire) got a list.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        self.held.resources()
    }

    /// Returns the value of the key on the nodes. Anybody who knows it can release the lock.
    #[must_use]
    pub fn token(&self) -> &Token {
        self.held.token()
    }

    /// Returns the fencing token, if [fencing](crate::RedlockBuilder::fencing) is on. It is greater than every token
    /// that was issued for this resource before the acquire began, and no other lock has it.
    ///
    /// Send it with each write, and let the storage refuse a token that is smaller than the greatest one it has seen.
    /// Then a holder that was paused past its validity does no harm, which no lock with timeouts can prevent by itself.
    /// The token stays the same when the lock is extended or transferred.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.held.fencing_token()
    }

    /// Returns whether this is a shared lock: acquired as one, or downgraded.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.held.is_shared()
    }

    /// Returns how long you may rely on the lock from now: `ttl - time since the acquire began - drift`, where an
    /// extend counts as a new beginning. Zero when that time is over, and once the lock is known to be lost.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.check().unwrap_or_default()
    }

    /// Returns how long you may rely on the lock from now. Write `let left = lock.check()?` right before a side effect.
    ///
    /// Reads the clock, and sends nothing.
    ///
    /// # Errors
    ///
    /// The reason why you may no longer rely on the lock.
    pub fn check(&self) -> Result<Duration, LockLost> {
        self.held.check()
    }

    /// Waits until you may no longer rely on the lock, and returns why: as soon as a quorum of the nodes is known not
    /// to hold it, and at the latest when its validity ends, even if no node ever answers again.
    ///
    /// The future borrows nothing, and may be moved to another task of the same runtime. Timers count in milliseconds:
    /// it resolves up to 1 ms *before* the validity ends, and the lock is not valid from then on. After a suspension of
    /// the machine, during which timers stop, it may take two more seconds; [`Lock::check`] is correct at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{LockLost, Redlock};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let lock = redlock.acquire("report", Duration::from_secs(10)).await?;
    /// tokio::select! {
    ///     loss = lock.lost() => assert!(matches!(loss, LockLost::Expired { .. })), // after nearly ten seconds
    ///     () = work_that_takes_a_minute() => unreachable!(),
    /// }
    /// assert!(lock.check().is_err());
    /// # Ok(())
    /// # }
    /// # async fn work_that_takes_a_minute() { tokio::time::sleep(Duration::from_secs(60)).await }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// If dropped, it has no effect.
    ///
    /// # Panics
    ///
    /// If it is polled outside a runtime, on a runtime without timers (`enable_time`), or on a different runtime after
    /// the first one has ended.
    pub fn lost(&self) -> impl Future<Output = LockLost> + Send + use<> {
        self.held.lost()
    }

    /// Extends the lock: it is valid for `ttl` less drift, counted from this call. Returns the new validity. Never
    /// shortens it: if more is left than `ttl` would give, that remains.
    ///
    /// The extend must be sent, and confirmed by a quorum, before the present validity ends. Nodes that lost the key
    /// get it again, so a lock that is extended survives a restart of every node, one after the other. If a quorum had
    /// lost the key, another holder may have had the lock meanwhile, so the lock is lost.
    ///
    /// # Errors
    ///
    /// [`ExtendError`]. Unless it says that the lock is lost, the lock keeps the validity that it had.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it counts as failed. Requests in flight are finished in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.held.extend(ttl).await
    }

    /// Extends the lock to its TTL from now on, repeatedly, while it is held. Replaces earlier settings.
    /// [`AcquireOptions::auto_extend`](crate::AcquireOptions::auto_extend) does the same from the start.
    ///
    /// # Errors
    ///
    /// If the period or the lifetime does not fit the TTL of the lock, or the lock has ended or has reached the
    /// lifetime. The lock then keeps its earlier settings.
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        self.held.auto_extend(options)
    }

    /// Stops the automatic extends: the lock ends with its validity, unless [`Lock::extend`] is called.
    pub fn stop_auto_extend(&mut self) {
        self.held.stop_auto_extend();
    }

    /// Makes this exclusive lock a shared one, without a gap: readers may join from then on, and no writer gets the
    /// lock in between. It keeps its validity and its token, and loses its fencing token.
    ///
    /// The lock is shared from the start of the call, whatever the result: do not write any more. There is no way back:
    /// two readers that each wait to become the only writer would wait for each other forever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let TTL = Duration::from_secs(10);
    /// let mut lock = redlock.acquire("report", TTL).await?;
    /// // rewrite the report
    /// lock.downgrade().await?;
    /// // read it, together with others
    /// assert!(lock.is_shared() && redlock.try_acquire_shared("report", TTL).await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DowngradeError`]: the lock is lost, or was shared already. Or too few nodes confirmed: then the lock is valid
    /// and shared.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the lock is shared, and requests in flight are finished in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn downgrade(&mut self) -> Result<(), DowngradeError> {
        self.held.downgrade().await
    }

    /// Releases the lock on all nodes, and returns whether it was still held. Returns as soon as the answers decide
    /// that, and at the latest after the node timeout.
    ///
    /// # Errors
    ///
    /// If too few nodes answered to decide it. The requests to the others continue in the background.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the release continues in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn release(self) -> Result<Release, ReleaseError> {
        Ok(match self.held.settle().await? {
            None => Release::Released,
            Some(_) => Release::NotHeld,
        })
    }

    /// Takes the lock apart, so that another process can [resume](crate::Redlock::resume) it. Nothing is released, and
    /// nothing extends the lock until it is resumed, so resume it soon.
    ///
    /// Waits until all requests that were sent for the lock have ended, at most for the node timeout. So no request of
    /// this process sets a key again that the other process has released. (A node that hangs for longer may do so, and
    /// then holds the key until its TTL ends. Outside a Tokio runtime the call does not wait.)
    ///
    /// # Errors
    ///
    /// The reason why you may no longer rely on the lock. Then there is nothing to transfer, and the lock is released
    /// in the background. So a lock that is resumed has been held without a gap.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the lock is released in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn into_parts(self) -> Result<LockParts, LockLost> {
        self.held.into_parts().await
    }

    /// The slot of its semaphore, if it is the lock of a permit.
    pub(crate) fn slot(&self) -> Option<u32> {
        self.held.shared().slot().map(|slot| slot.number)
    }

    /// Releases the lock, but not earlier than `at_least` after it was acquired.
    ///
    /// # Errors
    ///
    /// If the lock was lost before this call.
    pub(crate) async fn settle_after(self, at_least: Duration) -> Result<(), LockLost> {
        self.check()?;
        if self.held.rest_of(at_least).is_zero() {
            return match self.held.settle().await {
                Ok(Some(loss)) => Err(loss),
                Ok(None) | Err(_) => Ok(()),
            };
        }
        // Rare, and boxed so that all other calls stay small.
        Box::pin(self.settle_later(at_least)).await
    }

    /// Holds the lock until `at_least` after it was acquired, then releases it.
    async fn settle_later(self, at_least: Duration) -> Result<(), LockLost> {
        // Find out now whether the lock was held until now: later the nodes cannot say.
        let is_confirmed = self.held.renew().await.is_ok();
        self.check()?;
        let over = async {
            // A clock that the caller has set may run slower than the timers.
            while !self.held.rest_of(at_least).is_zero() {
                sleep(self.held.rest_of(at_least)).await;
            }
        };
        let lost = select! {
            loss = self.lost() => Some(loss),
            () = over => None,
        };
        let settled = self.held.settle().await;
        match lost.or_else(|| settled.ok().flatten()) {
            // Too few nodes answered when the work ended: they may have lost the lock before.
            Some(loss @ LockLost::NotHeld { .. }) if !is_confirmed => Err(loss),
            _ => Ok(()),
        }
    }
}

impl From<Held> for Lock {
    fn from(held: Held) -> Self {
        Self { held }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("resource", self.resources())
            .field("token", self.token())
            .field("validity", &self.validity())
            .finish()
    }
}
