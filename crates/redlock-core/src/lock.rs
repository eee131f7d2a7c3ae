//! The held lock.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken, Schedule},
    auto_extend::Watch,
    claim::{Claim, Claimed, hold::Hold},
    error::{ExtendError, ReleaseError},
    fleet::Terms,
    lock_parts::LockParts,
    loss::Loss,
    observe::Ending,
    resources::Resources,
    token::Token,
};

/// A lock that is held, for as long as [`Lock::validity`] says.
///
/// Give it back with [`Lock::release`]. Dropped, it is given back in the background, on the runtime on which it was
/// acquired or resumed, some time soon, and nobody learns how that went; if that runtime has ended or is not driven any
/// more, the ttl ends the lock.
#[must_use = "a lock that is dropped is given back at once"]
pub struct Lock {
    /// Who is told when it ends, if anybody is. Before the claim, which ends the lock when it is dropped.
    hold: Option<Hold>,
    claim: Claim,
    terms: Terms,
    /// When the round began that took it, or found it taken, on the fleet's clock.
    acquired: Duration,
    /// What extends it, if anything does.
    watch: Option<Watch>,
}

/// What [`Lock::release`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Release {
    /// A quorum held the lock until now and has deleted it: it was exclusive to the end.
    Released,
    /// The lock was gone on so many nodes that no quorum held it any more: it expired, or somebody deleted it. Another may
    /// have held it before this call.
    AlreadyGone,
}

impl Lock {
    /// A claim that was taken in a round that began at `acquired`.
    pub(crate) fn new(claim: Claim, terms: Terms, acquired: Duration, auto_extend: Option<Schedule>) -> Self {
        let mut lock = Self::held(claim, terms, acquired, terms.validity);
        if let Some(schedule) = auto_extend {
            lock.keep(schedule);
        }
        lock
    }

    /// A claim that is held since then, and may be relied on for so long from then on.
    pub(crate) fn held(claim: Claim, terms: Terms, since: Duration, validity: Duration) -> Self {
        // The nodes keep the keys for the allowance for drift longer.
        let drift = terms.ttl.trusted().saturating_sub(terms.validity);
        claim.shared().standing.begin(since + validity, since + validity + drift);
        let hold = Hold::new(claim.shared(), since);
        Self { hold, claim, terms, acquired: since, watch: None }
    }

