//! The wait queue for one key: its holders in this process, and the calls that wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use super::permit::Permit;
use crate::algorithm::{Cause, Succession};

/// The wait queue for one key.
#[derive(Debug)]
pub(super) struct LocalQueue<O> {
    /// The number of locks of this process that hold the key, including locks whose validity is over.
    pub(super) holders: usize,
    /// The number of holders so far.
    pub(super) held: u64,
    /// The number of the last exclusive holder, the only one of them that may still be valid.
    pub(super) last: u64,
    /// The number of holders that are being released. The answers will show whether other processes come first.
    pub(super) releasing: usize,
    /// The waiters in the order of their arrival. Only the first one sends requests to the nodes.
    pub(super) waiters: BTreeMap<u64, Waiter<O>>,
    pub(super) arrived: u64,
    /// The nodes whose wait queues this process may be in.
    pub(super) joined: BTreeSet<usize>,
    pub(super) succession: Succession,
    /// Until when the key counts as contended, on the fleet's clock.
    pub(super) contended_until: Duration,
    /// The number of slots of a semaphore that are known to be free. `None`: some may be. Unused for a lock.
    pub(super) free: Option<usize>,
    /// When a ticket took a permit last, or when the first ticket arrived, on the fleet's clock.
    pub(super) asked: Duration,
}

impl<O> Default for LocalQueue<O> {
    fn default() -> Self {
        Self {
            holders: 0,
            held: 0,
            last: 0,
            releasing: 0,
            waiters: BTreeMap::new(),
            arrived: 0,
            joined: BTreeSet::new(),
            succession: Succession::default(),
            contended_until: Duration::ZERO,
            free: None,
            asked: Duration::ZERO,
        }
    }
}

impl<O> LocalQueue<O> {
    pub(super) fn is_contended(&self, now: Duration) -> bool {
        now < self.contended_until
    }

    pub(super) fn hold(&mut self, is_shared: bool) -> u64 {
        self.holders += 1;
        self.held += 1;
        if !is_shared {
            self.last = self.held;
        }
        self.held
    }

    /// Gives the first call a permit. If it is a reader, all readers behind it get one, up to the next writer.
    pub(super) fn grant_first(&mut self, permit: Permit<O>) {
        let mut waiters = self.waiters.values_mut();
        let Some(first) = waiters.next() else { return };
        first.grant(permit);
        if first.is_shared {
            waiters.take_while(|waiter| waiter.is_shared).for_each(|reader| reader.grant(Permit::Arrived));
        }
    }

    /// Gives a permit to the readers that come before all writers.
    pub(super) fn grant_readers(&mut self) {
        if self.waiters.values().next().is_some_and(|first| first.is_shared) {
            self.grant_first(Permit::Arrived);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holders == 0 && self.waiters.is_empty()
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.is_empty() && self.joined.is_empty() && self.contended_until.is_zero()
    }
}

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter<O> {
    /// Whether it requests a shared lock.
    pub(super) is_shared: bool,
    /// The permit that it has not taken yet.
    pub(super) permit: Option<Permit<O>>,
    /// Notifies it of a permit. `None` while it does not wait.
    pub(super) notify: Option<Arc<Notify>>,
}

impl<O> Waiter<O> {
    pub(super) fn grant(&mut self, permit: Permit<O>) {
        // A permit from a node or from a hand-off is worth more than one from a local release, and is not replaced.
        let is_less = |before: &Permit<O>| before.cause() == Cause::Arrived;
        if self.permit.as_ref().is_none_or(is_less) {
            self.permit = Some(permit);
        }
        if let Some(notify) = &self.notify {
            notify.notify_one();
        }
    }
}
