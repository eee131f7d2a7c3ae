//! A lock of this process as the wait queue sees it: the next waiter is notified when it is released.

use std::{sync::Arc, time::Duration};

use super::local_queues::LocalQueues;
use crate::names::Resource;

/// A lock of this process holds the key until this is dropped.
#[derive(Debug)]
pub(crate) struct Holding<O> {
    queues: Arc<LocalQueues<O>>,
    key: Resource,
    number: u64,
    is_releasing: bool,
    /// The slot, if the key is the wait queue of a semaphore.
    slot: Option<u32>,
}

impl<O> Holding<O> {
    /// Creates the holding of the lock that the queues know as the holder with this number.
    pub(super) fn new(queues: &Arc<LocalQueues<O>>, key: &Resource, number: u64) -> Self {
        Self { queues: Arc::clone(queues), key: key.clone(), number, is_releasing: false, slot: None }
    }

    /// Creates the holding of a lock that was acquired without a ticket.
    pub(crate) fn at_once(queues: &Arc<LocalQueues<O>>, key: &Resource, is_shared: bool, now: Duration) -> Self {
        Self::new(queues, key, queues.hold(key, is_shared, now))
    }

    /// Sets the slot, for a semaphore.
    pub(crate) fn of_slot(mut self, slot: Option<u32>) -> Self {
        self.slot = slot;
        self
    }

    /// Call when the release of the lock begins.
    pub(crate) fn begin_release(&mut self) {
        if !self.is_releasing {
            self.is_releasing = true;
            self.queues.begin_release(&self.key);
        }
    }
}

impl<O> Drop for Holding<O> {
    fn drop(&mut self) {
        self.queues.released(&self.key, self.number, self.is_releasing, self.slot);
    }
}
