//! A held lock of the driver: the lease, its extends, and its reports to observers.

use std::{sync::Arc, time::Duration};

use super::{
    auto_extend::KeepGuard,
    fleet::Terms,
    lease::{Lease, LeaseState, hold::Hold, phase::Notify},
};
use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken, Schedule},
    names::{Resources, Token},
    report::{DowngradeError, Ending, ExtendError, LockLost, LockParts, ReleaseError},
};

/// A held lock. If it is dropped, it is released in the background.
#[must_use = "a lock that is dropped is released at once"]
pub(crate) struct Held {
    /// Reports the end to observers, if there are any. Dropped before the lease, whose drop ends the lock.
    hold: Option<Hold>,
    lease: Lease,
    terms: Terms,
    /// When the round began that acquired the lock or found it held, on the fleet's clock.
    acquired: Duration,
    /// Extends the lock, if auto-extend is on.
    watch: Option<KeepGuard>,
}

impl Held {
    /// A lease that was acquired in a round that began at `acquired`.
    pub(crate) fn new(lease: Lease, terms: Terms, acquired: Duration, auto_extend: Option<Schedule>) -> Self {
        let mut lock = Self::since(lease, terms, acquired, terms.validity);
        if let Some(schedule) = auto_extend {
            lock.keep(schedule);
        }
        lock
    }

    /// A lease that has been held since `since`, and is valid for `validity` from then on.
    pub(crate) fn since(lease: Lease, terms: Terms, since: Duration, validity: Duration) -> Self {
        // The nodes keep the keys longer, by the allowance for clock drift.
        let drift = terms.ttl.trusted().saturating_sub(terms.validity);
        lease.shared().validity.begin(since + validity, since + validity + drift);
        let hold = Hold::new(lease.shared(), since);
        Self { hold, lease, terms, acquired: since, watch: None }
    }

    /// Returns the locked resources.
    pub(crate) fn resources(&self) -> &Resources {
        &self.shared().resources
    }

    /// Returns the value of the keys on the nodes.
    pub(crate) fn token(&self) -> &Token {
        &self.shared().token
    }

    /// Returns the fencing token, if the lock has one.
    pub(crate) fn fencing_token(&self) -> Option<FencingToken> {
        self.shared().fence.get().copied().filter(|_| !self.is_shared())
    }

    /// Whether readers share the lock.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared().is_shared()
    }

    /// Makes an exclusive lock a shared one.
    pub(crate) async fn downgrade(&self) -> Result<(), DowngradeError> {
        self.shared().downgrade().await
    }

    /// Returns the validity that is left, or why the lock is lost.
    pub(crate) fn check(&self) -> Result<Duration, LockLost> {
        self.shared().check()
    }

    /// Waits until the lock is lost.
    pub(crate) fn lost(&self) -> impl Future<Output = LockLost> + Send + use<> {
        Arc::clone(self.shared()).lost()
    }

    /// Extends the lock by `ttl` from now on.
    pub(crate) async fn extend(&self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.shared().extend(ttl).await
    }

    /// Extends the lock from now on by these options, which replace earlier ones.
    pub(crate) fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        let fleet = &self.shared().fleet;
        let schedule = fleet.schedule(options, &self.terms)?;
        schedule.check(fleet.clock.now().saturating_sub(self.acquired))?;
        self.check().map_err(|_| AutoExtendError::Ended)?;
        self.keep(schedule);
        Ok(())
    }

    /// Stops extending the lock.
    pub(crate) fn stop_auto_extend(&mut self) {
        self.watch = None;
    }

    fn keep(&mut self, schedule: Schedule) {
        // The old schedule ends before the new one starts.
        self.watch = None;
        let shared = self.lease.shared();
        self.watch = shared.fleet.keeper.watch(Arc::clone(shared) as _, schedule, self.acquired);
    }

    /// Takes the lock apart for a transfer to another process. Waits until all its requests have ended.
    pub(crate) async fn into_parts(self) -> Result<LockParts, LockLost> {
        let shared = self.lease.shared();
        let parts = LockParts::of(shared.resources.clone(), shared.token, self.terms.ttl, self.fencing_token());
        let parts = if shared.is_shared() { parts.shared() } else { parts };
        let parts = parts.with_permit(shared.slot().map(|slot| (slot.number, slot.permits.permits)));
        drop(self.watch);
        self.lease.transfer().await?;
        if let Some(hold) = self.hold {
            hold.end(Ending::Transferred);
        }
        Ok(parts)
    }

    /// Returns the rest of `time`, counted from the acquire.
    pub(crate) fn rest_of(&self, time: Duration) -> Duration {
        time.saturating_sub(self.shared().fleet.clock.now().saturating_sub(self.acquired))
    }

    /// Extends the lock by its TTL from now on.
    pub(crate) async fn renew(&self) -> Result<Duration, ExtendError> {
        self.shared().extend(self.terms.ttl.given()).await
    }

    /// Releases the lock. Returns the loss if it was already gone.
    pub(crate) async fn settle(self) -> Result<Option<LockLost>, ReleaseError> {
        drop(self.watch);
        let Some(hold) = self.hold else { return self.lease.release().await };
        let was_valid = hold.is_valid();
        let released = self.lease.release().await;
        match &released {
            Ok(None) => hold.end(Ending::Released),
            Ok(Some(loss)) => {
                if let (true, LockLost::NotHeld { votes, .. }) = (was_valid, loss) {
                    hold.was_gone(loss, votes);
                }
                hold.end(Ending::NotHeld);
            }
            Err(ReleaseError::Unknown { .. }) => hold.end(Ending::Unknown),
            Err(_) => hold.end(Ending::Dropped),
        }
        released
    }

    /// Moves the local waiters of a reservation to this lock, which has taken over its name. The reservation is
    /// released in the background and notifies nobody.
    pub(crate) fn take_over(&self, reservation: Self) {
        self.lease.take_over(reservation.lease);
    }

    /// Sends no further request that sets the keys.
    pub(crate) fn close(&mut self) {
        self.watch = None;
        self.lease.close();
    }

    /// Releases a reservation and notifies the next waiter. Waits for the nodes that are not known to fail.
    pub(crate) async fn release_reservation(self) {
        drop(self.watch);
        self.lease.release_promptly(Notify::Other).await;
    }

    /// Lets the lock expire: it is neither released nor extended any more.
    pub(crate) fn leave_to_expire(self) {
        drop(self.watch);
        self.lease.leave_to_expire();
        if let Some(hold) = self.hold {
            hold.end(Ending::LeftToExpire);
        }
    }

    pub(crate) fn shared(&self) -> &Arc<LeaseState> {
        self.lease.shared()
    }
}
