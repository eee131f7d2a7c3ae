//! The slot of a semaphore that a lease asks for, and what the nodes say about the other slots.

use std::sync::{Mutex as StdMutex, PoisonError};

use crate::{
    algorithm::{NodeSlots, SlotRange},
    names::Resources,
    node::{AcquireAnswer, PermitSlots},
};

/// One slot of a semaphore.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    /// The name of the wait queue for all slots.
    pub(crate) queue: Resources,
    pub(crate) permits: PermitSlots,
    /// Which slots each node has listed as free, by the number of the node.
    listed: StdMutex<Vec<Option<NodeSlots>>>,
}

impl Slot {
    pub(crate) fn new(number: u32, queue: Resources, permits: PermitSlots) -> Self {
        Self { number, queue, permits, listed: StdMutex::default() }
    }

    /// Another slot of the same semaphore. The earlier answers still count for nodes that do not list their slots
    /// again.
    pub(crate) fn with_number(&self, number: u32) -> Self {
        let listed = StdMutex::new(self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Self { number, queue: self.queue.clone(), permits: self.permits.clone(), listed }
    }

    /// Records what a node says about the slots.
    pub(super) fn learn(&self, node: usize, answer: &AcquireAnswer) {
        let slots = match answer {
            AcquireAnswer::SlotHeld(held) => NodeSlots { free: held.free.clone(), is_complete: held.is_complete },
            // A slot that is free on this node only is none to ask for.
            AcquireAnswer::OtherPermits { .. } => NodeSlots { free: Vec::new(), is_complete: true },
            _ => return,
        };
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.len() <= node {
            listed.resize(node + 1, None);
        }
        if let Some(entry) = listed.get_mut(node) {
            *entry = Some(slots);
        }
    }

    /// A slot that may be free on a quorum of this many nodes, if one is known. Not this one.
    pub(crate) fn another(&self, nodes: usize, quorum: usize, random: u64) -> Option<u32> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listed.iter_mut().flatten().for_each(|node| node.free.retain(|slot| *slot != self.number));
        listed.resize(nodes, None);
        let range = SlotRange { permits: self.permits.permits, offset: self.permits.offset };
        range.choose(&listed, quorum, random)
    }
}
