//! What was sent to one node for one token, in which order, and what the node may hold because of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use tokio::sync::{Mutex, MutexGuard};

use super::{atomic_state::AtomicState, ownership::Ownership};
use crate::{
    names::Token,
    node::{NodeError, Timed, Verdict},
};

/// What one token has sent to one node.
#[derive(Debug, Default)]
pub(crate) struct NodeLane {
    /// Held by each request from start to end, so that a release begins on a node only after the acquire and the
    /// extends that were sent there have ended.
    pub(crate) order: Mutex<()>,
    pub(crate) ownership: AtomicState<Ownership>,
    /// Whether the keys may be there: something that sets them was sent, and not refused for certain.
    pub(crate) perhaps: AtomicBool,
    /// How many requests that set the keys have no certain answer: each may still be carried out at any time.
    pub(crate) uncertain: AtomicU32,
    /// The number of the last extend that found the keys lost and set them again. Whoever hears of that only later, or
    /// not at all, must not take the node for one that has held them all the time.
    pub(crate) restored_by: AtomicU64,
    /// The fencing counter that the grant told; 0 before that.
    pub(crate) counter: AtomicU64,
}

impl NodeLane {
    /// A request that sets the keys is about to be sent.
    pub(crate) fn sets(&self) -> Setting<'_> {
        self.ownership.ask();
        self.uncertain.fetch_add(1, Ordering::SeqCst);
        Setting { lane: self, before: self.perhaps.swap(true, Ordering::SeqCst) }
    }

    /// Waits for the request before, if there is one. If there is none, it never yields: each node is asked in the
    /// first poll of a round.
    pub(crate) async fn enter(&self) -> MutexGuard<'_, ()> {
        match self.order.try_lock() {
            Ok(order) => order,
            Err(_) => self.order.lock().await,
        }
    }
}

/// A request that sets the keys and is out. Dropped without an answer, it may be carried out at any time.
pub(crate) struct Setting<'l> {
    lane: &'l NodeLane,
    /// Whether the keys may have been there before.
    before: bool,
}

impl Setting<'_> {
    pub(crate) fn answered<A: Verdict>(self, answer: &Result<Timed<A>, NodeError>) {
        let is_there = match answer {
            // The first copy may lie in the socket of the connection that broke.
            Ok(Timed { sent_again: true, .. }) => return,
            Ok(Timed { answer, .. }) => !answer.is_refusal(),
            Err(error) if error.is_certain() => self.before,
            Err(_) => return,
        };
        // Only the last of them tells: an earlier one may set the keys after a later one was refused.
        if self.lane.uncertain.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.lane.perhaps.store(is_there, Ordering::SeqCst);
        }
    }
}

/// What a holder leaves to the next in line of its process.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) token: Token,
    /// What was sent for the token, node by node. The next holder's requests follow behind that.
    pub(crate) lanes: Arc<[NodeLane]>,
}
