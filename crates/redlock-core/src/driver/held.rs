//! A held lock of the driver: the claim, what extends it, and what observers hear of it.

use std::{sync::Arc, time::Duration};

use super::{
    auto_extend::Watch,
    claim::{Claim, Claimed, hold::Hold},
    fleet::Terms,
};
use crate::{
    algorithm::{AutoExtend, AutoExtendError, FencingToken, Schedule},
    names::{Resources, Token},
    report::{Ending, ExtendError, LockParts, Loss, ReleaseError},
};

/// A lock that is held. Dropped, it is released in the background.
#[must_use = "a lock that is dropped is released at once"]
pub(crate) struct Held {
    /// Who is told when it ends, if anybody is. Before the claim, which ends the lock when it is dropped.
    hold: Option<Hold>,
    claim: Claim,
    terms: Terms,
    /// When the round began that took it, or found it taken, on the fleet's clock.
    acquired: Duration,
    /// What extends it, if anything does.
    watch: Option<Watch>,
}

impl Held {
    /// A claim that was taken in a round that began at `acquired`.
    pub(crate) fn new(claim: Claim, terms: Terms, acquired: Duration, auto_extend: Option<Schedule>) -> Self {
        let mut lock = Self::since(claim, terms, acquired, terms.validity);
        if let Some(schedule) = auto_extend {
            lock.keep(schedule);
        }
        lock
    }

    /// A claim that is held since then, and may be relied on for so long from then on.
    pub(crate) fn since(claim: Claim, terms: Terms, since: Duration, validity: Duration) -> Self {
        // The nodes keep the keys for the allowance for drift longer.
        let drift = terms.ttl.trusted().saturating_sub(terms.validity);
        claim.shared().standing.begin(since + validity, since + validity + drift);
        let hold = Hold::new(claim.shared(), since);
        Self { hold, claim, terms, acquired: since, watch: None }
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
        let shared = self.claim.shared();
        self.watch = shared.fleet.watchdog.watch(Arc::clone(shared) as _, schedule, self.acquired);
    }

    /// Takes the lock apart, for another process. Waits until all that was sent for it has ended.
    pub(crate) async fn into_parts(self) -> Result<LockParts, Loss> {
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

    /// Releases the lock. Returns the loss if it was already gone.
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
