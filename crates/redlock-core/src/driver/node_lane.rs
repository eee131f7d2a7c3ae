//! The requests to one node for one token, their order, and what the node may hold because of them.

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

/// The requests for one token to one node.
#[derive(Debug, Default)]
pub(crate) struct NodeLane {
    /// Held by each request from start to end, so that a release begins on a node only after the acquire and the
    /// extends that were sent there have ended.
    pub(crate) order: Mutex<()>,
    pub(crate) ownership: AtomicState<Ownership>,
    /// Whether the node may hold the keys: a request that sets them was sent, and not certainly refused.
    pub(crate) may_be_set: AtomicBool,
    /// How many requests that set the keys have no certain answer. The node may still execute each of them at any time.
    pub(crate) uncertain: AtomicU32,
    /// The number of the last extend that found the keys missing and set them again. An extend that succeeds without
    /// that answer must not count the node as one that has held them all the time.
    pub(crate) restored_by: AtomicU64,
    /// The fencing counter that the node has returned with its grant. 0 before that.
    pub(crate) counter: AtomicU64,
}

impl NodeLane {
    /// Call before a request that sets the keys is sent.
    pub(crate) fn sets(&self) -> Setting<'_> {
        self.ownership.ask();
        self.uncertain.fetch_add(1, Ordering::SeqCst);
        Setting { lane: self, before: self.may_be_set.swap(true, Ordering::SeqCst) }
    }

    /// Waits until the request before has ended. Never yields if there is none, so that a round sends to each node in
    /// its first poll.
    pub(crate) async fn enter(&self) -> MutexGuard<'_, ()> {
        match self.order.try_lock() {
            Ok(order) => order,
            Err(_) => self.order.lock().await,
        }
    }
}

/// A request in flight that sets the keys. If it is dropped without an answer, the node may execute it at any time.
pub(crate) struct Setting<'l> {
    lane: &'l NodeLane,
    /// Whether the keys may have been there before.
    before: bool,
}

impl Setting<'_> {
    pub(crate) fn answered<A: Verdict>(self, answer: &Result<Timed<A>, NodeError>) {
        let is_there = match answer {
            // The first copy may be in the socket of the connection that broke, and be executed later.
            Ok(Timed { sent_again: true, .. }) => return,
            Ok(Timed { answer, .. }) => !answer.is_refusal(),
            Err(error) if error.is_certain() => self.before,
            Err(_) => return,
        };
        // Only the last answer decides: an earlier request may set the keys after a later one was refused.
        if self.lane.uncertain.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.lane.may_be_set.store(is_there, Ordering::SeqCst);
        }
    }
}

/// The lock that a holder hands off to the next waiter of its process.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) token: Token,
    /// The requests that were sent for the token, by node. The next holder's requests follow after that.
    pub(crate) lanes: Arc<[NodeLane]>,
}
