//! A call that acquires a permit: rounds for one slot after the other.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{Acquire, intent::Intent, lost_round::Lost, semaphore::Semaphore};
use crate::{
    algorithm::{AutoExtend, Cause, Retry},
    driver::{fleet::Fleet, held::Held, lease::phase::Notify, node_lane::Offer},
    names::{PermitKeys, Resource, Resources},
    queue::{Permit, Ticket},
    report::{AcquireError, PermitsError},
};

impl<'a> Acquire<'a> {
    /// Checks the arguments of a call for one of this many permits. Sends nothing yet.
    pub(crate) fn permit(
        fleet: &'a Arc<Fleet>,
        resource: Resource,
        permits: u32,
        ttl: Duration,
        retry: Retry,
        auto_extend: Option<AutoExtend>,
        fencing: Option<bool>,
    ) -> Result<Self, AcquireError> {
        PermitsError::check(permits)?;
        let resources = Resources::from(resource);
        let keys = PermitKeys::new(fleet.keys(&resources)?.first(), permits)?;
        let slot = Resources::from(keys.slot(0)?);
        let counters = fencing.unwrap_or(fleet.fencing).then(|| fleet.counters(&slot, ttl)).transpose()?;
        fleet.check_permit_slots(&resources, &slot, keys.count(), counters.as_ref())?;
        let terms = fleet.terms(ttl)?;
        let auto_extend = auto_extend.map(|options| fleet.schedule(options, &terms)).transpose()?;
        Ok(Self {
            fleet,
            reserve: None,
            resources,
            keys: Resources::from(keys.queue()),
            counters,
            terms,
            runtime: Handle::try_current().map_err(|_| AcquireError::NoRuntime)?,
            retry,
            is_shared: false,
            intent: Intent::default(),
            auto_extend,
            is_reservation: false,
            semaphore: Some(Semaphore { keys, permits }),
            called: fleet.clock.now(),
        })
    }

    /// Runs rounds for one slot after the other, as long as a slot may be free.
    pub(super) async fn rounds_for_slots(
        &self,
        semaphore: &Semaphore,
        mut permit: Permit<Offer>,
        gives_way: bool,
        has_failed: bool,
        ticket: &mut Option<Ticket<'_, Fleet>>,
    ) -> Result<Result<Held, Lost>, AcquireError> {
        let mut slot = semaphore.first(self.fleet)?;
        let mut rounds = 1;
        let mut earlier = None;
        loop {
            let cause = permit.cause();
            let (lost, mut why) =
                match self.round_for(Some(slot), permit, gives_way, has_failed || rounds > 1, ticket).await? {
                    Ok(held) => return Ok(Ok(held)),
                    Err(lost) => lost,
                };
            // A round that was cut short says less about the failure than an earlier complete one.
            if why.is_cut
                && let Some(failure) = earlier.take()
            {
                (why.failure, why.is_cut) = (failure, false);
            }
            let is_over = rounds == Semaphore::ROUNDS || self.left().is_zero();
            let Some(next) = Semaphore::after(&lost, self.fleet)?.filter(|_| !is_over) else {
                return Ok(Err((lost, why)));
            };
            // The release is not waited for: the next round does not meet this token.
            drop(lost.lease.send_release(Notify::Nobody));
            earlier = (!why.is_cut).then_some(why.failure);
            rounds += 1;
            slot = next;
            permit = match cause {
                Cause::Woken => Permit::Woken,
                Cause::Due => Permit::Due,
                Cause::Arrived | Cause::Follows => Permit::Arrived,
            };
        }
    }
}
