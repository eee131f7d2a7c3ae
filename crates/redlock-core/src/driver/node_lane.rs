//! The requests to one node for one token, their order, and what the node may hold because of them.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard, PoisonError, atomic::AtomicU64};

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    engine::keys_on_node::{KeyState, KeysOnNode},
    names::Token,
    node::{NodeError, Timed, Verdict},
};

/// The requests for one token to one node.
#[derive(Debug, Default)]
pub(crate) struct NodeLane {
    /// Held by each request from start to end, so that a release begins on a node only after the acquire and the
    /// extends that were sent there have ended.
    pub(crate) order: Mutex<()>,
    state: StdMutex<State>,
    /// The number of the last extend that found the keys missing and set them again. An extend that succeeds without
    /// that answer must not count the node as one that has held them all the time.
    pub(crate) restored_by: AtomicU64,
    /// The fencing counter that the node has returned with its grant. 0 before that.
    pub(crate) counter: AtomicU64,
}

#[derive(Debug)]
struct State {
    keys: KeysOnNode,
    /// Whether the node has granted a request, whatever followed.
    has_granted: bool,
    /// Whether the node has answered a request with an error. A script may have set keys before its error.
    has_failed: bool,
    /// Whether the next holder in this process has requested the keys and has no answer yet.
    is_offered: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { keys: KeysOnNode::UNTOUCHED, has_granted: false, has_failed: false, is_offered: false }
    }
}

impl NodeLane {
    /// Call if the node may hold the token for another process, which may have sent an extend that is unanswered.
    pub(crate) fn is_of_another(&self) {
        self.state().keys = KeysOnNode::OF_ANOTHER;
    }

    /// Call before a request that sets the keys is sent. `decides_all`: whether a refusal means that no key holds the
    /// token. The node refuses to extend several keys if one of them is lost, while others hold the token.
    pub(crate) fn sets(&self, decides_all: bool) -> Setting<'_> {
        self.state().keys.sets();
        Setting { lane: self, decides_all }
    }

    /// Waits until the request before has ended. Never yields if there is none, so that a round sends to each node in
    /// its first poll.
    pub(crate) async fn enter(&self) -> MutexGuard<'_, ()> {
        match self.order.try_lock() {
            Ok(order) => order,
            Err(_) => self.order.lock().await,
        }
    }

    /// The state of the keys on the node.
    pub(crate) fn keys(&self) -> KeyState {
        self.state().keys.state()
    }

    /// Whether the node has granted a request, whatever followed.
    pub(crate) fn has_granted(&self) -> bool {
        self.state().has_granted
    }

    /// Whether the node may hold the token, now or after a request that it has not answered.
    pub(crate) fn may_hold(&self) -> bool {
        self.state().keys.may_hold()
    }

    /// Whether a release is sent to the node: it may hold the token, or a script has failed there. `resends`: whether
    /// the node may send a request twice without reporting it, so that a refusal is not certain.
    pub(crate) fn needs_release(&self, resends: bool) -> bool {
        let state = self.state();
        state.keys.may_hold() || state.has_failed || resends && state.keys.state() != KeyState::Untouched
    }

    /// Whether the node may still execute a request that sets the keys.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.state().keys.is_unsettled()
    }

    /// Call before the next holder in this process requests the keys, after all that was sent here.
    pub(crate) fn offer(&self) {
        let mut state = self.state();
        state.keys.offered();
        state.is_offered = true;
    }

    /// Whether the next holder in this process has requested the keys and has no answer yet.
    pub(crate) fn is_offered(&self) -> bool {
        self.state().is_offered
    }

    /// Call when the next holder has its answer. `follows`: the keys held this token until then. `is_unclear`: they may
    /// have held it, since the request was executed twice.
    pub(crate) fn successor_answered(&self, follows: bool, is_unclear: bool) {
        let mut state = self.state();
        state.keys.successor_answered(follows, is_unclear);
        state.is_offered = false;
    }

    /// Call when the node has answered the release.
    pub(crate) fn released(&self) {
        self.state().keys.released();
    }

    fn state(&self) -> StdMutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight that sets the keys. If it is dropped without an answer, the node may execute it at any time.
pub(crate) struct Setting<'l> {
    lane: &'l NodeLane,
    decides_all: bool,
}

impl Setting<'_> {
    pub(crate) fn answered<A: Verdict>(self, answer: &Result<Timed<A>, NodeError>) {
        let mut state = self.lane.state();
        state.has_granted |= answer.as_ref().is_ok_and(|answer| !answer.is_refusal());
        state.has_failed |= answer.as_ref().is_err_and(|error| !error.was_never_sent());
        let keys = &mut state.keys;
        match answer {
            // The first copy may be in the socket of the connection that broke, and be executed later.
            Ok(Timed { answer, sent_again: true, .. }) if answer.is_refusal() => {}
            Ok(Timed { sent_again: true, .. }) => keys.granted_again(),
            Ok(Timed { answer, .. }) if answer.is_refusal() && !self.decides_all => keys.not_done(),
            Ok(Timed { answer, .. }) => keys.settled(!answer.is_refusal()),
            Err(error) if error.is_certain() => keys.not_done(),
            Err(_) => {}
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
