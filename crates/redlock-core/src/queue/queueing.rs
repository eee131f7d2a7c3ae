//! Where a call that is refused is put among the waiters of the nodes.

use std::sync::Arc;

use super::nodes::Nodes;
use crate::{algorithm::Cause, names::Resource, node::Queue};

/// Where one who is refused is put among the waiters.
#[derive(Debug)]
pub(crate) struct Queueing<'a, N> {
    nodes: &'a N,
    waiters: Resource,
    cause: Cause,
    /// Which node is to wake us, if it could when it was asked.
    heard_on: Option<usize>,
}

impl<'a, N: Nodes> Queueing<'a, N> {
    /// Nothing if there is no room for a key of the waiters.
    pub(super) fn new(nodes: &'a N, key: &Resource, cause: Cause) -> Option<Self> {
        Some(Self { nodes, waiters: key.waiters()?, cause, heard_on: nodes.heard_on() })
    }

    /// On this node, if it can wake us: the one that does, and who polls on all others as well, should that one fail.
    pub(crate) fn on(&self, node: usize) -> Option<Queue> {
        let wakes = self.heard_on == Some(node);
        let channel = self.nodes.listening().channel(node).filter(|_| wakes || self.cause == Cause::Due)?;
        let queue = Queue::new(self.waiters.clone(), Arc::clone(channel));
        Some(queue.yielding(self.cause.yields()).staying(wakes))
    }

    /// Which node is to wake us, if it can.
    pub(crate) fn heard_on(&self) -> Option<usize> {
        self.heard_on
    }

    /// Which node is asked before the others: who has to yield would only be in the way of whoever's turn it is. Not one
    /// that has left requests unanswered.
    pub(crate) fn asked_first(&self) -> Option<usize> {
        self.heard_on.filter(|_| self.cause.yields()).filter(|node| self.nodes.is_prompt(*node))
    }
}
