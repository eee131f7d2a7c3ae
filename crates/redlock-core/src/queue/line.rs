//! The line for one key: its holders in this process, and the calls that wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use super::turn::Turn;
use crate::algorithm::{Cause, Succession};

/// The line for one key.
#[derive(Debug)]
pub(super) struct Line<O> {
    /// How many locks of this process have the key. One whose validity is over may still be among them.
    pub(super) holders: usize,
    /// Which of them has it by right: the last.
    pub(super) last: u64,
    /// How many are being given back just now, and will tell whether those of other processes come first.
    pub(super) leaving: usize,
    /// By the order in which they came. The first asks the nodes, the others do not.
    pub(super) waiters: BTreeMap<u64, Waiter<O>>,
    pub(super) arrived: u64,
    /// The nodes among whose waiters this process may be.
    pub(super) joined: BTreeSet<usize>,
    pub(super) succession: Succession,
    /// Until when the key counts as contended, on the fleet's clock.
    pub(super) contended_until: Duration,
    /// When the turn of one of them came last, or nobody had one yet, on the fleet's clock.
    pub(super) asked: Duration,
}

impl<O> Default for Line<O> {
    fn default() -> Self {
        Self {
            holders: 0,
            last: 0,
            leaving: 0,
            waiters: BTreeMap::new(),
            arrived: 0,
            joined: BTreeSet::new(),
            succession: Succession::default(),
            contended_until: Duration::ZERO,
            asked: Duration::ZERO,
        }
    }
}

impl<O> Line<O> {
    pub(super) fn is_contended(&self, now: Duration) -> bool {
        now < self.contended_until
    }

    pub(super) fn hold(&mut self) -> u64 {
        self.holders += 1;
        self.last += 1;
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holders == 0 && self.waiters.is_empty()
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.is_empty() && self.joined.is_empty() && self.contended_until.is_zero()
    }
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter<O> {
    /// Its turn, until it takes it.
    pub(super) turn: Option<Turn<O>>,
    /// Tells it to look; nothing while it does not wait.
    pub(super) bell: Option<Arc<Notify>>,
}

impl<O> Waiter<O> {
    pub(super) fn ring(&mut self, turn: Turn<O>) {
        // To be woken counts for more than to be told that the lock was given back, and to follow for the most.
        let is_less = |before: &Turn<O>| before.cause() == Cause::Arrived;
        if self.turn.as_ref().is_none_or(is_less) {
            self.turn = Some(turn);
        }
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }
}