    /// What is locked: of several resources, the first in the order of their names.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resources().first().as_str()
    }

    /// All that is locked, more than one after [`Redlock::acquire_all`](crate::Redlock::acquire_all).
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.shared().resources
    }

    /// The value of the key on the nodes. Whoever knows it can release the lock.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.shared().token
    }

    /// The fencing token, if [fencing](crate::RedlockBuilder::fencing) is on: greater than all that were issued for this
    /// resource before the lock was asked for, and no other's.
    ///
    /// Send it along with each write, and let the storage refuse a token that is below the greatest it has seen. Then a
    /// holder that was paused past its validity, which no lock by timeouts can stop, does no harm. It stays the same when
    /// the lock is extended or handed over.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.shared().fence.get().copied()
    }

    /// How long the lock may be relied on from now: `ttl - time since the acquire began - drift`, or since the last
    /// extend began; zero after that, and once the lock is known to be lost.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.check().unwrap_or_default()
    }

    /// Whether the lock may still be relied on. Ask right before each side effect.
    ///
    /// Asks the clock and no node.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.validity().is_zero()
    }

    /// How long the lock may be relied on from now, for `let left = lock.check()?` right before a side effect.
    ///
    /// Asks the clock and no node.
    ///
    /// # Errors
    ///
    /// Why the lock may not be relied on any more.
    pub fn check(&self) -> Result<Duration, Loss> {
        self.shared().check()
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
    /// use redlock_core::{Loss, Redlock};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let lock = redlock.acquire("report", Duration::from_secs(10)).await?;
    /// tokio::select! {
    ///     loss = lock.lost() => assert!(matches!(loss, Loss::Expired { .. })), // after nearly ten seconds
    ///     () = work_that_takes_a_minute() => unreachable!(),
    /// }
    /// assert!(!lock.is_valid());
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
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + use<> {
        Arc::clone(self.shared()).lost()
    }

    /// When the validity ends, for `tokio::time::timeout_at(lock.valid_until(), work)`.
    ///
    /// tokio's clock may stand still while the machine is suspended. After a suspension [`Lock::validity`] is right.
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        Instant::now() + self.validity()
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
        self.shared().extend(ttl).await
    }

    /// Extends the lock to its ttl from now on, again and again while it is held; instead of what was said before. As
    /// [`AcquireOptions::auto_extend`](crate::AcquireOptions::auto_extend) does from the start.
    ///
    /// # Errors
    ///
    /// If the period or the lifetime cannot be used with the lock's ttl, or the lock has ended or lived for so long. It is
    /// kept as it was before then.
    pub fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        let fleet = &self.shared().fleet;
        let schedule = fleet.schedule(options, &self.terms)?;
        schedule.check(fleet.clock.now().saturating_sub(self.acquired))?;
        self.check().map_err(|_| AutoExtendError::Ended)?;
        self.keep(schedule);
        Ok(())
    }

    /// Extends the lock no more: it ends with its validity, unless [`Lock::extend`] is called.
    pub fn stop_auto_extend(&mut self) {
        self.watch = None;
    }

    fn keep(&mut self, schedule: Schedule) {
        // Not both at once.
        self.watch = None;
        let shared = self.claim.shared();
        self.watch = shared.fleet.watchdog.watch(Arc::clone(shared) as _, schedule, self.acquired);
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
        Ok(match self.settle().await? {
            None => Release::Released,
            Some(_) => Release::AlreadyGone,
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
    pub async fn into_parts(self) -> Result<LockParts, Loss> {
        let shared = self.claim.shared();
        let parts = LockParts::of(shared.resources.clone(), shared.token, self.terms.ttl, self.fencing_token());
        drop(self.watch);
        self.claim.hand_over().await?;
        if let Some(hold) = self.hold {
            hold.end(Ending::HandedOver);
        }
        Ok(parts)
    }

    /// How much is left of this time, counted from the acquire.
    pub(crate) fn rest_of(&self, time: Duration) -> Duration {
        time.saturating_sub(self.shared().fleet.clock.now().saturating_sub(self.acquired))
    }

    /// Extends the lock by its TTL from now on.
    pub(crate) async fn renew(&self) -> Result<Duration, ExtendError> {
        self.shared().extend(self.terms.ttl.given()).await
    }

    /// As [`Lock::release`], and tells why the lock was already gone.
    pub(crate) async fn settle(self) -> Result<Option<Loss>, ReleaseError> {
        drop(self.watch);
        let Some(hold) = self.hold else { return self.claim.release().await };
        let was_valid = hold.is_valid();
        let released = self.claim.release().await;
        match &released {
            Ok(None) => hold.end(Ending::Released),
            Ok(Some(loss)) => {
                if let (true, Loss::Gone { votes, .. }) = (was_valid, loss) {
                    hold.was_gone(loss, votes);
                }
                hold.end(Ending::AlreadyGone);
            }
            Err(ReleaseError::Unknown { .. }) => hold.end(Ending::Unknown),
            Err(_) => hold.end(Ending::Dropped),
        }
        released
    }

    /// Moves the local waiters of a reservation to this lock, which has taken over its name. The reservation is
    /// released in the background and notifies nobody.
    pub(crate) fn take_over(&self, reservation: Self) {
        self.claim.take_over(reservation.claim);
    }

    /// Sends nothing for this lock any more that sets its keys.
    pub(crate) fn close(&mut self) {
        self.watch = None;
        self.claim.close();
    }

    /// Releases the lock and notifies the next waiter. Waits for the nodes that are not known to fail.
    pub(crate) async fn give_back(self) {
        drop(self.watch);
        self.claim.give_back(true).await;
    }

    /// Gives nothing back: the lock stays valid until its validity ends, and is not extended any more.
    pub(crate) fn abandon(self) {
        drop(self.watch);
        self.claim.abandon();
        if let Some(hold) = self.hold {
            hold.end(Ending::Left);
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Claimed> {
        self.claim.shared()
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

const _: fn() = || {
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Lock>();
    is_send_sync::<crate::Redlock>();
    is_send_sync::<crate::AcquireError>();
};
