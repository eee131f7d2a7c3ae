//! The ticket of one call in the wait queue for its key.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Notify, time::sleep};

use super::{holding::Holding, nodes::Nodes, permit::Permit, queueing::Queueing, wake_request::leave};
use crate::{algorithm::Cause, names::Resource};

/// The ticket of one call in the wait queue for its key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a, N: Nodes> {
    nodes: &'a Arc<N>,
    runtime: &'a Handle,
    key: Resource,
    number: u64,
    /// Whether the call requests a shared lock.
    is_shared: bool,
    /// The reason for the call's last permit, until the call has used it.
    taken: Option<Cause>,
    notify: Option<Arc<Notify>>,
    is_over: bool,
}

impl<'a, N: Nodes> Ticket<'a, N> {
    /// Takes a ticket at the end of the queue. Also returns its permit if no call waits before it.
    pub(crate) fn take(
        nodes: &'a Arc<N>,
        runtime: &'a Handle,
        key: &Resource,
        is_shared: bool,
    ) -> (Self, Option<Permit<N::Offer>>) {
        let (number, is_first) = nodes.queues().join(key, is_shared, nodes.now());
        let key = key.clone();
        let ticket = Self { nodes, runtime, key, number, is_shared, taken: None, notify: None, is_over: false };
        (ticket, is_first.then_some(Permit::Arrived))
    }

    /// Waits for a permit until `due`, on the fleet's clock. At `due` the ticket gets a permit if it is the first, or
    /// if the task of the first does not run. Otherwise returns `None`.
    ///
    /// Cancel safe. If it is dropped, the permit stays in the queue.
    pub(crate) async fn permit(&mut self, due: Option<Duration>) -> Option<Permit<N::Offer>> {
        let notify = self.notify.get_or_insert_with(Arc::default);
        let (nodes, begun) = (self.nodes, self.nodes.now());
        let is_due = async {
            match due {
                Some(due) => sleep(due.saturating_sub(begun)).await,
                None => pending().await,
            }
        };
        let granted = async {
            loop {
                if let Some(permit) = nodes.queues().permit(&self.key, self.number, notify, nodes.now()) {
                    return permit;
                }
                notify.notified().await;
            }
        };
        let permit = tokio::select! {
            biased;
            permit = granted => Some(permit),
            () = is_due => {
                let now = nodes.now();
                nodes.queues().due(&self.key, self.number, now.saturating_sub(begun), now)
            }
        };
        self.taken = permit.as_ref().map(Permit::cause);
        permit
    }

    /// Returns whether waiters of other processes come first, as far as is known. Returns false until a call was
    /// refused or another process was notified, because most locks are free.
    pub(crate) fn comes_behind_others(&self, cause: Cause) -> bool {
        cause.yields() && self.nodes.queues().is_contended(&self.key, self.nodes.now())
    }

    /// Returns where this call joins the wait queues of the nodes if it is refused. `None` if the lock is likely free
    /// for it.
    pub(crate) fn queueing(&self, cause: Cause) -> Option<Queueing<'a, N>> {
        let is_wanted = matches!(cause, Cause::Due | Cause::Woken) || self.comes_behind_others(cause);
        is_wanted.then(|| Queueing::new(&**self.nodes, &self.key, cause, self.is_shared)).flatten()
    }

    /// Call when the lock is won.
    pub(crate) fn won(mut self, cause: Cause) -> Holding<N::Offer> {
        self.is_over = true;
        let holder = self.nodes.queues().won(&self.key, self.number, cause, self.is_shared);
        Holding::new(self.nodes.queues(), &self.key, holder)
    }

    /// Call after a lost round, whose release notifies the next waiter if there is one. But a notification from a node
    /// stays with this ticket, because the current holder may rely on it: the ticket passes it on if it leaves now.
    pub(crate) fn asked(&mut self) {
        self.taken = self.taken.filter(|cause| *cause == Cause::Woken);
    }
}

impl<N: Nodes> Drop for Ticket<'_, N> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let is_notified = self.taken == Some(Cause::Woken);
        for node in self.nodes.queues().leave(&self.key, self.number, self.taken) {
            let (nodes, key) = (Arc::clone(self.nodes), self.key.clone());
            self.nodes.spawn(self.runtime, async move {
                // Unless a release has left the queue there, or another call has begun to wait.
                if nodes.queues().leaves_node(&key, node, false) {
                    leave(&*nodes, node, key, is_notified).await;
                }
            });
        }
    }
}
