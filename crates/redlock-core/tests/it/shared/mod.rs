//! Shared locks: many readers or one writer.

mod downgrades;
mod fairness;
mod readers;

use std::time::Duration;

use redlock_core::Lock;
use redlock_mock::MockNode;

const TTL: Duration = Duration::from_secs(10);

/// Returns the tokens of the readers on a node, in their order.
fn readers(node: &MockNode) -> Vec<String> {
    let mut readers: Vec<_> = node.readers("r").into_iter().map(|(token, _)| token).collect();
    readers.sort_unstable();
    readers
}

/// Returns the number of nodes on which the lock is one of the readers.
fn shared_on(nodes: &[MockNode], lock: &Lock) -> usize {
    nodes.iter().filter(|node| readers(node).iter().any(|token| token == lock.token().as_str())).count()
}
