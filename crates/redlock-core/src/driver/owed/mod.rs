//! A release is owed until it is delivered: the node has answered it, or its key has certainly expired.
//!
//! A release that fails, times out or is dropped on its way is entered into the ledger of its node, and the fleet sends
//! it again until the node answers. See section "Release" of the guide's page `how_it_works`.

pub(super) mod ledger;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use self::ledger::Ledger;

/// The releases that one node has not answered yet.
#[derive(Debug)]
pub(crate) struct Owed {
    state: Mutex<State>,
    /// Notifies the task that sends the releases of a new one.
    pub(crate) arrived: Notify,
    /// Ends the pause of that task after a failure, since the node answers again.
    pub(crate) answers: Notify,
    /// Notifies a caller that closes when no release is owed any more.
    pub(crate) settled: Notify,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    /// How many owed releases were last reported to observers.
    pub(crate) reported: usize,
    /// Whether a task sends the owed releases.
    pub(crate) is_served: bool,
}

impl Owed {
    /// Limits the memory of one node's releases, so that a fleet of this size takes at most 64 MB.
    pub(crate) fn for_one_of(members: usize) -> Self {
        let ledger = Ledger::new((64 << 20) / members.max(1));
        Self {
            state: Mutex::new(State { ledger, reported: 0, is_served: false }),
            arrived: Notify::new(),
            answers: Notify::new(),
            settled: Notify::new(),
        }
    }

    /// How many releases are not delivered yet.
    pub(crate) fn count(&self) -> usize {
        self.state().ledger.unsettled()
    }

    /// Whether releases are owed and no task sends them.
    pub(crate) fn is_unserved(&self) -> bool {
        let state = self.state();
        !state.is_served && !state.ledger.is_empty()
    }

    /// Call when the node answers again after it has failed.
    pub(crate) fn answers_again(&self) {
        self.answers.notify_one();
    }

    /// Waits until nothing is owed.
    pub(crate) async fn until_settled(&self) {
        loop {
            let settled = self.settled.notified();
            if self.count() == 0 {
                return;
            }
            settled.await;
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
