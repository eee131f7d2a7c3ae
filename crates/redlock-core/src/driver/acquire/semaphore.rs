//! The semaphore of a call that acquires a permit: which slot each round asks for.

use super::Acquire;
use crate::{
    algorithm::{Cause, RoundFailure},
    driver::{
        acquire::lost_round::{Failure, LostRound},
        fleet::Fleet,
        held::Held,
        lease::{phase::Notify, slot::Slot},
        node_lane::Offer,
    },
    names::{PermitKeys, Resources},
    node::PermitSlots,
    queue::{Permit, Ticket},
    report::AcquireError,
};

/// The semaphore of a call that acquires a permit.
#[derive(Debug)]
pub(super) struct Semaphore {
    pub(super) keys: PermitKeys,
    pub(super) permits: u32,
}

impl Semaphore {
    /// How many slots one attempt asks for at most. Several callers may choose the same free slot, and split the nodes
    /// among them.
    const ROUNDS: u32 = 5;

    /// The slot that this process has released last, or a random one. The nodes look for free slots from there on.
    fn first(&self, fleet: &Fleet) -> Result<Slot, AcquireError> {
        let random = u32::try_from(fleet.random()? % u64::from(self.permits)).unwrap_or_default();
        let freed = fleet.queues.freed_slot(self.keys.queue()).filter(|slot| *slot < self.permits);
        let permits = PermitSlots::new(self.keys.count().clone(), self.permits, random);
        Ok(Slot::new(freed.unwrap_or(random), Resources::from(self.keys.queue()), permits))
    }

    /// Another slot that may be free, after a round that was lost.
    fn after(lost: &LostRound, fleet: &Fleet) -> Result<Option<Slot>, AcquireError> {
        let Some(slot) = lost.lease.shared().slot().filter(|_| lost.lost == RoundFailure::Contended) else {
            return Ok(None);
        };
        let another = slot.another(fleet.members.len(), fleet.quorum.needed(), fleet.random()?);
        Ok(another.map(|number| slot.with_number(number)))
    }
}

impl Acquire<'_> {
    /// Runs rounds for one slot after the other, as long as a slot may be free.
    pub(super) async fn rounds_for_slots(
        &self,
        semaphore: &Semaphore,
        mut permit: Permit<Offer>,
        is_last: bool,
        ticket: &mut Option<Ticket<'_, Fleet>>,
        failure: &mut Option<Failure>,
    ) -> Result<Result<Held, LostRound>, AcquireError> {
        let mut slot = semaphore.first(self.fleet)?;
        let mut rounds = 1;
        loop {
            let cause = permit.cause();
            let lost = match self.round_for(Some(slot), permit, is_last, ticket, failure).await? {
                Ok(held) => return Ok(Ok(held)),
                Err(lost) => lost,
            };
            let is_over = rounds == Semaphore::ROUNDS || self.left().is_zero();
            let Some(next) = Semaphore::after(&lost, self.fleet)?.filter(|_| !is_over) else { return Ok(Err(lost)) };
            // The release is not waited for: the next round does not meet this token.
            drop(lost.lease.send_release(Notify::Nobody));
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
