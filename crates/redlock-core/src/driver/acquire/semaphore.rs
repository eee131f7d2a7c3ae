//! The semaphore of a call that acquires a permit: which slot each round asks for.

use super::lost_round::LostRound;
use crate::{
    driver::{fleet::Fleet, lease::slot::Slot},
    names::{PermitKeys, Resources},
    node::PermitSlots,
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
    pub(super) const ROUNDS: u32 = 5;

    /// The slot that this process has released last, or a random one. The nodes look for free slots from there on.
    pub(super) fn first(&self, fleet: &Fleet) -> Result<Slot, AcquireError> {
        let random = u32::try_from(fleet.random()? % u64::from(self.permits)).unwrap_or_default();
        let freed = fleet.queues.freed_slot(self.keys.queue()).filter(|slot| *slot < self.permits);
        let permits = PermitSlots::new(self.keys.count().clone(), self.permits, random);
        Ok(Slot::new(freed.unwrap_or(random), Resources::from(self.keys.queue()), permits))
    }

    /// Another slot that may be free, after a round that was lost.
    pub(super) fn after(lost: &LostRound, fleet: &Fleet) -> Result<Option<Slot>, AcquireError> {
        let Some(slot) = lost.lease.shared().slot().filter(|_| lost.is_contended) else {
            return Ok(None);
        };
        let another = slot.another(fleet.members.len(), fleet.quorum.needed(), fleet.random()?);
        Ok(another.map(|number| slot.with_number(number)))
    }
}
