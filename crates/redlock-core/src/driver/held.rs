//! A held lock of the driver: the lease, what extends it, and what observers hear of it.

use std::{sync::Arc, time::Duration};

use super::{
    auto_extend::Watch,
    fleet::Terms,
    lease::{Lease, LeaseState, hold::Hold},
};
use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken, Schedule},
    names::{Resources, Token},
    report::{Ending, ExtendError, LockParts, Loss, ReleaseError},
};

/// A lock that is held. Dropped, it is released in the background.
#[must_use = "a lock that is dropped is released at once"]
pub(crate) struct Held {
    /// Who is told when it ends, if anybody is. Before the lease, which ends the lock when it is dropped.
    hold: Option<Hold>,
    lease: Lease,
    terms: Terms,
    /// When the round began that took it, or found it taken, on the fleet's clock.
    acquired: Duration,
    /// What extends it, if anything does.
    watch: Option<Watch>,
}

impl Held {
    /// A lease that was taken in a round that began at `acquired`.
    pub(crate) fn new(lease: Lease, terms: Terms, acquired: Duration, auto_extend: Option<Schedule>) -> Self {
        let mut lock = Self::since(lease, terms, acquired, terms.validity);
        if let Some(schedule) = auto_extend {
            lock.keep(schedule);
        }
        lock
    }

    /// A lease that is held since then, and may be relied on for so long from then on.
    pub(crate) fn since(lease: Lease, terms: Terms, since: Duration, validity: Duration) -> Self {
        // The nodes keep the keys for the allowance for drift longer.
        let drift = terms.ttl.trusted().saturating_sub(terms.validity);
        lease.shared().validity.begin(since + validity, since + validity + drift);
        let hold = Hold::new(lease.shared(), since);
        Self { hold, lease, terms, acquired: since, watch: None }
    }

    /// What is locked.
    pub(crate) fn resources(&self) -> &Resources {
        &self.shared().resources
    }

    /// The value of the keys on the nodes.
    pub(crate) fn token(&self) -> &Token {
        &self.shared().token
    }

    /// The fencing token, if the lock has one.
    pub(crate) fn fencing_token(&self) -> Option<FencingToken> {
        self.shared().fence.get().copied()
    }

    /// How long the lock may be relied on from now, or why no longer.
    pub(crate) fn check(&self) -> Result<Duration, Loss> {
        self.shared().check()
    }

    /// Waits until the lock may not be relied on any more.
    pub(crate) fn lost(&self) -> impl Future<Output = Loss> + Send + use<> {
        Arc::clone(self.shared()).lost()
    }

    /// Extends the lock by `ttl` from now on.
    pub(crate) async fn extend(&self, ttl: Duration) -> Result<Duration, ExtendError> {
        self.shared().extend(ttl).await
    }

    /// Extends the lock from now on, as these options say and no longer as others said before.
    pub(crate) fn auto_extend(&mut self, options: AutoExtend) -> Result<(), AutoExtendError> {
        let fleet = &self.shared().fleet;
        let schedule = fleet.schedule(options, &self.terms)?;
        schedule.check(fleet.clock.now().saturating_sub(self.acquired))?;
        self.check().map_err(|_| AutoExtendError::Ended)?;
        self.keep(schedule);
        Ok(())
    }

    /// Extends the lock no more.
    pub(crate) fn stop_auto_extend(&mut self) {
        self.watch = None;
    }

    fn keep(&mut self, schedule: Schedule) {
        // Not both at once.
        self.watch = None;
        let shared = self.lease.shared();
        self.watch = shared.fleet.watchdog.watch(Arc::clone(shared) as _, schedule, self.acquired);
    }

    /// Takes the lock apart, for another process. Waits until all that was sent for it has ended.
    pub(crate) async fn into_parts(self) -> Result<LockParts, Loss> {
        let shared = self.lease.shared();
        let parts = LockParts::of(shared.resources.clone(), shared.token, self.terms.ttl, self.fencing_token());
        drop(self.watch);
        self.lease.hand_over().await?;
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

    /// Releases the lock. Returns the loss if it was already gone.
    pub(crate) async fn settle(self) -> Result<Option<Loss>, ReleaseError> {
        drop(self.watch);
        let Some(hold) = self.hold else { return self.lease.release().await };
        let was_valid = hold.is_valid();
        let released = self.lease.release().await;
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
        self.lease.take_over(reservation.lease);
    }

    /// Sends nothing for this lock any more that sets its keys.
    pub(crate) fn close(&mut self) {
        self.watch = None;
        self.lease.close();
    }

    /// Releases the lock and notifies the next waiter. Waits for the nodes that are not known to fail.
    pub(crate) async fn give_back(self) {
        drop(self.watch);
        self.lease.give_back(true).await;
    }

    /// Gives nothing back: the lock stays valid until its validity ends, and is not extended any more.
    pub(crate) fn leave_to_expire(self) {
        drop(self.watch);
        self.lease.leave_to_expire();
        if let Some(hold) = self.hold {
            hold.end(Ending::Left);
        }
    }

    pub(crate) fn shared(&self) -> &Arc<LeaseState> {
        self.lease.shared()
    }
}
