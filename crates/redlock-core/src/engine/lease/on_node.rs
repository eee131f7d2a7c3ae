//! One node, as far as a lease knows: its keys, and the requests that are out.

use crate::engine::keys_on_node::{KeyState, KeysOnNode};

/// One node, as far as a lease knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OnNode {
    pub(crate) keys: KeysOnNode,
    /// How many requests are out, or wait in the line.
    pending: u32,
    /// Whether the release was put into the line.
    is_released: bool,
}

impl OnNode {
    pub(crate) const UNTOUCHED: Self = Self { keys: KeysOnNode::UNTOUCHED, pending: 0, is_released: false };

    /// A node that may hold a lock of another process.
    pub(crate) const OF_ANOTHER: Self = Self { keys: KeysOnNode::OF_ANOTHER, pending: 0, is_released: false };

    pub(crate) fn key(&self) -> KeyState {
        self.keys.state()
    }

    /// Whether nothing is out, and nothing waits in the line.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending == 0
    }

    /// A request goes into the line.
    pub(crate) fn asks(&mut self) {
        self.pending += 1;
    }

    /// The line has no more to say about a request.
    pub(crate) fn ends(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// The release goes into the line. False if it is there already.
    pub(crate) fn releases(&mut self) -> bool {
        !std::mem::replace(&mut self.is_released, true)
    }
}
