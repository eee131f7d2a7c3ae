//! Which wait queues of the nodes a refused call joins.

use std::sync::Arc;

use super::nodes::Nodes;
use crate::{algorithm::Cause, names::Resource, node::Enqueue};

/// Which wait queues of the nodes a refused call joins.
#[derive(Debug)]
pub(crate) struct Queueing<'a, N> {
    nodes: &'a N,
    waiters: Resource,
    cause: Cause,
    /// Whether at most one call of this process can hold the key: neither a semaphore nor a shared lock.
    is_single: bool,
    /// The node that notifies this process, if it was subscribed when the round began.
    notified_by: Option<usize>,
}

impl<'a, N: Nodes> Queueing<'a, N> {
    /// Returns `None` if the name of the wait queue would be too long.
    pub(super) fn new(nodes: &'a N, key: &Resource, cause: Cause, is_shared: bool) -> Option<Self> {
        let (waiters, is_single) = (key.waiters()?, !is_shared && !key.is_permit_queue());
        Some(Self { nodes, waiters, cause, is_single, notified_by: nodes.notified_by() })
    }

    /// Returns the queue to join on this node, if the process is subscribed to it. A call joins the queue of the node
    /// that notifies it. A call that polls joins all of them, in case that node fails.
    pub(crate) fn on(&self, node: usize) -> Option<Enqueue> {
        let wakes = self.notified_by == Some(node);
        let channel = self.nodes.subscriptions().channel(node).filter(|_| wakes || self.cause == Cause::Due)?;
        let queue = Enqueue::new(self.waiters.clone(), Arc::clone(channel));
        // While a permit or a shared lock is held, other calls of this process may wait: they join the queue
        // themselves.
        Some(queue.yielding(self.cause.yields()).staying(wakes && self.is_single))
    }

    /// Returns the node that notifies this process, if it is subscribed to it.
    pub(crate) fn notified_by(&self) -> Option<usize> {
        self.notified_by
    }

    /// Returns the node to send the request to before the others, for a call that has to yield: on the other nodes its
    /// request would only get in the way of the waiter that comes first. `None` if answers of that node are overdue.
    pub(crate) fn asked_first(&self) -> Option<usize> {
        self.notified_by.filter(|_| self.cause.yields()).filter(|node| self.nodes.is_prompt(*node))
    }
}
