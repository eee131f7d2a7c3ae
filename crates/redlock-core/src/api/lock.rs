//! The lock that a caller holds.

use std::{fmt, time::Duration};

use tokio::{select, time::sleep};

use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken},
    driver::Held,
    names::{Resources, Token},
    report::{DowngradeError, ExtendError, LockLost, LockParts, ReleaseError},
};

/// A lock that is held, for as long as [`Lock::validity`] says.
///
/// Give it back with [`Lock::release`]. Dropped, it is given back in the background, on the runtime on which it was
/// acquired or resumed, some time soon, and nobody learns how that went; if that runtime has ended or is not driven any
/// more, the ttl ends the lock.
#[must_use = "a lock that is dropped is given back at once"]
pub struct Lock {
    pub(crate) held: Held,
}

/// What [`Lock::release`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "`NotHeld` means that another holder may have had the lock while the work ran"]
#[non_exhaustive]
pub enum Release {
    /// A quorum held the lock until now and has deleted it: it was exclusive to the end.
    Released,
    /// No quorum of the nodes held the lock any more: it had expired, or was deleted. Another holder may have had it
    /// before this call.
    NotHeld,
}

impl Lock {
    /// What is locked: of several resources, the first in the order of their names.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resources().first().as_str()
    }

    /// All resources of this lock: several if [`Redlock::acquire`](crate::Redlock::acquire) got a list.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        self.held.resources()
    }

    /// The value of the key on the nodes. Whoever knows it can release the lock.
    #[must_use]
    pub fn token(&self) -> &Token {
        self.held.token()
    }

    /// The fencing token, if [fencing](crate::RedlockBuilder::fencing) is on: greater than all that were issued for this
    /// resource before the lock was asked for, and no other's.
    ///
    /// Send it along with each write, and let the storage refuse a token that is below the greatest it has seen. Then a
    /// holder that was paused past its validity, which no lock by timeouts can stop, does no harm. It stays the same when
    /// the lock is extended or handed over.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.held.fencing_token()
    }

    /// Whether this is a shared lock: acquired as one, or downgraded.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.held.is_shared()
    }

    /// How long the lock may be relied on from now: `ttl - time since the acquire began - drift`, or since the last
    /// extend began; zero after that, and once the lock is known to be lost.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.check().unwrap_or_default()
    }

    /// How long the lock may be relied on from now, for `let left = lock.check()?` right before a side effect.
    ///
    /// Asks the clock and no node.
    ///
    /// # Errors
    ///
    /// Why the lock may not be relied on any more.
    pub fn check(&self) -> Result<Duration, LockLost> {
        self.held.check()
    }

    /// Waits until the lock may not be relied on any more, and tells why: as soon as a quorum of the nodes is known not
    /// to hold it, and at the latest when its validity ends, whether or not any node answers ever again.
    ///
    /// The future borrows nothing, and may be moved to another task of the same runtime. Timers count in milliseconds; it
    /// resolves up to one *before* the validity ends, and the lock is not valid then. After a suspension of the machine,
    /// while which timers stood still, it may take two seconds more; [`Lock::check`] is right at once.
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
    /// Dropped, it has no effect.
    ///
    /// # Panics
    ///
    /// If it is polled on a runtime without timers (`enable_time`), on none, or on another than before that has ended.
    pub fn lost(&self) -> impl Future<Output = LockLost> + Send + use<> {
        self.held.lost()
    }

    /// Prolongs the lock: it is valid for `ttl` less drift, counted from this call. Returns the new validity. Never
    /// shortens: where more is left than the ttl would give, that stays.
    ///
    /// It must be sent and confirmed by a quorum before the present validity ends. Nodes that lost the key get it
    /// again, so a lock that is extended survives a restart of every node, one after the other. When a quorum had lost
    /// it, another may have held the lock meanwhile: it is lost.
    ///
    /// # Errors
    ///
    /// [`ExtendError`]. Unless it says that the lock is lost, the lock stands with the validity it had.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it counts as failed. The requests that are out are finished in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.held.extend(ttl).await
    }

    /// Extends the lock to its ttl from now on, again and again while it is held; instead of what was said before. As
    /// [`AcquireOptions::auto_extend`](crate::AcquireOptions::auto_extend) does from the start.
    ///
    /// # Errors
    ///
    /// If the period or the lifetime cannot be used with the lock's ttl, or the lock has ended or lived for so long. It is
    /// kept as it was before then.
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        self.held.auto_extend(options)
    }

    /// Extends the lock no more: it ends with its validity, unless [`Lock::extend`] is called.
    pub fn stop_auto_extend(&mut self) {
        self.held.stop_auto_extend();
    }

    /// Makes this exclusive lock a shared one, without a gap: readers may join from then on, and no writer comes between.
    /// Its validity and its token stay as they are; it has no fencing token any more.
    ///
    /// From the start of the call on, the lock is shared, whatever comes of it: do not write any more. There is no way
    /// back: two readers that wait to become the only writer would wait for each other forever.
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
    /// [`DowngradeError`]: the lock is lost, or was shared already. Or too few nodes confirmed: then it is a valid shared lock.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock is shared, and the requests that are out are finished in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn downgrade(&mut self) -> Result<(), DowngradeError> {
        self.held.downgrade().await
    }

    /// Gives the lock back on all nodes, and tells whether it was still held. Returns as soon as the answers tell, at
    /// the latest after the node timeout.
    ///
    /// # Errors
    ///
    /// If too few nodes answered to tell. Those are still asked in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the release goes on in the background.
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

    /// Takes the lock apart, to be [resumed](crate::Redlock::resume) by another process. Nothing is released, and
    /// nobody extends it meanwhile: it should be resumed soon.
    ///
    /// Waits until all that was sent for the lock has ended, at most for the node timeout, so that nothing of this
    /// process sets a key again that the other has released. (A node that is hung for longer may do so, and then hold
    /// the key until its ttl ends. Outside a tokio runtime nothing is waited for.)
    ///
    /// # Errors
    ///
    /// Why the lock may not be relied on any more. There is nothing to hand over then: it is given back in the
    /// background. So what is resumed has been held without a gap.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock is given back in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn into_parts(self) -> Result<LockParts, LockLost> {
        self.held.into_parts().await
    }

    /// Releases the lock, but not before `at_least` after it was acquired.
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
        // Rare: in a box, so that all other calls are smaller.
        Box::pin(self.settle_later(at_least)).await
    }

    /// Holds the lock until `at_least` after it was acquired, then releases it.
    async fn settle_later(self, at_least: Duration) -> Result<(), LockLost> {
        // Whether the lock was held until now must be known now: later, the nodes cannot say.
        let is_confirmed = self.held.renew().await.is_ok();
        self.check()?;
        let over = async {
            // A clock of the caller's own may be slower than the timers.
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
            // Too few nodes answered when the work had ended: they may have lost the lock before.
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
