//! The place of one call in the line for its key.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Notify, time::sleep};

use super::{holding::Holding, nodes::Nodes, notifying::leave, queueing::Queueing, turn::Turn};
use crate::{algorithm::Cause, names::Resource};

/// The place of one call in the line for its key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a, N: Nodes> {
    nodes: &'a Arc<N>,
    runtime: &'a Handle,
    key: Resource,
    number: u64,
    /// The turn that was taken last, until it has been used.
    taken: Option<Cause>,
    bell: Option<Arc<Notify>>,
    is_over: bool,
}

impl<'a, N: Nodes> Place<'a, N> {
    /// The place at the end of the line; and its turn, if nobody waits before it.
    pub(crate) fn take(nodes: &'a Arc<N>, runtime: &'a Handle, key: &Resource) -> (Self, Option<Turn<N::Offer>>) {
        let (number, is_first) = nodes.lines().join(key, nodes.now());
        let place = Self { nodes, runtime, key: key.clone(), number, taken: None, bell: None, is_over: false };
        (place, is_first.then_some(Turn::Arrived))
    }

    /// Waits for its turn. It comes with `due`, on the clock of the nodes, at the latest if the place is the first
    /// then, or the first sleeps; else there is none.
    ///
    /// Cancel safe: dropped, the turn stays where it is.
    pub(crate) async fn turn(&mut self, due: Option<Duration>) -> Option<Turn<N::Offer>> {
        let bell = self.bell.get_or_insert_with(Arc::default);
        let (nodes, begun) = (self.nodes, self.nodes.now());
        let is_due = async {
            match due {
                Some(due) => sleep(due.saturating_sub(begun)).await,
                None => pending().await,
            }
        };
        let rung = async {
            loop {
                if let Some(turn) = nodes.lines().turn(&self.key, self.number, bell, nodes.now()) {
                    return turn;
                }
                bell.notified().await;
            }
        };
        let turn = tokio::select! {
            biased;
            turn = rung => Some(turn),
            () = is_due => {
                let now = nodes.now();
                nodes.lines().due(&self.key, self.number, now.saturating_sub(begun), now)
            }
        };
        self.taken = turn.as_ref().map(Turn::cause);
        turn
    }

    /// Whether those of other processes come first, as far as is known here. Not before somebody was refused, or
    /// another woken: most locks are free.
    pub(crate) fn comes_behind_others(&self, cause: Cause) -> bool {
        cause.yields() && self.nodes.lines().is_contended(&self.key, self.nodes.now())
    }

    /// Where this place is put among the waiters if it is refused; nowhere if it is its turn, or likely is.
    pub(crate) fn queueing(&self, cause: Cause) -> Option<Queueing<'a, N>> {
        let is_wanted = matches!(cause, Cause::Due | Cause::Woken) || self.comes_behind_others(cause);
        is_wanted.then(|| Queueing::new(&**self.nodes, &self.key, cause)).flatten()
    }

    /// The lock is won.
    pub(crate) fn won(mut self, cause: Cause) -> Holding<N::Offer> {
        self.is_over = true;
        let holder = self.nodes.lines().won(&self.key, self.number, cause == Cause::Follows);
        Holding::new(self.nodes.lines(), &self.key, holder)
    }

    /// The nodes were asked, and whoever else may have to be woken is woken by what is given back. But for who was
    /// woken: the holder that it was refused for may count on it, as on one that is on its way. It passes that on
    /// should it leave now.
    pub(crate) fn asked(&mut self) {
        self.taken = self.taken.filter(|cause| *cause == Cause::Woken);
    }
}

impl<N: Nodes> Drop for Place<'_, N> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        for node in self.nodes.lines().leave(&self.key, self.number, self.taken) {
            let (nodes, key) = (Arc::clone(self.nodes), self.key.clone());
            self.nodes.spawn(self.runtime, async move {
                // Unless a release tells the node, or somebody else has begun to wait.
                if nodes.lines().leaves_node(&key, node, false) {
                    leave(&*nodes, node, key).await;
                }
            });
        }
    }
}
